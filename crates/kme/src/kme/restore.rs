//! Opening a KME. What an earlier start left is destroyed before anything is given out.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use store::{Changes, Fault, ReadError, WriteError};
use tokio::sync::Semaphore;
use types::Hash;

use super::{DRAWS, Kme, Parts};
use crate::bodies::Bodies;
use crate::config::ConfigError;
use crate::directory::Directory;
use crate::journal::Journal;
use crate::names::{FETCHED, GIVEN, META, PARCEL, SHEET};

/// Why a KME does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its records cannot be read.
    #[error("the keys cannot be read from the store: {0}")]
    Store(#[from] ReadError),
    /// Its records cannot be listed.
    #[error("the keys cannot be read from the store: {0}")]
    Fault(#[from] Fault),
    /// What an earlier start left cannot be destroyed.
    #[error("the keys of an earlier start cannot be destroyed, and none may be given before: {0}")]
    Write(#[from] WriteError),
    /// No randomness to name this start by.
    #[error(transparent)]
    Entropy(#[from] crypto::EntropyError),
}

impl Kme {
    /// Opens the KME with empty stock. Whatever keys its store still holds are of an earlier start and are destroyed:
    /// the store may have been put back to a state in which they were not given out yet (S7).
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(parts: Parts) -> Result<Arc<Self>, OpenError> {
        let Parts { config, store, entropy, supply, peer, evidence } = parts;
        config.limits.check()?;
        let directory = Directory::new(&config)?;
        let kme = Arc::new(Self {
            journal: Journal::spawn(store.clone()),
            bodies: Bodies::new(store.clone(), config.limits.resident_sheets),
            directory: RwLock::new(Arc::new(directory)),
            config,
            store,
            supply,
            peer,
            evidence,
            lines: RwLock::default(),
            sheets: Mutex::default(),
            served: Mutex::default(),
            dirty: Mutex::default(),
            quarantine: Mutex::default(),
            draws: Semaphore::new(DRAWS),
            closed: AtomicBool::new(false),
            held: AtomicBool::new(false),
            start: Hash::new(entropy.array()?),
            starts: Mutex::default(),
            entropy,
        });
        kme.destroy_earlier().await?;
        kme.clone().start_tending();
        Ok(kme)
    }

    async fn destroy_earlier(&self) -> Result<(), OpenError> {
        let mut changes = Changes::default();
        let mut sheets = 0_usize;
        for prefix in [META, GIVEN, FETCHED, PARCEL] {
            for (name, _) in self.store.cells(prefix).await? {
                sheets += usize::from(prefix == META);
                changes.remove_cell(name);
            }
        }
        for prefix in [SHEET, PARCEL] {
            self.store.secret_names(prefix).await?.into_iter().for_each(|name| changes.erase_secret(name));
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.store.apply(changes).await?;
        tracing::info!(sheets, "keys of an earlier start are destroyed");
        Ok(())
    }
}
