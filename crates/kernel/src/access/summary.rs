//! What is held, in words for the people who decide on it. The digest says exactly what; this says it
//! readably.

use crate::event::Command;
use crate::record::Response;

pub(super) fn of_command(command: &Command) -> String {
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
        Command::Signal { subject, kind, confidence_ppm } => {
            format!("signal {kind} about {subject} at {confidence_ppm} ppm")
        }
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
            format!("let {} have keys at {} with {slaves} (certificate {})", spec.id, spec.node, spec.fingerprint)
        }
        Command::RemoveSae { id } => format!("let {id} have no more keys"),
        Command::Approve { request, .. } => format!("approve {request}"),
        Command::Deny { request, .. } => format!("deny {request}"),
        Command::OpenConsole => "open a console session".to_owned(),
        Command::ExportAudit => "export the log".to_owned(),
    }
}

pub(super) fn of_response(response: &Response) -> String {
    match response {
        Response::RotateKeys => "rotate keys".to_owned(),
        Response::IsolateNode(node) => format!("isolate node {node}"),
        Response::Reroute(node) => format!("take the forwards of node {node} away"),
        Response::RevokeOperator(operator) => format!("revoke the credential of operator {operator}"),
        Response::Watch(node) => format!("look at node {node} more closely"),
        Response::Reauthenticate(node) => format!("have node {node} prove its identity anew"),
    }
}
