//! Starting a hub and stopping it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crypto::{Entropy, IdentityKey, LogSigner};
use kernel::event::Event;
use link::{Engine, LinkSpec};
use session::endpoint::{DEADLINE, EndpointConfig, EndpointError};
use session::{Book, Certificate, Endpoint, Limits, Listener, TlsKey, TrustStore};
use store::{Store, StoreHandle};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use types::{BoundaryId, Hash, Millis, NodeId};

use crate::admitted::Admitted;
use crate::clock::{TimeSource, system_time};
use crate::config::{HubConfig, Public};
use crate::console::{Console, History, SignIn};
use crate::effects::Effects;
use crate::files::{self, FilesError, StoreError};
use crate::genesis::{self, GenesisError};
use crate::http::{self, App, Gate, LogReader, Tls};
use crate::mesh::{Links, Mesh};
use crate::notice::Notices;
use crate::sequencer::{self, Handle, RecoverError, Signers};

/// How long a certificate is valid, and how often it is renewed.
const VALIDITY: Millis = Millis::from_days(7);
const RENEWAL: Duration = Duration::from_secs(24 * 3_600);
/// A certificate is valid from a while before now, for peers whose clocks are behind.
const BACKDATED: Millis = Millis::from_hours(1);

/// Why a hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A secret file.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is damaged, or belongs elsewhere.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The boundary cannot begin.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The trust file.
    #[error(transparent)]
    Trust(#[from] session::TrustError),
    /// The trust file is of another boundary.
    #[error("the trust file is of boundary `{found}`, the configuration of `{wanted}`: correct one of them")]
    OtherBoundary {
        /// In the trust file.
        found: BoundaryId,
        /// In the configuration.
        wanted: BoundaryId,
    },
    /// Keys and certificates of sessions.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// TLS of the operators' listener.
    #[error("the operators' listener has no tls: {0}")]
    Tls(#[from] rustls::Error),
    /// The console's sessions cannot be read from the store.
    #[error("the sessions of the console cannot be read: {0}")]
    Sessions(store::ReadError),
    /// A quantum link.
    #[error(transparent)]
    Link(#[from] link::StartError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({source}): free the port or choose another in `{field}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Its field in the configuration.
        field: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system gave no thread.
    #[error("the operating system gives no thread: {0}")]
    Thread(std::io::Error),
    /// It stopped while it started.
    #[error("the hub stopped while it started: see the log above")]
    Stopped,
}

/// A running hub.
pub struct Hub {
    handle: Handle,
    store: StoreHandle,
    mesh: Arc<Mesh>,
    tasks: Vec<AbortHandle>,
    thread: std::thread::JoinHandle<()>,
    http_address: SocketAddr,
    public_address: Option<SocketAddr>,
    mesh_address: SocketAddr,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hub(operators at {}, nodes at {})", self.http_address, self.mesh_address)
    }
}

/// Runs a hub until `shutdown` is done.
///
/// # Errors
/// [`StartError`] where it did not start.
pub async fn run(config: HubConfig, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let hub = Hub::start(config).await?;
    shutdown.await;
    hub.stop().await;
    Ok(())
}

/// What sessions and the listener are made of.
struct Keys {
    entropy: Arc<Entropy>,
    mesh: TlsKey,
    http: TlsKey,
    names: Vec<String>,
    boundary: BoundaryId,
}

impl Keys {
    fn load(config: &HubConfig, entropy: &Arc<Entropy>) -> Result<Self, FilesError> {
        let mut names = vec![api::tls::SERVER_NAME.to_owned(), "localhost".to_owned(), config.listen.ip().to_string()];
        let public = config.public.iter().map(|public| public.listen.ip().to_string());
        for name in public.chain(config.names.iter().cloned()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(Self {
            entropy: Arc::clone(entropy),
            mesh: TlsKey::load(&config.files.tls)?,
            http: TlsKey::load(&config.files.http_key)?,
            names,
            boundary: config.boundary.clone(),
        })
    }

    fn mesh_certificate(&self) -> Result<Certificate, FilesError> {
        Ok(self.mesh.issue(&self.boundary, &NodeId::hub(), system_time() - BACKDATED, VALIDITY)?)
    }

    fn http_certificate(&self) -> Result<Certificate, FilesError> {
        Ok(self.http.issue_web(&self.names, system_time() - BACKDATED, VALIDITY)?)
    }

    fn http_config(&self) -> Result<Arc<rustls::ServerConfig>, StartError> {
        Ok(session::operator::server_config(&self.http, &self.http_certificate()?)?)
    }

    fn public_config(&self) -> Result<Arc<rustls::ServerConfig>, StartError> {
        Ok(session::operator::public_config(&self.http, &self.http_certificate()?)?)
    }

    fn endpoint(
        &self,
        config: &HubConfig,
        admitted: &Arc<Admitted>,
        time: &TimeSource,
    ) -> Result<Endpoint, StartError> {
        let trust = Arc::new(TrustStore::load(&config.files.trust)?);
        if *trust.boundary() != self.boundary {
            let (found, wanted) = (trust.boundary().clone(), self.boundary.clone());
            return Err(StartError::OtherBoundary { found, wanted });
        }
        let identity = IdentityKey::load(&config.files.identity).map_err(FilesError::from)?;
        let hub = Some(identity.public().clone());
        // The hub makes the time that rosters age by: none of its own is ever too old.
        let book = Arc::new(Book::new(self.boundary.clone(), hub, None, Arc::clone(time)));
        let (known, admitted, signed) = (Arc::clone(&trust), Arc::clone(admitted), Arc::clone(&book));
        // Trusted by the local file, admitted by the boundary, and the same identity in both.
        let admission = move |node: &NodeId| {
            // A roster of this hub that a node shows may cut off more than a store that was put back.
            !signed.isolates(node)
                && known.get(node).is_some_and(|entry| admitted.allows(node, entry.identity.fingerprint()))
        };
        Ok(Endpoint::new(EndpointConfig {
            node: NodeId::hub(),
            identity: Arc::new(identity),
            tls_key: TlsKey::load(&config.files.tls).map_err(FilesError::from)?,
            certificate: self.mesh_certificate()?,
            trust,
            entropy: Arc::clone(&self.entropy),
            book,
            admission: Box::new(admission),
            deadline: DEADLINE,
        })?)
    }
}

/// The boundary as it was read back, or begun.
struct Opened {
    store: StoreHandle,
    reader: Store,
    core: sequencer::Core,
    admitted: Arc<Admitted>,
    origin: evidence::KeyName,
}

async fn open(config: &HubConfig, entropy: &Arc<Entropy>, time: &TimeSource) -> Result<Opened, StartError> {
    let signer = LogSigner::load(&config.files.log_key).map_err(FilesError::from)?;
    let signers = Signers::new(signer, &config.boundary).map_err(FilesError::from)?;
    let origin = signers.origin().clone();
    let mut store = files::open_store(config, entropy)?;
    store.hold().map_err(StoreError::from)?;
    if let Err(fault) = store.keep_reserve() {
        tracing::warn!(%fault, "no room is kept for revocations on a full disk");
    }
    let reader = files::open_store(config, entropy)?;
    let store = StoreHandle::spawn(store).map_err(StartError::Thread)?;
    let admitted = Arc::new(Admitted::default());
    let mut core = sequencer::recover(store.clone(), signers, Arc::clone(&admitted)).await?;
    if genesis::begin(&mut core, config, entropy, time()).await? {
        tracing::info!(boundary = %config.boundary, "the boundary begins");
    }
    Ok(Opened { store, reader, core, admitted, origin })
}

impl Hub {
    /// Opens the boundary, or begins it, and serves nodes and operators.
    ///
    /// # Errors
    /// [`StartError`] says what to do.
    pub async fn start(config: HubConfig) -> Result<Self, StartError> {
        Self::start_at(config, Arc::new(system_time)).await
    }

    /// As [`Self::start`], with a clock of the caller's.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_at(config: HubConfig, time: TimeSource) -> Result<Self, StartError> {
        let entropy = Arc::new(Entropy::system().map_err(FilesError::from)?);
        let keys = Keys::load(&config, &entropy)?;
        // The ports come first: a second hub on the same configuration stops here.
        let ports = Ports::open(&config).await?;
        let opened = open(&config, &entropy, &time).await?;
        let endpoint = keys.endpoint(&config, &opened.admitted, &time)?;
        endpoint.book().see(opened.core.head().at.max(time()));
        let salt = opened.core.state().boundary().map(|boundary| boundary.salt).ok_or(StartError::Stopped)?;
        let severed: Vec<NodeId> = isolated(opened.core.state());
        let (handle, orders, thread) = sequencer::start(opened.core, Arc::clone(&time)).map_err(StartError::Thread)?;
        // Before anything is taken: grants and nonces of before are void.
        let start = Hash::new(entropy.array().map_err(FilesError::from)?);
        begin(&handle, Event::HubStarted { start }).await?;
        let notices = Arc::new(Notices::new(handle.clone()));
        let history = Arc::new(History::default());
        let mesh = Arc::new(Mesh {
            handle: handle.clone(),
            peers: crate::mesh::Peers::default(),
            admitted: Arc::clone(&opened.admitted),
            endpoint: endpoint.clone(),
            notices: Arc::clone(&notices),
            links: Links::new(Engine::new(2).map_err(StartError::Thread)?, ends(&config)),
            history: Arc::clone(&history),
            relay: crate::mesh::Relay::default(),
            sources: crate::mesh::Sources::default(),
            store: opened.store.clone(),
            turn: tokio::sync::Mutex::default(),
        });
        let _ = mesh.sign_roster();
        mesh.links.start_all(&opened.store, &entropy).await?;
        severed.iter().for_each(|node| mesh.links.sever(node));
        let sign_in = SignIn::open(opened.store.clone(), time()).await.map_err(StartError::Sessions)?;
        let sign_in = Arc::new(sign_in);
        let effects = Arc::new(Effects {
            mesh: Arc::clone(&mesh),
            store: opened.store.clone(),
            entropy: Arc::clone(&entropy),
            sign_in: Arc::clone(&sign_in),
            master_key: config.files.master_key.clone(),
            salt,
        });
        let nodes = Listener::bind(endpoint.clone(), &config.mesh_listen.to_string(), Limits::default())
            .await
            .map_err(|source| StartError::Listen { address: config.mesh_listen, field: "mesh_listen", source })?;
        let mesh_address = nodes.address();
        let app = Arc::new(App {
            handle: handle.clone(),
            entropy: Arc::clone(&entropy),
            console: Console::new(sign_in, history),
            log: Arc::new(LogReader::new(opened.reader, handle.tree(), opened.origin)),
            notices,
            time,
            gate: Gate::default(),
            security_contact: config.security_contact,
            public: ports.public_url(config.public.as_ref()),
        });
        let (http_address, public_address) = (ports.operators.1, ports.public.as_ref().map(|(_, address)| *address));
        let mut tasks = vec![
            tokio::spawn(effects.run(orders)).abort_handle(),
            tokio::spawn(Arc::clone(&mesh).serve(nodes)).abort_handle(),
            tokio::spawn(Arc::clone(&mesh).report_links()).abort_handle(),
            tokio::spawn(app.console.draw(handle.clone())).abort_handle(),
            tokio::spawn(Arc::clone(&mesh).renew_roster(config.roster.0.into())).abort_handle(),
            tokio::spawn(Arc::clone(&mesh).report_standing()).abort_handle(),
        ];
        tasks.extend(ports.serve(keys, endpoint, &app)?);
        tracing::info!(operators = %http_address, nodes = %mesh_address, "the hub serves");
        Ok(Self { handle, store: opened.store, mesh, tasks, thread, http_address, public_address, mesh_address })
    }

    /// Where operators and browsers connect.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where everyone connects, if anywhere.
    pub fn public_address(&self) -> Option<SocketAddr> {
        self.public_address
    }

    /// Where nodes connect.
    pub fn mesh_address(&self) -> SocketAddr {
        self.mesh_address
    }

    /// The way to the sequencer.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Stops serving, records what is queued and closes the store.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        for node in self.mesh.peers.up() {
            self.mesh.peers.drop_node(&node);
        }
        self.handle.stop().await;
        // The thread ends with the sequencer.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if let Err(fault) = self.store.close().await {
            tracing::warn!(%fault, "the store was not folded on closing; opening it again does it");
        }
    }
}

