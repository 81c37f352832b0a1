use std::sync::Arc;

use super::{Answerer, Asker, Pace, Schedule, Shuffles};
use crate::bits::Bits;
use crate::seeded::Seeded;
use crate::stats::binary_entropy;
use crate::wire::Reader;

/// What one reconciliation took.
pub(crate) struct Run {
    pub(crate) equal: bool,
    pub(crate) errors: u64,
    pub(crate) corrected: u64,
    pub(crate) leaked: u64,
    pub(crate) bits_seen: u64,
    pub(crate) rounds: u32,
}

pub(crate) fn reconcile(n: usize, qber: f64, seed: u64, pace: Pace) -> Run {
    let mut rng = Seeded::new(seed);
    let alice = Bits::from_words((0..n.div_ceil(64)).map(|_| rng.word()).collect(), n);
    let mut bob = alice.clone();
    let mut errors = 0;
    for i in 0..n {
        if (rng.word() >> 11) as f64 / (1_u64 << 53) as f64 <= qber {
            bob.flip(i);
            errors += 1;
        }
    }
    let schedule = Schedule::new(n, qber, pace);
    let shuffles = Arc::new(Shuffles::new(schedule.frame_bits()));
    let mut answerer = Answerer::new(schedule.clone(), shuffles.clone(), &alice);
    let mut asker = Asker::new(schedule, shuffles, &bob);
    let mut bits_seen = 0;
    loop {
        let mut questions = Vec::new();
        if !asker.ask(&mut questions) {
            break;
        }
        let mut reader = Reader::new(&questions);
        let parities = answerer.answer(&mut reader).unwrap();
        reader.end().unwrap();
        bits_seen += parities.len() as u64;
        assert_eq!(parities.len(), asker.expected());
        assert!(asker.answered(&parities));
    }
    assert_eq!(asker.leaked(), answerer.leaked());
    let (corrected, leaked, rounds) = (asker.corrected(), asker.leaked(), asker.rounds());
    Run { equal: asker.finish().words() == alice.words(), errors, corrected, leaked, bits_seen, rounds }
}

/// Every answered bit is counted, on both sides, and nothing else is.
#[test]
fn leaked_bits_are_exactly_the_bits_seen() {
    for seed in 0..20 {
        let run = reconcile(3_000 + 777 * seed as usize, 0.03, seed, Pace::Frugal);
        assert_eq!(run.leaked, run.bits_seen);
        assert!(run.equal);
        assert_eq!(run.corrected, run.errors);
    }
}

/// S11: what Bob asks follows from the differences of both ends' parities, and from nothing else: an asker
/// of zeros who hears of the errors alone asks the same, to the byte, and ends with the place of every error.
/// So his questions tell one bit for each parity that was told, and no more.
#[test]
fn s11_the_questions_tell_where_the_errors_are() {
    for seed in 0..40 {
        let mut rng = Seeded::new(seed);
        let n = 64 + rng.below(40_000) as usize;
        let pace = if seed % 2 == 0 { Pace::Quick } else { Pace::Frugal };
        let alice = Bits::from_words((0..n.div_ceil(64)).map(|_| rng.word()).collect(), n);
        let (mut bob, mut errors) = (alice.clone(), Bits::zeros(n));
        for i in (0..n).filter(|_| rng.below(100) < 3).collect::<Vec<_>>() {
            bob.flip(i);
            errors.flip(i);
        }
        let schedule = Schedule::new(n, 0.03, pace);
        let shuffles = Arc::new(Shuffles::new(schedule.frame_bits()));
        let answerer = |key: &Bits| Answerer::new(schedule.clone(), shuffles.clone(), key);
        let asker = |key: &Bits| Asker::new(schedule.clone(), shuffles.clone(), key);
        let (mut teller, mut of_errors) = (answerer(&alice), answerer(&errors));
        let (mut honest, mut listener) = (asker(&bob), asker(&Bits::zeros(n)));
        loop {
            let (mut asked, mut guessed) = (Vec::new(), Vec::new());
            let (more, again) = (honest.ask(&mut asked), listener.ask(&mut guessed));
            assert_eq!((more, &asked), (again, &guessed));
            if !more {
                break;
            }
            assert!(honest.answered(&teller.answer(&mut Reader::new(&asked)).unwrap()));
            assert!(listener.answered(&of_errors.answer(&mut Reader::new(&guessed)).unwrap()));
        }
        assert_eq!(listener.finish().words(), errors.words());
    }
}

