//! Who is in the mesh and who is cut off, as the hub signed it.
//!
//! Membership is a number and the set of nodes that are cut off. Every handshake compares both, and
//! whoever is behind is shown what the hub signed before anything else is said (SM-02). So a node that
//! missed an isolation learns it from any peer, and who is cut off has nothing newer to show.

use crypto::identity::{SignError, VerifyError};
use crypto::{IdentityKey, IdentityPublic, IdentitySignature};
use minicbor::{Decode, Encode};
use types::{BoundaryId, Hash, Label, NodeId, Timestamp, cbor};

/// Longest list of rosters in one message, in bytes: some thousand nodes.
pub(crate) const MAX_LEN: usize = 256 * 1024;
/// Most rosters of one number that are kept and shown. An honest hub signs one set a number.
pub(crate) const MAX_ROSTERS: usize = 4;

/// What the hub says about membership.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Roster {
    /// The boundary it is of.
    #[n(0)]
    pub boundary: BoundaryId,
    /// The revocation epoch: rises with every isolation and every readmission.
    #[n(1)]
    pub epoch: u64,
    /// When the hub signed it, by its own clock.
    #[n(2)]
    pub at: Timestamp,
    /// Admitted nodes that are not cut off, in order.
    #[n(3)]
    pub members: Vec<NodeId>,
    /// Nodes that are cut off, in order.
    #[n(4)]
    pub isolated: Vec<NodeId>,
}

impl Roster {
    /// Signs it with the hub's hybrid identity.
    ///
    /// # Errors
    /// [`SignError`] of the library.
    pub fn sign(self, identity: &IdentityKey) -> Result<SignedRoster, SignError> {
        let signature = identity.sign(Label::ROSTER, &[&cbor::to_vec(&self)])?.to_bytes();
        Ok(SignedRoster { roster: self, signature })
    }
}

/// A roster under the hub's hybrid signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SignedRoster {
    /// What is signed.
    #[n(0)]
    pub roster: Roster,
    /// By the hub: Ed25519 and ML-DSA-65.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: Vec<u8>,
}

impl SignedRoster {
    /// Checks both halves of the signature.
    ///
    /// # Errors
    /// [`VerifyError`] names the half that fails.
    pub fn verify(&self, hub: &IdentityPublic) -> Result<(), VerifyError> {
        let signature = IdentitySignature::from_bytes(&self.signature).map_err(|_| VerifyError::Suite)?;
        hub.verify(Label::ROSTER, &[&cbor::to_vec(&self.roster)], &signature)
    }
}

/// What each end of a handshake says of its membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Mark {
    /// The revocation epoch.
    #[n(0)]
    pub epoch: u64,
    /// Digest of the set of nodes that are cut off.
    #[n(1)]
    pub isolated: Hash,
    /// When the hub signed the newest roster; zero where there is none.
    #[n(2)]
    pub at: Timestamp,
}

impl Default for Mark {
    fn default() -> Self {
        Self { epoch: 0, isolated: digest(std::iter::empty()), at: Timestamp::default() }
    }
}

impl Mark {
    /// Whether both stand for the same nodes being cut off.
    pub fn agrees(&self, other: &Self) -> bool {
        (self.epoch, self.isolated) == (other.epoch, other.isolated)
    }
}

/// Digest of a set of nodes, given in order.
pub(crate) fn digest<'a>(isolated: impl Iterator<Item = &'a NodeId>) -> Hash {
    let names: Vec<&NodeId> = isolated.collect();
    Label::ISOLATED.hash(&[&cbor::to_vec(&names)])
}
