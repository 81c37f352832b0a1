//! The operators' client: signs commands, verifies grants as log proofs, presents them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use crypto::identity::{IdentityError, SignError};
use crypto::{Entropy, EntropyError, IdentityKey, ed25519_verify, mldsa44_verify};
use evidence::note::Algorithm;
use evidence::{CheckpointPolicy, SignedCheckpoint, TlogProof, VerifierKey};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use kernel::event::{Command, Request};
use kernel::record::Record;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use types::{GrantId, Hash, OperatorId, Timestamp, cbor};

use crate::answer::{Answer, Done, GrantView, HeldView};
use crate::config::{ClientConfig, ConfigError};
use crate::error::ErrorBody;
use crate::{request, routes, tls};

mod live;
mod log;

pub use live::LiveStatus;
pub use log::{Contradiction, Founding};

/// Longest wait for a connection, and for a byte of an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest JSON answer, in bytes. A boundary of 1,000 nodes has half a million pair keys.
const ANSWER_LEN: usize = 512 * 1024 * 1024;

/// Largest checkpoint, in bytes.
const NOTE_LEN: usize = 256 * 1024;

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The operator's key cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No healthy entropy for a nonce.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The key made no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// There is no connection to the hub.
    #[error("no answer from the hub at `{address}` ({reason}): check that it runs and that the address is right")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What happened.
        reason: String,
    },
    /// Something answers, and it is not the pinned hub.
    #[error("what answers at `{address}` is not the pinned hub ({reason}): do not trust it; compare `tls_pin`")]
    NotTheHub {
        /// Where it was.
        address: String,
        /// What the handshake said.
        reason: String,
    },
    /// The hub refused or failed.
    #[error("{0}")]
    Refused(ErrorBody),
    /// The answer is not of this contract.
    #[error("the hub's answer is not understood ({0}): use a client and a hub of one version")]
    Protocol(String),
    /// A grant does not hold as a log proof, or is for something else.
    #[error("the hub sent a grant that does not hold ({0}): do not trust it; compare `log_keys`")]
    BadGrant(String),
    /// The hub holds something else than what was asked for.
    #[error("the hub holds another request than the one that was signed: do not trust it; tell the other operators")]
    BadHeld,
    /// A checkpoint does not hold.
    #[error("the hub sent a checkpoint that does not hold ({0}): do not trust it; compare `log_keys`")]
    BadCheckpoint(String),
    /// The hub shows a log that is not the one it showed before.
    #[error("the hub contradicts itself: {what}; do not trust it, and keep both checkpoints as evidence")]
    Contradiction {
        /// How.
        what: Contradiction,
        /// The signed checkpoint that it shows now.
        shown: Box<str>,
    },
    /// The exported file cannot be written.
    #[error("cannot write the export: {0}")]
    Write(std::io::Error),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It was carried out.
    Done(Done),
    /// It waits for approvals.
    Held(HeldView),
}

/// An exported bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Bytes written.
    pub bytes: u64,
    /// Index of the log entry that permitted the export.
    pub entry: Option<u64>,
}

/// What became of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportReply {
    /// The bundle was written.
    Exported(Exported),
    /// The export waits for approvals.
    Held(HeldView),
}

/// An operator's way to one hub.
pub struct Client {
    config: ClientConfig,
    policy: CheckpointPolicy,
    operator: OperatorId,
    reason: String,
    key: IdentityKey,
    entropy: Entropy,
    tls: tokio_rustls::TlsConnector,
    connection: tokio::sync::Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({} at {})", self.operator, self.config.address)
    }
}

