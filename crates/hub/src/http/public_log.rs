//! The log as its public half: the signed checkpoint and the hash tiles (C2SP `tlog-tiles`), and
//! proofs and exports for those who may have them. Hashes reveal nothing of the entries, so tiles
//! need no sign-in; entries are given to operators only, by an export that policy permits.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use evidence::bundle::{BundleWriter, Header};
use evidence::note::KeyName;
use evidence::tile::{Resource, Tile};
use evidence::{InclusionProof, SignedNote, TlogProof};
use hyper::Response;
use store::Store;
use tokio::sync::mpsc;
use types::BoundaryId;

use api::ErrorCode;
use api::answer::FoundingView;

use super::body::{Reply, failure, whole};
use super::router::App;
use crate::log_tree::{LogTree, NodeError, StoredTree};
use crate::sequencer::Receipt;

/// Entries read from the store at a time.
const PAGE: u64 = 256;

/// Why something of the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Read(#[from] store::ReadError),
    #[error(transparent)]
    Fault(#[from] store::Fault),
    #[error(transparent)]
    Note(#[from] evidence::note::NoteError),
}

/// Reads the log beside the sequencer, through a handle of its own.
pub(crate) struct LogReader {
    store: Mutex<Store>,
    tree: Arc<RwLock<LogTree>>,
    boundary: BoundaryId,
    origin: KeyName,
}

impl LogReader {
    pub(crate) fn new(store: Store, tree: Arc<RwLock<LogTree>>, origin: KeyName) -> Self {
        let boundary = store.boundary().clone();
        Self { store: Mutex::new(store), tree, boundary, origin }
    }

    fn with<T>(&self, read: impl FnOnce(&Store) -> T) -> T {
        read(&self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn checkpoint(&self) -> Result<Option<String>, LogError> {
        Ok(self.with(Store::checkpoint)?.map(|checkpoint| checkpoint.note))
    }

    /// The bytes of a tile; `None` where it is not, or not wholly, in the tree.
    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, LogError> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let there = Tile::at(tile.level, tile.index, tree.size()).is_some_and(|full| tile.width <= full.width);
        if !there {
            return Ok(None);
        }
        Ok(Some(self.with(|store| tile.read(&StoredTree { tree: &tree, store }))?))
    }

    /// The proof that entry `index` is in the log the receipt's checkpoint signs.
    fn proof(&self, index: u64, receipt: &Receipt) -> Result<TlogProof, LogError> {
        let note = SignedNote::parse(receipt.checkpoint().as_bytes())?;
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let inclusion =
            self.with(|store| InclusionProof::new(&StoredTree { tree: &tree, store }, index, receipt.size()))?;
        Ok(TlogProof::new(inclusion, note))
    }

    /// The proof that the receipt's entry is in the log its checkpoint signs; waits for the disk on a
    /// thread of its own.
    pub(crate) async fn prove(self: &Arc<Self>, receipt: Receipt) -> Option<TlogProof> {
        self.blocking(move |reader| reader.proof(receipt.index(), &receipt)).await
    }

    /// The first entry, with the proof that the receipt's checkpoint signs it.
    pub(crate) async fn founding(self: &Arc<Self>, receipt: Receipt) -> Option<FoundingView> {
        let founding = move |reader: &Self| {
            let first = reader.with(|store| store.read(0..1))?;
            let entry = first.first().ok_or(store::ReadError::Gap { index: 0 })?;
            let proof = reader.proof(0, &receipt)?.to_string();
            Ok(FoundingView { entry: hex::encode(&entry.bytes), proof })
        };
        self.blocking(founding).await
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, LogError> + Send + 'static,
    ) -> Option<T> {
        let reader = Arc::clone(self);
        match tokio::task::spawn_blocking(move || read(&reader)).await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                tracing::error!(%error, "a proof cannot be made");
                None
            }
            Err(_) => None,
        }
    }

    /// Streams the log up to the receipt's checkpoint as an evidence bundle, a page at a time. Where
    /// the reader stops taking, nothing more is read.
    pub(crate) fn export(self: &Arc<Self>, receipt: Receipt) -> mpsc::Receiver<std::io::Result<Bytes>> {
        let (chunks, body) = mpsc::channel(4);
        let reader = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = reader.write_bundle(&receipt, &chunks) {
                tracing::warn!(%error, "an export broke off");
                // The error in the body breaks the connection off; a reader that has gone knows.
                let _ = chunks.blocking_send(Err(error));
            }
        });
        body
    }

    fn write_bundle(&self, receipt: &Receipt, chunks: &mpsc::Sender<std::io::Result<Bytes>>) -> std::io::Result<()> {
        let header = Header { boundary: self.boundary.clone(), origin: self.origin.clone(), size: receipt.size() };
        let note = SignedNote::parse(receipt.checkpoint().as_bytes()).map_err(std::io::Error::other)?;
        let mut bundle = BundleWriter::new(Chunks { chunks, buffer: Vec::new() }, &header)?;
        let mut next = 0;
        while next < receipt.size() {
            let end = receipt.size().min(next + PAGE);
            let entries = self.with(|store| store.read(next..end)).map_err(std::io::Error::other)?;
            if entries.len() as u64 != end - next {
                return Err(std::io::Error::other(store::ReadError::Gap { index: next + entries.len() as u64 }));
            }
            for entry in &entries {
                bundle.entry(&entry.bytes)?;
            }
            next = end;
        }
        bundle.finish(&note)?;
        Ok(())
    }
}

/// Gathers what is written into chunks of a body.
struct Chunks<'a> {
    chunks: &'a mpsc::Sender<std::io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl std::io::Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= 64 * 1024 {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        self.chunks.blocking_send(Ok(chunk)).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

impl App {
    pub(super) async fn checkpoint(&self) -> Response<Reply> {
        let reader = Arc::clone(&self.log);
        match tokio::task::spawn_blocking(move || reader.checkpoint()).await {
            Ok(Ok(Some(note))) => whole("text/plain; charset=utf-8", note),
            Ok(Ok(None)) => failure(ErrorCode::NotFound),
            Ok(Err(error)) => self.log_failure(&error),
            Err(_) => failure(ErrorCode::Internal),
        }
    }

    pub(super) async fn tile(&self, path: &str) -> Response<Reply> {
        let tile = match path.parse() {
            Ok(Resource::Tile(tile)) => tile,
            // Entries are not public.
            Ok(Resource::Entries(_) | Resource::Checkpoint) | Err(_) => return failure(ErrorCode::NotFound),
        };
        let reader = Arc::clone(&self.log);
        match tokio::task::spawn_blocking(move || reader.tile(tile)).await {
            Ok(Ok(Some(bytes))) => whole("application/octet-stream", bytes),
            Ok(Ok(None)) => failure(ErrorCode::NotFound),
            Ok(Err(error)) => self.log_failure(&error),
            Err(_) => failure(ErrorCode::Internal),
        }
    }

    fn log_failure(&self, error: &LogError) -> Response<Reply> {
        tracing::error!(%error, "the log cannot be read");
        failure(ErrorCode::Internal)
    }
}
