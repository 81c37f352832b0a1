//! Signatures of browsers: ECDSA on P-256 with SHA-256 (FIPS 186-5), which every browser's WebCrypto makes with keys
//! that it does not give out. Verification only, for sessions of an hour; nothing that must last is signed so.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

/// Whether `signature` (64 bytes, IEEE P1363) is one of `message` by `public` (65 bytes, an uncompressed point).
pub fn p256_verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::p256_verify;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// RFC 6979 appendix A.2.5, P-256 with SHA-256, message "sample".
    #[test]
    fn the_vector_of_rfc_6979_holds_and_nothing_near_it() {
        let public = bytes(concat!(
            "04",
            "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
            "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
        ));
        let mut signature = bytes(concat!(
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
        ));
        assert!(p256_verify(&public, b"sample", &signature));
        assert!(!p256_verify(&public, b"samplf", &signature));
        assert!(!p256_verify(&public[1..], b"sample", &signature));
        signature[63] ^= 1;
        assert!(!p256_verify(&public, b"sample", &signature));
    }
}
