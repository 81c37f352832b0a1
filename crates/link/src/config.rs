//! How the file of a hub, a node or a fibre describes a link.

use kme::SaeId;
use kme::client::ClientSettings;
use qkd::params::{BlockParams, DetectorParams, FibreParams, LinkParams, PairParams};
use qkd::{Preset, Protocol};
use serde::{Deserialize, Serialize};
use types::NodeId;

/// One `[[link]]` of a hub's or node's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSection {
    /// The participant at the other end.
    pub peer: NodeId,
    /// The port of the fibre on this side, `host:port`; empty where there is a vendor's KME in its place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fibre: String,
    /// The vendor's KME on this side (ETSI GS QKD 014), in place of a fibre.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kme: Option<VendorSection>,
    /// Numbers both ends must agree on; the defaults are those of `qkd::LinkParams`.
    #[serde(default, skip_serializing_if = "ParamsSection::is_default")]
    pub params: ParamsSection,
}

/// A vendor's KME as the source of a link's bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendorSection {
    /// How to reach it, and as whom.
    #[serde(flatten)]
    pub client: ClientSettings,
    /// Name of the SAE that the other end is.
    pub peer: SaeId,
}

impl VendorSection {
    /// Paths become relative to `folder`.
    pub fn rebase(&mut self, folder: &std::path::Path) {
        let files = [&mut self.client.authority, &mut self.client.certificate, &mut self.client.key];
        files.into_iter().for_each(|path| *path = folder.join(&*path));
    }
}

impl LinkSection {
    /// Checks that there is one source of bits.
    ///
    /// # Errors
    /// What to change.
    pub fn check_source(&self) -> Result<(), String> {
        match (self.fibre.is_empty(), &self.kme) {
            (false, None) | (true, Some(_)) => Ok(()),
            _ => Err(format!("`link` to `{}`: either `fibre` or `kme`", self.peer)),
        }
    }
}

/// `params` of a link: protocol and preset choose every number, what else is given replaces one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamsSection {
    /// How the key is made: `bb84`, `decoy-bb84`, `bbm92` or `e91`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// Fibre and detectors: `short`, `gys`, `metro` or `lossy`.
    #[serde(default, with = "preset", skip_serializing_if = "is_default")]
    pub preset: Preset,
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
    /// Probability that a photon leaves the fibre in the orthogonal state.
    pub misalignment: Option<f64>,
    /// Probability that an arriving photon is noticed.
    pub efficiency: Option<f64>,
    /// Probability of a click without light, per detector and slot.
    pub dark_count: Option<f64>,
    /// Slots after a click in which no detector is armed.
    pub dead_slots: Option<u32>,
    /// Probability that a click repeats itself.
    pub after_pulse: Option<f64>,
    /// Mean number of pairs in a pulse of a source of pairs.
    pub pairs_mean: Option<f64>,
    /// Visibility of the pairs.
    pub visibility: Option<f64>,
    /// The receiver of pairs chooses each CHSH setting with probability 2^-`chsh_log2`.
    pub chsh_log2: Option<u8>,
    /// Clicks that make a block.
    pub clicks: Option<u32>,
    /// Probability that the key of a block is not secret.
    pub eps_sec: Option<f64>,
    /// How errors are found: `cascade` or, for long delays, `ldpc`.
    pub reconciliation: Option<Method>,
}

/// A method of reconciliation by its name in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// [`qkd::Reconciliation::Cascade`].
    Cascade,
    /// [`qkd::Reconciliation::Ldpc`].
    Ldpc,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ParamsSection {
    /// Protocol and preset, and nothing else.
    pub fn of(protocol: Protocol, preset: Preset) -> Self {
        Self { protocol, preset, ..Self::default() }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The full set of numbers.
    pub fn params(&self) -> LinkParams {
        let base = LinkParams::of(self.protocol, self.preset);
        let pulse_rate_hz = self.pulse_rate_hz.unwrap_or(base.pulse_rate_hz);
        let mut params = LinkParams {
            pulse_rate_hz,
            frame_pulses: self.frame_pulses.unwrap_or_else(|| (pulse_rate_hz / 10).clamp(1, base.frame_pulses.max(1))),
            z_log2: self.z_log2.unwrap_or(base.z_log2),
            fibre: FibreParams {
                length_km: self.length_km.unwrap_or(base.fibre.length_km),
                db_per_km: self.db_per_km.unwrap_or(base.fibre.db_per_km),
                insertion_db: self.insertion_db.unwrap_or(base.fibre.insertion_db),
                misalignment: self.misalignment.unwrap_or(base.fibre.misalignment),
            },
            detector: DetectorParams {
                efficiency: self.efficiency.unwrap_or(base.detector.efficiency),
                dark_count: self.dark_count.unwrap_or(base.detector.dark_count),
                dead_slots: self.dead_slots.unwrap_or(base.detector.dead_slots),
                after_pulse: self.after_pulse.unwrap_or(base.detector.after_pulse),
            },
            pairs: PairParams {
                mean: self.pairs_mean.unwrap_or(base.pairs.mean),
                visibility: self.visibility.unwrap_or(base.pairs.visibility),
                chsh_log2: self.chsh_log2.unwrap_or(base.pairs.chsh_log2),
            },
            block: BlockParams {
                clicks: self.clicks.unwrap_or(base.block.clicks),
                eps_sec: self.eps_sec.unwrap_or(base.block.eps_sec),
                reconciliation: match self.reconciliation {
                    Some(Method::Ldpc) => qkd::Reconciliation::Ldpc,
                    Some(Method::Cascade) => qkd::Reconciliation::Cascade,
                    None => base.block.reconciliation,
                },
                ..base.block
            },
        };
        params.set_halved_share();
        params
    }
}

mod preset {
    use qkd::Preset;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(preset: &Preset, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(preset.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Preset, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{LinkSection, ParamsSection};
    use qkd::{LinkParams, Preset, Protocol};

    /// SM-06b: every protocol and preset can be named, the numbers are those of the preset, and an
    /// unknown name is refused with the names there are.
    #[test]
    fn a_link_names_protocol_and_preset() {
        for protocol in Protocol::ALL {
            for preset in Preset::ALL {
                let text = format!(
                    "peer = \"n2\"\nfibre = \"127.0.0.1:1\"\n[params]\nprotocol = \"{protocol}\"\npreset = \"{preset}\"\n"
                );
                let section: LinkSection = toml::from_str(&text).unwrap();
                assert_eq!(section.params, ParamsSection::of(*protocol, preset));
                let params = section.params.params();
                assert_eq!(params, LinkParams::of(*protocol, preset));
                params.check().unwrap();
                let written: LinkSection = toml::from_str(&toml::to_string(&section).unwrap()).unwrap();
                assert_eq!(written, section);
            }
        }
        let wrong = |params: &str| toml::from_str::<ParamsSection>(params).unwrap_err().to_string();
        assert!(wrong("protocol = \"b92\"").contains("decoy-bb84"));
        assert!(wrong("preset = \"moon\"").contains("metro"));
    }
}
