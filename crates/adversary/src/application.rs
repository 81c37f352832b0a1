//! An application (SAE) in hostile hands, with a certificate that the KME takes.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use kme::client::{Client, ClientError, ClientSettings};
use kme::sae::Credential;

/// Longest wait for an answer of a KME.
const DEADLINE: Duration = Duration::from_secs(20);

/// An application that asks a KME for what it likes.
pub struct Application {
    client: Client,
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
        Self { client: Client::new(&settings, DEADLINE).unwrap() }
    }

    /// With a credential as the KME's authority issued it.
    pub fn with(url: &str, credential: &Credential) -> Self {
        let Credential { authority, certificate, key } = credential;
        Self::new(url, authority.clone(), certificate.clone(), key.clone())
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
