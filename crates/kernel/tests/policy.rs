//! Policy, from its text to its decisions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test ends where something is wrong

use kernel::policy::{Actor, NodeRef, Resource};
use types::NodeId;
use types::mesh::Function;

#[path = "policy/injection.rs"]
mod injection;
#[path = "policy/matrix.rs"]
mod matrix;
#[path = "policy/parsing.rs"]
mod parsing;
#[path = "policy/properties.rs"]
mod properties;

fn member(id: &str, groups: &[&str], revoked: bool) -> Actor {
    Actor::Operator {
        id: id.parse().unwrap(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        revoked,
    }
}

fn operator(id: &str, groups: &[&str]) -> Actor {
    member(id, groups, false)
}

fn revoked(id: &str, groups: &[&str]) -> Actor {
    member(id, groups, true)
}

fn node(id: &str, function: Function) -> NodeRef {
    NodeRef { id: id.parse().unwrap(), function: Some(function), isolated: false }
}

fn isolated(id: &str, function: Function) -> Actor {
    Actor::Node(NodeRef { isolated: true, ..node(id, function) })
}

fn hub() -> NodeRef {
    NodeRef { id: NodeId::hub(), function: None, isolated: false }
}

fn boundary() -> Resource {
    Resource::Boundary("b1".parse().unwrap())
}
