//! Sites for tests: a KME with its store, its listener, and the credentials of its SAEs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crypto::{Entropy, MasterKey, Secret32};
use kme::client::{Client, ClientError, ClientSettings};
use kme::config::{Guard, KmeConfig, Limits, RemoteSae, SaeConfig, ServerConfig, Timing};
use kme::note::{DeliveryNote, Evidence};
use kme::peer::local::{LocalPeer, LocalPeers};
use kme::peer::{BoxFuture, Drawn, KeyPath, Peer, PeerAnswer, PeerError, PeerMessage, Supply, SupplyError};
use kme::sae::{Credential, SaeAuthority};
use kme::server::{ServerTls, serve};
use kme::{Kme, KmeId, Parts, RawBits, SaeId};
use store::{Store, StoreHandle, VaultName};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use types::mesh::Groups;
use types::{Millis, Timestamp};

pub(crate) fn entropy() -> Arc<Entropy> {
    static ENTROPY: OnceLock<Arc<Entropy>> = OnceLock::new();
    Arc::clone(ENTROPY.get_or_init(|| Arc::new(Entropy::system().unwrap())))
}

pub(crate) fn sae(name: &str) -> SaeId {
    name.parse().unwrap()
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(since.as_millis() as u64)
}

/// Bytes that can be drawn still, and that were drawn.
struct Account {
    left: usize,
    drawn: usize,
}

/// Bits that all sites share by reference, as over a quantum channel.
pub(crate) struct SharedBits {
    known: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    account: Mutex<Account>,
    pub(crate) path: Mutex<KeyPath>,
    draws: AtomicUsize,
}

impl SharedBits {
    fn new() -> Arc<Self> {
        let account = Mutex::new(Account { left: usize::MAX, drawn: 0 });
        let (known, path) = (Mutex::default(), Mutex::new(KeyPath::QkdKem));
        Arc::new(Self { known, account, path, draws: AtomicUsize::new(0) })
    }

    /// From now on there are `left` bytes.
    pub(crate) fn leave(&self, left: usize) {
        self.account.lock().unwrap().left = left;
    }

    /// Keys of 256 bits drawn so far.
    pub(crate) fn drawn(&self) -> u64 {
        self.account.lock().unwrap().drawn as u64 / 32
    }

    fn spend(&self, bytes: usize) -> bool {
        let mut account = self.account.lock().unwrap();
        let enough = account.left >= bytes;
        if enough {
            account.left -= bytes;
            account.drawn += bytes;
        }
        enough
    }
}

pub(crate) struct TestSupply(Arc<SharedBits>);

impl Supply for TestSupply {
    fn draw<'a>(&'a self, kme: &'a KmeId, bytes: usize) -> BoxFuture<'a, Result<Drawn, SupplyError>> {
        Box::pin(async move {
            if !self.0.spend(bytes) {
                return Err(SupplyError::Dry(kme.clone()));
            }
            let mut bits = vec![0; bytes];
            entropy().fill(&mut bits).unwrap();
            let reference = self.0.draws.fetch_add(1, Ordering::SeqCst).to_be_bytes().to_vec();
            self.0.known.lock().unwrap().insert(reference.clone(), bits.clone());
            Ok(Drawn { bits: RawBits::new(bits), reference: Some(reference), path: *self.0.path.lock().unwrap() })
        })
    }

    fn redeem<'a>(&'a self, _: &'a KmeId, name: &'a [u8], _: usize) -> BoxFuture<'a, Result<RawBits, SupplyError>> {
        Box::pin(async move {
            let known = self.0.known.lock().unwrap();
            known.get(name).map(|bits| RawBits::from_slice(bits)).ok_or(SupplyError::UnknownReference)
        })
    }
}

/// What happens to messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Nothing is sent, and that is known.
    Unreachable,
    /// Messages arrive, answers never come.
    AnswersLost,
    /// Messages are lost on the way.
    MessagesLost,
    /// As `AnswersLost`, for shared keys only.
    SharesUnanswered,
}

pub(crate) struct TestPeer {
    inner: LocalPeer,
    weather: Arc<AtomicU8>,
}

