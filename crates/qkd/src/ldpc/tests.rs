use super::{Answerer, Asker, NotCorrected, Plan, reconcile};
use crate::bits::Bits;
use crate::seeded::Seeded;
use crate::stats::binary_entropy;
use crate::wire::{Reader, put_var};

fn pair(n: usize, qber: f64, rng: &mut Seeded) -> (Bits, Bits) {
    let alice = Bits::from_words((0..n.div_ceil(64)).map(|_| rng.word()).collect(), n);
    let mut bob = alice.clone();
    (0..n).filter(|_| (rng.word() >> 11) as f64 / (1_u64 << 53) as f64 <= qber).for_each(|i| bob.flip(i));
    (alice, bob)
}

/// Few round trips at an efficiency that long-delay links can afford.
#[test]
fn one_or_two_answers_correct_a_long_string() {
    let mut rng = Seeded::new(1);
    for (qber, most) in [(0.01, 1.28), (0.02, 1.22), (0.05, 1.16)] {
        let (n, runs) = (1 << 15, 5);
        let (mut leaked, mut rounds) = (0, 0);
        for _ in 0..runs {
            let (alice, bob) = pair(n, qber, &mut rng);
            let run = reconcile(&alice, &bob, qber);
            assert_eq!(run.key.unwrap().words(), alice.words());
            leaked += run.leaked;
            rounds += run.rounds;
        }
        let f = leaked as f64 / (f64::from(runs) * n as f64 * binary_entropy(qber));
        println!("{qber}: f = {f:.4}, {rounds} answers in {runs} runs");
        assert!(f < most && rounds <= 3 * runs as u32, "{qber}: {f} {rounds}");
    }
}

/// Every answered bit is counted, on both sides, and nothing else is.
#[test]
fn leaked_bits_are_exactly_the_bits_seen() {
    let mut rng = Seeded::new(2);
    for (n, expected, real) in [(1_000, 0.02, 0.02), (5_000, 0.03, 0.05), (9_001, 0.01, 0.0), (12_345, 0.05, 0.06)] {
        let (alice, bob) = pair(n, real, &mut rng);
        let errors = (0..n).filter(|&i| alice.get(i) != bob.get(i)).count() as u64;
        let plan = Plan::new(n, expected);
        let (mut answerer, mut asker) = (Answerer::new(plan.clone(), &alice), Asker::new(plan, &bob));
        let (mut seen, mut question) = (0, Vec::new());
        while asker.ask(&mut question) {
            let answer = answerer.answer(&mut Reader::new(&question)).unwrap();
            seen += answer.len() as u64;
            assert_eq!(answer.len(), asker.expected());
            asker.answered(&answer).unwrap();
            question.clear();
        }
        assert_eq!((asker.leaked(), answerer.leaked()), (seen, seen));
        assert_eq!(asker.corrected(), errors);
        assert_eq!(asker.finish().words(), alice.words());
    }
}

/// Strings that have nothing to do with each other: the asker stops when all is told.
#[test]
fn unrelated_strings_are_given_up() {
    let mut rng = Seeded::new(3);
    let (alice, bob) = pair(2_000, 0.5, &mut rng);
    let run = reconcile(&alice, &bob, 0.03);
    assert!(run.key.is_none() && run.rounds < 12, "{run:?}");
    assert_eq!(NotCorrected, NotCorrected);
}

/// A peer that asks again, backwards or past the end is refused, and is told no more than there is.
#[test]
fn a_peer_that_asks_out_of_order_is_refused() {
    let plan = Plan::new(4_000, 0.05);
    let mut answerer = Answerer::new(plan.clone(), &Bits::zeros(4_000));
    let mut ask = |until: usize| {
        let mut question = Vec::new();
        put_var(&mut question, until as u64);
        answerer.answer(&mut Reader::new(&question)).map(|bits| bits.len())
    };
    assert_eq!(ask(plan.rows).unwrap(), plan.rows * plan.size);
    assert!(ask(plan.rows).is_err() && ask(1).is_err() && ask(plan.most() + 1).is_err());
    assert_eq!(ask(plan.most()).unwrap(), plan.rows * plan.size);
    assert!(ask(plan.most()).is_err());
}

#[test]
fn short_strings_pass_or_are_given_up() {
    let mut rng = Seeded::new(4);
    let mut equal = 0;
    for n in 1..150 {
        let (alice, bob) = pair(n, 0.03, &mut rng);
        equal += usize::from(reconcile(&alice, &bob, 0.03).key.is_some_and(|key| key.words() == alice.words()));
    }
    assert!(equal > 100, "{equal}");
}
