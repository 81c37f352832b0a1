//! One turn of the sequencer, without queue or thread: step, apply, append, or fall back to what is
//! durable.

use std::sync::{Arc, RwLock};

use evidence::entry::{Head, TooLong};
use kernel::effect::Effect;
use kernel::event::Event;
use kernel::record::{Record, Refusal};
use kernel::{Body, State, Step, step};
use store::{AppendError, Batch, Changes, Fault, StoreHandle, VaultName, VaultSecret};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use types::mesh::{KeyState, SignalKind, Subject};
use types::{KeyId, NodeId, Timestamp};

use super::lane::Lane;
use super::receipt::{Order, Receipt};
use super::refusals::{Refusals, counted};
use super::reserve::Reserve;
use super::signer::Signers;
use super::{Look, SNAPSHOT_EVERY, SNAPSHOT_GAP, SubmitError, lock, passes, recover};
use crate::admitted::Admitted;
use crate::log_tree::LogTree;

/// Most ticks in one batch: together they move as many keys as a mesh of some hundred nodes has, so that taking all
/// of them back costs one flush and one message a node.
pub(super) const TICKS: usize = 64;

/// Why a batch was not recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// The store took nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// No checkpoint could be signed.
    #[error("no checkpoint can be signed: {0}")]
    Record(String),
    /// After a failure, the durable state could not be read back.
    #[error("the durable state cannot be read: {0}")]
    Recover(String),
}

/// An event on its way, with what must become durable with it.
pub(crate) struct Pending {
    pub(crate) event: Event,
    /// Shares of keys, sealed with the entry that makes each of them a key.
    pub(crate) shares: Vec<(KeyId, VaultSecret)>,
    pub(crate) reply: Option<oneshot::Sender<Result<Receipt, SubmitError>>>,
    /// A place of its source, where it has a bounded number of them.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

impl Pending {
    /// An event nobody waits for.
    pub(crate) fn quiet(event: Event) -> Self {
        Self { event, shares: Vec::new(), reply: None, place: None }
    }

    fn refuse(self, error: SubmitError) {
        if let Some(reply) = self.reply {
            // The asker may have gone.
            let _ = reply.send(Err(error));
        }
    }
}

/// What came of a turn.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) orders: Vec<Order>,
    /// Events to try again.
    pub(crate) kept: Vec<Pending>,
    /// Whether the store took nothing.
    pub(crate) failed: bool,
}

/// An entry that is stepped and applied in memory, and not durable yet.
struct Staged {
    index: u64,
    at: Timestamp,
    entry: Vec<u8>,
    event: Event,
    records: Vec<Record>,
    effects: Vec<Effect>,
    reply: Option<oneshot::Sender<Result<Receipt, SubmitError>>>,
    place: Option<OwnedSemaphorePermit>,
}

/// A boundary's state, its log's head and tree, and the store under them.
pub struct Core {
    store: StoreHandle,
    signers: Signers,
    state: State,
    head: Head,
    tree: Arc<RwLock<LogTree>>,
    more: bool,
    fault: Arc<RwLock<Option<CommitError>>>,
    /// Whether memory may be ahead of the store.
    stale: bool,
    snapshot_size: u64,
    snapshot_at: Timestamp,
    /// What a restart found undone; the first turn orders it.
    undone: Vec<Effect>,
    admitted: Arc<Admitted>,
    refusals: Refusals,
    reserve: Reserve,
}

/// What a recovery found.
pub(super) struct Found {
    pub(super) state: State,
    pub(super) head: Head,
    pub(super) tree: LogTree,
    pub(super) snapshot_size: u64,
}

impl Core {
    pub(super) fn new(store: StoreHandle, admitted: Arc<Admitted>, signers: Signers, found: Found) -> Self {
        let undone = crate::outstanding::effects(&found.state);
        admitted.refresh(&found.state);
        Self {
            store,
            signers,
            state: found.state,
            head: found.head,
            tree: Arc::new(RwLock::new(found.tree)),
            more: true,
            fault: Arc::default(),
            stale: false,
            snapshot_size: found.snapshot_size,
            snapshot_at: found.head.at,
            undone,
            admitted,
            refusals: Refusals::default(),
            reserve: Reserve::default(),
        }
    }

    /// The state after the last durable entry.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The end of the durable log.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Fingerprint of the log's signing keys.
    pub fn audit_key(&self) -> types::Hash {
        self.signers.fingerprint()
    }

    pub(super) fn fault(&self) -> Arc<RwLock<Option<CommitError>>> {
        Arc::clone(&self.fault)
    }

    pub(super) fn tree(&self) -> Arc<RwLock<LogTree>> {
        Arc::clone(&self.tree)
    }

    pub(super) fn last(&self) -> Timestamp {
        self.head.at
    }

