//! The end that measures.

use std::sync::Arc;
use std::time::Duration;

use qkd::{Pipeline, Purpose, Step};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::alice::next;
use super::peer::{Attach, Gone, Peer, Said};
use super::{Core, photons};
use crate::draw::Draw;

/// Frames on their way to the fibre, and from it.
const FRAMES: usize = 8;
/// Longest time for one block.
const BLOCK_LIMIT: Duration = Duration::from_secs(40);
/// Time without light after a block that was only watched.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// Time without light after a block of key where the pool is ample.
const LEISURE: Duration = Duration::from_secs(10);

/// When the block under way is given up, or a rest is over.
#[derive(Clone, Copy)]
enum Alarm {
    GiveUp(Instant),
    Wake(Instant),
}

pub(super) struct BobEnd {
    core: Arc<Core>,
    pipeline: Pipeline<Draw>,
    peer: Option<Peer>,
    /// Whether the block under way is only watched.
    watched: bool,
    alarm: Option<Alarm>,
}

impl BobEnd {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let choices = Draw::choices(Arc::clone(&core.entropy), core.failed.clone());
        let pipeline = Pipeline::bob(&core.params, choices);
        Self { pipeline, peer: None, watched: false, alarm: None, core }
    }

    pub(super) async fn run(mut self, fibre: String, mut attaches: mpsc::Receiver<Attach>) {
        let (frames, mut arriving) = mpsc::channel(FRAMES);
        let (answers, outgoing) = mpsc::channel(FRAMES);
        let carrier = tokio::spawn(photons::exchange(fibre, outgoing, frames));
        loop {
            let alarm = self.alarm;
            let heard = tokio::select! {
                attach = attaches.recv() => match attach {
                    Some(attach) => self.attach(attach).await,
                    None => break,
                },
                message = next(&mut self.peer) => self.hear(message).await,
                Some(frame) = arriving.recv() => {
                    self.measure(&frame, &answers);
                    self.start().await
                }
                () = until(alarm) => self.ring().await,
            };
            if heard.is_err() {
                self.peer = None;
                self.forget();
            }
        }
        carrier.abort();
    }

    fn forget(&mut self) {
        self.pipeline.rest();
        self.alarm = None;
    }

    async fn attach(&mut self, attach: Attach) -> Result<(), Gone> {
        self.peer = None;
        self.forget();
        self.peer = Some(Peer::begin(&self.core, attach).await?);
        Ok(())
    }

    fn measure(&mut self, frame: &[u8], answers: &mpsc::Sender<Vec<u8>>) {
        let first = frame.get(1..9).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map(u64::from_le_bytes);
        let resting = matches!(self.alarm, Some(Alarm::Wake(_)));
        if resting || !self.peer.as_ref().is_some_and(|peer| peer.ready && first >= Some(peer.first_slot)) {
            return;
        }
        match self.pipeline.light(frame) {
            // an answer that finds no room is lost light
            Ok(Some(answer)) => drop(answers.try_send(answer)),
            Ok(None) => {}
            Err(error) => tracing::debug!(link = %self.core.link, %error, "light is not counted"),
        }
    }

    /// Starts a block, where there is enough light for one and none is under way.
    async fn start(&mut self) -> Result<(), Gone> {
        let Some(peer) = self.peer.as_mut().filter(|peer| peer.ready) else { return Ok(()) };
        if !self.pipeline.is_due() || self.core.failed.get() {
            return Ok(());
        }
        let (name, keys, watched) = match peer.draw_tags(&self.core).await {
            Ok(drawn) => drawn,
            Err(error) => {
                tracing::warn!(link = %self.core.link, %error, "no block: there are no bits for its tags");
                self.forget();
                return Ok(());
            }
        };
        let number = peer.next_block;
        peer.next_block = number.saturating_add(1);
        self.watched = watched;
        // a full pool wants no key, but a link that is not used comes back by making some
        let purpose = if watched && self.core.report.borrow().usable { Purpose::Watch } else { Purpose::Key };
        match self.pipeline.begin(number, purpose, &name, keys) {
            Ok(Some(message)) => {
                self.alarm = Some(Alarm::GiveUp(Instant::now() + BLOCK_LIMIT));
                peer.send(message).await
            }
            Ok(None) => Ok(()),
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
                self.forget();
                Ok(())
            }
            Said::Light(_) | Said::Nothing => Ok(()),
        }
    }

    async fn block(&mut self, message: &[u8]) -> Result<(), Gone> {
        let Some(peer) = self.peer.as_mut() else { return Ok(()) };
        let reply = match self.pipeline.hear(message) {
            Ok(Step::Reply(reply)) => return peer.send(reply).await,
            Ok(Step::Ignored) => return Ok(()),
            Ok(Step::Finished { reply, outcome }) => {
                self.core.keep(&outcome.stats, &outcome.key, self.watched);
                reply
            }
            Err(abort) => {
                self.core.lose(&abort);
                abort.notice
            }
        };
        self.alarm = None;
        if let Some(reply) = reply {
            peer.send(reply).await?;
        }
        let usable = self.core.report.borrow().usable;
        let ample = self.core.with_shelf(|shelf| shelf.is_ample()).unwrap_or(false);
        let rest = match (self.watched, ample && usable) {
            // the pool is full: there is no use for light before the next look at the channel
            (true, _) => WATCH_EVERY,
            (false, true) => LEISURE,
            (false, false) => return self.start().await,
        };
        self.pipeline.rest();
        self.alarm = Some(Alarm::Wake(Instant::now() + rest));
        peer.want_light(false).await
    }

    async fn ring(&mut self) -> Result<(), Gone> {
        let (Some(alarm), Some(peer)) = (self.alarm.take(), self.peer.as_mut()) else { return Ok(()) };
        if matches!(alarm, Alarm::Wake(_)) {
            return peer.want_light(true).await;
        }
        let Some(abort) = self.pipeline.give_up() else { return Ok(()) };
        self.core.lose(&abort);
        if let Some(notice) = abort.notice {
            peer.send(notice).await?;
        }
        peer.restart(&self.core).await
    }
}

async fn until(alarm: Option<Alarm>) {
    match alarm {
        Some(Alarm::GiveUp(at) | Alarm::Wake(at)) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
