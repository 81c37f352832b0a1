//! A participant with real keys and files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crypto::{Entropy, IdentityKey};
use session::{Book, Certificate, Endpoint, EndpointConfig, SpkiPin, TlsKey, TrustEntry, TrustStore};
use types::{BoundaryId, Millis, NodeId, Timestamp};

pub(crate) const DAY: Millis = Millis::from_days(1);

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

pub(crate) fn boundary() -> BoundaryId {
    "demo".parse().unwrap()
}

pub(crate) struct Party {
    pub(crate) node: NodeId,
    pub(crate) identity: Arc<IdentityKey>,
    pub(crate) tls_key: TlsKey,
    pub(crate) entropy: Arc<Entropy>,
}

impl Party {
    pub(crate) fn new(name: &str) -> Self {
        let entropy = Arc::new(Entropy::system().unwrap());
        Self {
            node: name.parse().unwrap(),
            identity: Arc::new(IdentityKey::generate(&entropy).unwrap()),
            tls_key: TlsKey::generate(&entropy).unwrap(),
            entropy,
        }
    }

    pub(crate) fn entry(&self) -> TrustEntry {
        self.entry_with(self.tls_key.pin())
    }

    pub(crate) fn entry_with(&self, pin: SpkiPin) -> TrustEntry {
        let identity = self.identity.public().clone();
        TrustEntry { name: self.node.clone(), address: None, pin, identity }
    }

    pub(crate) fn certificate(&self, not_before: Timestamp) -> Certificate {
        self.tls_key.issue(&boundary(), &self.node, not_before, DAY).unwrap()
    }

    pub(crate) fn endpoint(self, trusted: &[TrustEntry]) -> Endpoint {
        let certificate = self.certificate(now());
        self.endpoint_with(trusted, certificate, |_| true)
    }

    pub(crate) fn endpoint_with(
        self,
        trusted: &[TrustEntry],
        certificate: Certificate,
        admit: impl Fn(&NodeId) -> bool + Send + Sync + 'static,
    ) -> Endpoint {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trust.toml");
        let trust = Arc::new(store(&path, trusted));
        Endpoint::new(EndpointConfig {
            book: Arc::new(Book::of(&trust)),
            node: self.node,
            identity: self.identity,
            tls_key: self.tls_key,
            certificate,
            trust,
            entropy: self.entropy,
            admission: Box::new(admit),
            deadline: Duration::from_secs(5),
        })
        .unwrap()
    }
}

pub(crate) fn store(path: &Path, trusted: &[TrustEntry]) -> TrustStore {
    std::fs::write(path, TrustStore::render(&boundary(), trusted.to_vec()).unwrap()).unwrap();
    TrustStore::load(path).unwrap()
}
