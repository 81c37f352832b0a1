//! What is held, in words for the people who decide on it. The digest says exactly what; this says it
//! readably.

use types::IncidentId;

use crate::event::{Command, OperatorCard};
use crate::record::Response;
use crate::state::identity_hash;

/// A command in words.
pub fn of_command(command: &Command) -> String {
    match command {
        Command::Read { what } => format!("read {what}"),
        Command::AdmitNode { node, links } => {
            let links: Vec<String> = links.iter().map(ToString::to_string).collect();
            let with = if links.is_empty() { "no links".to_owned() } else { format!("links {}", links.join(", ")) };
            format!("admit node {} ({}, identity {}) with {with}", node.id, node.function, node.identity)
        }
        Command::RestoreNode { node } => format!("restore node {node}"),
        Command::RotateKeys { key_type, emergency } => {
            let which = key_type.map_or("all keys that rotate".to_owned(), |key_type| format!("{key_type} keys"));
            if *emergency { format!("revoke and re-key {which}") } else { format!("rotate {which}") }
        }
        Command::ReviewIncident { incident, .. } => format!("sign off incident {incident}"),
        Command::Signal { subject, kind } => format!("signal {kind} about {subject}"),
        Command::IsolateNode { node } => format!("isolate node {node}"),
        Command::BreakGlass { subject } => format!("put {subject} under quarantine"),
        Command::ConfirmBreakGlass { incident } => format!("make the quarantine of incident {incident} lasting"),
        Command::SetAssisted { on: true } => "turn assisted mode on".to_owned(),
        Command::SetAssisted { on: false } => "turn assisted mode off".to_owned(),
        Command::AddForward { spec } => {
            format!("forward {} of {} to {} of {}", spec.listen, spec.node, spec.connect, spec.to)
        }
        Command::RemoveForward { id } => format!("remove forward {id}"),
        Command::AddSae { spec } => {
            let slaves = spec.slaves.as_ref().map_or("every other".to_owned(), |slaves| {
                slaves.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            });
            format!(
                "let {} have keys at {} with {slaves} over {} groups (certificate {})",
                spec.id, spec.node, spec.groups, spec.fingerprint
            )
        }
        Command::RenewSae { id, fingerprint } => format!("know {id} by the certificate {fingerprint} alone"),
        Command::RemoveSae { id } => format!("let {id} have no more keys"),
        Command::AddOperator { card } => format!("let operator {} act {}", card.id, of_operator(card)),
        Command::RenewOperator { id, life } => format!("let the key of operator {id} live for {life} more"),
        Command::ReplaceOperator { card } => format!("take another key for operator {} {}", card.id, of_operator(card)),
        Command::RemoveOperator { id } => format!("let operator {id} act no more"),
        Command::ActivateRules { version } => format!("take steps by rules version {version}, for good"),
        Command::Approve { request, .. } => format!("approve {request}"),
        Command::Deny { request, .. } => format!("deny {request}"),
        Command::OpenConsole => "open a console session".to_owned(),
        Command::ExportAudit => "export the log".to_owned(),
    }
}

fn of_operator(card: &OperatorCard) -> String {
    let groups = if card.groups.is_empty() { "no group".to_owned() } else { card.groups.join(", ") };
    format!("in {groups} for {} (identity {})", card.life, identity_hash(&card.identity))
}

/// A response of the engine in words.
pub fn of_held_response(incident: IncidentId, response: &Response) -> String {
    format!("{} for incident {incident}", of_response(response))
}

fn of_response(response: &Response) -> String {
    match response {
        Response::RotateKeys => "rotate keys".to_owned(),
        Response::IsolateNode(node) => format!("isolate node {node}"),
        Response::Reroute(node) => format!("take the forwards of node {node} away"),
        Response::RevokeOperator(operator) => format!("revoke the credential of operator {operator}"),
        Response::Watch(node) => format!("look at node {node} more closely"),
        Response::Reauthenticate(node) => format!("have node {node} prove its identity anew"),
    }
}
