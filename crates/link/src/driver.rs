//! One end of one link at work: light, post-processing, pool, report.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crypto::{AuthKey, Entropy};
use qkd::params::ParamError;
use qkd::{BlockAbort, BlockStats, Cursor, LinkParams, Side, alarm};
use session::mesh::PadRange;
use store::{CellName, StoreHandle};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use types::mesh::LinkReport;
use types::{LinkId, Millis, NodeId};

use crate::config::VendorSection;
use crate::draw::Failed;
use crate::health::{Ending, Health};
use crate::pad::{Claim, Pad, PadBits, PadError, Shelf};

mod alice;
mod bob;
mod peer;
mod photons;
mod vendor;

use peer::Attach;
use vendor::VendorEnd;
pub use vendor::VendorError;

/// The threads on which links do their arithmetic, apart from those that answer messages.
pub struct Engine(Option<Runtime>);

impl Engine {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// The operating system's, where it gives no thread.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("quantum link")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(task);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

/// One end of one link.
#[derive(Debug, Clone)]
pub struct LinkSpec {
    /// The participant at this end.
    pub me: NodeId,
    /// The participant at the other end.
    pub peer: NodeId,
    /// The port of the fibre on this side, `host:port`.
    pub fibre: String,
    /// The vendor's KME on this side, in place of the fibre.
    pub kme: Option<VendorSection>,
    /// Numbers both ends agree on.
    pub params: LinkParams,
}

/// A link could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Both ends are the same participant.
    #[error("a link needs two different ends")]
    SameEnds,
    /// A number is out of bounds.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// The vendor's KME cannot be asked.
    #[error(transparent)]
    Vendor(#[from] VendorError),
    /// The durable cursor cannot be read.
    #[error("the cursor of the link cannot be read: {0}")]
    Read(#[from] store::ReadError),
    /// The durable cursor has no meaning.
    #[error("the cursor of link {0} is damaged: restore the store from a backup")]
    Cursor(LinkId),
}

/// A handle on one end of one link. Clones share it; the end stops when the last one is dropped.
#[derive(Clone)]
pub struct Link {
    core: Arc<Core>,
    attaches: mpsc::Sender<Attach>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({})", self.core.link)
    }
}

pub(crate) struct Core {
    link: LinkId,
    side: Side,
    params: LinkParams,
    store: StoreHandle,
    entropy: Arc<Entropy>,
    failed: Failed,
    /// `None` once severed.
    shelf: Mutex<Option<Shelf>>,
    /// Held from the move of the cursor until it is durable: an older cursor never replaces a newer.
    order: tokio::sync::Mutex<()>,
    health: Mutex<Health>,
    report: watch::Sender<LinkReport>,
    severed: watch::Sender<bool>,
    auth_failures: AtomicU64,
    /// Alice: the slot of her next pulse.
    next_slot: AtomicU64,
    started: Instant,
}

impl Link {
    /// Starts this end on `engine`. It makes no bits until a session is [attached](Self::attach).
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        engine: &Engine,
        spec: LinkSpec,
        store: StoreHandle,
        entropy: Arc<Entropy>,
    ) -> Result<Self, StartError> {
        spec.params.check()?;
        let link = LinkId::new(spec.me.clone(), spec.peer.clone()).ok_or(StartError::SameEnds)?;
        let side = if *link.a() == spec.me { Side::A } else { Side::B };
        let damaged = || StartError::Cursor(link.clone());
        let cursor = match store.cell(cell("pad", &link).ok_or_else(damaged)?).await? {
            Some(bytes) => Cursor::from_bytes(&bytes).map_err(|_| damaged())?,
            None => Cursor::default(),
        };
        let slots = match store.cell(cell("slot", &link).ok_or_else(damaged)?).await? {
            Some(bytes) => u64::from_be_bytes(bytes.try_into().map_err(|_| damaged())?),
            None => 0,
        };
        let of = if spec.kme.is_some() { Health::new } else { Health::measured };
        let health = of(link.clone(), &spec.params);
        let core = Arc::new(Core {
            link,
            side,
            params: spec.params,
            store,
            entropy,
            failed: Failed::default(),
            shelf: Mutex::new(Some(Shelf::new(side, cursor))),
            order: tokio::sync::Mutex::default(),
            report: watch::Sender::new(health.report().clone()),
            health: Mutex::new(health),
            severed: watch::Sender::new(false),
            auth_failures: AtomicU64::new(0),
            next_slot: AtomicU64::new(slots),
            started: Instant::now(),
        });
        let (attaches, inbox) = mpsc::channel(4);
        match &spec.kme {
            Some(section) => {
                let end = VendorEnd::new(Arc::clone(&core), &spec.peer, section)?;
                engine.spawn(until_severed(core.clone(), end.run(inbox)));
            }
            None => engine.spawn(run(Arc::clone(&core), spec.fibre, slots, inbox)),
        }
        Ok(Self { core, attaches })
    }

