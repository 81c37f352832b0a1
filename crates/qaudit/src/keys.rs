use crypto::{ed25519_verify, mldsa44_verify};
use evidence::{Algorithm, VerifierKey};

/// Whether `signature` is `key`'s over `message`: what the evidence crate asks of its callers.
pub fn check_signature(key: &VerifierKey, message: &[u8], signature: &[u8]) -> bool {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => ed25519_verify(key.public(), message, signature),
        Algorithm::MlDsa44 => mldsa44_verify(key.public(), message, signature),
    }
}
