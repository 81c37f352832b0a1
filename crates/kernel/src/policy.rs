//! Policy: default deny, deny wins, the same inputs give the same bytes (QT-01).
//!
//! The language is Cedar. A set is validated strictly against the built-in schema when it is read,
//! so that a decision meets no unknown name or type. [`decide`] is a pure function; time is part of
//! the request. A policy that fails while it is evaluated denies the whole request.
//!
//! A [`Permit`] can be made by [`decide`] alone. What needs permission takes one by value.

mod index;
mod memo;
mod obligations;
mod parse;
mod request;

use cedar_policy as cedar;
use types::{Hash, Label};

use crate::record::DecisionRecord;
use memo::Answer;
pub use obligations::{DEFAULT_TTL, MAX_APPROVALS, MAX_TTL, MIN_TTL, Obligations};
pub use parse::PolicyError;
pub use request::{Action, Actor, Facts, NodeRef, Request, Resource};

/// The policies a boundary begins with, where it brings none of its own.
pub const DEFAULT_POLICY: &str = include_str!("../../../policies/default.cedar");

/// The schema every policy is validated against.
pub const SCHEMA: &str = include_str!("../../../policies/qecnet.cedarschema");

/// A validated set of policies with the index that decisions are made from.
#[derive(Debug, Clone)]
pub struct PolicySet {
    text: String,
    hash: Hash,
    whole: cedar::PolicySet,
    index: index::Index,
    names: request::Names,
    obligations: std::collections::BTreeMap<String, Obligations>,
    memo: memo::Memo,
}

impl PolicySet {
    /// Reads and validates policies. Each is named by `@id`, 1 to 64 of `a-z`, `0-9` and `-`;
    /// templates, unknown annotations and bad values are errors.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        parse::parse(text)
    }

    /// The canonical text: line ends are single line feeds, one at the end. Decisions depend on it
    /// alone, so its hash names them.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// `Label::POLICY` over the canonical text.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Names of the policies, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.obligations.keys().map(String::as_str)
    }

    /// What each policy asks for before its permit is used.
    pub fn obligations(&self) -> impl Iterator<Item = &Obligations> {
        self.obligations.values()
    }

    /// Whether `request` fits the schema, attributes of its entities included. One that does not is
    /// denied.
    pub fn conforms(&self, request: &Request) -> Result<(), PolicyError> {
        request.conforms(&self.names)
    }
}

/// Two sets are equal where they were read from the same canonical text.
impl PartialEq for PolicySet {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PolicySet {}

fn hash_of(text: &str) -> Hash {
    Label::POLICY.hash(&[text.as_bytes()])
}

/// Proof that policy allows one action on one resource. Neither `Clone` nor constructible outside
/// this module.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    action: Action,
    resource: String,
    policies: Vec<String>,
    obligations: Obligations,
}

impl Permit {
    /// The action it allows.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The Cedar resource it allows it on, as `Type::"id"`.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Names of the permitting policies, sorted.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// What must be met before it is used.
    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }
}

/// The answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed, under the permit's obligations.
    Permit(Permit),
    /// Not allowed.
    Deny {
        /// Names of the forbidding policies and `error:` with the name of each that failed, sorted;
        /// empty where no policy speaks for the request; `error` alone where the schema has no such
        /// request.
        reasons: Vec<String>,
    },
}

impl Decision {
    /// The decision as it is recorded.
    pub fn record(&self, policies: &PolicySet, request: &Request, digest: Hash) -> DecisionRecord {
        let (permit, reasons) = match self {
            Self::Permit(permit) => (true, permit.policies.clone()),
            Self::Deny { reasons } => (false, reasons.clone()),
        };
        DecisionRecord {
            principal: request.actor.principal(),
            action: request.action.as_str().to_owned(),
            resource: request.resource.to_string(),
            digest,
            policy: policies.hash(),
            permit,
            reasons,
        }
    }
}

/// Decides `request`. Deterministic and total: what cannot be evaluated is denied.
pub fn decide(policies: &PolicySet, request: &Request) -> Decision {
    let find = || match policies.memo.lower(&policies.names, request) {
        Ok(lowered) => conclude(policies, policies.index.evaluate(request, &lowered)),
        Err(_) => Answer::Deny(vec!["error".to_owned()]),
    };
    let answer = if policies.index.is_timed(request) { find() } else { policies.memo.recall(request, find) };
    decision(request, answer)
}

/// Decides as [`decide`] does, by Cedar's own scan of the whole set: the model its index is tested
/// against.
pub fn decide_by_scan(policies: &PolicySet, request: &Request) -> Decision {
    let Ok(lowered) = request.lower_checked(&policies.names) else {
        return Decision::Deny { reasons: vec!["error".to_owned()] };
    };
    let mut outcome = index::Outcome::default();
    outcome.add(&cedar::Authorizer::new(), &policies.whole, &lowered);
    decision(request, conclude(policies, outcome))
}

fn conclude(policies: &PolicySet, outcome: index::Outcome) -> Answer {
    if outcome.denies() {
        return Answer::Deny(outcome.reasons_to_deny());
    }
    let permitting: Vec<String> = outcome.permits.into_iter().collect();
    let found = permitting.iter().filter_map(|id| policies.obligations.get(id));
    let obligations = found.fold(Obligations::default(), Obligations::strictest);
    Answer::Permit(permitting, obligations)
}

/// The one place where a [`Permit`] is made.
fn decision(request: &Request, answer: Answer) -> Decision {
    match answer {
        Answer::Permit(policies, obligations) => Decision::Permit(Permit {
            action: request.action,
            resource: request.resource.to_string(),
            policies,
            obligations,
        }),
        Answer::Deny(reasons) => Decision::Deny { reasons },
    }
}
