//! The sequencer: the one place where a boundary changes.
//!
//! ```text
//! queue ─▶ step, apply (memory) ─▶ append + sign (one transaction) ─▶ receipts ─▶ effects
//! ```
//!
//! It runs on a thread of its own, so that stepping never waits behind sessions. Nothing is answered and no
//! effect starts before the batch that holds its entry is durable; the types say so: a [`Receipt`]
//! and an [`Order`] are made here only, after the append.

mod core;
mod lane;
mod receipt;
mod recover;
mod refusals;
mod reserve;
mod signer;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kernel::event::{Event, Pause};
use kernel::{PAUSE, State};
use store::{Fault, VaultSecret};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use types::limits::{BATCH_ENTRIES, ENTRY_LEN};
use types::{KeyId, Millis, Timestamp};

use crate::clock::TimeSource;
use crate::console::{Scene, Scenes};
use crate::log_tree::LogTree;

pub use self::core::CommitError;
pub use self::core::Core;
pub(crate) use self::core::{Pending, share_name};
use lane::Lane;
pub use receipt::{Order, Receipt};
pub(crate) use recover::recover;
pub use recover::{RecoverError, open};
pub use signer::{Signers, SignersError};

/// Events that may wait. Beyond, requests are refused and nodes are read no further.
const QUEUE: usize = 4 * BATCH_ENTRIES;
/// Room in the queue and in each batch that is kept for revocations.
const RESERVED: usize = BATCH_ENTRIES / 8;
/// Looks at the state that may wait.
const READS: usize = 1_024;
/// Longest time without a look at what is due.
const HEARTBEAT: Duration = Duration::from_millis(50);
/// For how long what is not urgent stands back after a revocation was ordered or acknowledged.
const STAND_BACK: Duration = Duration::from_millis(50);
/// Longest wait for the askers of the last batch to come back, so that one flush serves them all again.
const GATHER: Duration = Duration::from_millis(1);
/// How often the queue is looked at meanwhile.
const GLANCE: Duration = Duration::from_micros(40);
/// Wait between attempts while the store takes nothing.
const RETRY: Duration = Duration::from_millis(500);

/// Why an event was not recorded. Nothing of it happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// Too much waits already.
    #[error("too many requests wait: try again soon")]
    Busy,
    /// The store took nothing.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What it leads to does not fit an entry. The source is counted and named in the log.
    #[error(
        "what this leads to takes {len} bytes, and an entry of the log has at most {ENTRY_LEN}: ask for less at a time"
    )]
    TooLarge {
        /// Bytes of the entry it would have been.
        len: usize,
    },
    /// It is no request of now, and is counted instead of kept.
    #[error("{0}")]
    Refused(kernel::record::Refusal),
    /// The hub stops.
    #[error("the hub is stopping")]
    Stopped,
}

type ReadState = Box<dyn FnOnce(&Look<'_>) + Send>;

/// The durable state, as readers see it.
pub struct Look<'a> {
    /// The state after the last durable entry.
    pub state: &'a State,
    /// The tree over the durable entries.
    pub tree: &'a LogTree,
    /// The time.
    pub now: Timestamp,
    /// Why the store takes nothing now, if it does not.
    pub fault: Option<&'a CommitError>,
}

/// What goes beside the events, so that reads are served while nothing can be recorded.
enum Control {
    Read(ReadState),
    Scene(oneshot::Sender<Option<Arc<Scene>>>),
    Stop(oneshot::Sender<()>),
}

/// The way to a sequencer; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    reserved: mpsc::Sender<Pending>,
    events: mpsc::Sender<Pending>,
    bulk: mpsc::Sender<Pending>,
    control: mpsc::Sender<Control>,
    tree: Arc<RwLock<LogTree>>,
    fault: Arc<RwLock<Option<CommitError>>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sequencer::Handle")
    }
}

