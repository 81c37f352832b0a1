//! Wegman-Carter authentication: the value of a universal hash, under a one-time pad.
//!
//! The hash is [`PolyHash`] over the whole conversation so far, so a tag on one message covers
//! every message before it in both directions. The hash key is *recycled*: because each value is
//! padded with 128 fresh bits, tags tell nothing about it (Wegman and Carter 1981; composable
//! proof of recycling: Portmann 2014, arXiv 1202.1229). Every forgery attempt succeeds with
//! probability at most (blocks + 1)·2^-128, added to ε of the block. Pad bits are never recycled.

use zeroize::{Zeroize, Zeroizing};

use crate::field::PolyHash;

/// Bytes of a tag, and pad bytes that one tag consumes.
pub const TAG_LEN: usize = 16;

/// Tags, and therefore pads, that one block may use, both directions together.
pub(crate) const TAGS_PER_BLOCK: usize = 5;

/// Pad bytes that one block takes from the pool.
pub const PAD_LEN_PER_BLOCK: usize = TAG_LEN * TAGS_PER_BLOCK;

/// The recycled hash key of a link, equal at both ends.
pub struct HashKey(u128);

impl HashKey {
    /// From 16 secret, uniformly random bytes.
    pub fn new(bytes: &[u8; 16]) -> Self {
        Self(u128::from_le_bytes(*bytes))
    }
}

impl Drop for HashKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(hidden)")
    }
}

/// The secret both ends of one block session share: the link's hash key and pads that no other
/// session ever used.
pub struct TagKeys {
    hash: u128,
    pads: Zeroizing<[u8; PAD_LEN_PER_BLOCK]>,
}

impl TagKeys {
    /// Pads must be taken from the pool for this one session.
    pub fn new(hash: &HashKey, pads: &[u8; PAD_LEN_PER_BLOCK]) -> Self {
        Self { hash: hash.0, pads: Zeroizing::new(*pads) }
    }
}

impl Drop for TagKeys {
    fn drop(&mut self) {
        self.hash.zeroize();
    }
}

impl std::fmt::Debug for TagKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TagKeys(hidden)")
    }
}

/// The tag does not fit the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadTag;

/// The conversation of one block and the pads left for it.
pub(crate) struct Transcript {
    hash: PolyHash,
    keys: TagKeys,
    tags: usize,
}

impl Transcript {
    pub(crate) fn new(keys: TagKeys) -> Self {
        Self { hash: PolyHash::new(keys.hash), keys, tags: 0 }
    }

    /// Adds a message, of Alice or of Bob, to the conversation.
    pub(crate) fn add(&mut self, from_alice: bool, message: &[u8]) {
        self.hash.piece(u64::from(from_alice), message);
    }

    /// The tag of the conversation so far. Both ends call this at the same points of it; each call
    /// uses up one pad, and there is no tag once all are used.
    pub(crate) fn tag(&mut self) -> Option<[u8; TAG_LEN]> {
        let start = self.tags * TAG_LEN;
        let pad = self.keys.pads.get_mut(start..start + TAG_LEN)?;
        let mut tag = self.hash.value().to_le_bytes();
        tag.iter_mut().zip(pad.iter()).for_each(|(t, p)| *t ^= p);
        pad.zeroize();
        self.tags += 1;
        Some(tag)
    }

    /// Checks the tag of the conversation so far, in time that does not depend on where it differs.
    pub(crate) fn check(&mut self, tag: &[u8; TAG_LEN]) -> Result<(), BadTag> {
        let own = self.tag().ok_or(BadTag)?;
        let difference = own.iter().zip(tag).fold(0, |acc, (a, b)| acc | (a ^ b));
        if std::hint::black_box(difference) == 0 { Ok(()) } else { Err(BadTag) }
    }

    /// Probability that any of the tags so far was forged.
    pub(crate) fn epsilon(&self) -> f64 {
        self.tags as f64 * (self.hash.blocks() + 1) as f64 * 2_f64.powi(-128)
    }
}

#[cfg(test)]
mod tests;
