use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use kme::SaeId;
use kme::config::{Guard, Limits, Timing};
use serde::{Deserialize, Serialize};
use types::mesh::Groups;
use types::{Hash, NodeId};

/// Table `[kme]` of a node's configuration: how applications (SAEs) are given keys here. Who they are is decided in
/// the boundary, by `qecnet sae add`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmeSection {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Host names and addresses by which applications reach this node, for its certificate; the first is in the URL
    /// that the mesh tells. The address listened on where absent.
    #[serde(default)]
    pub names: Vec<String>,
    /// Folder of the listener's authority and certificate.
    #[serde(default = "files")]
    pub files: PathBuf,
    /// Nodes that are trusted to pass keys on where neither the fibre of two nodes nor the hub's has bits. They see
    /// what they pass on, as the hub does. Both ends must name them.
    #[serde(default)]
    pub relays: BTreeSet<NodeId>,
    /// Authorities of vendors' certificates, PEM. Certificates of `qecnet sae add` need none.
    #[serde(default)]
    pub authorities: Vec<PathBuf>,
    /// Key exchange groups of the listener: `hybrid`, or `preferred` for hybrid first and classical after it. What a
    /// SAE's own entry in the boundary demands counts in any case.
    #[serde(default = "groups")]
    pub groups: Groups,
    /// How vendors' certificates name the SAEs of the boundary.
    #[serde(default, rename = "sae")]
    pub saes: Vec<SaeSection>,
    /// Limits of requests and pools.
    #[serde(default)]
    pub limits: Limits,
    /// Deadlines and intervals.
    #[serde(default)]
    pub timing: Timing,
    /// Limits of connections.
    #[serde(default)]
    pub guard: Guard,
}

/// How certificates name one SAE of the boundary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaeSection {
    /// The SAE.
    pub id: SaeId,
    /// URIs, where they are not `qecnet:sae/NAME`.
    #[serde(default)]
    pub uris: Vec<String>,
    /// Common names.
    #[serde(default)]
    pub common_names: Vec<String>,
    /// SHA-256 of further certificates, DER.
    #[serde(default)]
    pub fingerprints: Vec<Hash>,
}

fn groups() -> Groups {
    Groups::Preferred
}

fn files() -> PathBuf {
    "kme".into()
}

impl KmeSection {
    /// On `listen`, with defaults.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            names: Vec::new(),
            files: files(),
            relays: BTreeSet::new(),
            authorities: Vec::new(),
            groups: groups(),
            saes: Vec::new(),
            limits: Limits::default(),
            timing: Timing::default(),
            guard: Guard::default(),
        }
    }

    /// Names for the certificate.
    pub(super) fn certified_names(&self) -> Vec<String> {
        let mut names = self.names.clone();
        if !self.listen.ip().is_unspecified() {
            names.push(self.listen.ip().to_string());
        }
        if self.listen.ip().is_loopback() {
            names.push("localhost".to_owned());
        }
        names
    }

    /// Where applications find the listener that was given `bound`.
    pub(super) fn url(&self, bound: Option<SocketAddr>) -> String {
        let bound = bound.unwrap_or(self.listen);
        match self.names.first() {
            Some(name) if name.contains(':') => format!("https://[{name}]:{}", bound.port()),
            Some(name) => format!("https://{name}:{}", bound.port()),
            None => format!("https://{bound}"),
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.listen.ip().is_unspecified() && self.names.is_empty() {
            return Err("`kme.listen` is every address: say in `kme.names` by which ones applications come".to_owned());
        }
        self.limits.check().map_err(|error| format!("`kme.limits`: {error}"))
    }
}
