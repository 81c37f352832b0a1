//! Views as people read them.

use api::held::{Checked, HeldError, What};
use api::view::{
    ApprovalView, ForwardView, IncidentView, KeyView, LinkBrief, LinkView, NodeView, OperatorView, SaeView, StatusView,
};
use kernel::record::{Principal, Response};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use types::mesh::KeyState;
use types::{OperatorId, Timestamp};

use crate::table::table;

pub(crate) mod attention;

/// Sparkline steps, lowest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(crate) fn status(view: &StatusView) -> String {
    let mut out = format!(
        "boundary {}   log {} entries, root {:.16}…\n",
        view.boundary,
        view.log.size,
        view.log.root.to_string()
    );
    let counts: Vec<String> = view.keys.by_state.iter().map(|(state, n)| format!("{state} {n}")).collect();
    out.push_str(&format!("keys     {}\n", counts.join("   ")));
    if let Some(public) = &view.public {
        out.push_str(&format!("public   {public} (checkpoint, tiles, health, security.txt)\n"));
    }
    out.push_str(&format!(
        "open incidents {}   assisted mode {}\n",
        view.incidents.open,
        if view.assisted { "on" } else { "off" }
    ));
    out.push_str(&format!("{}\n\n", attention::line(&view.attention, attention::Paint::of_stdout())));
    let nodes: Vec<[String; 3]> = view
        .nodes
        .iter()
        .map(|node| [node.id.to_string(), node.function.to_string(), node.state.to_string()])
        .collect();
    out.push_str(&table(["NODE", "FUNCTION", "STATE"], &nodes));
    out.push('\n');
    let links: Vec<[String; 6]> = view.links.iter().map(link_row).collect();
    out.push_str(&table(["LINK", "QBER", "BOUND", "SECRET", "POOL", "DELIVERY"], &links));
    out
}

fn link_row(link: &LinkBrief) -> [String; 6] {
    [
        format!("{}~{}", link.a, link.b),
        percent(link.qber),
        percent(link.qber_upper),
        format!("{:.1} kbit/s", f64::from(link.secret_bps) / 1_000.0),
        format!("{} kbit", link.pool_bits / 1_000),
        link.delivery.to_string(),
    ]
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "–".to_owned(), |value| format!("{:.2} %", value * 100.0))
}

pub(crate) fn nodes(views: &[NodeView]) -> String {
    let rows: Vec<[String; 6]> = views
        .iter()
        .map(|node| {
            [
                node.id.to_string(),
                node.function.to_string(),
                node.state.to_string(),
                names(&node.keyed),
                format!("{:.16}…", node.identity.to_string()),
                node.kme.as_ref().map_or_else(|| "–".to_owned(), |kme| kme.url.clone()),
            ]
        })
        .collect();
    table(["NODE", "FUNCTION", "STATE", "KEYED WITH", "IDENTITY", "GIVES KEYS AT"], &rows)
}

pub(crate) fn saes(views: &[SaeView]) -> String {
    let rows: Vec<[String; 6]> = views
        .iter()
        .map(|sae| {
            [
                sae.spec.id.to_string(),
                sae.spec.node.to_string(),
                sae.url.clone().unwrap_or_else(|| "not served".to_owned()),
                sae.spec.slaves.as_ref().map_or_else(|| "all".to_owned(), |slaves| names(slaves)),
                format!("{} as master, {} as slave", sae.keys_as_master, sae.keys_as_slave),
                format!("{:.16}…", sae.spec.fingerprint.to_string()),
            ]
        })
        .collect();
    table(["APPLICATION", "NODE", "SERVED AT", "WITH", "KEYS GIVEN", "CERTIFICATE"], &rows)
}

