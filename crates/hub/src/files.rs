//! The hub's secrets and how they come to be: each in a file of its own, mode 0600.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crypto::entropy::EntropyError;
use crypto::identity::IdentityError;
use crypto::log_key::LogKeyError;
use crypto::secret_file::{self, FileKind, SecretFileError};
use crypto::{Entropy, IdentityKey, IdentityPublic, LogSigner, MasterKey, Secret32};
use session::TlsKey;
use session::certificate::CertificateError;
use store::{OpenError, Store};
use types::{BoundaryId, Hash};

use crate::config::HubConfig;
use crate::sequencer::{self, SignersError};

/// The hub's files cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A secret file.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log's keys.
    #[error(transparent)]
    Log(#[from] LogKeyError),
    /// The log's keys cannot be named.
    #[error(transparent)]
    Signers(#[from] SignersError),
    /// A TLS key.
    #[error(transparent)]
    Tls(#[from] CertificateError),
    /// A pin is no hash.
    #[error("the pin of the operators' listener is malformed")]
    Pin,
    /// No healthy entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// What others must know of a new hub: nodes pin the first two, operators the others.
#[derive(Debug, Clone)]
pub struct Created {
    /// Its hybrid identity.
    pub identity: IdentityPublic,
    /// Pin of its TLS key for sessions.
    pub mesh_pin: session::SpkiPin,
    /// Pin of its TLS key for operators: SHA-256 of the public key.
    pub http_pin: Hash,
    /// Keys of its log, as C2SP vkeys.
    pub log_keys: Vec<String>,
}

/// Makes the secrets of a new hub in the files the configuration names. Existing files are kept and
/// used, so that an interrupted `init` can be repeated.
///
/// # Errors
/// [`FilesError`].
pub fn create(config: &HubConfig, entropy: &Entropy) -> Result<Created, FilesError> {
    let files = &config.files;
    let identity = IdentityKey::load_or_generate(&files.identity, entropy)?;
    let log = LogSigner::load_or_generate(&files.log_key, entropy)?;
    if !files.master_key.exists() {
        let master = MasterKey::generate(entropy)?;
        secret_file::create(&files.master_key, FileKind::MASTER_KEY, master.expose())?;
    }
    let mesh = TlsKey::load_or_generate(&files.tls, entropy)?;
    let http = TlsKey::load_or_generate(&files.http_key, entropy)?;
    Ok(Created {
        identity: identity.public().clone(),
        mesh_pin: mesh.pin(),
        http_pin: http.pin().to_string().parse().map_err(|_| FilesError::Pin)?,
        log_keys: log_keys(log, &config.boundary)?,
    })
}

/// The vkeys of the log of `boundary`.
///
/// # Errors
/// [`FilesError::Signers`].
pub fn log_keys(signer: LogSigner, boundary: &BoundaryId) -> Result<Vec<String>, FilesError> {
    let signers = sequencer::Signers::new(signer, boundary)?;
    Ok(signers.keys().iter().map(ToString::to_string).collect())
}

/// Where the next master key is while the vault is put under it.
fn next_master(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    PathBuf::from(name)
}

fn read_master(path: &Path) -> Result<MasterKey, SecretFileError> {
    Ok(MasterKey::from_bytes(&*secret_file::read_exact::<32>(path, FileKind::MASTER_KEY)?))
}

/// Opens the store under the master key, or, after a crash in the middle of a change of master keys,
/// under the next one.
///
/// # Errors
/// [`StoreError`].
pub fn open_store(config: &HubConfig, entropy: &Arc<Entropy>) -> Result<Store, StoreError> {
    let (path, boundary) = (&config.files.store, &config.boundary);
    let current = read_master(&config.files.master_key)?;
    if !path.exists() {
        return Ok(Store::create(path, boundary, current, Arc::clone(entropy))?);
    }
    let next = next_master(&config.files.master_key);
    match Store::open(path, boundary, current, Arc::clone(entropy)) {
        Err(OpenError::WrongKey) if next.exists() => {
            let store = Store::open(path, boundary, read_master(&next)?, Arc::clone(entropy))?;
            promote_master(&config.files.master_key)?;
            Ok(store)
        }
        other => Ok(other?),
    }
}

/// The store cannot be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The master key.
    #[error(transparent)]
    Master(#[from] SecretFileError),
    /// An existing store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A new store.
    #[error(transparent)]
    Create(#[from] store::CreateError),
}

/// Keeps the master key that the vault is about to be put under beside the one in use.
pub(crate) fn stage_master(path: &Path, master: &MasterKey) -> Result<(), SecretFileError> {
    secret_file::replace(&next_master(path), FileKind::MASTER_KEY, master.expose())
}

/// Makes the next master key the one in use, once the vault is under it.
pub(crate) fn promote_master(path: &Path) -> Result<(), SecretFileError> {
    let io = |source| SecretFileError::Io { path: path.to_owned(), source };
    std::fs::rename(next_master(path), path).map_err(io)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}
