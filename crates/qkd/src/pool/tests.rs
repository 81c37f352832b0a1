use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Cursor, PadRange, Pool, PoolError, Side};

fn filled(side: Side, blocks: u64) -> Pool {
    let mut pool = Pool::new(side, 50);
    (0..blocks).for_each(|block| pool.append(block, &content(block)).unwrap());
    pool
}

/// Bytes that say where they come from.
fn content(block: u64) -> Vec<u8> {
    (0..100_u8).map(|i| i ^ (block as u8).wrapping_mul(37)).collect()
}

fn settle(pool: &mut Pool) {
    let (version, _) = pool.cursor();
    pool.durable(version);
}

#[test]
fn both_ends_take_the_same_bits_once() {
    let (mut a, mut b) = (filled(Side::A, 3), filled(Side::B, 3));
    assert_eq!((a.available(), a.peer_available()), (150, 150));
    let range = a.reserve(70).unwrap();
    assert_eq!(a.take(&range), Err(PoolError::NotDurable));
    settle(&mut a);
    let bits = a.take(&range).unwrap();
    assert_eq!(a.take(&range), Err(PoolError::NotPending));
    let named = PadRange::from_bytes(&range.to_bytes()).unwrap();
    b.accept(&named).unwrap();
    assert_eq!(b.accept(&named), Err(PoolError::Used));
    assert_eq!(b.take(&named), Err(PoolError::NotDurable));
    settle(&mut b);
    assert_eq!(b.take(&named).unwrap(), bits);
    assert_eq!(b.accept(&range), Err(PoolError::Used));
    assert_eq!(a.accept(&range), Err(PoolError::NotTheirs));
    assert!(matches!(a.reserve(81), Err(PoolError::Dry { left: 80, wanted: 81 })));
}

#[test]
fn unknown_blocks_and_bad_blocks_are_refused() {
    let (mut a, mut b) = (filled(Side::A, 2), filled(Side::B, 1));
    let range = a.reserve(60).unwrap();
    assert_eq!(b.accept(&range), Err(PoolError::UnknownBlock(1)));
    assert_eq!(b.peer_available(), 50, "a refused range changes nothing");
    assert_eq!(b.append(0, &[1]), Err(PoolError::BadBlock(0)));
    assert_eq!(b.append(5, &[]), Err(PoolError::BadBlock(5)));
    a.forget(1);
    assert_eq!(a.take(&range), Err(PoolError::NotPending));
    assert_eq!(a.drain_retired(), [1]);
}

#[derive(Debug, Clone)]
enum Act {
    Append,
    Reserve(usize),
    Accept,
    Persist,
    Take,
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Append),
        4 => (1_usize..60).prop_map(Act::Reserve),
        4 => Just(Act::Accept),
        3 => Just(Act::Persist),
        4 => Just(Act::Take),
        1 => Just(Act::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// No byte of a block is ever handed out twice, whatever is lost in a crash. The peer's
    /// ranges arrive late and out of order.
    #[test]
    fn no_bit_is_handed_out_twice_across_crashes(acts in prop::collection::vec(act(), 1..120), pick: u64) {
        let mut pool = Pool::new(Side::A, 50);
        let mut peer = Pool::new(Side::B, 50);
        let (mut stored_cursor, mut stored_blocks) = (Cursor::default().to_bytes(), Vec::<u64>::new());
        let (mut waiting, mut in_flight): (Vec<PadRange>, Vec<PadRange>) = (vec![], vec![]);
        let mut seen = BTreeSet::new();
        for (i, act) in acts.into_iter().enumerate() {
            match act {
                Act::Append => {
                    let block = pool.next_block().max(peer.next_block());
                    stored_blocks.push(block);
                    pool.append(block, &content(block)).unwrap();
                    peer.append(block, &content(block)).unwrap();
                }
                Act::Reserve(len) => {
                    waiting.extend(pool.reserve(len));
                    in_flight.extend(peer.reserve(len / 2 + 1));
                }
                Act::Accept if !in_flight.is_empty() => {
                    let range = in_flight.swap_remove(pick as usize % in_flight.len());
                    if pool.accept(&range).is_ok() {
                        waiting.push(range.clone());
                    }
                    prop_assert!(pool.accept(&range).is_err());
                }
                Act::Accept => {}
                Act::Persist => {
                    let (version, cursor) = pool.cursor();
                    stored_cursor = cursor.to_bytes();
                    pool.durable(version);
                }
                Act::Take if !waiting.is_empty() => {
                    let at = (pick as usize + i) % waiting.len();
                    if let Ok(bits) = pool.take(&waiting[at]) {
                        let range = waiting.swap_remove(at);
                        let named = range.segments().iter().flat_map(|s| (s.start..s.start + s.len).map(|o| (s.block, o)));
                        for ((block, offset), byte) in named.zip(bits.iter()) {
                            prop_assert!(seen.insert((block, offset)), "twice: {block}/{offset}");
                            prop_assert_eq!(*byte, content(block)[offset as usize]);
                        }
                        prop_assert!(pool.take(&range).is_err());
                    }
                }
                Act::Take => {}
                Act::Crash => {
                    pool = Pool::restore(Side::A, 50, Cursor::from_bytes(&stored_cursor).unwrap());
                    stored_blocks.iter().for_each(|&block| pool.append(block, &content(block)).unwrap());
                }
            }
        }
    }

    /// A cursor has one byte form.
    #[test]
    fn parsers_take_only_what_writers_write(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(cursor) = Cursor::from_bytes(&bytes) {
            prop_assert_eq!(cursor.to_bytes(), bytes.clone());
        }
        if let Ok(range) = PadRange::from_bytes(&bytes) {
            prop_assert_eq!(range.to_bytes(), bytes);
        }
    }
}
