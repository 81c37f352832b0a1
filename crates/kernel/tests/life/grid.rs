//! The whole grid of the key life cycle as a file to read.

use std::path::Path;

use kernel::key::{KeyEvent, Outcome, next};
use types::mesh::KeyState;

/// Compares with a golden file; `UPDATE_GOLDEN=1` writes it.
pub(crate) fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} differs: look at it, then run with UPDATE_GOLDEN=1\n{text}", path.display());
}

/// KM-01, KM-02: every state times every event, as drawn and no other.
#[test]
fn the_grid_is_the_drawn_one() {
    let states: Vec<Option<KeyState>> = std::iter::once(None).chain(KeyState::ALL.iter().copied().map(Some)).collect();
    let mut text = format!("{:22}", "");
    for state in &states {
        text += &format!(" {:12}", state.map_or("(wanted)", KeyState::as_str));
    }
    for event in KeyEvent::ALL {
        text = text.trim_end().to_owned() + "\n" + &format!("{:22}", event.as_str());
        for state in &states {
            let outcome = match next(*state, *event) {
                Outcome::To(to) => to.as_str(),
                Outcome::NoRecord => "(no record)",
                Outcome::Refused => "-",
            };
            text += &format!(" {outcome:12}");
        }
    }
    golden("key-grid.txt", &(text.trim_end().to_owned() + "\n"));
}

/// KM-01: nothing leaves DESTROYED, and DESTROYED can be reached from everywhere.
#[test]
fn every_key_can_end_and_none_comes_back() {
    for event in KeyEvent::ALL {
        assert_eq!(next(Some(KeyState::Destroyed), *event), Outcome::Refused);
    }
    let mut ends = vec![KeyState::Destroyed];
    for _ in KeyState::ALL {
        for state in KeyState::ALL {
            let leads = |event: &KeyEvent| matches!(next(Some(*state), *event), Outcome::To(to) if ends.contains(&to));
            if !ends.contains(state) && KeyEvent::ALL.iter().any(leads) {
                ends.push(*state);
            }
        }
    }
    assert_eq!(ends.len(), KeyState::ALL.len());
}
