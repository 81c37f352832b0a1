//! ETSI GS QKD 014 V1.1.1 on the wire: routes (clause 5), data formats (clause 6), refusals.

mod answer;
mod refusal;
mod request;

pub use answer::{Container, DeliveredKey, ErrorBody, Status, container_text};
pub use refusal::Refusal;
pub use request::{Command, DecRequest, EncRequest, RequiredPath, Route};
