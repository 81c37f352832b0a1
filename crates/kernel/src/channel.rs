//! Quantum links: what they measured, what it means for their bits and for their incidents.

use std::collections::BTreeSet;

use types::limits::MIN_SECRET_BPS;
use types::mesh::{LinkReport, NodeState, SignalKind, Subject};
use types::{Label, LinkId, Millis, NodeId, Timestamp};

use crate::draft::Draft;
use crate::record::{Principal, Record, Refusal};
use crate::rotation;
use crate::sentinel;
use crate::state::keys::Slot;
use crate::state::mesh::Link;

/// Most reports in one event.
pub const LINKS_PER_EVENT: usize = 128;

/// How long a link must lack bits before it is an incident, and how long it must have them before
/// the incident is over: a link near the line is one incident, not many.
const PERSISTENT: Millis = Millis::from_secs(10);

/// How long a new link may take to its first bits.
const START: Millis = Millis::from_secs(60);

/// How long a link may lack bits after an end of it came (back): it starts anew with an empty pool.
const SETTLING: Millis = Millis::from_secs(180);

/// Reports from the ends of quantum links.
pub(crate) fn measured(draft: &mut Draft<'_>, reports: &[LinkReport]) {
    if reports.len() > LINKS_PER_EVENT {
        return draft.refuse(Refusal::OutOfBounds);
    }
    let mut seen = BTreeSet::new();
    let isolated = |link: &LinkId| draft.state.is_isolated(link.a()) || draft.state.is_isolated(link.b());
    let known: Vec<LinkReport> = reports
        .iter()
        .filter(|report| draft.state.link(&report.link).is_some() && !isolated(&report.link))
        .filter(|report| seen.insert(&report.link))
        .cloned()
        .collect();
    if known.is_empty() {
        if !reports.is_empty() {
            draft.refuse(Refusal::NoSuchNode);
        }
        return;
    }
    draft.record(Record::LinksMeasured(known.clone()));
    for report in &known {
        if let Some(link) = draft.state.link(&report.link) {
            judge(draft, link, report);
        }
    }
}

fn judge(draft: &mut Draft<'_>, link: &Link, report: &LinkReport) {
    let usable = report.carries_key();
    if usable {
        let slot = Slot::transport(&report.link);
        if draft.state.current(&slot).is_none() {
            let named = Label::KEY_COMMITMENT.hash(&[
                draft.state.boundary().map_or(&[][..], |boundary| boundary.salt.as_bytes()),
                report.link.to_string().as_bytes(),
                &report.blocks.to_be_bytes(),
            ]);
            rotation::enter(draft, &slot, named, None);
        }
        if link.usable && link.since + PERSISTENT <= draft.now {
            settle(draft, &report.link);
        }
        return;
    }
    if report.is_attacked() {
        raise(draft, &report.link, SignalKind::QberHigh);
        return;
    }
    // without both its ends a link gives nothing, and once they are back it starts anew
    let Some(up) = both_up(draft, &report.link) else { return };
    let since = if link.report.is_none() { draft.now } else { link.since };
    let patience = if link.proven { PERSISTENT } else { START };
    if link.usable || since + patience > draft.now || up + SETTLING > draft.now {
        return;
    }
    let kind = if report.secret_bps < MIN_SECRET_BPS { SignalKind::RateLow } else { SignalKind::PoolDry };
    raise(draft, &report.link, kind);
}

/// Since when both ends of a link are there; `None` where one is away.
fn both_up(draft: &Draft<'_>, link: &LinkId) -> Option<Timestamp> {
    let began = draft.state.boundary().map_or(Timestamp::from_millis(0), |boundary| boundary.since);
    let up = |end: &NodeId| match draft.state.node(end) {
        _ if end.is_hub() => Some(began),
        Some(node) if node.state == NodeState::Online => Some(node.since),
        _ => None,
    };
    Some(up(link.a())?.max(up(link.b())?))
}

/// The link is measured, not guessed at. One open incident is enough for one link.
fn raise(draft: &mut Draft<'_>, link: &LinkId, kind: SignalKind) {
    let subject = Subject::Link(link.clone());
    let graver = kind == SignalKind::QberHigh;
    let told = draft
        .state
        .open_incidents()
        .any(|(_, one)| one.subject == subject && (one.kind == kind || one.kind == SignalKind::QberHigh || !graver));
    if !told {
        let hub = Principal::Node(NodeId::hub());
        sentinel::note(draft, &hub, &subject, kind, 1_000_000);
    }
}

fn settle(draft: &mut Draft<'_>, link: &LinkId) {
    let measured = [SignalKind::QberHigh, SignalKind::RateLow, SignalKind::PoolDry];
    let about = Subject::Link(link.clone());
    let open = draft.state.open_incidents().filter(|(_, one)| one.subject == about && measured.contains(&one.kind));
    for (incident, _) in open {
        draft.record(Record::IncidentSettled { incident });
    }
}
