//! A client of any vendor's KME: what `qecnet doctor kme` asks with, and what draws keys for a quantum link.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::id::SaeId;
use crate::secret::KeyBytes;
use crate::server::TlsError;
use crate::wire::{Container, ErrorBody, Status};

mod examine;
mod link;
mod tls;

pub use examine::{Examination, Finding, examine};
pub use link::{KmeLink, LinkBits, LinkError};

/// Largest answer read, in bytes.
const ANSWER_LEN: usize = 4 * 1024 * 1024;

/// How to reach a KME, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClientSettings {
    /// `https://HOST[:PORT]`, with a path before `/api/v1` where the vendor has one.
    pub url: String,
    /// Authorities of the KME's certificate, PEM.
    pub authority: PathBuf,
    /// Certificate of the SAE, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Why a client was not made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not the address of a KME.
    #[error("`{0}` is not the address of a KME: write https://HOST or https://HOST:PORT")]
    Url(String),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a KME gave no keys.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("the KME at {address} cannot be reached: {problem}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// Why.
        problem: String,
    },
    /// No TLS.
    #[error("no TLS with the KME at {address}: {problem}; check both certificates, their authorities and their dates")]
    Tls {
        /// Host and port.
        address: String,
        /// Why.
        problem: String,
    },
    /// The connection broke. The KME may have carried out the request.
    #[error("the connection to the KME broke: {0}")]
    Broken(String),
    /// No answer in time. The KME may have carried out the request.
    #[error("the KME did not answer within {0:?}")]
    TimedOut(Duration),
    /// The KME refuses (clause 6.5).
    #[error("the KME refuses with {status}: {message}")]
    Refused {
        /// 400, 401 or 503 by the standard.
        status: u16,
        /// Its message.
        message: String,
    },
    /// The answer is not one of the standard.
    #[error("the KME's answer is not one of ETSI GS QKD 014: {0}")]
    Malformed(String),
}

/// One key as a KME gave it, with the identifier as it wrote it.
#[derive(Debug)]
pub struct ReceivedKey {
    /// Identifier.
    pub id: String,
    /// The key.
    pub key: KeyBytes,
}

/// A client of one KME. Keeps one connection, and makes a new one where that ended; requests wait in turn.
pub struct Client {
    host: String,
    port: u16,
    prefix: String,
    tls: Arc<ClientConfig>,
    deadline: Duration,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
    group: std::sync::Mutex<Option<String>>,
}

