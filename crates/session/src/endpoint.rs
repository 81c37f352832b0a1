//! One participant's end of all its sessions: it dials and it accepts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crypto::{Entropy, IdentityKey};
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ConnectionCommon, SignatureScheme};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use types::{BoundaryId, Label, NodeId};

use crate::book::Book;
use crate::certificate::{Certificate, SpkiPin, TlsKey};
use crate::error::HandshakeError;
use crate::group::mesh_provider;
use crate::handshake::{self, Local};
use crate::link::Session;
use crate::roster::SignedRoster;
use crate::trust::{TrustEntry, TrustStore};
use crate::verify::PinVerifier;
use crate::wire::Channel;

/// Longest time from the connection to the session, unless configured.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Whether this participant may have a session now.
pub type Admission = Box<dyn Fn(&NodeId) -> bool + Send + Sync>;

/// What an endpoint is made of.
pub struct EndpointConfig {
    /// Its name.
    pub node: NodeId,
    /// Its hybrid identity.
    pub identity: Arc<IdentityKey>,
    /// Its TLS key.
    pub tls_key: TlsKey,
    /// The certificate of that key.
    pub certificate: Certificate,
    /// Whom it trusts; also names the boundary.
    pub trust: Arc<TrustStore>,
    /// Source of its ephemeral keys.
    pub entropy: Arc<Entropy>,
    /// The membership it goes by, compared in every handshake.
    pub book: Arc<Book>,
    /// Asked for every peer, in both directions, after TLS and before the session is up.
    pub admission: Admission,
    /// Longest time from the connection to the session.
    pub deadline: Duration,
}

/// The endpoint could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Certificate and key do not belong together.
    #[error("the certificate is not that of the tls key; issue it again")]
    Mismatch,
    /// The TLS library refused the configuration.
    #[error("tls refused the configuration: {0}")]
    Tls(#[from] rustls::Error),
}

/// One participant's end of all its sessions. Clones are the same endpoint.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    node: NodeId,
    identity: Arc<IdentityKey>,
    tls_key: TlsKey,
    resolver: Arc<Resolver>,
    acceptor: TlsAcceptor,
    connectors: BTreeMap<NodeId, TlsConnector>,
    trust: Arc<TrustStore>,
    entropy: Arc<Entropy>,
    admission: Admission,
    deadline: Duration,
    book: Arc<Book>,
}

