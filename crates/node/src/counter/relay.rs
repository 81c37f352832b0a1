//! Messages between two other KMEs that pass through this node, because their own fibre and the hub's have no pad.
//! A trusted relay: it opens each message and seals it again for the next hop. What came under a pad leaves under
//! one or not at all. Whoever takes such a message chose this node as a relay in its own configuration.

use std::sync::Arc;

use link::carry::{self, Address};
use session::mesh::{KmeAnswer, KmeAsk, KmeFrame, KmeVerdict};
use types::NodeId;

use super::carrier::{Carrier, open};

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
        let address = Address { number: ask.number, from: ask.from.clone(), to: ask.to.clone() };
        let to = address.to.clone();
        if !self.is_neighbour(&to) {
            return Err(KmeVerdict::NoWay);
        }
        let padded = ask.pad.is_some();
        let text = open(self.link(hop), ask).await.map_err(|error| {
            tracing::warn!(%hop, %error, "a message to pass on cannot be opened");
            KmeVerdict::NoPad
        })?;
        let pad = match padded {
            true => {
                let link = self.link(&to).ok_or(KmeVerdict::NoPad)?;
                Some(link.reserve(carry::pad_bits(text.len())).await.map_err(|_| KmeVerdict::NoPad)?)
            }
            false => None,
        };
        let sealed = carry::seal(address, &text, pad.as_ref()).map_err(|_| KmeVerdict::NoPad)?;
        if self.push(&to, KmeFrame::Ask(sealed)) { Ok(()) } else { Err(KmeVerdict::NoWay) }
    }
}
