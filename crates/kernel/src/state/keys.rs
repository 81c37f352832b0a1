//! Keys as the kernel knows them: what they are for, who holds them, where they stand.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use minicbor::encode::Write;
use minicbor::{Decode, Decoder, Encode, Encoder};
use types::mesh::{Delivery, KeyState, KeyType};
use types::{Hash, IncidentId, KeyId, LinkId, NodeId, Timestamp};

use crate::record::Cause;

/// A place that keys succeed each other in: a kind of key and the participants that hold it.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(Arc<Place>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
struct Place {
    #[n(0)]
    key_type: KeyType,
    #[n(1)]
    participants: Vec<NodeId>,
}

impl Slot {
    /// The place of keys of `key_type` between `participants`.
    pub fn new(key_type: KeyType, participants: Vec<NodeId>) -> Self {
        Self(Arc::new(Place { key_type, participants }))
    }

    /// The session keys of a pair; `None` where both are the same.
    pub fn pair(x: &NodeId, y: &NodeId) -> Option<Self> {
        let pair = LinkId::new(x.clone(), y.clone())?;
        Some(Self::new(KeyType::MeshSession, vec![pair.a().clone(), pair.b().clone()]))
    }

    /// The pool of a quantum link.
    pub fn transport(link: &LinkId) -> Self {
        Self::new(KeyType::QkdTransport, vec![link.a().clone(), link.b().clone()])
    }

    /// The identity of a node.
    pub fn identity(node: &NodeId) -> Self {
        Self::new(KeyType::NodeIdentity, vec![node.clone()])
    }

    /// The session between the hub and a node.
    pub fn session(node: &NodeId) -> Self {
        Self::new(KeyType::EphemeralSession, vec![NodeId::hub(), node.clone()])
    }

    /// The key that wraps what the hub keeps at rest.
    pub fn master() -> Self {
        Self::new(KeyType::SovereignMaster, vec![NodeId::hub()])
    }

    /// The key that signs the log.
    pub fn audit() -> Self {
        Self::new(KeyType::AuditSigning, vec![NodeId::hub()])
    }

    /// The kind of key.
    pub fn key_type(&self) -> KeyType {
        self.0.key_type
    }

    /// Who holds its keys.
    pub fn participants(&self) -> &[NodeId] {
        &self.0.participants
    }

    /// Whether the hub makes its keys.
    pub(crate) fn is_made_here(&self) -> bool {
        matches!(self.key_type(), KeyType::MeshSession | KeyType::SovereignMaster)
    }

    /// Whether `node` holds its keys.
    pub fn has(&self, node: &NodeId) -> bool {
        self.0.participants.contains(node)
    }

    /// The two participants, where there are two.
    pub fn ends(&self) -> Option<LinkId> {
        match self.participants() {
            [x, y] => LinkId::new(x.clone(), y.clone()),
            _ => None,
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key_type())?;
        self.participants().iter().try_for_each(|node| write!(f, " {node}"))
    }
}

impl<C> Encode<C> for Slot {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.0.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Slot {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Self(Arc::new(Place::decode(d, ctx)?)))
    }
}

/// What one participant did with one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Holder {
    /// Under what it was sent.
    #[n(0)]
    pub delivery: Option<Delivery>,
    /// Whether it proved that it holds the key.
    #[n(1)]
    pub confirmed: bool,
    /// Whether it uses the key.
    #[n(2)]
    pub in_use: bool,
    /// Whether it erased the revoked key.
    #[n(3)]
    pub purged: bool,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Key {
    /// What it is for.
    #[n(0)]
    pub slot: Slot,
    /// Where it stands; `None` while it is wanted and not made.
    #[n(1)]
    pub state: Option<KeyState>,
    /// Why it stands there.
    #[n(2)]
    pub cause: Cause,
    /// Since when.
    #[n(3)]
    pub since: Timestamp,
    /// What each participant did, in the order of the slot's participants.
    #[n(4)]
    pub holders: Vec<Holder>,
    /// The salted commitment its participants proved.
    #[n(5)]
    pub commitment: Option<Hash>,
    /// What protected the part its participants mixed in.
    #[n(6)]
    pub mixed: Option<Delivery>,
    /// The key it replaced.
    #[n(7)]
    pub replaces: Option<KeyId>,
    /// From when its replacement was in use everywhere: the start of its overlap.
    #[n(8)]
    pub replaced_at: Option<Timestamp>,
    /// How much it was used.
    #[n(9)]
    pub usage: Usage,
    /// When it is due for something, as the index has it.
    #[cbor(skip)]
    pub(crate) due: Option<Timestamp>,
}

