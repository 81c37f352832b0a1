//! A hub and its nodes in a folder of their own.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::{Client, ClientConfig, Reply};
use crypto::{Entropy, IdentityKey};
use hub::Hub;
use hub::config::{HubConfig, Node, Operator, Span};
use hub::files::{self, Created};
use kernel::State;
use kernel::event::Command;
use kernel::state::keys::Slot;
use node::NodeConfig;
use session::{TlsKey, TrustEntry, TrustStore};
use tempfile::TempDir;
use tokio::sync::oneshot;
use types::mesh::{Function, KeyType};
use types::{KeyId, Millis, NodeId, OperatorId};

use crate::light::Light;

/// Operators whose credentials a run may revoke, one a sample.
pub(crate) const EXPENDABLE: usize = 10;

/// A node that runs as shipped, with its store, but in this process.
struct Whole {
    _stop: oneshot::Sender<()>,
}

pub(crate) struct Mesh {
    pub(crate) config: HubConfig,
    pub(crate) hub: Hub,
    pub(crate) entropy: Arc<Entropy>,
    created: Created,
    dir: TempDir,
    _whole: Vec<Whole>,
    _light: Vec<Light>,
}

/// Where the stores are: on a real disk, unless told otherwise.
fn folder() -> TempDir {
    let root = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    tempfile::tempdir_in(root).unwrap()
}

/// An address nobody listens on at this moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Mesh {
    /// `count` nodes without quantum links: whole ones, or light ones whose keys are in memory only.
    pub(crate) async fn start(count: usize, refresh: Millis, whole: bool) -> Self {
        let dir = folder();
        let entropy = Arc::new(Entropy::system().unwrap());
        let text = "boundary = \"bench\"\nlisten = \"127.0.0.1:0\"\nmesh_listen = \"127.0.0.1:0\"\n";
        let mut config: HubConfig = toml::from_str(text).unwrap();
        config.mesh_listen = free_address();
        config.settings.refresh = Span(refresh);
        // A mesh of light nodes on a busy machine is keyed once, however long that takes.
        config.settings.distribution_timeout = Span(Millis::from_secs(if count > 50 { 120 } else { 10 }));
        operators(&mut config, dir.path(), &entropy, if whole { EXPENDABLE } else { 0 });
        let mut trust = Vec::new();
        let (mut whole_configs, mut light) = (Vec::new(), Vec::new());
        for at in 1..=count {
            let entry = if whole {
                let (node, entry) = whole_node(dir.path(), at, &config, &entropy);
                whole_configs.push(node);
                entry
            } else {
                let node = light_keys(at, &entropy);
                let entry = node.entry();
                light.push(node);
                entry
            };
            let function = Function::ALL[(at - 1) % Function::ALL.len()];
            let identity = entry.identity.fingerprint();
            config.nodes.push(Node { id: entry.name.clone(), function, identity });
            trust.push(entry);
        }
        let (config, created) = write(dir.path(), config, &entropy);
        let hub_entry = hub_entry(&config, &created);
        trust.push(hub_entry.clone());
        let trust = TrustStore::render(&config.boundary, trust).unwrap();
        for path in whole_configs.iter().map(|node: &NodeConfig| &node.files.trust).chain([&config.files.trust]) {
            private(path, &trust);
        }
        let hub = Hub::start(config.clone()).await.unwrap();
        let whole = whole_configs.into_iter().map(start_whole).collect();
        let light = connect(light, &hub_entry, &config, dir.path(), &entropy).await;
        Self { config, hub, entropy, created, dir, _whole: whole, _light: light }
    }

    pub(crate) fn client(&self, operator: &str) -> Client {
        let config = ClientConfig {
            address: self.hub.http_address().to_string(),
            boundary: self.config.boundary.clone(),
            tls_pin: self.created.http_pin,
            log_keys: self.created.log_keys.clone(),
            operators: Vec::new(),
        };
        let key = IdentityKey::load(&self.dir.path().join(format!("{operator}.key"))).unwrap();
        Client::new(config, operator.parse().unwrap(), key).unwrap().with_reason("a benchmark")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Looks at the durable state.
    pub(crate) async fn look<T: Send + 'static>(&self, look: impl FnOnce(&State) -> T + Send + 'static) -> T {
        self.hub.handle().look(move |at| look(at.state)).await.unwrap()
    }

    /// Waits until the durable state is as wanted, looking every `every`.
    pub(crate) async fn until(
        &self,
        what: &str,
        every: Duration,
        wanted: impl Fn(&State) -> bool + Clone + Send + 'static,
    ) {
        let waited = tokio::time::timeout(Duration::from_secs(900), async {
            loop {
                let wanted = wanted.clone();
                if self.look(move |state| wanted(state)).await {
                    return;
                }
                tokio::time::sleep(every).await;
            }
        });
        assert!(waited.await.is_ok(), "never came true: {what}");
    }

    /// Waits until `nodes` nodes are keyed with each other: each pair has one key in use at both ends
    /// and one in reserve.
    pub(crate) async fn until_staged(&self, nodes: usize) {
        let pairs = nodes * (nodes - 1) / 2;
        let every = Duration::from_millis(if nodes > 20 { 500 } else { 20 });
        self.until("every pair has a key in use and one in reserve", every, move |state| ready(state) >= pairs).await;
    }
}

