//! What hub and nodes say to each other inside a session: canonical CBOR, one value per envelope.
//!
//! No message here carries or changes a trust anchor; those come from local files only (SM-03).

use minicbor::{Decode, Encode};
use types::mesh::{Delivery, ForwardSpec, KeyType, LinkReport, SignalKind, Subject};
use types::sae::{Handout, KmeSpec, SaeSpec};
use types::{ForwardId, Hash, KeyId, LinkId, Millis, NodeId, Timestamp};

use crate::roster::SignedRoster;

/// A range of bits of a quantum link's pool, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PadRange {
    /// First bit, counted from the start of the link's pool in this direction.
    #[n(0)]
    pub offset: u64,
    /// How many bits.
    #[n(1)]
    pub len: u64,
}

/// One key in a [`DeliveryFrame`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeliveredKey {
    /// The key.
    #[n(0)]
    pub key: KeyId,
    /// Its kind.
    #[n(1)]
    pub key_type: KeyType,
    /// Everyone who shall hold it.
    #[n(2)]
    pub participants: Vec<NodeId>,
    /// Salt of its commitment.
    #[n(3)]
    pub salt: Hash,
    /// The hub's share, 32 bytes, under the frame's masks.
    #[n(4)]
    pub masked: Hash,
    /// Whether the two participants mix in a part of their own before they confirm.
    #[n(5)]
    pub mix: bool,
}

/// Keys for one node. Each share is masked by 256 bits of one-time pad (where `pad` is present)
/// XOR 256 bits derived from the hybrid KEM; `tag` authenticates the frame under one-time bits of
/// the same pad range (where there is one) and under a key from the KEM.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeliveryFrame {
    /// Hybrid KEM ciphertext to the node's current prekey.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub kem: Vec<u8>,
    /// Pad bits used: 256 for each key, then the tag's.
    #[n(1)]
    pub pad: Option<PadRange>,
    /// The keys.
    #[n(2)]
    pub keys: Vec<DeliveredKey>,
    /// Authentication tag over all of the above.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub tag: Vec<u8>,
}

/// A key that becomes active, and the one it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Activation {
    /// The key to use from now on.
    #[n(0)]
    pub key: KeyId,
    /// The key that stays valid for what is under way, until it is retired.
    #[n(1)]
    pub replaces: Option<KeyId>,
}

