use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use types::mesh::Groups;

use super::{ClientSettings, own_key};
use crate::server::{TlsError, certificates, file_error, sae_provider};

/// TLS towards a vendor's KME: its certificate by authority and name, ours shown.
pub(super) fn config(settings: &ClientSettings) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&settings.authority)? {
        roots.add(certificate).map_err(|error| file_error(&settings.authority, &error))?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(sae_provider(Groups::Preferred)))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&settings.certificate)?, own_key(settings)?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
