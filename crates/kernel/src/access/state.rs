//! What the kernel remembers of requests: the fold of their records.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use types::mesh::{SignalKind, Subject};
use types::{GrantId, Hash, IncidentId, OperatorId, RequestId, Timestamp};

use super::burst::Denials;
use super::nonces::Nonces;
use crate::event::SignedRequest;
use crate::record::{Principal, Record, Response};
use crate::state::table;

/// A request that waits for approvals.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Held {
    /// Who asked.
    #[n(0)]
    pub by: Principal,
    /// Digest of what was asked for.
    #[n(1)]
    pub digest: Hash,
    /// What was asked for, for people.
    #[n(2)]
    pub summary: String,
    /// How many distinct people besides the asker must approve.
    #[n(3)]
    pub needed: u32,
    /// The groups each of them must be in, joined by commas.
    #[n(4)]
    pub group: String,
    /// When it ends by itself.
    #[n(5)]
    pub expires: Timestamp,
    /// The held response, where the engine asked.
    #[n(6)]
    pub response: Option<(IncidentId, Response)>,
    /// Who approved so far.
    #[n(7)]
    pub approved_by: BTreeSet<OperatorId>,
    /// The request as its asker signed it; `None` where the engine asked.
    #[n(8)]
    pub asked: Option<Box<SignedRequest>>,
    /// Names of the policies that permit it under these approvals.
    #[n(9)]
    pub policies: Vec<String>,
}

impl Held {
    /// The groups each approver must be in.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.group.split(',').filter(|group| !group.is_empty())
    }
}

/// A grant that can still be used.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// To whom.
    #[n(0)]
    pub operator: OperatorId,
    /// Digest of the one command it allows.
    #[n(1)]
    pub digest: Hash,
    /// When it ends.
    #[n(2)]
    pub expires: Timestamp,
    /// Who approved it.
    #[n(3)]
    pub approved_by: BTreeSet<OperatorId>,
}

/// Held requests, open grants, spent nonces and recent denials of a boundary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Access {
    #[n(0)]
    #[cbor(with = "table")]
    held: BTreeMap<RequestId, Held>,
    #[n(1)]
    #[cbor(with = "table")]
    grants: BTreeMap<GrantId, Grant>,
    #[n(2)]
    pub(super) nonces: Nonces,
    #[n(3)]
    pub(super) denials: Denials,
}

impl Access {
    /// Whether a request signed at `at` may be taken at `now`.
    pub fn is_fresh(&self, at: Timestamp, now: Timestamp) -> bool {
        self.nonces.is_fresh(at, now)
    }

    /// Whether a request with this nonce was taken before.
    pub fn is_spent(&self, operator: &OperatorId, nonce: &Hash) -> bool {
        self.nonces.is_spent(operator, nonce)
    }

    /// Every held request.
    pub fn held(&self) -> &BTreeMap<RequestId, Held> {
        &self.held
    }

    /// The held request of `by` for what has this digest.
    pub fn held_for(&self, by: &Principal, digest: &Hash) -> Option<(RequestId, &Held)> {
        self.held.iter().find(|(_, held)| held.by == *by && held.digest == *digest).map(|(id, held)| (*id, held))
    }

    /// Every grant that is neither used nor ended.
    pub fn grants(&self) -> &BTreeMap<GrantId, Grant> {
        &self.grants
    }

    /// How many nonces are remembered.
    pub fn nonces(&self) -> usize {
        self.nonces.len()
    }

    /// Applies one record of an entry made at `at`. Total: what it does not know it passes over.
    pub fn apply(&mut self, record: &Record, at: Timestamp) {
        match record {
            Record::NonceSpent { operator, nonce, at } => self.nonces.spend(operator, *nonce, *at),
            Record::Denied { operator } => self.denials.count(operator, at),
            Record::SignalNoted { subject: Subject::Operator(operator), kind: SignalKind::DenialBurst, .. } => {
                self.denials.forget(operator);
            }
            Record::Held { request, by, digest, summary, needed, group, expires, response, asked, policies } => {
                let held = Held {
                    by: by.clone(),
                    digest: *digest,
                    summary: summary.clone(),
                    needed: *needed,
                    group: group.clone(),
                    expires: *expires,
                    response: response.clone(),
                    approved_by: BTreeSet::new(),
                    asked: asked.clone(),
                    policies: policies.clone(),
                };
                self.held.insert(*request, held);
            }
            Record::Approved { request, by } => {
                if let Some(held) = self.held.get_mut(request) {
                    held.approved_by.insert(by.clone());
                }
            }
            Record::HeldEnded { request, .. } | Record::HeldDone { request } => {
                self.held.remove(request);
            }
            Record::Granted { grant, operator, digest, expires } => {
                // A grant that was held comes before the end of what was held, in the same entry.
                let asked = self.held_for(&Principal::Operator(operator.clone()), digest);
                let approved_by = asked.map(|(_, held)| held.approved_by.clone()).unwrap_or_default();
                let grant_of = Grant { operator: operator.clone(), digest: *digest, expires: *expires, approved_by };
                self.grants.insert(*grant, grant_of);
            }
            Record::HubStarted { .. } => {
                self.grants.clear();
                self.nonces.forbid_before(at);
            }
            Record::GrantUsed { grant } | Record::GrantExpired { grant } => {
                self.grants.remove(grant);
            }
            _ => {}
        }
    }
}
