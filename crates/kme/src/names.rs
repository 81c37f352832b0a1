//! Names of the KME's records in the node's store, and what the plain ones hold.

use minicbor::{Decode, Encode};
use store::{CellName, VaultName};
use types::{Hash, Timestamp};

use crate::id::{KeyUuid, KmeId, SaeId, SheetTag};
use crate::peer::KeyPath;

/// What every name of the KME starts with.
pub(crate) const META: &str = "kme/meta/";
/// Marks of the master's side. A start reads none of them; they are written so that a node that could not keep an
/// account of a key does not give it either.
pub(crate) const GIVEN: &str = "kme/given/";
/// Marks of the slave's side.
pub(crate) const FETCHED: &str = "kme/fetched/";
/// Keys shared with additional slaves.
pub(crate) const PARCEL: &str = "kme/parcel/";
/// Bits of sheets, in the vault.
pub(crate) const SHEET: &str = "kme/sheet/";

// A constant prefix and the hex digits and hyphens of a number always make a name.
#[allow(clippy::expect_used)]
fn cell(prefix: &str, rest: impl std::fmt::Display) -> CellName {
    CellName::new(format!("{prefix}{rest}")).expect("prefix and digits make a name")
}

#[allow(clippy::expect_used)]
fn secret(prefix: &str, rest: impl std::fmt::Display) -> VaultName {
    VaultName::new(format!("{prefix}{rest}")).expect("prefix and digits make a name")
}

/// What a sheet is.
pub(crate) fn meta(tag: SheetTag) -> CellName {
    cell(META, tag)
}

/// What was given out of it.
pub(crate) fn given(tag: SheetTag) -> CellName {
    cell(GIVEN, tag)
}

/// What was fetched from it.
pub(crate) fn fetched(tag: SheetTag) -> CellName {
    cell(FETCHED, tag)
}

/// Its bits.
pub(crate) fn sheet(tag: SheetTag) -> VaultName {
    secret(SHEET, tag)
}

/// Who may fetch a shared key.
pub(crate) fn parcel(id: &KeyUuid) -> CellName {
    cell(PARCEL, id)
}

/// The shared key.
pub(crate) fn parcel_key(id: &KeyUuid) -> VaultName {
    secret(PARCEL, id)
}

/// Which sides of a sheet are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Side {
    /// The master's.
    #[n(0)]
    Master,
    /// The slave's.
    #[n(1)]
    Slave,
    /// Both.
    #[n(2)]
    Both,
}

impl Side {
    pub(crate) fn serves_slave(self) -> bool {
        matches!(self, Self::Slave | Self::Both)
    }
}

/// How far a sheet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Stage {
    /// The other KME has not confirmed it.
    #[n(0)]
    Offered,
    /// Both sides have it.
    #[n(1)]
    Ready,
    /// No further key comes from it; for a master's side, the other KME is yet to hear it.
    #[n(2)]
    Finished(#[n(0)] Timestamp),
}

/// What a sheet is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Meta {
    #[n(0)]
    pub(crate) side: Side,
    #[n(1)]
    pub(crate) stage: Stage,
    #[n(2)]
    pub(crate) master: SaeId,
    #[n(3)]
    pub(crate) slave: SaeId,
    /// The other KME.
    #[n(4)]
    pub(crate) kme: KmeId,
    #[n(5)]
    pub(crate) units: u16,
    #[n(6)]
    pub(crate) path: KeyPath,
    /// Where the other KME finds the bits, while it has not confirmed them.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub(crate) reference: Option<Vec<u8>>,
    /// The start of the other KME that it is of.
    #[n(8)]
    pub(crate) with: Hash,
}

/// Who may fetch a shared key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ParcelMeta {
    #[n(0)]
    pub(crate) master: SaeId,
    #[n(1)]
    pub(crate) waiting: Vec<SaeId>,
    #[n(2)]
    pub(crate) served: Vec<SaeId>,
    #[n(3)]
    pub(crate) path: KeyPath,
    #[n(4)]
    pub(crate) since: Timestamp,
}

/// The bytes of a plain record.
pub(crate) fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    // Writing to memory cannot fail.
    minicbor::to_vec(value).unwrap_or_default()
}
