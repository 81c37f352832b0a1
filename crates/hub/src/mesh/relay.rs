//! Messages between the KMEs of two nodes that have no session of their own, or no pad. The hub is a trusted relay.

use std::sync::Arc;

use link::carry;
use session::mesh::{HubMessage, KmeAnswer, KmeAsk, KmeFrame, KmeVerdict};
use types::NodeId;

use super::Mesh;

/// Messages that are relayed at a time; more are dropped, and asked again.
const AT_WORK: usize = 64;

/// Places for messages under way.
pub(crate) struct Relay(Arc<tokio::sync::Semaphore>);

impl Default for Relay {
    fn default() -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(AT_WORK)))
    }
}

impl Mesh {
    /// Passes on what `node` says. Does not wait.
    pub(super) fn relay(self: &Arc<Self>, node: &NodeId, frame: KmeFrame) {
        match frame {
            // An answer goes to who asked, and only from who was asked.
            KmeFrame::Answer(answer) if answer.to == *node => {
                let asker = answer.from.clone();
                self.peers.send_bulk(&asker, &HubMessage::Kme(KmeFrame::Answer(answer)));
            }
            KmeFrame::Ask(ask) if ask.from == *node && ask.to != *node => {
                let Ok(permit) = Arc::clone(&self.relay.0).try_acquire_owned() else {
                    return tracing::warn!(%node, "too many messages between KMEs: one is dropped");
                };
                let mesh = Arc::clone(self);
                tokio::spawn(async move {
                    mesh.pass_on(ask).await;
                    drop(permit);
                });
            }
            KmeFrame::Answer(_) | KmeFrame::Ask(_) => {
                tracing::warn!(%node, "speaks for another node between KMEs: it is not passed on");
            }
        }
    }

    async fn pass_on(&self, ask: KmeAsk) {
        let (number, from, to) = (ask.number, ask.from.clone(), ask.to.clone());
        if let Err(verdict) = self.forward_ask(ask).await {
            let answer = KmeAnswer { number, from: from.clone(), to, verdict };
            self.peers.send_bulk(&from, &HubMessage::Kme(KmeFrame::Answer(answer)));
        }
    }

    async fn forward_ask(&self, ask: KmeAsk) -> Result<(), KmeVerdict> {
        let (from, to) = (ask.from.clone(), ask.to.clone());
        if !self.peers.up().contains(&to) {
            return Err(KmeVerdict::NoWay);
        }
        let links = [&from, &to].map(|node| self.links.end(node));
        let sealed = carry::relay(ask, links[0].as_ref(), links[1].as_ref()).await.map_err(|error| {
            tracing::warn!(%from, %to, %error, "a message between KMEs is not passed on");
            KmeVerdict::NoPad
        })?;
        let sent = self.peers.send_bulk(&to, &HubMessage::Kme(KmeFrame::Ask(sealed)));
        if sent { Ok(()) } else { Err(KmeVerdict::NoWay) }
    }
}
