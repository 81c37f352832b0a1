//! The HTTP contract between the hub and its operators: routes, what goes over them, errors, and
//! the client.
//!
//! In scope: everything both ends must agree on. Out of scope: how the hub decides (crate
//! `kernel`) and what an operator's tool prints.
//!
//! Every request is one signed command: `POST` [`routes::REQUESTS`] with the canonical CBOR of a
//! [`kernel::event::SignedRequest`]; the answer is JSON, [`Answer`] or [`ErrorBody`]. A critical
//! command is first answered with a grant (or is held for approvals); the client verifies the grant
//! as a log proof and presents it in a second signed request.

pub mod answer;
pub mod client;
pub mod config;
pub mod error;
pub mod held;
pub mod request;
pub mod routes;
pub mod tls;
pub mod view;

pub use answer::{Answer, Done, GrantView, HeldView, Outcome};
pub use client::{Client, ClientError, LiveStatus, Reply};
pub use config::{ClientConfig, ConfigError, KnownOperator};
pub use error::{ErrorBody, ErrorCode};