/// Efficiency at n = 2^14: at most 1.05 at 1 to 5 % (Martinez-Mateo et al. 2014).
#[test]
fn efficiency_is_that_of_the_best_published_parameters() {
    for (qber, most) in [(0.01, 1.05), (0.02, 1.05), (0.03, 1.05), (0.05, 1.05), (0.11, 1.07)] {
        let (mut leaked, mut shannon, mut failed, mut rounds) = (0.0, 0.0, 0, 0);
        let n = 1 << 14;
        for seed in 0..60 {
            let run = reconcile(n, qber, seed, Pace::Frugal);
            leaked += run.leaked as f64;
            shannon += n as f64 * binary_entropy(qber);
            failed += u32::from(!run.equal);
            rounds += run.rounds;
        }
        println!("{qber}: f = {:.4}, failed {failed}, rounds {}", leaked / shannon, rounds / 60);
        assert!(leaked / shannon <= most, "{qber}: {}", leaked / shannon);
        assert_eq!(failed, 0);
    }
}

#[test]
fn strings_without_errors_and_of_every_small_length_pass() {
    for n in 1..200 {
        assert!(reconcile(n, 0.0, n as u64, Pace::Quick).equal);
        let run = reconcile(n, 0.05, n as u64, Pace::Quick);
        assert!(run.corrected == run.errors || !run.equal);
    }
}

#[test]
fn a_peer_that_asks_without_end_is_stopped() {
    let schedule = Schedule::new(4_096, 0.05, Pace::Quick);
    let shuffles = Arc::new(Shuffles::new(4_096));
    let mut answerer = Answerer::new(schedule, shuffles, &Bits::zeros(4_096));
    let questions = [0, 0];
    let stopped = (0..10_000).find(|_| answerer.answer(&mut Reader::new(&questions)).is_err());
    assert!(stopped.is_some());
    assert!(answerer.leaked() <= 2 * 4_096 + 1_024);
}

/// KM-09: whatever a lying peer answers, Bob ends: he notices, or stops asking after finitely many parities.
#[test]
fn false_answers_end_in_a_contradiction_or_in_silence() {
    let mut noticed = 0;
    for seed in 0..300 {
        let mut rng = Seeded::new(seed);
        let n = 1 + rng.below(20_000) as usize;
        let pace = if rng.below(2) == 0 { Pace::Quick } else { Pace::Frugal };
        let key = Bits::from_words((0..n.div_ceil(64)).map(|_| rng.word()).collect(), n);
        let mut bob = key.clone();
        (0..n / 30).for_each(|_| bob.flip(rng.below(n as u64) as usize));
        let schedule = Schedule::new(n, 0.03, pace);
        let shuffles = Arc::new(Shuffles::new(schedule.frame_bits()));
        let mut answerer = Answerer::new(schedule.clone(), shuffles.clone(), &key);
        let mut asker = Asker::new(schedule, shuffles, &bob);
        let (mut questions, lies) = (Vec::new(), 1 + rng.below(40));
        while asker.ask(&mut questions) {
            let Ok(mut answers) = answerer.answer(&mut Reader::new(&questions)) else { break };
            (0..answers.len())
                .filter(|_| rng.below(lies) == 0)
                .collect::<Vec<_>>()
                .iter()
                .for_each(|&i| answers.flip(i));
            if !asker.answered(&answers) {
                noticed += 1;
                break;
            }
            questions.clear();
        }
        assert!(asker.leaked() <= 2 * n as u64 + 1_024 + 20_000);
    }
    assert!(noticed > 0);
}

/// Alice tells no parity of a node that is larger than a block, or of none.
#[test]
fn questions_about_what_is_no_node_are_refused() {
    let schedule = Schedule::new(10_000, 0.05, Pace::Quick);
    let shuffles = Arc::new(Shuffles::new(schedule.frame_bits()));
    let mut answerer = Answerer::new(schedule, shuffles, &Bits::zeros(10_000));
    let mut ask = |node: u16| {
        let [low, high] = node.to_le_bytes();
        answerer.answer(&mut Reader::new(&[0, 1, low, high])).is_ok()
    };
    // blocks of eight bits: node 3 is the first of them, 7 holds two, 63 is none, cell 157 is past the end
    assert!(ask(3) && !ask(7) && !ask(63) && ask(156 * 64 + 3) && !ask(157 * 64 + 3) && !ask(u16::MAX));
    assert!(answerer.answer(&mut Reader::new(&[0, 2, 3, 0, 3])).is_err());
}

#[test]
fn quick_reconciliation_takes_few_round_trips() {
    for qber in [0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.11] {
        let (mut leaked, mut shannon, mut failed, mut rounds) = (0.0, 0.0, 0, 0);
        let n = 3 << 14;
        for seed in 0..20 {
            let run = reconcile(n, qber, seed, Pace::Quick);
            leaked += run.leaked as f64;
            shannon += n as f64 * binary_entropy(qber);
            failed += u32::from(!run.equal);
            rounds += run.rounds;
        }
        println!("quick {qber}: f = {:.4}, failed {failed}, rounds {}", leaked / shannon, rounds / 20);
        assert_eq!(failed, 0);
        assert!(leaked / shannon < 1.2 && rounds / 20 < 100);
    }
}
