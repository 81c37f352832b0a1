//! Who may act: the life of operators' credentials, from their addition to their end (SM-07a, SM-08d).
//!
//! Policy decides who may change it, and how many must agree. What no policy changes is here: an
//! identity is one person's and is used once; every key ends; and enough people stay for the
//! approvals that policy asks for.

use types::mesh::{SignalKind, Subject};
use types::{Millis, NodeId, OperatorId};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::event::{OperatorCard, OperatorSpec};
use crate::record::{Principal, Record, Refusal};
use crate::state::incident::IncidentState;
use crate::{access, sentinel};

/// Life of an operator's key where nobody says otherwise (NIST SP 800-57 part 1 asks for an end; KM-14 gives
/// identities 90 days).
pub const LIFE: Millis = Millis::from_days(90);

/// Longest life that a key is given or renewed for.
pub const LONGEST_LIFE: Millis = Millis::from_days(366);

/// So long before its end a key's end is announced.
pub const NOTICE: Millis = Millis::from_days(14);

/// Most operators of a boundary.
pub const MOST_OPERATORS: usize = 1_024;

const MOST_GROUPS: usize = 16;
const GROUP_LEN: usize = 64;
const IDENTITY_LEN: usize = 4_096;

/// How sure an announced end is, in parts per million: it is written in the log.
const CERTAIN_PPM: u32 = 1_000_000;

/// Why an operator cannot be added.
pub(crate) fn check_add(draft: &Draft<'_>, card: &OperatorCard) -> Result<(), Refusal> {
    if draft.state.operator(&card.id).is_some() {
        return Err(Refusal::NameTaken);
    }
    if draft.state.operators().len() >= MOST_OPERATORS {
        return Err(Refusal::OutOfBounds);
    }
    check_card(draft, card)
}

/// Why an operator cannot have another key.
pub(crate) fn check_replace(draft: &Draft<'_>, card: &OperatorCard) -> Result<(), Refusal> {
    if draft.state.operator(&card.id).is_none() {
        return Err(Refusal::NoSuchOperator);
    }
    check_card(draft, card)?;
    check_approvers(draft, &card.id, &card.groups)
}

/// Why an operator's key cannot live for `life` from now on.
pub(crate) fn check_renew(draft: &Draft<'_>, id: &OperatorId, life: Millis) -> Result<(), Refusal> {
    let known = draft.state.operator(id).filter(|known| !known.revoked).ok_or(Refusal::NoSuchOperator)?;
    if draft.now + life <= known.expires || !is_life(life) {
        return Err(Refusal::OutOfBounds);
    }
    Ok(())
}

/// Why an operator cannot be removed.
pub(crate) fn check_remove(draft: &Draft<'_>, id: &OperatorId) -> Result<(), Refusal> {
    if draft.state.operator(id).is_none() {
        return Err(Refusal::NoSuchOperator);
    }
    check_approvers(draft, id, &[])
}

fn check_card(draft: &Draft<'_>, card: &OperatorCard) -> Result<(), Refusal> {
    if draft.state.identity_of(&card.identity).is_some() {
        return Err(Refusal::IdentityTaken);
    }
    if !is_well_formed(&card.at(draft.now)) || !is_life(card.life) {
        return Err(Refusal::OutOfBounds);
    }
    Ok(())
}

/// Whether an operator's groups and identity are within bounds.
pub(crate) fn is_well_formed(spec: &OperatorSpec) -> bool {
    let is_group = |group: &String| {
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        (1..=GROUP_LEN).contains(&group.len()) && group.bytes().all(is_allowed)
    };
    let groups = &spec.groups;
    groups.len() <= MOST_GROUPS
        && groups.is_sorted_by(|a, b| a < b)
        && groups.iter().all(is_group)
        && (1..=IDENTITY_LEN).contains(&spec.identity.len())
}

fn is_life(life: Millis) -> bool {
    life > Millis::new(0) && life <= LONGEST_LIFE
}

