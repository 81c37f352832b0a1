//! How the file of a hub or node describes its end of a link.

use qkd::params::{BlockParams, DetectorParams, FibreParams, LinkParams};
use serde::{Deserialize, Serialize};
use types::NodeId;

/// One `[[link]]` of a hub's or node's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSection {
    /// The participant at the other end.
    pub peer: NodeId,
    /// The port of the fibre on this side, `host:port`.
    pub fibre: String,
    /// Numbers both ends must agree on; the defaults are those of `qkd::LinkParams`.
    #[serde(default, skip_serializing_if = "ParamsSection::is_default")]
    pub params: ParamsSection,
}

/// `params` of a link. Absent numbers keep their defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamsSection {
    /// Pulses a second.
    pub pulse_rate_hz: Option<u32>,
    /// Pulses in one frame of the quantum channel.
    pub frame_pulses: Option<u32>,
    /// The test basis is chosen with probability 2^-`z_log2`.
    pub z_log2: Option<u8>,
    /// Length of the fibre in kilometres.
    pub length_km: Option<f64>,
    /// Attenuation in decibels per kilometre.
    pub db_per_km: Option<f64>,
    /// Loss of connectors, in decibels.
    pub insertion_db: Option<f64>,
    /// Probability that an arriving photon is noticed.
    pub efficiency: Option<f64>,
    /// Probability of a click without light, per detector and slot.
    pub dark_count: Option<f64>,
    /// Slots after a click in which no detector is armed.
    pub dead_slots: Option<u32>,
    /// Probability that a click repeats itself.
    pub after_pulse: Option<f64>,
    /// Clicks that make a block.
    pub clicks: Option<u32>,
}

impl ParamsSection {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The full set of numbers.
    pub fn params(&self) -> LinkParams {
        let base = LinkParams::default();
        LinkParams {
            pulse_rate_hz: self.pulse_rate_hz.unwrap_or(base.pulse_rate_hz),
            frame_pulses: self.frame_pulses.unwrap_or(base.frame_pulses),
            z_log2: self.z_log2.unwrap_or(base.z_log2),
            fibre: FibreParams {
                length_km: self.length_km.unwrap_or(base.fibre.length_km),
                db_per_km: self.db_per_km.unwrap_or(base.fibre.db_per_km),
                insertion_db: self.insertion_db.unwrap_or(base.fibre.insertion_db),
                ..base.fibre
            },
            detector: DetectorParams {
                efficiency: self.efficiency.unwrap_or(base.detector.efficiency),
                dark_count: self.dark_count.unwrap_or(base.detector.dark_count),
                dead_slots: self.dead_slots.unwrap_or(base.detector.dead_slots),
                after_pulse: self.after_pulse.unwrap_or(base.detector.after_pulse),
            },
            block: BlockParams { clicks: self.clicks.unwrap_or(base.block.clicks), ..base.block },
        }
    }
}
