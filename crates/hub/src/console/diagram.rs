//! The life of keys and the timing of their rotation, drawn from the live state (KM-15).

use std::collections::BTreeMap;

use kernel::State;
use kernel::key::{KeyEvent, Outcome, next};
use kernel::state::keys::{Key, Slot};
use maud::{Markup, html};
use types::mesh::{KeyState, KeyType};
use types::{KeyId, Millis, Timestamp};

/// Pairs whose rotation is drawn, those due first.
const ROWS: usize = 28;

/// Half of a box, in units of the drawing.
const BOX: (f64, f64) = (62.0, 22.0);

/// Where a state is drawn: its middle.
const fn place(state: KeyState) -> (f64, f64) {
    match state {
        KeyState::Generated => (70.0, 30.0),
        KeyState::Distributed => (225.0, 30.0),
        KeyState::Active => (380.0, 30.0),
        KeyState::Rotating => (535.0, 30.0),
        KeyState::Retired => (690.0, 30.0),
        KeyState::Revoked => (457.0, 110.0),
        KeyState::Destroyed => (380.0, 190.0),
    }
}

/// Every transition the kernel knows, with the events that lead along it.
fn transitions() -> BTreeMap<(KeyState, KeyState), Vec<&'static str>> {
    let mut drawn: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for from in KeyState::ALL {
        for event in KeyEvent::ALL {
            if let Outcome::To(to) = next(Some(*from), *event) {
                drawn.entry((*from, to)).or_default().push(event.as_str());
            }
        }
    }
    drawn
}

/// The point where the line towards `to` leaves the box around `from`.
fn edge_of_box(from: (f64, f64), to: (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let reach = |half: f64, along: f64| if along == 0.0 { f64::INFINITY } else { half / along.abs() };
    let part = reach(BOX.0, dx).min(reach(BOX.1, dy));
    (from.0 + dx * part, from.1 + dy * part)
}

/// The life cycle, with how many keys are in each state now.
pub(super) fn life(counts: &BTreeMap<KeyState, u64>) -> Markup {
    html! {
        svg.cycle viewBox="0 0 760 220" role="img" aria-label="life cycle of keys, with the number of keys in each state" {
            defs {
                marker #arrow viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto" {
                    path d="M0 0 L8 4 L0 8 z" {}
                }
            }
            @for ((from, to), events) in transitions() {
                @let (x1, y1) = edge_of_box(place(from), place(to));
                @let (x2, y2) = edge_of_box(place(to), place(from));
                line x1=(units(x1)) y1=(units(y1)) x2=(units(x2)) y2=(units(y2)) marker-end="url(#arrow)" {
                    title { (from) " to " (to) ": " (events.join(", ")) }
                }
            }
            @for state in KeyState::ALL {
                @let (x, y) = place(*state);
                g {
                    rect x=(units(x - BOX.0)) y=(units(y - BOX.1)) width=(units(2.0 * BOX.0)) height=(units(2.0 * BOX.1)) rx="6" {}
                    text.count x=(units(x)) y=(units(y - 2.0)) { (counts.get(state).copied().unwrap_or(0)) }
                    text x=(units(x)) y=(units(y + 14.0)) { (state) }
                }
            }
        }
    }
}

/// One pair's keys in time.
struct Row<'a> {
    slot: &'a Slot,
    due: Timestamp,
    keys: Vec<(KeyId, &'a Key)>,
}

/// When each pair's key came into use, which key it replaces, and when it is due.
pub(super) fn rotation(state: &State) -> Markup {
    let (Some(settings), now) = (state.settings(), state.clock()) else { return html! {} };
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (slot, succession) in state.slots().iter().filter(|(slot, _)| slot.key_type() == KeyType::MeshSession) {
        let keys: Vec<_> = succession.keys().filter_map(|id| Some((id, state.key(id)?))).collect();
        let since = state.current(slot).map(|(_, key)| key.since);
        rows.extend(since.map(|since| Row { slot, due: since + settings.refresh, keys }));
    }
    let pairs = rows.len();
    rows.sort_by_key(|row| row.due);
    let scale = Scale { now, span: settings.refresh };
    html! {
        h2 { "Rotation of pair keys" }
        p.dim {
            "One refresh interval (" (settings.refresh) ") before and after now; keys in use "
            span.ok { "■" } ", replaced and still valid " span.warn { "■" } ", due " span.bad { "|" }
            @if pairs > ROWS { " · " (ROWS) " of " (pairs) " pairs, those due first" }
        }
        div.timing { @for row in rows.iter().take(ROWS) { (timing(row, &scale)) } }
    }
}

