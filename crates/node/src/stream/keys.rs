//! The keys of one stream: one for each direction and each key of the pair.

use std::sync::Arc;

use crypto::aead::{NONCE_LEN, TAG_LEN};
use crypto::{AeadAlgorithm, AeadKey, Secret32, StreamKey, kdf};
use types::{Hash, Label};

use crate::keyring::{HeldKey, UseCounters};

/// Which way frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the end that opened the stream.
    Opener,
    /// To it.
    Acceptor,
}

/// A key of one stream, direction and pair key: HKDF under `Label::STREAM` over the pair key, with
/// stream, direction and key number in the derivation. The nonce is the frame's number under it.
pub(crate) struct FrameKey {
    key: AeadKey,
    next: u64,
    used: Arc<UseCounters>,
}

/// A frame did not verify, or the key has sealed 2^64 - 1 frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameRefused;

impl FrameKey {
    pub(crate) fn derive(pair: &Arc<HeldKey>, stream: &Hash, direction: Direction) -> Option<Self> {
        let direction: &[u8] = match direction {
            Direction::Opener => b"opener",
            Direction::Acceptor => b"acceptor",
        };
        let info: [&[u8]; 3] = [stream.as_ref(), direction, &pair.id().get().to_be_bytes()];
        let key: StreamKey = kdf::derive_secret(Label::STREAM, pair.secret().expose(), &[], &info);
        let key = AeadKey::new(AeadAlgorithm::ChaCha20Poly1305, &key).ok()?;
        Some(Self { key, next: 0, used: Arc::clone(pair.counters()) })
    }

    fn nonce(&mut self) -> Result<[u8; NONCE_LEN], FrameRefused> {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.next.to_be_bytes());
        self.next = self.next.checked_add(1).ok_or(FrameRefused)?;
        Ok(nonce)
    }

    /// Seals `text` in place and returns the tag.
    pub(crate) fn seal(&mut self, text: &mut [u8]) -> Result<[u8; TAG_LEN], FrameRefused> {
        let nonce = self.nonce()?;
        self.used.frame(text.len());
        self.key.seal_detached(&nonce, &[], text).map_err(|_| FrameRefused)
    }

    /// Opens the next frame in place.
    pub(crate) fn open<'a>(&mut self, sealed: &'a mut [u8]) -> Result<&'a mut [u8], FrameRefused> {
        let nonce = self.nonce()?;
        match self.key.open(&nonce, &[], sealed) {
            Ok(text) => {
                self.used.frame(text.len());
                Ok(text)
            }
            Err(_) => {
                self.used.failure();
                Err(FrameRefused)
            }
        }
    }
}
