//! The numbers that describe a link, and their bounds.

use crate::cascade::Pace;

/// Most pulses in one frame of the quantum channel.
pub const MAX_FRAME_PULSES: u32 = 1 << 20;

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

/// One block of post-processing.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockParams {
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
    /// Whether reconciliation spares leaked bits or round trips.
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
    /// Post-processing.
    pub block: BlockParams,
}

impl Default for LinkParams {
    /// Ten kilometres of fibre, single photons at 500 kHz: about 63,000 clicks and 15,000 secret
    /// bits a second, a block a second.
    fn default() -> Self {
        Self {
            pulse_rate_hz: 500_000,
            frame_pulses: 50_000,
            z_log2: 2,
            fibre: FibreParams { length_km: 10.0, db_per_km: 0.2, insertion_db: 0.0, misalignment: 0.01 },
            detector: DetectorParams { efficiency: 0.2, dark_count: 1e-6, dead_slots: 0, after_pulse: 0.0 },
            block: BlockParams {
                clicks: 1 << 16,
                eps_sec: 1e-10,
                eps_cor: 1e-15,
                qber_abort_ppm: types::limits::QBER_ABORT_PPM,
                abort_on_upper: false,
                min_test_bits: 512,
                pace: Pace::Quick,
            },
        }
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
    /// Fibre and detectors of Gobby, Yuan, Shields 2004 over `km` kilometres: 0.21 dB/km, receiver
    /// efficiency 4.5 %, background 1.7e-6, misalignment 3.3 %.
    pub fn gys(km: f64) -> Self {
        let mut params = Self { pulse_rate_hz: 2_000_000, frame_pulses: 200_000, ..Self::default() };
        params.fibre = FibreParams { length_km: km, db_per_km: 0.21, insertion_db: 0.0, misalignment: 0.033 };
        params.detector = DetectorParams { efficiency: 0.045, dark_count: 8.5e-7, dead_slots: 0, after_pulse: 0.0 };
        params
    }

    /// A metropolitan link of 2 dB with good detectors.
    pub fn metro() -> Self {
        Self {
            fibre: FibreParams { length_km: 8.0, db_per_km: 0.2, insertion_db: 0.4, misalignment: 0.01 },
            detector: DetectorParams { efficiency: 0.25, dark_count: 1e-6, dead_slots: 1, after_pulse: 0.005 },
            ..Self::default()
        }
    }

    /// A lossy link of 25 dB: more pulses, quieter detectors.
    pub fn lossy() -> Self {
        let mut params = Self { pulse_rate_hz: 20_000_000, frame_pulses: 1_000_000, ..Self::default() };
        params.fibre = FibreParams { length_km: 110.0, db_per_km: 0.2, insertion_db: 3.0, misalignment: 0.015 };
        params.detector = DetectorParams { efficiency: 0.2, dark_count: 1e-7, dead_slots: 20, after_pulse: 0.01 };
        params.block.clicks = 1 << 15;
        params
    }

    /// Checks every number against its bounds.
    pub fn check(&self) -> Result<(), ParamError> {
        let is = |ok: bool, name, wanted| if ok { Ok(()) } else { Err(ParamError { name, wanted }) };
        let probability = |p: f64| (0.0..=1.0).contains(&p);
        let epsilon = |e: f64| (1e-30..=1e-3).contains(&e);
        is(self.pulse_rate_hz > 0, "pulse_rate_hz", "at least 1")?;
        is((1..=MAX_FRAME_PULSES).contains(&self.frame_pulses), "frame_pulses", "1 to 1048576")?;
        is((1..=8).contains(&self.z_log2), "z_log2", "1 to 8")?;
        is(self.fibre.loss_db() >= 0.0 && self.fibre.loss_db().is_finite(), "loss", "0 dB or more")?;
        is(probability(self.fibre.misalignment), "misalignment", "0 to 1")?;
        is(probability(self.detector.efficiency), "efficiency", "0 to 1")?;
        is(probability(self.detector.dark_count), "dark_count", "0 to 1")?;
        is(probability(self.detector.after_pulse), "after_pulse", "0 to 1")?;
        is((64..=MAX_BLOCK_CLICKS as u32).contains(&self.block.clicks), "clicks", "64 to 1048576")?;
        is(epsilon(self.block.eps_sec), "eps_sec", "1e-30 to 1e-3")?;
        is(epsilon(self.block.eps_cor), "eps_cor", "1e-30 to 1e-3")?;
        is(self.block.qber_abort_ppm <= 500_000, "qber_abort_ppm", "at most 500000")?;
        is(self.block.min_test_bits > 0, "min_test_bits", "at least 1")
    }

    /// How many clicks a receiver may hold back for blocks to come.
    pub fn click_limit(&self) -> usize {
        (self.block.clicks as usize * 2).min(MAX_BLOCK_CLICKS)
    }

    /// How many pulses the source must remember: those of four blocks at the expected click rate,
    /// and at least one second of them.
    pub fn retain_pulses(&self) -> u64 {
        let per_pulse =
            (self.fibre.transmission() * self.detector.efficiency + 2.0 * self.detector.dark_count).max(1e-9);
        let four_blocks = 4.0 * f64::from(self.block.clicks) / per_pulse;
        (four_blocks as u64).clamp(u64::from(self.pulse_rate_hz), 1 << 28)
    }
}
