//! What an operator sets. Every field but names has a default.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use types::mesh::Groups;
use types::{Hash, Millis};

use crate::id::{KEY_LEN, KmeId, SHEET_UNITS, SaeId, UNIT};

/// Configuration of one KME.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmeConfig {
    /// Name of this KME, also in its certificate.
    pub id: KmeId,
    /// Limits of requests and pools.
    #[serde(default)]
    pub limits: Limits,
    /// Deadlines and intervals.
    #[serde(default)]
    pub timing: Timing,
    /// SAEs that this KME serves.
    #[serde(default, rename = "sae")]
    pub saes: Vec<SaeConfig>,
    /// SAEs that other KMEs serve.
    #[serde(default, rename = "remote")]
    pub remotes: Vec<RemoteSae>,
}

/// Limits of requests and pools. Sizes of keys are bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Size of a key where none is asked for.
    pub key_size: u32,
    /// Smallest key.
    pub min_key_size: u32,
    /// Largest key, at most 65,528 bits.
    pub max_key_size: u32,
    /// Most keys of one request.
    pub max_key_per_request: u32,
    /// Most keys of the default size kept ready for one pair of SAEs.
    pub max_key_count: u64,
    /// Keys kept ready for a pair that asked for none yet; the pool grows with use to `max_key_count`.
    pub min_key_count: u64,
    /// Most additional slaves of a key; 0 refuses multicast.
    pub max_sae_id_count: u32,
    /// Whether an optional extension that is not handled is an error. The standard lets a KME ignore it.
    pub refuse_unhandled_optional: bool,
    /// Keys marked as taken ahead of their delivery, in one durable write. A crash loses at most as many.
    pub lease_keys: u16,
    /// Sheets of 32 KiB at most held in memory at a time.
    pub resident_sheets: usize,
    /// Keys shared with additional slaves that wait here to be fetched.
    pub max_parcels: usize,
    /// Bits of key a SAE may take a second as a master, where its own entry gives none.
    pub quota_bps: Option<u64>,
    /// Bits of key a SAE may take at once.
    pub quota_burst: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_size: 256,
            min_key_size: 64,
            max_key_size: 1_024,
            max_key_per_request: 128,
            max_key_count: 4_096,
            min_key_count: 64,
            max_sae_id_count: 8,
            refuse_unhandled_optional: false,
            lease_keys: 64,
            resident_sheets: 256,
            max_parcels: 65_536,
            quota_bps: None,
            quota_burst: 1 << 20,
        }
    }
}

/// Deadlines and intervals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timing {
    /// Longest wait for another KME to confirm. After it, what was reserved returns.
    #[serde(with = "types::span")]
    pub confirm: Millis,
    /// Longest wait of a master for a pool that is empty and being filled.
    #[serde(with = "types::span")]
    pub fill_wait: Millis,
    /// Pause after a supply or a peer failed, before it is tried again.
    #[serde(with = "types::span")]
    pub retry: Millis,
    /// How long a key waits for its slave once its sheet was used up by the master.
    #[serde(with = "types::span")]
    pub key_ttl: Millis,
    /// Interval of the work that destroys what was delivered.
    #[serde(with = "types::span")]
    pub tend: Millis,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            confirm: Millis::from_secs(3),
            fill_wait: Millis::from_secs(2),
            retry: Millis::from_secs(1),
            key_ttl: Millis::from_days(1),
            tend: Millis::from_secs(1),
        }
    }
}

/// A SAE that this KME serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaeConfig {
    /// Its name.
    pub id: SaeId,
    /// URIs of its certificate, where they are not `qecnet:sae/NAME`.
    #[serde(default)]
    pub uris: Vec<String>,
    /// Common names of its certificate that count as its name. None by default.
    #[serde(default)]
    pub common_names: Vec<String>,
    /// SHA-256 of its certificates, DER. Such a certificate needs no authority.
    #[serde(default)]
    pub fingerprints: Vec<Hash>,
    /// SAEs with which it may have keys as a master; all known ones where absent.
    #[serde(default)]
    pub slaves: Option<BTreeSet<SaeId>>,
    /// Bits of key it may take a second as a master.
    #[serde(default)]
    pub quota_bps: Option<u64>,
    /// Over which key exchange it is served.
    #[serde(default = "preferred")]
    pub groups: Groups,
}

