//! Durable writes of many requests in one: while the store commits, what comes meanwhile gathers for the next
//! commit, and of several values of one cell only the last is written.

use std::collections::BTreeMap;

use store::{CellName, Changes, StoreHandle, WriteError};
use tokio::sync::{mpsc, oneshot};

/// Most requests of one commit.
const GROUP: usize = 512;

type Done = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

struct Entry {
    changes: Changes,
    done: Done,
}

/// The way to the store. Entries are written in the order in which they were sent.
#[derive(Clone)]
pub(crate) struct Journal(mpsc::UnboundedSender<Entry>);

/// What must be durable was not made so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotDurable;

impl Journal {
    /// Starts the task that writes, which ends with the last clone of the journal.
    pub(crate) fn spawn(store: StoreHandle) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(write(store, receiver));
        Self(sender)
    }

    /// Queues `changes`; `done` is called from the writing task. Bounded by its callers: a connection has one
    /// request under way.
    pub(crate) fn send(&self, changes: Changes, done: impl FnOnce(bool) + Send + 'static) {
        let done: Done = Box::new(move |result| done(result.is_ok()));
        if let Err(refused) = self.0.send(Entry { changes, done }) {
            (refused.0.done)(Err(WriteError::Fault(store::Fault::Closed)));
        }
    }

    /// Queues `changes`; the future tells when they are durable.
    pub(crate) fn write(&self, changes: Changes) -> impl Future<Output = Result<(), NotDurable>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        self.send(changes, move |kept| {
            // Whoever asked may be gone; it is written all the same.
            let _ = sender.send(kept);
        });
        async move { if receiver.await.unwrap_or(false) { Ok(()) } else { Err(NotDurable) } }
    }
}

async fn write(store: StoreHandle, mut entries: mpsc::UnboundedReceiver<Entry>) {
    let mut group = Vec::with_capacity(GROUP);
    while entries.recv_many(&mut group, GROUP).await > 0 {
        let mut all = Changes::default();
        let mut cells: BTreeMap<CellName, Option<Vec<u8>>> = BTreeMap::new();
        let mut answers = Vec::with_capacity(group.len());
        for entry in group.drain(..) {
            all.vault.extend(entry.changes.vault);
            cells.extend(entry.changes.cells);
            answers.push(entry.done);
        }
        all.cells = cells.into_iter().collect();
        let result = if all.is_empty() { Ok(()) } else { store.apply(all).await };
        if let Err(error) = &result {
            tracing::error!(%error, "keys are held back: their delivery could not be made durable");
        }
        for done in answers {
            done(result.clone());
        }
    }
}
