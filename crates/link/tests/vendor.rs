//! A link whose bits come from a pair of KMEs. Two of our own stand in for a vendor's; `QECNET_FOREIGN_KME=FILE` names
//! a pair of another make: a TOML file with tables `[a]` and `[b]`, each as `kme` of a link.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crypto::{AuthKey, Entropy, MasterKey, Secret32};
use kme::client::ClientSettings;
use kme::config::{Guard, KmeConfig, Limits, RemoteSae, SaeConfig, ServerConfig, Timing};
use kme::note::NoEvidence;
use kme::peer::local::{LocalPeers, LocalSupply};
use kme::sae::SaeAuthority;
use kme::server::{ServerTls, serve};
use kme::{Kme, Parts, SaeId};
use link::{Engine, Link, LinkSpec, ParamsSection, VendorSection};
use store::{Store, StoreHandle};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use types::{Millis, Timestamp};

const WAIT: Duration = Duration::from_secs(120);

fn now() -> Timestamp {
    Timestamp::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

fn store(dir: &Path, name: &str, entropy: &Arc<Entropy>) -> StoreHandle {
    let boundary = "demo".parse().unwrap();
    let store =
        Store::create(&dir.join(format!("{name}.db")), &boundary, MasterKey::from_bytes(&[3; 32]), Arc::clone(entropy));
    StoreHandle::spawn(store.unwrap()).unwrap()
}

/// One vendor's KME, with the credentials of its SAEs.
struct Vendor {
    kme: Arc<Kme>,
    server: ServerConfig,
    address: SocketAddr,
    /// The listener and its connections run here, so that they can end at once.
    runtime: Option<Runtime>,
    settings: BTreeMap<&'static str, ClientSettings>,
}

impl Vendor {
    async fn start(
        dir: &Path,
        id: &str,
        (own, other): (&[&'static str], (&str, &[&str])),
        peers: &Arc<LocalPeers>,
        entropy: &Arc<Entropy>,
    ) -> Self {
        let day = Millis::from_days(1);
        let id = id.parse().unwrap();
        let config = KmeConfig {
            id,
            limits: Limits::default(),
            timing: Timing::default(),
            saes: own.iter().map(|name| SaeConfig::new(name.parse().unwrap())).collect(),
            remotes: other
                .1
                .iter()
                .map(|name| RemoteSae { id: name.parse().unwrap(), kme: other.0.parse().unwrap() })
                .collect(),
        };
        let authority =
            SaeAuthority::open_or_create(&dir.join(config.id.as_str()), &config.id, entropy, now()).unwrap();
        let credential = authority.issue_server(&config.id, &["127.0.0.1".to_owned()], entropy, now(), day).unwrap();
        let kme = Kme::open(Parts {
            store: store(dir, config.id.as_str(), entropy),
            supply: Arc::new(LocalSupply::new(Arc::clone(entropy))),
            peer: Arc::new(peers.of(config.id.clone())),
            entropy: Arc::clone(entropy),
            evidence: Arc::new(NoEvidence),
            config,
        })
        .await
        .unwrap();
        peers.join(&kme);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = own.iter().map(|name| {
            let sae: SaeId = name.parse().unwrap();
            let made = authority.add(&sae, entropy, now(), day).unwrap();
            let url = format!("https://{address}");
            let (authority, certificate, key) = (made.authority, made.certificate, made.key);
            (*name, ClientSettings { url, authority, certificate, key })
        });
        let settings = settings.collect();
        let server = ServerConfig {
            listen: address,
            certificate: credential.certificate,
            key: credential.key,
            authorities: vec![authority.certificate()],
            groups: types::mesh::Groups::Preferred,
            guard: Guard::default(),
        };
        drop(listener);
        let mut vendor = Self { kme, server, address, runtime: None, settings };
        vendor.rise().await;
        vendor
    }

    fn section(&self, own: &str, peer: &str) -> VendorSection {
        VendorSection { client: self.settings[own].clone(), peer: peer.parse().unwrap() }
    }

    /// Answers nobody, and drops who was connected.
    fn fall(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    async fn rise(&mut self) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let tls = Arc::new(ServerTls::load(&self.server, &self.kme).unwrap());
        let (address, kme) = (self.address, Arc::clone(&self.kme));
        let (up, is_up) = oneshot::channel();
        runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            up.send(()).unwrap();
            serve(listener, tls, kme, Guard::default()).await;
        });
        is_up.await.unwrap();
        self.runtime = Some(runtime);
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.fall();
    }
}

struct World {
    dir: tempfile::TempDir,
    entropy: Arc<Entropy>,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        let entropy = Arc::new(Entropy::system().unwrap());
        Self { dir: tempfile::tempdir().unwrap(), entropy, engine: Engine::new(2).unwrap() }
    }

    async fn vendors(&self) -> (Vendor, Vendor) {
        let peers = Arc::<LocalPeers>::default();
        let dir = self.dir.path();
        let a = Vendor::start(dir, "va", (&["left"], ("vb", &["right", "third"])), &peers, &self.entropy).await;
        let b = Vendor::start(dir, "vb", (&["right", "third"], ("va", &["left"])), &peers, &self.entropy).await;
        (a, b)
    }

    /// Both ends, joined by a session.
    async fn link(&self, a: VendorSection, b: VendorSection) -> (Link, Link) {
        let end = async |me: &str, peer: &str, section: VendorSection| {
            let spec = LinkSpec {
                me: me.parse().unwrap(),
                peer: peer.parse().unwrap(),
                fibre: String::new(),
                kme: Some(section),
                params: ParamsSection::default().params(),
            };
            let store = store(self.dir.path(), me, &self.entropy);
            Link::start(&self.engine, spec, store, Arc::clone(&self.entropy)).await.unwrap()
        };
        let (a, b) = (end("n1", "n2", a).await, end("n2", "n1", b).await);
        let (to_b, from_a) = mpsc::channel(16);
        let (to_a, from_b) = mpsc::channel(16);
        a.attach(AuthKey::from_bytes(&[1; 32]), to_b, from_b).await;
        b.attach(AuthKey::from_bytes(&[1; 32]), to_a, from_a).await;
        (a, b)
    }
}

