//! Reading a boundary back: the last snapshot that holds, then the fold of the log after it, with
//! chain, checkpoint and tree compared.

use evidence::checkpoint::CheckpointError;
use evidence::entry::{Entry, Head, entry_hash};
use evidence::merkle::leaf_hash;
use evidence::{Checkpoint, CheckpointPolicy, SignedNote};
use kernel::{Body, State};
use minicbor::{Decode, Encode};
use std::sync::Arc;

use store::{Fault, ReadError, StoreHandle, VaultName, VaultSecret, WriteError};
use types::limits::BATCH_ENTRIES;
use types::{Label, cbor};

use super::core::{Core, Found};
use super::signer::Signers;
use crate::admitted::Admitted;
use crate::log_tree::LogTree;

/// A boundary cannot be read back. The store was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Fault),
    /// An entry is not what was written.
    #[error(
        "entry {index} of the log is damaged ({reason}): stop, keep a copy of the store and restore it from a backup"
    )]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// The log was decided by later rules than this build knows.
    #[error(
        "entry {index} of the log was decided by rules version {needed}, and this hub knows up to {}: start the version that wrote it, or a later one",
        kernel::RULES
    )]
    Rules {
        /// Its index.
        index: u64,
        /// The version it needs.
        needed: u16,
    },
    /// The checkpoint and the entries are not of one log.
    #[error("the checkpoint does not fit the log ({0}): stop, keep a copy of the store and restore it from a backup")]
    Checkpoint(String),
    /// The log is of another boundary or was signed with other keys.
    #[error("the store was made with {0}: correct the configuration")]
    Other(String),
}

/// A snapshot: the state after `head.size` entries.
#[derive(Encode, Decode)]
struct Kept {
    #[n(0)]
    head: Head,
    #[cbor(n(1), with = "minicbor::bytes")]
    state: Vec<u8>,
}

fn seal_name() -> Option<VaultName> {
    VaultName::new("snapshot").ok()
}

/// The hash of a snapshot is sealed in the vault, so that a snapshot altered in the file, which no
/// signature covers, is not taken for the fold of the log.
fn seal_of(bytes: &[u8]) -> VaultSecret {
    VaultSecret::from_slice(Label::STATE.hash(&[bytes]).as_ref())
}

pub(super) async fn keep(store: &StoreHandle, state: &State, head: Head) -> Result<(), WriteError> {
    let bytes = cbor::to_vec(&Kept { head, state: state.encode() });
    let mut changes = store::Changes::default();
    if let Some(name) = seal_name() {
        changes.put_secret(name, seal_of(&bytes));
    }
    store.put_snapshot(head.size, bytes).await?;
    store.apply(changes).await
}

async fn snapshot(store: &StoreHandle, size: u64) -> Result<Option<(Head, State)>, RecoverError> {
    let Some(found) = store.snapshot(size).await? else { return Ok(None) };
    let Some(name) = seal_name() else { return Ok(None) };
    let Ok(Some(sealed)) = store.secret(name).await else { return Ok(None) };
    if sealed.expose() != seal_of(&found.bytes).expose() {
        return Ok(None);
    }
    // A snapshot of an earlier version, whose state had another form, is only a cache miss.
    let kept = cbor::from_slice::<Kept>(&found.bytes).ok().filter(|kept| kept.head.size == found.size);
    let kept = kept.and_then(|kept| Some((kept.head, State::decode(&kept.state).ok()?)));
    Ok(kept.filter(|(_, state)| kernel::rules::is_known(state.rules())))
}

/// How much of the log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Every entry: a start takes no store whose past was altered.
    All,
    /// What follows the last snapshot: enough after a lost append.
    Tail,
}

/// Reads back state, head and tree.
pub(super) async fn read(store: &StoreHandle, check: Check) -> Result<Found, RecoverError> {
    let end = store.head().await?;
    let kept = snapshot(store, end.size).await?;
    let snapshot_size = kept.as_ref().map_or(0, |(head, _)| head.size);
    if check == Check::All {
        check_entries(store, snapshot_size).await?;
    }
    let (mut head, mut state) = kept.unwrap_or((Head::EMPTY, State::default()));
    while head.size < end.size {
        let next = end.size.min(head.size + BATCH_ENTRIES as u64);
        for stored in store.read(head.size..next).await? {
            head = fold(&mut state, head, &stored)?;
        }
    }
    if head.hash != end.tip {
        return Err(RecoverError::Entry {
            index: end.size.saturating_sub(1),
            reason: "the chain ends elsewhere".into(),
        });
    }
    let tree = load_tree(store, end.size).await?;
    check_checkpoint(store, &tree).await?;
    Ok(Found { state, head, tree, snapshot_size })
}

/// Holds the first `size` entries against their hashes; the root in the checkpoint fixes those.
async fn check_entries(store: &StoreHandle, size: u64) -> Result<(), RecoverError> {
    let mut next = 0;
    while next < size {
        let entries = store.read(next..size.min(next + BATCH_ENTRIES as u64)).await?;
        if entries.is_empty() {
            return Err(ReadError::Gap { index: next }.into());
        }
        for entry in entries {
            check_hashes(&entry).map_err(|reason| RecoverError::Entry { index: next, reason })?;
            next += 1;
        }
    }
    Ok(())
}

