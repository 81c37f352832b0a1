//! Draws the page once for all who watch, and gives each what changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{Mutex, broadcast};

use super::history::History;
use super::page;
use super::scene::Scene;
use super::section::Page;
use super::time_of_day;
use crate::sequencer::Handle;

/// Time between two updates.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// Updates that may wait for a viewer; one that is slower is sent the whole page again.
const BEHIND: usize = 4;

/// One update, shared by all who watch.
#[derive(Debug, Clone)]
pub(super) struct Update {
    pub(super) scene: Arc<Scene>,
    pub(super) line: Bytes,
}

/// A line of the stream: JSON, with what takes the place of the elements named.
#[derive(Debug, Serialize)]
struct Message<'a> {
    /// Time of day at the hub, UTC.
    at: String,
    /// The whole page; absent where only parts changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<&'a str>,
    /// What changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parts: BTreeMap<String, String>,
}

#[derive(Default)]
struct Drawn {
    page: Page,
    last: Option<(Arc<Scene>, Instant)>,
}

/// Where the page is drawn.
pub(super) struct Desk {
    history: Arc<History>,
    drawn: Mutex<Drawn>,
    updates: broadcast::Sender<Update>,
}

impl Desk {
    pub(super) fn new(history: Arc<History>) -> Self {
        Self { history, drawn: Mutex::default(), updates: broadcast::Sender::new(BEHIND) }
    }

    /// Draws what changed, once a second while anybody watches, until the hub stops.
    pub(super) async fn run(&self, handle: &Handle) {
        let mut due = tokio::time::interval(EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            if self.updates.receiver_count() > 0 && !self.draw(handle, &mut *self.drawn.lock().await).await {
                return;
            }
        }
    }

    /// The whole page as it is now, and the updates that follow it; `None` where the hub stops, or has not begun.
    pub(super) async fn watch(&self, handle: &Handle) -> Option<(Update, broadcast::Receiver<Update>)> {
        let mut drawn = self.drawn.lock().await;
        if drawn.last.as_ref().is_none_or(|(_, at)| at.elapsed() >= EVERY) {
            self.draw(handle, &mut drawn).await;
        }
        // Subscribed under the lock: no update is between the page and what follows.
        let updates = self.updates.subscribe();
        let (scene, _) = drawn.last.clone()?;
        let message = Message { at: time_of_day(scene.now), whole: Some(&drawn.page.whole()), parts: BTreeMap::new() };
        Some((Update { line: line(&message)?, scene }, updates))
    }

    async fn draw(&self, handle: &Handle, drawn: &mut Drawn) -> bool {
        let scene = match handle.scene().await {
            Ok(Some(scene)) => scene,
            Ok(None) => return true,
            Err(_) => return false,
        };
        let last = drawn.last.as_ref().map(|(last, _)| last);
        let same = last.is_some_and(|last| last.status == scene.status && last.fault == scene.fault);
        let page = if same { drawn.page.clone() } else { page::content(&scene, &self.history) };
        let message = Message { at: time_of_day(scene.now), whole: None, parts: page.changes(&drawn.page) };
        if let Some(line) = line(&message) {
            // Nobody may be watching any more.
            let _ = self.updates.send(Update { scene: Arc::clone(&scene), line });
        }
        *drawn = Drawn { page, last: Some((scene, Instant::now())) };
        true
    }
}

fn line(message: &Message<'_>) -> Option<Bytes> {
    let mut line = serde_json::to_vec(message).ok()?;
    line.push(b'\n');
    Some(line.into())
}
