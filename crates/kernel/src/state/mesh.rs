//! Nodes, links and operators as the kernel knows them.

use minicbor::{Decode, Encode};
use types::mesh::{Delivery, LinkReport, NodeState};
use types::{Hash, Timestamp};

use crate::event::{NodeSpec, OperatorSpec};

/// A node of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Node {
    /// What was admitted.
    #[n(0)]
    pub spec: NodeSpec,
    /// Where it stands.
    #[n(1)]
    pub state: NodeState,
    /// Since when.
    #[n(2)]
    pub since: Timestamp,
    /// The revocation epoch at which it last changed state.
    #[n(3)]
    pub epoch: u64,
    /// When it was last brought back after it was cut off.
    #[n(4)]
    pub restored: Option<Timestamp>,
}

/// A quantum link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Link {
    /// What its ends measured last.
    #[n(0)]
    pub report: Option<LinkReport>,
    /// When they reported first.
    #[n(1)]
    pub first: Timestamp,
    /// When they reported last.
    #[n(2)]
    pub last: Timestamp,
    /// Whether its bits may be used now.
    #[n(3)]
    pub usable: bool,
    /// Since when it is, or is not.
    #[n(4)]
    pub since: Timestamp,
    /// Whether its bits could ever be used.
    #[n(5)]
    pub proven: bool,
}

impl Link {
    /// What protects deliveries over it now.
    pub fn delivery(&self) -> Delivery {
        if self.usable { Delivery::QkdKem } else { Delivery::Kem }
    }
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Operator {
    /// Groups it is in, sorted.
    #[n(0)]
    pub groups: Vec<String>,
    /// Hybrid public identity in its canonical encoding.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub identity: Vec<u8>,
    /// Whether its credential is revoked.
    #[n(2)]
    pub revoked: bool,
    /// When its key ends.
    #[n(3)]
    pub expires: Timestamp,
    /// Whether its end was announced.
    #[n(4)]
    pub ending: bool,
    /// Whether it was seen to have ended.
    #[n(5)]
    pub expired: bool,
}

impl Operator {
    /// Whether it counts among those who act: neither revoked nor at its key's end.
    pub fn is_in_good_standing(&self) -> bool {
        !self.revoked && !self.expired
    }
}

impl From<&OperatorSpec> for Operator {
    fn from(spec: &OperatorSpec) -> Self {
        Self {
            groups: spec.groups.clone(),
            identity: spec.identity.clone(),
            revoked: false,
            expires: spec.expires,
            ending: false,
            expired: false,
        }
    }
}

/// What a boundary is from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Boundary {
    /// Its name.
    #[n(0)]
    pub id: types::BoundaryId,
    /// Timing of keys and mesh.
    #[n(1)]
    pub settings: crate::event::Settings,
    /// The policies, as canonical text.
    #[n(2)]
    pub policy: String,
    /// Salt of its commitments.
    #[n(3)]
    pub salt: Hash,
    /// Fingerprint of the log's signing keys.
    #[n(4)]
    pub audit_key: Hash,
    /// When it began.
    #[n(5)]
    pub since: Timestamp,
}