    pub(super) fn more_due(&self) -> bool {
        self.more && !self.stale
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.state.next_due()
    }

    pub(super) fn clock_regressed() -> Event {
        Event::Detected {
            subject: Subject::Node(NodeId::hub()),
            kind: SignalKind::ClockRegressed,
            confidence_ppm: 1_000_000,
        }
    }

    /// Steps, applies and makes durable what is pending, with a tick in front of it.
    pub(crate) async fn commit(&mut self, pending: Vec<Pending>, now: Timestamp) -> Turn {
        if self.stale
            && let Err(error) = self.recover().await
        {
            return self.give_up(error, pending);
        }
        let now = now.max(self.head.at);
        let mut work = Work::new(self.head);
        self.stage_all(&mut work, pending, now);
        match self.make_durable(&mut work, now).await {
            Ok(checkpoint) => {
                *lock(&self.fault) = None;
                let turn = self.publish(work, &checkpoint, now).await;
                self.reserve.refill(&self.store, now).await;
                turn
            }
            Err(error) => {
                self.stale = true;
                let full = matches!(error, CommitError::Append(AppendError::Fault(Fault::DiskFull)));
                let (urgent, kept) = work.retreat(&error, full);
                let turn = self.give_up(error, kept);
                if full { self.commit_from_reserve(urgent, turn, now).await } else { turn }
            }
        }
    }

    /// On a full disk: makes room of what was kept for it, for revocations and nothing else.
    async fn commit_from_reserve(&mut self, mut urgent: Vec<Pending>, mut turn: Turn, now: Timestamp) -> Turn {
        loop {
            if let Err(error) = self.recover().await {
                let more = self.give_up(error, urgent);
                turn.kept.extend(more.kept);
                return turn;
            }
            let mut work = Work::new(self.head);
            let (pauses, rest): (Vec<_>, Vec<_>) = urgent.into_iter().partition(is_pause);
            for pause in pauses {
                self.stage(&mut work, pause, now);
            }
            let before = work.staged.len();
            self.stage_due_revocations(&mut work, now);
            for pending in rest {
                if self.is_refused(&pending, now) {
                    pending.refuse(CommitError::Append(AppendError::Fault(Fault::DiskFull)).into());
                } else {
                    self.more |= self.stage(&mut work, pending, now);
                }
            }
            self.stage_due_revocations(&mut work, now);
            if work.staged.len() == before {
                self.stale = before > 0;
                return turn;
            }
            let error = match self.make_durable(&mut work, now).await {
                Ok(checkpoint) => {
                    tracing::warn!(entries = work.staged.len(), "revocations are recorded in the room kept for them");
                    let done = self.publish(work, &checkpoint, now).await;
                    turn.orders.extend(done.orders);
                    self.reserve.retake(&self.store).await;
                    return turn;
                }
                Err(error) => error,
            };
            self.stale = true;
            let full = matches!(error, CommitError::Append(AppendError::Fault(Fault::DiskFull)));
            let more_room = full && self.reserve.release(&self.store).await;
            let (again, kept) = work.retreat(&error, more_room);
            let told = self.give_up(error, kept);
            turn.kept.extend(told.kept);
            if !more_room {
                turn.kept.extend(again);
                return turn;
            }
            urgent = again;
        }
    }

    /// Whether a request would lead to a refusal: nobody uses the room up by asking for what he may not.
    fn is_refused(&self, pending: &Pending, now: Timestamp) -> bool {
        let asker = pending.event.source();
        let refused = |record: &Record| match record {
            Record::Refused(_) => true,
            Record::Decided(decision) => !decision.permit && decision.principal == asker,
            _ => false,
        };
        matches!(pending.event, Event::Request(_)) && step(&self.state, &pending.event, now).records.iter().any(refused)
    }

    /// What is due and takes keys or nodes out of use.
    fn stage_due_revocations(&mut self, work: &mut Work, now: Timestamp) {
        for _ in 0..TICKS {
            let due = step(&self.state, &Event::Tick, now);
            if !revokes(&due.effects) {
                break;
            }
            self.more = self.stage(work, Pending::quiet(Event::Tick), now);
        }
    }

    fn stage_all(&mut self, work: &mut Work, pending: Vec<Pending>, now: Timestamp) {
        let mut queue = pending.into_iter().peekable();
        // That there was a pause comes before what happens late for it. Nothing is ordered of nodes that are
        // known to be gone, as all of them are after a restart.
        let first = |pending: &Pending| matches!(pending.event, Event::Resumed { .. } | Event::NodeDown { .. });
        while let Some(pending) = queue.next_if(first) {
            self.stage(work, pending, now);
        }
        // What is due comes before what was asked since. Before the first entry nothing is due.
        self.more = self.state.boundary().is_some();
        for _ in 0..TICKS {
            if !self.more {
                break;
            }
            self.more = self.stage(work, Pending::quiet(Event::Tick), now);
        }
        for pending in queue {
            self.more |= self.stage(work, pending, now);
        }
        for event in self.refusals.due(now) {
            self.more |= self.stage(work, Pending::quiet(event), now);
        }
    }

