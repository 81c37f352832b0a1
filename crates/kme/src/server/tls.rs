//! TLS 1.3 of the SAEs' listener, both sides with certificates.
//!
//! X25519MLKEM768 comes first, and with `groups = "hybrid"` it is all there is. Otherwise X25519, P-256 and P-384
//! are allowed after it, because encryptors of today offer nothing else: on such a connection keys are only as safe
//! from a recorded handshake as those groups are, and each delivery says so.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs as provider};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ServerConfig, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, NamedGroup, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use types::Hash;
use types::mesh::{Exchange, Groups};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config;
use crate::directory::Identity;
use crate::kme::Kme;

/// Why the listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("cannot use `{path}`: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The TLS library refuses.
    #[error("the certificates cannot be used: {0}")]
    Tls(#[from] Error),
    /// The authorities cannot be used.
    #[error("the authorities of the SAEs cannot be used: {0}")]
    Authorities(#[from] rustls::server::VerifierBuilderError),
}

/// The listener's TLS, which changes when its certificate is renewed.
pub struct ServerTls(RwLock<Served>);

/// The same listener for two kinds of callers. TLS takes whatever key share comes with the first message; who knows
/// a hybrid group and sent another share is asked for the hybrid one.
#[derive(Clone)]
pub(super) struct Served {
    /// For who knows a hybrid group.
    hybrid: Arc<ServerConfig>,
    /// For the others.
    other: Arc<ServerConfig>,
}

impl Served {
    /// Shakes hands with a caller.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> std::io::Result<TlsStream<S>> {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let groups = start.client_hello().named_groups();
        let knows = groups.is_some_and(|groups| groups.contains(&NamedGroup::X25519MLKEM768));
        start.into_stream(Arc::clone(if knows { &self.hybrid } else { &self.other })).await
    }
}

impl ServerTls {
    /// Reads the files of `config`. `kme` tells which certificates are pinned.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(config: &config::ServerConfig, kme: &Arc<Kme>) -> Result<Self, TlsError> {
        Ok(Self(RwLock::new(read(config, kme)?)))
    }

    /// Reads the files again; connections open now keep what they have.
    ///
    /// # Errors
    /// [`TlsError`]; the old certificate is kept then.
    pub fn reload(&self, config: &config::ServerConfig, kme: &Arc<Kme>) -> Result<(), TlsError> {
        let new = read(config, kme)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> Served {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(config: &config::ServerConfig, kme: &Arc<Kme>) -> Result<Served, TlsError> {
    let of = |groups| read_for(groups, config, kme);
    Ok(Served { hybrid: of(Groups::Hybrid)?, other: of(config.groups)? })
}

fn read_for(groups: Groups, config: &config::ServerConfig, kme: &Arc<Kme>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for path in &config.authorities {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| file_error(path, &error))?;
        }
    }
    let provider = Arc::new(sae_provider(groups));
    let algorithms = provider.signature_verification_algorithms;
    let authorities = if roots.is_empty() {
        None
    } else {
        Some(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?)
    };
    let verifier = SaeVerifier { authorities, algorithms, kme: Arc::downgrade(kme) };
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|error| file_error(&config.key, &error))?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(certificates(&config.certificate)?, key)?;
    // Every connection proves its certificate anew: a SAE that was removed does not come back by a ticket.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// Groups and suites for SAEs, on both sides.
pub(crate) fn sae_provider(groups: Groups) -> CryptoProvider {
    let mut provider = provider::default_provider();
    use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    provider.kx_groups = match groups {
        Groups::Hybrid => vec![X25519MLKEM768],
        Groups::Preferred => vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
    };
    provider
}

/// How a connection agreed on its keys.
pub(super) fn exchange(connection: &rustls::ServerConnection) -> Exchange {
    let group = connection.negotiated_key_exchange_group().map(|group| group.name());
    if group == Some(NamedGroup::X25519MLKEM768) { Exchange::Hybrid } else { Exchange::Classical }
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(file_error(path, &"it has no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(file_error(path, &error)),
    }
}

pub(crate) fn file_error(path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), problem: problem.to_string() }
}

pub(crate) fn fingerprint(certificate: &[u8]) -> Hash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    Hash::new(bytes)
}

/// What a certificate that was verified says of its holder.
pub(super) fn identity(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    let common_names = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok().map(str::to_owned));
    Some(Identity { uris: uris.collect(), common_names: common_names.collect(), fingerprint: fingerprint(certificate) })
}

/// Accepts certificates of the SAEs' authorities, and pinned ones.
#[derive(Debug)]
struct SaeVerifier {
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    kme: std::sync::Weak<Kme>,
}

impl ClientCertVerifier for SaeVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hint: a pinned certificate has none of these issuers, and some clients then send none at all.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let pinned = self.kme.upgrade().is_some_and(|kme| kme.directory().is_pinned(&fingerprint(end_entity)));
        if pinned {
            // What is left to check are its dates; the handshake proves the key.
            ParsedCertificate::try_from(end_entity)?;
            return in_its_dates(end_entity, now).map(|()| ClientCertVerified::assertion());
        }
        match &self.authorities {
            Some(authorities) => authorities.verify_client_cert(end_entity, intermediates, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn in_its_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let bad = |error| Err(Error::InvalidCertificate(error));
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return bad(CertificateError::BadEncoding) };
    let (dates, now) = (parsed.validity(), now.as_secs() as i64);
    if now < dates.not_before.timestamp() {
        bad(CertificateError::NotValidYet)
    } else if now > dates.not_after.timestamp() {
        bad(CertificateError::Expired)
    } else {
        Ok(())
    }
}
