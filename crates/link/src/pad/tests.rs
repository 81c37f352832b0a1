use std::collections::BTreeSet;

use proptest::prelude::*;
use qkd::{Cursor, PoolError, Side};
use session::mesh::PadRange;

use super::{PadError, SHARE_A, Shelf};

/// One durable end: what a crash leaves is the last cursor that was stored.
struct End {
    shelf: Shelf,
    side: Side,
    stored: Vec<u8>,
}

impl End {
    fn new(side: Side) -> Self {
        Self { shelf: Shelf::new(side, Cursor::default()), side, stored: Cursor::default().to_bytes() }
    }

    fn crash(&mut self) {
        self.shelf = Shelf::new(self.side, Cursor::from_bytes(&self.stored).unwrap());
    }
}

#[derive(Debug, Clone)]
enum Act {
    Block(u16),
    Draw { by_a: bool, len: u8, crash: u8 },
    Restart { a: bool },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        2 => (200..2_000_u16).prop_map(Act::Block),
        6 => (any::<bool>(), 1..=255_u8, 0..8_u8).prop_map(|(by_a, len, crash)| Act::Draw { by_a, len, crash }),
        1 => any::<bool>().prop_map(|a| Act::Restart { a }),
    ];
    prop::collection::vec(act, 1..60)
}

/// What the hello of a new session does.
fn meet(a: &mut End, b: &mut End) {
    let common: Vec<_> = a.shelf.blocks().into_iter().filter(|block| b.shelf.blocks().contains(block)).collect();
    a.shelf.keep_only(&common);
    b.shelf.keep_only(&common);
}

fn bytes_of(block: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (block as usize * 131 + at * 7) as u8).collect()
}

proptest! {
    /// KM-09, SM-06b: over any history of blocks, draws by either end, crashes before and after the
    /// cursor is stored, and restarts, both ends get equal bits for a range, no bit is given out
    /// twice at either end, and the names of a drawer's ranges only grow.
    #[test]
    fn no_bit_is_ever_used_twice(acts in acts()) {
        let (mut a, mut b) = (End::new(Side::A), End::new(Side::B));
        // (life of the block, offset of the byte): a block made again under an old number is another block
        let mut used = [BTreeSet::new(), BTreeSet::new()];
        let mut last = [None, None];
        let mut lives = 0_u64;
        for act in acts {
            match act {
                Act::Block(len) => {
                    let number = a.shelf.next_block().max(b.shelf.next_block());
                    lives += 1;
                    let bytes = bytes_of(lives, usize::from(len));
                    a.shelf.append(number, &bytes).unwrap();
                    b.shelf.append(number, &bytes).unwrap();
                }
                Act::Draw { by_a, len, crash } => {
                    let (from, to) = if by_a { (&mut a, &mut b) } else { (&mut b, &mut a) };
                    let claim = match from.shelf.reserve(usize::from(len)) {
                        Ok(claim) => claim,
                        Err(PoolError::Dry { .. }) => continue,
                        Err(error) => panic!("{error}"),
                    };
                    if crash == 0 {
                        // before the cursor is stored, nothing was given out
                        from.crash();
                        meet(&mut a, &mut b);
                        continue;
                    }
                    from.stored = claim.cursor.clone();
                    let bits = from.shelf.redeem(&claim).unwrap();
                    let wire = Shelf::to_wire(&claim.range).unwrap();
                    prop_assert!(last[usize::from(by_a)] < Some(wire.offset), "names only grow");
                    last[usize::from(by_a)] = Some(wire.offset + wire.len - 8);
                    for segment in claim.range.segments() {
                        for at in segment.start..segment.start + segment.len {
                            prop_assert!(used[usize::from(by_a)].insert((segment.block, at)), "bit drawn twice");
                        }
                    }
                    if crash == 1 {
                        from.crash();
                        meet(&mut a, &mut b);
                        continue;
                    }
                    let native = to.shelf.resolve(wire).unwrap();
                    prop_assert_eq!(&native, &claim.range);
                    let taken = to.shelf.accept(native.clone()).unwrap();
                    to.stored = taken.cursor.clone();
                    if crash == 2 {
                        to.crash();
                        let again = to.shelf.accept(native);
                        prop_assert!(again.is_err());
                        meet(&mut a, &mut b);
                        continue;
                    }
                    let theirs = to.shelf.redeem(&taken).unwrap();
                    prop_assert_eq!(bits.expose(), theirs.expose());
                    let again = to.shelf.resolve(wire).and_then(|range| Ok(to.shelf.accept(range)?));
                    prop_assert!(again.is_err(), "a range is accepted once");
                }
                Act::Restart { a: first } => {
                    if first { a.crash() } else { b.crash() }
                    meet(&mut a, &mut b);
                }
            }
        }
    }
}

/// SM-02: ranges that no honest drawer names are refused and change nothing.
#[test]
fn a_lying_peer_draws_nothing() {
    let mut b = End::new(Side::B);
    b.shelf.append(3, &bytes_of(3, 1_000)).unwrap();
    let at = |byte: u64, len: u64| PadRange { offset: (3 << 27) + 8 * byte, len };
    let split = 1_000 * u64::from(SHARE_A) / 100;
    let past = [at(0, 8 * (split + 1)), at(split, 8), at(split + 20, 8)];
    let lies = [at(0, 0), at(0, 7), PadRange { offset: 4, len: 8 }].into_iter().chain(past);
    for lie in lies {
        assert!(b.shelf.resolve(lie).and_then(|range| Ok(b.shelf.accept(range)?)).is_err(), "{lie:?}");
    }
    let unknown = b.shelf.resolve(PadRange { offset: 2 << 27, len: 8 });
    assert!(matches!(unknown, Err(PadError::Pool(PoolError::UnknownBlock(2)))));
    assert!(b.shelf.resolve(at(0, 8 * split)).is_ok());
}