    /// The link.
    pub fn id(&self) -> &LinkId {
        &self.core.link
    }

    /// Runs post-processing over a new session, in place of the session before: messages to the
    /// peer's end go to `out`, and its messages come from `inbox`, in order. `auth` is a secret of
    /// this session, equal at both ends, with which tags begin until there are pad bits for them.
    pub async fn attach(&self, auth: AuthKey, out: mpsc::Sender<Vec<u8>>, inbox: mpsc::Receiver<Vec<u8>>) {
        // Only a severed link no longer takes sessions; the caller sees its channels close.
        let _ = self.attaches.send(Attach { auth, out, inbox }).await;
    }

    /// Draws `bits` (whole bytes) for one use. They are named by the range, durably spent, and come
    /// only once.
    ///
    /// # Errors
    /// [`PadError`]; where it is [`PadError::Unusable`] or dry, the caller falls back to the KEM.
    pub async fn reserve(&self, bits: u64) -> Result<Pad, PadError> {
        if !self.core.report.borrow().usable {
            return Err(PadError::Unusable);
        }
        if bits == 0 || !bits.is_multiple_of(8) || bits > 8 * 64 * 1024 {
            return Err(PadError::Range);
        }
        let (range, bits) = self.core.draw((bits / 8) as usize).await?;
        Ok(Pad { range: Shelf::to_wire(&range).ok_or(PadError::Range)?, bits })
    }

    /// Bits that this end may still draw.
    pub fn drawable(&self) -> u64 {
        self.core.with_shelf(|shelf| 8 * shelf.own_bytes() as u64).unwrap_or(0)
    }

    /// The bits of a range that the peer drew: once, and durably spent before they are returned.
    ///
    /// # Errors
    /// [`PadError`], where the range was used, is not the peer's, or is not held.
    pub async fn take(&self, range: PadRange) -> Result<PadBits, PadError> {
        let native = self.core.with_shelf(|shelf| shelf.resolve(range))??;
        self.core.accept(native).await
    }

    /// The latest figures.
    pub fn state(&self) -> LinkReport {
        self.core.report.borrow().clone()
    }

    /// Figures as they come.
    pub fn subscribe(&self) -> watch::Receiver<LinkReport> {
        self.core.report.subscribe()
    }

    /// Blocks whose tags did not verify, since the start.
    pub fn auth_failures(&self) -> u64 {
        self.core.auth_failures.load(Ordering::Relaxed)
    }

    /// Cuts the link: its bits are wiped, its sessions dropped, and it gives none ever again.
    pub fn sever(&self) {
        *self.core.shelf.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.core.severed.send_replace(true);
        self.core.with_health(Health::fail);
    }
}

async fn run(core: Arc<Core>, fibre: String, slots: u64, attaches: mpsc::Receiver<Attach>) {
    let work = async {
        match core.side {
            Side::A => alice::AliceEnd::new(Arc::clone(&core), slots).run(fibre, attaches).await,
            Side::B => bob::BobEnd::new(Arc::clone(&core)).run(fibre, attaches).await,
        }
    };
    until_severed(Arc::clone(&core), work).await;
}

