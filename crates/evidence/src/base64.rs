//! RFC 4648 section 4 base64 with padding; the decoder takes only the canonical form.

use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;
use types::Hash;

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text).ok()?;
    (STANDARD.encode(&bytes) == text).then_some(bytes)
}

pub(crate) fn decode_hash(text: &str) -> Option<Hash> {
    let bytes: [u8; 32] = decode(text)?.try_into().ok()?;
    Some(Hash::new(bytes))
}
