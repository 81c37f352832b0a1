//! Certificate checks: exactly the pinned key, within its dates, and possession of the key.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use types::NodeId;

use crate::book::Book;
use crate::certificate::{SpkiPin, node_uri};
use crate::trust::TrustStore;

/// Why a certificate is not that of a trusted peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PinError {
    #[error("the key of `{0}` is not the pinned one")]
    WrongPin(String),
    #[error("no trusted participant has the key with pin {0}")]
    Unknown(SpkiPin),
}

#[derive(Debug)]
enum Wanted {
    /// The one key of a peer that we dialled.
    One { name: String, pin: SpkiPin },
    /// The key of any trusted participant.
    Any(Arc<TrustStore>),
}

/// Accepts certificates by the pin of their key. TLS 1.3 only.
#[derive(Debug)]
pub(crate) struct PinVerifier {
    wanted: Wanted,
    /// The hub's time, where it is known: a certificate is good by either clock.
    book: Option<Arc<Book>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinVerifier {
    pub(crate) fn one(name: String, pin: SpkiPin, book: Option<&Arc<Book>>, provider: &CryptoProvider) -> Arc<Self> {
        let algorithms = provider.signature_verification_algorithms;
        Arc::new(Self { wanted: Wanted::One { name, pin }, book: book.cloned(), algorithms })
    }

    pub(crate) fn any(trust: Arc<TrustStore>, book: &Arc<Book>, provider: &CryptoProvider) -> Arc<Self> {
        let algorithms = provider.signature_verification_algorithms;
        Arc::new(Self { wanted: Wanted::Any(trust), book: Some(Arc::clone(book)), algorithms })
    }

    fn check(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        let malformed = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        let parsed = webpki::EndEntityCert::try_from(certificate).map_err(malformed)?;
        let pin = SpkiPin::of_key(&parsed.subject_public_key_info());
        self.check_pin(pin, &parsed)
            .map_err(|error| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error)))))?;
        // The certificate is its own anchor now that its key is trusted: what is left to check is
        // its signature, its dates and its purpose (RFC 5280 section 6.1.3).
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone().into_owned())?;
        let parsed = ParsedCertificate::try_from(certificate)?;
        let dated = |now| verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, self.algorithms.all);
        let by_the_wall = dated(now);
        match (&by_the_wall, &self.book) {
            (Err(_), Some(book)) => {
                let now = UnixTime::since_unix_epoch(Duration::from_millis(book.now().as_millis()));
                dated(now).or(by_the_wall)
            }
            _ => by_the_wall,
        }
    }

    fn check_pin(&self, pin: SpkiPin, certificate: &webpki::EndEntityCert<'_>) -> Result<(), PinError> {
        match &self.wanted {
            Wanted::One { pin: wanted, .. } if pin == *wanted => Ok(()),
            Wanted::One { name, .. } => Err(PinError::WrongPin(name.clone())),
            Wanted::Any(trust) if trust.by_pin(&pin).is_some() => Ok(()),
            Wanted::Any(trust) => {
                let claims = |node: &NodeId| {
                    let uri = node_uri(trust.boundary(), node);
                    certificate.valid_uri_names().any(|name| name == uri)
                };
                Err(match trust.iter().find(|entry| claims(&entry.name)) {
                    Some(entry) => PinError::WrongPin(entry.name.to_string()),
                    None => PinError::Unknown(pin),
                })
            }
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }
}

const TLS12: Error = Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic);

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(TLS12)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PinVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(TLS12)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
