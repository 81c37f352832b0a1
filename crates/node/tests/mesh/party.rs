//! A deployment in one process: real nodes on runtimes of their own, a fibre, and the hub's side of
//! the sessions, played by the test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crypto::{Entropy, IdentityKey, KemPublic, KeyMaterial, MasterKey, Secret32};
use link::fibre::{BoundFibre, FibreAddresses, FibreConfig};
use link::{Engine, Link, LinkSection, LinkSpec, Pad, ParamsSection, Preset, Protocol, delivery};
use node::{Node, NodeConfig, NodeError};
use session::mesh::{Activation, DeliveredKey, HubMessage, NodeMessage, PeerMessage, Receipt};
use session::{
    Arrival, Book, Channel, Endpoint, EndpointConfig, Limits, Listener, Roster, SessionSender, SignedRoster, TlsKey,
    TrustEntry, TrustStore,
};
use store::{Store, StoreHandle};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use types::mesh::KeyType;
use types::{Hash, KeyId, Label, Millis, NodeId, Timestamp, cbor};

pub(crate) const WAIT: Duration = Duration::from_secs(60);

pub(crate) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(since.as_millis() as u64)
}

pub(crate) fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn params() -> ParamsSection {
    ParamsSection { pulse_rate_hz: Some(1_000_000), ..ParamsSection::of(Protocol::Bb84, Preset::Short) }
}

/// Starts a fibre between `a` and `b` that lives as long as the test.
pub(crate) async fn fibre(a: &str, b: &str) -> FibreAddresses {
    let any = || "127.0.0.1:0".to_owned();
    let config =
        FibreConfig { a: node(a), b: node(b), listen_a: any(), listen_b: any(), control: any(), params: params() };
    let fibre = BoundFibre::bind(config).await.unwrap();
    let addresses = fibre.addresses().unwrap();
    tokio::spawn(fibre.run(std::future::pending()));
    addresses
}

/// A node as a process: files, and a runtime that can be killed.
pub(crate) struct Process {
    pub(crate) config: NodeConfig,
    running: Option<(Runtime, Node)>,
}

