//! Sealing: ChaCha20-Poly1305 (RFC 8439) and AES-256-GCM (NIST SP 800-38D), in place, with a
//! nonce that the caller never uses twice under one key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::secret::Secret32;

/// Length of a nonce, in bytes.
pub const NONCE_LEN: usize = 12;
/// Length of the tag at the end of a sealed text, in bytes.
pub const TAG_LEN: usize = 16;

/// An algorithm for sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AeadAlgorithm {
    /// ChaCha20-Poly1305: traffic.
    ChaCha20Poly1305,
    /// AES-256-GCM: data at rest.
    Aes256Gcm,
}

/// The text could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is too long to seal in one piece")]
pub struct SealError;

/// The sealed text is not what this key sealed with this nonce and this associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed text was altered or sealed for something else")]
pub struct OpenError;

/// A key ready to seal and open.
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// Prepares `key` for `algorithm`. The caller uses one key with one algorithm only.
    ///
    /// # Errors
    /// [`SealError`] where the library refuses the key; keys of 32 bytes are not refused.
    pub fn new<K: Secret32>(algorithm: AeadAlgorithm, key: &K) -> Result<Self, SealError> {
        let algorithm = match algorithm {
            AeadAlgorithm::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            AeadAlgorithm::Aes256Gcm => &AES_256_GCM,
        };
        UnboundKey::new(algorithm, key.expose()).map(|key| Self(LessSafeKey::new(key))).map_err(|_| SealError)
    }

    /// Replaces the text in `in_out` by its sealed form, [`TAG_LEN`] bytes longer.
    ///
    /// # Errors
    /// [`SealError`] for a text beyond the limit of the algorithm (64 GiB and more).
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], in_out: &mut Vec<u8>) -> Result<(), SealError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.seal_in_place_append_tag(nonce, Aad::from(aad), in_out).map_err(|_| SealError)
    }

    /// Seals the bytes of `text` in place and returns the tag.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_detached(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], SealError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text).map_err(|_| SealError)?;
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens a sealed text in place and returns the part of `in_out` with the plain text.
    ///
    /// # Errors
    /// [`OpenError`] where key, nonce, associated data, text or tag do not belong together. What is
    /// then in `in_out` has no meaning.
    pub fn open<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        in_out: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_in_place(nonce, Aad::from(aad), in_out).map_err(|_| OpenError)
    }
}

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AeadKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AeadAlgorithm, AeadKey, TAG_LEN};
    use crate::secret::{RecordKey, Secret32};

    proptest! {
        /// SM-06d
        #[test]
        fn any_single_change_is_refused(
            key: [u8; 32], nonce: [u8; 12], aad: Vec<u8>, text: Vec<u8>, at: usize, bit in 0..8_u8, gcm: bool,
        ) {
            let algorithm = if gcm { AeadAlgorithm::Aes256Gcm } else { AeadAlgorithm::ChaCha20Poly1305 };
            let key = AeadKey::new(algorithm, &RecordKey::from_bytes(&key)).unwrap();
            let mut sealed = text.clone();
            key.seal(&nonce, &aad, &mut sealed).unwrap();
            prop_assert_eq!(sealed.len(), text.len() + TAG_LEN);

            let mut opened = sealed.clone();
            prop_assert_eq!(&*key.open(&nonce, &aad, &mut opened).unwrap(), &text[..]);

            let mut altered = sealed.clone();
            let at = at % altered.len();
            altered[at] ^= 1 << bit;
            prop_assert!(key.open(&nonce, &aad, &mut altered).is_err());

            let mut longer = aad.clone();
            longer.push(0);
            prop_assert!(key.open(&nonce, &longer, &mut sealed.clone()).is_err());
            let mut other = nonce;
            other[at % 12] ^= 1 << bit;
            prop_assert!(key.open(&other, &aad, &mut sealed).is_err());
        }
    }
}
