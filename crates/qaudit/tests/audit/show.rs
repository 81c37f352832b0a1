use kernel::State;
use kernel::record::Record;
use qaudit::{Exit, show};

use crate::boundary::Boundary;

/// QT-12: the state as of any entry is the fold of the log up to it.
#[test]
fn the_state_as_of_any_entry_is_shown() {
    let boundary = Boundary::lived();
    let bytes = boundary.bundle();
    let mut state = State::default();
    for (index, (at, body)) in (0..).zip(&boundary.entries) {
        state.commit(body, *at);
        let shown = show(bytes.as_slice(), index).unwrap();
        assert_eq!((shown.index, shown.at, &shown.body), (index, *at, body));
        assert_eq!((shown.state.hash, shown.state.log.size), (state.hash(), index + 1));
    }
    let before = boundary.find(|record| matches!(record, Record::AssistedSet { .. }));
    assert!(!show(bytes.as_slice(), before - 1).unwrap().state.status.assisted);
    assert!(show(bytes.as_slice(), before).unwrap().state.status.assisted);
}

#[test]
fn an_entry_that_is_not_there_is_not_shown() {
    let boundary = Boundary::lived();
    let bytes = boundary.bundle();
    let failure = show(bytes.as_slice(), 1_000).unwrap_err();
    assert_eq!(failure.exit(), Exit::Unreadable);
    assert!(failure.to_string().contains(&boundary.entries.len().to_string()));
    let mut altered = bytes.clone();
    altered[60] ^= 1;
    assert_eq!(show(altered.as_slice(), 5).unwrap_err().exit(), Exit::Tampered);
}