const ALL: [Weather; 5] =
    [Weather::Fair, Weather::Unreachable, Weather::AnswersLost, Weather::MessagesLost, Weather::SharesUnanswered];

impl Peer for TestPeer {
    fn send<'a>(&'a self, kme: &'a KmeId, message: &'a PeerMessage) -> BoxFuture<'a, Result<PeerAnswer, PeerError>> {
        Box::pin(async move {
            let weather = ALL[usize::from(self.weather.load(Ordering::SeqCst))];
            let is_share = matches!(message, PeerMessage::Share { .. } | PeerMessage::Void(_));
            match weather {
                Weather::Unreachable => return Err(PeerError::Unreachable(kme.clone())),
                Weather::MessagesLost => std::future::pending().await,
                _ => {}
            }
            let answer = self.inner.send(kme, message).await;
            if weather == Weather::AnswersLost || weather == Weather::SharesUnanswered && is_share {
                std::future::pending::<()>().await;
            }
            answer
        })
    }
}

#[derive(Default)]
pub(crate) struct Notes(pub(crate) Mutex<Vec<DeliveryNote>>);

impl Evidence for Notes {
    fn delivered(&self, note: DeliveryNote) {
        self.0.lock().unwrap().push(note);
    }
}

/// Several sites and what joins them.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) bits: Arc<SharedBits>,
    peers: Arc<LocalPeers>,
    weather: Arc<AtomicU8>,
}

pub(crate) struct Site {
    pub(crate) kme: Arc<Kme>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) address: std::net::SocketAddr,
    authority: Arc<SaeAuthority>,
    store: StoreHandle,
    server: JoinHandle<()>,
}

/// Who is where in every test: `a1`, `a2` at `ka`, `b1`, `b2` at `kb`, `c1` at `kc`.
pub(crate) const HOMES: [(&str, &str); 5] = [("a1", "ka"), ("a2", "ka"), ("b1", "kb"), ("b2", "kb"), ("c1", "kc")];

pub(crate) fn config(id: &str) -> KmeConfig {
    let here = HOMES.iter().filter(|(_, kme)| *kme == id);
    let elsewhere = HOMES.iter().filter(|(_, kme)| *kme != id);
    KmeConfig {
        id: id.parse().unwrap(),
        limits: Limits { min_key_count: 16, max_key_count: 256, lease_keys: 4, ..Limits::default() },
        timing: Timing {
            confirm: Millis::new(300),
            fill_wait: Millis::new(3_000),
            retry: Millis::new(20),
            tend: Millis::new(20),
            ..Timing::default()
        },
        saes: here.map(|(name, _)| SaeConfig::new(sae(name))).collect(),
        remotes: elsewhere.map(|(name, kme)| RemoteSae { id: sae(name), kme: kme.parse().unwrap() }).collect(),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, bits: SharedBits::new(), peers: Arc::default(), weather: Arc::default() }
    }

    pub(crate) fn weather(&self, weather: Weather) {
        let at = ALL.iter().position(|one| *one == weather).unwrap();
        self.weather.store(at as u8, Ordering::SeqCst);
    }

    pub(crate) fn path(&self, site: &str) -> PathBuf {
        self.dir.path().join(site)
    }

    /// Starts a site, on what an earlier one of that name left.
    pub(crate) async fn start(&self, config: KmeConfig) -> Site {
        self.start_guarded(config, Guard::default()).await
    }

    pub(crate) async fn start_guarded(&self, config: KmeConfig, guard: Guard) -> Site {
        self.start_with(config, guard, Groups::Preferred).await
    }

    /// As [`Self::start`], with a listener of these key exchange groups.
    pub(crate) async fn start_with(&self, config: KmeConfig, guard: Guard, groups: Groups) -> Site {
        let dir = self.path(config.id.as_str());
        std::fs::create_dir_all(&dir).unwrap();
        let (file, boundary, master) = (dir.join("store.db"), "site".parse().unwrap(), MasterKey::from_bytes(&[3; 32]));
        let store = if file.exists() {
            Store::open(&file, &boundary, master, entropy()).unwrap()
        } else {
            Store::create(&file, &boundary, master, entropy()).unwrap()
        };
        let store = StoreHandle::spawn(store).unwrap();
        let authority =
            Arc::new(SaeAuthority::open_or_create(&dir.join("saes"), &config.id, &entropy(), now()).unwrap());
        let day = Millis::from_days(1);
        let own = authority.issue_server(&config.id, &["127.0.0.1".to_owned()], &entropy(), now(), day).unwrap();
        let (id, notes) = (config.id.clone(), Arc::new(Notes::default()));
        let parts = Parts {
            config,
            store: store.clone(),
            entropy: entropy(),
            supply: Arc::new(TestSupply(Arc::clone(&self.bits))),
            peer: Arc::new(TestPeer { inner: self.peers.of(id), weather: Arc::clone(&self.weather) }),
            evidence: Arc::clone(&notes) as Arc<dyn Evidence>,
        };
        let kme = Kme::open(parts).await.unwrap();
        self.peers.join(&kme);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = ServerConfig {
            listen: address,
            certificate: own.certificate,
            key: own.key,
            authorities: vec![authority.certificate()],
            groups,
            guard: guard.clone(),
        };
        let tls = Arc::new(ServerTls::load(&server, &kme).unwrap());
        let server = tokio::spawn(serve(listener, tls, Arc::clone(&kme), guard));
        Site { kme, notes, address, authority, store, server }
    }

    /// Lets no more bits be drawn, and returns the keys that `a1` can have for `b1` once all that was drawn is in the
    /// pool or among the `delivered`.
    pub(crate) async fn freeze(&self, site: &Site, delivered: u64) -> u64 {
        self.bits.leave(0);
        until("all bits are accounted for", || self.bits.drawn() == delivered + site.stored("a1", "b1")).await;
        site.stored("a1", "b1")
    }

    pub(crate) async fn pair(&self) -> (Site, Site) {
        (self.start(config("ka")).await, self.start(config("kb")).await)
    }
}

