//! One step of a boundary.

use types::Timestamp;

use crate::draft::Draft;
use crate::effect::Effect;
use crate::event::Event;
use crate::record::{Record, Refusal};
use crate::state::State;
use crate::{access, boundary, channel, distribution, ingress, mesh, saes, sentinel, starts, tick};

/// What an event leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// What was decided, in order. Where there is nothing, there is nothing to log.
    pub records: Vec<Record>,
    /// What to do once the records are durable, the urgent first.
    pub effects: Vec<Effect>,
    /// Whether work is left over that a tick will do: tick again at once.
    pub more: bool,
}

/// Decides what `event` leads to at `now`. Pure and total.
///
/// `now` may lie before the state's clock; the step then takes place at the state's, as a replay
/// does, which knows entries' times alone. That the clock went back is for its reader to signal.
///
/// It is taken by the version of the rules that the boundary has come to. One that has come further than
/// this build knows takes no step at all: the hub does not start on it.
pub fn step(state: &State, event: &Event, now: Timestamp) -> Step {
    crate::rules::step_by(state.rules(), state, event, now).unwrap_or_default()
}

/// Version 1 of the rules.
pub(crate) fn step_1(state: &State, event: &Event, now: Timestamp) -> Step {
    let mut draft = Draft::new(state, now.max(state.clock()));
    if let Event::Create(genesis) = event {
        boundary::create(&mut draft, genesis);
        return draft.finish();
    }
    if state.boundary().is_none() {
        draft.refuse(Refusal::WrongBoundary);
        return draft.finish();
    }
    dispatch(&mut draft, event);
    draft.finish()
}

fn dispatch(draft: &mut Draft<'_>, event: &Event) {
    match event {
        Event::Create(_) => draft.refuse(Refusal::WrongBoundary),
        Event::Tick => tick::tick(draft),
        Event::Request(signed) => access::handle(draft, signed),
        Event::NodeUp { node, session } => mesh::up(draft, node, *session),
        Event::NodeDown { node } => mesh::down(draft, node),
        Event::Made { keys } => distribution::made(draft, keys),
        Event::MakeFailed { keys, reason } => distribution::make_failed(draft, keys, reason),
        Event::Delivered { node, delivery, keys } => distribution::delivered(draft, node, *delivery, keys),
        Event::DeliveryFailed { node, keys, reason } => distribution::failed(draft, node, keys, reason),
        Event::Receipts { node, receipts } => distribution::receipts(draft, node, receipts),
        Event::Activated { node, keys } => distribution::activated(draft, node, keys),
        Event::Purged { node, keys } => distribution::purged(draft, node, keys),
        Event::IsolationConfirmed { by, node, epoch } => mesh::isolation_seen(draft, by, node, *epoch),
        Event::Links(reports) => channel::measured(draft, reports),
        Event::Usage { node, keys } => distribution::used(draft, node, keys),
        Event::KmeUp { node, kme } => saes::kme_is_up(draft, node, kme),
        Event::HandedOut { node, number, handouts, gap } => saes::handed_out(draft, node, *number, handouts, *gap),
        Event::Refusals { source, refusal, count, .. } => ingress::refused(draft, source, refusal, *count),
        Event::Signal { source, subject, kind } => sentinel::from_node(draft, source, subject, *kind),
        Event::Detected { subject, kind, confidence_ppm } => {
            sentinel::detected(draft, subject, *kind, *confidence_ppm);
        }
        Event::HubStarted { start } => starts::hub_started(draft, *start),
        Event::NodeStarted { node, start, earlier, account, unknown } => {
            let said = starts::Said { start: *start, earlier, account: *account, unknown: *unknown };
            starts::node_started(draft, node, &said);
        }
        Event::Resumed { since, pause } => boundary::resumed(draft, *since, *pause),
    }
}
