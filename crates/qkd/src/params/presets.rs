use std::str::FromStr;

use types::mesh::Protocol;

use crate::cascade::Pace;
use crate::decoy::Intensities;
use crate::params::{BlockParams, DetectorParams, FibreParams, HALVED_IN, LinkParams, PairParams};
use crate::reconcile::Reconciliation;

/// A named set of fibre and detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// Ten kilometres between two rooms of a demonstration, with detectors of diodes.
    Short,
    /// The experiment of Gobby, Yuan, Shields 2004 with the parameters Ma et al. 2005 use
    /// (arXiv quant-ph/0503005): 0.21 dB/km, receiver 4.5 %, background 1.7e-6, misalignment 3.3 %;
    /// here over 20 km.
    Gys,
    /// A metropolitan link of 2 dB with superconducting nanowires: 85 % and 100 dark counts a second
    /// in gates of a nanosecond, as vendors state for 1,550 nm. The default.
    #[default]
    Metro,
    /// A lossy link of 25 dB: 125 km of 0.2 dB/km with the gated avalanche diodes of Lim et al. 2014
    /// (arXiv 1311.7129): 10 %, dark counts 6e-7, after-pulses 4 %, misalignment 0.5 %.
    Lossy,
}

/// The text names no preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a preset is one of: short, gys, metro, lossy")]
pub struct UnknownPreset;

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::Short, Self::Gys, Self::Metro, Self::Lossy];

    /// The name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Gys => "gys",
            Self::Metro => "metro",
            Self::Lossy => "lossy",
        }
    }

    /// What the light passes through.
    pub fn fibre(self) -> FibreParams {
        let (length_km, db_per_km, misalignment) = match self {
            Self::Short => (10.0, 0.2, 0.01),
            Self::Gys => (20.0, 0.21, 0.033),
            Self::Metro => (10.0, 0.2, 0.01),
            Self::Lossy => (125.0, 0.2, 0.005),
        };
        FibreParams { length_km, db_per_km, insertion_db: 0.0, misalignment }
    }

    /// What notices it.
    pub fn detector(self) -> DetectorParams {
        let (efficiency, dark_count, dead_slots, after_pulse) = match self {
            Self::Short => (0.2, 1e-6, 0, 0.0),
            // the background is that of both detectors together
            Self::Gys => (0.045, 8.5e-7, 0, 0.0),
            Self::Metro => (0.85, 1e-7, 0, 0.0),
            Self::Lossy => (0.1, 6e-7, 10, 0.04),
        };
        DetectorParams { efficiency, dark_count, dead_slots, after_pulse }
    }

    /// Pulses a second that keep a link of this preset at a few ten thousand clicks a second.
    fn pulse_rate(self, protocol: Protocol) -> u32 {
        match (self, protocol) {
            (Self::Short, Protocol::Bb84) => 500_000,
            (Self::Short, Protocol::DecoyBb84) => 4_000_000,
            (Self::Gys, Protocol::Bb84) => 2_000_000,
            (Self::Gys, Protocol::DecoyBb84) => 20_000_000,
            (Self::Metro, Protocol::Bb84) => 125_000,
            (Self::Metro, Protocol::DecoyBb84) => 500_000,
            (Self::Lossy, Protocol::Bb84) => 100_000_000,
            (Self::Lossy, Protocol::DecoyBb84) => 2_500_000_000,
            (Self::Lossy, Protocol::Bbm92 | Protocol::E91) => 100_000_000,
            // a block in less than a second
            (Self::Metro, Protocol::Bbm92 | Protocol::E91) => 8_000_000,
            (_, Protocol::Bbm92 | Protocol::E91) => 2_000_000,
        }
    }

    /// What leaves more key: both ends of Cascade tell, which costs a ninth of the key of single photons at an
    /// error rate of 1 %, and of everything else a third or more.
    fn reconciliation(self, protocol: Protocol) -> Reconciliation {
        match (self, protocol) {
            (Self::Short | Self::Metro, Protocol::Bb84) => Reconciliation::Cascade,
            _ => Reconciliation::Ldpc,
        }
    }

    fn clicks(self, protocol: Protocol) -> u32 {
        match (self, protocol) {
            (_, Protocol::Bb84) => 1 << 16,
            (Self::Gys, Protocol::DecoyBb84) => 1 << 19,
            (Self::Lossy, Protocol::DecoyBb84) => 1 << 18,
            (_, Protocol::DecoyBb84) => 1 << 17,
            (Self::Metro, Protocol::Bbm92 | Protocol::E91) => 1 << 17,
            // few clicks of one end meet one of the other's
            (_, Protocol::Bbm92 | Protocol::E91) => 1 << 19,
        }
    }
}

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == text).ok_or(UnknownPreset)
    }
}

impl LinkParams {
    /// A link of `protocol` over the fibre and with the detectors of `preset`.
    pub fn of(protocol: Protocol, preset: Preset) -> Self {
        let pulse_rate_hz = preset.pulse_rate(protocol);
        let mut params = Self {
            pulse_rate_hz,
            frame_pulses: (pulse_rate_hz / 10).max(1),
            z_log2: 2,
            fibre: preset.fibre(),
            detector: preset.detector(),
            pairs: PairParams {
                mean: 0.03,
                visibility: 0.98,
                // E91 takes its key's length from S and wants it to the digit
                chsh_log2: if protocol == Protocol::E91 { 3 } else { 4 },
            },
            block: BlockParams {
                protocol,
                intensities: Intensities::SHORT_BLOCKS,
                halved_share: 0.0,
                clicks: preset.clicks(protocol),
                eps_sec: 1e-10,
                eps_cor: 1e-15,
                qber_abort_ppm: types::limits::QBER_ABORT_PPM,
                abort_on_upper: false,
                min_test_bits: 512,
                reconciliation: preset.reconciliation(protocol),
                pace: Pace::Quick,
            },
        };
        params.set_halved_share();
        params
    }

    /// Works out [`BlockParams::halved_share`] anew from fibre, detectors and protocol.
    ///
    /// Light of mean μ behind transmission t gives (1 - e^(-μtη/2))/(1 - e^(-μtη)) as many clicks at
    /// half the efficiency η, single photons exactly half. What is no light (dark counts,
    /// after-pulses) does not care, and is allowed twice the share it has on the nominal fibre.
    pub fn set_halved_share(&mut self) {
        let eta = self.detector.efficiency;
        let kept = match self.block.protocol {
            Protocol::DecoyBb84 => {
                let light = |eta: f64| -(-self.block.intensities.mean[0] * self.fibre.transmission() * eta).exp_m1();
                light(eta / 2.0) / light(eta).max(f64::MIN_POSITIVE)
            }
            _ => 0.5,
        };
        let one_in = f64::from(HALVED_IN);
        let of_light = kept / (one_in - 1.0 + kept);
        let careless = 2.0 * (2.0 * self.detector.dark_count / self.click_rate() + self.detector.after_pulse);
        self.block.halved_share = of_light + (1.0 / one_in - of_light) * careless.min(1.0);
    }
}
