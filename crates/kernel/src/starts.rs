//! Starts of the hub and of nodes, and stores that were put back to an earlier state (S7).
//!
//! A store cannot tell that it is a copy of an earlier state of itself. The other side can: a node names the starts it
//! knows of and the account it gave last, and what it last saw of the hub's log; the log knows better.

use minicbor::{Decode, Encode};
use types::mesh::{SignalKind, Subject};
use types::{Hash, NodeId, Timestamp};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::record::{Principal, Record, Refusal};
use crate::sentinel::{self, classify};

/// Most earlier starts that a node names.
pub const EARLIER_STARTS: usize = 16;

/// The hub's starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct HubStart {
    /// How many there were.
    #[n(0)]
    pub number: u64,
    /// Names the last of them.
    #[n(1)]
    pub name: Option<Hash>,
    /// When it was.
    #[n(2)]
    pub at: Timestamp,
}

/// What a node says of its start.
pub(crate) struct Said<'e> {
    pub(crate) start: Hash,
    pub(crate) earlier: &'e [Hash],
    pub(crate) account: Option<u64>,
    pub(crate) unknown: bool,
}

/// The hub acts again. Grants of before are void, and requests signed before are stale: the log may be a copy of an
/// earlier state, in which they were not used yet.
pub(crate) fn hub_started(draft: &mut Draft<'_>, start: Hash) {
    draft.record(Record::HubStarted { start });
}

/// A node says in which start it runs.
pub(crate) fn node_started(draft: &mut Draft<'_>, node: &NodeId, said: &Said<'_>) {
    if draft.state.node(node).is_none() || draft.is_isolated(node) {
        return draft.refuse(Refusal::NoSuchNode);
    }
    if said.earlier.len() > EARLIER_STARTS {
        return draft.refuse(Refusal::OutOfBounds);
    }
    if said.unknown {
        // Of the two it is the log that is behind: what the node says of itself is no sign against it.
        let hub = Subject::Node(NodeId::hub());
        let weight = classify::weight(classify::Voice::Own, SignalKind::StoreRewound);
        sentinel::note(draft, &Principal::Node(node.clone()), &hub, SignalKind::StoreRewound, weight);
    }
    let known = draft.state.started(node);
    if known == Some(said.start) {
        return;
    }
    let missed = known.is_some_and(|known| !said.earlier.contains(&known));
    let behind = said.account.is_some_and(|account| account < draft.state.accounted(node));
    let rewound = !said.unknown && (missed || behind);
    draft.record(Record::NodeStarted { node: node.clone(), start: said.start, rewound });
    draft.effect(Effect::Standing(node.clone()));
    if rewound {
        let source = Principal::Node(NodeId::hub());
        let subject = Subject::Node(node.clone());
        sentinel::note(draft, &source, &subject, SignalKind::StoreRewound, classify::CERTAIN_PPM);
    }
}
