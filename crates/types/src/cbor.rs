//! The one canonical encoding: deterministic CBOR (RFC 8949 §4.2), strictly parsed.
//!
//! A value has exactly one byte form. Parsing decodes, encodes again and compares, so a second
//! form of the same value, trailing bytes or an unknown field are errors and never two hashes.

use minicbor::{Decode, Encode};

/// Why bytes are not the canonical form of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not CBOR, or CBOR of another shape.
    #[error("not a well-formed value: {0}")]
    Malformed(String),
    /// The bytes decode, but are not the one canonical encoding of what they mean.
    #[error("not in canonical form (RFC 8949 section 4.2)")]
    NotCanonical,
}

/// Encodes `value` in its canonical form.
pub fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

/// Appends the canonical form of `value` to `out`.
pub fn write<T: Encode<()>>(value: &T, out: &mut Vec<u8>) {
    // Writing to a vector has no failure of its own, and no type here refuses to encode.
    let result: Result<(), minicbor::encode::Error<std::convert::Infallible>> = minicbor::encode(value, out);
    debug_assert!(result.is_ok());
}

/// Decodes `bytes`, which must be the canonical form of a `T` and nothing more.
pub fn from_slice<T>(bytes: &[u8]) -> Result<T, DecodeError>
where
    T: for<'b> Decode<'b, ()> + Encode<()>,
{
    let value: T = minicbor::decode(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if to_vec(&value) == bytes { Ok(value) } else { Err(DecodeError::NotCanonical) }
}
