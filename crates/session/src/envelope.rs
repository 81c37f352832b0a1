//! Envelopes: every message of a session sealed with ChaCha20-Poly1305 under a key of its direction,
//! numbered, so that a replayed, reordered or altered one is refused and counted.
//!
//! A frame is `u32 length ‖ u64 number ‖ sealed text ‖ tag[16]`, big-endian; the length counts what
//! follows it. The number is the nonce (RFC 8439 section 2.8, four zero bytes before it) and counts from 0.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crypto::aead::{NONCE_LEN, TAG_LEN};
use crypto::{AeadAlgorithm, AeadKey, EnvelopeKey};
use types::limits::FRAME_LEN;

/// Bytes of the length before a frame.
pub const PREFIX: usize = 4;
const NUMBER: usize = 8;
/// Bytes that an envelope adds to a message, beside the prefix.
pub const OVERHEAD: usize = NUMBER + TAG_LEN;
/// Longest message, in bytes.
pub const MAX_MESSAGE: usize = FRAME_LEN - OVERHEAD;

/// Why an envelope was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Authentic, but its number was used already.
    #[error("the peer's message {found} was replayed")]
    Replayed {
        /// Its number.
        found: u64,
    },
    /// Authentic, but messages before it are missing.
    #[error("the peer's message {found} came before message {expected}")]
    Reordered {
        /// Its number.
        found: u64,
        /// The number that was due.
        expected: u64,
    },
    /// Not sealed by the peer for this session and direction.
    #[error("a message was not sealed by the peer")]
    Forged,
    /// Beyond [`MAX_MESSAGE`], or shorter than an empty envelope.
    #[error("a frame of {length} bytes is not allowed")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// All numbers are used.
    #[error("the session has used all its message numbers; open a new one")]
    Exhausted,
}

/// How many envelopes were refused, by reason.
#[derive(Debug, Default)]
pub struct EnvelopeCounts {
    replayed: AtomicU64,
    reordered: AtomicU64,
    forged: AtomicU64,
    too_large: AtomicU64,
}

impl EnvelopeCounts {
    /// Replays refused.
    pub fn replayed(&self) -> u64 {
        self.replayed.load(Ordering::Relaxed)
    }

    /// Messages out of order refused.
    pub fn reordered(&self) -> u64 {
        self.reordered.load(Ordering::Relaxed)
    }

    /// Forgeries refused.
    pub fn forged(&self) -> u64 {
        self.forged.load(Ordering::Relaxed)
    }

    /// Frames of a length that is not allowed.
    pub fn too_large(&self) -> u64 {
        self.too_large.load(Ordering::Relaxed)
    }

    /// All refusals.
    pub fn total(&self) -> u64 {
        self.replayed() + self.reordered() + self.forged() + self.too_large()
    }

    fn count(&self, error: EnvelopeError) -> EnvelopeError {
        let counter = match error {
            EnvelopeError::Replayed { .. } => &self.replayed,
            EnvelopeError::Reordered { .. } => &self.reordered,
            EnvelopeError::Forged => &self.forged,
            EnvelopeError::TooLarge { .. } => &self.too_large,
            EnvelopeError::Exhausted => return error,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        error
    }
}

fn nonce(number: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - NUMBER..].copy_from_slice(&number.to_be_bytes());
    nonce
}

/// Seals the messages of one direction.
#[derive(Debug)]
pub struct Sealer {
    key: AeadKey,
    next: u64,
}

impl Sealer {
    /// Starts at number 0. One key has one sealer, ever.
    ///
    /// # Errors
    /// [`crypto::SealError`] where the library refuses the key.
    pub fn new(key: EnvelopeKey) -> Result<Self, crypto::SealError> {
        Ok(Self { key: AeadKey::new(AeadAlgorithm::ChaCha20Poly1305, &key)?, next: 0 })
    }

    /// Appends the frame of `message`, with its length, to `out`.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLarge`] or [`EnvelopeError::Exhausted`]; `out` is then unchanged.
    pub fn seal(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        let length = message.len().saturating_add(OVERHEAD);
        if message.len() > MAX_MESSAGE {
            return Err(EnvelopeError::TooLarge { length });
        }
        let following = self.next.checked_add(1).ok_or(EnvelopeError::Exhausted)?;
        let start = out.len();
        out.reserve(PREFIX + length);
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.extend_from_slice(&self.next.to_be_bytes());
        out.extend_from_slice(message);
        let text = &mut out[start + PREFIX + NUMBER..];
        // the number is spent even where sealing fails: it is never used for a second text
        let sealed = self.key.seal_detached(&nonce(self.next), &[], text);
        self.next = following;
        match sealed {
            Ok(tag) => out.extend_from_slice(&tag),
            Err(_) => {
                out.truncate(start);
                return Err(EnvelopeError::TooLarge { length });
            }
        }
        Ok(())
    }
}

/// Opens the messages of one direction, each once and in order.
#[derive(Debug)]
pub struct Opener {
    key: AeadKey,
    next: u64,
    longest: usize,
    counts: Arc<EnvelopeCounts>,
}