impl Handle {
    /// Has an operator's event stepped and recorded; refuses at once where too much waits.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing of the event happened then.
    pub async fn request(&self, event: Event) -> Result<Receipt, SubmitError> {
        let (reply, answer) = oneshot::channel();
        let queue = self.lane(&event);
        let pending = Pending { reply: Some(reply), ..Pending::quiet(event) };
        queue.try_send(pending).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => self.fault().map_or(SubmitError::Busy, SubmitError::Commit),
            mpsc::error::TrySendError::Closed(_) => SubmitError::Stopped,
        })?;
        answer.await.map_err(|_| SubmitError::Stopped)?
    }

    /// Has an event of the hub or a node stepped and recorded. Waits for room: a node is read no
    /// faster than its messages are recorded. Events that meet a full disk are kept and tried again.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`].
    pub async fn report(&self, event: Event) -> Result<(), SubmitError> {
        self.report_with(event, Vec::new()).await
    }

    /// As [`Self::report`], with shares of keys that are sealed in the same transaction as the entry.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`].
    pub async fn report_with(&self, event: Event, shares: Vec<(KeyId, VaultSecret)>) -> Result<(), SubmitError> {
        let queue = self.lane(&event);
        let pending = Pending { shares, ..Pending::quiet(event) };
        queue.send(pending).await.map_err(|_| SubmitError::Stopped)
    }

    /// As [`Self::report`], for an event of a source that has a bounded number of places: this one is given back
    /// once the event is recorded or refused.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`].
    pub(crate) async fn report_from(&self, event: Event, place: OwnedSemaphorePermit) -> Result<(), SubmitError> {
        let queue = self.lane(&event);
        let pending = Pending { place: Some(place), ..Pending::quiet(event) };
        queue.send(pending).await.map_err(|_| SubmitError::Stopped)
    }

    fn lane(&self, event: &Event) -> &mpsc::Sender<Pending> {
        match Lane::of(event) {
            Lane::Reserved => &self.reserved,
            Lane::Normal => &self.events,
            Lane::Bulk => &self.bulk,
        }
    }

    /// Looks at the durable state.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`].
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Look<'_>) -> T + Send + 'static,
    ) -> Result<T, SubmitError> {
        let (reply, answer) = oneshot::channel();
        let read = Control::Read(Box::new(move |at| {
            // The asker may have gone; then nobody wants the answer.
            let _ = reply.send(look(at));
        }));
        self.control.send(read).await.map_err(|_| SubmitError::Stopped)?;
        answer.await.map_err(|_| SubmitError::Stopped)
    }

    /// What is shown of the durable state, shared with all who watch; `None` before the first entry.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`].
    pub(crate) async fn scene(&self) -> Result<Option<Arc<Scene>>, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.control.send(Control::Scene(reply)).await.map_err(|_| SubmitError::Stopped)?;
        answer.await.map_err(|_| SubmitError::Stopped)
    }

    fn fault(&self) -> Option<CommitError> {
        self.fault.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tree over the durable entries.
    pub(crate) fn tree(&self) -> Arc<RwLock<LogTree>> {
        Arc::clone(&self.tree)
    }

    /// Stops the sequencer once what is queued is recorded.
    pub async fn stop(&self) {
        let (reply, done) = oneshot::channel();
        if self.control.send(Control::Stop(reply)).await.is_ok() {
            let _ = done.await;
        }
    }
}

/// Starts the sequencer on its thread. Effects leave through the returned channel, those of a batch together, in
/// order of their entries.
///
/// # Errors
/// The operating system's error where no thread can be had.
pub fn start(
    core: Core,
    time: TimeSource,
) -> std::io::Result<(Handle, mpsc::UnboundedReceiver<Vec<Order>>, std::thread::JoinHandle<()>)> {
    let (reserved_in, reserved) = mpsc::channel(RESERVED);
    let (events, queue) = mpsc::channel(QUEUE);
    let (bulk_in, bulk) = mpsc::channel(QUEUE);
    let (control_in, control) = mpsc::channel(READS);
    let (orders_in, orders) = mpsc::unbounded_channel();
    let (tree, fault) = (core.tree(), core.fault());
    let handle = Handle { reserved: reserved_in, events, bulk: bulk_in, control: control_in, tree, fault };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = std::thread::Builder::new().name("sequencer".to_owned()).spawn(move || {
        let acted = core.last();
        let clock = crate::clock::Clock::new(time, acted);
        let kept = crate::outstanding::ended_sessions(core.state()).into_iter().map(Pending::quiet).collect();
        let turns = Loop {
            core,
            clock,
            reserved,
            queue,
            bulk,
            control,
            orders: orders_in,
            kept,
            acted,
            pause: Some(Pause::NotRunning),
            backoff: false,
            pace: Pace::default(),
            revoking: None,
            scenes: Scenes::default(),
        };
        runtime.block_on(turns.run());
    })?;
    Ok((handle, orders, thread))
}

