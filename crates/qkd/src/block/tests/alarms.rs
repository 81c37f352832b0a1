//! How often an honest channel raises an alarm: the real verdict on counts drawn from the
//! distributions that honest light has.

use crate::Protocol;
use crate::block::{BlockStats, Efficiencies, alarm, judge};
use crate::decoy::Counts;
use crate::entropy::Rolls;
use crate::params::{HALVED_IN, LinkParams, Preset};
use crate::seeded::Seeded;
use crate::stats::binomial_draw;

/// Blocks judged for each protocol.
const BLOCKS: u64 = 31_000;

/// The counts of one honest block.
fn draw(params: &LinkParams, rolls: &mut Rolls<Seeded>) -> BlockStats {
    let mut binomial = |n: u64, p: f64| binomial_draw(n, p, rolls.unit());
    let detected = u64::from(params.block.clicks);
    let of_light = 0.5 / (f64::from(HALVED_IN) - 0.5);
    let mut stats = BlockStats { detected, halved: binomial(detected, of_light), ..BlockStats::default() };
    let error = params.fibre.misalignment;
    let mut coincidences = 0;
    match params.block.protocol {
        Protocol::Bb84 => {
            stats.key_bits = binomial(detected, 9.0 / 16.0);
            stats.sampled = binomial(detected - stats.key_bits, 1.0 / 7.0);
            stats.errors = binomial(stats.sampled, error);
        }
        Protocol::DecoyBb84 => {
            let set = &params.block.intensities;
            let eta = params.fibre.transmission() * params.detector.efficiency;
            let gains: [f64; 3] = std::array::from_fn(|k| {
                set.probability[k] * (2.0 * params.detector.dark_count - (-set.mean[k] * eta).exp_m1())
            });
            let total: f64 = gains.iter().sum();
            let mut split = |n: u64| {
                let first = binomial(n, gains[0] / total);
                let second = binomial(n - first, gains[1] / (gains[1] + gains[2]));
                [first, second, n - first - second]
            };
            let counts = Counts { key: split(detected * 9 / 16), test: split(detected / 16), ..Counts::default() };
            let errors = counts.test.map(|n| binomial(n, error));
            stats.counts = Counts { test_errors: errors, ..counts };
            stats.key_bits = counts.key.iter().sum();
            stats.sampled = counts.test.iter().sum();
            stats.errors = errors.iter().sum();
        }
        Protocol::Bbm92 | Protocol::E91 => {
            let coincident = binomial(detected, 0.65);
            coincidences = coincident;
            let visibility = 0.93;
            stats.key_bits = coincident * 15 / 32;
            stats.sampled = binomial(coincident, 1.0 / 32.0);
            stats.errors = binomial(stats.sampled, (1.0 - visibility) / 2.0);
            let agree = 0.5 * (1.0 + visibility * 0.5_f64.sqrt());
            for (place, pair) in stats.chsh.iter_mut().enumerate() {
                let n = coincident * if place < 2 { 3 } else { 1 } / 32;
                let agreeing = binomial(n, if place == 1 { 1.0 - agree } else { agree });
                *pair = [agreeing, n - agreeing];
            }
        }
    }
    stats.efficiencies = Efficiencies {
        coincident: coincidences,
        halved_a: binomial(coincidences, of_light),
        halved_b: binomial(coincidences, of_light),
        key_halved_a: if coincidences > 0 { binomial(stats.key_bits, of_light) } else { 0 },
        key_halved_b: binomial(stats.key_bits, of_light),
    };
    stats
}

/// SM-06b KM-09: of many honest blocks of each protocol none raises an alarm, so the rate is below
/// 10^-4 at 95 % confidence (no event in N trials: -ln(0.05)/N).
#[test]
fn honest_channels_raise_no_alarm() {
    for protocol in Protocol::ALL {
        let preset = if *protocol == Protocol::Bb84 { Preset::Short } else { Preset::Metro };
        let params = LinkParams::of(*protocol, preset);
        let mut rolls = Rolls::new(Seeded::new(91));
        let judged = |rolls: &mut Rolls<Seeded>| judge(&params.block, &mut draw(&params, rolls));
        let raised = (0..BLOCKS).filter_map(|_| judged(&mut rolls).err()).filter(|reason| alarm(reason).is_some());
        let raised: Vec<_> = raised.collect();
        let bound = -(0.05_f64.ln()) / BLOCKS as f64;
        println!("{protocol}: {} alarms in {BLOCKS} honest blocks; rate below {bound:.2e} at 95 %", raised.len());
        assert!(raised.is_empty() && bound < 1e-4, "{protocol}: {raised:?}");
    }
}

/// The estimator's draws have the mean and the spread of the distribution they stand for, and the
/// verdict does alarm on counts that are not honest.
#[test]
fn the_draws_are_binomial_and_the_verdict_is_awake() {
    let mut rolls = Rolls::new(Seeded::new(3));
    for (n, p) in [(50_u64, 0.3), (4_000, 0.01), (70_000, 1.0 / 15.0)] {
        let draws: Vec<f64> = (0..20_000).map(|_| binomial_draw(n, p, rolls.unit()) as f64).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        let wanted = n as f64 * p * (1.0 - p);
        assert!((mean - n as f64 * p).abs() < 5.0 * (wanted / draws.len() as f64).sqrt(), "{n} {p}: {mean}");
        assert!((variance / wanted - 1.0).abs() < 0.06, "{n} {p}: {variance} {wanted}");
    }
    for protocol in Protocol::ALL {
        let params = LinkParams::of(*protocol, Preset::Metro);
        let mut stats = draw(&params, &mut rolls);
        stats.errors = stats.sampled / 8;
        assert!(alarm(&judge(&params.block, &mut stats).unwrap_err()).is_some());
        let mut stats = draw(&params, &mut rolls);
        stats.halved = stats.detected / 8;
        assert!(alarm(&judge(&params.block, &mut stats).unwrap_err()).is_some());
    }
}
