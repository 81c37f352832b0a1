//! A receiver on the quantum channel: a choice of setting per click and two gated single-photon
//! detectors, with finite efficiency, dark counts, dead time and after-pulses.
//!
//! In one slot of [`HALVED_IN`](crate::params::HALVED_IN), at random, the receiver has half its
//! efficiency. Light clicks there half as often; a blinded detector that an attacker makes click
//! does not (Lim et al. 2015, arXiv 1408.6398).
//!
//! A photon in a known state is measured here. Half of an entangled pair has no state of its own:
//! the receiver says which arrivals it notices in which settings, and the frame's clicks wait until
//! the outcomes come back.

use std::collections::VecDeque;

use crate::bits::Bits;
use crate::entropy::{Entropy, Rolls, Skip};
use crate::fibre::{PhotonFrame, measure};
use crate::light::{ARRIVALS, Arrivals, BUNCHES, Bunch, Bunches, Choices, NOTICED, OUTCOMES, Outcomes, Span, THINNED};
use crate::params::{DetectorParams, HALVED_IN, LinkParams};
use crate::source::{FrameError, Qubit};

mod clicks;

pub use clicks::Detections;
pub(crate) use clicks::{HALVED, setting};

/// Frames whose outcomes a receiver waits for; older ones are lost light.
const AWAITED: usize = 16;

/// The settings a receiver chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    /// The key basis, and the test basis with probability 2^-`z_log2`.
    Two {
        /// The exponent.
        z_log2: u8,
    },
    /// The test basis with probability 2^-`z_log2`, the two CHSH settings with 2^-`chsh_log2` each,
    /// else the key basis.
    Four {
        /// The exponent of the test basis.
        z_log2: u8,
        /// The exponent of a CHSH setting.
        chsh_log2: u8,
    },
}

impl Settings {
    /// Bob's, on a link of these numbers.
    pub fn of_bob(link: &LinkParams) -> Self {
        let z_log2 = link.z_log2;
        if link.block.protocol.is_entangled() {
            Self::Four { z_log2, chsh_log2: link.pairs.chsh_log2 }
        } else {
            Self::Two { z_log2 }
        }
    }

    /// The setting that the eight lowest bits of `roll` choose.
    #[inline]
    pub(crate) fn choose(self, roll: u64) -> u8 {
        match self {
            Self::Two { z_log2 } => u8::from(roll & ((1 << z_log2) - 1) == 0),
            Self::Four { z_log2, chsh_log2 } => {
                let (roll, test, chsh) = (roll & 255, 256 >> z_log2, 256 >> chsh_log2);
                let above = [0, test, test + chsh, test + 2 * chsh].map(|bound| u8::from(roll >= bound));
                // key above all bounds, else the number of those it is above
                above.iter().sum::<u8>() & 3
            }
        }
    }
}

/// What comes into a slot.
#[derive(Debug, Clone, Copy)]
enum Light {
    /// A photon in a known state.
    State(Qubit),
    /// A pulse that makes blinded detectors click in one setting only.
    Bright { setting: u8, bit: bool },
    /// Half of a pair, by its number among the arrivals.
    Half(u32),
}

/// Which light of a frame the detectors do not notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed {
    /// None: what they would miss is not in the frame.
    None,
    /// As much as their efficiency says.
    Some,
    /// The same, but for pulses that make blinded detectors click.
    ButBright,
}

/// The clicks of a frame some of whose outcomes are not known yet.
struct Batch {
    span: Span,
    clicks: Detections,
    /// Clicks that wait for an outcome, in order.
    asked: Vec<u32>,
}

/// A receiver.
pub struct Detector<E> {
    rolls: Rolls<E>,
    params: DetectorParams,
    settings: Settings,
    efficiency: Skip,
    dark: Skip,
    next: u64,
    /// First slot at which the detectors are armed again.
    armed: u64,
    /// Whether the last avalanche may repeat itself in the next armed slot.
    echo: bool,
    limit: usize,
    /// The last slot looked at, and whether the efficiency was halved there.
    halved: (u64, bool),
    clicks: Detections,
    awaited: VecDeque<Batch>,
}

