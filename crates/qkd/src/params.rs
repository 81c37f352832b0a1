//! The numbers that describe a link, and their bounds.

use types::mesh::Protocol;

use crate::cascade::Pace;
use crate::decoy::Intensities;
use crate::reconcile::Reconciliation;

mod presets;

pub use presets::{Preset, UnknownPreset};

/// Most pulses in one frame of the quantum channel.
pub const MAX_FRAME_PULSES: u32 = 1 << 30;

/// Most pulses of a dense train, which is sent pulse by pulse.
pub const MAX_DENSE_PULSES: u32 = 1 << 20;

/// Most slots that one frame names.
pub const MAX_ARRIVALS: usize = 1 << 20;

/// Trains of which at least this part gets through are sent pulse by pulse.
pub(crate) const DENSE: f64 = 1.0 / 16.0;

/// In one slot of this many, at random, the receiver has half its efficiency (Lim et al. 2015,
/// arXiv 1408.6398): clicks that do not care are not made by light alone.
pub const HALVED_IN: u32 = 8;

/// Mean over slots of the receiver's efficiency, over its full one.
pub(crate) const MEAN_EFFICIENCY: f64 = 1.0 - 0.5 / HALVED_IN as f64;

/// Most clicks in one block of post-processing.
pub const MAX_BLOCK_CLICKS: usize = 1 << 20;

/// The stretch of fibre.
#[derive(Debug, Clone, PartialEq)]
pub struct FibreParams {
    /// Length in kilometres.
    pub length_km: f64,
    /// Attenuation in decibels per kilometre.
    pub db_per_km: f64,
    /// Loss of connectors and of the receiver's optics, in decibels.
    pub insertion_db: f64,
    /// Probability that a photon leaves in the orthogonal state.
    pub misalignment: f64,
}

impl FibreParams {
    /// Total loss in decibels.
    pub fn loss_db(&self) -> f64 {
        self.length_km * self.db_per_km + self.insertion_db
    }

    /// Probability that a photon reaches the far end.
    pub fn transmission(&self) -> f64 {
        10_f64.powf(-self.loss_db() / 10.0)
    }
}

/// The pair of detectors.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorParams {
    /// Probability that an arriving photon is noticed.
    pub efficiency: f64,
    /// Probability of a click without light, per detector and slot.
    pub dark_count: f64,
    /// Slots after a click in which neither detector is armed.
    pub dead_slots: u32,
    /// Probability that a click repeats itself in the first armed slot after it.
    pub after_pulse: f64,
}

/// The source of photon pairs in the middle of a fibre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairParams {
    /// Mean number of pairs in a pulse.
    pub mean: f64,
    /// Visibility V of a pair as it leaves: (1 - V)/2 of its outcomes differ in equal settings.
    pub visibility: f64,
    /// Bob chooses each of his two CHSH settings with probability 2^-`chsh_log2`.
    pub chsh_log2: u8,
}

/// One block of post-processing.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockParams {
    /// How the key is made.
    pub protocol: Protocol,
    /// The intensities of weak pulses, where the protocol sends them.
    pub intensities: Intensities,
    /// Largest share of honest clicks in the slots in which the receiver has half its efficiency.
    pub halved_share: f64,
    /// Clicks that make a block.
    pub clicks: u32,
    /// Probability that the key of a block is not secret.
    pub eps_sec: f64,
    /// Probability that the two keys of a block differ and nobody noticed.
    pub eps_cor: f64,
    /// Error rate, in parts per million, at which a block is given up (KM-09).
    pub qber_abort_ppm: u32,
    /// Whether the upper confidence bound of the error rate, and not only the rate itself, is held
    /// against [`Self::qber_abort_ppm`]. Small blocks have wide bounds.
    pub abort_on_upper: bool,
    /// Fewest test-basis bits that make an estimate.
    pub min_test_bits: u32,
    /// How errors are found.
    pub reconciliation: Reconciliation,
    /// Whether Cascade spares leaked bits or round trips.
    pub pace: Pace,
}

/// Everything both ends of a link, and the fibre between, agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkParams {
    /// Pulses per second.
    pub pulse_rate_hz: u32,
    /// Pulses in one frame of the quantum channel.
    pub frame_pulses: u32,
    /// Each end chooses the test basis Z with probability 2^-`z_log2`.
    pub z_log2: u8,
    /// The fibre.
    pub fibre: FibreParams,
    /// The detectors.
    pub detector: DetectorParams,
    /// The source of pairs, where the protocol uses one.
    pub pairs: PairParams,
    /// Post-processing.
    pub block: BlockParams,
}

impl Default for LinkParams {
    /// Ten kilometres of fibre, single photons at 500 kHz: about 59,000 clicks and 14,000 secret
    /// bits a second, a block a second.
    fn default() -> Self {
        Self::of(Protocol::Bb84, Preset::Short)
    }
}

/// A number of a link is outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("link parameter `{name}` is out of bounds: {wanted}")]
pub struct ParamError {
    name: &'static str,
    wanted: &'static str,
}

