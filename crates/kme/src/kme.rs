//! One key management entity: its state, and what the server and the node ask of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crypto::Entropy;
use store::StoreHandle;
use tokio::sync::{Notify, Semaphore};
use types::{Hash, Timestamp};

use crate::bodies::Bodies;
use crate::config::{ConfigError, KmeConfig, Limits};
use crate::directory::{Directory, Home, Sae};
use crate::id::{KmeId, Place, SaeId, SheetTag};
use crate::journal::{Journal, NotDurable};
use crate::names::Meta;
use crate::note::Evidence;
use crate::peer::{Peer, Supply};
use crate::served::Served;
use crate::shelf::Shelf;
use crate::wire::{Refusal, Status};

mod adjourn;
mod fetch;
mod give;
mod receive;
mod restore;
mod share;
mod stock;
mod tend;

pub use restore::OpenError;

/// Draws from the supply at a time. Lines wait in turn, one sheet each, so that none starves another.
const DRAWS: usize = 2;

/// What a KME is made of.
pub struct Parts {
    /// Its configuration.
    pub config: KmeConfig,
    /// The node's store. Names of the KME start with `kme/`.
    pub store: StoreHandle,
    /// Randomness for names of sheets.
    pub entropy: Arc<Entropy>,
    /// Where bits come from.
    pub supply: Arc<dyn Supply>,
    /// The way to other KMEs.
    pub peer: Arc<dyn Peer>,
    /// Who keeps the notes of deliveries.
    pub evidence: Arc<dyn Evidence>,
}

/// A key management entity. Made by [`Kme::open`] inside a Tokio runtime.
pub struct Kme {
    config: KmeConfig,
    store: StoreHandle,
    entropy: Arc<Entropy>,
    supply: Arc<dyn Supply>,
    peer: Arc<dyn Peer>,
    evidence: Arc<dyn Evidence>,
    directory: RwLock<Arc<Directory>>,
    journal: Journal,
    bodies: Bodies,
    lines: RwLock<HashMap<SaeId, HashMap<SaeId, Arc<Line>>>>,
    sheets: Mutex<HashMap<SheetTag, Meta>>,
    served: Mutex<Served>,
    /// Sheets with delivered bits that are still in the vault.
    dirty: Mutex<HashSet<SheetTag>>,
    /// Reservations of which another KME may hold copies.
    quarantine: Mutex<Vec<share::Quarantined>>,
    draws: Semaphore,
    closed: AtomicBool,
    /// Whether keys are held back until it is certain who may have them.
    held: AtomicBool,
    /// Names this start.
    start: Hash,
    /// The starts of other KMEs, as they said last.
    starts: Mutex<HashMap<KmeId, Hash>>,
}

/// Keys from one master to one slave.
struct Line {
    master: SaeId,
    slave: SaeId,
    /// The slave's KME; this one where both are served here.
    kme: KmeId,
    shelf: Mutex<Shelf>,
    /// Sheets that the slave's KME has not confirmed.
    offered: Mutex<VecDeque<SheetTag>>,
    /// Told of every sheet added.
    added: Notify,
    /// Masters waiting for keys.
    waiting: AtomicUsize,
    filling: AtomicBool,
    /// Whether a master waits although there are enough units: they lie in stretches too short for its keys.
    starved: AtomicBool,
    /// Units to keep ready; grows with use.
    level: AtomicU64,
    /// Whether the last attempt to fill failed at the slave's KME.
    peer_down: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(since.as_millis() as u64)
}

/// Keys taken from a line and not yet delivered. Dropped, they return.
struct Reservation {
    line: Arc<Line>,
    journal: Journal,
    places: Vec<Place>,
    path: crate::peer::KeyPath,
    /// How the connection agreed on its keys over which they are given.
    exchange: types::mesh::Exchange,
    durable: Option<tokio::sync::oneshot::Receiver<bool>>,
    open: bool,
}

impl Reservation {
    /// Waits until the delivery is durable.
    async fn durable(&mut self) -> Result<(), NotDurable> {
        match self.durable.take() {
            Some(durable) => durable.await.unwrap_or(false).then_some(()).ok_or(NotDurable),
            None => Ok(()),
        }
    }