impl<E: Entropy> Detector<E> {
    /// A receiver that chooses among `settings` and keeps at most `limit` clicks that no block has
    /// taken.
    pub fn new(params: &DetectorParams, settings: Settings, limit: usize, entropy: E) -> Self {
        let dark = 1.0 - (1.0 - params.dark_count).powi(2);
        Self {
            rolls: Rolls::new(entropy),
            params: params.clone(),
            settings,
            efficiency: Skip::new(params.efficiency),
            dark: Skip::new(dark),
            next: 0,
            armed: 0,
            echo: false,
            limit,
            halved: (u64::MAX, false),
            clicks: Detections::default(),
            awaited: VecDeque::new(),
        }
    }

    /// Takes one frame of light and returns what goes back into the fibre, if anything does. Frames
    /// must come in order; missing ones are lost light. Once `limit` clicks wait, further light is
    /// not recorded.
    pub fn measure(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        match frame.first().map(|kind| kind & !THINNED) {
            Some(ARRIVALS) => {
                let Arrivals { span, thinned, slots } = Arrivals::parse(frame)?;
                if !self.begin(span)? {
                    return Ok(None);
                }
                Ok(Some(self.notice(span, &slots, thinned)))
            }
            Some(OUTCOMES) => {
                let Outcomes { span, bits } = Outcomes::parse(frame)?;
                self.learn(span, &bits);
                Ok(None)
            }
            Some(BUNCHES) => {
                let Bunches { span, thinned, bunches } = Bunches::parse(frame)?;
                if self.begin(span)? {
                    let mut light = Vec::with_capacity(bunches.len());
                    for bunch in bunches {
                        let Bunch { slot, photons, setting, bit } = bunch;
                        match photons {
                            0 => light.push((slot, Light::Bright { setting, bit })),
                            1 => light.push((slot, Light::State(bunch.qubit()))),
                            _ => light.extend((0..photons).map(|_| (slot, Light::State(bunch.qubit())))),
                        }
                    }
                    // clicks stay in order: what is still waited for is lost
                    self.awaited.clear();
                    self.record_all(span, &light, if thinned { Missed::None } else { Missed::ButBright });
                }
                Ok(None)
            }
            _ => {
                let PhotonFrame { span, thinned, photons } = PhotonFrame::parse(frame, Light::State)?;
                if self.begin(span)? {
                    self.record_all(span, &photons, if thinned { Missed::None } else { Missed::Some });
                }
                Ok(None)
            }
        }
    }

    /// Whether the light of `span` is recorded.
    fn begin(&mut self, span: Span) -> Result<bool, FrameError> {
        if span.first < self.next {
            return Err(FrameError::Replayed { first: span.first, next: self.next });
        }
        self.next = span.end();
        Ok(self.clicks.len() < self.limit)
    }

    /// Clicks of photons in known states.
    fn record_all(&mut self, span: Span, light: &[(u32, Light)], missed: Missed) {
        let mut clicks = std::mem::take(&mut self.clicks);
        let dark = self.rolls.gap(&self.dark);
        if self.is_calm(span, missed, dark) {
            let states = light.iter().map(|&(slot, light)| match light {
                Light::State(qubit) => (slot, Some(qubit)),
                Light::Bright { .. } | Light::Half(_) => (slot, None),
            });
            self.glance(span, states, &mut clicks, |_| {});
        } else {
            self.sweep(span, light, (missed, dark), &mut clicks, &mut Vec::new());
        }
        self.clicks = clicks;
    }

    /// Clicks of halves of pairs: they wait for their outcomes.
    fn notice(&mut self, span: Span, slots: &[u32], thinned: bool) -> Vec<u8> {
        let missed = if thinned { Missed::None } else { Missed::Some };
        let mut batch = Batch { span, clicks: Detections::default(), asked: Vec::new() };
        let dark = self.rolls.gap(&self.dark);
        let mut codes = Vec::with_capacity(slots.len());
        if self.is_calm(span, missed, dark) {
            let halves = slots.iter().map(|&slot| (slot, None));
            self.glance(span, halves, &mut batch.clicks, |code| codes.push(code));
            batch.asked = (0..batch.clicks.len() as u32).collect();
        } else {
            let light: Vec<_> = slots.iter().zip(0..).map(|(&slot, i)| (slot, Light::Half(i))).collect();
            let mut seen = Vec::new();
            self.sweep(span, &light, (missed, dark), &mut batch.clicks, &mut seen);
            codes.resize(light.len(), 0);
            for (click, arrival) in seen {
                codes[arrival as usize] = NOTICED | clicks::setting(batch.clicks.codes[click as usize]);
                batch.asked.push(click);
            }
        }
        if self.awaited.len() >= AWAITED {
            self.awaited.pop_front();
        }
        self.awaited.push_back(batch);
        Choices { span, codes }.encode()
    }