/// Decides checkpoint signatures with the product's cryptography.
pub fn verify_note(key: &VerifierKey, message: &[u8], signature: &[u8]) -> bool {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => ed25519_verify(key.public(), message, signature),
        Algorithm::MlDsa44 => mldsa44_verify(key.public(), message, signature),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Client {
    /// A client that acts as `operator` with `key`. Connects on first use.
    ///
    /// # Errors
    /// [`ClientError::Config`] for a configuration whose keys do not fit.
    pub fn new(config: ClientConfig, operator: OperatorId, key: IdentityKey) -> Result<Self, ClientError> {
        let policy = config.policy()?;
        let tls = tls::client_config(config.tls_pin).map_err(|error| ClientError::Protocol(error.to_string()))?;
        Ok(Self {
            policy,
            operator,
            reason: String::new(),
            key,
            entropy: Entropy::system()?,
            tls: tokio_rustls::TlsConnector::from(Arc::new(tls)),
            connection: tokio::sync::Mutex::new(None),
            config,
        })
    }

    /// As [`Self::new`], from the files `qecnet init` makes.
    ///
    /// # Errors
    /// [`ClientError::Config`] or [`ClientError::Identity`] for files that cannot be used.
    pub fn from_files(config: &Path, operator: OperatorId, key: &Path) -> Result<Self, ClientError> {
        let key = IdentityKey::load(key)?;
        Self::new(ClientConfig::load(config)?, operator, key)
    }

    /// The same client, giving `reason` with everything it asks for. What is critical needs one.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// The operator it acts as.
    pub fn operator(&self) -> &OperatorId {
        &self.operator
    }

    /// What it knows of the hub.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Has `command` carried out. Where the hub wants a grant, verifies the grant it issues and
    /// presents it. A command that was held earlier, and has its approvals now, is asked for the same
    /// way again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn run(&self, command: Command) -> Result<Reply, ClientError> {
        match self.ask(&command, None).await? {
            Answer::Granted(grant) => {
                self.check_grant(&grant, &command)?;
                self.present(&command, grant.grant).await
            }
            Answer::Done(done) => Ok(Reply::Done(done)),
            Answer::Held(held) => self.check_held(held, &command).map(Reply::Held),
        }
    }

    /// Presents a grant that `command` got earlier.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn present(&self, command: &Command, grant: GrantId) -> Result<Reply, ClientError> {
        match self.ask(command, Some(grant)).await? {
            Answer::Done(done) => Ok(Reply::Done(done)),
            Answer::Held(held) => self.check_held(held, command).map(Reply::Held),
            Answer::Granted(_) => Err(ClientError::Protocol("a grant was answered by another grant".to_owned())),
        }
    }

    /// Exports the log for an auditor into `out`.
    ///
    /// # Errors
    /// [`ClientError`]; what was written until then is no bundle.
    pub async fn export<W: AsyncWrite + Unpin>(&self, out: &mut W) -> Result<ExportReply, ClientError> {
        let command = Command::ExportAudit;
        let mut grant = None;
        for _ in 0..2 {
            let response = self.post(&command, grant).await?;
            if is_bundle(&response) {
                return copy_body(response, out).await.map(ExportReply::Exported);
            }
            match answer_of(response).await? {
                Answer::Granted(view) => {
                    self.check_grant(&view, &command)?;
                    grant = Some(view.grant);
                }
                Answer::Held(held) => return self.check_held(held, &command).map(ExportReply::Held),
                Answer::Done(_) => break,
            }
        }
        Err(ClientError::Protocol("the export has no content".to_owned()))
    }

    /// The newest checkpoint, with its signatures verified.
    ///
    /// # Errors
    /// [`ClientError::BadCheckpoint`] where a signature does not hold, and others.
    pub async fn checkpoint(&self) -> Result<SignedCheckpoint, ClientError> {
        let response = self.send(Method::GET, routes::CHECKPOINT, Bytes::new()).await?;
        let status = response.status();
        let body = collect(response, NOTE_LEN).await?;
        if status != StatusCode::OK {
            return Err(refusal(&body));
        }
        self.policy.open(&body, &verify_note).map_err(|error| ClientError::BadCheckpoint(error.to_string()))
    }

    async fn ask(&self, command: &Command, grant: Option<GrantId>) -> Result<Answer, ClientError> {
        answer_of(self.post(command, grant).await?).await
    }

    async fn post(&self, command: &Command, grant: Option<GrantId>) -> Result<Response<Incoming>, ClientError> {
        let nonce = Hash::new(self.entropy.array::<32>()?);
        let request = Request {
            boundary: self.config.boundary.clone(),
            operator: self.operator.clone(),
            nonce,
            at: now(),
            grant,
            command: command.clone(),
            reason: self.reason.clone(),
        };
        let signed = request::sign(&self.key, request)?;
        self.send(Method::POST, routes::REQUESTS, Bytes::from(cbor::to_vec(&signed))).await
    }

    /// Verifies a grant as what it is: an entry of the log.
    fn check_grant(&self, grant: &GrantView, command: &Command) -> Result<(), ClientError> {
        let bad = |reason: String| ClientError::BadGrant(reason);
        let entry = hex::decode(&grant.entry).map_err(|error| bad(error.to_string()))?;
        let proof = TlogProof::parse(grant.proof.as_bytes()).map_err(|error| bad(error.to_string()))?;
        let (entry, _) = proof
            .verify_entry::<kernel::Body, _>(&entry, &self.policy, &verify_note)
            .map_err(|error| bad(error.to_string()))?;
        let digest = request::digest(&self.config.boundary, &self.operator, command);
        let held = entry.body.records.iter().any(|record| {
            matches!(record, Record::Granted { grant: id, operator, digest: of, expires }
                if *id == grant.grant && *operator == self.operator && *of == digest && *expires == grant.expires)
        });
        if held { Ok(()) } else { Err(bad("it is not for this operator and this command".to_owned())) }
    }

    /// What waits is what was asked for, in digest and in words.
    fn check_held(&self, held: HeldView, command: &Command) -> Result<HeldView, ClientError> {
        let digest = request::digest(&self.config.boundary, &self.operator, command);
        let same = held.digest == digest && held.summary == kernel::access::of_command(command);
        if same { Ok(held) } else { Err(ClientError::BadHeld) }
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let mut slot = self.connection.lock().await;
        let mut kept = slot.take();
        // A connection the hub has closed in the meantime is replaced before anything is sent.
        if let Some(old) = &mut kept
            && old.ready().await.is_err()
        {
            kept = None;
        }
        let mut sender = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.config.address)
            .header(header::CONTENT_TYPE, routes::CBOR)
            .body(Full::new(body))
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        let response = timeout(PATIENCE, sender.send_request(request))
            .await
            .map_err(|_| self.unreachable("no answer in time"))?
            .map_err(|error| self.unreachable(error))?;
        *slot = Some(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let address = &self.config.address;
        let stream = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .map_err(|_| self.unreachable("no connection in time"))?
            .map_err(|error| self.unreachable(error))?;
        stream.set_nodelay(true).map_err(|error| self.unreachable(error))?;
        let name = ServerName::try_from(tls::SERVER_NAME).map_err(|error| ClientError::Protocol(error.to_string()))?;
        let stream = timeout(PATIENCE, self.tls.connect(name, stream))
            .await
            .map_err(|_| self.unreachable("no handshake in time"))?
            .map_err(|error| ClientError::NotTheHub { address: address.clone(), reason: error.to_string() })?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the hub ended");
            }
        });
        Ok(sender)
    }

    fn unreachable(&self, reason: impl std::fmt::Display) -> ClientError {
        ClientError::Unreachable { address: self.config.address.clone(), reason: reason.to_string() }
    }
}

