//! The account of keys given to applications, until it is part of the boundary's log.
//!
//! Deliveries of one kind are summed up, so that the account grows with the pairs of applications and with time,
//! not with requests. One account is on its way at a time; it is durable before it is sent, sent again until the
//! hub says that it is in the log, and counted there once by its number. A node that ended without a word says so
//! with its next account: what it gave in the moment before may be missing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kme::SaeId;
use kme::note::{DeliveryKind, DeliveryNote, Evidence};
use minicbor::{Decode, Encode};
use session::mesh::NodeMessage;
use store::{CellName, Changes, StoreHandle};
use tokio::sync::Notify;
use types::mesh::{Exchange, KeyPath, SaeRole};
use types::sae::{ACCOUNT_LEN, HANDOUTS_PER_ACCOUNT, Handout};
use types::{Hash, Timestamp, cbor};

use super::CounterError;
use crate::peer::Outbox;
use crate::run::now;

/// How often what was given is made durable.
const KEEP_EVERY: Duration = Duration::from_millis(200);
/// How often it is accounted for, in the same unit.
const SEND_EVERY: u32 = 10;
/// Sums in one account.
const MOST: usize = HANDOUTS_PER_ACCOUNT;
/// Different sums that wait. Beyond, sizes of one pair are summed up together.
const MOST_WAITING: usize = 1_024;
const CELL: &str = "sae/account";

type Kind = (SaeRole, SaeId, Vec<SaeId>, u32, KeyPath, Exchange);

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
struct Account {
    /// The number given last.
    #[n(0)]
    number: u64,
    /// What is on its way under it.
    #[n(1)]
    sent: Vec<Handout>,
    /// What waits.
    #[n(2)]
    waiting: Vec<Handout>,
    /// What is on its way says that something may be missing since then.
    #[n(3)]
    gap: Option<Timestamp>,
    /// When this was kept, where more may have followed it.
    #[n(4)]
    open: Option<Timestamp>,
}

#[derive(Default)]
struct Open {
    number: u64,
    sent: Vec<Handout>,
    waiting: BTreeMap<Kind, Handout>,
    /// Since when something may be missing, and whether that is on its way.
    gap: Option<Timestamp>,
    gap_sent: Option<Timestamp>,
    changed: bool,
    hub: Option<Outbox>,
}

/// Sums up notes and accounts for them.
pub(crate) struct Notes {
    open: Mutex<Open>,
    store: StoreHandle,
    wake: Notify,
    /// Held from a look at the sums until it is durable: an older account never replaces a newer.
    order: tokio::sync::Mutex<()>,
    /// Number of the last account that was in the store.
    loaded: u64,
}

fn kind(handout: &Handout) -> Kind {
    (handout.role, handout.master.clone(), handout.slaves.clone(), handout.size, handout.path, handout.exchange)
}