fn names<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        "–".to_owned()
    } else {
        items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

pub(crate) fn keys(views: &[KeyView]) -> String {
    let rows: Vec<[String; 7]> = views
        .iter()
        .map(|key| {
            [
                key.id.to_string(),
                key.key_type.to_string(),
                key_state(key.state),
                names(&key.participants),
                key.mixed.map_or_else(|| deliveries(key), |mixed| mixed.to_string()),
                time(key.since),
                key.frames.to_string(),
            ]
        })
        .collect();
    table(["KEY", "TYPE", "STATE", "PARTICIPANTS", "PROTECTED BY", "SINCE", "FRAMES"], &rows)
}

pub(crate) fn key_state(state: Option<KeyState>) -> String {
    state.map_or_else(|| "wanted".to_owned(), |state| state.to_string())
}

fn deliveries(key: &KeyView) -> String {
    let mut kinds: Vec<&str> = key.deliveries.values().map(|delivery| delivery.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    names(&kinds)
}

pub(crate) fn links(views: &[LinkView]) -> String {
    let rows: Vec<[String; 10]> = views
        .iter()
        .map(|link| {
            let [name, qber, bound, secret, pool, delivery] = link_row(&link.brief);
            let protocol = link.detail.protocol.map_or_else(|| "–".to_owned(), |protocol| protocol.to_string());
            let s = number(link.detail.s, 2);
            let blocks = format!("{}/{}", link.blocks, link.discarded);
            [name, protocol, qber, bound, s, secret, pool, delivery, blocks, sparkline(link)]
        })
        .collect();
    let heads =
        ["LINK", "PROTOCOL", "QBER", "BOUND", "S", "SECRET", "POOL", "DELIVERY", "BLOCKS/DISCARDED", "QBER OVER TIME"];
    table(heads, &rows)
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// Everything about one link, a figure a line.
pub(crate) fn link(view: &LinkView) -> String {
    let [name, qber, bound, secret, pool, delivery] = link_row(&view.brief);
    let detail = &view.detail;
    let none = || "–".to_owned();
    let cost = match (detail.pulses_per_kbit, detail.leaked_per_kbit) {
        (Some(pulses), Some(leaked)) => format!("{pulses} pulses, {leaked} disclosed bits"),
        _ => none(),
    };
    let epsilon = match detail.epsilon {
        Some(epsilon) => format!("{epsilon:.2e} on {} secret bits", detail.secret_bits),
        None => none(),
    };
    let alarm = detail.alarm.map_or_else(|| "none".to_owned(), |alarm| alarm.to_string());
    let mut rows = vec![
        ("link", name),
        ("protocol", detail.protocol.map_or_else(none, |protocol| protocol.to_string())),
        ("loss", format!("{} dB", number(detail.loss_db, 2))),
        ("QBER", format!("{qber}, at most {bound}")),
    ];
    if detail.s.is_some() {
        rows.push(("S", format!("{}, at least {}", number(detail.s, 3), number(detail.s_lower, 3))));
    }
    if detail.single_share.is_some() {
        rows.push(("single photons", format!("at least {} of the sifted bits", percent(detail.single_share))));
    }
    rows.extend([
        ("sifted rate", format!("{:.1} kbit/s", f64::from(view.sifted_bps) / 1e3)),
        ("secret rate", secret),
        ("reconciliation", format!("f = {}", number(detail.efficiency, 3))),
        ("1 kbit costs", cost),
        ("ε spent", epsilon),
        ("pool", pool),
        ("blocks", format!("{} kept, {} discarded", view.blocks, view.discarded)),
        ("alarm", alarm),
        ("delivery", delivery),
        ("QBER over time", sparkline(view)),
    ]);
    rows.iter().map(|(name, value)| format!("{name:<15} {value}\n")).collect()
}

fn sparkline(link: &LinkView) -> String {
    let top = link.history.iter().map(|sample| sample.qber).fold(0.11, f64::max);
    let recent = link.history.len().saturating_sub(24);
    link.history[recent..]
        .iter()
        .map(|sample| {
            let step = (sample.qber / top * 7.0).round().clamp(0.0, 7.0);
            BARS[step as usize]
        })
        .collect()
}

pub(crate) fn incidents(views: &[IncidentView]) -> String {
    let rows: Vec<[String; 7]> = views
        .iter()
        .map(|incident| {
            [
                incident.id.to_string(),
                incident.severity.to_string(),
                incident.kind.to_string(),
                incident.subject.to_string(),
                incident_standing(incident).to_owned(),
                names(&incident.responses.iter().map(response).collect::<Vec<_>>()),
                time(incident.opened),
            ]
        })
        .collect();
    table(["INCIDENT", "CLASS", "KIND", "ABOUT", "STANDING", "RESPONSES", "OPENED"], &rows)
}

fn incident_standing(incident: &IncidentView) -> &'static str {
    match (&incident.review, incident.settled, incident.open) {
        (Some(_), ..) => "reviewed",
        (None, true, _) => "settled, not reviewed",
        (None, false, true) => "open",
        (None, false, false) => "closed, not reviewed",
    }
}

pub(crate) fn incident(view: &IncidentView) -> String {
    let mut out = incidents(std::slice::from_ref(view));
    if !view.recovery.is_empty() {
        out.push_str("\nrecovery steps done: ");
        let steps: Vec<String> = view
            .recovery
            .iter()
            .map(|step| serde_json::to_string(step).unwrap_or_default().trim_matches('"').to_owned())
            .collect();
        out.push_str(&steps.join(" → "));
        out.push('\n');
    }
    if let Some(review) = &view.review {
        out.push_str(&format!("\nreviewed by {}: {}\n", review.by, review.note));
    }
    out
}

fn response(response: &Response) -> String {
    match response {
        Response::RotateKeys => "rotate keys".to_owned(),
        Response::IsolateNode(node) => format!("isolate {node}"),
        Response::Reroute(node) => format!("reroute around {node}"),
        Response::RevokeOperator(operator) => format!("revoke {operator}"),
        Response::Watch(node) => format!("watch {node} closely"),
        Response::Reauthenticate(node) => format!("have {node} authenticate anew"),
    }
}

pub(crate) fn approvals<'a>(all: impl Iterator<Item = (&'a ApprovalView, &'a Result<Checked, HeldError>)>) -> String {
    let row = |(held, checked): (&ApprovalView, &Result<Checked, HeldError>)| {
        let (what, why) = match checked {
            Ok(checked) => (checked.summary.clone(), reason(checked).to_owned()),
            Err(error) => (format!("cannot be checked: {error}"), "–".to_owned()),
        };
        [
            held.request.to_string(),
            principal(&held.by),
            what,
            why,
            format!("{} of {} from {}", held.approved.len(), held.needed, held.group),
            if held.open { "waits".to_owned() } else { "ended".to_owned() },
            time(held.expires),
        ]
    };
    let rows: Vec<[String; 7]> = all.map(row).collect();
    table(["REQUEST", "ASKED BY", "WHAT", "WHY", "APPROVALS", "STANDING", "EXPIRES"], &rows)
}

fn reason(checked: &Checked) -> &str {
    match &checked.what {
        What::Command(request) => &request.reason,
        What::Response(..) => "an incident calls for it",
    }
}

/// All that an approver should know, from what was signed; what only the hub says comes last and is named so.
pub(crate) fn held(view: &ApprovalView, checked: &Checked) -> String {
    let (asked, when) = match &checked.what {
        What::Command(request) => (format!("operator {}", request.operator), time(request.at)),
        What::Response(incident, _) => (format!("the engine, for incident {incident}"), "–".to_owned()),
    };
    let names = |list: &[OperatorId]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut out = format!(
        "request   {}\nasked by  {asked}, at {when}\nwhat      {}\nwhy       {}\ndigest    {}\n",
        view.request,
        checked.summary,
        reason(checked),
        checked.digest
    );
    if let What::Command(request) = &checked.what
        && let Ok(text) = serde_json::to_string(&request.command)
    {
        out.push_str(&format!("in full   {text}\n"));
    }
    out.push_str(&format!(
        "the hub says: policy {} asks for it; {} of {} approved ({}); {} may still; it ends {}\n",
        view.policies.join(", "),
        view.approved.len(),
        view.needed,
        names(&view.approved),
        names(&view.approvers),
        time(view.expires)
    ));
    out
}

pub(crate) fn operators(all: &[OperatorView]) -> String {
    let row = |one: &OperatorView| {
        let standing = match (one.active, one.ending) {
            (true, false) => "acts",
            (true, true) => "acts, ends soon",
            (false, _) => "ended",
        };
        let identity = format!("{:.16}…", one.identity.to_string());
        [one.id.to_string(), one.groups.join(", "), standing.to_owned(), time(one.expires), identity]
    };
    let rows: Vec<[String; 5]> = all.iter().map(row).collect();
    table(["OPERATOR", "GROUPS", "STANDING", "KEY ENDS", "IDENTITY"], &rows)
}

fn principal(principal: &Principal) -> String {
    match principal {
        Principal::Operator(operator) => operator.to_string(),
        Principal::Engine => "engine".to_owned(),
        Principal::Node(node) => format!("node {node}"),
    }
}

pub(crate) fn forwards(views: &[ForwardView]) -> String {
    let rows: Vec<[String; 5]> = views
        .iter()
        .map(|forward| {
            let spec = &forward.spec;
            [
                forward.id.to_string(),
                spec.node.to_string(),
                spec.listen.clone(),
                spec.to.to_string(),
                spec.connect.clone(),
            ]
        })
        .collect();
    table(["FORWARD", "NODE", "LISTENS ON", "TO", "CONNECTS TO"], &rows)
}

/// A moment as UTC, to the second (RFC 3339).
pub(crate) fn time(at: Timestamp) -> String {
    i64::try_from(at.as_millis() / 1_000)
        .ok()
        .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{} ms after 1970", at.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::time;
    use types::Timestamp;

    #[test]
    fn moments_are_shown_in_utc() {
        assert_eq!(time(Timestamp::from_millis(0)), "1970-01-01T00:00:00Z");
        assert_eq!(time(Timestamp::from_millis(951_782_400_000)), "2000-02-29T00:00:00Z");
        assert_eq!(time(Timestamp::from_millis(1_795_305_599_999)), "2026-11-21T23:59:59Z");
    }
}
