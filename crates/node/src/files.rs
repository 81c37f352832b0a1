//! The node's secrets and how they come to be: each in a file of its own, mode 0600.

use std::path::Path;
use std::sync::Arc;

use crypto::entropy::EntropyError;
use crypto::identity::IdentityError;
use crypto::secret_file::{self, FileKind, SecretFileError};
use crypto::{Entropy, IdentityKey, IdentityPublic, MasterKey, Secret32};
use session::certificate::CertificateError;
use session::{SpkiPin, TlsKey};
use store::{CreateError, OpenError, Store};

use crate::config::NodeConfig;

/// The node's files cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A secret file.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The TLS key.
    #[error(transparent)]
    Tls(#[from] CertificateError),
    /// No healthy entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The store exists and cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be made.
    #[error(transparent)]
    Create(#[from] CreateError),
}

/// What others must know of a new node.
#[derive(Debug, Clone)]
pub struct Created {
    /// Its hybrid identity.
    pub identity: IdentityPublic,
    /// Pin of its TLS key.
    pub pin: SpkiPin,
}

/// Makes the secrets of a new node in the files the configuration names. Existing files are kept
/// and used, so that an interrupted `init` can be repeated.
///
/// # Errors
/// [`FilesError`].
pub fn create(config: &NodeConfig, entropy: &Entropy) -> Result<Created, FilesError> {
    let files = &config.files;
    let identity = IdentityKey::load_or_generate(&files.identity, entropy)?;
    let tls = TlsKey::load_or_generate(&files.tls, entropy)?;
    if !files.master_key.exists() {
        let master = MasterKey::generate(entropy)?;
        secret_file::create(&files.master_key, FileKind::MASTER_KEY, master.expose())?;
    }
    Ok(Created { identity: identity.public().clone(), pin: tls.pin() })
}

fn read_master(path: &Path) -> Result<MasterKey, SecretFileError> {
    Ok(MasterKey::from_bytes(&*secret_file::read_exact::<32>(path, FileKind::MASTER_KEY)?))
}

/// Opens the node's store, or makes it for a node that never ran.
///
/// # Errors
/// [`FilesError`].
pub fn open_store(config: &NodeConfig, entropy: &Arc<Entropy>) -> Result<Store, FilesError> {
    let (path, boundary) = (&config.files.store, &config.boundary);
    let master = read_master(&config.files.master_key)?;
    if path.exists() {
        Ok(Store::open(path, boundary, master, Arc::clone(entropy))?)
    } else {
        Ok(Store::create(path, boundary, master, Arc::clone(entropy))?)
    }
}
