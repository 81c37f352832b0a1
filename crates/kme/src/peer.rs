//! The border to the mesh: where bits come from, and how KMEs speak with each other.
//!
//! The node implements [`Supply`] over its pools and its hub, and [`Peer`] over its link sessions. Both
//! get and give secrets: a [`PeerMessage`] may travel only inside an authenticated, encrypted session
//! between the two nodes, or padded and authenticated on each hop.

use std::future::Future;
use std::pin::Pin;

use minicbor::{Decode, Encode};
use types::Hash;
pub use types::mesh::KeyPath;

use crate::id::{KeyUuid, KmeId, SaeId, SheetTag};
use crate::secret::{KeyBytes, RawBits};

pub mod local;

/// A boxed future, so that the traits below can be objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bits drawn for one sheet.
#[derive(Debug)]
pub struct Drawn {
    /// The bits, as many bytes as asked for.
    pub bits: RawBits,
    /// The name under which [`Supply::redeem`] at the other KME finds the same bits. Where there is
    /// none, the bits themselves go to the other KME inside a [`PeerMessage`].
    pub reference: Option<Vec<u8>>,
    /// How they are protected.
    pub path: KeyPath,
}

/// Why there are no bits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SupplyError {
    /// Not enough now.
    #[error("there are not enough bits in common with KME `{0}` now")]
    Dry(KmeId),
    /// No channel to that KME.
    #[error("there is no channel to KME `{0}`")]
    NoChannel(KmeId),
    /// The reference names no bits that are still there.
    #[error("the reference names no bits that are still there")]
    UnknownReference,
    /// The source failed.
    #[error("the source of bits failed: {0}")]
    Failed(String),
}

/// Where bits come from.
pub trait Supply: Send + Sync + 'static {
    /// Draws exactly `bytes` bytes that no one was given before. `kme` is the other KME, or this one
    /// for pairs of SAEs that are both served here.
    ///
    /// The caller seals the bits durably before anything else happens, and offers them until the other
    /// KME takes them: they need not be put back.
    fn draw<'a>(&'a self, kme: &'a KmeId, bytes: usize) -> BoxFuture<'a, Result<Drawn, SupplyError>>;

    /// Bytes that a draw could give now under the strongest path there is; `None` where it does not matter how
    /// many are drawn.
    fn ready(&self, kme: &KmeId) -> Option<usize> {
        let _ = kme;
        None
    }

    /// The bits that `kme` drew under `reference`. Asked again for the same reference, gives the same
    /// bits until [`Supply::settled`].
    fn redeem<'a>(
        &'a self,
        kme: &'a KmeId,
        reference: &'a [u8],
        bytes: usize,
    ) -> BoxFuture<'a, Result<RawBits, SupplyError>>;

    /// The bits of `reference` are sealed here: they may be forgotten elsewhere.
    fn settled(&self, kme: &KmeId, reference: &[u8]) {
        let _ = (kme, reference);
    }
}

