use crate::block::Recall;
use crate::light::{Arrivals, Choices};
use crate::memory::UNKNOWN;
use crate::params::{LinkParams, MEAN_EFFICIENCY, Preset};
use crate::seeded::{Bench, Seeded};
use crate::{Detector, Fibre, Protocol, Settings, Source};

/// Clicks, clicks at agreeing bases, and errors of `trains` trains of single photons that `source`
/// prepares, over the fibre of `params`.
fn clicks(source: &LinkParams, params: &LinkParams, trains: u32, seed: u64) -> [f64; 3] {
    let mut alice = Source::new(source, u64::MAX, 0, Seeded::new(seed), Seeded::new(!seed));
    let mut fibre = Fibre::new(params, Seeded::new(seed + 1));
    let settings = Settings::Two { z_log2: params.z_log2 };
    let mut bob = Detector::new(&params.detector, settings, usize::MAX, Seeded::new(seed + 2));
    for _ in 0..trains {
        let mut carried = fibre.from_a(&alice.emit(100_000)).unwrap();
        if let Some(arrivals) = carried.to_a.take() {
            carried = fibre.from_a(&alice.light(&arrivals).unwrap()).unwrap();
        }
        bob.measure(&carried.to_b.unwrap()).unwrap();
    }
    let detections = bob.take(1).unwrap();
    let codes = alice.recall(&detections.slots().collect::<Vec<_>>()).unwrap();
    let mut counts = [detections.len() as f64, 0.0, 0.0];
    for (sent, seen) in
        codes.iter().zip(detections.codes.iter()).filter(|(sent, seen)| **sent >> 1 & 1 == **seen >> 1 & 3)
    {
        counts[1] += 1.0;
        counts[2] += f64::from((sent ^ seen) & 1);
    }
    counts
}

/// KM-09: pulses that are prepared when the fibre names them give the same statistics as pulses
/// prepared before, light and darkness alike.
#[test]
fn late_pulses_are_like_prompt_ones() {
    let prompt = LinkParams::default();
    let mut lossy = LinkParams::default();
    lossy.fibre.insertion_db = 18.0;
    lossy.detector.dark_count = 1e-4;
    assert!(prompt.is_dense() && !lossy.is_dense());
    let (early, late) = (clicks(&prompt, &lossy, 300, 1), clicks(&lossy, &lossy, 300, 9));
    for (early, late) in early.iter().zip(late) {
        assert!((early - late).abs() < 5.0 * (early + late).sqrt(), "{early} {late}");
    }
    assert!(late[2] / late[1] > 0.03, "darkness makes errors: {late:?}");
}

/// KM-09: what the fibre names tells nothing about what was chosen: intensities of named pulses have
/// the probabilities with which they are sent.
#[test]
fn named_slots_tell_nothing_about_the_choice() {
    let params = LinkParams::of(Protocol::DecoyBb84, Preset::Metro);
    let mut alice = Source::new(&params, u64::MAX, 0, Seeded::new(1), Seeded::new(2));
    let mut fibre = Fibre::new(&params, Seeded::new(2));
    let mut sent = [0.0; 3];
    let mut in_z = 0.0;
    for _ in 0..20 {
        let named = fibre.from_a(&alice.emit(100_000)).unwrap().to_a.unwrap();
        let choices = Choices::parse(&alice.light(&named).unwrap()).unwrap();
        choices.codes.iter().for_each(|code| sent[usize::from(code >> 2)] += 1.0);
        in_z += choices.codes.iter().filter(|code| **code & 2 == 2).count() as f64;
    }
    let total: f64 = sent.iter().sum();
    let fits = |seen: f64, p: f64| (seen - total * p).abs() < 5.0 * (total * p * (1.0 - p)).sqrt();
    let wanted = params.block.intensities.probability;
    assert!(sent.iter().zip(wanted).all(|(&seen, p)| fits(seen, p)), "{sent:?} {wanted:?}");
    assert!(fits(in_z, 0.25), "{in_z} of {total}");
}

