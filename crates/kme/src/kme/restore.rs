use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use minicbor::Decode;
use store::{CellName, ReadError};
use tokio::sync::Semaphore;

use super::{DRAWS, Kme, Parts, lock};
use crate::bodies::Bodies;
use crate::config::ConfigError;
use crate::directory::Directory;
use crate::id::{KeyUuid, SheetTag};
use crate::journal::Journal;
use crate::names::{FETCHED, GIVEN, META, Meta, PARCEL, ParcelMeta, Side, Stage};
use crate::served::{Parcel, Serving};
use crate::shelf::Mark;

/// Why a KME does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its records cannot be read.
    #[error("the keys cannot be read from the store: {0}")]
    Store(#[from] ReadError),
    /// A record does not have its form.
    #[error("the record `{0}` of the store is damaged: restore the store from its backup")]
    Damaged(String),
}

impl Kme {
    /// Opens the KME on what its store holds. What was delivered, or marked to be, before a crash, is not
    /// delivered again; sheets that were not confirmed are offered again.
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
            entropy,
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
        });
        kme.restore_sheets().await?;
        kme.restore_parcels().await?;
        kme.clone().start_tending();
        Ok(kme)
    }

    async fn restore_sheets(&self) -> Result<(), OpenError> {
        let given = by_tag(GIVEN, self.store.cells(GIVEN).await?)?;
        let fetched = by_tag(FETCHED, self.store.cells(FETCHED).await?)?;
        for (name, bytes) in self.store.cells(META).await? {
            let tag = tag_of(META, &name)?;
            let meta: Meta = decode(&name, &bytes)?;
            if meta.side.serves_slave() && meta.stage != Stage::Offered {
                let got = fetched.get(&tag).map(Vec::as_slice);
                let mut serving = Serving::new(meta.master.clone(), meta.slave.clone(), meta.path, meta.units, got);
                if let Stage::Finished(at) = meta.stage {
                    serving.finished = Some(at);
                }
                lock(&self.served).sheets.insert(tag, serving);
            }
            if meta.side != Side::Slave {
                let line = self.line(&meta.master, &meta.slave, &meta.kme);
                match meta.stage {
                    Stage::Offered => lock(&line.offered).push_back(tag),
                    Stage::Ready => {
                        let mark = match given.get(&tag) {
                            Some(bytes) => Mark::from_bytes(tag, bytes)
                                .ok_or_else(|| OpenError::Damaged(format!("{GIVEN}{tag}")))?,
                            None => Mark { tag, leased: 0, scraps: vec![] },
                        };
                        lock(&line.shelf).add(mark, meta.units, meta.path);
                    }
                    Stage::Finished(_) => {}
                }
            }
            lock(&self.dirty).insert(tag);
            lock(&self.sheets).insert(tag, meta);
        }
        Ok(())
    }

    async fn restore_parcels(&self) -> Result<(), OpenError> {
        for (name, bytes) in self.store.cells(PARCEL).await? {
            let meta: ParcelMeta = decode(&name, &bytes)?;
            let id: Option<KeyUuid> = name.as_str().strip_prefix(PARCEL).and_then(|text| text.parse().ok());
            let id = id.ok_or_else(|| OpenError::Damaged(name.to_string()))?;
            let ParcelMeta { master, waiting, served, path, since } = meta;
            lock(&self.served).parcels.insert(id, Parcel { master, waiting, served, path, since });
        }
        Ok(())
    }
}

fn tag_of(prefix: &str, name: &CellName) -> Result<SheetTag, OpenError> {
    let tag = name.as_str().strip_prefix(prefix).and_then(|text| text.parse().ok());
    tag.ok_or_else(|| OpenError::Damaged(name.to_string()))
}

fn by_tag(prefix: &str, cells: Vec<(CellName, Vec<u8>)>) -> Result<HashMap<SheetTag, Vec<u8>>, OpenError> {
    cells.into_iter().map(|(name, value)| Ok((tag_of(prefix, &name)?, value))).collect()
}

fn decode<'b, T: Decode<'b, ()>>(name: &CellName, bytes: &'b [u8]) -> Result<T, OpenError> {
    minicbor::decode(bytes).map_err(|_| OpenError::Damaged(name.to_string()))
}