fn preferred() -> Groups {
    Groups::Preferred
}

impl SaeConfig {
    /// A SAE known by the URI `qecnet:sae/NAME`, with no limits of its own.
    pub fn new(id: SaeId) -> Self {
        Self {
            id,
            uris: vec![],
            common_names: vec![],
            fingerprints: vec![],
            slaves: None,
            quota_bps: None,
            groups: Groups::Preferred,
        }
    }
}

/// A SAE that another KME serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteSae {
    /// Its name.
    pub id: SaeId,
    /// The KME that serves it.
    pub kme: KmeId,
}

/// Configuration of the listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Certificate of this KME, PEM, chain included.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Authorities of the SAEs' certificates, PEM.
    pub authorities: Vec<PathBuf>,
    /// Key exchange groups of the listener.
    #[serde(default = "preferred")]
    pub groups: Groups,
    /// Limits of connections.
    #[serde(default)]
    pub guard: Guard,
}

/// What a connection may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// Most connections at a time.
    pub connections: usize,
    /// Most connections of one address.
    pub per_address: usize,
    /// Most connections of one SAE.
    pub per_sae: usize,
    /// Most handshakes under way.
    pub handshakes: usize,
    /// Most handshakes under way from one address.
    pub handshakes_per_address: usize,
    /// Longest handshake.
    #[serde(with = "types::span")]
    pub handshake: Millis,
    /// Longest wait for the head of a request, and for the next request of a kept connection.
    #[serde(with = "types::span")]
    pub head: Millis,
    /// Longest wait for the body of a request.
    #[serde(with = "types::span")]
    pub body: Millis,
    /// Longest wait for a caller to take what was written to it.
    #[serde(with = "types::span")]
    pub write: Millis,
    /// Most bytes of a request's body.
    pub body_len: usize,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            connections: 1_024,
            per_address: 768,
            per_sae: 256,
            handshakes: 256,
            handshakes_per_address: 192,
            handshake: Millis::from_secs(5),
            head: Millis::from_secs(60),
            body: Millis::from_secs(10),
            write: Millis::from_secs(15),
            body_len: 64 * 1024,
        }
    }
}

/// A configuration contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Sizes of keys are not in order.
    #[error(
        "key sizes shall be multiples of 8 with 8 <= min_key_size <= key_size <= max_key_size <= {}",
        8 * KEY_LEN.min(SHEET_UNITS * UNIT)
    )]
    KeySizes,
    /// A count is zero where nothing could work then.
    #[error("`{0}` shall be at least 1")]
    Zero(&'static str),
    /// One SAE is named twice.
    #[error("the SAE `{0}` is named twice: name it once, under the KME that serves it")]
    Twice(SaeId),
    /// A certificate would name two SAEs.
    #[error("`{0}` is given to two SAEs: a certificate names one SAE")]
    Ambiguous(String),
}

impl Limits {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError::KeySizes`] or [`ConfigError::Zero`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let sizes = [self.min_key_size, self.key_size, self.max_key_size];
        let most = 8 * KEY_LEN.min(SHEET_UNITS * UNIT) as u32;
        if !sizes.is_sorted() || self.min_key_size < 8 || self.max_key_size > most || sizes.iter().any(|s| s % 8 != 0) {
            return Err(ConfigError::KeySizes);
        }
        let counts = [
            ("max_key_per_request", u64::from(self.max_key_per_request)),
            ("max_key_count", self.max_key_count),
            ("min_key_count", self.min_key_count),
            ("lease_keys", u64::from(self.lease_keys)),
            ("resident_sheets", self.resident_sheets as u64),
        ];
        counts.iter().find(|(_, count)| *count == 0).map_or(Ok(()), |(name, _)| Err(ConfigError::Zero(name)))
    }

    /// Units that a key of the default size takes up.
    pub(crate) fn default_units(&self) -> u64 {
        u64::from(self.key_size.div_ceil(8 * UNIT as u32))
    }
}
