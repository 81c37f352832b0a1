use proptest::prelude::*;

use super::{Plan, Reconciliation};
use crate::bits::Bits;
use crate::block::AbortReason;
use crate::params::{BlockParams, LinkParams};
use crate::seeded::{Bench, Fault, Seeded, tag_keys};
use crate::wire::Reader;
use crate::{Alice, BlockAbort, Bob, Offer, Purpose, Step};

const BOTH: [Reconciliation; 2] = [Reconciliation::Cascade, Reconciliation::Ldpc];

fn params(reconciliation: Reconciliation) -> LinkParams {
    let mut params = LinkParams { frame_pulses: 5_000, ..LinkParams::default() };
    params.block.clicks = 8_000;
    params.block.eps_sec = 1e-6;
    params.block.min_test_bits = 100;
    params.block.reconciliation = reconciliation;
    params
}

fn random(n: usize, rng: &mut Seeded) -> Bits {
    Bits::from_words((0..n.div_ceil(64)).map(|_| rng.word()).collect(), n)
}

/// KM-09: both methods end in equal keys and equal figures; what is told is what is counted.
#[test]
fn both_methods_give_equal_keys_and_report_what_they_cost() {
    for method in BOTH {
        let mut params = LinkParams::default();
        params.block.reconciliation = method;
        let (alice, bob) = Bench::new(params, 5).block(1, |_| Fault::None);
        let (alice, bob) = (alice.unwrap(), bob.unwrap());
        assert_eq!(*alice.key.expose_bytes(), *bob.key.expose_bytes());
        assert_eq!(alice.stats, bob.stats);
        let stats = alice.stats;
        println!("{method:?}: {stats:?}");
        assert!(stats.leaked_bits > 0, "{stats:?}");
        match method {
            Reconciliation::Cascade => {
                assert!(stats.frames > 1 && stats.frame_failures == 0);
                assert!((2_000..2_500).contains(&stats.efficiency_milli), "both ends tell: {stats:?}");
            }
            Reconciliation::Ldpc => {
                assert!((1_000..1_500).contains(&stats.efficiency_milli), "{stats:?}");
                assert_eq!((stats.frames, stats.frame_failures + 1), (1, stats.round_trips));
                assert!(stats.round_trips <= 6, "{stats:?}");
            }
        }
    }
}

/// The parities that Alice tells and all else that Bob says, of a block run to its end.
fn overheard(params: &LinkParams) -> (u64, Vec<Vec<u8>>, crate::BlockStats) {
    let mut bench = Bench::new(params.clone(), 5);
    bench.shine();
    let detections = bench.detector.take(params.block.clicks as usize).unwrap();
    let mut rng = Seeded::new(5);
    let (mut bob, first) = Bob::start(&params.block, 1, Purpose::Key, detections, b"", tag_keys(1)).unwrap();
    let offer = Offer::parse(&first).unwrap();
    let (mut alice, mut message) = Alice::accept(&params.block, offer, tag_keys(1), &mut bench.sender).unwrap();
    let (mut told, mut said) = (0, Vec::new());
    loop {
        let reply = match bob.handle(&message).unwrap() {
            Step::Reply(reply) => reply,
            Step::Finished { reply, .. } => reply.unwrap(),
            Step::Ignored => panic!("ignored"),
        };
        said.push(reply.clone());
        message = match alice.handle(&reply, &mut rng).unwrap() {
            Step::Reply(reply) => reply,
            Step::Finished { outcome, .. } => return (told, said, outcome.stats),
            Step::Ignored => panic!("ignored"),
        };
        // kind, block, sequence, then how many parities
        if message[0] == 0x13 {
            told += Reader::new(&message[13..]).var(u64::MAX).unwrap();
        }
    }
}