    fn learn(&mut self, span: Span, bits: &Bits) {
        let Some(at) = self.awaited.iter().position(|batch| batch.span == span) else { return };
        // outcomes come in order: what was asked before and not answered is lost
        self.awaited.drain(..at);
        let Some(mut batch) = self.awaited.pop_front().filter(|batch| batch.asked.len() == bits.len()) else { return };
        for (i, &click) in batch.asked.iter().enumerate() {
            batch.clicks.codes[click as usize] |= u8::from(bits.get(i));
        }
        self.clicks.append(&batch.clicks);
    }

    /// Whether each piece of light in a frame is noticed, at full efficiency, and nothing else makes
    /// a click there or keeps one from being made.
    fn is_calm(&self, span: Span, missed: Missed, dark: u64) -> bool {
        let (dead, echo) = (self.params.dead_slots, self.params.after_pulse);
        missed == Missed::None && dark >= u64::from(span.pulses) && dead == 0 && echo <= 0.0
    }

    /// Finds the clicks of a [calm](Self::is_calm) frame of photons and halves of pairs, as
    /// [`Self::sweep`] would, and tells of each piece of light whether it is noticed, and where.
    fn glance(
        &mut self,
        span: Span,
        light: impl Iterator<Item = (u32, Option<Qubit>)>,
        clicks: &mut Detections,
        mut tell: impl FnMut(u8),
    ) {
        clicks.pulses += u64::from(span.pulses);
        let mut last = u64::MAX;
        for (slot, state) in light {
            let slot = span.first + u64::from(slot);
            let mut code = 0;
            // after a click the detectors are armed again in the next slot
            if slot != last {
                let roll = self.rolls.word();
                let halved = self.is_halved(slot, roll);
                if !(halved && roll >> 61 & 1 == 1) {
                    let setting = self.settings.choose(roll);
                    let bit = state.is_some_and(|qubit| measure(qubit, setting == 1, roll >> 63 == 1).bit);
                    clicks.push(slot, setting, bit, halved);
                    (last, code) = (slot, NOTICED | setting);
                }
            }
            tell(code);
        }
        if last != u64::MAX {
            self.armed = last + 1;
        }
    }

    /// Finds the clicks of one frame, the first in the dark being in slot `dark`. Those of halves of pairs go to `seen`, as the click's number
    /// and the arrival's, and have no bit yet.
    fn sweep(
        &mut self,
        span: Span,
        light: &[(u32, Light)],
        (missed, mut dark): (Missed, u64),
        clicks: &mut Detections,
        seen: &mut Vec<(u32, u32)>,
    ) {
        clicks.pulses += u64::from(span.pulses);
        let mut photon = self.next_noticed(light, missed, 0);
        loop {
            let here = light.get(photon);
            let lit = here.map_or(u64::MAX, |&(slot, _)| u64::from(slot));
            let slot = lit.min(dark);
            if slot >= u64::from(span.pulses) {
                break;
            }
            let what = here.filter(|_| lit == slot).map(|&(_, light)| light);
            let is_dark = dark == slot;
            if let Some(half) = self.avalanche(span.first + slot, what, is_dark, clicks) {
                seen.push((clicks.len() as u32 - 1, half));
            }
            if lit == slot {
                photon = self.next_noticed(light, missed, photon + 1);
            }
            if is_dark {
                dark = dark.saturating_add(1).saturating_add(self.rolls.gap(&self.dark));
            }
        }
    }