type Port = (TcpListener, SocketAddr);

/// The listeners of HTTP, and where each is.
struct Ports {
    operators: Port,
    public: Option<Port>,
}

impl Ports {
    async fn open(config: &HubConfig) -> Result<Self, StartError> {
        let operators = listen(config.listen, "listen").await?;
        let public = match &config.public {
            Some(public) => Some(listen(public.listen, "public.listen").await?),
            None => None,
        };
        Ok(Self { operators, public })
    }

    /// Where everyone reaches the public port.
    fn public_url(&self, config: Option<&Public>) -> Option<String> {
        let (_, address) = self.public.as_ref()?;
        let told = config.and_then(|public| public.address.clone());
        Some(format!("https://{}", told.unwrap_or_else(|| address.to_string())))
    }

    /// Serves all of them, and renews their certificates and that of `endpoint`.
    fn serve(self, keys: Keys, endpoint: Endpoint, app: &Arc<App>) -> Result<Vec<AbortHandle>, StartError> {
        let tls = Arc::new(Tls::new(keys.http_config()?));
        let mut tasks = Vec::new();
        let mut public_tls = None;
        if let Some((listener, _)) = self.public {
            let tls = Arc::new(Tls::new(keys.public_config()?));
            public_tls = Some(Arc::clone(&tls));
            tasks.push(tokio::spawn(http::serve_public(listener, tls, Arc::clone(app))).abort_handle());
        }
        tasks.push(tokio::spawn(http::serve(self.operators.0, Arc::clone(&tls), Arc::clone(app))).abort_handle());
        tasks.push(tokio::spawn(renew(keys, endpoint, tls, public_tls)).abort_handle());
        Ok(tasks)
    }
}