impl Client {
    /// Reads the files of `settings`; connects with the first request.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: &ClientSettings, deadline: Duration) -> Result<Self, SettingsError> {
        let bad = || SettingsError::Url(settings.url.clone());
        let uri: Uri = settings.url.parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("https") || uri.query().is_some() {
            return Err(bad());
        }
        let host = uri.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let tls = tls::config(settings)?;
        let (connection, group) = (Mutex::new(None), std::sync::Mutex::new(None));
        Ok(Self { host, port, prefix, tls, deadline, connection, group })
    }

    /// Host and port.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Key exchange group of the last connection, as TLS names it.
    pub fn group(&self) -> Option<String> {
        self.group.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Get status.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self, slave: &SaeId) -> Result<Status, ClientError> {
        let body = self.call(Method::GET, &format!("{slave}/status"), None).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Malformed(error.to_string()))
    }

    /// Get key: `number` keys of `size` bits, as the master of `slave`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn enc_keys(&self, slave: &SaeId, number: u32, size: u32) -> Result<Vec<ReceivedKey>, ClientError> {
        let body = serde_json::json!({ "number": number, "size": size }).to_string();
        let keys = self.call(Method::POST, &format!("{slave}/enc_keys"), Some(body)).await?;
        let keys = read_keys(&keys)?;
        let whole = keys.len() == number as usize && keys.iter().all(|key| 8 * key.key.expose().len() == size as usize);
        if whole { Ok(keys) } else { Err(ClientError::Malformed("it gave other keys than asked for".to_owned())) }
    }

    /// Get key with key IDs, as a slave of `master`; in the order of `ids`, whatever order the KME chose.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dec_keys(&self, master: &SaeId, ids: &[String]) -> Result<Vec<ReceivedKey>, ClientError> {
        let ids_json: Vec<_> = ids.iter().map(|id| serde_json::json!({ "key_ID": id })).collect();
        let body = serde_json::json!({ "key_IDs": ids_json }).to_string();
        let mut keys = read_keys(&self.call(Method::POST, &format!("{master}/dec_keys"), Some(body)).await?)?;
        let mut sorted = Vec::with_capacity(ids.len());
        for id in ids {
            let at = keys.iter().position(|key| key.id.eq_ignore_ascii_case(id));
            let at = at.ok_or_else(|| ClientError::Malformed(format!("it left out the key {id}")))?;
            sorted.push(keys.swap_remove(at));
        }
        Ok(sorted)
    }

    /// One request by hand; the body of a 200.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call(&self, method: Method, path: &str, body: Option<String>) -> Result<Bytes, ClientError> {
        let mut place = self.connection.lock().await;
        let answered = timeout(self.deadline, self.exchange(&mut place, method, path, body)).await;
        // What broke, or was given up halfway, is not used again.
        match answered {
            Ok(Ok((StatusCode::OK, body))) => Ok(body),
            Ok(Ok((status, body))) => {
                let parsed: Result<ErrorBody, _> = serde_json::from_slice(&body);
                let message = match parsed {
                    Ok(parsed) if !parsed.message.is_empty() => parsed.message,
                    _ => String::from_utf8_lossy(&body[..body.len().min(256)]).into_owned(),
                };
                Err(ClientError::Refused { status: status.as_u16(), message })
            }
            Ok(Err(error)) => {
                *place = None;
                Err(error)
            }
            Err(_) => {
                *place = None;
                Err(ClientError::TimedOut(self.deadline))
            }
        }
    }

    async fn exchange(
        &self,
        place: &mut Option<SendRequest<Full<Bytes>>>,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let usable = match place {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            *place = Some(self.connect().await?);
        }
        let Some(sender) = place else { return Err(ClientError::Broken("it was not made".to_owned())) };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1/keys/{path}", self.prefix))
            .header(HOST, self.address())
            .header(ACCEPT, "application/json");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())));
        let request = request.map_err(|error| ClientError::Malformed(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LEN).collect().await;
        Ok((status, body.map_err(|error| ClientError::Broken(error.to_string()))?.to_bytes()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let address = self.address();
        let unreachable = |problem: String| ClientError::Unreachable { address: address.clone(), problem };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        // Small requests would otherwise wait for the acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(self.host.clone()).map_err(|error| unreachable(error.to_string()))?;
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        let tls = tls.map_err(|error| ClientError::Tls { address: self.address(), problem: error.to_string() })?;
        let group = tls.get_ref().1.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
        *self.group.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = group;
        let (sender, connection) =
            http1::handshake(TokioIo::new(tls)).await.map_err(|error| ClientError::Broken(error.to_string()))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a KME ended");
            }
        });
        Ok(sender)
    }
}

fn read_keys(body: &[u8]) -> Result<Vec<ReceivedKey>, ClientError> {
    let malformed = |problem: String| ClientError::Malformed(problem);
    let container: Container = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let keys = container.keys.into_iter().map(|key| {
        let bytes =
            STANDARD.decode(key.key.as_bytes()).map_err(|error| malformed(format!("a key is not base64: {error}")))?;
        Ok(ReceivedKey { id: key.key_ID, key: KeyBytes::new(bytes) })
    });
    keys.collect()
}

/// The certificates and key that `settings` name.
fn own_key(settings: &ClientSettings) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(&settings.key).map_err(|error| crate::server::file_error(&settings.key, &error))
}