fn timing(row: &Row<'_>, scale: &Scale) -> Markup {
    let name = row.slot.ends().map(|ends| format!("{} – {}", ends.a(), ends.b())).unwrap_or_default();
    let current = row.keys.iter().find(|(_, key)| key.state == Some(KeyState::Active));
    let reserve = row.keys.iter().any(|(_, key)| key.state == Some(KeyState::Distributed));
    html! {
        div {
            span { (name) }
            svg viewBox="0 0 200 12" preserveAspectRatio="none" role="img" aria-label=(format!("rotation of {name}")) {
                @for (id, key) in &row.keys {
                    @if let Some(class) = bar_class(key.state) {
                        @let from = scale.at(key.since);
                        rect class=(class) x=(units(from)) y="2" width=(units((100.0 - from).max(0.0))) height="8" {
                            title { "key " (id) " " (class) " since " (super::time_of_day(key.since)) }
                        }
                    }
                }
                line.due x1=(units(scale.at(row.due))) x2=(units(scale.at(row.due))) y1="0" y2="12" {}
                line.now x1="100" x2="100" y1="0" y2="12" {}
            }
            span.dim {
                @if let Some((id, _)) = current { "key " (id) } @else { "replaced" }
                @if reserve { ", next in reserve" }
            }
        }
    }
}

fn bar_class(state: Option<KeyState>) -> Option<&'static str> {
    match state? {
        KeyState::Active => Some("active"),
        KeyState::Rotating => Some("rotating"),
        KeyState::Generated | KeyState::Distributed | KeyState::Retired | KeyState::Revoked | KeyState::Destroyed => {
            None
        }
    }
}

/// One refresh interval before now is 0, now is 100, one after is 200.
struct Scale {
    now: Timestamp,
    span: Millis,
}

impl Scale {
    fn at(&self, when: Timestamp) -> f64 {
        let (now, when) = (self.now.as_millis() as f64, when.as_millis() as f64);
        let span = (self.span.get() as f64).max(1.0);
        (100.0 + 100.0 * (when - now) / span).clamp(0.0, 200.0)
    }
}

fn units(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use types::{Millis, Timestamp};

    use super::{KeyState, Scale, edge_of_box, life, transitions};

    /// KM-01, KM-15: every transition of the kernel is drawn, and no other.
    #[test]
    fn the_drawing_has_every_transition() {
        let drawn = life(&[(KeyState::Active, 17)].into()).into_string();
        assert_eq!(drawn.matches("marker-end").count(), transitions().len());
        assert_eq!(transitions().len(), 10);
        assert!(drawn.contains(">17<") && drawn.contains("ACTIVE to REVOKED: compromise"));
    }

    #[test]
    fn lines_begin_at_the_edge_of_a_box() {
        assert_eq!(edge_of_box((0.0, 0.0), (620.0, 0.0)), (62.0, 0.0));
        assert_eq!(edge_of_box((0.0, 0.0), (0.0, -220.0)), (0.0, -22.0));
    }

    #[test]
    fn time_is_drawn_to_scale() {
        let scale = Scale { now: Timestamp::from_millis(10_000), span: Millis::from_secs(4) };
        let at = |ms| scale.at(Timestamp::from_millis(ms));
        assert_eq!(
            [at(0), at(6_000), at(8_000), at(10_000), at(12_000), at(99_000)],
            [0.0, 0.0, 50.0, 100.0, 150.0, 200.0]
        );
    }
}