fn is_bundle(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    response.status() == StatusCode::OK && kind == Some(routes::BUNDLE.as_bytes())
}

async fn collect(response: Response<Incoming>, limit: usize) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), limit).collect();
    let body = timeout(PATIENCE, body).await.map_err(|_| ClientError::Protocol("the answer stalled".to_owned()))?;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| ClientError::Protocol(error.to_string()))
}

async fn answer_of(response: Response<Incoming>) -> Result<Answer, ClientError> {
    let status = response.status();
    let body = collect(response, ANSWER_LEN).await?;
    if !status.is_success() {
        return Err(refusal(&body));
    }
    serde_json::from_slice(&body).map_err(|error| ClientError::Protocol(error.to_string()))
}

fn refusal(body: &[u8]) -> ClientError {
    match serde_json::from_slice(body) {
        Ok(body) => ClientError::Refused(body),
        Err(error) => ClientError::Protocol(error.to_string()),
    }
}

async fn copy_body<W>(response: Response<Incoming>, out: &mut W) -> Result<Exported, ClientError>
where
    W: AsyncWrite + Unpin,
{
    let entry = response.headers().get(routes::ENTRY_HEADER);
    let entry = entry.and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = response.into_body();
    let mut bytes = 0;
    loop {
        let frame = timeout(PATIENCE, body.frame())
            .await
            .map_err(|_| ClientError::Protocol("the export stalled".to_owned()))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| ClientError::Protocol(error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            out.write_all(data).await.map_err(ClientError::Write)?;
            bytes += data.len() as u64;
        }
    }
    out.flush().await.map_err(ClientError::Write)?;
    Ok(Exported { bytes, entry })
}