/// KM-09: what is said about a train grows with what arrives, not with its pulses: a thousand times
/// the pulses over a thousand times the loss cost the same.
#[test]
fn cost_grows_with_clicks() {
    let bytes = |db: f64, pulses: u32| {
        let mut params = LinkParams::of(Protocol::DecoyBb84, Preset::Metro);
        (params.fibre.length_km, params.fibre.insertion_db) = (0.0, db);
        params.frame_pulses = pulses;
        let mut alice = Source::new(&params, u64::MAX, 0, Seeded::new(1), Seeded::new(2));
        let mut fibre = Fibre::new(&params, Seeded::new(2));
        let train = alice.emit(pulses);
        let named = fibre.from_a(&train).unwrap().to_a.unwrap();
        let arriving = Arrivals::parse(&named).unwrap().slots.len();
        let chosen = alice.light(&named).unwrap();
        let light = fibre.from_a(&chosen).unwrap().to_b.unwrap();
        (arriving, train.len() + named.len() + chosen.len() + light.len() + alice.held_bytes())
    };
    let (near, few) = bytes(10.0, 1_000_000);
    let (far, many) = bytes(40.0, 1_000_000_000);
    assert!((near as f64 / far as f64 - 1.0).abs() < 0.05, "{near} {far}");
    assert!(few < 12 * near && many < 14 * far, "{few} bytes for {near}, {many} for {far}");
}

/// A source of pairs serves both ends whoever asks first, answers each train once, and forgets.
#[test]
fn a_train_of_pairs_is_measured_once() {
    let params = LinkParams::of(Protocol::Bbm92, Preset::Metro);
    let mut fibre = Fibre::new(&params, Seeded::new(1));
    let mut alice = crate::PairEnd::new(&params, u64::MAX, 0, Seeded::new(2));
    let carried = fibre.from_a(&alice.emit(10_000)).unwrap();
    let arrivals = Arrivals::parse(&carried.to_b.unwrap()).unwrap();
    let choices = Choices { span: arrivals.span, codes: vec![4; arrivals.slots.len()] }.encode();
    assert!(fibre.from_b(&choices).unwrap().to_b.is_some());
    assert!(fibre.from_b(&choices).is_err(), "a half is measured once");
    let short = Choices { span: arrivals.span, codes: vec![4] }.encode();
    assert!(fibre.from_a(&short).is_err(), "every arrival is answered");
    let mine = alice.light(&carried.to_a.unwrap()).unwrap().unwrap();
    assert!(fibre.from_a(&mine).unwrap().to_a.is_some());
    assert!(fibre.from_b(&choices).unwrap().to_b.is_none(), "the train is forgotten");
    let mut bench = Bench::new(params, 3);
    (0..3).for_each(|_| bench.train());
    assert!(bench.fibre.paired.is_empty() && bench.detector.waiting() > 0);
}

/// KM-09: clicks come as often as loss and efficiency say, though the fibre drops what the receiver
/// would not notice; and so do clicks of both ends at once.
#[test]
fn thinned_light_clicks_as_often_as_efficiency_says() {
    for protocol in Protocol::ALL {
        let mut params = LinkParams::of(*protocol, Preset::Short);
        params.block.clicks = 1 << 20;
        let (rate, pulses) = (params.click_rate(), f64::from(params.frame_pulses));
        let mut bench = Bench::new(params.clone(), 5);
        (0..20).for_each(|_| bench.train());
        let clicks = bench.detector.take(1).unwrap();
        let (seen, wanted) = (clicks.len() as f64, 20.0 * pulses * rate);
        assert!((seen - wanted).abs() < 5.0 * wanted.sqrt(), "{protocol}: {seen} {wanted}");
        let kept = bench.sender.recall(&clicks.slots().collect::<Vec<_>>()).unwrap();
        let met = kept.iter().filter(|&&code| code != UNKNOWN).count() as f64;
        if protocol.is_entangled() {
            let share = params.fibre.transmission().sqrt() * params.detector.efficiency * MEAN_EFFICIENCY;
            // other pairs of the same pulse click at the other end too
            let wanted = seen * (share + (1.0 - share) * 2.0 * params.pairs.mean * share);
            assert!((met - wanted).abs() < 5.0 * wanted.sqrt() + 0.01 * wanted, "{protocol}: {met} {wanted}");
        } else {
            assert!(met >= seen * 0.999);
        }
    }
}
