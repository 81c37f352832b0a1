//! The file that describes one simulated fibre.

use std::path::{Path, PathBuf};

use qkd::params::{FibreParams, LinkParams};
use serde::{Deserialize, Serialize};
use types::NodeId;

/// One simulated fibre, as in `fibres/<a>~<b>.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FibreConfig {
    /// The end that prepares photons.
    pub a: NodeId,
    /// The end that measures them.
    pub b: NodeId,
    /// Where `a` connects, `host:port`.
    pub listen_a: String,
    /// Where `b` connects, `host:port`.
    pub listen_b: String,
    /// Where the eavesdropper's own tool connects, `host:port`.
    pub control: String,
    /// Most pulses a second that pass.
    #[serde(default = "pulse_rate")]
    pub pulse_rate_hz: u32,
    /// Length in kilometres.
    #[serde(default = "length")]
    pub length_km: f64,
    /// Attenuation in decibels per kilometre.
    #[serde(default = "attenuation")]
    pub db_per_km: f64,
    /// Loss of connectors, in decibels.
    #[serde(default)]
    pub insertion_db: f64,
    /// Probability that a photon leaves in the orthogonal state.
    #[serde(default = "misalignment")]
    pub misalignment: f64,
}

fn pulse_rate() -> u32 {
    LinkParams::default().pulse_rate_hz
}

fn length() -> f64 {
    LinkParams::default().fibre.length_km
}

fn attenuation() -> f64 {
    LinkParams::default().fibre.db_per_km
}

fn misalignment() -> f64 {
    LinkParams::default().fibre.misalignment
}

/// A fibre's file is missing or wrong.
#[derive(Debug, thiserror::Error)]
pub enum FibreConfigError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {cause}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The text is not a fibre's description; the message shows the line.
    #[error("`{path}` is not a valid fibre file: {cause}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: Box<toml::de::Error>,
    },
    /// A number is out of bounds, or the ends are in the wrong order.
    #[error("fibre {a}~{b}: {wanted}")]
    Bounds {
        /// One end.
        a: NodeId,
        /// The other.
        b: NodeId,
        /// What is wanted.
        wanted: &'static str,
    },
}

impl FibreConfig {
    /// Reads and checks `path`.
    pub fn load(path: &Path) -> Result<Self, FibreConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|cause| FibreConfigError::Read { path: path.to_owned(), cause })?;
        let config: Self = toml::from_str(&text)
            .map_err(|cause| FibreConfigError::Parse { path: path.to_owned(), cause: Box::new(cause) })?;
        config.check()?;
        Ok(config)
    }

    /// Checks every number against its bounds.
    pub fn check(&self) -> Result<(), FibreConfigError> {
        let is = |ok: bool, wanted| {
            if ok { Ok(()) } else { Err(FibreConfigError::Bounds { a: self.a.clone(), b: self.b.clone(), wanted }) }
        };
        let params = self.params();
        is(self.a < self.b, "`a` must be the smaller of two different names")?;
        is(self.pulse_rate_hz > 0, "`pulse_rate_hz` must be at least 1")?;
        is(params.loss_db().is_finite() && params.loss_db() >= 0.0, "the loss must be 0 dB or more")?;
        is((0.0..=1.0).contains(&self.misalignment), "`misalignment` must be 0 to 1")
    }

    /// What the light passes through.
    pub fn params(&self) -> FibreParams {
        FibreParams {
            length_km: self.length_km,
            db_per_km: self.db_per_km,
            insertion_db: self.insertion_db,
            misalignment: self.misalignment,
        }
    }
}