/// Works until the link is severed, with an eye on the clock.
async fn until_severed(core: Arc<Core>, work: impl Future<Output = ()>) {
    let mut severed = core.severed.subscribe();
    tokio::select! {
        () = work => {}
        _ = severed.wait_for(|cut| *cut) => {}
        () = watch_clock(&core) => {}
    }
}

/// Notices a link that has gone quiet.
async fn watch_clock(core: &Core) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = core.now();
        core.with_health(|health| health.tick(now));
    }
}

fn cell(kind: &str, link: &LinkId) -> Option<CellName> {
    CellName::new(format!("{kind}/{link}")).ok()
}

impl Core {
    fn now(&self) -> Millis {
        Millis::new(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn with_shelf<T>(&self, act: impl FnOnce(&mut Shelf) -> T) -> Result<T, PadError> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.as_mut().map(act).ok_or(PadError::Severed)
    }

    /// Changes the health and publishes the report where it changed.
    fn with_health(&self, act: impl FnOnce(&mut Health)) {
        let bits = self.with_shelf(|shelf| shelf.bits()).unwrap_or(0);
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut health);
        health.set_pool(bits);
        self.report.send_if_modified(|report| {
            let changed = report != health.report();
            if changed {
                *report = health.report().clone();
            }
            changed
        });
    }

    async fn draw(&self, len: usize) -> Result<(qkd::PadRange, PadBits), PadError> {
        let order = self.order.lock().await;
        let claim = self.with_shelf(|shelf| shelf.reserve(len))??;
        let bits = self.redeem(&claim).await?;
        drop(order);
        Ok((claim.range, bits))
    }

    async fn accept(&self, range: qkd::PadRange) -> Result<PadBits, PadError> {
        let order = self.order.lock().await;
        let claim = self.with_shelf(|shelf| shelf.accept(range))??;
        let bits = self.redeem(&claim).await;
        drop(order);
        bits
    }

    /// Makes the cursor of `claim` durable, then takes its bits.
    async fn redeem(&self, claim: &Claim) -> Result<PadBits, PadError> {
        let name = cell("pad", &self.link).ok_or(PadError::Range)?;
        self.store.put_cells(vec![(name, claim.cursor.clone())]).await?;
        let bits = self.with_shelf(|shelf| shelf.redeem(claim))??;
        self.with_health(|_| {});
        Ok(bits)
    }

    /// Adds the key of a finished block, unless the block was only watched.
    fn keep(&self, stats: &BlockStats, key: &qkd::SecretBits, watched: bool) {
        let kept = if watched || self.failed.get() {
            Ok(Ok(()))
        } else {
            self.with_shelf(|shelf| shelf.append(stats.block, &key.expose_bytes()))
        };
        if let Ok(Err(error)) = kept {
            tracing::warn!(link = %self.link, %error, "a finished block is not kept");
        }
        let now = self.now();
        self.with_health(|health| health.block(stats, Ending::Key, now));
    }

    /// Enters a block that ended without a key.
    fn lose(&self, abort: &BlockAbort) {
        use qkd::AbortReason::{BadTag, Bell, Blinded, Decoy, NoSecret, Qber, Verification, Watched};
        let ending = match abort.reason {
            Watched => Ending::Watched,
            Qber { .. } | Bell { .. } | Decoy | Blinded { .. } | NoSecret | Verification => {
                Ending::Measured(alarm(&abort.reason))
            }
            _ => Ending::Lost,
        };
        if abort.reason == BadTag {
            self.auth_failures.fetch_add(1, Ordering::Relaxed);
        }
        tracing::debug!(link = %self.link, reason = %abort.reason, "a block ends without a key");
        let now = self.now();
        self.with_health(|health| health.block(&abort.stats, ending, now));
    }
}
