//! The life of keys and the timing of their rotation, drawn from the live state (KM-15).

use std::collections::BTreeMap;

use kernel::key::{KeyEvent, Outcome, next};
use maud::{Markup, html};
use types::mesh::KeyState;
use types::{Millis, Timestamp};

use super::scene::{PAIRS, PairKeys, Rotation};
use super::section::{Row, Section, rows};

/// Half of a box, in units of the drawing.
const BOX: (f64, f64) = (62.0, 22.0);

/// A drawing of the life of keys: one lies along a wide page, the other stands on a narrow one, so that its words
/// can be read on both.
struct Drawing {
    class: &'static str,
    size: (f64, f64),
    /// Where a state is drawn: its middle.
    place: fn(KeyState) -> (f64, f64),
}

const LYING: Drawing = Drawing { class: "lying", size: (760.0, 220.0), place: lying };
const STANDING: Drawing = Drawing { class: "standing", size: (318.0, 330.0), place: standing };

const fn lying(state: KeyState) -> (f64, f64) {
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

const fn standing(state: KeyState) -> (f64, f64) {
    match state {
        KeyState::Generated => (66.0, 25.0),
        KeyState::Distributed => (66.0, 95.0),
        KeyState::Active => (66.0, 165.0),
        KeyState::Rotating => (66.0, 235.0),
        KeyState::Retired => (66.0, 305.0),
        KeyState::Revoked => (252.0, 150.0),
        KeyState::Destroyed => (252.0, 305.0),
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
    html! { h2 { "Life of keys" } (draw(&LYING, counts)) (draw(&STANDING, counts)) }
}

fn draw(drawing: &Drawing, counts: &BTreeMap<KeyState, u64>) -> Markup {
    let (arrow, (width, height), place) = (format!("arrow-{}", drawing.class), drawing.size, drawing.place);
    html! {
        svg class=(format!("cycle {}", drawing.class)) viewBox=(format!("0 0 {width} {height}")) role="img"
            aria-label="life cycle of keys, with the number of keys in each state" {
            defs {
                marker id=(arrow) viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto" {
                    path d="M0 0 L8 4 L0 8 z" {}
                }
            }
            @for ((from, to), events) in transitions() {
                @let (x1, y1) = edge_of_box(place(from), place(to));
                @let (x2, y2) = edge_of_box(place(to), place(from));
                line x1=(units(x1)) y1=(units(y1)) x2=(units(x2)) y2=(units(y2)) marker-end=(format!("url(#{arrow})")) {
                    title { (from) " to " (to) ": " (events.join(", ")) }
                }
            }
            @for state in KeyState::ALL {
                @let (x, y) = place(*state);
                g {
                    rect x=(units(x - BOX.0)) y=(units(y - BOX.1)) width=(units(2.0 * BOX.0)) height=(units(2.0 * BOX.1)) rx="6" {}
                    text.count x=(units(x)) y=(units(y - 2.0)) { (counts.get(state).copied().unwrap_or(0)) }
                    text x=(units(x)) y=(units(y + 15.0)) { (state) }
                }
            }
        }
    }
}

/// When each pair's key came into use, which key it replaces, and when it is due.
pub(super) fn rotation(rotation: &Rotation, now: Timestamp) -> Section {
    let scale = Scale::new(now, rotation.span);
    let content = html! {
        h2 { "Rotation of pair keys" }
        p.dim {
            "One refresh interval (" (rotation.span) ") before and after now; keys in use "
            span.ok { "■" } ", replaced and still valid " span.warn { "■" } ", due " span.bad { "|" }
            @if rotation.pairs > PAIRS { " · " (PAIRS) " of " (rotation.pairs) " pairs, those due first" }
        }
        div.timing { (rows()) }
    };
    Section::new("rotation", true, &content, rotation.rows.iter().map(|row| timing(row, &scale)).collect())
}

fn timing(row: &PairKeys, scale: &Scale) -> Row {
    let name = row.name();
    let element = html! {
        div id=(row.id()) {
            span { (name) }
            svg viewBox="0 0 200 12" preserveAspectRatio="none" role="img" aria-label=(format!("rotation of {name}")) {
                @for (id, state, since) in &row.bars {
                    @let from = scale.at(*since);
                    @let class = bar_class(*state);
                    rect class=(class) x=(units(from)) y="2" width=(units((100.0 - from).max(0.0))) height="8" {
                        title { "key " (id) " " (class) " since " (super::time_of_day(*since)) }
                    }
                }
                line.due x1=(units(scale.at(row.due))) x2=(units(scale.at(row.due))) y1="0" y2="12" {}
                line.now x1="100" x2="100" y1="0" y2="12" {}
            }
            span.dim {
                @if let Some(id) = row.current { "key " (id) } @else { "replaced" }
                @if row.reserve { ", next in reserve" }
            }
        }
    };
    Row::new(row.id(), element)
}

fn bar_class(state: KeyState) -> &'static str {
    if state == KeyState::Active { "active" } else { "rotating" }
}

/// One refresh interval before now is 0, now is 100, one after is 200.
struct Scale {
    now: Timestamp,
    span: Millis,
}

impl Scale {
    /// Now in steps of a hundredth of the interval: finer than that nobody sees, and each step is sent.
    fn new(now: Timestamp, span: Millis) -> Self {
        let step = (span.get() / 100).max(1);
        Self { now: Timestamp::from_millis(now.as_millis() / step * step), span }
    }

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

    use super::{BOX, KeyState, LYING, STANDING, Scale, draw, edge_of_box, transitions};

    /// KM-01, KM-15: every transition of the kernel is drawn, and no other.
    #[test]
    fn the_drawing_has_every_transition() {
        assert_eq!(transitions().len(), 10);
        for drawing in [LYING, STANDING] {
            let drawn = draw(&drawing, &[(KeyState::Active, 17)].into()).into_string();
            assert_eq!(drawn.matches("marker-end").count(), transitions().len());
            assert!(drawn.contains(">17<") && drawn.contains("ACTIVE to REVOKED: compromise"));
        }
    }

    #[test]
    fn every_box_is_whole_and_on_its_own() {
        for drawing in [LYING, STANDING] {
            for (at, state) in KeyState::ALL.iter().enumerate() {
                let (x, y) = (drawing.place)(*state);
                assert!(x >= BOX.0 && x + BOX.0 <= drawing.size.0 && y >= BOX.1 && y + BOX.1 <= drawing.size.1);
                for other in &KeyState::ALL[..at] {
                    let (there_x, there_y) = (drawing.place)(*other);
                    assert!((x - there_x).abs() > 2.0 * BOX.0 || (y - there_y).abs() > 2.0 * BOX.1);
                }
            }
        }
    }

    #[test]
    fn lines_begin_at_the_edge_of_a_box() {
        assert_eq!(edge_of_box((0.0, 0.0), (620.0, 0.0)), (62.0, 0.0));
        assert_eq!(edge_of_box((0.0, 0.0), (0.0, -220.0)), (0.0, -22.0));
    }

    #[test]
    fn time_is_drawn_to_scale() {
        let scale = Scale::new(Timestamp::from_millis(10_039), Millis::from_secs(4));
        let at = |ms| scale.at(Timestamp::from_millis(ms));
        assert_eq!(
            [at(0), at(6_000), at(8_000), at(10_000), at(12_000), at(99_000)],
            [0.0, 0.0, 50.0, 100.0, 150.0, 200.0]
        );
    }
}
