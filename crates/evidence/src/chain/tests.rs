use types::Timestamp;

use super::{After, Chain, ChainError, Problem};
use crate::entry::{Entry, Head, Opaque};

/// The bytes of `count` entries, each a millisecond after the one before.
fn log(count: u64) -> Vec<Vec<u8>> {
    let mut head = Head::EMPTY;
    let mut entries = Vec::new();
    for number in 0..count {
        let body = Opaque::new(vec![0x82, 0x01, (number % 24) as u8]).unwrap();
        let entry = head.next(Timestamp::from_millis(1_000 + number), body);
        let sealed = entry.seal().unwrap();
        head = head.after(entry.at, &sealed);
        entries.push(sealed.into_bytes());
    }
    entries
}

fn check(entries: &[Vec<u8>]) -> Result<Chain, ChainError> {
    check_up_to(entries, After::Nothing)
}

fn check_up_to(entries: &[Vec<u8>], end: After<'_>) -> Result<Chain, ChainError> {
    let mut chain = Chain::new();
    for (place, bytes) in entries.iter().enumerate() {
        if let Err(error) = chain.push::<Opaque>(bytes) {
            let after = entries.get(place + 1).map_or(end, |next| After::Entry(next));
            return Err(if error.problem == Problem::BrokenLink { chain.blame(bytes, after) } else { error });
        }
    }
    Ok(chain)
}

/// QT-10: a log as written passes, and can be resumed at any point.
#[test]
fn a_log_as_written_passes() {
    let entries = log(20);
    let whole = check(&entries).unwrap();
    assert_eq!(whole.size(), 20);
    let half = check(&entries[..9]).unwrap();
    let mut resumed = Chain::resume(half.head(), half.frontier().clone()).unwrap();
    for bytes in &entries[9..] {
        resumed.push::<Opaque>(bytes).unwrap();
    }
    assert_eq!((resumed.head(), resumed.root()), (whole.head(), whole.root()));
    assert!(Chain::resume(half.head(), whole.frontier().clone()).is_none());
}

/// QT-10: any altered byte of any entry names that entry; in the last one the root tells.
#[test]
fn an_altered_byte_names_its_entry() {
    let entries = log(6);
    let root = check(&entries).unwrap().root();
    for place in 0..entries.len() {
        for byte in 0..entries[place].len() {
            for change in [0x01, 0x80, 0xff] {
                let mut altered = entries.clone();
                altered[place][byte] ^= change;
                let error = match check_up_to(&altered, After::Root(root)) {
                    Err(error) => error,
                    Ok(mut chain) => chain.confirm(&root).unwrap_err(),
                };
                assert_eq!(error.index, place as u64, "byte {byte} of entry {place} ^ {change:#x}: {error}");
            }
        }
    }
}

/// QT-10: with the last link broken, the signed root tells which of the two last was altered.
#[test]
fn the_root_settles_a_broken_last_link() {
    let entries = log(4);
    let root = check(&entries).unwrap().root();
    let chain = check(&entries[..3]).unwrap();
    let mut link_altered = entries[3].clone();
    link_altered[10] ^= 1;
    assert_eq!(chain.blame(&link_altered, After::Root(root)).index, 3);

    let mut body_altered = entries[2].clone();
    *body_altered.last_mut().unwrap() ^= 1;
    let mut chain = check(&entries[..2]).unwrap();
    chain.push::<Opaque>(&body_altered).unwrap();
    assert_eq!(chain.push::<Opaque>(&entries[3]).unwrap_err().problem, Problem::BrokenLink);
    assert_eq!(chain.blame(&entries[3], After::Root(root)), ChainError { index: 2, problem: Problem::Altered });
}

/// What a confirmed root vouches for is never blamed again.
#[test]
fn a_confirmed_entry_is_not_blamed() {
    let entries = log(4);
    let mut chain = check(&entries[..2]).unwrap();
    let root = chain.root();
    chain.confirm(&root).unwrap();
    let next: Entry<Opaque> = Entry::parse(&entries[2]).unwrap();
    let relinked = Entry { prev: root, ..next }.seal().unwrap();
    assert_eq!(chain.push::<Opaque>(relinked.bytes()).unwrap_err().problem, Problem::BrokenLink);
    assert_eq!(chain.blame(relinked.bytes(), After::Root(root)).index, 2);
}

#[test]
fn entries_left_out_swapped_or_out_of_time_are_named() {
    let entries = log(5);
    let mut left_out = entries.clone();
    left_out.remove(2);
    assert_eq!(check(&left_out).unwrap_err(), ChainError { index: 2, problem: Problem::WrongIndex { found: 3 } });
    let mut swapped = entries.clone();
    swapped.swap(1, 2);
    assert_eq!(check(&swapped).unwrap_err().index, 1);

    let chain = check(&entries).unwrap();
    let early =
        Entry { at: Timestamp::from_millis(1), ..chain.head().next(chain.head().at, Opaque::new(vec![0x80]).unwrap()) };
    let error = chain.clone().push::<Opaque>(early.seal().unwrap().bytes()).unwrap_err();
    assert!(matches!(error.problem, Problem::TimeRunsBack { .. }));
    let long = chain.clone().push::<Opaque>(&vec![0; 65_536]).unwrap_err();
    assert_eq!(long, ChainError { index: 5, problem: Problem::TooLong });
}
