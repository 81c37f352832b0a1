//! Secrets: one type per purpose, 32 bytes each, on the heap, wiped when dropped, never printed
//! and never compared.

/// What every 32-byte secret can do. Implemented by the types that [`secret!`](crate::secret!)
/// makes; the trait lets derivation and sealing work on any of them.
pub trait Secret32: Sized {
    /// A secret whose bytes `fill` writes in place, so that no copy stays elsewhere.
    ///
    /// # Errors
    /// Whatever `fill` returns; the half-written secret is wiped.
    fn try_fill_with<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E>;

    /// The bytes. Called only where they enter a primitive or a sealed place.
    fn expose(&self) -> &[u8; 32];

    /// A secret whose bytes `fill` writes in place.
    fn fill_with(fill: impl FnOnce(&mut [u8; 32])) -> Self {
        let filled = Self::try_fill_with(|bytes| {
            fill(bytes);
            Ok::<(), std::convert::Infallible>(())
        });
        match filled {
            Ok(secret) => secret,
            Err(never) => match never {},
        }
    }

    /// A secret with a copy of `bytes`; the caller wipes the original.
    fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self::fill_with(|out| out.copy_from_slice(bytes))
    }

    /// A secret with a copy of `bytes`; the caller wipes the original.
    ///
    /// # Errors
    /// [`SecretLengthError`] where there are not exactly 32 bytes.
    fn from_slice(bytes: &[u8]) -> Result<Self, SecretLengthError> {
        if bytes.len() != 32 {
            return Err(SecretLengthError { found: bytes.len() });
        }
        Ok(Self::fill_with(|out| out.copy_from_slice(bytes)))
    }

    /// A fresh secret with 256 bits of health-tested entropy (KM-03).
    ///
    /// # Errors
    /// [`EntropyError`](crate::EntropyError) where a source failed; no secret exists then.
    fn generate(entropy: &crate::Entropy) -> Result<Self, crate::EntropyError> {
        Self::try_fill_with(|bytes| entropy.fill(bytes))
    }
}

/// A secret was given with the wrong length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret of this kind has 32 bytes, not {found}")]
pub struct SecretLengthError {
    /// Number of bytes found.
    pub found: usize,
}

/// Declares 32-byte secrets of one purpose each: boxed, wiped on drop, `Debug` redacted, neither
/// `Clone` nor `PartialEq`. All of them implement [`Secret32`].
#[macro_export]
macro_rules! secret {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name(Box<[u8; 32]>);

        impl $crate::secret::Secret32 for $name {
            fn try_fill_with<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
                let mut secret = Self(Box::new([0; 32]));
                fill(&mut secret.0)?;
                Ok(secret)
            }

            fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                $crate::zeroize::Zeroize::zeroize(&mut *self.0);
            }
        }

        impl $crate::zeroize::ZeroizeOnDrop for $name {}

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    )*};
}

secret! {
    /// Material of a mesh key as made by the hub or by a quantum link, before it is combined.
    KeyMaterial;
    /// A pair's or group's key, combined from all its parts.
    PairKey;
    /// Root key of a boundary's vault (AES-256-GCM).
    MasterKey;
    /// Key of one record of the vault (AES-256-GCM).
    RecordKey;
    /// Key of a message authentication code.
    AuthKey;
    /// Key with which a participant proves that it holds a pair's key.
    ConfirmKey;
    /// Envelope key of one direction of a session (ChaCha20-Poly1305).
    EnvelopeKey;
    /// Key of one direction of one forwarded stream (ChaCha20-Poly1305).
    StreamKey;
    /// Result of a hybrid key encapsulation.
    SharedSecret;
}

#[cfg(test)]
mod tests {
    use super::{KeyMaterial, Secret32};

    #[test]
    fn a_secret_never_prints_its_bytes() {
        let secret = KeyMaterial::from_bytes(&[0xab; 32]);
        assert_eq!(format!("{secret:?}"), "KeyMaterial(redacted)");
    }

    #[test]
    fn only_thirty_two_bytes_make_a_secret() {
        assert_eq!(KeyMaterial::from_slice(&[1; 31]).unwrap_err().found, 31);
        assert_eq!(KeyMaterial::from_slice(&[1; 32]).unwrap().expose(), &[1; 32]);
    }
}