/// S11: a block is charged for both directions: each parity of Alice's and, where Bob's questions follow from
/// his own, as many of his; the two numbers he ends with; and the verification hash. The key is shorter by
/// all of it.
#[test]
fn s11_a_block_is_charged_for_both_directions() {
    for method in BOTH {
        let mut params = LinkParams::default();
        params.block.reconciliation = method;
        let (told, said, stats) = overheard(&params);
        let numbers = 2 * (u64::from(u64::BITS - stats.key_bits.leading_zeros()) * 2 + 1);
        let asked = if method == Reconciliation::Cascade { told } else { 0 };
        assert!(told > 0 && stats.leaked_bits >= told + asked + numbers - 2, "{told} {stats:?}");
        assert!(stats.leaked_bits <= told + asked + numbers + 2, "{told} {stats:?}");
        let free = crate::finite::tomamichel_length(stats.key_bits, stats.sampled, stats.errors, 0.0, 1e-10, 1.0);
        let charged = stats.leaked_bits + u64::from(stats.verify_bits);
        assert_eq!(stats.secret_bits, (free - charged as f64) as u64);
        if method == Reconciliation::Ldpc {
            // no question holds more than a count; the last two messages are the end and the confirmation
            assert!(said.iter().all(|message| message.len() <= 13 + 2 * 3 + crate::TAG_LEN), "{said:?}");
        }
    }
}

/// Lost, repeated, corrupted, cut and replayed messages under either method.
#[test]
fn faults_under_either_method_end_in_equal_keys_or_a_clean_abort() {
    for method in BOTH {
        let (mut done, mut given_up) = (0, 0);
        for seed in 0..60 {
            let mut rng = Seeded::new(seed);
            // a block by parity checks has few messages: more of them must go wrong
            let whole = if method == Reconciliation::Ldpc { 24 } else { 250 };
            let (alice, bob) = Bench::new(params(method), seed).block(seed, |_| match rng.below(whole) {
                0 => Fault::Drop,
                1 => Fault::Corrupt(rng.word() as usize),
                2 => Fault::Truncate(rng.word() as usize),
                3..6 => Fault::Duplicate,
                6..9 => Fault::Replay,
                _ => Fault::None,
            });
            assert!(alice.is_err() || bob.is_ok());
            if let (Ok(a), Ok(b)) = (&alice, &bob) {
                assert_eq!(*a.key.expose_bytes(), *b.key.expose_bytes());
            }
            if alice.is_ok() { done += 1 } else { given_up += 1 }
        }
        assert!(done > 5 && given_up > 5, "{method:?}: {done} {given_up}");
    }
}

/// Runs a block whose receiver answers with other bits than it measured; both ends' reasons.
fn with_false_bits(params: &LinkParams, share: u64) -> (AbortReason, AbortReason) {
    let mut bench = Bench::new(params.clone(), 9);
    bench.shine();
    let mut detections = bench.detector.take(params.block.clicks as usize).unwrap();
    let mut rng = Seeded::new(5);
    for code in detections.codes.iter_mut().filter(|code| crate::detector::setting(**code) == 0) {
        *code ^= u8::from(rng.below(100) < share);
    }
    let (mut bob, first) = Bob::start(&params.block, 1, Purpose::Key, detections, b"", tag_keys(1)).unwrap();
    let offer = Offer::parse(&first).unwrap();
    let (mut alice, mut message) = Alice::accept(&params.block, offer, tag_keys(1), &mut bench.sender).unwrap();
    let reason = |abort: BlockAbort| abort.reason;
    for _ in 0..100_000 {
        message = match bob.handle(&message) {
            Ok(Step::Reply(reply)) => reply,
            Ok(_) => panic!("a key from false bits"),
            Err(abort) => {
                let notice = abort.notice.clone().unwrap();
                return (alice.handle(&notice, &mut rng).map_err(reason).unwrap_err(), abort.reason);
            }
        };
        message = match alice.handle(&message, &mut rng) {
            Ok(Step::Reply(reply)) => reply,
            Ok(_) => panic!("a key from false bits"),
            Err(abort) => {
                let notice = abort.notice.clone().unwrap();
                return (abort.reason, bob.handle(&notice).map_err(reason).unwrap_err());
            }
        };
    }
    panic!("the ends never stop")
}

