//! The end that measures.

use std::sync::Arc;
use std::time::Duration;

use qkd::{Detector, Step};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::alice::next;
use super::peer::{Attach, Gone, Peer, Said};
use super::{Core, photons};
use crate::draw::Expanded;

/// Frames on their way from the fibre.
const FRAMES: usize = 4;
/// Longest time for one block.
const BLOCK_LIMIT: Duration = Duration::from_secs(20);
/// Time between the starts of two blocks that are only watched.
const WATCH_EVERY: Duration = Duration::from_secs(2);

struct Running {
    block: qkd::Bob,
    watched: bool,
    deadline: Instant,
}

pub(super) struct BobEnd {
    core: Arc<Core>,
    detector: Detector<Expanded>,
    peer: Option<Peer>,
    running: Option<Running>,
    not_before: Instant,
}

impl BobEnd {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let params = &core.params;
        let draws = Expanded::new(Arc::clone(&core.entropy), core.failed.clone());
        let detector = Detector::new(&params.detector, params.z_log2, params.click_limit(), draws);
        Self { detector, peer: None, running: None, not_before: Instant::now(), core }
    }

    pub(super) async fn run(mut self, fibre: String, mut attaches: mpsc::Receiver<Attach>) {
        let (frames, mut light) = mpsc::channel(FRAMES);
        let carrier = tokio::spawn(photons::receive(fibre, frames));
        loop {
            let deadline = self.running.as_ref().map(|running| running.deadline);
            let heard = tokio::select! {
                attach = attaches.recv() => match attach {
                    Some(attach) => self.attach(attach).await,
                    None => break,
                },
                message = next(&mut self.peer) => self.hear(message).await,
                Some(frame) = light.recv() => {
                    self.measure(&frame);
                    self.start().await
                }
                () = until(deadline) => self.give_up().await,
            };
            if heard.is_err() {
                self.peer = None;
                self.running = None;
            }
        }
        carrier.abort();
    }

    async fn attach(&mut self, attach: Attach) -> Result<(), Gone> {
        self.running = None;
        self.peer = None;
        self.detector.clear();
        self.peer = Some(Peer::begin(&self.core, attach).await?);
        Ok(())
    }

    fn measure(&mut self, frame: &[u8]) {
        let first = frame.get(1..9).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map(u64::from_le_bytes);
        if self.peer.as_ref().is_some_and(|peer| peer.ready && first >= Some(peer.first_slot))
            && let Err(error) = self.detector.measure(frame)
        {
            tracing::debug!(link = %self.core.link, %error, "light is not counted");
        }
    }

    /// Starts a block, where there is enough light for one and none is under way.
    async fn start(&mut self) -> Result<(), Gone> {
        let Some(peer) = self.peer.as_mut().filter(|peer| peer.ready) else { return Ok(()) };
        let enough = self.detector.waiting() >= self.core.params.block.clicks as usize;
        if !enough || self.running.is_some() || self.core.failed.get() || Instant::now() < self.not_before {
            return Ok(());
        }
        let (name, keys, watched) = match peer.draw_tags(&self.core).await {
            Ok(drawn) => drawn,
            Err(error) => {
                tracing::warn!(link = %self.core.link, %error, "no block: there are no bits for its tags");
                self.detector.clear();
                return Ok(());
            }
        };
        let Some(detections) = self.detector.take(self.core.params.block.clicks as usize) else { return Ok(()) };
        let number = peer.next_block;
        peer.next_block = number.saturating_add(1);
        if watched {
            self.not_before = Instant::now() + WATCH_EVERY;
        }
        match qkd::Bob::start(&self.core.params.block, number, detections, &name, keys) {
            Ok((block, message)) => {
                self.running = Some(Running { block, watched, deadline: Instant::now() + BLOCK_LIMIT });
                peer.send(message).await
            }
            Err(abort) => {
                self.core.lose(&abort);
                Ok(())
            }
        }
    }

    async fn hear(&mut self, message: Option<Vec<u8>>) -> Result<(), Gone> {
        let (Some(message), Some(peer)) = (message, self.peer.as_mut()) else { return Err(Gone) };
        match peer.hear(&self.core, message).await? {
            Said::Block(message) => self.block(&message).await,
            Said::Restarted => {
                self.running = None;
                self.detector.clear();
                Ok(())
            }
            Said::Nothing => Ok(()),
        }
    }

    async fn block(&mut self, message: &[u8]) -> Result<(), Gone> {
        let (Some(running), Some(peer)) = (self.running.as_mut(), self.peer.as_ref()) else { return Ok(()) };
        match running.block.handle(message) {
            Ok(Step::Reply(reply)) => peer.send(reply).await,
            Ok(Step::Ignored) => Ok(()),
            Ok(Step::Finished { reply, outcome }) => {
                self.core.keep(&outcome.stats, &outcome.key, running.watched);
                self.running = None;
                if let Some(reply) = reply {
                    peer.send(reply).await?;
                }
                self.start().await
            }
            Err(abort) => {
                self.running = None;
                self.core.lose(&abort);
                match abort.notice {
                    Some(notice) => peer.send(notice).await,
                    None => Ok(()),
                }
            }
        }
    }

    async fn give_up(&mut self) -> Result<(), Gone> {
        let (Some(running), Some(peer)) = (self.running.take(), self.peer.as_mut()) else { return Ok(()) };
        let abort = running.block.give_up();
        self.core.lose(&abort);
        if let Some(notice) = abort.notice {
            peer.send(notice).await?;
        }
        peer.restart(&self.core).await
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
