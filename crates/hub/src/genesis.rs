//! The first entry of a boundary, from the configuration.

use std::collections::BTreeSet;

use crypto::{Entropy, EntropyError};
use kernel::event::{Event, Genesis};
use kernel::policy::{PolicyError, PolicySet};
use kernel::record::{Record, Refusal};
use tokio::sync::oneshot;
use types::{Hash, Timestamp};

use crate::config::{ConfigError, HubConfig};
use crate::sequencer::{Core, Pending, Receipt, SubmitError};

/// A boundary cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The policy file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The policies.
    #[error("the policies do not validate: {0}")]
    Policy(#[from] PolicyError),
    /// An operator, a node or a link.
    #[error("{0}")]
    Value(String),
    /// No healthy entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The kernel refused it.
    #[error("the boundary was refused: {0}")]
    Refused(Refusal),
    /// It could not be recorded.
    #[error(transparent)]
    Record(#[from] SubmitError),
}

/// Begins the boundary of `config` where `core` has none. Returns whether it did.
///
/// # Errors
/// [`GenesisError`]; nothing was recorded then.
pub async fn begin(
    core: &mut Core,
    config: &HubConfig,
    entropy: &Entropy,
    now: Timestamp,
) -> Result<bool, GenesisError> {
    if core.state().boundary().is_some() {
        return Ok(false);
    }
    let genesis = genesis(core, config, entropy, now)?;
    let (reply, mut answer) = oneshot::channel();
    let pending = Pending { reply: Some(reply), ..Pending::quiet(Event::Create(Box::new(genesis))) };
    core.commit(vec![pending], now).await;
    let receipt: Receipt = answer.try_recv().map_err(|_| SubmitError::Stopped)??;
    match receipt.records().iter().find_map(|record| match record {
        Record::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    }) {
        Some(refusal) => Err(GenesisError::Refused(refusal)),
        None => Ok(true),
    }
}

fn genesis(core: &Core, config: &HubConfig, entropy: &Entropy, now: Timestamp) -> Result<Genesis, GenesisError> {
    let policy = config.policy_text()?;
    PolicySet::parse(&policy)?;
    let operators = config.operator_specs(now).map_err(GenesisError::Value)?;
    if operators.is_empty() {
        return Err(GenesisError::Value("`operators` is empty: nobody could give a command; add one".to_owned()));
    }
    unique(operators.iter().map(|operator| operator.id.as_str()), "operator")?;
    unique(config.nodes.iter().map(|node| node.id.as_str()), "node")?;
    Ok(Genesis {
        boundary: config.boundary.clone(),
        settings: config.settings.settings(),
        policy,
        operators,
        nodes: config.node_specs(),
        links: config.links.iter().map(|link| link.0.clone()).collect(),
        salt: Hash::new(entropy.array::<32>()?),
        audit_key: core.audit_key(),
    })
}

fn unique<'a>(names: impl Iterator<Item = &'a str>, what: &str) -> Result<(), GenesisError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(GenesisError::Value(format!("the {what} `{name}` is listed twice: remove one")));
        }
    }
    Ok(())
}