async fn until(link: &Link, what: impl Fn(&types::mesh::LinkReport) -> bool) -> types::mesh::LinkReport {
    let mut reports = link.subscribe();
    let report = tokio::time::timeout(WAIT, reports.wait_for(|report| what(report))).await;
    report.unwrap_or_else(|_| panic!("{:?}", link.state())).unwrap().clone()
}

async fn equal_bits(a: &Link, b: &Link) {
    until(a, |report| report.usable && report.pool_bits > 20_000).await;
    until(b, |report| report.usable && report.pool_bits > 20_000).await;
    for (from, to) in [(a, b), (b, a)] {
        for bits in [256, 8 * 500] {
            let pad = from.reserve(bits).await.unwrap();
            let theirs = to.take(pad.range).await.unwrap();
            assert_eq!((pad.bits.expose(), 8 * theirs.expose().len() as u64), (theirs.expose(), bits));
            assert!(to.take(pad.range).await.is_err(), "each bit once");
        }
    }
}

/// KM-08, KM-09: both ends have the bits that a vendor's pair of KMEs gave; while one of them is down nothing is
/// lost and no block is kept at one end alone; when it is back, bits come again.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_of_kmes_feeds_a_link_and_may_fall() {
    let world = World::new();
    let (va, mut vb) = world.vendors().await;
    let (a, b) = world.link(va.section("left", "right"), vb.section("right", "left")).await;
    equal_bits(&a, &b).await;
    vb.fall();
    // What was under way ends; then as much is kept at one end as at the other, and more does not come.
    let before = a.state().blocks;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(a.state().blocks <= before + 1 && a.state().blocks == b.state().blocks, "{:?} {:?}", a.state(), b.state());
    let pad = a.reserve(256).await.unwrap();
    assert_eq!(b.take(pad.range).await.unwrap().expose(), pad.bits.expose());
    vb.rise().await;
    let held = b.state().blocks;
    until(&b, |report| report.blocks > held).await;
    equal_bits(&a, &b).await;
}

/// KM-08: an end that the vendor takes for another SAE fetches nothing, and neither end keeps a bit.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_with_a_wrong_name_gets_no_bits() {
    let world = World::new();
    let (va, vb) = world.vendors().await;
    let (a, b) = world.link(va.section("left", "right"), vb.section("third", "left")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    for link in [&a, &b] {
        let report = link.state();
        assert_eq!((report.usable, report.blocks, report.pool_bits), (false, 0, 0));
        assert!(link.reserve(256).await.is_err());
    }
}

/// KM-08: the same over KMEs of another make, where one is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_pair_of_kmes_feeds_a_link() {
    let Some(file) = std::env::var_os("QECNET_FOREIGN_KME") else { return };
    let mut ends: BTreeMap<String, VendorSection> = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let world = World::new();
    let (a, b) = world.link(ends.remove("a").unwrap(), ends.remove("b").unwrap()).await;
    equal_bits(&a, &b).await;
}
