//! Messages under way. A session delivers in order until it breaks; what is under way then is lost.

use std::collections::BTreeMap;

use kernel::event::Event;
use types::{Hash, KeyId, Millis, NodeId, Timestamp};

/// A made share as it goes to a participant.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub(crate) key: KeyId,
    pub(crate) content: Hash,
}

/// From the hub to a node.
#[derive(Debug, Clone)]
pub(crate) enum ToNode {
    Deliver(Vec<Share>),
    Activate(Vec<(KeyId, Option<KeyId>)>),
    Forget(Vec<KeyId>),
    Purge(Vec<KeyId>),
    Isolate { node: NodeId, epoch: u64 },
    Readmit { node: NodeId, epoch: u64 },
    Verify(Vec<KeyId>),
    Roster(Vec<KeyId>),
}

#[derive(Debug, Clone)]
pub(crate) enum Packet {
    ToNode(NodeId, ToNode),
    ToHub(NodeId, Event),
}

impl Packet {
    fn node(&self) -> &NodeId {
        match self {
            Self::ToNode(node, _) | Self::ToHub(node, _) => node,
        }
    }

    /// Revocations travel apart from bulk, so that nothing queues before them.
    fn is_urgent(&self) -> bool {
        matches!(self, Self::ToNode(_, ToNode::Purge(_) | ToNode::Isolate { .. } | ToNode::Readmit { .. }))
    }

    fn lane(&self) -> Lane {
        (self.node().clone(), matches!(self, Self::ToNode(..)), self.is_urgent())
    }
}

/// Node, direction, urgency.
type Lane = (NodeId, bool, bool);

#[derive(Debug, Default)]
pub(crate) struct Network {
    under_way: BTreeMap<(Timestamp, u64), Packet>,
    last: BTreeMap<Lane, Timestamp>,
    sent: u64,
}

impl Network {
    /// Sends a packet that takes `delay`, but arrives after everything before it in its lane.
    pub(crate) fn send(&mut self, now: Timestamp, delay: Millis, packet: Packet) {
        let last = self.last.entry(packet.lane()).or_default();
        let at = (now + delay).max(*last);
        *last = at;
        self.sent += 1;
        self.under_way.insert((at, self.sent), packet);
    }

    /// The next packet that has arrived by `now`.
    pub(crate) fn arrived(&mut self, now: Timestamp) -> Option<Packet> {
        let (&(at, _), _) = self.under_way.first_key_value()?;
        if at > now {
            return None;
        }
        self.under_way.pop_first().map(|(_, packet)| packet)
    }

    /// When the next packet arrives.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// A session broke: everything under way on it is gone.
    pub(crate) fn cut(&mut self, node: &NodeId) {
        self.under_way.retain(|_, packet| packet.node() != node);
        self.last.retain(|(lane, ..), _| lane != node);
    }
}
