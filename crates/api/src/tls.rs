//! TLS of the operators' listener: TLS 1.3, X25519MLKEM768 only, and on the client's side one pinned
//! public key instead of any authority.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use types::Hash;

/// The name in every listener's certificate, whatever its address. A client recognises the hub by
/// its key, not by where it is.
pub const SERVER_NAME: &str = "hub.qecnet.internal";

/// The provider of both ends: the hybrid group alone, so that no handshake falls back to a
/// classical one (SM-05).
pub fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    provider
}

/// SHA-256 of the SubjectPublicKeyInfo in `certificate`: what a client pins.
///
/// # Errors
/// The library's error where the bytes are not a certificate.
pub fn pin_of(certificate: &CertificateDer<'_>) -> Result<Hash, Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    Ok(Hash::new(Sha256::digest(spki.as_ref()).into()))
}

/// The configuration of a client that accepts the holder of the pinned key and no one else.
///
/// # Errors
/// The library's error; none is expected of a fixed configuration.
pub fn client_config(pin: Hash) -> Result<ClientConfig, Error> {
    let provider = Arc::new(provider());
    let verifier = Arc::new(PinnedKey { pin, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

#[derive(Debug)]
struct PinnedKey {
    pin: Hash,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if pin_of(end_entity)? != self.pin {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        // The pinned certificate is its own root: what is left to check is its form, name and dates.
        let mut roots = RootCertStore::empty();
        roots.add(end_entity.clone().into_owned())?;
        let checker = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        checker.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
