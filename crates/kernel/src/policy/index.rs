//! An index in front of Cedar's linear scan.
//!
//! Policies lie in buckets by what their scope says about action, principal and resource. A request
//! looks only into the buckets its own action, names, types and groups lead to. Every other policy
//! has a scope that is false for it, and Cedar evaluates nothing of a policy whose scope is false:
//! so the satisfied policies and the errors are those of a scan of the whole set. Buckets are
//! evaluated one by one and their outcomes united; a forbid in any of them wins.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy as cedar;

use super::memo::is_timed;
use super::request::{Action, Lowered, Request};

/// What a scope asks of a principal or resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// Nothing.
    Any,
    /// To be of a type.
    Type(String),
    /// To be this entity or to be in it, written `Type::"id"`.
    Entity(String),
}

type Buckets = BTreeMap<Scope, BTreeMap<Scope, cedar::PolicySet>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    actions: BTreeMap<Action, Buckets>,
    /// Actions with a policy whose answer may depend on the time.
    timed: BTreeSet<Action>,
}

impl Index {
    /// Files one policy under every action its scope names.
    pub(super) fn insert(&mut self, policy: &cedar::Policy) -> Result<(), Box<cedar::PolicySetError>> {
        let principal = match policy.principal_constraint() {
            cedar::PrincipalConstraint::Any => Scope::Any,
            cedar::PrincipalConstraint::Is(kind) => Scope::Type(kind.to_string()),
            cedar::PrincipalConstraint::In(uid)
            | cedar::PrincipalConstraint::Eq(uid)
            | cedar::PrincipalConstraint::IsIn(_, uid) => Scope::Entity(uid.to_string()),
        };
        let resource = match policy.resource_constraint() {
            cedar::ResourceConstraint::Any => Scope::Any,
            cedar::ResourceConstraint::Is(kind) => Scope::Type(kind.to_string()),
            cedar::ResourceConstraint::In(uid)
            | cedar::ResourceConstraint::Eq(uid)
            | cedar::ResourceConstraint::IsIn(_, uid) => Scope::Entity(uid.to_string()),
        };
        let timed = is_timed(&policy.to_string());
        for action in actions_of(policy) {
            if timed {
                self.timed.insert(action);
            }
            let by_principal = self.actions.entry(action).or_default();
            let bucket = by_principal.entry(principal.clone()).or_default().entry(resource.clone()).or_default();
            bucket.add(policy.clone()).map_err(Box::new)?;
        }
        Ok(())
    }

    /// Whether the answer to `request` may depend on its time: by a policy, or because Cedar cannot
    /// hold so late a time.
    pub(super) fn is_timed(&self, request: &Request) -> bool {
        self.timed.contains(&request.action) || i64::try_from(request.now.as_millis()).is_err()
    }

    /// Evaluates what may apply to `request`.
    pub(super) fn evaluate(&self, request: &Request, lowered: &Lowered) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(buckets) = self.actions.get(&request.action) else {
            return outcome;
        };
        let authorizer = cedar::Authorizer::new();
        let resources = scopes(request.resource.kind(), std::iter::once(request.resource.to_string()));
        for principal in scopes(request.actor.kind(), request.actor.names()) {
            let Some(by_resource) = buckets.get(&principal) else { continue };
            for bucket in resources.iter().filter_map(|resource| by_resource.get(resource)) {
                outcome.add(&authorizer, bucket, lowered);
            }
        }
        outcome
    }
}

/// Every scope that is true for an entity of this type with these names (its own and its groups').
fn scopes(kind: &str, names: impl Iterator<Item = String>) -> BTreeSet<Scope> {
    let mut scopes: BTreeSet<Scope> = names.map(Scope::Entity).collect();
    scopes.insert(Scope::Any);
    scopes.insert(Scope::Type(kind.to_owned()));
    scopes
}

/// The schema has no groups of actions, so `in` names actions just as `==` does.
fn actions_of(policy: &cedar::Policy) -> Vec<Action> {
    let named = match policy.action_constraint() {
        cedar::ActionConstraint::Any => return Action::ALL.to_vec(),
        cedar::ActionConstraint::In(uids) => uids,
        cedar::ActionConstraint::Eq(uid) => vec![uid],
    };
    let is_named = |action: &&Action| named.iter().any(|uid| uid.id().unescaped() == action.as_str());
    Action::ALL.iter().filter(is_named).copied().collect()
}

/// What evaluating policies came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Satisfied permits; complete only where nothing forbids.
    pub(super) permits: BTreeSet<String>,
    forbids: BTreeSet<String>,
    errors: BTreeSet<String>,
}

impl Outcome {
    /// Evaluates `policies` and adds what they say.
    pub(super) fn add(&mut self, authorizer: &cedar::Authorizer, policies: &cedar::PolicySet, lowered: &Lowered) {
        let response = authorizer.is_authorized(&lowered.request, policies, &lowered.entities);
        // A deny without a reason is the default: nothing of these policies speaks for the request.
        let satisfied = match response.decision() {
            cedar::Decision::Allow => &mut self.permits,
            cedar::Decision::Deny => &mut self.forbids,
        };
        satisfied.extend(response.diagnostics().reason().map(ToString::to_string));
        self.errors.extend(response.diagnostics().errors().map(|error| match error {
            cedar::AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
        }));
    }

    pub(super) fn denies(&self) -> bool {
        self.permits.is_empty() || !self.forbids.is_empty() || !self.errors.is_empty()
    }

    pub(super) fn reasons_to_deny(self) -> Vec<String> {
        let errors = self.errors.into_iter().map(|id| format!("error:{id}"));
        let mut reasons: Vec<String> = self.forbids.into_iter().chain(errors).collect();
        reasons.sort();
        reasons
    }
}
