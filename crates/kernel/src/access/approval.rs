//! Held requests: approved, denied, carried out or ended (SM-04, SM-09, QT-09).

use std::collections::BTreeSet;

use types::{Hash, IncidentId, OperatorId, RequestId};

use super::request::Verdict;
use super::state::Held;
use super::summary;
use crate::draft::Draft;
use crate::event::SignedRequest;
use crate::policy::{Obligations, Permit};
use crate::record::{Principal, Record, Refusal, Response};
use crate::respond;
use crate::sentinel::permitted;
use crate::state::State;
use crate::state::incident::IncidentState;

/// What is held.
pub(super) enum What {
    /// A response of the engine.
    Response(IncidentId, Response),
    /// A request, as its asker signed it.
    Request(Box<SignedRequest>),
}

/// Holds what `by` asked for until it is approved, denied or too old.
pub(super) fn hold(
    draft: &mut Draft<'_>,
    by: Principal,
    digest: Hash,
    summary: String,
    (obligations, policies): (&Obligations, &[String]),
    what: What,
) {
    let Some(settings) = draft.state.settings() else { return draft.refuse(Refusal::WrongBoundary) };
    let expires = draft.now + settings.approval_timeout;
    let request = draft.next_request();
    let (response, asked) = match what {
        What::Response(incident, response) => (Some((incident, response)), None),
        What::Request(signed) => (None, Some(signed)),
    };
    draft.record(Record::Held {
        request,
        by,
        digest,
        summary,
        needed: obligations.approvals,
        group: obligations.group(),
        expires,
        response,
        asked,
        policies: policies.to_vec(),
    });
}

/// Holds a response of the engine for approval (SM-09). One that is held already stays as it is.
pub(crate) fn hold_response(draft: &mut Draft<'_>, incident: IncidentId, response: &Response, permit: &Permit) {
    let digest = respond::response_digest(incident, response);
    let access = draft.state.access();
    let found = access.held_for(&Principal::Engine, &digest).map(|(id, held)| (id, draft.now < held.expires));
    match found {
        Some((_, true)) => return,
        Some((id, false)) => draft.record(Record::HeldEnded { request: id, by: None }),
        None => {}
    }
    let summary = summary::of_held_response(incident, response);
    let asks = (permit.obligations(), permit.policies());
    hold(draft, Principal::Engine, digest, summary, asks, What::Response(incident, response.clone()));
}

/// Whether an operator is one of those who may approve: in good standing and in every group.
fn may_approve<'a>(state: &State, operator: &OperatorId, groups: impl IntoIterator<Item = &'a str>) -> bool {
    state.in_good_standing(operator) && is_member(state, operator, groups)
}

fn is_member<'a>(state: &State, operator: &OperatorId, groups: impl IntoIterator<Item = &'a str>) -> bool {
    let known = state.operator(operator).filter(|operator| operator.is_in_good_standing());
    known.is_some_and(|known| groups.into_iter().all(|group| known.groups.iter().any(|own| own == group)))
}

/// Whether an operator's approval of a response counts: of the group, and not one of those on whose word
/// the incident stands. A quarantine, which one person can bring about, takes nobody's voice here: the
/// engine asked, so an approval reverses nothing.
fn may_approve_response<'a>(
    draft: &Draft<'_>,
    operator: &OperatorId,
    incident: IncidentId,
    groups: impl IntoIterator<Item = &'a str>,
) -> bool {
    let signalled = draft.incident(incident).is_some_and(|incident| incident.signalled_by.contains(operator));
    !signalled && is_member(draft.state, operator, groups)
}

/// Whether an operator is one of those who may decide on what is held.
fn may_decide(draft: &Draft<'_>, held: &Held, operator: &OperatorId) -> bool {
    match &held.response {
        Some((incident, _)) => may_approve_response(draft, operator, *incident, groups_of(held)),
        None => may_approve(draft.state, operator, groups_of(held)),
    }
}

/// How many approvals count now: of distinct people other than the asker, each in good standing and in
/// every group at this moment.
pub(super) fn count(
    state: &State,
    obligations: &Obligations,
    asker: &OperatorId,
    approved_by: &BTreeSet<OperatorId>,
) -> u32 {
    let groups = || obligations.approvers.iter().map(String::as_str);
    let counts = approved_by.iter().filter(|one| *one != asker && may_approve(state, one, groups()));
    counts.count() as u32
}

fn is_asker(held: &Held, operator: &OperatorId) -> bool {
    held.by == Principal::Operator(operator.clone())
}

/// The held request, if it is open and the caller saw what it decides on.
fn open<'s>(draft: &Draft<'s>, id: RequestId, digest: Hash) -> Result<&'s Held, Refusal> {
    let held = draft.state.access().held().get(&id).filter(|held| draft.now < held.expires);
    let held = held.ok_or(Refusal::NoSuchRequest)?;
    if held.digest == digest { Ok(held) } else { Err(Refusal::DigestMismatch) }
}

/// Approves a held request. A response runs as soon as its approvals are complete; a command waits for
/// its asker to ask again.
pub(super) fn approve(draft: &mut Draft<'_>, permit: Permit, by: &OperatorId, id: RequestId, digest: Hash) -> Verdict {
    drop(permit);
    let held = match open(draft, id, digest) {
        Ok(held) => held,
        Err(refusal) => {
            draft.refuse(refusal);
            return Verdict::Taken;
        }
    };
    if is_asker(held, by) || held.approved_by.contains(by) || !may_decide(draft, held, by) {
        draft.refuse(Refusal::NotAnApprover);
        return Verdict::Denied;
    }
    draft.record(Record::Approved { request: id, by: by.clone() });
    if let Some((incident, response)) = &held.response {
        let mut approved_by = held.approved_by.clone();
        approved_by.insert(by.clone());
        let approvals = approved_by.iter().filter(|one| may_decide(draft, held, one)).count() as u32;
        if approvals >= held.needed {
            run(draft, id, *incident, response, &approved_by);
        }
    }
    Verdict::Taken
}

