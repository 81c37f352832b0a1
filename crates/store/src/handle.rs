//! The asynchronous front: one operating-system thread owns the [`Store`], drains its queue into
//! single transactions, and so lets many callers share one flush of the device.

use std::ops::Range;
use std::thread;

use crypto::MasterKey;
use tokio::sync::{mpsc, oneshot};
use types::{BoundaryId, Hash};

use crate::error::{AppendError, FsckError, ReadError, RewrapError, WriteError};
use crate::fault::Fault;
use crate::fsck::FsckReport;
use crate::log::{Batch, Changes, Entry, Head};
use crate::name::{CellName, VaultName};
use crate::read::{Snapshot, StoredCheckpoint};
use crate::store::{Op, Store};
use crate::vault::VaultSecret;

/// Requests that may wait; callers beyond it wait for room.
const QUEUE: usize = 1_024;
/// Weight, in bytes, after which a group is committed though more requests wait.
const GROUP_WEIGHT: usize = 4 * 1024 * 1024;

type Answer = Box<dyn FnOnce(Result<Head, AppendError>) + Send>;
type Job = Box<dyn FnOnce(&mut Store) + Send>;

enum Request {
    /// Joins the group that is committed next.
    Commit(Op, Answer),
    /// Runs alone, after the group that was drained with it.
    Run(Job),
    /// Closes the file and ends the thread.
    Close(oneshot::Sender<Result<(), Fault>>),
}

/// A handle on a store that has a thread of its own. Clones share it. The thread ends, and folds the
/// file, when the last clone is dropped or one calls [`StoreHandle::close`].
///
/// A caller that stops waiting for an answer does not undo its request: it may still be carried out.
#[derive(Clone)]
pub struct StoreHandle {
    queue: mpsc::Sender<Request>,
    boundary: BoundaryId,
}

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreHandle").field("boundary", &self.boundary).finish_non_exhaustive()
    }
}

