//! TLS of a listener for operators, applications and browsers: TLS 1.3 with X25519MLKEM768 and nothing
//! less. Who the caller is, each request proves for itself.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::version::TLS13;

use crate::certificate::{Certificate, TlsKey};
use crate::group::operator_provider;

/// The configuration of the listener. Speaks HTTP/1.1 by ALPN.
///
/// # Errors
/// The error of the TLS library, for example a certificate of another key.
pub fn server_config(key: &TlsKey, certificate: &Certificate) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(operator_provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.0.clone()], key.private_der())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
