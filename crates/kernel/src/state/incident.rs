//! Incidents, their responses and recoveries as the kernel knows them.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use types::mesh::{Severity, SignalKind, Subject};
use types::{KeyId, NodeId, OperatorId, Timestamp};

use super::table;
use crate::record::{Principal, RecoveryStep, Response};

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "UPPERCASE")]
pub enum IncidentState {
    /// Under way.
    #[n(0)]
    Open,
    /// Over: recovered, or its cause went away. Comes up for review.
    #[n(1)]
    Settled,
    /// Signed off by an operator.
    #[n(2)]
    Reviewed,
}

/// What became of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum ResponseState {
    /// Waits for approval (SM-09).
    #[n(0)]
    Held,
    /// Carried out.
    #[n(1)]
    Done,
    /// Policy does not allow it.
    #[n(2)]
    Withheld,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Incident {
    /// What it is about.
    #[n(0)]
    pub subject: Subject,
    /// What was noticed first.
    #[n(1)]
    pub kind: SignalKind,
    /// Its class.
    #[n(2)]
    pub severity: Severity,
    /// Where it stands.
    #[n(3)]
    pub state: IncidentState,
    /// When it began.
    #[n(4)]
    pub opened: Timestamp,
    /// What the engine did about it.
    #[n(5)]
    #[cbor(with = "table")]
    pub responses: BTreeMap<Response, ResponseState>,
    /// The recovery, where there is one.
    #[n(6)]
    pub recovery: Recovery,
    /// Who reviewed it, and the finding.
    #[n(7)]
    pub review: Option<Review>,
    /// Operators on whose word it stands: they do not approve what the engine asks about it.
    #[n(8)]
    pub signalled_by: BTreeSet<OperatorId>,
    /// Who broke the glass over it, where somebody did.
    #[n(9)]
    pub broken_by: Option<OperatorId>,
}

/// The review of an incident (SM-08e).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Review {
    /// By whom.
    #[n(0)]
    pub by: OperatorId,
    /// The finding.
    #[n(1)]
    pub note: String,
    /// When.
    #[n(2)]
    pub at: Timestamp,
}

/// How far the six steps of a recovery are (KM-13).
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Recovery {
    /// The steps that are recorded, and when.
    #[n(0)]
    #[cbor(with = "table")]
    pub steps: BTreeMap<RecoveryStep, Timestamp>,
    /// Nodes that confirmed the isolation.
    #[n(1)]
    pub cut_off_by: BTreeSet<NodeId>,
    /// Once verification began: what each node has yet to prove.
    #[n(2)]
    pub unproven: Option<Unproven>,
}

/// What each node has yet to prove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Unproven {
    /// Keys by node.
    #[n(0)]
    #[cbor(with = "table")]
    pub keys: BTreeMap<NodeId, BTreeSet<KeyId>>,
}

impl Recovery {
    /// Whether the steps of the decision are done and those of the confirmation are not.
    pub fn is_under_way(&self) -> bool {
        use RecoveryStep as Step;
        let has = |step| self.steps.contains_key(&step);
        has(Step::Isolate) && has(Step::Revoke) && has(Step::ReKey) && !has(Step::Report)
    }
}

/// A signal as the correlation remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Noted {
    /// Who noticed.
    #[n(0)]
    pub source: Principal,
    /// What.
    #[n(1)]
    pub kind: SignalKind,
    /// How sure, in parts per million.
    #[n(2)]
    pub confidence_ppm: u32,
    /// Its class.
    #[n(3)]
    pub severity: Severity,
    /// When.
    #[n(4)]
    pub at: Timestamp,
}

impl Incident {
    /// Whether nothing of it waits for a decision or for nodes: no response is held, and no recovery
    /// is on its way to its report. Only then it can be reviewed (SM-08e).
    pub fn is_decided(&self) -> bool {
        !self.responses.values().any(|state| *state == ResponseState::Held) && !self.recovery.is_under_way()
    }

    /// Whether a review is owed: it is over, and what the engine did about it took something from
    /// somebody (SM-08e).
    pub fn owes_review(&self) -> bool {
        let took = |response: &Response| !matches!(response, Response::Watch(_) | Response::Reauthenticate(_));
        let mut done = self.responses.iter().filter(|(_, state)| **state == ResponseState::Done);
        self.state == IncidentState::Settled && (self.broken_by.is_some() || done.any(|(response, _)| took(response)))
    }
}
