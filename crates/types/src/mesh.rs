//! The words of the mesh: what nodes and keys are, what a delivery used, what was noticed.
//! Shared by the kernel, which decides on them, and the session layer, which carries them.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::limits::QBER_ABORT_PPM;
use crate::{KeyId, LinkId, NodeId, OperatorId};

/// The text is none of the words of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not one of: {wanted}")]
pub struct ParseWordError {
    given: String,
    wanted: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $n:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
        #[cbor(index_only)]
        pub enum $name {
            $($(#[$vdoc])* #[n($n)] #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every word of this kind, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ParseWordError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| ParseWordError {
                    given: text.chars().take(64).collect(),
                    wanted: Self::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

words! {
    /// How the keys of a TLS connection are agreed on.
    Exchange {
        /// By a hybrid group: a recorded connection stays closed to a quantum computer.
        Hybrid = 0 "hybrid",
        /// By a classical group alone.
        Classical = 1 "classical",
    }
}

words! {
    /// Which key exchange groups an application's connection may use.
    Groups {
        /// Hybrid ones first, and classical ones for callers that know no other.
        Preferred = 0 "preferred",
        /// Hybrid ones alone.
        Hybrid = 1 "hybrid",
    }
}

impl Groups {
    /// Whether a connection of this kind is served.
    pub const fn allow(self, exchange: Exchange) -> bool {
        matches!((self, exchange), (Self::Preferred, _) | (Self::Hybrid, Exchange::Hybrid))
    }
}

words! {
    /// What a node is for; its permissions derive from it (SM-07b).
    Function {
        /// Power grid.
        Grid = 0 "grid",
        /// Liquefied natural gas terminal.
        Lng = 1 "lng",
        /// Access control.
        Access = 2 "access",
        /// Communications.
        Comms = 3 "comms",
        /// Defense.
        Defense = 4 "defense",
    }
}

words! {
    /// The kinds of key (KM-14).
    KeyType {
        /// AES-256-GCM, wraps what the hub keeps at rest; 24 h.
        SovereignMaster = 0 "SOVEREIGN_MASTER",
        /// ChaCha20-Poly1305, one for every pair of nodes; 5 min.
        MeshSession = 1 "MESH_SESSION",
        /// One-time pad bits of one quantum link; continuous.
        QkdTransport = 2 "QKD_TRANSPORT",
        /// Ed25519 + ML-DSA-65, one for every node; 90 d.
        NodeIdentity = 3 "NODE_IDENTITY",
        /// Ed25519 (with ML-DSA-44 beside it), signs the log; 365 d.
        AuditSigning = 4 "AUDIT_SIGNING",
        /// X25519 + ML-KEM-768, one for every session between a node and the hub.
        EphemeralSession = 5 "EPHEMERAL_SESSION",
    }
}

words! {
    /// The life of a key (KM-01).
    KeyState {
        /// Made, not yet sent to anyone.
        Generated = 0 "GENERATED",
        /// Sent to its participants; waits for every receipt.
        Distributed = 1 "DISTRIBUTED",
        /// In use.
        Active = 2 "ACTIVE",
        /// In use while its replacement is distributed and through the overlap.
        Rotating = 3 "ROTATING",
        /// Out of use, archived until its retention ends.
        Retired = 4 "RETIRED",
        /// Invalid on suspicion; every holder purges it.
        Revoked = 5 "REVOKED",
        /// Gone.
        Destroyed = 6 "DESTROYED",
    }
}

words! {
    /// What protected a delivery of key material.
    Delivery {
        /// One-time pad from a quantum link and hybrid KEM, combined: either alone protects.
        QkdKem = 0 "qkd+kem",
        /// Hybrid KEM alone, because the quantum link could not give the bits.
        Kem = 1 "kem",
    }
}

words! {
    /// What protected the bits of a key on its way between the entities that manage it. Ordered: the later,
    /// the stronger.
    KeyPath {
        /// Hybrid KEM alone, on one hop at least.
        Kem = 0 "kem",
        /// Both applications are served by one entity: the bits left it for no other.
        Local = 1 "local",
        /// Bits of a quantum channel and the hybrid KEM, on every hop.
        QkdKem = 2 "qkd+kem",
    }
}

words! {
    /// Whom keys were given to (ETSI GS QKD 014 clause 3.1).
    SaeRole {
        /// The caller of *Get key*.
        Master = 0 "master",
        /// The caller of *Get key with key IDs*.
        Slave = 1 "slave",
    }
}

words! {
    /// Where a node stands.
    NodeState {
        /// Admitted, not connected.
        Offline = 0 "OFFLINE",
        /// Admitted and connected.
        Online = 1 "ONLINE",
        /// Cut off by a response; only operators bring it back.
        Isolated = 2 "ISOLATED",
    }
}

words! {
    /// How grave an incident is (SM-10).
    Severity {
        /// Logged for trends.
        Low = 0 "LOW",
        /// Under investigation, monitoring raised.
        Medium = 1 "MEDIUM",
        /// Strong indicators: correlated, countermeasures prepared.
        High = 2 "HIGH",
        /// Compromise confirmed: autonomous response.
        Critical = 3 "CRITICAL",
    }
}

words! {
    /// What a detector or a person noticed.
    SignalKind {
        /// A node is in an adversary's hands.
        NodeCompromise = 0 "node-compromise",
        /// The material of a key is known to an adversary.
        KeyCompromise = 1 "key-compromise",
        /// An adversary moves from node to node.
        LateralMovement = 2 "lateral-movement",
        /// An identity does what it must not.
        UnauthorizedAccess = 3 "unauthorized-access",
        /// A quantum link's error rate is at or above the abort line, or its S, decoys or detectors show
        /// an attack as plainly.
        QberHigh = 4 "qber-high",
        /// A quantum link gives less than the least secret rate.
        RateLow = 5 "rate-low",
        /// A quantum link has no bits left to pad with.
        PoolDry = 6 "pool-dry",
        /// Signatures or tags of a peer do not verify.
        AuthFailure = 7 "auth-failure",
        /// Messages of a session came twice or out of order.
        Replay = 8 "replay",
        /// Participants do not hold the same key.
        KeyMismatch = 9 "key-mismatch",
        /// A binary or a node's manifest is not the signed one.
        ManifestMismatch = 10 "manifest-mismatch",
        /// Many refusals of one identity.
        DenialBurst = 11 "denial-burst",
        /// A key could not be generated.
        GenerationFailure = 12 "generation-failure",
        /// A key could not be distributed.
        DistributionFailure = 13 "distribution-failure",
        /// The clock went back.
        ClockRegressed = 14 "clock-regressed",
        /// Telemetry drifted within bounds.
        Telemetry = 15 "telemetry",
        /// The credential of an operator ends soon, or has ended.
        CredentialExpiry = 25 "credential-expiry",
        /// A store was put back to an earlier state.
        StoreRewound = 75 "store-rewound",
        /// A quantum link's authentication begins anew, by the session alone, because an operator said so.
        LinkReset = 76 "link-reset",
    }
}

/// What a signal or an incident is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A node, or the hub.
    #[n(0)]
    Node(#[n(0)] NodeId),
    /// A quantum link.
    #[n(1)]
    Link(#[n(0)] LinkId),
    /// An operator.
    #[n(2)]
    Operator(#[n(0)] OperatorId),
    /// A key.
    #[n(3)]
    Key(#[n(0)] KeyId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Link(link) => write!(f, "link {link}"),
            Self::Operator(operator) => write!(f, "operator {operator}"),
            Self::Key(key) => write!(f, "key {key}"),
        }
    }
}

words! {
    /// How the ends of a quantum link make a key.
    Protocol {
        /// BB84 with single photons (Tomamichel et al. 2012).
        Bb84 = 0 "bb84",
        /// BB84 with weak pulses of three intensities (Lim et al. 2014).
        DecoyBb84 = 1 "decoy-bb84",
        /// Entangled pairs, the key bounded by its test basis; verified by CHSH.
        Bbm92 = 2 "bbm92",
        /// Entangled pairs, the key bounded by its test basis and by CHSH, whichever allows less.
        E91 = 3 "e91",
    }
}

impl Protocol {
    /// Whether pairs come from a source between the ends, so that S is measured.
    pub const fn is_entangled(self) -> bool {
        matches!(self, Self::Bbm92 | Self::E91)
    }
}

#[allow(clippy::derivable_impls, reason = "the words of the mesh are declared by one macro, which derives no default")]
impl Default for Protocol {
    /// Entangled pairs: what verifies every channel (SM-06b).
    fn default() -> Self {
        Self::Bbm92
    }
}

words! {
    /// What a quantum link's measurement says that only an attack or a broken device explains.
    LinkAlarm {
        /// The error rate is at or above the abort line.
        Qber = 0 "qber",
        /// The lower bound of S is not above 2.
        Bell = 1 "bell",
        /// Decoys are lost more often than light can be.
        Decoy = 2 "decoy",
        /// Clicks ignore the receiver's own efficiency.
        Blinding = 3 "blinding",
    }
}

/// Figures of a quantum link beside those that decide on its use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct LinkFigures {
    /// How its key is made; not known of a vendor's key management.
    #[n(0)]
    pub protocol: Option<Protocol>,
    /// What the last block says of an attack.
    #[n(1)]
    pub alarm: Option<LinkAlarm>,
    /// Loss of the fibre as the clicks of the last block show it, in thousandths of a decibel.
    #[n(2)]
    pub loss_mdb: u32,
    /// S of the last block in thousandths; 0 without entanglement.
    #[n(3)]
    pub s_milli: u32,
    /// Lower confidence bound of S in thousandths.
    #[n(4)]
    pub s_lower_milli: u32,
    /// Lower bound of the key's events that are single photons, in parts per million.
    #[n(5)]
    pub single_ppm: u32,
    /// Bits that reconciliation disclosed, in both directions, over the Shannon limit in the last block of key, in
    /// thousandths.
    #[n(6)]
    pub efficiency_milli: u32,
    /// Pulses sent for a thousand secret bits in the last block.
    #[n(7)]
    pub pulses_per_kbit: u64,
    /// Bits disclosed for a thousand secret bits in the last block.
    #[n(8)]
    pub leaked_per_kbit: u64,
    /// ε of all keys since the link came up, in units of 10^-18, rounded up.
    #[n(9)]
    pub epsilon_atto: u64,
    /// Secret bits made since the link came up.
    #[n(10)]
    pub secret_bits: u64,
}

/// What the ends of a quantum link measured since their last report.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct LinkReport {
    /// The link.
    #[n(0)]
    pub link: LinkId,
    /// Error rate of the last block, in parts per million.
    #[n(1)]
    pub qber_ppm: u32,
    /// Upper confidence bound of that error rate, in parts per million.
    #[n(2)]
    pub qber_upper_ppm: u32,
    /// Secret key rate over the report's span, in bits per second.
    #[n(3)]
    pub secret_bps: u32,
    /// Sifted key rate over the report's span, in bits per second.
    #[n(4)]
    pub sifted_bps: u32,
    /// Secret bits both ends hold and have not used.
    #[n(5)]
    pub pool_bits: u64,
    /// Blocks that became key since the link came up.
    #[n(6)]
    pub blocks: u64,
    /// Blocks discarded since the link came up.
    #[n(7)]
    pub discarded: u64,
    /// Whether the bits may be used: error rate below the abort line and rate at or above the least.
    #[n(8)]
    pub usable: bool,
    /// Further figures.
    #[n(9)]
    pub figures: LinkFigures,
}

impl LinkReport {
    /// Whether it shows an attack, or a channel that cannot be told from an attacked one: the error
    /// rate, S, decoys or detectors are beyond what an honest channel does (KM-09, SM-06b).
    pub fn is_attacked(&self) -> bool {
        self.qber_ppm >= QBER_ABORT_PPM || self.figures.alarm.is_some()
    }

    /// Whether its bits may be used. Entangled links only where S is shown to be above 2.
    pub fn carries_key(&self) -> bool {
        let verified = !self.figures.protocol.is_some_and(Protocol::is_entangled) || self.figures.s_lower_milli > 2_000;
        self.usable && !self.is_attacked() && verified
    }
}

/// A forward of TCP streams: `node` listens, `to` connects.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ForwardSpec {
    /// The node that listens.
    #[n(0)]
    pub node: NodeId,
    /// The address it listens on, `host:port`.
    #[n(1)]
    pub listen: String,
    /// The node that connects onward.
    #[n(2)]
    pub to: NodeId,
    /// The address that node connects to, `host:port`.
    #[n(3)]
    pub connect: String,
}
