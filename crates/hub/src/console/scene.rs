//! What the console and those who watch the status are shown: plain values, taken from the durable state by the
//! sequencer and made into text elsewhere. The sequencer copies what is shown and renders nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use api::view::{IncidentView, LinkView, StatusView};
use bytes::Bytes;
use kernel::State;
use kernel::state::keys::Slot;
use types::mesh::{Delivery, KeyState, KeyType};
use types::{KeyId, LinkId, Millis, NodeId, OperatorId, Timestamp};

use crate::sequencer::Look;
use crate::view;

/// Incidents shown at a time, newest first.
pub(super) const INCIDENTS: usize = 20;
/// Links shown at a time, those first that want a look.
pub(super) const LINKS: usize = 40;
/// Pairs whose rotation is drawn, those due first.
pub(super) const PAIRS: usize = 28;

/// Least time between two scenes.
const EVERY: Duration = Duration::from_millis(500);
/// A scene that took long to copy is kept this many times as long, so that the sequencer never spends more than a
/// hundredth of its time on who watches.
const SHARE: u32 = 100;

/// The boundary at one moment, as it is shown.
#[derive(Debug)]
pub(crate) struct Scene {
    /// The boundary at a glance.
    pub(crate) status: StatusView,
    /// The first [`LINKS`] of its links, without their history.
    pub(super) links: Vec<LinkView>,
    /// The last [`INCIDENTS`] of its incidents, newest first.
    pub(super) incidents: Vec<IncidentView>,
    pub(super) rotation: Rotation,
    /// When the last entry was made.
    pub(super) last_entry: Timestamp,
    /// When this was seen.
    pub(super) now: Timestamp,
    /// Why nothing can be recorded.
    pub(super) fault: Option<String>,
    operators: BTreeSet<OperatorId>,
    line: OnceLock<Option<Bytes>>,
}

/// When keys of pairs came into use and are due.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    pub(super) span: Millis,
    pub(super) pairs: usize,
    /// The first [`PAIRS`], those due first.
    pub(super) rows: Vec<PairKeys>,
}

/// The keys of one pair in time.
#[derive(Debug)]
pub(super) struct PairKeys {
    pub(super) ends: LinkId,
    pub(super) due: Timestamp,
    /// Keys in use, and since when.
    pub(super) bars: Vec<(KeyId, KeyState, Timestamp)>,
    pub(super) current: Option<KeyId>,
    pub(super) reserve: bool,
}

impl Scene {
    /// What is shown of the durable state; `None` before the first entry.
    pub(crate) fn of(look: &Look<'_>) -> Option<Self> {
        let status = view::status(look)?;
        Some(Self {
            status,
            links: links(look.state),
            incidents: look.state.incidents().iter().rev().take(INCIDENTS).map(view::incident).collect(),
            rotation: Rotation::of(look.state),
            last_entry: look.state.clock(),
            now: look.now,
            fault: look.fault.map(ToString::to_string),
            operators: view::operators(look.state),
            line: OnceLock::new(),
        })
    }

    /// Whether `operator` may look at it.
    pub(crate) fn is_for(&self, operator: &OperatorId) -> bool {
        self.operators.contains(operator)
    }

    /// The status as a line of JSON, made once for all who watch; `public` is where the public port is.
    pub(crate) fn line(&self, public: Option<&str>) -> Option<Bytes> {
        let line = || {
            let status = StatusView { public: public.map(str::to_owned), ..self.status.clone() };
            let mut line = serde_json::to_vec(&status).ok()?;
            line.push(b'\n');
            Some(line.into())
        };
        self.line.get_or_init(line).clone()
    }
}

/// The links that are shown: those first over which no quantum key goes, and then by name.
fn links(state: &State) -> Vec<LinkView> {
    let at_rest = |id: &LinkId| state.link(id).is_some_and(|link| link.delivery() == Delivery::QkdKem);
    let (well, ill): (Vec<_>, Vec<_>) = state.links().keys().partition(|id| at_rest(id));
    ill.into_iter().chain(well).take(LINKS).filter_map(|id| Some(view::link(id, state.link(id)?))).collect()
}

impl Rotation {
    fn of(state: &State) -> Self {
        let Some(settings) = state.settings() else { return Self::default() };
        let mut due: Vec<(Timestamp, &Slot)> = Vec::new();
        for slot in state.slots().keys().filter(|slot| slot.key_type() == KeyType::MeshSession) {
            due.extend(state.current(slot).map(|(_, key)| (key.since + settings.refresh, slot)));
        }
        let pairs = due.len();
        if pairs > PAIRS {
            due.select_nth_unstable(PAIRS);
            due.truncate(PAIRS);
        }
        due.sort_unstable();
        Self {
            span: settings.refresh,
            pairs,
            rows: due.into_iter().filter_map(|(due, slot)| PairKeys::of(state, slot, due)).collect(),
        }
    }
}

impl PairKeys {
    fn of(state: &State, slot: &Slot, due: Timestamp) -> Option<Self> {
        let mut row = Self { ends: slot.ends()?, due, bars: Vec::new(), current: None, reserve: false };
        for (id, key) in state.slot(slot)?.keys().filter_map(|id| Some((id, state.key(id)?))) {
            match key.state {
                Some(in_use @ (KeyState::Active | KeyState::Rotating)) => row.bars.push((id, in_use, key.since)),
                Some(KeyState::Distributed) => row.reserve = true,
                _ => {}
            }
            if key.state == Some(KeyState::Active) {
                row.current = Some(id);
            }
        }
        Some(row)
    }

    pub(super) fn id(&self) -> String {
        format!("pair-{}", self.ends)
    }

    pub(super) fn name(&self) -> String {
        pair_name(self.ends.a(), self.ends.b())
    }
}

pub(super) fn pair_name(a: &NodeId, b: &NodeId) -> String {
    format!("{a} – {b}")
}

/// Keeps the last scene, so that it is copied from the state only where something changed, and at most once in a
/// while however many ask.
#[derive(Default)]
pub(crate) struct Scenes {
    last: Option<(Arc<Scene>, Instant, Duration)>,
}

impl Scenes {
    /// The last scene, or a new one where it is due; `None` before the first entry.
    pub(crate) fn look(&mut self, look: &Look<'_>) -> Option<Arc<Scene>> {
        if let Some((scene, at, took)) = &self.last {
            let fresh = at.elapsed() < EVERY.max(*took * SHARE);
            if fresh {
                return Some(Arc::clone(scene));
            }
        }
        let start = Instant::now();
        let scene = Arc::new(Scene::of(look)?);
        self.last = Some((Arc::clone(&scene), Instant::now(), start.elapsed()));
        Some(scene)
    }
}

#[cfg(test)]
mod tests {
    use kernel::State;
    use types::Timestamp;

    use super::{Scene, Scenes};
    use crate::log_tree::LogTree;
    use crate::sequencer::Look;

    /// Before its first entry a boundary has nothing to show, and a look at it is no error.
    #[test]
    fn nothing_is_shown_before_the_first_entry() {
        let (state, tree) = (State::default(), LogTree::default());
        let look = Look { state: &state, tree: &tree, now: Timestamp::default(), fault: None };
        assert!(Scene::of(&look).is_none());
        assert!(Scenes::default().look(&look).is_none());
    }
}
