//! The frame in which the hub sends keys to one node: sealed by the hub, opened by the node.
//!
//! ```text
//! mask of key i = HKDF(KEM secret, key number) XOR bits 256·i … of the pad
//! tag           = Poly1305(last 256 bits of the pad, frame)          where there is a pad,
//!                 then HMAC-SHA256(HKDF(KEM secret), frame)
//! ```
//!
//! Poly1305 under a key that is used once is a Wegman-Carter authenticator (RFC 8439 section 2.5;
//! Bernstein 2005): a forgery of an L-byte frame passes with probability at most
//! 8·ceil(L/16)/2^106, whatever the adversary can compute. Either alone, pad or KEM, hides a share.

use crypto::{AuthKey, KeyMaterial, Secret32, SharedSecret, kdf};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use session::mesh::{DeliveredKey, DeliveryFrame, PadRange};
use types::{Hash, Label, cbor};

use crate::pad::{Pad, PadBits};

const KEY_BITS: u64 = 256;
const KEY_LEN: usize = 32;
const POLY_TAG_LEN: usize = 16;

/// Bits of pad that a frame with `keys` keys takes: one mask for each, and the tag's.
pub fn pad_bits(keys: usize) -> u64 {
    KEY_BITS * (keys as u64 + 1)
}

/// Why a frame was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The pad is not as long as the frame needs.
    #[error("the pad has {found} bits where the delivery needs {wanted}")]
    PadLength {
        /// Bits given.
        found: u64,
        /// Bits needed.
        wanted: u64,
    },
    /// The tag does not fit: the frame was altered, or sealed under another pad or prekey.
    #[error("the delivery is not authentic under this pad and prekey")]
    Tag,
}

/// One key to send: its description, with [`DeliveredKey::masked`] still empty, and its share.
pub type Share<'a> = (DeliveredKey, &'a KeyMaterial);

/// Masks and authenticates `keys` for one node. `kem` is the ciphertext that carries `secret`; `pad`
/// has [`pad_bits`] bits that nothing else uses.
pub fn seal(
    keys: &[Share<'_>],
    kem: Vec<u8>,
    secret: &SharedSecret,
    pad: Option<&Pad>,
) -> Result<DeliveryFrame, DeliveryError> {
    let bits = check(keys.len(), pad.map(|pad| (pad.range, &pad.bits)))?;
    let masked = |(at, (key, share)): (usize, &Share<'_>)| {
        let mut key = key.clone();
        key.masked = Hash::new(mask(&key, at, secret, bits, share.expose()));
        key
    };
    let keys = keys.iter().enumerate().map(masked).collect();
    let mut frame = DeliveryFrame { kem, pad: pad.map(|pad| pad.range), keys, tag: Vec::new() };
    frame.tag = tag(&frame, secret, bits);
    Ok(frame)
}

/// Authenticates `frame` and unmasks the shares, in its order. `pad` holds the bits that
/// `frame.pad` names, taken from the link for this one use.
pub fn open(
    frame: &DeliveryFrame,
    secret: &SharedSecret,
    pad: Option<&PadBits>,
) -> Result<Vec<KeyMaterial>, DeliveryError> {
    let named = frame.pad.unwrap_or(PadRange { offset: 0, len: 0 });
    if frame.pad.is_some() != pad.is_some() {
        return Err(DeliveryError::PadLength { found: 0, wanted: named.len });
    }
    let bits = check(frame.keys.len(), pad.map(|pad| (named, pad)))?;
    let mut bare = frame.clone();
    bare.tag = Vec::new();
    if !kdf::equal(&tag(&bare, secret, bits), &frame.tag) {
        return Err(DeliveryError::Tag);
    }
    let share = |(at, key): (usize, &DeliveredKey)| {
        KeyMaterial::fill_with(|out| *out = mask(key, at, secret, bits, key.masked.as_bytes()))
    };
    Ok(frame.keys.iter().enumerate().map(share).collect())
}

fn check(keys: usize, pad: Option<(PadRange, &PadBits)>) -> Result<Option<&[u8]>, DeliveryError> {
    let Some((range, bits)) = pad else { return Ok(None) };
    let wanted = pad_bits(keys);
    let held = 8 * bits.expose().len() as u64;
    if range.len == wanted && held == wanted {
        Ok(Some(bits.expose()))
    } else {
        Err(DeliveryError::PadLength { found: held.min(range.len), wanted })
    }
}

fn mask(key: &DeliveredKey, at: usize, secret: &SharedSecret, pad: Option<&[u8]>, text: &[u8; 32]) -> [u8; 32] {
    let number = key.key.get().to_be_bytes();
    let stream = kdf::derive::<KEY_LEN>(Label::DELIVERY_MASK, secret.expose(), &[], &[&number]);
    let mut out = *text;
    out.iter_mut().zip(stream.iter()).for_each(|(byte, mask)| *byte ^= mask);
    let pad = pad.and_then(|pad| pad.get(at * KEY_LEN..(at + 1) * KEY_LEN)).unwrap_or(&[]);
    out.iter_mut().zip(pad).for_each(|(byte, mask)| *byte ^= mask);
    out
}

/// The tag of a frame whose `tag` is empty: a one-time Wegman-Carter tag from the pad, where there
/// is one, then a tag under the KEM's secret. Both must hold, so either alone authenticates, and the
/// second tells the prekey that was meant from the others.
fn tag(bare: &DeliveryFrame, secret: &SharedSecret, pad: Option<&[u8]>) -> Vec<u8> {
    let text = cbor::to_vec(bare);
    let mut out = Vec::with_capacity(POLY_TAG_LEN + KEY_LEN);
    if let Some(key) = pad.and_then(|pad| pad.last_chunk::<KEY_LEN>()) {
        let tag = Poly1305::new(key.into()).compute_unpadded(&text);
        out.extend_from_slice(&tag.as_slice()[..POLY_TAG_LEN]);
    }
    let key: AuthKey = kdf::derive_secret(Label::DELIVERY_TAG, secret.expose(), &[], &[]);
    out.extend_from_slice(&kdf::mac(&key, Label::DELIVERY_TAG, &[&text]));
    out
}

#[cfg(test)]
mod tests;
