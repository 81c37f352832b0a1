//! One request, from its arrival to its answer.

use types::{GrantId, Hash, Timestamp};

use super::approval;
use super::burst;
use super::question::{command_digest, question};
use super::state::Grant;
use crate::commands;
use crate::draft::Draft;
use crate::event::{Command, Request, SignedRequest};
use crate::policy::{Obligations, Permit};
use crate::record::{Principal, Record, Refusal};
use crate::sentinel::permitted;
use crate::state::State;

/// Most grants, and most held requests, one operator can have open.
pub const MOST_OPEN: usize = 64;

/// What became of a request that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Carried out, held, granted, or refused for what it is about.
    Taken,
    /// The asker may not: counts towards a burst.
    Denied,
}

/// Longest reason of a request, in bytes.
pub const REASON_LEN: usize = 512;

/// Takes a request whose signature the hub has verified.
pub(crate) fn handle(draft: &mut Draft<'_>, signed: &SignedRequest) {
    let request = &signed.request;
    if let Err(refusal) = check(draft, request) {
        return draft.refuse(refusal);
    }
    draft.record(Record::NonceSpent { operator: request.operator.clone(), nonce: request.nonce, at: request.at });
    if answer(draft, signed) == Verdict::Denied {
        burst::denied(draft, &request.operator);
    }
}

/// Whether the request is for this boundary, of a known operator in good standing, fresh and new.
fn check(draft: &Draft<'_>, request: &Request) -> Result<(), Refusal> {
    let state = draft.state;
    let known = state.operator(&request.operator).is_some_and(|operator| !operator.revoked);
    if state.id() != Some(&request.boundary) || !known {
        return Err(Refusal::UnknownOperator);
    }
    if state.operator(&request.operator).is_some_and(|operator| operator.expires <= draft.now) {
        return Err(Refusal::KeyExpired);
    }
    // It is shown to people: one line, and no letter that does more than stand there.
    if request.reason.len() > REASON_LEN || request.reason.chars().any(char::is_control) {
        return Err(Refusal::OutOfBounds);
    }
    if !state.in_good_standing(&request.operator) && !approves_the_engine(state, &request.command) {
        return Err(Refusal::Quarantined);
    }
    let nonces = &state.access().nonces;
    if !nonces.is_fresh(request.at, draft.now) {
        return Err(Refusal::Stale);
    }
    if nonces.is_spent(&request.operator, &request.nonce) {
        return Err(Refusal::Replayed);
    }
    Ok(())
}

/// Whether a command says yes to what the engine asks: all that is left to who is under quarantine, so
/// that nobody keeps a response from happening by cutting off who would approve it.
fn approves_the_engine(state: &State, command: &Command) -> bool {
    let Command::Approve { request, .. } = command else { return false };
    state.access().held().get(request).is_some_and(|held| held.response.is_some())
}

fn answer(draft: &mut Draft<'_>, signed: &SignedRequest) -> Verdict {
    let request = &signed.request;
    let question = match question(draft, request) {
        Ok(question) => question,
        Err(refusal) => {
            draft.refuse(refusal);
            return Verdict::Taken;
        }
    };
    let digest = command_digest(&request.boundary, &request.operator, &request.command);
    let Some(permit) = permitted(draft, &question.operator, digest) else { return Verdict::Denied };
    let mut obligations = permit.obligations().clone();
    let mut policies = permit.policies().to_vec();
    if let Some(node) = &question.node {
        let Some(permit) = permitted(draft, node, digest) else { return Verdict::Denied };
        obligations = obligations.strictest(permit.obligations());
        policies.extend_from_slice(permit.policies());
        policies.sort();
    }
    let breaks_glass = matches!(request.command, Command::BreakGlass { .. } | Command::ConfirmBreakGlass { .. });
    if (!obligations.is_immediate() || breaks_glass) && request.reason.trim().is_empty() {
        draft.refuse(Refusal::NoReason);
        return Verdict::Taken;
    }
    match request.grant {
        Some(grant) => redeem(draft, request, permit, &obligations, grant, digest),
        None if obligations.is_immediate() => execute(draft, permit, request),
        None => obtain(draft, signed, (&obligations, &policies), digest),
    }
}

