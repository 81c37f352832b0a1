//! TLS of a listener for operators, applications and browsers: TLS 1.3 with X25519MLKEM768 and nothing
//! less. Who the caller is, each request proves for itself. And TLS of a listener for everyone, where nothing is secret.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::version::TLS13;

use crate::certificate::{Certificate, TlsKey};
use crate::group::{operator_provider, public_provider};

/// The configuration of the listener. Speaks HTTP/1.1 by ALPN.
///
/// # Errors
/// The error of the TLS library, for example a certificate of another key.
pub fn server_config(key: &TlsKey, certificate: &Certificate) -> Result<Arc<ServerConfig>, rustls::Error> {
    configure(operator_provider(), key, certificate)
}

/// The configuration of a listener of public data: any client of TLS 1.3 with X25519 or P-256 may call, and one with
/// X25519MLKEM768 uses that.
///
/// # Errors
/// As [`server_config`].
pub fn public_config(key: &TlsKey, certificate: &Certificate) -> Result<Arc<ServerConfig>, rustls::Error> {
    configure(public_provider(), key, certificate)
}

fn configure(
    provider: Arc<rustls::crypto::CryptoProvider>,
    key: &TlsKey,
    certificate: &Certificate,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.0.clone()], key.private_der())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
