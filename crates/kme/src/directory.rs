//! Who the SAEs are, which KME serves each, and what each may have.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use guard::{Bucket, Rate};
use types::Hash;
use types::mesh::Groups;

use crate::config::{ConfigError, KmeConfig, SaeConfig};
use crate::id::{KmeId, SaeId};

/// What a SAE's certificate URI starts with, by default.
pub const SAE_URI: &str = "qecnet:sae/";

/// What a certificate says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// URIs among the alternative names.
    pub uris: Vec<String>,
    /// Common names of the subject.
    pub common_names: Vec<String>,
    /// SHA-256 of the certificate, DER.
    pub fingerprint: Hash,
}

/// A SAE that this KME serves.
#[derive(Debug)]
pub struct Sae {
    /// Its name.
    pub id: SaeId,
    /// Over which key exchange it is served.
    pub groups: Groups,
    slaves: Option<BTreeSet<SaeId>>,
    quota: Option<Mutex<Bucket>>,
    connections: AtomicUsize,
}

impl Sae {
    fn new(config: &SaeConfig, quota_bps: Option<u64>, burst: u64) -> Self {
        let quota = config
            .quota_bps
            .or(quota_bps)
            .map(|bps| Mutex::new(Bucket::new(Rate { burst: burst.max(bps) as f64, per_second: bps as f64 })));
        let (id, groups, slaves) = (config.id.clone(), config.groups, config.slaves.clone());
        Self { id, groups, slaves, quota, connections: AtomicUsize::new(0) }
    }

    /// Whether it may have keys with `slave` as their master.
    pub fn may_reach(&self, slave: &SaeId) -> bool {
        self.slaves.as_ref().is_none_or(|slaves| slaves.contains(slave))
    }

    /// Takes `bits` off its quota; false where they exceed it.
    pub(crate) fn spend(&self, bits: u64) -> bool {
        let Some(bucket) = &self.quota else { return true };
        bucket.lock().unwrap_or_else(PoisonError::into_inner).take(bits as f64)
    }

    /// Puts back what was not delivered.
    pub(crate) fn refund(&self, bits: u64) {
        if let Some(bucket) = &self.quota {
            bucket.lock().unwrap_or_else(PoisonError::into_inner).give_back(bits as f64);
        }
    }

    /// Counts one more connection, unless there are `most`.
    pub(crate) fn connect(&self, most: usize) -> bool {
        let more = |now: usize| (now < most).then_some(now + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Counts one connection less.
    pub(crate) fn disconnect(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All SAEs known. Replaced as a whole when the configuration changes.
#[derive(Debug, Default)]
pub struct Directory {
    here: HashMap<SaeId, Arc<Sae>>,
    elsewhere: HashMap<SaeId, KmeId>,
    by_uri: HashMap<String, Arc<Sae>>,
    by_common_name: HashMap<String, Arc<Sae>>,
    by_fingerprint: Vec<(Hash, Arc<Sae>)>,
}

/// Where a SAE is served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Home<'a> {
    Here,
    At(&'a KmeId),
}

impl Directory {
    /// The SAEs of `config`.
    ///
    /// # Errors
    /// [`ConfigError::Twice`] or [`ConfigError::Ambiguous`].
    pub fn new(config: &KmeConfig) -> Result<Self, ConfigError> {
        let mut all = Self::default();
        for entry in &config.saes {
            let sae = Arc::new(Sae::new(entry, config.limits.quota_bps, config.limits.quota_burst));
            if all.here.insert(entry.id.clone(), Arc::clone(&sae)).is_some() {
                return Err(ConfigError::Twice(entry.id.clone()));
            }
            let default = [format!("{SAE_URI}{}", entry.id)];
            let uris = if entry.uris.is_empty() { &default[..] } else { &entry.uris };
            for (map, names) in [(&mut all.by_uri, uris), (&mut all.by_common_name, &entry.common_names)] {
                for name in names {
                    if map.insert(name.clone(), Arc::clone(&sae)).is_some() {
                        return Err(ConfigError::Ambiguous(name.clone()));
                    }
                }
            }
            for fingerprint in &entry.fingerprints {
                if all.is_pinned(fingerprint) {
                    return Err(ConfigError::Ambiguous(fingerprint.to_string()));
                }
                all.by_fingerprint.push((*fingerprint, Arc::clone(&sae)));
            }
        }
        for remote in &config.remotes {
            let here = all.here.contains_key(&remote.id) || remote.kme == config.id;
            if here || all.elsewhere.insert(remote.id.clone(), remote.kme.clone()).is_some() {
                return Err(ConfigError::Twice(remote.id.clone()));
            }
        }
        Ok(all)
    }

    /// Whether a certificate with this fingerprint counts without an authority.
    pub(crate) fn is_pinned(&self, fingerprint: &Hash) -> bool {
        self.by_fingerprint.iter().any(|(known, _)| known == fingerprint)
    }

    /// The SAE that a certificate names: by fingerprint, then by URI, then by common name. `None` also where
    /// it names two.
    pub fn identify(&self, identity: &Identity) -> Option<Arc<Sae>> {
        let pinned = self.by_fingerprint.iter().find(|(known, _)| *known == identity.fingerprint);
        if let Some((_, sae)) = pinned {
            return Some(Arc::clone(sae));
        }
        let one = |map: &HashMap<String, Arc<Sae>>, names: &[String]| {
            let mut found = names.iter().filter_map(|name| map.get(name));
            let first = found.next()?;
            Some(found.all(|other| other.id == first.id).then(|| Arc::clone(first)))
        };
        one(&self.by_uri, &identity.uris).or_else(|| one(&self.by_common_name, &identity.common_names)).flatten()
    }

    pub(crate) fn home(&self, sae: &SaeId) -> Option<Home<'_>> {
        if self.here.contains_key(sae) {
            return Some(Home::Here);
        }
        self.elsewhere.get(sae).map(Home::At)
    }

    pub(crate) fn serves(&self, sae: &SaeId) -> bool {
        self.here.contains_key(sae)
    }

    /// A SAE served here.
    pub fn sae(&self, id: &SaeId) -> Option<Arc<Sae>> {
        self.here.get(id).cloned()
    }
}