/// Bits of a sheet, or their name.
#[derive(Debug, Encode, Decode)]
pub enum Material {
    /// The name under which the receiver's supply knows the bits.
    #[n(0)]
    Reference(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The bits.
    #[n(1)]
    Carried(#[n(0)] RawBits),
}

/// A sheet for keys between a master, served by the sender, and a slave, served by the receiver.
#[derive(Debug, Encode, Decode)]
pub struct Offer {
    /// Number of the sheet.
    #[n(0)]
    pub tag: SheetTag,
    /// The master.
    #[n(1)]
    pub master: SaeId,
    /// The slave.
    #[n(2)]
    pub slave: SaeId,
    /// Length in units of 8 bytes.
    #[n(3)]
    pub units: u16,
    /// Key of the sheet's identifiers, 32 bytes.
    #[n(4)]
    pub id_key: RawBits,
    /// The bits.
    #[n(5)]
    pub material: Material,
    /// How they are protected.
    #[n(6)]
    pub path: KeyPath,
    /// The start of the sender that the sheet is of.
    #[n(7)]
    pub from_start: Hash,
    /// The start of the receiver that it is of; in another the receiver refuses it.
    #[n(8)]
    pub to_start: Hash,
}

/// A key for additional slaves.
#[derive(Debug, Encode, Decode)]
pub struct SharedKey {
    /// The identifier.
    #[n(0)]
    pub id: KeyUuid,
    /// The key.
    #[n(1)]
    pub key: KeyBytes,
}

/// What one KME says to another. Every message may be repeated without harm.
#[derive(Debug, Encode, Decode)]
pub enum PeerMessage {
    /// Take this sheet.
    #[n(0)]
    Offer(#[n(0)] Offer),
    /// Take these keys for these slaves.
    #[n(1)]
    Share {
        /// The master.
        #[n(0)]
        master: SaeId,
        /// Slaves served by the receiver.
        #[n(1)]
        slaves: Vec<SaeId>,
        /// The keys.
        #[n(2)]
        keys: Vec<SharedKey>,
        /// How they are protected.
        #[n(3)]
        path: KeyPath,
    },
    /// Destroy these shared keys: the master was not given them.
    #[n(2)]
    Void(#[n(0)] Vec<KeyUuid>),
    /// No further key comes from this sheet.
    #[n(3)]
    Finished(#[n(0)] SheetTag),
    /// The sender runs in this start: what it shared in an earlier one it gives out no more.
    #[n(4)]
    Started(#[n(0)] Hash),
}

impl PeerMessage {
    /// What the message says protects the bits in it; `None` where it holds none.
    pub fn path(&self) -> Option<KeyPath> {
        match self {
            Self::Offer(offer) => Some(offer.path),
            Self::Share { path, .. } => Some(*path),
            Self::Void(_) | Self::Finished(_) | Self::Started(_) => None,
        }
    }

    /// Says that its bits go under the hybrid KEM alone.
    pub(crate) fn weaken(&mut self) {
        match self {
            Self::Offer(Offer { path, .. }) | Self::Share { path, .. } => *path = KeyPath::Kem,
            Self::Void(_) | Self::Finished(_) | Self::Started(_) => {}
        }
    }

    /// Whether it may travel only under bits of a quantum channel, on every hop.
    pub fn needs_pad(&self) -> bool {
        self.path().is_some_and(|path| path != KeyPath::Kem)
    }
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum PeerAnswer {
    /// Done, durably.
    #[n(0)]
    Done,
    /// The sender does not serve the master, or the receiver not the slave.
    #[n(1)]
    NotServed,
    /// Another sheet has this number.
    #[n(2)]
    TagTaken,
    /// The bits are not there.
    #[n(3)]
    NoMaterial,
    /// The message is not well-formed.
    #[n(4)]
    Malformed,
    /// It could not be made durable, or there is no room: try again later.
    #[n(5)]
    Busy,
    /// The receiver runs in this start.
    #[n(6)]
    Start(#[n(0)] Hash),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Nothing was sent: the receiver certainly did not act.
    #[error("KME `{0}` cannot be reached")]
    Unreachable(KmeId),
    /// It was sent, and the answer did not come: the receiver may have acted.
    #[error("KME `{0}` did not answer")]
    NoAnswer(KmeId),
    /// Nothing was sent: there are not enough bits of a quantum channel on every hop for a message that says
    /// its bits had them.
    #[error("there are not enough quantum bits on the way to KME `{0}`")]
    NoPad(KmeId),
}

/// The way to other KMEs.
pub trait Peer: Send + Sync + 'static {
    /// Carries `message` to `kme`, under bits of a quantum channel where [`PeerMessage::needs_pad`], and brings its answer, which the receiving node gets from
    /// [`Kme::receive`](crate::Kme::receive). The caller bounds the time.
    fn send<'a>(&'a self, kme: &'a KmeId, message: &'a PeerMessage) -> BoxFuture<'a, Result<PeerAnswer, PeerError>>;
}
