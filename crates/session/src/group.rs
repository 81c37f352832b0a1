//! TLS key exchange groups and the two providers: one for the mesh, one for operators.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};
use zeroize::Zeroizing;

/// Code point of SecP384r1MLKEM1024 (draft-ietf-tls-ecdhe-mlkem).
pub const SECP384R1_MLKEM1024: NamedGroup = NamedGroup::Unknown(0x11ED);

/// Uncompressed P-384 point (SEC 1 section 2.3.3).
const POINT: usize = 97;
const SHARE_ERROR: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

/// P-384 and ML-KEM-1024 side by side (SM-05, SM-06c): in shares and in the secret the P-384 part
/// comes first (draft-ietf-tls-ecdhe-mlkem section 4).
#[derive(Debug)]
struct SecP384r1MlKem1024;

fn split(share: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    share.split_at_checked(POINT).ok_or(SHARE_ERROR)
}

fn concat(classical: &SharedSecret, pq: &SharedSecret) -> SharedSecret {
    let both = Zeroizing::new([classical.secret_bytes(), pq.secret_bytes()].concat());
    SharedSecret::from(both.as_slice())
}

impl SupportedKxGroup for SecP384r1MlKem1024 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let classical = kx_group::SECP384R1.start()?;
        let pq = kx_group::MLKEM1024.start()?;
        let share = [classical.pub_key(), pq.pub_key()].concat();
        Ok(Box::new(Active { classical, pq, share }))
    }

    fn start_and_complete(&self, peer_share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (classical_share, pq_share) = split(peer_share)?;
        let classical = kx_group::SECP384R1.start_and_complete(classical_share)?;
        let pq = kx_group::MLKEM1024.start_and_complete(pq_share)?;
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: [classical.pub_key, pq.pub_key].concat(),
            secret: concat(&classical.secret, &pq.secret),
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        SECP384R1_MLKEM1024
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

struct Active {
    classical: Box<dyn ActiveKeyExchange>,
    pq: Box<dyn ActiveKeyExchange>,
    share: Vec<u8>,
}

// No `hybrid_component`: the classical half is never offered alone.
impl ActiveKeyExchange for Active {
    fn complete(self: Box<Self>, peer_share: &[u8]) -> Result<SharedSecret, Error> {
        let (classical_share, pq_share) = split(peer_share)?;
        let classical = self.classical.complete(classical_share)?;
        let pq = self.pq.complete(pq_share)?;
        Ok(concat(&classical, &pq))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        SECP384R1_MLKEM1024
    }
}

fn provider(group: &'static dyn SupportedKxGroup) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    })
}

/// The provider of the mesh: SecP384r1MLKEM1024 and nothing else.
pub fn mesh_provider() -> Arc<CryptoProvider> {
    provider(&SecP384r1MlKem1024)
}

/// The provider of operators, applications and browsers: X25519MLKEM768 and nothing else. A client
/// without a post-quantum group is refused, never served with less.
pub fn operator_provider() -> Arc<CryptoProvider> {
    provider(kx_group::X25519MLKEM768)
}

/// The provider of what is public: hybrid where the client has it, classical where it does not. Nothing that must
/// stay secret may pass through it.
pub fn public_provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    Arc::new(CryptoProvider { kx_groups, ..Arc::unwrap_or_clone(operator_provider()) })
}

#[cfg(test)]
mod tests {
    use rustls::crypto::SupportedKxGroup;

    use super::{POINT, SecP384r1MlKem1024};

    /// SM-05, SM-06c: sizes of draft-ietf-tls-ecdhe-mlkem section 4.1 and 4.2.
    #[test]
    fn both_ends_agree_and_the_shares_have_the_sizes_of_the_draft() {
        let client = SecP384r1MlKem1024.start().unwrap();
        assert_eq!(client.pub_key().len(), 97 + 1_568);
        let server = SecP384r1MlKem1024.start_and_complete(client.pub_key()).unwrap();
        assert_eq!(server.pub_key.len(), 97 + 1_568);
        assert_eq!(server.secret.secret_bytes().len(), 48 + 32);
        let secret = client.complete(&server.pub_key).unwrap();
        assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
    }

    /// SM-05
    #[test]
    fn either_half_altered_breaks_the_exchange() {
        for at in [1, POINT + 1] {
            let client = SecP384r1MlKem1024.start().unwrap();
            let mut server = SecP384r1MlKem1024.start_and_complete(client.pub_key()).unwrap();
            server.pub_key[at] ^= 1;
            let got = client.complete(&server.pub_key);
            assert!(got.map_or(true, |got| got.secret_bytes() != server.secret.secret_bytes()), "{at}");
        }
    }

    #[test]
    fn malformed_shares_are_errors() {
        for length in [0, 1, 96, 97, 97 + 1_567, 97 + 1_569] {
            assert!(SecP384r1MlKem1024.start_and_complete(&vec![4; length]).is_err(), "{length}");
            assert!(SecP384r1MlKem1024.start().unwrap().complete(&vec![4; length]).is_err(), "{length}");
        }
    }
}
