use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::id::KeyUuid;
use crate::secret::KeyBytes;

/// Status data format (clause 6.1). Sizes in bits.
#[allow(non_snake_case)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// KME of the master.
    pub source_KME_ID: String,
    /// KME of the slave.
    pub target_KME_ID: String,
    /// The caller.
    pub master_SAE_ID: String,
    /// The SAE asked about.
    pub slave_SAE_ID: String,
    /// Size of a key where none is asked for.
    pub key_size: u32,
    /// Keys of that size that can be had now.
    pub stored_key_count: u64,
    /// Most keys of that size that are kept ready.
    pub max_key_count: u64,
    /// Most keys of one request.
    pub max_key_per_request: u32,
    /// Largest key.
    pub max_key_size: u32,
    /// Smallest key.
    pub min_key_size: u32,
    /// Most additional slaves of a key.
    pub max_SAE_ID_count: u32,
}

/// Error data format (clause 6.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    #[serde(default)]
    pub message: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
}

/// One key with its identifier.
#[derive(Debug)]
pub struct DeliveredKey {
    /// The identifier.
    pub id: KeyUuid,
    /// The key.
    pub key: KeyBytes,
}

/// Key container data format (clause 6.3), as a client reads it. Extensions and unknown members are ignored.
#[derive(Deserialize)]
pub struct Container {
    /// The keys.
    pub(crate) keys: Vec<ContainerKey>,
}

#[allow(non_snake_case)]
#[derive(Deserialize)]
pub(crate) struct ContainerKey {
    pub(crate) key_ID: String,
    #[serde(deserialize_with = "wiped")]
    pub(crate) key: Zeroizing<String>,
}

fn wiped<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// The key container of `keys` as JSON, written once into memory that is wiped after use.
pub fn container_text(keys: &[DeliveredKey]) -> Zeroizing<Vec<u8>> {
    const HEAD: &[u8] = b"{\"keys\":[";
    const ID: &[u8] = b"{\"key_ID\":\"";
    const KEY: &[u8] = b"\",\"key\":\"";
    let encoded = |key: &DeliveredKey| key.key.expose().len().div_ceil(3) * 4;
    let each: usize = keys.iter().map(|key| ID.len() + 36 + KEY.len() + encoded(key) + 3).sum();
    // Room for everything from the start: a vector that grows would leave keys behind.
    let mut out = Zeroizing::new(Vec::with_capacity(HEAD.len() + each + 2));
    out.extend_from_slice(HEAD);
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(ID);
        out.extend_from_slice(&key.id.text());
        out.extend_from_slice(KEY);
        let from = out.len();
        out.resize(from + encoded(key), 0);
        // The slice has exactly the length of the text, so this cannot fail.
        let written = STANDARD.encode_slice(key.key.expose(), &mut out[from..]).unwrap_or(0);
        out.truncate(from + written);
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"]}");
    out
}