impl Notes {
    pub(super) async fn load(store: StoreHandle) -> Result<Self, CounterError> {
        let kept: Account = match store.cell(super::cell(CELL)?).await? {
            Some(bytes) => cbor::from_slice(&bytes).map_err(|_| CounterError::Damaged(CELL))?,
            None => Account::default(),
        };
        let waiting = kept.waiting.into_iter().map(|handout| (kind(&handout), handout)).collect();
        let (gap, gap_sent) = (kept.open, kept.gap);
        // Kept at once, as open: from here on an end without a word is noticed.
        let open = Open { number: kept.number, sent: kept.sent, waiting, gap, gap_sent, changed: true, hub: None };
        let (open, loaded) = (Mutex::new(open), kept.number);
        Ok(Self { open, store, wake: Notify::new(), order: tokio::sync::Mutex::default(), loaded })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn loaded(&self) -> u64 {
        self.loaded
    }

    pub(super) fn hub_up(&self, bulk: Outbox) {
        let mut open = self.lock();
        open.hub = Some(bulk);
        open.send();
    }

    pub(super) fn hub_down(&self) {
        self.lock().hub = None;
    }

    /// The account of this number is in the log.
    pub(super) async fn kept(&self, number: u64) {
        {
            let mut open = self.lock();
            if open.is_idle() || open.number != number {
                return;
            }
            open.sent.clear();
            open.gap_sent = None;
            open.changed = true;
        }
        self.wake.notify_one();
    }

    /// Accounts for what was given, until the node ends.
    pub(super) async fn run(self: Arc<Self>) {
        let mut turn: u32 = 0;
        loop {
            let early = tokio::time::timeout(KEEP_EVERY, self.wake.notified()).await.is_ok();
            turn = turn.wrapping_add(1);
            // What one account could not hold goes with the next, as soon as the one before is in the log.
            let send = turn.is_multiple_of(SEND_EVERY) || early && self.lock().waiting.len() >= MOST;
            if send {
                self.lock().take_up();
            }
            if self.keep(true).await && send {
                self.lock().send();
            }
        }
    }

    /// Makes all of it durable, where it changed; `open` says that more may follow. Whether it is.
    pub(super) async fn keep(&self, open_still: bool) -> bool {
        let _order = self.order.lock().await;
        let account = {
            let mut open = self.lock();
            if !std::mem::take(&mut open.changed) && open_still {
                return !open.is_idle();
            }
            Account {
                number: open.number,
                sent: open.sent.clone(),
                waiting: open.waiting.values().cloned().collect(),
                gap: open.gap_sent,
                // A gap that was not told yet goes on.
                open: open.gap.or(open_still.then(now)),
            }
        };
        let Ok(name) = CellName::new(CELL) else { return false };
        let kept = self.store.apply(Changes::cells(vec![(name, cbor::to_vec(&account))])).await;
        if let Err(error) = &kept {
            tracing::error!(%error, "what applications were given is not kept yet");
            self.lock().changed = true;
        }
        kept.is_ok()
    }
}

impl Open {
    /// Whether nothing is on its way.
    fn is_idle(&self) -> bool {
        self.sent.is_empty() && self.gap_sent.is_none()
    }

    fn take_up(&mut self) {
        if !self.is_idle() || self.waiting.is_empty() && self.gap.is_none() {
            return;
        }
        self.gap_sent = self.gap.take();
        let mut len = 0;
        while self.sent.len() < MOST {
            let Some(next) = self.waiting.first_entry() else { break };
            len += next.get().encoded_len();
            if len > ACCOUNT_LEN && !self.sent.is_empty() {
                break;
            }
            self.sent.push(next.remove());
        }
        // Rises even where the store was replaced: the hub counts no number twice.
        self.number = (self.number + 1).max(now().as_millis());
        self.changed = true;
    }

    fn send(&self) {
        if let Some(hub) = self.hub.as_ref().filter(|_| !self.is_idle()) {
            let (number, handouts, gap) = (self.number, self.sent.clone(), self.gap_sent);
            hub.push(&NodeMessage::HandedOut { number, handouts, gap });
        }
    }
}

impl Evidence for Notes {
    fn delivered(&self, note: DeliveryNote) {
        let DeliveryNote { kind, master, slaves, keys, mut size, path, exchange } = note;
        let role = match kind {
            DeliveryKind::Master => SaeRole::Master,
            DeliveryKind::Slave => SaeRole::Slave,
        };
        let mut open = self.lock();
        if open.waiting.len() >= MOST_WAITING {
            let alike = |known: &&Kind| {
                (known.0, &known.1, &known.2, known.4, known.5) == (role, &master, &slaves, path, exchange)
            };
            size = open.waiting.keys().find(alike).map_or(size, |known| known.3);
        }
        open.changed = true;
        let key = (role, master.clone(), slaves.clone(), size, path, exchange);
        let sum = open.waiting.entry(key).or_insert_with(|| Handout {
            role,
            master,
            slaves,
            size,
            path,
            requests: 0,
            keys: 0,
            since: now(),
            digest: Hash::ZERO,
            named: Vec::new(),
            exchange,
        });
        sum.add(&keys);
    }
}
