//! The quantum links: what was measured on each, and the hub's ends of those that reach it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crypto::{AuthKey, Entropy};
use link::{Engine, Link, LinkSpec, Pad, StartError};
use session::Session;
use session::mesh::PeerMessage;
use store::StoreHandle;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};
use types::mesh::LinkReport;
use types::{Label, LinkId, NodeId, cbor};

/// Messages of post-processing that may wait in either direction.
const QUEUE: usize = 256;

/// The newest reports that were not passed on yet.
#[derive(Debug, Default)]
struct Waiting {
    reports: BTreeMap<LinkId, LinkReport>,
    usable: BTreeMap<LinkId, bool>,
}

/// The hub's view of every quantum link, and its own ends.
pub(crate) struct Links {
    engine: Engine,
    specs: BTreeMap<NodeId, LinkSpec>,
    ends: Mutex<BTreeMap<NodeId, Link>>,
    waiting: Mutex<Waiting>,
    flipped: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Links {
    /// No end is started yet.
    pub(crate) fn new(engine: Engine, specs: Vec<LinkSpec>) -> Self {
        Self {
            engine,
            specs: specs.into_iter().map(|spec| (spec.peer.clone(), spec)).collect(),
            ends: Mutex::default(),
            waiting: Mutex::default(),
            flipped: Notify::new(),
        }
    }

    /// Starts the hub's end of every fibre.
    ///
    /// # Errors
    /// [`StartError`] of the first that does not start.
    pub(crate) async fn start_all(&self, store: &StoreHandle, entropy: &Arc<Entropy>) -> Result<(), StartError> {
        for node in self.specs.keys() {
            self.restore(node, store, entropy).await?;
        }
        Ok(())
    }

    /// Starts the hub's end of the fibre to `node`, if there is one and it does not run.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) async fn restore(
        &self,
        node: &NodeId,
        store: &StoreHandle,
        entropy: &Arc<Entropy>,
    ) -> Result<(), StartError> {
        let Some(spec) = self.specs.get(node).filter(|_| !lock(&self.ends).contains_key(node)) else { return Ok(()) };
        let link = Link::start(&self.engine, spec.clone(), store.clone(), Arc::clone(entropy)).await?;
        lock(&self.ends).insert(node.clone(), link);
        Ok(())
    }

    /// Wipes the bits shared with `node` and drops the link's session.
    pub(crate) fn sever(&self, node: &NodeId) {
        if let Some(link) = lock(&self.ends).remove(node) {
            link.sever();
        }
    }

    /// Runs post-processing over a link session, in place of the session before.
    pub(crate) async fn attach(&self, session: Session) {
        let node = session.peer().clone();
        let Some(link) = lock(&self.ends).get(&node).cloned() else {
            return tracing::warn!(%node, "opened a link session, and no fibre leads there");
        };
        let id = link.id().clone();
        let auth: AuthKey = session.info().derive(Label::QKD_AUTH, &[]);
        let (sender, mut receiver) = session.split();
        let (out, mut outgoing) = mpsc::channel::<Vec<u8>>(QUEUE);
        let (incoming, inbox) = mpsc::channel(QUEUE);
        let named = id.clone();
        tokio::spawn(async move {
            while let Some(message) = outgoing.recv().await {
                let message = PeerMessage::Quantum { link: named.clone(), message };
                if sender.send(&cbor::to_vec(&message)).await.is_err() {
                    break;
                }
            }
            sender.info().terminate();
        });
        tokio::spawn(async move {
            while let Ok(bytes) = receiver.recv().await {
                match cbor::from_slice(&bytes) {
                    Ok(PeerMessage::Quantum { link, message }) if link == id => {
                        // The link has taken another session, or was severed.
                        if incoming.send(message).await.is_err() {
                            break;
                        }
                    }
                    _ => {
                        tracing::warn!(node = %receiver.info().peer(), "a link session carried something else");
                        break;
                    }
                }
            }
            receiver.info().terminate();
        });
        link.attach(auth, out, inbox).await;
    }

    /// The hub's end of the fibre to `node`.
    pub(super) fn end(&self, node: &NodeId) -> Option<Link> {
        lock(&self.ends).get(node).cloned()
    }

    /// Bits to pad a delivery to `node` with, durably spent; `None` where the link cannot give them.
    pub(crate) async fn pad(&self, node: &NodeId, bits: u64) -> Option<Pad> {
        let link = lock(&self.ends).get(node).cloned()?;
        match link.reserve(bits).await {
            Ok(pad) => Some(pad),
            Err(error) => {
                tracing::debug!(%node, %error, "a delivery goes without pad");
                None
            }
        }
    }

    /// Takes reports in; only the newest of a link counts.
    pub(crate) fn measured(&self, reports: Vec<LinkReport>) {
        let mut waiting = lock(&self.waiting);
        for report in reports {
            let before = waiting.usable.insert(report.link.clone(), report.usable);
            if before != Some(report.usable) {
                self.flipped.notify_one();
            }
            waiting.reports.insert(report.link.clone(), report);
        }
    }

    /// The reports to pass on: after `span`, or at once where a link became usable or unusable.
    pub(super) async fn next(&self, span: Duration) -> Vec<LinkReport> {
        let end = Instant::now() + span;
        // Both endings lead to the same: what waits is passed on.
        let _ = timeout_at(end, self.flipped.notified()).await;
        std::mem::take(&mut lock(&self.waiting).reports).into_values().collect()
    }
}
