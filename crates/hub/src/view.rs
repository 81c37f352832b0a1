//! From the state to what operators see.

use std::collections::BTreeSet;

use api::view::{
    ApprovalView, ForwardView, IncidentCounts, IncidentView, KeyCounts, KeyView, LinkBrief, LinkView, LogView,
    NodeBrief, NodeView, OperatorView, ReviewView, SaeView, StatusView, Topic, View, fraction,
};
use kernel::State;
use kernel::access::Held;
use kernel::record::Principal;
use kernel::state::incident::{Incident, IncidentState, ResponseState};
use kernel::state::keys::{Key, Slot};
use kernel::state::mesh::{Link, Operator};
use kernel::state::saes::Sae;
use types::mesh::KeyState;
use types::{IncidentId, KeyId, LinkId, NodeId, OperatorId};

use crate::console::History;
use crate::sequencer::Look;

/// The content of a topic; `None` before the first entry.
pub(crate) fn view(topic: Topic, look: &Look<'_>, history: &History) -> Option<View> {
    let state = look.state;
    Some(match topic {
        Topic::Status => View::Status(Box::new(status(look)?)),
        Topic::Nodes => View::Nodes(state.nodes().keys().filter_map(|id| node(state, id)).collect()),
        Topic::Keys => View::Keys(state.keys().iter().map(|(id, one)| key(*id, one)).collect()),
        Topic::Links => View::Links(links(state, history)),
        Topic::Incidents => View::Incidents(state.incidents().iter().map(incident).collect()),
        Topic::Approvals => View::Approvals(approvals(look)),
        Topic::Forwards => View::Forwards(
            state.forwards().iter().map(|(id, spec)| ForwardView { id: *id, spec: spec.clone() }).collect(),
        ),
        Topic::Operators => View::Operators(state.operators().iter().map(|(id, one)| operator(id, one)).collect()),
        Topic::Saes => View::Saes(state.saes().values().map(|one| sae(state, one)).collect()),
    })
}

/// The boundary at a glance; `None` before the first entry.
pub(crate) fn status(look: &Look<'_>) -> Option<StatusView> {
    let state = look.state;
    let counts = state.key_counts();
    let nodes = state.nodes().iter().map(|(id, node)| NodeBrief {
        id: id.clone(),
        function: node.spec.function,
        state: node.state,
    });
    Some(StatusView {
        boundary: state.id()?.clone(),
        log: LogView { size: look.tree.size(), root: look.tree.root() },
        nodes: nodes.collect(),
        links: state.links().iter().map(|(id, link)| brief(id, link)).collect(),
        keys: KeyCounts { by_state: counts.by_state, by_type: counts.by_type },
        incidents: IncidentCounts { open: state.open_incidents().count() as u64 },
        attention: state.attention(look.now),
        public: None,
        assisted: state.assisted(),
    })
}

fn brief(id: &LinkId, link: &Link) -> LinkBrief {
    let report = link.report.as_ref();
    LinkBrief {
        a: id.a().clone(),
        b: id.b().clone(),
        qber: report.map(|report| fraction(report.qber_ppm)),
        qber_upper: report.map(|report| fraction(report.qber_upper_ppm)),
        secret_bps: report.map_or(0, |report| report.secret_bps),
        pool_bits: report.map_or(0, |report| report.pool_bits),
        delivery: link.delivery(),
    }
}

/// Every quantum link.
fn links(state: &State, history: &History) -> Vec<LinkView> {
    let with_history = |(id, one): (&LinkId, &Link)| LinkView { history: history.of(id), ..link(id, one) };
    state.links().iter().map(with_history).collect()
}

/// A quantum link, without its history.
pub(crate) fn link(id: &LinkId, link: &Link) -> LinkView {
    let report = link.report.as_ref();
    LinkView {
        brief: brief(id, link),
        sifted_bps: report.map_or(0, |report| report.sifted_bps),
        blocks: report.map_or(0, |report| report.blocks),
        discarded: report.map_or(0, |report| report.discarded),
        usable: link.usable,
        detail: report.map(|report| (&report.figures).into()).unwrap_or_default(),
        measured: report.map(|_| link.last),
        history: Vec::new(),
    }
}

/// Operators whose credential holds.
pub(crate) fn operators(state: &State) -> BTreeSet<OperatorId> {
    let holding = state.operators().iter().filter(|(_, operator)| operator.is_in_good_standing());
    holding.map(|(id, _)| id.clone()).collect()
}