/// From the hub to a node. Purge, Isolate, Membership, Roster, Forwards, Verify and Watch go over the urgent session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum HubMessage {
    /// Key material.
    #[n(0)]
    Deliver(#[n(0)] DeliveryFrame),
    /// Keys every participant has confirmed come into use.
    #[n(1)]
    Activate(#[n(0)] Vec<Activation>),
    /// Keys leave use; seal them in the archive.
    #[n(2)]
    Retire(#[n(0)] Vec<KeyId>),
    /// Retention is over, or the distribution failed: erase the keys.
    #[n(3)]
    Destroy(#[n(0)] Vec<KeyId>),
    /// Keys are revoked: erase them at once and cut what runs under them.
    #[n(4)]
    Purge(#[n(0)] Vec<KeyId>),
    /// A node is cut off: drop every session, stream, key and pool shared with it.
    #[n(5)]
    Isolate {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// The revocation epoch from now on.
        #[n(1)]
        epoch: u64,
        /// What the hub signed of it.
        #[n(2)]
        roster: SignedRoster,
    },
    /// Who may be talked to, in general and by these keys; sent when a session opens.
    #[n(7)]
    Roster {
        /// What the hub signed of it.
        #[n(0)]
        roster: SignedRoster,
        /// Every key of this node that is not destroyed or revoked, so that both sides agree.
        #[n(2)]
        keys: Vec<KeyId>,
        /// Life of a pair's key.
        #[n(3)]
        life: Option<Millis>,
    },
    /// Every forward this node takes part in; replaces the earlier list.
    #[n(8)]
    Forwards(#[n(0)] Vec<Forward>),
    /// Prove that you hold these keys; answered by receipts.
    #[n(9)]
    Verify(#[n(0)] Vec<KeyId>),
    /// Every SAE that is served in the boundary; replaces the earlier list.
    #[n(10)]
    Saes(#[n(0)] Vec<SaeSpec>),
    /// The account of this number is part of the log.
    #[n(11)]
    HandoutsKept {
        /// Its number.
        #[n(0)]
        number: u64,
    },
    /// From the KME of another node, relayed.
    #[n(12)]
    Kme(#[n(0)] KmeFrame),
    /// Report at the shortest interval for so many milliseconds.
    #[n(13)]
    Watch(#[n(0)] Millis),
    /// Membership as it is now: a node may be talked to again, or the same signed anew.
    #[n(50)]
    Membership(#[n(0)] SignedRoster),
    /// How far the log is, in which start of the hub. Sent when the node said in which start it runs, and again and
    /// again after.
    #[n(40)]
    Standing(#[n(0)] Standing),
}

/// How far the hub's log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Standing {
    /// The hub's starts so far.
    #[n(0)]
    pub starts: u64,
    /// Names the last of them.
    #[n(1)]
    pub start: Hash,
    /// Entries of the log.
    #[n(2)]
    pub size: u64,
    /// Leaf of the last of them.
    #[n(3)]
    pub leaf: Hash,
}

/// What the KMEs of two nodes say to each other, on one hop.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum KmeFrame {
    /// A message.
    #[n(0)]
    Ask(#[n(0)] KmeAsk),
    /// What came of it.
    #[n(1)]
    Answer(#[n(0)] KmeAnswer),
}

/// A message of one KME to another. Where it has a pad, `text` is masked and tagged with one-time bits of the
/// hop's quantum link, inside the session's own encryption: either alone protects it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KmeAsk {
    /// Chosen by the sender; its answer has the same.
    #[n(0)]
    pub number: u64,
    /// The node of the KME that speaks.
    #[n(1)]
    pub from: NodeId,
    /// The node of the KME that is spoken to.
    #[n(2)]
    pub to: NodeId,
    /// Pad bits used: as many as `text` has, then 256 for the tag.
    #[n(3)]
    pub pad: Option<PadRange>,
    /// The message, masked where there is a pad.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub text: Vec<u8>,
    /// One-time tag (RFC 8439 section 2.5) over all of the above; empty where there is no pad.
    #[n(5)]
    #[cbor(with = "minicbor::bytes")]
    pub tag: Vec<u8>,
}

/// What came of a [`KmeAsk`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KmeAnswer {
    /// Number of the message.
    #[n(0)]
    pub number: u64,
    /// The node that sent the message.
    #[n(1)]
    pub from: NodeId,
    /// The node it was for.
    #[n(2)]
    pub to: NodeId,
    /// What came of it.
    #[n(3)]
    pub verdict: KmeVerdict,
}

/// What came of a message between KMEs. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum KmeVerdict {
    /// The KME answered.
    #[n(0)]
    Answered(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
    /// It was not passed on: there is no way to that node now.
    #[n(1)]
    NoWay,
    /// It was not passed on: a later hop has no pad for it, and it came under one.
    #[n(2)]
    NoPad,
}

/// A forward with its number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Forward {
    /// The number.
    #[n(0)]
    pub id: ForwardId,
    /// What it does.
    #[n(1)]
    pub spec: ForwardSpec,
}

/// Proof that a participant holds a key: the salted commitment to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Receipt {
    /// The key.
    #[n(0)]
    pub key: KeyId,
    /// `Label::KEY_COMMITMENT` over salt, key number and key.
    #[n(1)]
    pub commitment: Hash,
    /// What protected the pair's own part; `None` where none was asked for.
    #[n(2)]
    pub mixed: Option<Delivery>,
}

/// How often one key was used since the last report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct KeyUse {
    /// The key.
    #[n(0)]
    pub key: KeyId,
    /// Frames sealed and opened.
    #[n(1)]
    pub frames: u64,
    /// Bytes sealed and opened.
    #[n(2)]
    pub bytes: u64,
    /// Frames that did not verify.
    #[n(3)]
    pub failures: u64,
}

/// From a node to the hub.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum NodeMessage {
    /// Hybrid KEM public key for the next deliveries; replaces the earlier one.
    #[n(0)]
    Prekey(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
    /// Keys this node holds and has compared with the other participant.
    #[n(1)]
    Receipts(#[n(0)] Vec<Receipt>),
    /// Keys this node could not take, and why.
    #[n(2)]
    Failed {
        /// The keys.
        #[n(0)]
        keys: Vec<KeyId>,
        /// Why, for people.
        #[n(1)]
        reason: String,
    },
    /// Keys now in use here.
    #[n(3)]
    Activated(#[n(0)] Vec<KeyId>),
    /// Keys erased here.
    #[n(4)]
    Purged(#[n(0)] Vec<KeyId>),
    /// The node is cut off here, at this epoch.
    #[n(5)]
    Isolated {
        /// The node that was cut off.
        #[n(0)]
        node: NodeId,
        /// The epoch.
        #[n(1)]
        epoch: u64,
    },
    /// What the quantum links of this node measured; only the end with the larger name reports.
    #[n(6)]
    Links(#[n(0)] Vec<LinkReport>),
    /// Use of keys since the last report.
    #[n(7)]
    Use(#[n(0)] Vec<KeyUse>),
    /// Something was noticed.
    #[n(8)]
    Signal {
        /// What it is about.
        #[n(0)]
        subject: Subject,
        /// What. What the word of this node weighs is for the hub to say.
        #[n(1)]
        kind: SignalKind,
    },
    /// A forward could not be opened, and why.
    #[n(9)]
    ForwardFailed {
        /// The forward.
        #[n(0)]
        id: ForwardId,
        /// Why, for people.
        #[n(1)]
        reason: String,
    },
    /// Where SAEs find the KME of this node.
    #[n(10)]
    KmeUp(#[n(0)] KmeSpec),
    /// Keys that this node gave to SAEs; answered by [`HubMessage::HandoutsKept`].
    #[n(11)]
    HandedOut {
        /// Rises with every account of this node.
        #[n(0)]
        number: u64,
        /// What it gave.
        #[n(1)]
        handouts: Vec<Handout>,
        /// The node ended without a word since then: what it gave after may be missing.
        #[n(2)]
        gap: Option<Timestamp>,
    },
    /// To the KME of another node, to be relayed.
    #[n(12)]
    Kme(#[n(0)] KmeFrame),
    /// The start in which the node runs; the first word of each session. Answered by [`HubMessage::Standing`].
    #[n(40)]
    Started {
        /// Names the start.
        #[n(0)]
        start: Hash,
        /// The start that the hub last confirmed, and those since then; the latest 16.
        #[n(1)]
        earlier: Vec<Hash>,
        /// Number of the last account that the node's store had when it started.
        #[n(2)]
        account: Option<u64>,
        /// How far the hub's log was when the node last heard of it.
        #[n(3)]
        seen: Option<Standing>,
    },
}

/// Between two nodes on their link session. The node with the smaller name starts every mix.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum PeerMessage {
    /// Hybrid KEM public key of the sender for the next mixes; replaces the earlier one.
    #[n(0)]
    Prekey(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
    /// The sender's part of a pair key: pool bits both hold, and a KEM ciphertext.
    #[n(1)]
    Mix {
        /// The key.
        #[n(0)]
        key: KeyId,
        /// Bits of the pair's own pool, where there are any.
        #[n(1)]
        pad: Option<PadRange>,
        /// Hybrid KEM ciphertext to the receiver's prekey.
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        kem: Vec<u8>,
        /// Proof that the sender holds the mixed key.
        #[n(3)]
        proof: Hash,
    },
    /// Proof that the answering side holds the mixed key.
    #[n(2)]
    Mixed {
        /// The key.
        #[n(0)]
        key: KeyId,
        /// The proof.
        #[n(1)]
        proof: Hash,
    },
    /// The mix is refused; the key fails on both sides.
    #[n(3)]
    Refuse {
        /// The key.
        #[n(0)]
        key: KeyId,
    },
    /// A message of the quantum link's post-processing.
    #[n(4)]
    Quantum {
        /// The link.
        #[n(0)]
        link: LinkId,
        /// The message, as the engine made it.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        message: Vec<u8>,
    },
    /// Between the KMEs of the two nodes.
    #[n(5)]
    Kme(#[n(0)] KmeFrame),
    /// Bring the pair's reserve into use: the hub is away. From the smaller name.
    #[n(6)]
    Renew {
        /// The reserve.
        #[n(0)]
        key: KeyId,
    },
    /// It is in use here.
    #[n(7)]
    Renewed {
        /// The key.
        #[n(0)]
        key: KeyId,
    },
    /// Membership as the hub signed it, where it changed since the handshake.
    #[n(50)]
    Membership(#[n(0)] SignedRoster),
}
