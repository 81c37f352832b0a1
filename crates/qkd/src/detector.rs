//! Bob's side of the quantum channel: a basis choice per pulse and two gated single-photon
//! detectors, with finite efficiency, dark counts, dead time and after-pulses.

use crate::bits::Bits;
use crate::entropy::{Entropy, Rolls, Skip};
use crate::fibre::{PhotonFrame, measure};
use crate::params::DetectorParams;
use crate::source::{FrameError, Qubit};

/// The clicks of one block, in order of their slots.
pub struct Detections {
    pub(crate) slots: Vec<u64>,
    pub(crate) z: Bits,
    pub(crate) bit: Bits,
    /// Slots the receiver was open for.
    pub(crate) pulses: u64,
}

impl Detections {
    /// How many clicks.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// Bob's receiver.
pub struct Detector<E> {
    rolls: Rolls<E>,
    params: DetectorParams,
    z_log2: u8,
    efficiency: Skip,
    dark: Skip,
    next: u64,
    /// First slot at which the detectors are armed again.
    armed: u64,
    /// Slot of the last avalanche, which may repeat itself in the next armed slot.
    echo: bool,
    limit: usize,
    slots: Vec<u64>,
    z: Bits,
    bit: Bits,
    pulses: u64,
}

impl<E: Entropy> Detector<E> {
    /// A receiver that measures in the test basis with probability 2^-`z_log2` and keeps at most
    /// `limit` clicks that no block has taken.
    pub fn new(params: &DetectorParams, z_log2: u8, limit: usize, entropy: E) -> Self {
        let dark = 1.0 - (1.0 - params.dark_count).powi(2);
        Self {
            rolls: Rolls::new(entropy),
            params: params.clone(),
            z_log2,
            efficiency: Skip::new(params.efficiency),
            dark: Skip::new(dark),
            next: 0,
            armed: 0,
            echo: false,
            limit,
            slots: Vec::new(),
            z: Bits::default(),
            bit: Bits::default(),
            pulses: 0,
        }
    }

    /// Measures one photon frame and returns the clicks it gave. Frames must come in order;
    /// missing ones are lost light. Once `limit` clicks wait, further light is not recorded.
    pub fn measure(&mut self, frame: &[u8]) -> Result<usize, FrameError> {
        let frame = PhotonFrame::parse(frame)?;
        if frame.first < self.next {
            return Err(FrameError::Replayed { first: frame.first, next: self.next });
        }
        self.next = frame.first + u64::from(frame.pulses);
        if self.slots.len() >= self.limit {
            return Ok(0);
        }
        self.pulses += u64::from(frame.pulses);
        let before = self.slots.len();
        let mut photon = self.rolls.gap(&self.efficiency);
        let mut dark = self.rolls.gap(&self.dark);
        loop {
            let seen = frame.photons.get(usize::try_from(photon).unwrap_or(usize::MAX));
            let bright = seen.map_or(u64::MAX, |&(slot, _)| u64::from(slot));
            let slot = bright.min(dark);
            if slot >= u64::from(frame.pulses) {
                break;
            }
            let light = seen.filter(|_| bright == slot).map(|&(_, qubit)| qubit);
            self.avalanche(frame.first + slot, light, dark == slot);
            if bright == slot {
                photon = photon.saturating_add(1).saturating_add(self.rolls.gap(&self.efficiency));
            }
            if dark == slot {
                dark = dark.saturating_add(1).saturating_add(self.rolls.gap(&self.dark));
            }
        }
        Ok(self.slots.len() - before)
    }

    /// One slot with at least one cause of a click.
    fn avalanche(&mut self, slot: u64, light: Option<Qubit>, dark: bool) {
        if self.echo && self.armed < slot {
            self.echo = false;
            let armed = self.armed;
            if self.rolls.chance(self.params.after_pulse) {
                self.record(armed, None);
            }
        }
        if slot < self.armed {
            return;
        }
        let mut causes = light;
        if dark && light.is_some() {
            // A dark count beside a detected photon: in the same detector it changes nothing, in
            // the other one both fire.
            if self.rolls.word() & 1 == 1 {
                causes = None;
            }
        }
        self.record(slot, causes);
    }

    /// Records a click in `slot`; without a photon, or after a double click, the bit is random.
    fn record(&mut self, slot: u64, light: Option<Qubit>) {
        let roll = self.rolls.word();
        let z = roll & ((1 << self.z_log2) - 1) == 0;
        let coin = roll >> 63 == 1;
        let bit = light.map_or(coin, |qubit| measure(qubit, z, coin).bit);
        self.slots.push(slot);
        self.z.push(z);
        self.bit.push(bit);
        self.armed = slot + 1 + u64::from(self.params.dead_slots);
        self.echo = self.params.after_pulse > 0.0;
    }

    /// Clicks that wait for a block.
    pub fn waiting(&self) -> usize {
        self.slots.len()
    }

    /// Takes all waiting clicks for a block, once there are at least `clicks`.
    pub fn take(&mut self, clicks: usize) -> Option<Detections> {
        if self.slots.len() < clicks.max(1) {
            return None;
        }
        Some(Detections {
            slots: std::mem::take(&mut self.slots),
            z: std::mem::take(&mut self.z),
            bit: std::mem::take(&mut self.bit),
            pulses: std::mem::take(&mut self.pulses),
        })
    }

    /// Drops all waiting clicks, as after a block that failed for lack of its peer.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.z = Bits::default();
        self.bit = Bits::default();
        self.pulses = 0;
    }
}
