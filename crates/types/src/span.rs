//! How a configuration file writes a duration: `300ms`, `5s`, `5m`, `24h` or `90d`. For `#[serde(with)]`.

use serde::{Deserialize, Deserializer, Serializer};

use crate::Millis;

/// Writes the duration as text.
///
/// # Errors
/// Those of the format.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
pub fn serialize<S: Serializer>(span: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(span)
}

/// Reads it back.
///
/// # Errors
/// A text that is no whole number and a unit, and what would be one.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}