/// Has the start recorded before anything else is taken. Where the store takes nothing now it is kept, and comes first
/// once the store does.
async fn begin(handle: &Handle, started: Event) -> Result<(), StartError> {
    match handle.request(started.clone()).await {
        Ok(_) => Ok(()),
        Err(sequencer::SubmitError::Stopped) => Err(StartError::Stopped),
        Err(_) => handle.report(started).await.map_err(|_| StartError::Stopped),
    }
}

async fn listen(address: SocketAddr, field: &'static str) -> Result<Port, StartError> {
    let failed = |source| StartError::Listen { address, field, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn isolated(state: &kernel::State) -> Vec<NodeId> {
    let isolated = state.nodes().iter().filter(|(_, node)| node.state == types::mesh::NodeState::Isolated);
    isolated.map(|(node, _)| node.clone()).collect()
}

fn ends(config: &HubConfig) -> Vec<LinkSpec> {
    let spec = |link: &link::LinkSection| LinkSpec {
        me: NodeId::hub(),
        peer: link.peer.clone(),
        fibre: link.fibre.clone(),
        kme: link.kme.clone(),
        params: link.params.params(),
    };
    config.ends.iter().map(spec).collect()
}

/// Certificates are short-lived, so that a stolen key is of use for days, not years.
async fn renew(keys: Keys, endpoint: Endpoint, tls: Arc<Tls>, public: Option<Arc<Tls>>) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        let renewed = keys.mesh_certificate().map_err(StartError::from).and_then(|certificate| {
            endpoint.renew(&certificate)?;
            tls.renew(keys.http_config()?);
            if let Some(public) = &public {
                public.renew(keys.public_config()?);
            }
            Ok(())
        });
        match renewed {
            Ok(()) => tracing::info!("certificates are renewed"),
            Err(error) => tracing::error!(%error, "certificates are not renewed; they end within a week"),
        }
    }
}