fn groups_of(held: &Held) -> impl Iterator<Item = &str> {
    held.groups()
}

/// Carries an approved response out, if policy still permits it at this moment.
fn run(
    draft: &mut Draft<'_>,
    id: RequestId,
    incident: IncidentId,
    response: &Response,
    approved_by: &BTreeSet<OperatorId>,
) {
    let asked = draft.incident(incident).cloned().and_then(|known| respond::request(draft, &known, response));
    let Some(asked) = asked else {
        return draft.record(Record::HeldEnded { request: id, by: None });
    };
    let digest = respond::response_digest(incident, response);
    let Some(permit) = permitted(draft, &asked, digest) else {
        draft.record(Record::HeldEnded { request: id, by: None });
        return draft.record(Record::ResponseWithheld { incident, response: response.clone() });
    };
    let needs = permit.obligations();
    let groups = || needs.approvers.iter().map(String::as_str);
    let counts = |one: &&OperatorId| may_approve_response(draft, one, incident, groups());
    if (approved_by.iter().filter(counts).count() as u32) < needs.approvals {
        return;
    }
    // done is what was done: the two are never recorded apart
    if respond::run_response(draft, permit, incident, response) {
        draft.record(Record::HeldDone { request: id });
    } else {
        draft.record(Record::HeldEnded { request: id, by: None });
        draft.record(Record::ResponseWithheld { incident, response: response.clone() });
    }
}

/// Denies a held request: one denial of an approver ends it, and its asker can withdraw it.
pub(super) fn deny(draft: &mut Draft<'_>, permit: Permit, by: &OperatorId, id: RequestId, digest: Hash) -> Verdict {
    drop(permit);
    let held = match open(draft, id, digest) {
        Ok(held) => held,
        Err(refusal) => {
            draft.refuse(refusal);
            return Verdict::Taken;
        }
    };
    let of_own = matches!(&held.response, Some((_, Response::RevokeOperator(accused))) if accused == by);
    if of_own || (!is_asker(held, by) && !may_approve(draft.state, by, groups_of(held))) {
        draft.refuse(Refusal::NotAnApprover);
        return Verdict::Denied;
    }
    draft.record(Record::HeldEnded { request: id, by: Some(by.clone()) });
    Verdict::Taken
}

/// What a held response that is asked for anew takes of a step's room, in keys: the names of its policies and its
/// summary are in the entry again.
const HELD_COST: usize = 4;

/// Ends what time has overtaken, and what belongs to operators without a credential; as much as the step has room
/// for: an entry that would not fit would stop all that is due after it.
pub(crate) fn expire(draft: &mut Draft<'_>) {
    let state = draft.state;
    let revoked = |operator: &OperatorId| state.operator(operator).is_none_or(|operator| operator.revoked);
    for (id, grant) in state.access().grants() {
        if grant.expires <= draft.now || revoked(&grant.operator) {
            if !draft.spend() {
                return;
            }
            draft.record(Record::GrantExpired { grant: *id });
        }
    }
    for (id, held) in state.access().held() {
        let of_revoked = matches!(&held.by, Principal::Operator(operator) if revoked(operator));
        let is_over = held.expires <= draft.now || (of_revoked && held.response.is_none());
        if !is_over {
            continue;
        }
        if !(0..HELD_COST).all(|_| draft.spend()) {
            return;
        }
        if held.response.is_some() {
            ask_again(draft, *id, held);
        } else {
            draft.record(Record::HeldEnded { request: *id, by: None });
        }
    }
}

/// A response that nobody decided on in time is asked for anew: silence voids nothing that the engine
/// decided, only people do.
fn ask_again(draft: &mut Draft<'_>, id: RequestId, held: &Held) {
    draft.record(Record::HeldEnded { request: id, by: None });
    let waits = |incident: &crate::state::incident::Incident| incident.state != IncidentState::Reviewed;
    if !held.response.as_ref().is_some_and(|(id, _)| draft.incident(*id).is_some_and(waits)) {
        return;
    }
    let Some(settings) = draft.state.settings() else { return };
    let (request, expires) = (draft.next_request(), draft.now + settings.approval_timeout);
    draft.record(Record::Held {
        request,
        by: held.by.clone(),
        digest: held.digest,
        summary: held.summary.clone(),
        needed: held.needed,
        group: held.group.clone(),
        expires,
        response: held.response.clone(),
        asked: held.asked.clone(),
        policies: held.policies.clone(),
    });
}

/// Ends the grants and held requests of an operator whose credential is revoked in this step.
pub(crate) fn end_all_of(draft: &mut Draft<'_>, operator: &OperatorId) {
    let access = draft.state.access();
    for (id, _) in access.grants().iter().filter(|(_, grant)| grant.operator == *operator) {
        draft.record(Record::GrantExpired { grant: *id });
    }
    for (id, _) in access.held().iter().filter(|(_, held)| is_asker(held, operator)) {
        draft.record(Record::HeldEnded { request: *id, by: None });
    }
}
