//! An application (SAE) in hostile hands, with a certificate that the KME takes.

use std::path::PathBuf;
use std::time::Duration;

use api::Reply;
use bytes::Bytes;
use hyper::Method;
use kernel::event::Command;
use kme::client::{Client, ClientError, ClientSettings, ReceivedKey};
use kme::sae::Credential;
use types::mesh::Groups;
use types::sae::SaeSpec;
use types::{Millis, NodeId, SaeId};

use crate::Deployment;

/// Longest wait for an answer of a KME.
const DEADLINE: Duration = Duration::from_secs(20);

/// An application that asks a KME for what it likes.
pub struct Application {
    client: Client,
    settings: ClientSettings,
}

impl std::fmt::Debug for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Application(of {})", self.client.address())
    }
}

impl Application {
    /// With files of an SAE: `authority` is that of the KME at `url`.
    pub fn new(url: &str, authority: PathBuf, certificate: PathBuf, key: PathBuf) -> Self {
        let settings = ClientSettings { url: url.to_owned(), authority, certificate, key };
        Self { client: Client::new(&settings, DEADLINE).unwrap(), settings }
    }

    /// With a credential as the KME's authority issued it.
    pub fn with(url: &str, credential: &Credential) -> Self {
        let Credential { authority, certificate, key } = credential;
        Self::new(url, authority.clone(), certificate.clone(), key.clone())
    }

    /// Has `operator` admit an application of that name at `node`, which gives keys to applications.
    pub async fn admit(deployment: &Deployment, operator: &api::Client, id: &str, node: &str) -> Self {
        let (id, node): (SaeId, NodeId) = (id.parse().unwrap(), node.parse().unwrap());
        crate::until("the node says where it gives keys", || async {
            crate::nodes(operator).await.iter().any(|view| view.id == node && view.kme.is_some())
        })
        .await;
        let views = crate::nodes(operator).await;
        let kme = views.into_iter().find(|view| view.id == node).and_then(|view| view.kme).unwrap();
        let folder = deployment.dir.path().join("saes");
        let dates = (hub::system_time(), Millis::from_days(1));
        let (credential, fingerprint) =
            kme::sae::create(&folder, &id, &kme.authority, &deployment.entropy, dates).unwrap();
        let spec = SaeSpec { id, node, fingerprint, slaves: None, quota_bps: None, groups: Groups::Preferred };
        let reply = operator.run(Command::AddSae { spec }).await.unwrap();
        assert!(matches!(reply, Reply::Done(_)), "an application is added by one person on duty");
        Self::with(&kme.url, &credential)
    }

    /// A client with no connection yet: a node that stopped inside this process leaves the old ones open.
    fn fresh(&self) -> Client {
        Client::new(&self.settings, DEADLINE).unwrap()
    }

    /// *Get key* as the master of `slave`: names and keys, or status and message of the refusal; status 0 where there
    /// is no answer.
    ///
    /// # Errors
    /// The refusal.
    pub async fn enc_keys(&self, slave: &str, number: u32) -> Result<Vec<Given>, (u16, String)> {
        given(self.fresh().enc_keys(&slave.parse().unwrap(), number, 256).await)
    }

    /// *Get key with key IDs* as a slave of `master`.
    ///
    /// # Errors
    /// The refusal.
    pub async fn dec_keys(&self, master: &str, ids: &[String]) -> Result<Vec<Given>, (u16, String)> {
        given(self.fresh().dec_keys(&master.parse().unwrap(), ids).await)
    }

    /// The standard's calls.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Any path under `/api/v1/keys/` with any body.
    ///
    /// # Errors
    /// [`ClientError`], the KME's refusals among them.
    pub async fn call(&self, method: Method, path: &str, body: Option<String>) -> Result<Bytes, ClientError> {
        self.client.call(method, path, body).await
    }
}

/// Name and bytes of a key.
pub type Given = (String, Vec<u8>);

fn given(answer: Result<Vec<ReceivedKey>, ClientError>) -> Result<Vec<Given>, (u16, String)> {
    match answer {
        Ok(keys) => Ok(keys.into_iter().map(|key| (key.id, key.key.expose().to_vec())).collect()),
        Err(ClientError::Refused { status, message }) => Err((status, message)),
        Err(error) => Err((0, error.to_string())),
    }
}