    /// Steps one event, seals its entry, and only then applies its records in memory and adds it to the batch: an
    /// event whose step does not fit an entry is dropped alone. Says whether a tick shall follow.
    fn stage(&mut self, work: &mut Work, pending: Pending, now: Timestamp) -> bool {
        let Step { records, effects, more } = step(&self.state, &pending.event, now);
        if records.is_empty() && pending.reply.is_none() {
            return more;
        }
        if let Some(refusal) = counted(&pending.event, &records, effects.is_empty()) {
            let len = types::cbor::to_vec(&pending.event).len();
            self.refusals.add(pending.event.source(), refusal.clone(), len);
            pending.refuse(SubmitError::Refused(refusal));
            return more;
        }
        let Pending { event, shares, reply, place } = pending;
        let entry = work.head.next(now, Body::decided(&self.state, event, records));
        let sealed = match entry.seal() {
            Ok(sealed) => sealed,
            Err(TooLong { len }) => {
                let event = entry.body.event;
                tracing::warn!(source = ?event.source(), len, "what an event leads to does not fit an entry; it is dropped");
                self.refusals.add(event.source(), Refusal::TooLarge, len);
                Pending { event, shares, reply, place }.refuse(SubmitError::TooLarge { len });
                return false;
            }
        };
        self.state.commit(&entry.body, entry.at);
        prune(&mut work.batch.changes, &effects);
        keep_shares(&mut work.batch.changes, shares, &entry.body.records);
        let (hash, leaf) = (sealed.hash(), sealed.leaf());
        work.head = work.head.after(entry.at, &sealed);
        let bytes = sealed.into_bytes();
        work.batch.entries.push(store::Entry { hash, leaf, bytes: bytes.clone() });
        let (index, at, Body { event, records, .. }) = (entry.index, entry.at, entry.body);
        work.staged.push(Staged { index, at, entry: bytes, event, records, effects, reply, place });
        more
    }

    /// Appends the batch under one signed checkpoint. On success the tree has grown with it.
    async fn make_durable(&mut self, work: &mut Work, now: Timestamp) -> Result<Arc<str>, CommitError> {
        let batch = std::mem::take(&mut work.batch);
        if batch.entries.is_empty() {
            return Ok(Arc::from(""));
        }
        let leaves: Vec<_> = batch.entries.iter().map(|entry| entry.leaf).collect();
        let mut frontier = lock(&self.tree).frontier().clone();
        leaves.iter().for_each(|leaf| frontier.append(*leaf));
        let note = self.signers.sign(frontier.size(), frontier.root(), now);
        let note = note.map_err(|error| CommitError::Record(error.to_string()))?.to_string();
        let expected = store::Head { size: self.head.size, tip: self.head.hash };
        let batch = Batch { checkpoint: Some(note.clone()), ..batch };
        self.store.append(expected, batch).await?;
        self.head = work.head;
        let mut tree = lock(&self.tree);
        leaves.into_iter().for_each(|leaf| tree.append(leaf));
        Ok(Arc::from(note))
    }

    async fn publish(&mut self, work: Work, checkpoint: &Arc<str>, now: Timestamp) -> Turn {
        let mut turn = Turn::default();
        let size = work.head.size;
        if work.staged.iter().any(|staged| changes_roster(&staged.records)) {
            self.admitted.refresh(&self.state);
        }
        let undone = std::mem::take(&mut self.undone);
        if !undone.is_empty() {
            turn.orders.push(Order::new(undone, size.saturating_sub(1)));
        }
        for staged in work.staged {
            if !staged.effects.is_empty() {
                turn.orders.push(Order::new(staged.effects, staged.index));
            }
            if let Some(reply) = staged.reply {
                let checkpoint = Arc::clone(checkpoint);
                let receipt = Receipt::new(staged.index, staged.at, staged.entry, staged.records, checkpoint, size);
                // The asker may have gone; the log has the answer.
                let _ = reply.send(Ok(receipt));
            }
        }
        self.snapshot(now).await;
        turn
    }

    /// Tells everyone who asked, and keeps the events of the hub itself for the next attempt.
    fn give_up(&mut self, error: CommitError, pending: Vec<Pending>) -> Turn {
        if lock(&self.fault).replace(error.clone()).is_none() {
            tracing::error!(%error, "the boundary cannot record anything; it does nothing until it can");
        }
        let mut kept = Vec::new();
        for pending in pending {
            match pending.reply {
                Some(reply) => drop(reply.send(Err(error.clone().into()))),
                None => kept.push(pending),
            }
        }
        if let CommitError::Append(AppendError::Fault(fault)) = &error
            && !passes(fault)
        {
            tracing::error!(%fault, "the store is in doubt; restart the hub once the device is sound");
        }
        Turn { orders: Vec::new(), kept, failed: true }
    }