impl Endpoint {
    /// Makes the endpoint.
    ///
    /// # Errors
    /// [`EndpointError`] where key and certificate do not fit.
    pub fn new(config: EndpointConfig) -> Result<Self, EndpointError> {
        let EndpointConfig { node, identity, tls_key, certificate, trust, entropy, book, admission, deadline } = config;
        let resolver = Arc::new(Resolver(RwLock::new(certified(&tls_key, &certificate)?)));
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&resolver, &trust, &book)?));
        let connectors = trust
            .iter()
            .map(|peer| Ok((peer.name.clone(), TlsConnector::from(Arc::new(client_config(&resolver, peer, &book)?)))))
            .collect::<Result<_, rustls::Error>>()?;
        Ok(Self(Arc::new(Inner {
            node,
            identity,
            tls_key,
            resolver,
            acceptor,
            connectors,
            trust,
            entropy,
            admission,
            deadline,
            book,
        })))
    }

    /// This participant.
    pub fn node(&self) -> &NodeId {
        &self.0.node
    }

    /// The boundary of this participant and its peers.
    pub fn boundary(&self) -> &BoundaryId {
        self.0.trust.boundary()
    }

    /// Whom it trusts.
    pub fn trust(&self) -> &Arc<TrustStore> {
        &self.0.trust
    }

    /// The pin of its TLS key.
    pub fn pin(&self) -> SpkiPin {
        self.0.tls_key.pin()
    }

    /// The longest time that a handshake may take.
    pub fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// The membership it goes by.
    pub fn book(&self) -> &Arc<Book> {
        &self.0.book
    }

    /// As the hub: signs who is a member and who is cut off, and goes by it from now on.
    ///
    /// # Errors
    /// [`SignError`](crypto::identity::SignError) of the library.
    pub fn issue_roster(
        &self,
        epoch: u64,
        members: Vec<NodeId>,
        isolated: Vec<NodeId>,
    ) -> Result<SignedRoster, crypto::identity::SignError> {
        self.0.book.issue(&self.0.identity, epoch, members, isolated)
    }

    /// Uses a renewed certificate of the same key from now on.
    ///
    /// # Errors
    /// [`EndpointError::Mismatch`] where it is of another key.
    pub fn renew(&self, certificate: &Certificate) -> Result<(), EndpointError> {
        let renewed = certified(&self.0.tls_key, certificate)?;
        *self.0.resolver.0.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    /// The TLS key, to renew the certificate with.
    pub fn tls_key(&self) -> &TlsKey {
        &self.0.tls_key
    }

    /// Opens a session with `peer` at `address` (`host:port`).
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn dial(&self, peer: &NodeId, address: &str, channel: Channel) -> Result<Session, HandshakeError> {
        let work = async {
            let entry = self.0.trust.get(peer).ok_or_else(|| HandshakeError::UnknownNode(peer.clone()))?;
            let tcp = TcpStream::connect(address)
                .await
                .map_err(|source| HandshakeError::Connect { address: address.to_owned(), source })?;
            self.initiate(tcp, entry, channel).await
        };
        tokio::time::timeout(self.0.deadline, work).await.unwrap_or(Err(HandshakeError::Deadline))
    }

    async fn initiate(&self, tcp: TcpStream, peer: &TrustEntry, channel: Channel) -> Result<Session, HandshakeError> {
        let reason = crate::wire::Refusal::NotAdmitted;
        if !(self.0.admission)(&peer.name) {
            return Err(HandshakeError::Refusing { node: peer.name.clone(), reason });
        }
        tcp.set_nodelay(true).map_err(HandshakeError::Io)?;
        let unknown = || HandshakeError::UnknownNode(peer.name.clone());
        let connector = self.0.connectors.get(&peer.name).ok_or_else(unknown)?;
        let name = ServerName::from(std::net::Ipv6Addr::UNSPECIFIED);
        let mut tls = connector.connect(name, tcp).await.map_err(HandshakeError::from_io)?;
        let local = self.local(tls.get_ref().1)?;
        let bound = handshake::dial(&mut tls, &local, peer, channel, &*self.0.admission).await?;
        Ok(Session::new(Box::new(tls), peer.name.clone(), true, bound))
    }

    /// Makes a session of an accepted connection; `proven` is called once TLS shows that it is a peer's.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn accept(&self, tcp: TcpStream, proven: impl FnOnce()) -> Result<Session, HandshakeError> {
        let work = self.respond(tcp, proven);
        tokio::time::timeout(self.0.deadline, work).await.unwrap_or(Err(HandshakeError::Deadline))
    }

    async fn respond(&self, tcp: TcpStream, proven: impl FnOnce()) -> Result<Session, HandshakeError> {
        tcp.set_nodelay(true).map_err(HandshakeError::Io)?;
        let mut tls = match self.0.acceptor.accept(tcp).into_fallible().await {
            Ok(tls) => tls,
            Err((error, tcp)) => {
                say_goodbye(tcp).await;
                return Err(HandshakeError::from_io(error));
            }
        };
        let presented = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let pin = presented.and_then(|certificate| SpkiPin::of(certificate).ok());
        let pin = pin.ok_or(HandshakeError::NotAcknowledged)?;
        let peer = self.0.trust.by_pin(&pin).ok_or(HandshakeError::UnknownPin(pin))?;
        proven();
        let local = self.local(tls.get_ref().1)?;
        let bound = handshake::accept(&mut tls, &local, peer, &*self.0.admission).await?;
        Ok(Session::new(Box::new(tls), peer.name.clone(), false, bound))
    }

    fn local<D>(&self, tls: &ConnectionCommon<D>) -> Result<Local<'_>, HandshakeError> {
        let label = Label::SESSION_EXPORTER.as_str().as_bytes();
        let exporter = tls.export_keying_material([0; 32], label, None).map_err(HandshakeError::Tls)?;
        Ok(Local {
            boundary: self.boundary(),
            node: &self.0.node,
            identity: &self.0.identity,
            book: &self.0.book,
            entropy: &self.0.entropy,
            exporter,
        })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}/{})", self.boundary(), self.0.node)
    }
}

// A socket closed with unread bytes is reset, and a reset can overtake the alert that tells the peer
// why it was refused. So read on a little; the deadline of the handshake bounds the time.
async fn say_goodbye(mut tcp: TcpStream) {
    const MOST: u64 = 64 * 1024;
    if tcp.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut (&mut tcp).take(MOST), &mut tokio::io::sink()).await;
    }
}

fn certified(key: &TlsKey, certificate: &Certificate) -> Result<Arc<CertifiedKey>, EndpointError> {
    let provider = mesh_provider();
    let chain = vec![certificate.0.clone()];
    let certified = CertifiedKey::from_der(chain, key.private_der(), &provider)?;
    if certificate.pin().ok() != Some(key.pin()) {
        return Err(EndpointError::Mismatch);
    }
    Ok(Arc::new(certified))
}

// No resumption and no early data: every session has a key exchange of its own (SM-01).
fn server_config(
    resolver: &Arc<Resolver>,
    trust: &Arc<TrustStore>,
    book: &Arc<Book>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = mesh_provider();
    let verifier = PinVerifier::any(Arc::clone(trust), book, &provider);
    let resolver: Arc<dyn ResolvesServerCert> = Arc::<Resolver>::clone(resolver);
    let mut config = ServerConfig::builder_with_details(provider, wall_time(book))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_config(resolver: &Arc<Resolver>, peer: &TrustEntry, book: &Arc<Book>) -> Result<ClientConfig, rustls::Error> {
    let provider = mesh_provider();
    let verifier = PinVerifier::one(peer.name.to_string(), peer.pin, Some(book), &provider);
    let resolver: Arc<dyn ResolvesClientCert> = Arc::<Resolver>::clone(resolver);
    let mut config = ClientConfig::builder_with_details(provider, wall_time(book))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(resolver);
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

fn wall_time(book: &Arc<Book>) -> Arc<dyn TimeProvider> {
    Arc::new(WallTime(Arc::clone(book)))
}

/// The machine's clock, as the book was given it.
#[derive(Debug)]
struct WallTime(Arc<Book>);

impl TimeProvider for WallTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.wall().as_millis())))
    }
}

/// The current certificate, which can be renewed while sessions run.
#[derive(Debug)]
struct Resolver(RwLock<Arc<CertifiedKey>>);

impl Resolver {
    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
