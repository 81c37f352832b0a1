//! The embedded store: a compare-and-swap log, a sealed vault, snapshots and small cells of one
//! boundary in one SQLite file.
//!
//! In scope: making one batch durable wholly or not at all, refusing the writer that comes second,
//! sealing secrets and destroying them, saying what is wrong with a file. Out of scope: what entries
//! mean, clocks, replication.
//!
//! Invariants:
//! 1. A success is returned only after the write is on the device (WAL, `synchronous=FULL`).
//! 2. Entries, checkpoint, vault and cells of one batch become visible together or never.
//! 3. After a device fault a handle writes no more; opening again shows what was kept.
//! 4. A record erased from the vault is gone from the file and its write-ahead log once
//!    [`Store::tend`] returns true. Copies that a file system or a flash drive keeps on its own account are
//!    worthless without the master key, and are destroyed by changing it ([`Store::rewrap`]).

mod create;
mod error;
mod fault;
mod fsck;
mod handle;
mod log;
mod name;
mod read;
mod reserve;
mod schema;
mod store;
mod vault;
mod write;

pub use error::{AppendError, CreateError, FsckError, OpenError, ReadError, RewrapError, SealError, WriteError};
pub use fault::Fault;
pub use fsck::FsckReport;
pub use handle::StoreHandle;
pub use log::{Batch, Changes, Entry, Head, VaultOp};
pub use name::{CellName, ParseStoreNameError, STORE_NAME_LEN, VaultName};
pub use read::{Snapshot, StoredCheckpoint};
pub use store::Store;
pub use vault::VaultSecret;
