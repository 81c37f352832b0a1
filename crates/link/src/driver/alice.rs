//! The end that fires the pulses.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use qkd::{AbortReason, Offer, Pipeline, Step};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::peer::{Attach, Gone, Peer, Said};
use super::{Core, cell, photons};
use crate::draw::Draw;

/// Frames on their way to the fibre, and from it.
const FRAMES: usize = 8;
/// Slots made durable at a time: a restart begins above every slot of the run before.
const SLOTS_AHEAD: u64 = 1 << 36;

/// How long pulses are remembered that no block has named.
const RETAIN_SECONDS: u64 = 8;

pub(super) struct AliceEnd {
    core: Arc<Core>,
    pipeline: Pipeline<Draw>,
    /// First slot that may not be used yet.
    slots_end: u64,
    peer: Option<Peer>,
    /// Whether the block under way is only watched.
    watched: bool,
    /// Whether Bob wants light.
    shining: bool,
}

impl AliceEnd {
    pub(super) fn new(core: Arc<Core>, first_slot: u64) -> Self {
        let bits = Draw::bits(Arc::clone(&core.entropy), core.failed.clone());
        let choices = Draw::choices(Arc::clone(&core.entropy), core.failed.clone());
        let retain = core.params.retain_pulses().max(RETAIN_SECONDS * u64::from(core.params.pulse_rate_hz));
        let pipeline = Pipeline::alice(&core.params, retain, first_slot, bits, choices);
        Self { pipeline, slots_end: first_slot, peer: None, watched: false, shining: true, core }
    }

    pub(super) async fn run(mut self, fibre: String, mut attaches: mpsc::Receiver<Attach>) {
        let (light, frames) = mpsc::channel(FRAMES);
        let (arrivals, mut arriving) = mpsc::channel(FRAMES);
        let carrier = tokio::spawn(photons::exchange(fibre, frames, arrivals));
        let params = &self.core.params;
        let span = Duration::from_secs_f64(f64::from(params.frame_pulses) / f64::from(params.pulse_rate_hz));
        let mut tick = interval(span);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                attach = attaches.recv() => match attach {
                    Some(attach) => self.attach(attach).await,
                    None => break,
                },
                message = next(&mut self.peer) => self.hear(message).await,
                Some(frame) = arriving.recv() => {
                    self.answer(&frame, &light);
                    Ok(())
                }
                _ = tick.tick() => {
                    self.emit(&light).await;
                    Ok(())
                }
            };
            if heard.is_err() {
                self.peer = None;
                self.pipeline.rest();
            }
        }
        carrier.abort();
    }

    async fn attach(&mut self, attach: Attach) -> Result<(), Gone> {
        self.peer = None;
        self.pipeline.rest();
        self.shining = true;
        self.peer = Some(Peer::begin(&self.core, attach).await?);
        Ok(())
    }

    /// Fires the next train, where both the peer and the fibre are there to take it.
    async fn emit(&mut self, light: &mpsc::Sender<Vec<u8>>) {
        let ready = self.shining && self.peer.as_ref().is_some_and(|peer| peer.ready);
        let Ok(permit) = light.try_reserve() else { return };
        if !ready || self.core.failed.get() {
            return;
        }
        let pulses = self.core.params.frame_pulses;
        if self.pipeline.next_slot() + u64::from(pulses) > self.slots_end {
            let end = self.slots_end + SLOTS_AHEAD;
            let Some(name) = cell("slot", &self.core.link) else { return };
            if let Err(error) = self.core.store.put_cells(vec![(name, end.to_be_bytes().to_vec())]).await {
                tracing::error!(link = %self.core.link, %error, "no photons: their slots cannot be stored");
                return;
            }
            self.slots_end = end;
        }
        permit.send(self.pipeline.emit());
        self.core.next_slot.store(self.pipeline.next_slot(), Ordering::Relaxed);
    }

    /// Answers the fibre: what is prepared, or how halves of pairs are measured.
    fn answer(&mut self, frame: &[u8], light: &mpsc::Sender<Vec<u8>>) {
        if !self.peer.as_ref().is_some_and(|peer| peer.ready) || self.core.failed.get() {
            return;
        }
        match self.pipeline.light(frame) {
            // an answer that finds no room is lost light
            Ok(Some(reply)) => drop(light.try_send(reply)),
            Ok(None) => {}
            Err(error) => tracing::debug!(link = %self.core.link, %error, "light is not counted"),
        }
    }

    async fn hear(&mut self, message: Option<Vec<u8>>) -> Result<(), Gone> {
        let (Some(message), Some(peer)) = (message, self.peer.as_mut()) else { return Err(Gone) };
        match peer.hear(&self.core, message).await? {
            Said::Block(message) => return self.block(&message).await,
            Said::Restarted => {
                drop(self.pipeline.give_up());
                self.shining = true;
            }
            Said::Light(wanted) => {
                self.shining = wanted;
                if !wanted {
                    self.pipeline.rest();
                }
            }
            Said::Nothing => {}
        }
        Ok(())
    }

    async fn block(&mut self, message: &[u8]) -> Result<(), Gone> {
        if let Ok(offer) = Offer::parse(message) {
            return self.offered(offer).await;
        }
        let Some(peer) = self.peer.as_ref() else { return Ok(()) };
        let reply = match self.pipeline.hear(message) {
            Ok(Step::Reply(reply)) => Some(reply),
            Ok(Step::Ignored) => None,
            Ok(Step::Finished { reply, outcome }) => {
                self.core.keep(&outcome.stats, &outcome.key, self.watched);
                reply
            }
            Err(abort) => {
                self.core.lose(&abort);
                abort.notice
            }
        };
        match reply {
            Some(reply) => peer.send(reply).await,
            None => Ok(()),
        }
    }

    async fn offered(&mut self, offer: Offer) -> Result<(), Gone> {
        let Some(peer) = self.peer.as_mut() else { return Err(Gone) };
        drop(self.pipeline.give_up());
        if offer.block() < peer.next_block || self.core.failed.get() {
            return Ok(());
        }
        peer.next_block = offer.block().saturating_add(1);
        let found = peer.find_tags(&self.core, offer.pads()).await;
        let (keys, watched) = match found {
            Ok(found) => found,
            Err(error) => {
                // The two ends do not hold the same bits, or a range came twice: agree afresh.
                tracing::warn!(link = %self.core.link, %error, "the peer's tags cannot be checked: starting over");
                return peer.restart(&self.core).await;
            }
        };
        self.watched = watched;
        match self.pipeline.accept(offer, keys) {
            Ok(reply) => peer.send(reply).await,
            Err(abort) => {
                self.core.lose(&abort);
                if let Some(notice) = abort.notice {
                    peer.send(notice).await?;
                }
                match abort.reason {
                    // Bob measures light that is too old: tell him which is not.
                    AbortReason::UnknownPulses => peer.restart(&self.core).await,
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The next message of the peer, if there is one; waits for ever otherwise.
pub(super) async fn next(peer: &mut Option<Peer>) -> Option<Vec<u8>> {
    match peer {
        Some(peer) => peer.receive().await,
        None => std::future::pending().await,
    }
}
