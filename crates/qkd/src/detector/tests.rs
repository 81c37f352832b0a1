use super::{Detections, Detector, Light, Missed, Settings};
use crate::light::{NOTICED, Span};
use crate::params::{LinkParams, Preset};
use crate::seeded::Seeded;
use crate::source::Qubit;
use types::mesh::Protocol;

/// KM-09: where nothing disturbs a receiver, the short way over a frame finds the same clicks as the
/// long one, of photons and of halves of pairs, several of which may share a slot.
#[test]
fn a_glance_sees_what_a_sweep_sees() {
    let params = LinkParams::of(Protocol::Bbm92, Preset::Metro);
    let mut rng = Seeded::new(3);
    for (round, of_pairs) in [true, false].into_iter().cycle().take(40).enumerate() {
        let receiver =
            || Detector::new(&params.detector, Settings::of_bob(&params), usize::MAX, Seeded::new(round as u64));
        let (mut short, mut long) = (receiver(), receiver());
        let mut slot = 0;
        let mut light = Vec::new();
        for i in 0..500 {
            slot += rng.below(3) as u32;
            let state = Qubit::from_code(rng.below(4) as u8);
            light.push((slot, if of_pairs { Light::Half(i) } else { Light::State(state) }));
        }
        let span = Span { first: 1 << 20, pulses: slot + 1 };
        let states = light.iter().map(|&(slot, light)| match light {
            Light::State(qubit) => (slot, Some(qubit)),
            _ => (slot, None),
        });
        let (mut glanced, mut swept) = (Detections::default(), Detections::default());
        let (mut told, mut seen) = (Vec::new(), Vec::new());
        short.glance(span, states, &mut glanced, |code| told.push(code));
        long.sweep(span, &light, (Missed::None, u64::MAX), &mut swept, &mut seen);
        assert!(glanced.slots().eq(swept.slots()));
        assert_eq!(*glanced.codes, *swept.codes);
        assert_eq!((glanced.halved, glanced.pulses, short.armed), (swept.halved, swept.pulses, long.armed));
        if of_pairs {
            let noticed = told.iter().zip(0..).filter(|(code, _)| **code & NOTICED != 0);
            let noticed: Vec<_> = noticed.map(|(&code, arrival)| (code & 3, arrival)).collect();
            let seen: Vec<_> =
                seen.iter().map(|&(click, half)| (super::setting(swept.codes[click as usize]), half)).collect();
            assert_eq!(noticed, seen);
        }
    }
}