/// A receiver whose key bits are not those it was tested on: with 15 % and with half of them false.
#[test]
fn a_peer_with_false_bits_gets_a_clean_abort_at_both_ends() {
    for method in BOTH {
        for share in [15, 50] {
            let (alice, bob) = with_false_bits(&params(method), share);
            println!("{method:?} {share} %: {alice:?}, {bob:?}");
            assert!(alice == AbortReason::ByPeer || bob == AbortReason::ByPeer);
        }
    }
    let (alice, bob) = with_false_bits(&params(Reconciliation::Ldpc), 50);
    assert_eq!((alice, bob), (AbortReason::ByPeer, AbortReason::Unreconciled));
}

/// Ends that are set to different methods part before a parity is told.
#[test]
fn different_methods_part_at_once() {
    let mut out = Vec::new();
    let ours = params(Reconciliation::Ldpc).block;
    Plan::new(&params(Reconciliation::Cascade).block, 4_000, 0.02, 1_000).write(&mut out);
    assert!(matches!(Plan::read(&ours, &mut Reader::new(&out), 10_000), Err(AbortReason::Disagreement)));
}

fn block(method: Reconciliation) -> BlockParams {
    params(method).block
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// An answerer that lies in any of its bits is found out by a contradiction, by the end of
    /// what there is to tell, or leaves a string that the verification hash refuses; and the asker
    /// never asks without end.
    #[test]
    fn a_lying_answerer_never_keeps_the_asker_busy(seed: u64, lies in 1_u64..100, ldpc: bool) {
        let mut rng = Seeded::new(seed);
        let n = 1_500;
        let alice = random(n, &mut rng);
        let mut bob = alice.clone();
        (0..n).filter(|_| rng.below(100) < 3).for_each(|i| bob.flip(i));
        let params = block(if ldpc { Reconciliation::Ldpc } else { Reconciliation::Cascade });
        let mut answerer = Plan::new(&params, n, 0.03, 1_000).answerer(&alice);
        let mut asker = Plan::new(&params, n, 0.03, 1_000).asker(&bob);
        let mut question = Vec::new();
        let mut rounds = 0;
        while asker.ask(&mut question) {
            rounds += 1;
            prop_assert!(rounds < 2_000);
            let Ok(mut parities) = answerer.answer(&mut Reader::new(&question)) else { return Ok(()) };
            (0..parities.len()).filter(|_| rng.below(100) < lies).for_each(|i| parities.flip(i));
            if asker.answered(&parities).is_err() {
                return Ok(());
            }
            question.clear();
        }
        let (told, found, _) = asker.figures();
        prop_assert_eq!(told, answerer.leaked());
        let (key, point) = (asker.finish(), u128::from(rng.word()) << 64 | 1);
        let equal = key.words() == alice.words();
        let hash = |key: &Bits| {
            let mut hash = crate::field::PolyHash::new(point);
            hash.words(key.words(), key.len());
            hash.value()
        };
        prop_assert_eq!(hash(&key) == hash(&alice), equal, "{} corrected", found);
    }

    /// Plans and questions have one byte form each, and foreign bytes are refused or bounded.
    #[test]
    fn plans_are_read_as_written(bits in 1_usize..200_000, qber in 0.0..0.3, ldpc: bool) {
        let params = block(if ldpc { Reconciliation::Ldpc } else { Reconciliation::Cascade });
        let mut out = Vec::new();
        Plan::new(&params, bits, qber, 1_000).write(&mut out);
        let mut reader = Reader::new(&out);
        let mut again = Vec::new();
        let read = Plan::read(&params, &mut reader, bits).unwrap();
        reader.end().unwrap();
        prop_assert_eq!(read.bits(), bits);
        read.write(&mut again);
        prop_assert_eq!(out, again);
    }
}
