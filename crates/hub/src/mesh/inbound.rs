//! What nodes say, turned into events. Every message is from the node its session proved, so a node
//! speaks only for itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::{KemPublic, SuiteId};
use kernel::event::{Event, KeyReceipt, KeyUsage};
use session::mesh::NodeMessage;
use session::{EnvelopeError, RecvError, SessionReceiver};
use types::limits::KEYS_PER_STEP;
use types::mesh::{LinkReport, SignalKind, Subject};
use types::{NodeId, cbor};

use super::Mesh;
use crate::clock::system_time;

/// Messages of one node that are taken at once, and how fast more may come.
const BURST: f64 = 2_000.0;
const PER_SECOND: f64 = 500.0;

/// How many messages a node may still send now. A node beyond it is read more slowly, so that it
/// cannot fill the log; the others do not notice.
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new() -> Self {
        Self { left: BURST, at: Instant::now() }
    }

    /// How long to wait before the next message.
    fn spend(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.left = (self.left + PER_SECOND * now.duration_since(self.at).as_secs_f64()).min(BURST) - 1.0;
        self.at = now;
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / PER_SECOND))
    }
}

impl Mesh {
    /// Reads a session until it ends.
    pub(super) async fn read(self: &Arc<Self>, node: &NodeId, mut receiver: SessionReceiver) {
        let mut allowance = Allowance::new();
        loop {
            let message = match receiver.recv().await {
                Ok(message) => message,
                Err(RecvError::Envelope(error)) => {
                    self.refused_envelope(node, &error).await;
                    if matches!(error, EnvelopeError::TooLarge { .. } | EnvelopeError::Exhausted) {
                        return;
                    }
                    continue;
                }
                Err(RecvError::Closed) => return,
                Err(RecvError::Io(error)) => {
                    tracing::debug!(%node, %error, "a session ended");
                    return;
                }
            };
            if let Some(wait) = allowance.spend() {
                tokio::time::sleep(wait).await;
            }
            match cbor::from_slice::<NodeMessage>(&message) {
                Ok(message) => self.heard(node, message).await,
                Err(error) => {
                    tracing::warn!(%node, %error, "sent a message that is not understood; its session is dropped");
                    self.notices.tell(Subject::Node(node.clone()), SignalKind::AuthFailure, 300_000).await;
                    return;
                }
            }
        }
    }

    async fn refused_envelope(&self, node: &NodeId, error: &EnvelopeError) {
        let kind = match error {
            EnvelopeError::Replayed { .. } | EnvelopeError::Reordered { .. } => SignalKind::Replay,
            _ => SignalKind::AuthFailure,
        };
        tracing::warn!(%node, %error, "an envelope was refused");
        self.notices.tell(Subject::Node(node.clone()), kind, 500_000).await;
    }

    async fn heard(self: &Arc<Self>, node: &NodeId, message: NodeMessage) {
        let from = node.clone();
        match message {
            NodeMessage::Prekey(bytes) => match KemPublic::from_bytes(&bytes) {
                Ok(prekey) if prekey.suite() == SuiteId::X25519_MLKEM1024 => self.peers.set_prekey(node, prekey),
                _ => self.notices.tell(Subject::Node(from), SignalKind::AuthFailure, 300_000).await,
            },
            NodeMessage::Receipts(receipts) => {
                for part in receipts.chunks(KEYS_PER_STEP) {
                    let receipts = part.iter().map(|receipt| KeyReceipt {
                        key: receipt.key,
                        commitment: receipt.commitment,
                        mixed: receipt.mixed,
                    });
                    self.report(Event::Receipts { node: from.clone(), receipts: receipts.collect() }).await;
                }
            }
            NodeMessage::Failed { keys, reason } => {
                let reason = reason.chars().take(200).collect::<String>();
                for keys in keys.chunks(KEYS_PER_STEP) {
                    let (keys, reason) = (keys.to_vec(), reason.clone());
                    self.report(Event::DeliveryFailed { node: from.clone(), keys, reason }).await;
                }
            }
            NodeMessage::Activated(keys) => {
                for keys in keys.chunks(KEYS_PER_STEP) {
                    self.report(Event::Activated { node: from.clone(), keys: keys.to_vec() }).await;
                }
            }
            NodeMessage::Purged(keys) => {
                for keys in keys.chunks(KEYS_PER_STEP) {
                    self.report(Event::Purged { node: from.clone(), keys: keys.to_vec() }).await;
                }
            }
            NodeMessage::Isolated { node, epoch } => {
                self.report(Event::IsolationConfirmed { by: from, node, epoch }).await;
            }
            NodeMessage::Links(reports) => self.links.measured(own_reports(node, reports)),
            NodeMessage::Use(keys) => {
                for part in keys.chunks(KEYS_PER_STEP) {
                    let keys = part.iter().map(|one| KeyUsage {
                        key: one.key,
                        frames: one.frames,
                        bytes: one.bytes,
                        failures: one.failures,
                    });
                    self.report(Event::Usage { node: from.clone(), keys: keys.collect() }).await;
                }
            }
            NodeMessage::Signal { subject, kind } => {
                self.report(Event::Signal { source: from, subject, kind }).await;
            }
            NodeMessage::KmeUp(kme) => self.report(Event::KmeUp { node: from, kme }).await,
            NodeMessage::HandedOut { number, handouts, gap } => {
                self.report(Event::HandedOut { node: from, number, handouts, gap }).await;
            }
            NodeMessage::Kme(frame) => self.relay(node, frame),
            NodeMessage::ForwardFailed { id, reason } => {
                tracing::warn!(node = %from, forward = %id, reason = %reason.chars().take(200).collect::<String>(), "a forward failed");
            }
        }
    }
}

/// A node speaks for the links at whose measuring end it is.
fn own_reports(node: &NodeId, reports: Vec<LinkReport>) -> Vec<LinkReport> {
    reports.into_iter().filter(|report| report.link.b() == node).collect()
}

impl Mesh {
    /// Passes on what the links measured: at least every five seconds, at once where the usability of
    /// one changed.
    pub(crate) async fn report_links(self: Arc<Self>) {
        const SPAN: Duration = Duration::from_secs(5);
        /// Most links in one event, so that it fits an entry.
        const LINKS_PER_EVENT: usize = kernel::channel::LINKS_PER_EVENT;
        loop {
            let due = self.links.next(SPAN).await;
            self.history.add(&due, system_time());
            for reports in due.chunks(LINKS_PER_EVENT) {
                if self.handle.report(Event::Links(reports.to_vec())).await.is_err() {
                    return;
                }
            }
        }
    }
}