    /// Drops the state in memory and reads back what is durable.
    async fn recover(&mut self) -> Result<(), CommitError> {
        let found = recover::read(&self.store, recover::Check::Tail)
            .await
            .map_err(|error| CommitError::Recover(error.to_string()))?;
        self.state = found.state;
        self.head = found.head;
        *lock(&self.tree) = found.tree;
        self.stale = false;
        self.more = true;
        Ok(())
    }

    /// Keeps a copy of the state, so that a restart reads only the end of the log. A cache: without
    /// it the whole log is read.
    async fn snapshot(&mut self, now: Timestamp) {
        let tail = self.head.size - self.snapshot_size;
        if tail < SNAPSHOT_EVERY || now.since(self.snapshot_at) < SNAPSHOT_GAP {
            return;
        }
        self.snapshot_at = now;
        match recover::keep(&self.store, &self.state, self.head).await {
            Ok(()) => self.snapshot_size = self.head.size,
            Err(error) => tracing::warn!(%error, "no snapshot was kept; the next start takes longer"),
        }
    }

    pub(super) fn look(&self, now: Timestamp, read: impl FnOnce(&Look<'_>)) {
        let tree = self.tree.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fault = self.fault.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        read(&Look { state: &self.state, tree: &tree, now, fault: fault.as_ref() });
    }

    /// Keeps a last snapshot for a quick start.
    pub(super) async fn close(&mut self) {
        if !self.stale
            && self.head.size > self.snapshot_size
            && let Err(error) = recover::keep(&self.store, &self.state, self.head).await
        {
            tracing::warn!(%error, "no snapshot was kept; the next start takes longer");
        }
    }
}

/// A batch in the making.
struct Work {
    head: Head,
    batch: Batch,
    staged: Vec<Staged>,
}

impl Work {
    fn new(head: Head) -> Self {
        Self { head, batch: Batch::default(), staged: Vec::new() }
    }

    /// The pending events again, after the batch failed: those of the reserved lane where they have `room` left,
    /// with whoever waits for them, and those nobody waits for. The others are told. Secrets that came with an
    /// event are gone, so `Made` is not repeated: what is outstanding is made again after the state is read back.
    fn retreat(self, error: &CommitError, room: bool) -> (Vec<Pending>, Vec<Pending>) {
        let (mut urgent, mut kept) = (Vec::new(), Vec::new());
        for Staged { event, reply, place, .. } in self.staged {
            let pending = Pending { event, shares: Vec::new(), reply, place };
            match pending.event {
                Event::Tick | Event::Made { .. } => {}
                _ if room && (Lane::of(&pending.event) == Lane::Reserved || is_pause(&pending)) => urgent.push(pending),
                _ if pending.reply.is_some() => pending.refuse(error.clone().into()),
                _ => kept.push(pending),
            }
        }
        (urgent, kept)
    }
}

/// Whether an event says that there was a pause, which comes before what happens late for it.
fn is_pause(pending: &Pending) -> bool {
    matches!(pending.event, Event::Resumed { .. })
}

/// Whether effects take keys or a node out of use.
fn revokes(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Purge(_) | Effect::Isolate { .. }))
}

/// Seals the shares of keys that became keys by these records; another has no record to go with.
fn keep_shares(changes: &mut Changes, shares: Vec<(KeyId, VaultSecret)>, records: &[Record]) {
    for (key, share) in shares {
        let is_made = |record: &Record| matches!(record, Record::KeyMoved { key: made, from: None, to: KeyState::Generated, .. } if *made == key);
        if records.iter().any(is_made)
            && let Some(name) = share_name(key)
        {
            changes.put_secret(name, share);
        }
    }
}

/// The share of a key that leaves its life goes in the same transaction as the record (KM-07).
fn prune(changes: &mut Changes, effects: &[Effect]) {
    for effect in effects {
        if let Effect::Destroy(keys) | Effect::Purge(keys) = effect {
            for name in keys.iter().filter_map(|(key, _)| share_name(*key)) {
                changes.erase_secret(name);
            }
        }
    }
}

/// Whether it matters to who may connect.
fn changes_roster(records: &[Record]) -> bool {
    let matters = |record: &Record| {
        matches!(record, Record::BoundaryCreated { .. } | Record::NodeAdmitted { .. } | Record::NodeMoved { .. })
    };
    records.iter().any(matters)
}

/// Where the hub's share of a key is in the vault.
pub(crate) fn share_name(key: KeyId) -> Option<VaultName> {
    VaultName::new(format!("key/{key}")).ok()
}
