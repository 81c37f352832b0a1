//! The beginning of a boundary.

use std::collections::BTreeSet;

use types::{Millis, Timestamp, cbor};

use crate::draft::Draft;
use crate::event::{Genesis, Pause, Settings};
use crate::operators;
use crate::policy::PolicySet;
use crate::record::{Record, Refusal};

/// Largest genesis, in bytes of its encoding: its entry holds it twice.
pub const GENESIS_LEN: usize = 32_000;

/// Longest time between two looks of a hub at what is due; after a longer one it says [`crate::event::Event::Resumed`].
pub const PAUSE: Millis = Millis::from_secs(2);

/// Shortest life of a key and shortest wait, in milliseconds.
const SHORTEST: u64 = 100;

pub(crate) fn create(draft: &mut Draft<'_>, genesis: &Genesis) {
    if draft.state.boundary().is_some() {
        return draft.refuse(Refusal::WrongBoundary);
    }
    if let Err(refusal) = check(genesis, draft.now) {
        return draft.refuse(refusal);
    }
    match PolicySet::parse(&genesis.policy) {
        Ok(policies) => {
            let genesis = Box::new(genesis.clone());
            draft.record(Record::BoundaryCreated { policy: policies.hash(), genesis });
            draft.continue_at_once();
        }
        Err(_) => draft.refuse(Refusal::BadPolicy),
    }
}

/// The hub says for which time it could not act. It lies between the last entry and now: what was due
/// before the last entry had its tick.
pub(crate) fn resumed(draft: &mut Draft<'_>, since: Timestamp, pause: Pause) {
    if since < draft.state.clock() || since > draft.now {
        return draft.refuse(Refusal::OutOfBounds);
    }
    draft.record(Record::Resumed { since, pause });
}

fn check(genesis: &Genesis, now: Timestamp) -> Result<(), Refusal> {
    let names: BTreeSet<_> = genesis.nodes.iter().map(|node| &node.id).collect();
    let people: BTreeSet<_> = genesis.operators.iter().map(|operator| &operator.id).collect();
    let reserved = genesis.nodes.iter().any(|node| node.id.is_hub());
    if reserved || names.len() != genesis.nodes.len() || people.len() != genesis.operators.len() {
        return Err(Refusal::NameTaken);
    }
    let identities: BTreeSet<_> = genesis.operators.iter().map(|operator| &operator.identity).collect();
    let of_nodes: BTreeSet<_> = genesis.nodes.iter().map(|node| node.identity).collect();
    if identities.len() != genesis.operators.len() || of_nodes.len() != genesis.nodes.len() {
        return Err(Refusal::IdentityTaken);
    }
    if !genesis.operators.iter().all(|operator| operators::is_well_formed(operator) && operator.expires > now) {
        return Err(Refusal::OutOfBounds);
    }
    let links: BTreeSet<_> = genesis.links.iter().collect();
    let ends = genesis.links.iter().flat_map(|link| [link.a(), link.b()]);
    let ends_exist = ends.into_iter().all(|end| end.is_hub() || names.contains(end));
    let fits = cbor::to_vec(genesis).len() <= GENESIS_LEN;
    if links.len() != genesis.links.len() || !ends_exist || !fits || !settings_are_sane(&genesis.settings) {
        return Err(Refusal::OutOfBounds);
    }
    Ok(())
}

fn settings_are_sane(settings: &Settings) -> bool {
    let lives = [settings.refresh, settings.master_life, settings.identity_life, settings.audit_life];
    let waits = [settings.distribution_timeout, settings.approval_timeout];
    lives.iter().chain(&waits).all(|span| span.get() >= SHORTEST)
}
