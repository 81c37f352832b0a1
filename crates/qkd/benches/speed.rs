//! Throughput of the engine, each figure beside the one to beat.
//!
//! `cargo bench --profile dev -p qkd` runs all; arguments choose parts: `amplify [bits]`,
//! `cascade`, `ldpc`, `pipeline`, `channels [number]`. `CASCADE_PEER=PROGRAM` measures cascade-cpp in the same run: its
//! study program, `run_experiments`.
#![allow(clippy::print_stdout, missing_docs)]

#[path = "speed/links.rs"]
mod links;
#[path = "speed/peer.rs"]
mod peer;

use std::sync::Arc;

use peer::Peer;

use qkd::cascade::{Pace, Shuffles};
use qkd::{Bits, Entropy};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Time this thread has spent on a processor, so that a busy machine does not blur the figures;
/// wall-clock time where the system does not tell.
struct Clock {
    wall: std::time::Instant,
    cpu: Option<u64>,
}

fn cpu_nanos() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

impl Clock {
    fn now() -> Self {
        Self { wall: std::time::Instant::now(), cpu: cpu_nanos() }
    }

    fn seconds(&self) -> f64 {
        match (self.cpu, cpu_nanos()) {
            (Some(from), Some(to)) => (to - from) as f64 / 1e9,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

struct Seeded(ChaCha8Rng);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

fn seeded(seed: u64) -> Seeded {
    Seeded(ChaCha8Rng::seed_from_u64(seed))
}

fn random(rng: &mut Seeded, len: usize) -> Bits {
    Bits::from_words((0..len.div_ceil(64)).map(|_| rng.0.next_u64()).collect(), len)
}

/// Runs `work` for at least a third of a second and three times; seconds of one run.
fn timed(mut work: impl FnMut()) -> f64 {
    work();
    let start = Clock::now();
    let mut runs = 0;
    while runs < 3 || start.wall.elapsed().as_millis() < 333 {
        work();
        runs += 1;
    }
    start.seconds() / f64::from(runs)
}

/// What this machine gives at best, now: bytes per second of a copy in memory, and 64-bit
/// carry-less products per second of the plain product.
fn limits() -> (f64, f64) {
    let mut rng = seeded(3);
    let from = vec![1_u8; 64 << 20];
    let mut to = from.clone();
    let copy = from.len() as f64 / timed(|| std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from)));
    let (n, m) = (1 << 14, 1 << 14);
    let (seed, input) = (random(&mut rng, qkd::toeplitz::seed_len(n, m)), random(&mut rng, n));
    let products = (n / 64 * (m / 64)) as f64 / timed(|| drop(qkd::toeplitz::hash(&seed, &input, m)));
    println!("limits   {:.2} GB/s of copies in memory, {:.2} G carry-less products/s", copy / 1e9, products / 1e9);
    (copy, products)
}

/// Input bits per second: against the fastest published CPU figure, 261 Mbit/s; against one copy of
/// the memory that the transforms of the block fill and read once; and against the plain product.
fn amplify(bits: usize, (copy, products): (f64, f64)) {
    let mut rng = seeded(1);
    let output = bits * 3 / 10;
    let (seed, input) = (random(&mut rng, qkd::toeplitz::seed_len(bits, output)), random(&mut rng, bits));
    let mut amplifier = qkd::toeplitz::Amplifier::default();
    let seconds = timed(|| drop(std::hint::black_box(amplifier.hash(&seed, &input, output))));
    let (rate, held) = (bits as f64 / seconds / 1e6, amplifier.held_bytes() as f64);
    let plain = bits as f64 / 64.0 * output as f64 / 64.0 / products;
    println!(
        "amplify  {bits:>9} -> {output:>8} bits  {rate:>7.1} Mbit/s  {:>5.2} x 261 Mbit/s (published, CPU); {:>5.2} of the limit of memory, {:>7.2} x the plain product; {:.1} MiB",
        rate / 261.0,
        held / copy / seconds,
        plain / seconds,
        held / f64::from(1 << 20)
    );
}

/// A string and the same with errors.
fn noisy(n: usize, qber: f64, rng: &mut Seeded) -> (Bits, Bits) {
    let alice = random(rng, n);
    let mut bob = alice.clone();
    (0..n).filter(|_| (rng.0.next_u64() >> 11) as f64 * 2_f64.powi(-53) < qber).for_each(|i| bob.flip(i));
    (alice, bob)
}

/// Throughput of cascade-cpp at 10^4 bits and 1 and 5 %, where no build of it is named.
const PUBLISHED: [(f64, f64); 2] = [(0.01, 16.7), (0.05, 10.8)];

/// Both ends of reconciliation on one core, frame by frame, in turn with the public C++ library
/// cascade-cpp where `CASCADE_PEER` names it; medians of the turns.
fn cascade() {
    let peer = Peer::named();
    for (n, qber) in [(10_000, 0.01), (10_000, 0.05), (1 << 14, 0.01), (1 << 14, 0.05)] {
        let shuffles = Arc::new(Shuffles::new(n));
        let mut rng = seeded(2);
        let pairs: Vec<_> = (0..1_000).map(|_| noisy(n, qber, &mut rng)).collect();
        let paces = [Pace::Frugal, Pace::Quick];
        let mut runs = paces.map(|_| Vec::new());
        let mut theirs = Vec::new();
        for _ in 0..if peer.is_some() { 7 } else { 1 } {
            theirs.extend(peer.as_ref().and_then(|peer| peer.measure(n, qber, 100)));
            for (pace, runs) in paces.iter().zip(&mut runs) {
                runs.push(reconcile_all(&pairs, qber, *pace, &shuffles));
            }
        }
        theirs.sort_by(|a, b| a.mbits.total_cmp(&b.mbits));
        let beat = match theirs.get(theirs.len() / 2) {
            Some(peer) => {
                println!(
                    "cascade  n {n:>6} Q {qber:.2} cascade-cpp, original: {:.1} Mbit/s both ends, f {:.4}, {:.4} failed",
                    peer.mbits, peer.efficiency, peer.failed
                );
                Some(peer.mbits)
            }
            None => PUBLISHED.iter().find(|(rate, _)| *rate == qber).map(|(_, mbits)| *mbits),
        };
        for (pace, mut runs) in paces.iter().zip(runs) {
            runs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (mbits, f, rounds, failed) = runs[runs.len() / 2];
            let beat =
                beat.map_or(String::new(), |beat| format!("{:>5.2} x {beat:.1} Mbit/s (cascade-cpp)", mbits / beat));
            println!(
                "cascade  n {n:>6} Q {qber:.2} {pace:?}: {mbits:>6.1} Mbit/s both ends, f {f:.4}, {rounds} rounds, {failed} failed  {beat}"
            );
        }
    }
}

/// Mbit/s, f, round trips of a frame, and frames that stayed unequal.
fn reconcile_all(pairs: &[(Bits, Bits)], qber: f64, pace: Pace, shuffles: &Arc<Shuffles>) -> (f64, f64, u32, u32) {
    let (mut leaked, mut rounds, mut failed) = (0, 0, 0);
    let seconds = timed(|| {
        (leaked, rounds, failed) = (0, 0, 0);
        for (alice, bob) in pairs {
            let run = qkd::cascade::reconcile(alice, bob, qber, pace, shuffles);
            leaked += run.leaked;
            rounds += run.rounds;
            failed += u32::from(run.key.words() != alice.words());
        }
    });
    let bits = pairs.iter().map(|(alice, _)| alice.len()).sum::<usize>() as f64;
    let f = leaked as f64 / (bits * qkd::stats::binary_entropy(qber));
    (bits / seconds / 1e6, f, rounds / pairs.len() as u32, failed)
}

/// Reconciliation by parity checks: how much it tells, how often the first message is not enough,
/// and its speed, with the error rate known and beside Cascade's f of the same strings.
fn ldpc() {
    for (n, runs) in [(1 << 14, 30), (1 << 16, 10)] {
        for qber in [0.01, 0.02, 0.03, 0.05, 0.08] {
            let shuffles = Arc::new(Shuffles::new(n));
            let mut rng = seeded(5);
            let (mut seconds, mut leaked, mut cascade, mut rounds, mut failed, mut wrong) = (0.0, 0, 0, 0, 0, 0);
            for _ in 0..runs {
                let (alice, bob) = noisy(n, qber, &mut rng);
                let start = Clock::now();
                let run = qkd::ldpc::reconcile(&alice, &bob, qber);
                seconds += start.seconds();
                leaked += run.leaked;
                rounds += run.rounds;
                failed += u32::from(run.rounds > 1);
                wrong += u32::from(run.key.is_none_or(|key| key.words() != alice.words()));
                cascade += qkd::cascade::reconcile(&alice, &bob, qber, Pace::Frugal, &shuffles).leaked;
            }
            let limit = f64::from(runs) * n as f64 * qkd::stats::binary_entropy(qber);
            println!(
                "ldpc     n {n:>6} Q {qber:.2}: {:>5.2} Mbit/s both ends, f {:.4} (Cascade {:.4}), {:.2} round trips, first decoding fails {:.2}, {wrong} of {runs} wrong",
                f64::from(runs) * n as f64 / seconds / 1e6,
                leaked as f64 / limit,
                cascade as f64 / limit,
                f64::from(rounds) / f64::from(runs),
                f64::from(failed) / f64::from(runs)
            );
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |part: &str| args.is_empty() || args.iter().any(|arg| arg == part);
    if wants("cascade") {
        cascade();
    }
    if wants("ldpc") {
        ldpc();
    }
    if wants("pipeline") {
        links::pipeline(args.iter().skip_while(|arg| *arg != "pipeline").nth(1));
    }
    if wants("channels") {
        links::channels(args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(1_000));
    }
    if wants("amplify") {
        let limits = limits();
        match args.iter().find_map(|arg| arg.parse::<f64>().ok()) {
            Some(bits) => amplify(bits as usize, limits),
            None => [10_000, 100_000, 1_000_000, 10_000_000, 100_000_000].into_iter().for_each(|n| amplify(n, limits)),
        }
    }
}