struct Loop {
    core: Core,
    clock: crate::clock::Clock,
    reserved: mpsc::Receiver<Pending>,
    queue: mpsc::Receiver<Pending>,
    bulk: mpsc::Receiver<Pending>,
    control: mpsc::Receiver<Control>,
    orders: mpsc::UnboundedSender<Vec<Order>>,
    /// Events without an asker that the store has not taken yet; they go first.
    kept: Vec<Pending>,
    /// When it last looked at what is due and could act.
    acted: Timestamp,
    /// Why it could not since, where that is known.
    pause: Option<Pause>,
    backoff: bool,
    pace: Pace,
    /// When a revocation was last ordered or acknowledged.
    revoking: Option<Instant>,
    scenes: Scenes,
}

/// What the last batch was like.
#[derive(Default)]
struct Pace {
    /// Askers it answered.
    events: usize,
    /// How long it took to record.
    took: Duration,
}

impl Pace {
    /// Callers that wait for their answers come back in a burst. A batch closed at the first of them
    /// would pay a whole flush for one event and let the others wait behind it, so that half of all
    /// flushes would be wasted. Waits for as many as came last time, never longer than recording them
    /// took; alone, a caller waits for nobody. Blocks: the thread has nothing else to do meanwhile.
    fn gather(&self, queue: &mut mpsc::Receiver<Pending>, events: &mut Vec<Pending>, room: usize) {
        let (wanted, patience) = (self.events.min(room), self.took.min(GATHER));
        let start = Instant::now();
        while events.len() < wanted && start.elapsed() < patience {
            match queue.try_recv() {
                Ok(pending) => events.push(pending),
                Err(mpsc::error::TryRecvError::Empty) => std::thread::sleep(GLANCE),
                Err(mpsc::error::TryRecvError::Disconnected) => return,
            }
        }
    }
}

impl Loop {
    async fn run(mut self) {
        let mut events = Vec::with_capacity(BATCH_ENTRIES);
        let mut stopping = Vec::new();
        loop {
            let wait = self.wait();
            // What is kept, a tick and a word on the clock or a pause go into the same batch.
            let all = BATCH_ENTRIES.saturating_sub(self.kept.len() + core::TICKS + 2);
            let room = all.saturating_sub(RESERVED);
            tokio::select! {
                control = self.control.recv() => match control {
                    Some(Control::Read(read)) => {
                        self.core.look(self.clock.at(), read);
                        continue;
                    }
                    Some(Control::Scene(reply)) => {
                        self.show(reply);
                        continue;
                    }
                    Some(Control::Stop(done)) => stopping.push(done),
                    None => break,
                },
                Some(pending) = self.reserved.recv(), if all > 0 => events.push(pending),
                // Where there is no room, nothing more is taken until the store takes something.
                _ = self.queue.recv_many(&mut events, room), if room > 0 => {
                    self.pace.gather(&mut self.queue, &mut events, room);
                }
                Some(pending) = self.bulk.recv(), if room > 0 => events.push(pending),
                () = tokio::time::sleep(wait) => {}
            }
            while events.len() < all
                && let Ok(pending) = self.reserved.try_recv()
            {
                events.push(pending);
            }
            self.top_up(&mut events, room);
            self.turn(&mut events).await;
            let idle = self.reserved.is_empty() && self.queue.is_empty() && self.bulk.is_empty();
            if !stopping.is_empty() && idle {
                break;
            }
        }
        self.core.close().await;
        for done in stopping {
            // Whoever asked for the stop may have gone.
            let _: Result<(), ()> = done.send(());
        }
    }

