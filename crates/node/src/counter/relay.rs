//! Messages between two other KMEs that pass through this node, because their own fibre and the hub's have no pad.
//! Whoever takes such a message chose this node as a relay in its own configuration.

use std::sync::Arc;

use link::carry;
use session::mesh::{KmeAnswer, KmeAsk, KmeFrame, KmeVerdict};
use types::NodeId;

use super::Carrier;

impl Carrier {
    /// Passes a message on to a neighbour, or tells who asked why not. Does not wait.
    pub(super) fn relay(self: Arc<Self>, hop: &NodeId, ask: KmeAsk) {
        let Some(permit) = self.permit() else {
            return tracing::warn!(%hop, "too many messages of other KMEs: one is dropped");
        };
        let hop = hop.clone();
        tokio::spawn(async move {
            let (number, from, to) = (ask.number, ask.from.clone(), ask.to.clone());
            if let Err(verdict) = self.pass_on(&hop, ask).await {
                self.push(&hop, KmeFrame::Answer(KmeAnswer { number, from, to, verdict }));
            }
            drop(permit);
        });
    }

    async fn pass_on(&self, hop: &NodeId, ask: KmeAsk) -> Result<(), KmeVerdict> {
        let to = ask.to.clone();
        if !self.is_neighbour(&to) {
            return Err(KmeVerdict::NoWay);
        }
        let sealed = carry::relay(ask, self.link(hop).as_ref(), self.link(&to).as_ref()).await.map_err(|error| {
            tracing::warn!(%hop, %to, %error, "a message between KMEs is not passed on");
            KmeVerdict::NoPad
        })?;
        if self.push(&to, KmeFrame::Ask(sealed)) { Ok(()) } else { Err(KmeVerdict::NoWay) }
    }
}
