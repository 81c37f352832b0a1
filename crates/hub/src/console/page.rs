use api::view::{IncidentView, StatusView};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use types::OperatorId;
use types::mesh::{NodeState, Severity};

use super::diagram;
use super::history::History;
use super::links;
use super::time_of_day;
use crate::sequencer::Look;
use crate::view;

/// Incidents shown at a time, newest first.
const INCIDENTS: usize = 20;

fn shell(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href=(api::routes::CONSOLE_STYLE);
            }
            body { (body) }
        }
    }
}

/// The page around its content.
pub(super) fn page(operator: &OperatorId, content: &str) -> Markup {
    let body = html! {
        a.skip href="#content" { "Skip to content" }
        header {
            h1 { "QECNet console" }
            span.dim { "signed in as " (operator) }
            span #live .dim role="status" { "connecting" }
            form method="post" action=(api::routes::CONSOLE_LEAVE) { button type="submit" { "Sign out" } }
        }
        // Made by `content` below: markup of ours, with every value escaped.
        main #content tabindex="-1" { (PreEscaped(content)) }
        script src=(api::routes::CONSOLE_SCRIPT) defer {}
    };
    shell("QECNet console", &body)
}

/// The page of someone who is not signed in.
pub(super) fn signed_out() -> Markup {
    let body = html! {
        main {
            section {
                h2 { "Signed out" }
                p { "This page opens with a sign-in link that works once, for five minutes." }
                p { "Get a new one with " code { "qecnet console" } "." }
            }
        }
    };
    shell("QECNet console: signed out", &body)
}

/// What changes: everything below the header.
pub(super) fn content(look: &Look<'_>, history: &History) -> Markup {
    let Some(status) = view::status(look) else { return html! { p { "The boundary has not begun." } } };
    let links = view::links(look.state, history);
    let incidents = view::incidents(look.state);
    html! {
        @if let Some(fault) = look.fault { p.bad role="alert" { "Nothing can be recorded: " (fault) } }
        div.grid {
            section.wide { (overview(&status, look)) }
            section.wide { h2 { "Life of keys" } (diagram::life(&status.keys.by_state)) }
            section.wide { (diagram::rotation(look.state)) }
            section { (nodes(&status)) }
            section { (types_of_keys(&status)) }
            section.wide { (links::table(&links)) }
            section.wide { (incident_table(&incidents)) }
        }
    }
}

fn overview(status: &StatusView, look: &Look<'_>) -> Markup {
    html! {
        h2 { "Boundary " (status.boundary) }
        p {
            "Log " b { (status.log.size) } " entries, root " code { (status.log.root) } br;
            span.dim { "last entry " (time_of_day(look.state.clock())) " UTC" }
            " · assisted mode " @if status.assisted { span.warn { "on" } } @else { span.dim { "off" } }
            " · open incidents "
            @if status.incidents.open > 0 { span.bad { (status.incidents.open) } } @else { span.ok { "0" } }
        }
    }
}

fn types_of_keys(status: &StatusView) -> Markup {
    html! {
        h2 { "Keys by type" }
        div.scroll { table {
            thead { tr { th scope="col" { "Type" } th.num scope="col" { "Keys" } } }
            tbody {
                @for (key_type, count) in &status.keys.by_type { tr { td { (key_type) } td.num { (count) } } }
            }
        } }
    }
}

fn nodes(status: &StatusView) -> Markup {
    html! {
        h2 { "Mesh" }
        div.scroll { table {
            thead { tr { th scope="col" { "Node" } th scope="col" { "Function" } th scope="col" { "State" } } }
            tbody {
                tr { td { "hub" } td.dim { "sovereign hub" } td.ok { "ONLINE" } }
                @for node in &status.nodes {
                    tr { td { (node.id) } td { (node.function) } td class=(node_class(node.state)) { (node.state) } }
                }
            }
        } }
    }
}

fn node_class(state: NodeState) -> &'static str {
    match state {
        NodeState::Online => "ok",
        NodeState::Offline => "dim",
        NodeState::Isolated => "bad",
    }
}

fn severity_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "dim",
        Severity::Medium | Severity::High => "warn",
        Severity::Critical => "bad",
    }
}

fn incident_table(incidents: &[IncidentView]) -> Markup {
    html! {
        h2 { "Incidents" }
        @if incidents.is_empty() { p.dim { "None." } }
        @else { div.scroll { table {
            thead { tr {
                th scope="col" { "No." } th scope="col" { "Class" } th scope="col" { "What" } th scope="col" { "About" }
                th scope="col" { "Recovery" } th scope="col" { "State" } th scope="col" { "Since (UTC)" }
            } }
            tbody {
                @for incident in incidents.iter().rev().take(INCIDENTS) {
                    tr {
                        td { (incident.id) }
                        td class=(severity_class(incident.severity)) { (incident.severity) }
                        td { (incident.kind) }
                        td { (incident.subject) }
                        td { (incident.recovery.len()) " of 6" }
                        td { @if incident.open { span.bad { "open" } } @else if incident.review.is_some() { "reviewed" } @else { "settled" } }
                        td.dim { (time_of_day(incident.opened)) }
                    }
                }
            }
        } } }
    }
}