impl Opener {
    /// Expects number 0 first.
    ///
    /// # Errors
    /// [`crypto::SealError`] where the library refuses the key.
    pub fn new(key: EnvelopeKey) -> Result<Self, crypto::SealError> {
        let key = AeadKey::new(AeadAlgorithm::ChaCha20Poly1305, &key)?;
        Ok(Self { key, next: 0, longest: FRAME_LEN, counts: Arc::default() })
    }

    /// Takes no message longer than `message` bytes from now on.
    pub fn limit(&mut self, message: usize) {
        self.longest = message.saturating_add(OVERHEAD).min(FRAME_LEN);
    }

    /// The counters of refusals, shared with the opener.
    pub fn counts(&self) -> &Arc<EnvelopeCounts> {
        &self.counts
    }

    /// Checks the length before a frame, before anything is kept for it.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLarge`], counted.
    pub fn check_length(&self, prefix: [u8; PREFIX]) -> Result<usize, EnvelopeError> {
        let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
        if (OVERHEAD..=self.longest).contains(&length) {
            Ok(length)
        } else {
            Err(self.counts.count(EnvelopeError::TooLarge { length }))
        }
    }

    /// Opens a frame without its prefix, in place; the message is then at the returned range.
    ///
    /// # Errors
    /// [`EnvelopeError`], counted; the next number due stays the same.
    pub fn open(&mut self, frame: &mut [u8]) -> Result<Range<usize>, EnvelopeError> {
        let refused = |error| self.counts.count(error);
        let length = frame.len();
        if !(OVERHEAD..=FRAME_LEN).contains(&length) {
            return Err(refused(EnvelopeError::TooLarge { length }));
        }
        let (number, sealed) = frame.split_at_mut(NUMBER);
        let mut bytes = [0; NUMBER];
        bytes.copy_from_slice(number);
        let found = u64::from_be_bytes(bytes);
        // authenticity first: a stranger cannot make the counters tell replays from gaps
        if self.key.open(&nonce(found), &[], sealed).is_err() {
            return Err(refused(EnvelopeError::Forged));
        }
        if found < self.next {
            return Err(refused(EnvelopeError::Replayed { found }));
        }
        if found > self.next {
            return Err(refused(EnvelopeError::Reordered { found, expected: self.next }));
        }
        self.next = self.next.checked_add(1).ok_or(EnvelopeError::Exhausted)?;
        Ok(NUMBER..length - TAG_LEN)
    }
}

#[cfg(test)]
mod tests {
    use crypto::{EnvelopeKey, Secret32};
    use proptest::prelude::*;

    use super::{EnvelopeError, MAX_MESSAGE, OVERHEAD, Opener, PREFIX, Sealer};

    fn pair() -> (Sealer, Opener) {
        let key = || EnvelopeKey::from_bytes(&[7; 32]);
        (Sealer::new(key()).unwrap(), Opener::new(key()).unwrap())
    }

    fn frame(sealer: &mut Sealer, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        sealer.seal(message, &mut out).unwrap();
        out.split_off(PREFIX)
    }

    /// SM-11, SM-07a
    #[test]
    fn replays_and_gaps_are_refused_and_counted() {
        let (mut sealer, mut opener) = pair();
        let frames: Vec<_> = (0..3_u8).map(|byte| frame(&mut sealer, &[byte])).collect();
        let mut open = |at: usize| opener.open(&mut frames[at].clone());
        assert!(open(0).is_ok());
        assert_eq!(open(0), Err(EnvelopeError::Replayed { found: 0 }));
        assert_eq!(open(2), Err(EnvelopeError::Reordered { found: 2, expected: 1 }));
        assert!(open(1).is_ok() && open(2).is_ok());
        assert_eq!(open(1), Err(EnvelopeError::Replayed { found: 1 }));
        assert_eq!((opener.counts().replayed(), opener.counts().reordered(), opener.counts().total()), (2, 1, 3));
    }

    #[test]
    fn lengths_are_checked_on_both_sides() {
        let (mut sealer, opener) = pair();
        let mut out = Vec::new();
        assert!(matches!(sealer.seal(&vec![0; MAX_MESSAGE + 1], &mut out), Err(EnvelopeError::TooLarge { .. })));
        assert!(out.is_empty());
        sealer.seal(&vec![0; MAX_MESSAGE], &mut out).unwrap();
        assert_eq!(opener.check_length(out[..PREFIX].try_into().unwrap()), Ok(MAX_MESSAGE + OVERHEAD));
        assert!(opener.check_length(u32::MAX.to_be_bytes()).is_err());
        assert!(opener.check_length((OVERHEAD as u32 - 1).to_be_bytes()).is_err());
        assert_eq!(opener.counts().too_large(), 2);
    }

    proptest! {
        #[test]
        fn any_single_change_is_a_forgery(message: Vec<u8>, at: usize, bit in 0..8_u8) {
            let (mut sealer, mut opener) = pair();
            let good = frame(&mut sealer, &message);
            let mut bad = good.clone();
            let at = at % bad.len();
            bad[at] ^= 1 << bit;
            prop_assert_eq!(opener.open(&mut bad), Err(EnvelopeError::Forged));
            let mut short = good[..good.len() - 1].to_vec();
            prop_assert!(opener.open(&mut short).is_err());
            let mut good = good;
            let range = opener.open(&mut good).unwrap();
            prop_assert_eq!(&good[range], &message[..]);
        }
    }
}
