//! The console's page, drawn from a scene alone: whoever draws it has no way to the state.

use api::view::{Attention, IncidentView, StatusView};
use maud::{DOCTYPE, Markup, html};
use types::mesh::{NodeState, Severity};

use super::diagram;
use super::history::History;
use super::links;
use super::scene::{INCIDENTS, Scene};
use super::section::{Page, Row, Section, rows};
use super::time_of_day;

/// The page before a browser has shown whose it is: nothing of the boundary is in it.
pub(super) fn shell() -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "QECNet console" }
                link rel="stylesheet" href=(api::routes::CONSOLE_STYLE);
                script src=(api::routes::CONSOLE_MORPH) defer {}
                script src=(api::routes::CONSOLE_SCRIPT) defer {}
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header {
                    h1 { "QECNet console" }
                    span #who .dim {}
                    span #live .dim role="status" { "connecting" }
                    // Apart from the word beside it, which is read out when it changes.
                    span #clock .dim aria-hidden="true" {}
                    button #leave type="button" hidden { "Sign out" }
                }
                p #gone role="alert" hidden {}
                main #content tabindex="-1" {
                    section #signed-out hidden {
                        h2 { "Signed out" }
                        p #why {}
                        p { "This page opens with a sign-in link that works once, for five minutes." }
                        p { "Get a new one with " code { "qecnet console" } "." }
                    }
                    noscript { section { p { "The console needs JavaScript: it signs what it asks with a key of this browser." } } }
                    div #sections .grid {}
                }
            }
        }
    }
}

/// Everything below the header.
pub(super) fn content(scene: &Scene, history: &History) -> Page {
    let status = &scene.status;
    Page(vec![
        Section::new("attention", true, &attention(scene), Vec::new()),
        Section::new("overview", true, &overview(scene), Vec::new()),
        Section::new("life", true, &diagram::life(&status.keys.by_state), Vec::new()),
        diagram::rotation(&scene.rotation, scene.last_entry),
        nodes(status),
        Section::new("types", false, &types_of_keys(status), Vec::new()),
        links::section(&scene.links, status.links.len(), history),
        incidents(&scene.incidents),
    ])
}

/// What waits for people, in one line: quiet where nothing does, alarming where anything does.
fn attention(scene: &Scene) -> Markup {
    let Attention { isolated, quarantined, reviews_owed, approvals_waiting } = &scene.status.attention;
    let fault = scene.fault.as_deref();
    let calm = scene.status.attention.is_empty() && fault.is_none();
    html! {
        h2 { "Attention" }
        p.attention.alarm[!calm] role="status" {
            @if calm { span.dim { "Nothing waits for anybody." } }
            @if let Some(fault) = fault { span.item.bad { "Nothing can be recorded: " (fault) } }
            @if !isolated.is_empty() {
                span.item.bad { b { (isolated.len()) " isolated" } " " (names(isolated)) }
            }
            @for one in quarantined {
                span.item.bad {
                    b { "quarantine" } " " (one.subject) ", by " (one.by) ", lapses at " (time_of_day(one.until)) " UTC"
                }
            }
            @if *reviews_owed > 0 { span.item.bad { b { (reviews_owed) } " " (plural(*reviews_owed, "review")) " owed" } }
            @if *approvals_waiting > 0 {
                span.item.warn { b { (approvals_waiting) } " " (plural(*approvals_waiting, "approval")) " waiting" }
            }
        }
    }
}

fn plural(count: u64, one: &str) -> String {
    if count == 1 { one.to_owned() } else { format!("{one}s") }
}

/// Some names, and how many more.
fn names(nodes: &[types::NodeId]) -> String {
    const MOST: usize = 8;
    let shown: Vec<&str> = nodes.iter().take(MOST).map(types::NodeId::as_str).collect();
    let more = nodes.len().saturating_sub(MOST);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn overview(scene: &Scene) -> Markup {
    let status = &scene.status;
    html! {
        h2 { "Boundary " (status.boundary) }
        p {
            "Log " b { (status.log.size) } " entries, root " code { (status.log.root) } br;
            span.dim { "last entry " (time_of_day(scene.last_entry)) " UTC" }
            " · assisted mode " @if status.assisted { span.warn { "on" } } @else { span.dim { "off" } }
            " · open incidents "
            @if status.incidents.open > 0 { span.bad { (status.incidents.open) } } @else { span.dim { "0" } }
        }
    }
}

fn types_of_keys(status: &StatusView) -> Markup {
    html! {
        h2 { "Keys by type" }
        div.scroll role="region" aria-label="keys by type" tabindex="0" { table {
            thead { tr { th scope="col" { "Type" } th.num scope="col" { "Keys" } } }
            tbody {
                @for (key_type, count) in &status.keys.by_type { tr { td { (key_type) } td.num { (count) } } }
            }
        } }
    }
}

fn nodes(status: &StatusView) -> Section {
    let row = |node: &api::view::NodeBrief| {
        let id = format!("node-{}", node.id);
        let element = html! {
            tr id=(id) { td { (node.id) } td { (node.function) } td class=(node_class(node.state)) { (node.state) } }
        };
        Row::new(id, element)
    };
    let content = html! {
        h2 { "Mesh" }
        div.scroll role="region" aria-label="nodes" tabindex="0" { table {
            thead { tr { th scope="col" { "Node" } th scope="col" { "Function" } th scope="col" { "State" } } }
            tbody {
                tr { td { "hub" } td.dim { "sovereign hub" } td.ok { "ONLINE" } }
                (rows())
            }
        } }
    };
    Section::new("nodes", false, &content, status.nodes.iter().map(row).collect())
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

fn incidents(incidents: &[IncidentView]) -> Section {
    if incidents.is_empty() {
        return Section::new("incidents", true, &html! { h2 { "Incidents" } p.dim { "None." } }, Vec::new());
    }
    let content = html! {
        h2 { "Incidents" @if incidents.len() == INCIDENTS { ": the last " (INCIDENTS) } }
        div.scroll role="region" aria-label="incidents" tabindex="0" { table {
            thead { tr {
                th scope="col" { "No." } th scope="col" { "Class" } th scope="col" { "What" } th scope="col" { "About" }
                th scope="col" { "Recovery" } th scope="col" { "State" } th scope="col" { "Since (UTC)" }
            } }
            tbody { (rows()) }
        } }
    };
    Section::new("incidents", true, &content, incidents.iter().map(incident).collect())
}

fn incident(incident: &IncidentView) -> Row {
    let id = format!("incident-{}", incident.id);
    let element = html! {
        tr id=(id) {
            td { (incident.id) }
            td class=(severity_class(incident.severity)) { (incident.severity) }
            td { (incident.kind) }
            td { (incident.subject) }
            td { (incident.recovery.len()) " of 6" }
            td {
                @if incident.open { span.bad { "open" } }
                @else if incident.review.is_some() { "reviewed" }
                @else { "settled" }
            }
            td.dim { (time_of_day(incident.opened)) }
        }
    };
    Row::new(id, element)
}