impl StoreHandle {
    /// Moves `store` to a new thread.
    ///
    /// # Errors
    /// The operating system's, where it gives no thread.
    pub fn spawn(store: Store) -> std::io::Result<Self> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let boundary = store.boundary().clone();
        thread::Builder::new().name(format!("store {boundary}")).spawn(move || serve(store, requests))?;
        Ok(Self { queue, boundary })
    }

    /// The boundary whose store this is.
    pub fn boundary(&self) -> &BoundaryId {
        &self.boundary
    }

    /// As [`Store::append`]. Appends that are queued together, each on the head the one before it
    /// makes, share one transaction.
    pub async fn append(&self, expected: Head, batch: Batch) -> Result<Head, AppendError> {
        self.commit(Op::Append { expected, batch }).await
    }

    /// As [`Store::apply`], sharing its transaction with what else is queued.
    pub async fn apply(&self, changes: Changes) -> Result<(), WriteError> {
        self.commit(Op::Apply(changes)).await.map(|_| ()).map_err(WriteError::from_append)
    }

    /// As [`Store::put_cells`], sharing its transaction with what else is queued.
    pub async fn put_cells(&self, cells: Vec<(CellName, Vec<u8>)>) -> Result<(), WriteError> {
        self.apply(Changes::cells(cells)).await
    }

    /// As [`Store::put_snapshot`].
    pub async fn put_snapshot(&self, size: u64, bytes: Vec<u8>) -> Result<(), WriteError> {
        self.run(move |store| store.put_snapshot(size, &bytes)).await
    }

    /// As [`Store::keep_reserve`].
    pub async fn keep_reserve(&self) -> Result<(), Fault> {
        self.run(|store| store.keep_reserve()).await
    }

    /// As [`Store::release_reserve`].
    pub async fn release_reserve(&self) -> Result<bool, Fault> {
        self.run(|store| store.release_reserve()).await
    }

    /// As [`Store::rewrap`].
    pub async fn rewrap(&self, new: MasterKey) -> Result<(), RewrapError> {
        self.run(move |store| store.rewrap(new)).await
    }

    /// As [`Store::head`].
    pub async fn head(&self) -> Result<Head, Fault> {
        self.run(|store| store.head()).await
    }

    /// As [`Store::read`]. Others wait meanwhile: ask for [`types::limits::BATCH_ENTRIES`] at a time.
    pub async fn read(&self, range: Range<u64>) -> Result<Vec<Entry>, ReadError> {
        self.run(move |store| store.read(range)).await
    }

    /// As [`Store::leaf_hashes`].
    pub async fn leaf_hashes(&self, range: Range<u64>) -> Result<Vec<Hash>, ReadError> {
        self.run(move |store| store.leaf_hashes(range)).await
    }

    /// As [`Store::checkpoint`].
    pub async fn checkpoint(&self) -> Result<Option<StoredCheckpoint>, Fault> {
        self.run(|store| store.checkpoint()).await
    }

    /// As [`Store::snapshot`].
    pub async fn snapshot(&self, size: u64) -> Result<Option<Snapshot>, Fault> {
        self.run(move |store| store.snapshot(size)).await
    }

    /// As [`Store::cell`].
    pub async fn cell(&self, name: CellName) -> Result<Option<Vec<u8>>, ReadError> {
        self.run(move |store| store.cell(&name)).await
    }

    /// As [`Store::cells`].
    pub async fn cells(&self, prefix: impl Into<String>) -> Result<Vec<(CellName, Vec<u8>)>, ReadError> {
        let prefix = prefix.into();
        self.run(move |store| store.cells(&prefix)).await
    }

    /// As [`Store::secret`].
    pub async fn secret(&self, name: VaultName) -> Result<Option<VaultSecret>, ReadError> {
        self.run(move |store| store.secret(&name)).await
    }

    /// As [`Store::secret_names`].
    pub async fn secret_names(&self, prefix: impl Into<String>) -> Result<Vec<VaultName>, Fault> {
        let prefix = prefix.into();
        self.run(move |store| store.secret_names(&prefix)).await
    }

    /// As [`Store::fsck`]. Others wait meanwhile.
    pub async fn fsck(&self) -> Result<FsckReport, FsckError> {
        self.run(|store| store.fsck()).await
    }

    /// Carries out what is queued, folds the file and ends the thread.
    pub async fn close(self) -> Result<(), Fault> {
        let (answer, done) = oneshot::channel();
        self.queue.send(Request::Close(answer)).await.map_err(|_| Fault::Closed)?;
        done.await.unwrap_or(Err(Fault::Closed))
    }

    async fn commit(&self, op: Op) -> Result<Head, AppendError> {
        let (answer, done) = oneshot::channel();
        // The caller may have stopped waiting; the work was done all the same.
        let answer: Answer = Box::new(move |result| drop(answer.send(result)));
        self.queue.send(Request::Commit(op, answer)).await.map_err(|_| Fault::Closed)?;
        done.await.unwrap_or(Err(AppendError::Fault(Fault::Closed)))
    }

    async fn run<T, E>(&self, job: impl FnOnce(&mut Store) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let (answer, done) = oneshot::channel();
        let job: Job = Box::new(move |store| drop(answer.send(job(store))));
        self.queue.send(Request::Run(job)).await.map_err(|_| Fault::Closed)?;
        done.await.unwrap_or_else(|_| Err(Fault::Closed.into()))
    }
}

fn serve(mut store: Store, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.blocking_recv() {
        let mut group = Group::default();
        let mut jobs = Vec::new();
        let mut close = None;
        let mut next = Some(first);
        while let Some(request) = next.take() {
            match request {
                Request::Commit(op, answer) => group.push(op, answer),
                Request::Run(job) => jobs.push(job),
                Request::Close(answer) => close = Some(answer),
            }
            if close.is_none() && group.weight < GROUP_WEIGHT && group.ops.len() + jobs.len() < QUEUE {
                next = requests.try_recv().ok();
            }
        }
        group.commit(&mut store);
        for job in jobs {
            job(&mut store);
        }
        if let Some(answer) = close {
            drop(answer.send(store.close()));
            return;
        }
    }
    if let Err(fault) = store.close() {
        tracing::warn!(%fault, "the store was not folded on closing; opening it again does it");
    }
}

#[derive(Default)]
struct Group {
    ops: Vec<Op>,
    answers: Vec<Answer>,
    weight: usize,
}

impl Group {
    fn push(&mut self, op: Op, answer: Answer) {
        self.weight += op.weight();
        self.ops.push(op);
        self.answers.push(answer);
    }

    fn commit(self, store: &mut Store) {
        if self.ops.is_empty() {
            return;
        }
        let done = store.commit(&self.ops);
        // An erasure is answered once it is scrubbed, everything else before the log is folded.
        if store.scrub_due() {
            store.tend();
        }
        match done {
            Ok(results) => self.answers.into_iter().zip(results).for_each(|(answer, result)| answer(result)),
            Err(error) => self.answers.into_iter().for_each(|answer| answer(Err(error.clone()))),
        }
        store.tend();
    }
}