impl Process {
    pub(crate) async fn start(&mut self) {
        let config = self.config.clone();
        let started = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let mut tries = 0;
            loop {
                match runtime.block_on(Node::start(config.clone())) {
                    Ok(node) => return (runtime, node),
                    // The threads of a killed process let go a moment later.
                    Err(
                        error @ (NodeError::Files(node::FilesError::Open(store::OpenError::Held))
                        | NodeError::Listen { .. }),
                    ) => {
                        tries += 1;
                        assert!(tries < 500, "{error}");
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        self.running = Some(started.await.unwrap());
    }

    /// Ends the node in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        if let Some((runtime, node)) = self.running.take() {
            runtime.shutdown_background();
            drop(node);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What one node said, and the way to it.
struct Side {
    urgent: Option<SessionSender>,
    bulk: Option<SessionSender>,
    prekey: Option<KemPublic>,
}

pub(crate) struct Hub {
    identity: Arc<IdentityKey>,
    entropy: Arc<Entropy>,
    sides: BTreeMap<NodeId, Side>,
    events: mpsc::UnboundedReceiver<Event>,
    pub(crate) links: BTreeMap<NodeId, Link>,
    /// What the hub says of the life of keys.
    pub(crate) life: Option<Millis>,
    _engine: Engine,
}

enum Event {
    Up(NodeId, Channel, SessionSender),
    Said(NodeId, NodeMessage),
}

pub(crate) struct Deployment {
    pub(crate) hub: Hub,
    pub(crate) nodes: BTreeMap<NodeId, Process>,
    _dir: tempfile::TempDir,
}

impl Deployment {
    /// Nodes with these names, a fibre between each two in `fibres`; the hub may be one.
    #[allow(clippy::too_many_lines, reason = "one party is set up in one place")]
    pub(crate) async fn new(names: &[&str], fibres: &[(&str, &str)]) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .try_init();
        let dir = tempfile::tempdir().unwrap();
        let entropy = Arc::new(Entropy::system().unwrap());
        let hub_address = free_address();
        let mut configs = BTreeMap::new();
        let mut entries = Vec::new();
        for name in names {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            let listen = free_address();
            let text = format!(
                "boundary = \"demo\"\nnode = \"{name}\"\nlisten = \"{listen}\"\nhub = \"{hub_address}\"\n[timing]\nreport = \"200ms\"\nreconnect = \"200ms\"\n"
            );
            std::fs::write(folder.join("config.toml"), text).unwrap();
            let config = NodeConfig::load(&folder.join("config.toml")).unwrap();
            let created = node::files::create(&config, &entropy).unwrap();
            let (pin, identity) = (created.pin, created.identity);
            entries.push(TrustEntry { name: node(name), address: Some(listen), pin, identity });
            configs.insert(node(name), config);
        }
        let (identity, tls_key) = (IdentityKey::generate(&entropy).unwrap(), TlsKey::generate(&entropy).unwrap());
        let public = identity.public().clone();
        entries.push(TrustEntry { name: NodeId::hub(), address: None, pin: tls_key.pin(), identity: public });
        let write = |path: PathBuf| {
            std::fs::write(&path, TrustStore::render(&"demo".parse().unwrap(), entries.clone()).unwrap()).unwrap();
            path
        };
        for config in configs.values() {
            write(config.files.trust.clone());
        }
        let engine = Engine::new(1).unwrap();
        let mut links = BTreeMap::new();
        for (a, b) in fibres {
            let addresses = fibre(a, b).await;
            let section = |peer: &str, fibre: std::net::SocketAddr| LinkSection {
                peer: node(peer),
                fibre: fibre.to_string(),
                kme: None,
                params: params(),
            };
            configs.get_mut(&node(b)).unwrap().links.push(section(a, addresses.b));
            match configs.get_mut(&node(a)) {
                Some(config) => config.links.push(section(b, addresses.a)),
                None => {
                    let path = dir.path().join(format!("hub-{b}.db"));
                    let master = MasterKey::from_bytes(&[1; 32]);
                    let store = Store::create(&path, &"demo".parse().unwrap(), master, Arc::clone(&entropy)).unwrap();
                    let fibre = addresses.a.to_string();
                    let spec =
                        LinkSpec { me: NodeId::hub(), peer: node(b), fibre, kme: None, params: params().params() };
                    let store = StoreHandle::spawn(store).unwrap();
                    links.insert(node(b), Link::start(&engine, spec, store, Arc::clone(&entropy)).await.unwrap());
                }
            }
        }
        let trust = Arc::new(TrustStore::load(&write(dir.path().join("trust.toml"))).unwrap());
        let identity = Arc::new(identity);
        let endpoint = Endpoint::new(EndpointConfig {
            node: NodeId::hub(),
            identity: Arc::clone(&identity),
            book: Arc::new(Book::of(&trust)),
            certificate: tls_key.issue(trust.boundary(), &NodeId::hub(), now(), Millis::from_hours(1)).unwrap(),
            tls_key,
            trust,
            entropy: Arc::clone(&entropy),
            admission: Box::new(|_| true),
            deadline: Duration::from_secs(10),
        })
        .unwrap();
        let listener = Listener::bind(endpoint, &hub_address, Limits::default()).await.unwrap();
        let (told, events) = mpsc::unbounded_channel();
        tokio::spawn(listen(listener, told, links.clone()));
        let sides = names.iter().map(|name| (node(name), Side { urgent: None, bulk: None, prekey: None })).collect();
        let hub = Hub { identity, entropy, sides, events, links, life: None, _engine: engine };
        let nodes = configs.into_iter().map(|(name, config)| (name, Process { config, running: None })).collect();
        Self { hub, nodes, _dir: dir }
    }

    pub(crate) async fn start_all(&mut self) {
        for process in self.nodes.values_mut() {
            process.start().await;
        }
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Process {
        self.nodes.get_mut(&node(name)).unwrap()
    }
}

async fn listen(mut listener: Listener, told: mpsc::UnboundedSender<Event>, links: BTreeMap<NodeId, Link>) {
    while let Some(arrival) = listener.next().await {
        let Arrival::Session(session) = arrival else { continue };
        let (peer, channel) = (session.peer().clone(), session.channel());
        if channel == Channel::Link {
            let link = links[&peer].clone();
            let auth = session.info().derive(Label::QKD_AUTH, &[]);
            let (sender, mut receiver) = session.split();
            let (out, mut outgoing) = mpsc::channel::<Vec<u8>>(64);
            let (incoming, inbox) = mpsc::channel(64);
            let id = link.id().clone();
            tokio::spawn(async move {
                while let Some(message) = outgoing.recv().await {
                    let message = PeerMessage::Quantum { link: id.clone(), message };
                    sender.send(&cbor::to_vec(&message)).await.unwrap();
                }
            });
            tokio::spawn(async move {
                while let Ok(bytes) = receiver.recv().await {
                    if let Ok(PeerMessage::Quantum { message, .. }) = cbor::from_slice(&bytes) {
                        let _ = incoming.send(message).await;
                    }
                }
            });
            link.attach(auth, out, inbox).await;
            continue;
        }
        let (sender, mut receiver) = session.split();
        let _ = told.send(Event::Up(peer.clone(), channel, sender));
        let told = told.clone();
        tokio::spawn(async move {
            while let Ok(bytes) = receiver.recv().await {
                let _ = told.send(Event::Said(peer.clone(), cbor::from_slice(&bytes).unwrap()));
            }
        });
    }
}

impl Hub {
    /// The next thing that `pick` wants of what the nodes say; what it does not want is dropped.
    pub(crate) async fn next<T>(&mut self, what: &str, mut pick: impl FnMut(&NodeId, NodeMessage) -> Option<T>) -> T {
        let wait = async {
            // A prekey counts once both sessions are there: they come up side by side.
            let mut early = Vec::new();
            loop {
                let (peer, message) = match self.events.recv().await.unwrap() {
                    Event::Up(peer, channel, sender) => {
                        let side = self.sides.get_mut(&peer).unwrap();
                        match channel {
                            Channel::Urgent => side.urgent = Some(sender),
                            _ => side.bulk = Some(sender),
                        }
                        let Some(at) = early.iter().position(|(of, _)| *of == peer) else { continue };
                        early.remove(at)
                    }
                    Event::Said(peer, message) => (peer, message),
                };
                if let NodeMessage::Prekey(bytes) = &message {
                    let side = self.sides.get_mut(&peer).unwrap();
                    if side.urgent.is_none() || side.bulk.is_none() {
                        early.push((peer, message));
                        continue;
                    }
                    side.prekey = Some(KemPublic::from_bytes(bytes).unwrap());
                }
                if let Some(found) = pick(&peer, message) {
                    return found;
                }
            }
        };
        tokio::time::timeout(WAIT, wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    /// Waits until `name` has connected and sent its prekey.
    pub(crate) async fn up(&mut self, name: &str) {
        let name = node(name);
        self.next("a prekey", |peer, message| {
            (*peer == name && matches!(message, NodeMessage::Prekey(_))).then_some(())
        })
        .await;
    }

    /// Ends every session; the nodes dial again after a while.
    pub(crate) fn hang_up(&mut self) {
        for side in self.sides.values_mut() {
            for sender in [side.urgent.take(), side.bulk.take()].into_iter().flatten() {
                sender.info().terminate();
            }
        }
    }

    pub(crate) async fn urgent(&self, name: &str, message: HubMessage) {
        self.sides[&node(name)].urgent.as_ref().unwrap().send(&cbor::to_vec(&message)).await.unwrap();
    }

    pub(crate) async fn bulk(&self, name: &str, message: HubMessage) {
        self.sides[&node(name)].bulk.as_ref().unwrap().send(&cbor::to_vec(&message)).await.unwrap();
    }

    pub(crate) async fn roster(&self, name: &str, peers: &[&str], epoch: u64, keys: &[u64]) {
        let keys = keys.iter().copied().map(KeyId::new).collect();
        let roster = self.signed(epoch, peers.iter().chain([&name]).copied());
        self.urgent(name, HubMessage::Roster { roster, keys, life: self.life }).await;
    }

    /// Membership of an epoch, as the hub signs it: who is not a member is cut off.
    fn signed<'a>(&self, epoch: u64, members: impl Iterator<Item = &'a str>) -> SignedRoster {
        let mut members: Vec<NodeId> = members.map(node).collect();
        members.sort();
        let isolated = self.sides.keys().filter(|name| !members.contains(name)).cloned().collect();
        let boundary = "demo".parse().unwrap();
        Roster { boundary, epoch, at: now(), members, isolated }.sign(&self.identity).unwrap()
    }

    /// Tells `name` that `cut` is cut off.
    pub(crate) async fn isolate(&self, name: &str, cut: &str, epoch: u64) {
        let mut roster = self.signed(epoch, ["n1", "n2", "n3"].into_iter().filter(|other| *other != cut)).roster;
        roster.isolated = vec![node(cut)];
        let roster = roster.sign(&self.identity).unwrap();
        self.urgent(name, HubMessage::Isolate { node: node(cut), epoch, roster }).await;
    }

    /// Tells `name` that all of `members` may be talked to.
    pub(crate) async fn readmit(&self, name: &str, members: &[&str], epoch: u64) {
        self.urgent(name, HubMessage::Membership(self.signed(epoch, members.iter().copied()))).await;
    }

    /// Delivers key `key` of `n1` and `n2` to both.
    pub(crate) async fn deliver(&mut self, key: u64, mix: bool) {
        let share = KeyMaterial::generate(&self.entropy).unwrap();
        for name in ["n1", "n2"] {
            let described = DeliveredKey {
                key: KeyId::new(key),
                key_type: KeyType::MeshSession,
                participants: vec![node("n1"), node("n2")],
                salt: Hash::new([key as u8; 32]),
                masked: Hash::ZERO,
                mix,
            };
            let prekey = self.sides[&node(name)].prekey.as_ref().unwrap();
            let (kem, secret) = crypto::kem::encapsulate(prekey, &self.entropy).unwrap();
            let pad: Option<Pad> = match self.links.get(&node(name)) {
                Some(link) => link.reserve(delivery::pad_bits(1)).await.ok(),
                None => None,
            };
            let frame = delivery::seal(&[(described, &share)], kem.to_bytes(), &secret, pad.as_ref()).unwrap();
            self.bulk(name, HubMessage::Deliver(frame)).await;
        }
    }

    /// The receipts of both nodes for `key`.
    pub(crate) async fn receipts(&mut self, key: u64) -> [Receipt; 2] {
        let mut found = BTreeMap::new();
        self.next("receipts", |peer, message| {
            if let NodeMessage::Failed { keys, reason } = &message {
                assert!(!keys.contains(&KeyId::new(key)), "{peer}: {reason}");
            }
            if let NodeMessage::Receipts(list) = message {
                found.extend(list.into_iter().filter(|one| one.key.get() == key).map(|one| (peer.clone(), one)));
            }
            (found.len() == 2).then_some(())
        })
        .await;
        [found[&node("n1")], found[&node("n2")]]
    }

    /// Activates `key` at both, and waits until both say so.
    pub(crate) async fn activate(&mut self, key: u64, replaces: Option<u64>) {
        let list = vec![Activation { key: KeyId::new(key), replaces: replaces.map(KeyId::new) }];
        for name in ["n1", "n2"] {
            self.bulk(name, HubMessage::Activate(list.clone())).await;
        }
        self.both("activations", |message| match message {
            NodeMessage::Activated(keys) => keys.contains(&KeyId::new(key)),
            _ => false,
        })
        .await;
    }

    /// Waits until both nodes have said something that `is` wants.
    pub(crate) async fn both(&mut self, what: &str, is: impl Fn(&NodeMessage) -> bool) {
        let mut found = std::collections::BTreeSet::new();
        self.next(what, |peer, message| {
            if is(&message) {
                found.insert(peer.clone());
            }
            (found.len() == 2).then_some(())
        })
        .await;
    }
}