impl LinkParams {
    /// Checks every number against its bounds.
    pub fn check(&self) -> Result<(), ParamError> {
        let is = |ok: bool, name, wanted| if ok { Ok(()) } else { Err(ParamError { name, wanted }) };
        let probability = |p: f64| (0.0..=1.0).contains(&p);
        let epsilon = |e: f64| (1e-30..=1e-3).contains(&e);
        is(self.pulse_rate_hz > 0, "pulse_rate_hz", "at least 1")?;
        is((1..=MAX_FRAME_PULSES).contains(&self.frame_pulses), "frame_pulses", "1 to 2^30")?;
        let crowd = if self.is_dense() { f64::from(MAX_DENSE_PULSES) } else { MAX_ARRIVALS as f64 / 2.0 };
        let arriving = if self.is_dense() { 1.0 } else { self.arrival_rate() };
        is(
            f64::from(self.frame_pulses) * arriving <= crowd,
            "frame_pulses",
            "few enough that a frame names at most 524288 slots",
        )?;
        is((1..=8).contains(&self.z_log2), "z_log2", "1 to 8")?;
        is(self.fibre.loss_db() >= 0.0 && self.fibre.loss_db().is_finite(), "loss", "0 dB or more")?;
        is(probability(self.fibre.misalignment), "misalignment", "0 to 1")?;
        is(probability(self.detector.efficiency), "efficiency", "0 to 1")?;
        is(probability(self.detector.dark_count), "dark_count", "0 to 1")?;
        is(probability(self.detector.after_pulse), "after_pulse", "0 to 1")?;
        is((64..=MAX_BLOCK_CLICKS as u32).contains(&self.block.clicks), "clicks", "64 to 1048576")?;
        is(probability(self.pairs.mean) && self.pairs.mean > 0.0, "pairs.mean", "above 0, at most 1")?;
        is(probability(self.pairs.visibility), "pairs.visibility", "0 to 1")?;
        is((3..=8).contains(&self.pairs.chsh_log2), "pairs.chsh_log2", "3 to 8")?;
        let is_left = !self.block.protocol.is_entangled() || self.z_log2 > 1;
        is(is_left, "z_log2", "2 to 8 where pairs are measured, so that slots are left for the key")?;
        is(
            self.block.intensities.are_valid(),
            "intensities",
            "μ1 > μ2 + μ3, μ2 > μ3 >= 0, probabilities above 0 that add up to 1",
        )?;
        is(probability(self.block.halved_share), "halved_share", "0 to 1")?;
        is(epsilon(self.block.eps_sec), "eps_sec", "1e-30 to 1e-3")?;
        is(epsilon(self.block.eps_cor), "eps_cor", "1e-30 to 1e-3")?;
        is(self.block.qber_abort_ppm <= 500_000, "qber_abort_ppm", "at most 500000")?;
        is(self.block.min_test_bits > 0, "min_test_bits", "at least 1")
    }

    /// How many clicks a receiver may hold back for blocks to come.
    pub fn click_limit(&self) -> usize {
        (self.block.clicks as usize * 2).min(MAX_BLOCK_CLICKS)
    }

    /// Whether trains are sent pulse by pulse.
    pub(crate) fn is_dense(&self) -> bool {
        self.block.protocol == Protocol::Bb84 && self.fibre.transmission() >= DENSE
    }

    /// How often a slot is named to an end, at most.
    fn arrival_rate(&self) -> f64 {
        match self.block.protocol {
            Protocol::Bb84 => self.fibre.transmission(),
            Protocol::DecoyBb84 => -(-self.block.intensities.mean[0] * self.fibre.transmission()).exp_m1(),
            Protocol::Bbm92 | Protocol::E91 => self.pairs.mean * self.fibre.transmission().sqrt(),
        }
    }

    /// Expected clicks of Bob's per pulse.
    pub fn click_rate(&self) -> f64 {
        let noticed = self.detector.efficiency * MEAN_EFFICIENCY;
        let light = match self.block.protocol {
            Protocol::Bb84 => self.fibre.transmission() * noticed,
            Protocol::DecoyBb84 => self.block.intensities.gain(self.fibre.transmission() * noticed),
            // the number of pairs in a pulse is thermal
            Protocol::Bbm92 | Protocol::E91 => {
                let mean = self.pairs.mean * self.fibre.transmission().sqrt() * noticed;
                mean / (1.0 + mean)
            }
        };
        (light + 2.0 * self.detector.dark_count).max(1e-12)
    }

    /// The loss of the fibre in decibels that explains `clicks` of Bob's in `pulses` pulses; `None`
    /// where there are no more than darkness gives.
    pub fn loss_from(&self, clicks: u64, pulses: u64) -> Option<f64> {
        let seen = clicks as f64 / (pulses as f64).max(1.0);
        let fibre = |db: f64| FibreParams { length_km: 0.0, db_per_km: 0.0, insertion_db: db, misalignment: 0.0 };
        let at = |db: f64| Self { fibre: fibre(db), ..self.clone() }.click_rate();
        if seen <= at(90.0) {
            return None;
        }
        let (mut low, mut high) = (0.0, 90.0);
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if at(middle) > seen { low = middle } else { high = middle }
        }
        Some(low)
    }

    /// How many pulses the source must remember: those of four blocks at the expected click rate,
    /// and at least one second of them.
    pub fn retain_pulses(&self) -> u64 {
        let four_blocks = 4.0 * f64::from(self.block.clicks) / self.click_rate();
        (four_blocks as u64).clamp(u64::from(self.pulse_rate_hz), 1 << 34)
    }
}