/// Pairs with a key in use at both ends, and one in reserve.
fn ready(state: &State) -> usize {
    let is_pair = |slot: &&Slot| slot.key_type() == KeyType::MeshSession;
    let keyed = |slot: &&Slot| {
        let used = state.current(slot).is_some_and(|(_, key)| key.holders.iter().all(|holder| holder.in_use));
        used && state.upcoming(slot).is_some_and(|(_, key)| key.is_staged())
    };
    state.slots().keys().filter(is_pair).filter(keyed).count()
}

/// The keys in use of the pairs where both ends use theirs, in the order of the pairs.
pub(crate) fn in_use(state: &State) -> Vec<(Slot, KeyId)> {
    let pairs = state.slots().keys().filter(|slot| slot.key_type() == KeyType::MeshSession);
    let used = pairs.filter_map(|slot| {
        let (id, key) = state.current(slot)?;
        key.holders.iter().all(|holder| holder.in_use).then(|| (slot.clone(), id))
    });
    used.collect()
}

/// Whether every pair of `before` uses another key now.
pub(crate) fn all_other(before: &[(Slot, KeyId)], now: &[(Slot, KeyId)]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|((slot, old), (same, new))| slot == same && old != new)
}

/// The numbers alone, sorted.
pub(crate) fn numbers(pairs: Vec<(Slot, KeyId)>) -> Vec<KeyId> {
    let mut numbers: Vec<KeyId> = pairs.into_iter().map(|(_, key)| key).collect();
    numbers.sort_unstable();
    numbers
}

/// Has a command carried out; panics where it is held or refused.
pub(crate) async fn done(client: &Client, command: Command) {
    match client.run(command).await.unwrap() {
        Reply::Done(_) => {}
        Reply::Held(held) => panic!("held: {}", held.summary),
    }
}

/// Has a command carried out that takes a second person.
pub(crate) async fn by_two(client: &Client, second: &Client, command: Command) {
    if let Reply::Held(held) = client.run(command.clone()).await.unwrap() {
        done(second, Command::Approve { request: held.request, digest: held.digest }).await;
        done(client, command).await;
    }
}

fn operators(config: &mut HubConfig, dir: &Path, entropy: &Entropy, expendable: usize) {
    let duty = ["op1", "op2"].map(str::to_owned);
    let expendable = (0..expendable).map(|at| format!("x{at}"));
    for name in duty.into_iter().chain(expendable) {
        let key = IdentityKey::generate(entropy).unwrap();
        key.save(&dir.join(format!("{name}.key"))).unwrap();
        let id: OperatorId = name.parse().unwrap();
        let groups = vec!["duty".to_owned(), "operators".to_owned()];
        let (identity, life) = (hex::encode(key.public().to_bytes()), Span(kernel::operators::LIFE));
        config.operators.push(Operator { id, groups, identity, life });
    }
}

fn write(dir: &Path, config: HubConfig, entropy: &Entropy) -> (HubConfig, Created) {
    let path = dir.join("config.toml");
    std::fs::write(&path, config.to_toml().unwrap()).unwrap();
    let config = HubConfig::load(&path).unwrap();
    let created = files::create(&config, entropy).unwrap();
    (config, created)
}

fn hub_entry(config: &HubConfig, created: &Created) -> TrustEntry {
    let address = Some(config.mesh_listen.to_string());
    TrustEntry { name: NodeId::hub(), address, pin: created.mesh_pin, identity: created.identity.clone() }
}

pub(crate) fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn whole_node(dir: &Path, at: usize, hub: &HubConfig, entropy: &Entropy) -> (NodeConfig, TrustEntry) {
    let folder = dir.join(format!("n{at}"));
    std::fs::create_dir(&folder).unwrap();
    let (listen, boundary) = (free_address(), &hub.boundary);
    let text = format!(
        "boundary = \"{boundary}\"\nnode = \"n{at}\"\nlisten = \"{listen}\"\nhub = \"{}\"\n\
         [timing]\nreport = \"5s\"\nreconnect = \"200ms\"\n",
        hub.mesh_listen
    );
    let path = folder.join("config.toml");
    std::fs::write(&path, text).unwrap();
    let node = NodeConfig::load(&path).unwrap();
    let made = node::files::create(&node, entropy).unwrap();
    let address = Some(node.listen.clone());
    let entry = TrustEntry { name: node.node.clone(), address, pin: made.pin, identity: made.identity };
    (node, entry)
}

fn start_whole(config: NodeConfig) -> Whole {
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        node::run(config, async move { drop(stopped.await) }).await.unwrap();
    });
    Whole { _stop: stop }
}

/// The keys of a light node.
pub(crate) struct LightKeys {
    pub(crate) node: NodeId,
    pub(crate) identity: IdentityKey,
    pub(crate) tls: TlsKey,
}

impl LightKeys {
    pub(crate) fn entry(&self) -> TrustEntry {
        let identity = self.identity.public().clone();
        TrustEntry { name: self.node.clone(), address: None, pin: self.tls.pin(), identity }
    }
}

fn light_keys(at: usize, entropy: &Entropy) -> LightKeys {
    LightKeys {
        node: format!("n{at}").parse().unwrap(),
        identity: IdentityKey::generate(entropy).unwrap(),
        tls: TlsKey::generate(entropy).unwrap(),
    }
}

/// Connects light nodes, a few at a time.
async fn connect(
    nodes: Vec<LightKeys>,
    hub: &TrustEntry,
    config: &HubConfig,
    dir: &Path,
    entropy: &Arc<Entropy>,
) -> Vec<Light> {
    let mut connected = Vec::new();
    for keys in nodes {
        connected.push(Light::connect(keys, hub, &config.boundary, dir, entropy).await);
    }
    connected
}
