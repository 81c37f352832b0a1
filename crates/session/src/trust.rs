//! Trust: who may be a peer, read from one local file and never changed by a message (SM-03).
//!
//! The file is TOML:
//!
//! ```toml
//! boundary = "demo"
//!
//! [[node]]
//! name = "n1"
//! address = "10.0.0.1:7400"      # optional: where it listens
//! pin = "…"                      # 64 hex digits: SHA-256 of its TLS key
//! identity = "…"                 # its public identity in hex, as `qecnet init` prints it
//! ```

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crypto::IdentityPublic;
use serde::{Deserialize, Serialize};
use types::{BoundaryId, NodeId};

use crate::certificate::SpkiPin;

/// Largest trust file, in bytes: about 10,000 participants.
pub const MAX_LEN: u64 = 64 * 1024 * 1024;

/// A trust file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot read the trust file `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may write it.
    #[error("the trust file `{path}` has mode {mode:03o}: others may change it; check it, then `chmod go-w` it")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is longer than [`MAX_LEN`].
    #[error("the trust file `{path}` is too long")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A typo.
    #[error("the trust file `{path}` does not parse: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// Two participants share a name, a pin or an identity.
    #[error("the trust file `{path}` gives the {what} of `{node}` twice; remove one")]
    Twice {
        /// The file.
        path: PathBuf,
        /// Name, pin or identity.
        what: &'static str,
        /// The second participant.
        node: NodeId,
    },
}

/// One participant that may be a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustEntry {
    /// Its name.
    pub name: NodeId,
    /// Where it listens, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The pin of its TLS key.
    pub pin: SpkiPin,
    /// Its hybrid identity.
    pub identity: IdentityPublic,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    boundary: BoundaryId,
    #[serde(default, rename = "node")]
    nodes: Vec<TrustEntry>,
}

/// The participants of one boundary that this one trusts. It is made only by [`TrustStore::load`]
/// and has no way to change: another trust needs another local file.
#[derive(Debug)]
pub struct TrustStore {
    boundary: BoundaryId,
    by_name: BTreeMap<NodeId, TrustEntry>,
    by_pin: BTreeMap<SpkiPin, NodeId>,
}

impl TrustStore {
    /// Reads the trust file.
    ///
    /// # Errors
    /// [`TrustError`]; a file with any error is not used in part.
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        let io = |source| TrustError::Io { path: path.to_owned(), source };
        let about = std::fs::metadata(path).map_err(io)?;
        let mode = about.mode() & 0o777;
        if mode & 0o022 != 0 {
            return Err(TrustError::TooOpen { path: path.to_owned(), mode });
        }
        if about.len() > MAX_LEN {
            return Err(TrustError::TooLong { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        let file: TrustFile = toml::from_str(&text)
            .map_err(|source| TrustError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        Self::index(path, file)
    }

    fn index(path: &Path, file: TrustFile) -> Result<Self, TrustError> {
        let mut store = Self { boundary: file.boundary, by_name: BTreeMap::new(), by_pin: BTreeMap::new() };
        let mut identities = BTreeMap::new();
        for entry in file.nodes {
            let node = entry.name.clone();
            let twice = |what| TrustError::Twice { path: path.to_owned(), what, node: node.clone() };
            if store.by_pin.insert(entry.pin, node.clone()).is_some() {
                return Err(twice("pin"));
            }
            if identities.insert(entry.identity.fingerprint(), ()).is_some() {
                return Err(twice("identity"));
            }
            if store.by_name.insert(node.clone(), entry).is_some() {
                return Err(twice("name"));
            }
        }
        Ok(store)
    }

    /// The text of a trust file with these entries, for the commands that write one.
    ///
    /// # Errors
    /// The error of the TOML library; no entry made of parsed parts has one.
    pub fn render(boundary: &BoundaryId, nodes: Vec<TrustEntry>) -> Result<String, toml::ser::Error> {
        toml::to_string(&TrustFile { boundary: boundary.clone(), nodes })
    }

    /// The boundary that all of them belong to.
    pub fn boundary(&self) -> &BoundaryId {
        &self.boundary
    }

    /// The participant with this name.
    pub fn get(&self, node: &NodeId) -> Option<&TrustEntry> {
        self.by_name.get(node)
    }

    /// The participant with this pin.
    pub fn by_pin(&self, pin: &SpkiPin) -> Option<&TrustEntry> {
        self.by_pin.get(pin).and_then(|node| self.by_name.get(node))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &TrustEntry> {
        self.by_name.values()
    }
}