    /// The keys were delivered.
    fn settle(mut self) {
        self.open = false;
        lock(&self.line.shelf).settle(&self.places);
    }

    /// The keys may be elsewhere: they neither return nor count as delivered.
    fn set_aside(mut self) -> (Arc<Line>, Vec<Place>) {
        self.open = false;
        (Arc::clone(&self.line), std::mem::take(&mut self.places))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.open {
            self.line.give_back(&self.places, &self.journal);
        }
    }
}

impl Kme {
    /// Its name.
    pub fn id(&self) -> &KmeId {
        &self.config.id
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// The SAEs it knows now.
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over the SAEs of a changed configuration. Connections open now are judged by it from their next request
    /// on.
    ///
    /// # Errors
    /// [`ConfigError`]; the old SAEs are kept then.
    pub fn set_saes(&self, config: &KmeConfig) -> Result<(), ConfigError> {
        let directory = Arc::new(Directory::new(config)?);
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = directory;
        Ok(())
    }

    /// Get status (clause 5.1), for `caller` as the master.
    pub fn status(self: &Arc<Self>, caller: &Arc<Sae>, slave: &SaeId) -> Result<Status, Refusal> {
        let directory = self.directory();
        let target = self.target(&directory, caller, slave)?;
        let limits = &self.config.limits;
        let line = self.line(&caller.id, slave, &target);
        let free = lock(&line.shelf).free();
        self.keep_up(&line, free);
        Ok(Status {
            source_KME_ID: self.config.id.to_string(),
            target_KME_ID: target.to_string(),
            master_SAE_ID: caller.id.to_string(),
            slave_SAE_ID: slave.to_string(),
            key_size: limits.key_size,
            stored_key_count: free / limits.default_units(),
            max_key_count: limits.max_key_count,
            max_key_per_request: limits.max_key_per_request,
            max_key_size: limits.max_key_size,
            min_key_size: limits.min_key_size,
            max_SAE_ID_count: limits.max_sae_id_count,
        })
    }

    /// The KME of `slave`, where `caller` may have keys with it.
    fn target(&self, directory: &Directory, caller: &Sae, slave: &SaeId) -> Result<KmeId, Refusal> {
        if *slave == caller.id {
            return Err(Refusal::Malformed("the slave shall be another SAE than the master".to_owned()));
        }
        let home = directory.home(slave).ok_or_else(|| Refusal::UnknownSae(slave.to_string()))?;
        if !caller.may_reach(slave) {
            return Err(Refusal::NotEntitled);
        }
        Ok(match home {
            Home::Here => self.config.id.clone(),
            Home::At(kme) => kme.clone(),
        })
    }

    fn line(&self, master: &SaeId, slave: &SaeId, kme: &KmeId) -> Arc<Line> {
        let found = |lines: &HashMap<SaeId, HashMap<SaeId, Arc<Line>>>| {
            lines.get(master).and_then(|slaves| slaves.get(slave)).filter(|line| line.kme == *kme).cloned()
        };
        if let Some(line) = found(&self.lines.read().unwrap_or_else(PoisonError::into_inner)) {
            return line;
        }
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = found(&lines) {
            return line;
        }
        let limits = &self.config.limits;
        let lease = u64::from(limits.lease_keys).saturating_mul(limits.default_units()).min(u64::from(u16::MAX)) as u16;
        let line = Arc::new(Line {
            master: master.clone(),
            slave: slave.clone(),
            kme: kme.clone(),
            shelf: Mutex::new(Shelf::new(lease)),
            offered: Mutex::default(),
            added: Notify::new(),
            waiting: AtomicUsize::new(0),
            filling: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            level: AtomicU64::new(limits.min_key_count.min(limits.max_key_count) * limits.default_units()),
            peer_down: AtomicBool::new(false),
        });
        lines.entry(master.clone()).or_default().insert(slave.clone(), Arc::clone(&line));
        line
    }

    fn all_lines(&self) -> Vec<Arc<Line>> {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        lines.values().flat_map(HashMap::values).cloned().collect()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
