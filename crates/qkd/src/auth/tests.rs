use super::{HashKey, PAD_LEN_PER_BLOCK, TAG_LEN, TAGS_PER_BLOCK, TagKeys, Transcript};
use crate::params::LinkParams;
use crate::pool::{PadRange, Pool, PoolError, Side};
use crate::seeded::{Bench, Seeded, tag_keys};
use crate::{Alice, Bob, Offer, Purpose, Step};

#[test]
fn both_ends_agree_and_any_flipped_bit_is_noticed() {
    for bit in 0..(40 * 8) {
        let (mut alice, mut bob) = (Transcript::new(tag_keys(7)), Transcript::new(tag_keys(7)));
        let message = [0x5a; 40];
        alice.add(true, &message);
        let tag = alice.tag().unwrap();
        let mut changed = message;
        changed[bit / 8] ^= 1 << (bit % 8);
        bob.add(true, &changed);
        assert!(bob.check(&tag).is_err());
    }
}

#[test]
fn a_forged_tag_a_moved_border_and_a_turned_direction_are_noticed() {
    let tag_of = |parts: &[(bool, &[u8])]| {
        let mut transcript = Transcript::new(tag_keys(1));
        parts.iter().for_each(|(from_alice, bytes)| transcript.add(*from_alice, bytes));
        transcript.tag().unwrap()
    };
    let honest = tag_of(&[(true, b"ab"), (false, b"c")]);
    assert_eq!(honest, tag_of(&[(true, b"ab"), (false, b"c")]));
    assert_ne!(honest, tag_of(&[(true, b"a"), (false, b"bc")]));
    assert_ne!(honest, tag_of(&[(false, b"ab"), (true, b"c")]));
    assert_ne!(honest, tag_of(&[(true, b"ab"), (false, b"c\0")]));
    let mut transcript = Transcript::new(tag_keys(1));
    transcript.add(true, b"ab");
    for bit in 0..TAG_LEN * 8 {
        let mut transcript = Transcript::new(tag_keys(1));
        transcript.add(true, b"ab");
        transcript.add(false, b"c");
        let mut forged = honest;
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(transcript.check(&forged).is_err());
    }
}

/// A tag seen for one message does not help to forge another: over many keys, shifting the tag by
/// the difference for a guessed hash key never fits.
#[test]
fn a_tag_does_not_carry_over_to_another_message() {
    let mut rng = Seeded::new(3);
    for seed in 0..2_000 {
        let (mut honest, mut victim) = (Transcript::new(tag_keys(seed)), Transcript::new(tag_keys(seed)));
        honest.add(true, b"qber 20%");
        victim.add(true, b"qber  1%");
        let mut tag = honest.tag().unwrap();
        let mut guess = crate::field::PolyHash::new(u128::from(rng.word()) << 64 | u128::from(rng.word()));
        let mut other = guess.clone();
        guess.piece(1, b"qber 20%");
        other.piece(1, b"qber  1%");
        let shift = (guess.value() ^ other.value()).to_le_bytes();
        tag.iter_mut().zip(shift).for_each(|(t, s)| *t ^= s);
        assert!(victim.check(&tag).is_err());
    }
}

#[test]
fn pads_run_out_and_are_never_used_twice() {
    let mut transcript = Transcript::new(tag_keys(2));
    transcript.add(true, b"same");
    let tags: std::collections::BTreeSet<_> = (0..TAGS_PER_BLOCK).map(|_| transcript.tag().unwrap()).collect();
    assert_eq!(tags.len(), TAGS_PER_BLOCK);
    assert!(transcript.tag().is_none());
    assert!(transcript.check(&[0; TAG_LEN]).is_err());
}

/// One end of a link's authentication: its hash key and its pool.
struct Keeper {
    hash: HashKey,
    pool: Pool,
}

impl Keeper {
    fn new(side: Side, material: &[u8]) -> Self {
        let mut pool = Pool::new(side, 50);
        pool.append(0, material).unwrap();
        Self { hash: HashKey::new(&[0x3c; 16]), pool }
    }

    /// The keys of one block, from a range this end drew or the peer named.
    fn keys(&mut self, range: &PadRange) -> TagKeys {
        let version = self.pool.cursor().0;
        self.pool.durable(version);
        let pads = self.pool.take(range).unwrap();
        TagKeys::new(&self.hash, pads.as_slice().try_into().unwrap())
    }
}

/// KM-09: the hash key is recycled for the life of a link and the pads are not: by the pool's own
/// books, each block costs its five pads, 640 bits, at both ends, whether it ends in a key or not;
/// no byte serves twice, and a dry pool ends it.
#[test]
fn a_block_costs_five_pads_by_the_books_of_the_pool() {
    let material: Vec<u8> = (0..2 * PAD_LEN_PER_BLOCK * 6).map(|i| (i * 37 % 251) as u8).collect();
    let (mut at_a, mut at_b) = (Keeper::new(Side::A, &material), Keeper::new(Side::B, &material));
    let mut params = LinkParams { frame_pulses: 5_000, ..LinkParams::default() };
    (params.block.clicks, params.block.eps_sec, params.block.min_test_bits) = (8_000, 1e-6, 100);
    let mut bench = Bench::new(params.clone(), 4);
    let mut used = std::collections::BTreeSet::new();
    let (mut rng, mut kept) = (Seeded::new(8), 0);
    for block in 0..6 {
        let before = (at_b.pool.available(), at_a.pool.peer_available());
        let range = at_b.pool.reserve(PAD_LEN_PER_BLOCK).unwrap();
        let bytes = range.segments().iter().flat_map(|s| (s.start..s.start + s.len).map(|at| (s.block, at)));
        bytes.for_each(|byte| assert!(used.insert(byte), "{byte:?} serves twice"));
        bench.shine();
        let detections = bench.detector.take(params.block.clicks as usize).unwrap();
        let keys = at_b.keys(&range);
        let (mut bob, first) =
            Bob::start(&params.block, block, Purpose::Key, detections, &range.to_bytes(), keys).unwrap();
        let offer = Offer::parse(&first).unwrap();
        let named = PadRange::from_bytes(offer.pads()).unwrap();
        at_a.pool.accept(&named).unwrap();
        assert!(at_a.pool.accept(&named).is_err());
        let keys = at_a.keys(&named);
        let (mut alice, mut message) = Alice::accept(&params.block, offer, keys, &mut bench.sender).unwrap();
        // every other block is spoilt on its way
        let spoilt = block % 2 == 1;
        loop {
            if spoilt {
                message[20] ^= 1;
            }
            message = match bob.handle(&message) {
                Ok(Step::Reply(reply)) => reply,
                Ok(Step::Finished { outcome, .. }) => {
                    assert_eq!(outcome.stats.tag_bits as usize, PAD_LEN_PER_BLOCK * 8);
                    kept += 1;
                    break;
                }
                end => {
                    assert!(spoilt, "{end:?}");
                    break;
                }
            };
            let Ok(Step::Reply(reply)) = alice.handle(&message, &mut rng) else { break };
            message = reply;
        }
        let after = (at_b.pool.available(), at_a.pool.peer_available());
        assert_eq!((before.0 - after.0, before.1 - after.1), (PAD_LEN_PER_BLOCK, PAD_LEN_PER_BLOCK));
    }
    assert_eq!((kept, used.len()), (3, 6 * PAD_LEN_PER_BLOCK));
    assert!(matches!(at_b.pool.reserve(1), Err(PoolError::Dry { left: 0, .. })));
}
