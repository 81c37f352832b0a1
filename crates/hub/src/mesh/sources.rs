//! What each node may have the hub take in: how many messages, how many entries and how many bytes, and how much
//! of it may wait. A node beyond that is read more slowly, whatever it opens sessions for; the others do not
//! notice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use guard::{Bucket, Rate};
use session::Channel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::NodeId;

/// Messages, whatever comes of them.
const MESSAGES: Rate = Rate { burst: 2_000.0, per_second: 500.0 };
/// Events: each may become an entry.
const EVENTS: Rate = Rate { burst: 1_000.0, per_second: 50.0 };
/// Bytes of messages, and again of the events they become.
const BYTES: Rate = Rate { burst: 2.0 * 1024.0 * 1024.0, per_second: 32.0 * 1024.0 };
/// What coming up costs, in bytes of messages.
const COMING_UP: usize = 8 * 1024;
/// Events of one node that may wait for the sequencer, so that no node fills its queue.
const WAITING: usize = 64;

/// The allowances of every node. They outlast its sessions: who comes back owes what it owed.
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<BTreeMap<(NodeId, Channel), Arc<Source>>>);

/// What one node may still send now, on one kind of session: what it is told to do at once never waits behind
/// its figures.
#[derive(Debug)]
pub(crate) struct Source {
    left: Mutex<Left>,
    places: Arc<Semaphore>,
}

#[derive(Debug)]
struct Left {
    messages: Bucket,
    events: Bucket,
    bytes: Bucket,
}

impl Sources {
    /// The allowance of an admitted node, of which there are only so many.
    pub(super) fn of(&self, node: &NodeId, channel: Channel) -> Arc<Source> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry((node.clone(), channel)).or_default())
    }
}

impl Default for Source {
    fn default() -> Self {
        let left = Left { messages: Bucket::new(MESSAGES), events: Bucket::new(EVENTS), bytes: Bucket::new(BYTES) };
        Self { left: Mutex::new(left), places: Arc::new(Semaphore::new(WAITING)) }
    }
}

impl Source {
    /// Charges a message of `bytes` bytes; waits until nothing is owed.
    pub(super) async fn message(&self, bytes: usize) {
        let wait = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.messages.spend(1.0).max(left.bytes.spend(bytes as f64))
        };
        pause(wait).await;
    }

    /// Charges a node's coming up, which has the hub say everything anew; waits until nothing is owed.
    pub(super) async fn coming_up(&self) {
        self.message(COMING_UP).await;
    }

    /// Charges an event of `bytes` bytes; waits until nothing is owed, and for a place in the queue. `None` where
    /// the hub stops.
    pub(super) async fn event(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wait = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.events.spend(1.0).max(left.bytes.spend(bytes as f64))
        };
        pause(wait).await;
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

async fn pause(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}
