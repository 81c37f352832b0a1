//! What nodes say, turned into events. Every message is from the node its session proved, so a node
//! speaks only for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crypto::{KemPublic, SuiteId};
use kernel::State;
use kernel::event::{Event, KeyReceipt, KeyUsage};
use session::mesh::{HubMessage, KeyUse, NodeMessage, Receipt, Standing};
use session::{EnvelopeError, RecvError, SessionReceiver};
use types::limits::{KEYS_PER_STEP, NODE_MESSAGE_LEN};
use types::mesh::{LinkReport, SignalKind, Subject};
use types::sae::Handout;
use types::{Hash, KeyId, NodeId, Timestamp, cbor};

use super::Mesh;
use super::sources::Source;
use crate::clock::system_time;

impl Mesh {
    /// Reads a session until it ends.
    pub(super) async fn read(self: &Arc<Self>, node: &NodeId, mut receiver: SessionReceiver) {
        let source = self.sources.of(node, receiver.info().channel());
        receiver.limit(NODE_MESSAGE_LEN);
        let from = From { node, source: &source };
        loop {
            let message = match receiver.recv().await {
                Ok(message) => message,
                Err(RecvError::Envelope(error)) => {
                    source.message(0).await;
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
            source.message(message.len()).await;
            match cbor::from_slice::<NodeMessage>(&message) {
                Ok(message) => self.heard(&from, message).await,
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

    async fn heard(self: &Arc<Self>, from: &From<'_>, message: NodeMessage) {
        let node = from.node.clone();
        match message {
            NodeMessage::Prekey(bytes) => match KemPublic::from_bytes(&bytes) {
                Ok(prekey) if prekey.suite() == SuiteId::X25519_MLKEM1024 => self.peers.set_prekey(&node, prekey),
                _ => self.notices.tell(Subject::Node(node), SignalKind::AuthFailure, 300_000).await,
            },
            NodeMessage::Receipts(receipts) => {
                let receipts = receipts
                    .into_iter()
                    .map(|Receipt { key, commitment, mixed }| (key, KeyReceipt { key, commitment, mixed }));
                self.say(from, receipts, |node, receipts| Event::Receipts { node, receipts }).await;
            }
            NodeMessage::Failed { keys, reason } => {
                let reason = reason.chars().take(200).collect::<String>();
                let failed = |node, keys| Event::DeliveryFailed { node, keys, reason: reason.clone() };
                self.say(from, each(keys), failed).await;
            }
            NodeMessage::Activated(keys) => {
                self.say(from, each(keys), |node, keys| Event::Activated { node, keys }).await;
            }
            NodeMessage::Purged(keys) => self.say(from, each(keys), |node, keys| Event::Purged { node, keys }).await,
            NodeMessage::Isolated { node: isolated, epoch } => {
                self.say_one(from, Event::IsolationConfirmed { by: node, node: isolated, epoch }).await;
            }
            NodeMessage::Links(reports) => {
                let known = |report: &LinkReport| report.link.b() == &node && self.admitted.has_link(&report.link);
                self.links.measured(reports.into_iter().filter(known).collect());
            }
            NodeMessage::Use(keys) => {
                let keys = keys
                    .into_iter()
                    .map(|KeyUse { key, frames, bytes, failures }| (key, KeyUsage { key, frames, bytes, failures }));
                self.say(from, keys, |node, keys| Event::Usage { node, keys }).await;
            }
            NodeMessage::Signal { subject, kind } => {
                self.say_one(from, Event::Signal { source: node, subject, kind }).await;
            }
            NodeMessage::KmeUp(kme) => self.say_one(from, Event::KmeUp { node, kme }).await,
            NodeMessage::HandedOut { number, handouts, gap } => self.account(from, number, handouts, gap).await,
            NodeMessage::Kme(frame) => self.relay(&node, frame),
            NodeMessage::Started { start, earlier, account, seen } => {
                self.started(from, start, earlier, account, seen).await;
            }
            NodeMessage::ForwardFailed { id, reason } => {
                tracing::warn!(%node, forward = %id, reason = %reason.chars().take(200).collect::<String>(), "a forward failed");
            }
        }
    }

    /// Reports what a node says of its keys, each once, as few events as it takes. A long list is only taken as far
    /// as the node has such keys.
    async fn say<T>(
        &self,
        from: &From<'_>,
        said: impl Iterator<Item = (KeyId, T)>,
        event: impl Fn(NodeId, Vec<T>) -> Event,
    ) {
        let mut keys: BTreeMap<KeyId, T> = said.collect();
        if keys.len() > KEYS_PER_STEP {
            let node = from.node.clone();
            let Ok(own) = self.handle.look(move |look| keys_of(look.state, &node)).await else { return };
            keys.retain(|key, _| own.contains(key));
        }
        let mut keys = keys.into_values().peekable();
        while keys.peek().is_some() {
            let part = keys.by_ref().take(KEYS_PER_STEP).collect();
            self.say_one(from, event(from.node.clone(), part)).await;
        }
    }

    async fn say_one(&self, from: &From<'_>, event: Event) {
        if let Some(place) = from.source.event(cbor::to_vec(&event).len()).await {
            // A stopped sequencer means that the hub is stopping.
            let _ = self.handle.report_from(event, place).await;
        }
    }

    /// What a node says of its start. That it came back within it is recorded already.
    async fn started(
        &self,
        from: &From<'_>,
        start: Hash,
        earlier: Vec<Hash>,
        account: Option<u64>,
        seen: Option<Standing>,
    ) {
        let node = from.node.clone();
        let (known, unknown) = self.judge(&node, seen).await;
        if unknown || known != Some(start) {
            self.say_one(from, Event::NodeStarted { node: node.clone(), start, earlier, account, unknown }).await;
        }
        if known == Some(start) {
            self.stand(&node).await;
        }
    }

    /// An account that is in the log already is acknowledged again and leaves nothing.
    async fn account(&self, from: &From<'_>, number: u64, handouts: Vec<Handout>, gap: Option<Timestamp>) {
        let node = from.node.clone();
        let about = node.clone();
        match self.handle.look(move |look| look.state.accounted(&about)).await {
            Ok(kept) if kept >= number => {
                self.peers.send_bulk(&node, &HubMessage::HandoutsKept { number });
            }
            Ok(_) => self.say_one(from, Event::HandedOut { node, number, handouts, gap }).await,
            Err(_) => {}
        }
    }
}

/// Whose message it is, and what that node may still say.
struct From<'a> {
    node: &'a NodeId,
    source: &'a Source,
}

fn each(keys: Vec<KeyId>) -> impl Iterator<Item = (KeyId, KeyId)> {
    keys.into_iter().map(|key| (key, key))
}

/// Every key that `node` has a part in, whatever its state.
fn keys_of(state: &State, node: &NodeId) -> BTreeSet<KeyId> {
    state.keys().iter().filter(|(_, key)| key.slot.has(node)).map(|(id, _)| *id).collect()
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