fn execute(draft: &mut Draft<'_>, permit: Permit, request: &Request) -> Verdict {
    match &request.command {
        Command::Approve { request: held, digest } => {
            approval::approve(draft, permit, &request.operator, *held, *digest)
        }
        Command::Deny { request: held, digest } => approval::deny(draft, permit, &request.operator, *held, *digest),
        command => {
            commands::execute(draft, permit, &request.operator, command);
            Verdict::Taken
        }
    }
}

/// Uses a grant up and carries its command out. The permit is of this moment, and so is the count of
/// the approvals.
fn redeem(
    draft: &mut Draft<'_>,
    request: &Request,
    permit: Permit,
    obligations: &Obligations,
    id: GrantId,
    digest: Hash,
) -> Verdict {
    let fits = |grant: &&Grant| {
        grant.operator == request.operator
            && grant.digest == digest
            && draft.now < grant.expires
            && approval::count(draft.state, obligations, &request.operator, &grant.approved_by) >= obligations.approvals
    };
    if draft.state.access().grants().get(&id).filter(fits).is_none() {
        draft.refuse(Refusal::BadGrant);
        return Verdict::Denied;
    }
    draft.record(Record::GrantUsed { grant: id });
    execute(draft, permit, request)
}

/// Gives a grant, or holds the request until it has its approvals. Asked again, it finds what is held.
fn obtain(draft: &mut Draft<'_>, signed: &SignedRequest, asks: (&Obligations, &[String]), digest: Hash) -> Verdict {
    let (request, obligations) = (&signed.request, asks.0);
    let access = draft.state.access();
    if obligations.approvals == 0 {
        return grant(draft, request, obligations, digest);
    }
    let by = Principal::Operator(request.operator.clone());
    let found = access.held_for(&by, &digest);
    let (id, held) = match found {
        Some((id, held)) if draft.now < held.expires => (id, held),
        ended => {
            if let Some((id, _)) = ended {
                draft.record(Record::HeldEnded { request: id, by: None });
            }
            return hold(draft, signed, by, asks, digest);
        }
    };
    let approved = approval::count(draft.state, obligations, &request.operator, &held.approved_by);
    if approved < obligations.approvals.max(held.needed) {
        return Verdict::Taken;
    }
    // The grant comes first: applying it takes the approvals over from what was held.
    let verdict = grant(draft, request, obligations, digest);
    draft.record(Record::HeldDone { request: id });
    verdict
}

/// There is one open grant for a command: a new one ends those before it.
fn grant(draft: &mut Draft<'_>, request: &Request, obligations: &Obligations, digest: Hash) -> Verdict {
    let open = draft.state.access().grants().iter().filter(|(_, grant)| grant.operator == request.operator);
    let (same, other): (Vec<_>, Vec<_>) = open.partition(|(_, grant)| grant.digest == digest);
    if other.len() >= MOST_OPEN {
        draft.refuse(Refusal::OutOfBounds);
        return Verdict::Taken;
    }
    for (id, _) in same {
        draft.record(Record::GrantExpired { grant: *id });
    }
    let expires: Timestamp = draft.now + obligations.ttl;
    let grant = draft.next_grant();
    draft.record(Record::Granted { grant, operator: request.operator.clone(), digest, expires });
    Verdict::Taken
}

fn hold(
    draft: &mut Draft<'_>,
    signed: &SignedRequest,
    by: Principal,
    asks: (&Obligations, &[String]),
    digest: Hash,
) -> Verdict {
    let open = draft.state.access().held().values().filter(|held| held.by == by).count();
    if open >= MOST_OPEN {
        draft.refuse(Refusal::OutOfBounds);
        return Verdict::Taken;
    }
    let summary = super::summary::of_command(&signed.request.command);
    approval::hold(draft, by, digest, summary, asks, approval::What::Request(Box::new(signed.clone())));
    Verdict::Taken
}
