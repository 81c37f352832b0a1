//! The file that describes one simulated fibre.

use std::path::{Path, PathBuf};

use qkd::params::{LinkParams, ParamError};
use serde::{Deserialize, Serialize};
use types::NodeId;

use crate::config::ParamsSection;

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
    /// What the light passes through, and every other number: both ends say the same.
    #[serde(default, skip_serializing_if = "ParamsSection::is_default")]
    pub params: ParamsSection,
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
    /// The ends are in the wrong order.
    #[error("fibre {a}~{b}: `a` must be the smaller of two different names")]
    Ends {
        /// One end.
        a: NodeId,
        /// The other.
        b: NodeId,
    },
    /// A number is out of bounds.
    #[error("fibre {a}~{b}: {cause}")]
    Params {
        /// One end.
        a: NodeId,
        /// The other.
        b: NodeId,
        /// Which, and what is wanted.
        cause: ParamError,
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
        let (a, b) = (self.a.clone(), self.b.clone());
        if a >= b {
            return Err(FibreConfigError::Ends { a, b });
        }
        self.link().check().map_err(|cause| FibreConfigError::Params { a, b, cause })
    }

    /// The link's numbers.
    pub fn link(&self) -> LinkParams {
        self.params.params()
    }
}