impl Site {
    /// Credentials of a SAE of this site, made once.
    pub(crate) fn credential(&self, name: &str) -> Credential {
        let saes = self.authority.certificate().parent().unwrap().to_owned();
        let key = saes.join(format!("{name}.key"));
        if key.exists() {
            return Credential {
                certificate: saes.join(format!("{name}.crt")),
                key,
                authority: self.authority.certificate(),
            };
        }
        self.authority.add(&sae(name), &entropy(), now(), Millis::from_days(1)).unwrap()
    }

    pub(crate) fn settings(&self, name: &str) -> ClientSettings {
        let Credential { certificate, key, authority } = self.credential(name);
        ClientSettings { url: format!("https://{}", self.address), authority, certificate, key }
    }

    pub(crate) fn client(&self, name: &str) -> Client {
        Client::new(&self.settings(name), Duration::from_secs(20)).unwrap()
    }

    /// Keys of the default size that `master` can have for `slave` now.
    pub(crate) fn stored(&self, master: &str, slave: &str) -> u64 {
        let master = self.kme.directory().sae(&sae(master)).unwrap();
        self.kme.status(&master, &sae(slave)).unwrap().stored_key_count
    }

    /// Sheets in the vault.
    pub(crate) async fn sheets(&self) -> Vec<VaultName> {
        self.store.secret_names("kme/sheet/").await.unwrap()
    }

    /// Whether `bytes` are in a sheet of the vault.
    pub(crate) async fn vault_holds(&self, bytes: &[u8]) -> bool {
        for name in self.sheets().await {
            let secret = self.store.secret(name).await.unwrap();
            if secret.is_some_and(|secret| secret.expose().windows(bytes.len()).any(|window| window == bytes)) {
                return true;
            }
        }
        false
    }

    /// Stops as a service is stopped.
    pub(crate) async fn stop(self) {
        self.server.abort();
        self.kme.close().await;
        self.crash().await;
    }

    /// Stops without a word: what is in the store is all that stays.
    pub(crate) async fn crash(self) {
        self.server.abort();
        let _ = self.server.await;
        drop(self.kme);
        self.store.close().await.unwrap();
    }
}

/// Waits until `done`, which must come about.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came about: {what}");
}

/// Status and message of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u16, String) {
    match result {
        Err(ClientError::Refused { status, message }) => (status, message),
        other => panic!("no refusal: {other:?}"),
    }
}