fn check_hashes(stored: &store::Entry) -> Result<(), String> {
    if stored.hash == entry_hash(&stored.bytes) && stored.leaf == leaf_hash(&stored.bytes) {
        Ok(())
    } else {
        Err("its bytes do not have its hash".to_owned())
    }
}

/// The tree over the log in `store`, read a piece at a time.
async fn load_tree(store: &StoreHandle, size: u64) -> Result<LogTree, RecoverError> {
    const LEAVES: u64 = 16 * 1024;
    let mut tree = LogTree::default();
    while tree.size() < size {
        let leaves = store.leaf_hashes(tree.size()..size.min(tree.size() + LEAVES)).await?;
        if leaves.is_empty() {
            return Err(ReadError::Gap { index: tree.size() }.into());
        }
        leaves.into_iter().for_each(|leaf| tree.append(leaf));
    }
    Ok(tree)
}

fn fold(state: &mut State, head: Head, stored: &store::Entry) -> Result<Head, RecoverError> {
    let wrong = |reason: String| RecoverError::Entry { index: head.size, reason };
    let entry = match Entry::<Body>::parse(&stored.bytes) {
        Ok(entry) if kernel::rules::is_known(entry.body.rules) => entry,
        other => {
            // Later rules may have events that cannot be read here; that is no damage.
            let bare = Entry::<evidence::Opaque>::parse(&stored.bytes).ok();
            let named = bare.and_then(|entry| kernel::rules::named(entry.body.as_bytes()));
            if let Some(needed) = named.filter(|needed| !kernel::rules::is_known(*needed)) {
                return Err(RecoverError::Rules { index: head.size, needed });
            }
            other.map_err(|error| wrong(error.to_string()))?
        }
    };
    if entry.index != head.size || entry.prev != head.hash || entry.at < head.at {
        return Err(wrong("it does not follow the entry before".to_owned()));
    }
    check_hashes(stored).map_err(wrong)?;
    state.commit(&entry.body, entry.at);
    Ok(Head { size: head.size + 1, hash: stored.hash, at: entry.at })
}

async fn check_checkpoint(store: &StoreHandle, tree: &LogTree) -> Result<(), RecoverError> {
    let wrong = |reason: &str| RecoverError::Checkpoint(reason.to_owned());
    let Some(found) = store.checkpoint().await? else {
        return if tree.size() == 0 { Ok(()) } else { Err(wrong("it is missing")) };
    };
    let note = SignedNote::parse(found.note.as_bytes()).map_err(|error| wrong(&error.to_string()))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| wrong(&error.to_string()))?;
    match (checkpoint.size == tree.size(), checkpoint.root == tree.root()) {
        (true, true) => Ok(()),
        (false, _) => Err(wrong("it has another size")),
        (true, false) => Err(wrong("it has another root")),
    }
}

/// Holds the checkpoint against the log's own keys: hashes alone can be remade by who alters the file.
async fn check_signatures(store: &StoreHandle, signers: &Signers) -> Result<(), RecoverError> {
    let Some(found) = store.checkpoint().await? else { return Ok(()) };
    let keys = signers.keys().map(Clone::clone).to_vec();
    let policy = CheckpointPolicy::new(signers.origin().clone(), keys)
        .map_err(|error| RecoverError::Checkpoint(error.to_string()))?;
    match policy.open(found.note.as_bytes(), &api::client::verify_note) {
        Ok(_) => Ok(()),
        Err(CheckpointError::WrongOrigin { found, .. }) => Err(RecoverError::Other(format!("boundary `{found}`"))),
        Err(CheckpointError::Missing { .. }) => {
            Err(RecoverError::Other("other log keys than those in `log_key`".to_owned()))
        }
        Err(error) => Err(RecoverError::Checkpoint(error.to_string())),
    }
}

/// Opens the boundary in `store`, and makes sure that it is the one the configuration names and that
/// `signers` are the keys its log was begun with.
///
/// # Errors
/// [`RecoverError`] for a damaged store, or one that belongs elsewhere.
pub(crate) async fn recover(
    store: StoreHandle,
    signers: Signers,
    admitted: Arc<Admitted>,
) -> Result<Core, RecoverError> {
    let found = read(&store, Check::All).await?;
    check_signatures(&store, &signers).await?;
    if let Some(boundary) = found.state.boundary() {
        if boundary.id.as_str() != signers.origin().as_str() {
            return Err(RecoverError::Other(format!("boundary `{}`", boundary.id)));
        }
        if boundary.audit_key != signers.fingerprint() {
            return Err(RecoverError::Other("other log keys than those in `log_key`".to_owned()));
        }
    }
    Ok(Core::new(store, admitted, signers, found))
}

/// As the hub does it when it starts: opens the boundary in `store`, whose log `signers` began.
///
/// # Errors
/// [`RecoverError`].
pub async fn open(store: StoreHandle, signers: Signers) -> Result<Core, RecoverError> {
    recover(store, signers, Arc::new(Admitted::default())).await
}