    fn show(&mut self, reply: oneshot::Sender<Option<Arc<Scene>>>) {
        let (core, now) = (&self.core, self.clock.at());
        let mut scene = None;
        core.look(now, |look| scene = self.scenes.look(look));
        // The asker may have gone; then nobody wants the answer.
        let _ = reply.send(scene);
    }

    /// Adds what else waits. While keys are being revoked, one bulk event a batch at most.
    fn top_up(&mut self, events: &mut Vec<Pending>, room: usize) {
        while events.len() < room
            && let Ok(pending) = self.queue.try_recv()
        {
            events.push(pending);
        }
        let revokes =
            |pending: &Pending| matches!(pending.event, Event::Purged { .. } | Event::IsolationConfirmed { .. });
        if events.iter().any(revokes) {
            self.revoking = Some(Instant::now());
        }
        let calm = !self.core.more_due() && self.revoking.is_none_or(|last| last.elapsed() > STAND_BACK);
        let share = if calm { room } else { room.min(events.len() + 1) };
        while events.len() < share
            && let Ok(pending) = self.bulk.try_recv()
        {
            events.push(pending);
        }
    }

    fn wait(&mut self) -> Duration {
        if self.backoff {
            return RETRY;
        }
        if self.core.more_due() || !self.kept.is_empty() {
            return Duration::ZERO;
        }
        let due = self.core.next_due().map(|due| Duration::from(due.since(self.clock.at())));
        due.map_or(HEARTBEAT, |due| due.clamp(Duration::from_millis(1), HEARTBEAT))
    }

    /// Says that nothing could be done about what was due for a while, where it was so: an auditor takes
    /// whatever was due and not done otherwise for left out.
    fn pause(&self, now: Timestamp) -> Vec<Pending> {
        let pause = self.pause.unwrap_or(Pause::Stalled);
        if pause == Pause::NotRunning || now.since(self.acted) > PAUSE {
            return vec![Pending::quiet(Event::Resumed { since: self.acted, pause })];
        }
        Vec::new()
    }

    async fn turn(&mut self, events: &mut Vec<Pending>) {
        let (taken, start) = (events.iter().filter(|pending| pending.reply.is_some()).count(), Instant::now());
        let now = self.clock.now();
        let mut pending = self.pause(now.at);
        pending.append(&mut self.kept);
        if now.regressed {
            tracing::warn!("the system's clock went back; the log's time stands until it has caught up");
            pending.push(Pending::quiet(Core::clock_regressed()));
        }
        pending.append(events);
        let done = self.core.commit(pending, now.at).await;
        if taken > 0 {
            self.pace = Pace { events: taken, took: start.elapsed() };
        }
        self.backoff = done.failed;
        self.kept = done.kept;
        self.kept.retain(|kept| !matches!(kept.event, Event::Resumed { .. }));
        if !done.failed {
            (self.acted, self.pause) = (now.at, None);
        } else if self.pause.is_none() {
            self.pause = Some(Pause::StoreFailed);
        }
        if done.orders.iter().any(Order::revokes) {
            self.revoking = Some(Instant::now());
        }
        if !done.orders.is_empty() {
            // The runner of effects ends only with the hub.
            let _ = self.orders.send(done.orders);
        }
    }
}

/// How long a snapshot's tail of the log may get, in entries.
pub(crate) const SNAPSHOT_EVERY: u64 = 4_096;

/// Least time between two snapshots.
pub(crate) const SNAPSHOT_GAP: Millis = Millis::from_secs(10);

#[cfg(test)]
mod tests;

pub(crate) fn lock<T>(tree: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    tree.write().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a fault of the store passes by itself, or with a little room on the disk.
pub(crate) fn passes(fault: &Fault) -> bool {
    matches!(fault, Fault::DiskFull | Fault::Busy)
}