/// Whether, with `id` in these groups alone, every approval that policy asks for has one to ask and
/// enough to give it. What could not be met before is no reason to refuse.
fn check_approvers(draft: &Draft<'_>, id: &OperatorId, groups: &[String]) -> Result<(), Refusal> {
    let Some(policies) = draft.state.policies() else { return Ok(()) };
    let able = |approvers: &std::collections::BTreeSet<String>, change: bool| {
        let counts = draft.state.operators().iter().filter(|(name, operator)| {
            let changed = change && *name == id;
            let groups = if changed { groups } else { operator.groups.as_slice() };
            let stands = changed || (operator.is_in_good_standing() && draft.now < operator.expires);
            stands && approvers.iter().all(|group| groups.contains(group))
        });
        counts.count()
    };
    let breaks = |needs: &crate::policy::Obligations| {
        let (before, after) = (able(&needs.approvers, false), able(&needs.approvers, true));
        needs.approvals > 0 && after < before && after <= needs.approvals as usize
    };
    if policies.obligations().any(breaks) { Err(Refusal::TooFewApprovers) } else { Ok(()) }
}

pub(crate) fn add(draft: &mut Draft<'_>, card: &OperatorCard) {
    match check_add(draft, card) {
        Ok(()) => draft.record(Record::OperatorAdded { spec: card.at(draft.now) }),
        Err(refusal) => draft.refuse(refusal),
    }
}

pub(crate) fn renew(draft: &mut Draft<'_>, id: &OperatorId, life: Millis) {
    if let Err(refusal) = check_renew(draft, id, life) {
        return draft.refuse(refusal);
    }
    draft.record(Record::OperatorRenewed { id: id.clone(), expires: draft.now + life });
    settle(draft, id);
}

pub(crate) fn replace(draft: &mut Draft<'_>, card: &OperatorCard) {
    if let Err(refusal) = check_replace(draft, card) {
        return draft.refuse(refusal);
    }
    cut(draft, &card.id);
    draft.record(Record::OperatorReplaced { spec: card.at(draft.now) });
    settle(draft, &card.id);
}

pub(crate) fn remove(draft: &mut Draft<'_>, id: &OperatorId) {
    if let Err(refusal) = check_remove(draft, id) {
        return draft.refuse(refusal);
    }
    cut(draft, id);
    draft.record(Record::OperatorRemoved { id: id.clone() });
    settle(draft, id);
}

/// Ends what an operator has open under the key it had.
fn cut(draft: &mut Draft<'_>, id: &OperatorId) {
    access::end_all_of(draft, id);
    draft.effect(Effect::CutOperator(id.clone()));
}

/// What announced the end of a key is over with the key's renewal.
fn settle(draft: &mut Draft<'_>, id: &OperatorId) {
    let subject = Subject::Operator(id.clone());
    for (incident, known) in draft.state.incidents() {
        let announced = known.subject == subject && known.kind == SignalKind::CredentialExpiry;
        if announced && known.state == IncidentState::Open {
            draft.record(Record::IncidentSettled { incident: *incident });
        }
    }
}

/// Announces keys that end soon, and ends those whose time has come.
pub(crate) fn tend(draft: &mut Draft<'_>) {
    let state = draft.state;
    for (id, operator) in state.operators().iter().filter(|(_, operator)| operator.is_in_good_standing()) {
        let over = operator.expires <= draft.now;
        let soon = !operator.ending && operator.expires <= draft.now + NOTICE;
        if (!over && !soon) || !draft.spend() {
            continue;
        }
        if over {
            cut(draft, id);
        }
        draft.record(Record::OperatorEnding { id: id.clone(), over });
        let hub = Principal::Node(NodeId::hub());
        sentinel::note(draft, &hub, &Subject::Operator(id.clone()), SignalKind::CredentialExpiry, CERTAIN_PPM);
    }
}