fn node(state: &State, id: &NodeId) -> Option<NodeView> {
    let node = state.node(id)?;
    let is_keyed = |peer: &&NodeId| {
        let slot = Slot::pair(id, peer);
        slot.and_then(|slot| state.current(&slot)).is_some_and(|(_, key)| key.state == Some(KeyState::Active))
    };
    Some(NodeView {
        id: id.clone(),
        function: node.spec.function,
        state: node.state,
        identity: node.spec.identity,
        since: Some(node.since),
        keyed: state.nodes().keys().filter(is_keyed).cloned().collect(),
        kme: state.kme(id).map(|kme| kme.spec.clone()),
    })
}

fn sae(state: &State, sae: &Sae) -> SaeView {
    let node = &sae.spec.node;
    SaeView {
        spec: sae.spec.clone(),
        since: sae.since,
        url: state.kme(node).filter(|_| !state.is_isolated(node)).map(|kme| kme.spec.url.clone()),
        keys_as_master: sae.as_master,
        keys_as_slave: sae.as_slave,
        last: sae.last,
    }
}

fn key(id: KeyId, key: &Key) -> KeyView {
    let participants = key.slot.participants();
    let holders = || participants.iter().zip(&key.holders);
    KeyView {
        id,
        key_type: key.slot.key_type(),
        state: key.state,
        participants: participants.to_vec(),
        confirmed: holders().filter(|(_, holder)| holder.confirmed).map(|(node, _)| node.clone()).collect(),
        commitment: key.commitment,
        deliveries: holders().filter_map(|(node, holder)| Some((node.clone(), holder.delivery?))).collect(),
        mixed: key.mixed,
        since: key.since,
        frames: key.usage.frames,
        bytes: key.usage.bytes,
        failures: key.usage.failures,
    }
}

/// An incident.
pub(crate) fn incident((id, incident): (&IncidentId, &Incident)) -> IncidentView {
    IncidentView {
        id: *id,
        subject: incident.subject.clone(),
        kind: incident.kind,
        severity: incident.severity,
        opened: incident.opened,
        open: incident.state == IncidentState::Open,
        settled: incident.state == IncidentState::Settled,
        recovery: incident.recovery.steps.keys().copied().collect(),
        responses: incident
            .responses
            .iter()
            .filter(|(_, state)| **state == ResponseState::Done)
            .map(|(response, _)| response.clone())
            .collect(),
        review: incident.review.as_ref().map(|review| ReviewView { by: review.by.clone(), note: review.note.clone() }),
    }
}

/// Who may still approve: those of every group who neither asked nor approved, nor signalled what the engine
/// answers.
fn approvers(state: &State, held: &Held) -> Vec<OperatorId> {
    let incident = held.response.as_ref().and_then(|(incident, _)| state.incident(*incident));
    let is_one = |(id, operator): &(&OperatorId, &Operator)| {
        operator.is_in_good_standing()
            && incident.is_none_or(|incident| !incident.signalled_by.contains(*id))
            && held.by != Principal::Operator((*id).clone())
            && !held.approved_by.contains(*id)
            && held.groups().all(|group| operator.groups.iter().any(|own| own == group))
    };
    state.operators().iter().filter(is_one).map(|(id, _)| id.clone()).collect()
}

fn operator(id: &OperatorId, operator: &Operator) -> OperatorView {
    OperatorView {
        id: id.clone(),
        groups: operator.groups.clone(),
        identity: types::Label::IDENTITY.hash(&[&operator.identity]),
        expires: operator.expires,
        ending: operator.ending,
        active: operator.is_in_good_standing(),
    }
}

fn approvals(look: &Look<'_>) -> Vec<ApprovalView> {
    let held = look.state.access().held().iter();
    held.map(|(id, held)| ApprovalView {
        request: *id,
        by: held.by.clone(),
        summary: held.summary.clone(),
        digest: held.digest,
        needed: held.needed,
        group: held.group.clone(),
        approved: held.approved_by.iter().cloned().collect(),
        expires: held.expires,
        open: held.expires > look.now,
        asked: held.asked.as_ref().map(|signed| hex::encode(types::cbor::to_vec(&**signed))),
        response: held.response.clone(),
        policies: held.policies.clone(),
        approvers: approvers(look.state, held),
    })
    .collect()
}
