//! Cryptography of the product: suites, secrets, hybrid signatures and key encapsulation, sealing,
//! derivation, entropy, and the files that keep secrets.
//!
//! In scope: thin, typed use of one vetted library. Out of scope: primitives of our own, policy,
//! protocols. System calls and processor instructions live in one module, `platform`, the only
//! place with unsafe code.

pub mod aead;
pub mod entropy;
pub mod identity;
pub mod kdf;
pub mod kem;
pub mod log_key;
pub mod p256;
pub mod secret;
pub mod secret_file;
pub mod suite;

mod platform;

pub use aead::{AeadAlgorithm, AeadKey, OpenError, SealError};
pub use entropy::drbg::Drbg;
pub use entropy::{Entropy, EntropyError};
pub use identity::{IdentityKey, IdentityPublic, IdentitySignature};
pub use kem::{KemCiphertext, KemPublic, KemSecret};
pub use log_key::{LogSigner, ed25519_verify, mldsa44_verify};
pub use p256::p256_verify;
pub use platform::{HardenError, harden_process};
pub use secret::{
    AuthKey, ConfirmKey, EnvelopeKey, KeyMaterial, MasterKey, PairKey, RecordKey, Secret32, SharedSecret, StreamKey,
};
pub use secret_file::SecretFileError;
pub use suite::SuiteId;

#[doc(hidden)]
pub use zeroize;