/// How much a key was used, by all of its participants (KM-05).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Usage {
    /// Frames sealed and opened.
    #[n(0)]
    pub frames: u64,
    /// Bytes sealed and opened.
    #[n(1)]
    pub bytes: u64,
    /// Frames that did not verify.
    #[n(2)]
    pub failures: u64,
}

impl Key {
    pub(crate) fn wanted(slot: Slot, cause: Cause, since: Timestamp) -> Self {
        let holders = vec![Holder::default(); slot.participants().len()];
        Self {
            slot,
            state: None,
            cause,
            since,
            holders,
            commitment: None,
            mixed: None,
            replaces: None,
            replaced_at: None,
            usage: Usage::default(),
            due: None,
        }
    }

    /// What `node` did with it; `None` where it is no participant.
    pub fn holder(&self, node: &NodeId) -> Option<&Holder> {
        let at = self.slot.participants().iter().position(|one| one == node)?;
        self.holders.get(at)
    }

    pub(crate) fn holder_mut(&mut self, node: &NodeId) -> Option<&mut Holder> {
        let at = self.slot.participants().iter().position(|one| one == node)?;
        self.holders.get_mut(at)
    }

    /// Whether every participant proved that it holds the key (KM-04).
    pub fn confirmed_by_all(&self) -> bool {
        self.holders.iter().all(|holder| holder.confirmed)
    }

    /// Whether it waits, confirmed by all, for its activation (KM-12).
    pub fn is_staged(&self) -> bool {
        self.state == Some(KeyState::Distributed) && self.confirmed_by_all()
    }

    /// Whether every participant uses it.
    pub fn in_use_by_all(&self) -> bool {
        self.holders.iter().all(|holder| holder.in_use)
    }

    /// Whether it protects traffic: `ACTIVE` or `ROTATING`.
    pub fn is_live(&self) -> bool {
        matches!(self.state, Some(KeyState::Active | KeyState::Rotating))
    }
}

/// A rotation that was ordered and has not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// Why. `Emergency` without an incident revokes the key in use first.
    #[n(0)]
    pub cause: Cause,
    /// The incident it is part of the recovery from.
    #[n(1)]
    pub incident: Option<IncidentId>,
}

/// The keys of a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Succession {
    /// The key in use.
    #[n(0)]
    pub current: Option<KeyId>,
    /// The key that will replace it: wanted, on its way, or staged.
    #[n(1)]
    pub next: Option<KeyId>,
    /// Distributions that failed in a row.
    #[n(2)]
    pub failures: u32,
    /// No new key is asked for before.
    #[n(3)]
    pub retry_at: Timestamp,
    /// A rotation that waits to begin.
    #[n(4)]
    pub order: Option<Order>,
    /// The recovery that waits until the key in use is new at every participant.
    #[n(5)]
    pub rekey: Option<IncidentId>,
    /// Every key of the slot that is not destroyed.
    #[cbor(skip)]
    pub(crate) keys: BTreeSet<KeyId>,
    /// When it is due for something, as the index has it.
    #[cbor(skip)]
    pub(crate) due: Option<Timestamp>,
}

impl Succession {
    /// Every key of the slot that is not destroyed.
    pub fn keys(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().copied()
    }
}