    /// The next piece of light, from number `from` on, that a receiver of full efficiency notices.
    #[inline]
    fn next_noticed(&mut self, light: &[(u32, Light)], missed: Missed, from: usize) -> usize {
        if missed == Missed::None {
            return from;
        }
        let gap = self.rolls.gap(&self.efficiency);
        let to = from.saturating_add(usize::try_from(gap).unwrap_or(usize::MAX));
        if missed == Missed::Some {
            return to;
        }
        // blinded detectors click however few photons they would notice
        let missed = light.get(from..to.min(light.len())).unwrap_or_default();
        let bright = missed.iter().position(|(_, light)| matches!(light, Light::Bright { .. }));
        bright.map_or(to, |at| from + at)
    }

    /// One slot with at least one cause of a click. Returns the number of the half of a pair that
    /// made one.
    fn avalanche(&mut self, slot: u64, light: Option<Light>, dark: bool, clicks: &mut Detections) -> Option<u32> {
        if self.echo && self.armed < slot {
            self.echo = false;
            let armed = self.armed;
            if self.rolls.chance(self.params.after_pulse) {
                let roll = self.rolls.word();
                let halved = self.is_halved(armed, roll);
                self.record(armed, roll, None, halved, clicks);
            }
        }
        if slot < self.armed {
            return None;
        }
        let roll = self.rolls.word();
        let halved = self.is_halved(slot, roll);
        // at half the efficiency, every other noticed photon is not
        let dimmed = halved && roll >> 61 & 1 == 1;
        let mut light = light.filter(|light| !dimmed || matches!(light, Light::Bright { .. }));
        if let Some(Light::Bright { setting, .. }) = light
            && setting != self.settings.choose(roll)
        {
            light = None;
        }
        if light.is_none() && !dark {
            return None;
        }
        // A dark count beside a detected photon: in the same detector it changes nothing, in the
        // other one both fire.
        if dark && light.is_some() && roll >> 62 & 1 == 1 {
            light = None;
        }
        self.record(slot, roll, light, halved, clicks);
        match light {
            Some(Light::Half(half)) => Some(half),
            _ => None,
        }
    }

    fn is_halved(&mut self, slot: u64, roll: u64) -> bool {
        if self.halved.0 != slot {
            self.halved = (slot, roll >> 32 & u64::from(HALVED_IN - 1) == 0);
        }
        self.halved.1
    }

    /// Records a click in `slot`; without a photon, or after a double click, the bit is random.
    fn record(&mut self, slot: u64, roll: u64, light: Option<Light>, halved: bool, clicks: &mut Detections) {
        let setting = self.settings.choose(roll);
        let coin = roll >> 63 == 1;
        let bit = match light {
            Some(Light::State(qubit)) => measure(qubit, setting == 1, coin).bit,
            Some(Light::Bright { bit, .. }) => bit,
            Some(Light::Half(_)) => false,
            None => coin,
        };
        clicks.push(slot, setting, bit, halved);
        self.armed = slot + 1 + u64::from(self.params.dead_slots);
        self.echo = self.params.after_pulse > 0.0;
    }

    /// Where choices come from.
    pub(crate) fn choices(&mut self) -> &mut E {
        self.rolls.source()
    }

    /// Clicks that wait for a block.
    pub fn waiting(&self) -> usize {
        self.clicks.len()
    }

    /// Slots since the first click that waits.
    pub fn age(&self) -> u64 {
        self.clicks.span().map_or(0, |(first, _)| self.next.saturating_sub(first))
    }

    /// Takes all waiting clicks for a block, once there are at least `clicks`.
    pub fn take(&mut self, clicks: usize) -> Option<Detections> {
        (self.clicks.len() >= clicks.max(1)).then(|| std::mem::take(&mut self.clicks))
    }

    /// Drops all waiting clicks, as after a block that failed for lack of its peer.
    pub fn clear(&mut self) {
        self.clicks = Detections::default();
        self.awaited = VecDeque::new();
    }

    /// Bytes held for clicks.
    pub fn held_bytes(&self) -> usize {
        let awaited = self.awaited.iter().map(|batch| batch.clicks.bytes() + 4 * batch.asked.capacity());
        self.clicks.bytes() + awaited.sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
