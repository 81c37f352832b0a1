//! The counter at which applications (SAEs) are given keys: the node's key management entity, its listener, and
//! what joins it to the mesh.
//!
//! Who is served comes from the hub's list and is kept. A node that starts gives nothing until the hub has answered.
//! What was given is accounted for to the hub.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crypto::Entropy;
use kme::config::{ConfigError, Guard, KmeConfig, RemoteSae, SaeConfig, ServerConfig};
use kme::sae::{Credential, CredentialError, SaeAuthority};
use kme::server::{ServerTls, TlsError};
use kme::{Kme, KmeId, OpenError};
use session::mesh::{KmeFrame, NodeMessage};
use store::{CellName, ReadError, StoreHandle};
use tokio::net::TcpListener;
use types::sae::{KmeSpec, SaeSpec};
use types::{Millis, NodeId, cbor};

use crate::peer::Outbox;
use crate::run::now;

mod carrier;
mod notes;
mod relay;
mod section;
mod supply;

pub use section::{KmeSection, SaeSection};

pub(crate) use carrier::Carrier;
use notes::Notes;
use supply::PoolSupply;

/// The hub's last list.
const SAES: &str = "sae/list";
/// Life of the listener's certificate, and how often it is renewed.
const CERTIFICATE_LIFE: Millis = Millis::from_days(30);
const RENEW_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// Keys cannot be given to applications.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// The section `[kme]`.
    #[error("`kme`: {0}")]
    Config(#[from] ConfigError),
    /// The keys in the store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store.
    #[error("what is kept of applications cannot be read: {0}")]
    Read(#[from] ReadError),
    /// What the store has is not what was kept.
    #[error("the record `{0}` is damaged: restore the store from a backup")]
    Damaged(&'static str),
    /// The certificates.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address is not free.
    #[error("cannot listen on `{address}`: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// What a counter begins with.
pub(crate) struct Parts<'a> {
    pub(crate) me: NodeId,
    pub(crate) section: &'a KmeSection,
    pub(crate) store: StoreHandle,
    pub(crate) entropy: Arc<Entropy>,
    pub(crate) carrier: Arc<Carrier>,
}

/// A counter that is open.
pub(crate) struct Counter {
    me: NodeId,
    section: KmeSection,
    store: StoreHandle,
    kme: Arc<Kme>,
    carrier: Arc<Carrier>,
    notes: Arc<Notes>,
    spec: KmeSpec,
    /// Held from a list to the end of what follows from it.
    taking: tokio::sync::Mutex<()>,
    saes: Mutex<Vec<SaeSpec>>,
}

/// A counter and what runs for it, until dropped.
pub(crate) struct Opened {
    pub(crate) counter: Arc<Counter>,
    pub(crate) work: [tokio::task::JoinHandle<()>; 3],
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.work.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Counter {
    pub(crate) async fn open(parts: Parts<'_>) -> Result<Opened, CounterError> {
        let Parts { me, section, store, entropy, carrier } = parts;
        let saes: Vec<SaeSpec> = match store.cell(cell(SAES)?).await? {
            Some(bytes) => cbor::from_slice(&bytes).map_err(|_| CounterError::Damaged(SAES))?,
            None => Vec::new(),
        };
        let notes = Arc::new(Notes::load(store.clone()).await?);
        let authority = SaeAuthority::open_or_create(&section.files, &KmeId::from(&me), &entropy, now())?;
        let server = server_config(section, &issue(&authority, &me, section, &entropy)?);
        let kme = Kme::open(kme::Parts {
            config: directory(&me, section, &saes),
            store: store.clone(),
            entropy: Arc::clone(&entropy),
            supply: Arc::new(PoolSupply::new(Arc::clone(&carrier), Arc::clone(&entropy))),
            peer: Arc::clone(&carrier) as Arc<dyn kme::peer::Peer>,
            evidence: Arc::clone(&notes) as Arc<dyn kme::note::Evidence>,
        })
        .await?;
        // Who may have keys, and that this store is not an old copy, is for the hub to say first.
        kme.hold();
        carrier.serve(&kme);
        let tls = Arc::new(ServerTls::load(&server, &kme)?);
        let listener = listen(section.listen).await?;
        let spec = KmeSpec { url: section.url(listener.local_addr().ok()), authority: authority.certificate_text()? };
        tracing::info!(url = %spec.url, "keys for applications");
        let serve = tokio::spawn(kme::server::serve(listener, Arc::clone(&tls), Arc::clone(&kme), guard(section)));
        let account = tokio::spawn(Arc::clone(&notes).run());
        let renew =
            tokio::spawn(renew(authority, me.clone(), section.clone(), entropy, (server, tls, Arc::clone(&kme))));
        let section = section.clone();
        let (taking, saes) = (tokio::sync::Mutex::default(), Mutex::new(saes));
        let counter = Arc::new(Self { me, section, store, kme, carrier, notes, spec, taking, saes });
        Ok(Opened { counter, work: [serve, account, renew] })
    }

    /// The sessions with the hub are up.
    pub(crate) fn hub_up(&self, bulk: &Outbox) {
        bulk.push(&NodeMessage::KmeUp(self.spec.clone()));
        self.carrier.hub_up(bulk.clone());
        for node in self.neighbours() {
            self.greet(node);
        }
    }

    /// The hub has answered since this start, and its log goes on from where it was: keys may be given.
    pub(crate) fn hub_stands(&self, bulk: &Outbox) {
        self.notes.hub_up(bulk.clone());
        self.kme.release();
    }

    /// Gives no keys until the hub stands again.
    pub(crate) fn hold(&self) {
        self.kme.hold();
    }

    /// Number of the last account that the store had when the counter was opened.
    pub(crate) fn account(&self) -> u64 {
        self.notes.loaded()
    }

    /// Other nodes that serve applications.
    fn neighbours(&self) -> std::collections::BTreeSet<NodeId> {
        let saes = self.saes.lock().unwrap_or_else(PoisonError::into_inner);
        saes.iter().map(|sae| sae.node.clone()).filter(|node| *node != self.me).collect()
    }

    /// Has the KMEs of this node and of `node` learn each other's starts.
    fn greet(&self, node: NodeId) {
        let kme = Arc::clone(&self.kme);
        tokio::spawn(async move { kme.greet(&KmeId::from(&node)).await });
    }

    /// They are gone.
    pub(crate) fn hub_down(&self) {
        self.carrier.hub_down();
        self.notes.hub_down();
    }

    /// An account is part of the log.
    pub(crate) async fn kept(&self, number: u64) {
        self.notes.kept(number).await;
    }

    /// A frame that came from `hop`.
    pub(crate) fn frame(&self, hop: &NodeId, frame: KmeFrame) {
        Arc::clone(&self.carrier).take(hop, frame);
    }

    /// Serves the SAEs of the hub's list from now on, and no others.
    pub(crate) async fn serve_only(&self, list: Vec<SaeSpec>) {
        let _taking = self.taking.lock().await;
        let before = {
            let mut saes = self.saes.lock().unwrap_or_else(PoisonError::into_inner);
            if *saes == list {
                return;
            }
            std::mem::replace(&mut *saes, list.clone())
        };
        // Judged by it first, kept after: who is gone is refused at once.
        if let Err(error) = self.kme.set_saes(&directory(&self.me, &self.section, &list)) {
            tracing::error!(%error, "`kme.sae` does not fit the hub's list of applications and is left out: correct it");
            // Who was removed must be gone whatever the file says.
            let plain = KmeSection { saes: Vec::new(), ..self.section.clone() };
            if let Err(error) = self.kme.set_saes(&directory(&self.me, &plain, &list)) {
                tracing::error!(%error, "the hub's list of applications contradicts itself: nobody is served");
                let _ = self.kme.set_saes(&directory(&self.me, &plain, &[]));
            }
        }
        let kept = match cell(SAES) {
            Ok(name) => self.store.put_cells(vec![(name, cbor::to_vec(&list))]).await.is_ok(),
            Err(_) => false,
        };
        if !kept {
            tracing::error!(
                "the list of applications is not kept: after a restart the old one counts until the hub answers"
            );
        }
        tracing::info!(saes = list.len(), before = before.len(), "applications of the boundary");
    }

    /// A node was cut off: what is shared with it is destroyed.
    pub(crate) async fn forsake(&self, node: &NodeId) {
        if self.kme.forsake(&KmeId::from(node)).await.is_err() {
            tracing::error!(%node, "keys shared with it could not be destroyed: the store takes no writes");
        }
    }

    /// Marks exactly what was given, and keeps what is not accounted for yet.
    pub(crate) async fn close(&self) {
        self.kme.close().await;
        self.notes.keep(false).await;
    }
}

fn cell(name: &'static str) -> Result<CellName, CounterError> {
    CellName::new(name).map_err(|_| CounterError::Damaged(name))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, CounterError> {
    crate::forward::bind(&address.to_string()).await.map_err(|source| CounterError::Listen { address, source })
}

/// The KME's configuration: limits of the file, SAEs of the hub's list.
fn directory(me: &NodeId, section: &KmeSection, list: &[SaeSpec]) -> KmeConfig {
    let here = |spec: &SaeSpec| {
        let own = section.saes.iter().find(|sae| sae.id == spec.id);
        let mut fingerprints = vec![spec.fingerprint];
        fingerprints.extend(own.iter().flat_map(|sae| &sae.fingerprints));
        SaeConfig {
            id: spec.id.clone(),
            uris: own.map(|sae| sae.uris.clone()).unwrap_or_default(),
            common_names: own.map(|sae| sae.common_names.clone()).unwrap_or_default(),
            fingerprints,
            slaves: spec.slaves.as_ref().map(|slaves| slaves.iter().cloned().collect()),
            quota_bps: spec.quota_bps,
            groups: spec.groups,
        }
    };
    KmeConfig {
        id: KmeId::from(me),
        limits: section.limits.clone(),
        timing: section.timing.clone(),
        saes: list.iter().filter(|spec| spec.node == *me).map(here).collect(),
        remotes: list
            .iter()
            .filter(|spec| spec.node != *me)
            .map(|spec| RemoteSae { id: spec.id.clone(), kme: KmeId::from(&spec.node) })
            .collect(),
    }
}

fn guard(section: &KmeSection) -> Guard {
    section.guard.clone()
}

fn server_config(section: &KmeSection, credential: &Credential) -> ServerConfig {
    ServerConfig {
        listen: section.listen,
        certificate: credential.certificate.clone(),
        key: credential.key.clone(),
        authorities: section.authorities.clone(),
        groups: section.groups,
        guard: guard(section),
    }
}

fn issue(
    authority: &SaeAuthority,
    me: &NodeId,
    section: &KmeSection,
    entropy: &Entropy,
) -> Result<Credential, CredentialError> {
    authority.issue_server(&KmeId::from(me), &section.certified_names(), entropy, now(), CERTIFICATE_LIFE)
}

/// Replaces the listener's certificate long before it expires.
async fn renew(
    authority: SaeAuthority,
    me: NodeId,
    section: KmeSection,
    entropy: Arc<Entropy>,
    (server, tls, kme): (ServerConfig, Arc<ServerTls>, Arc<Kme>),
) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let issued = issue(&authority, &me, &section, &entropy).map_err(CounterError::from);
        let renewed = issued.and_then(|_| tls.reload(&server, &kme).map_err(CounterError::from));
        if let Err(error) = renewed {
            tracing::error!(%error, "the certificate for applications is not renewed");
        }
    }
}

/// Paths of the section become relative to the configuration's folder.
pub(crate) fn rebase(section: &mut KmeSection, folder: &Path) {
    section.files = folder.join(&section.files);
    section.authorities.iter_mut().for_each(|path| *path = folder.join(&*path));
}
