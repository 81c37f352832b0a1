//! The boundary at a glance, as it changes.

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use kernel::event::Command;
use tokio::time::timeout;

use super::{ANSWER_LEN, Client, ClientError, PATIENCE, answer_of};
use crate::view::{STATUS_LIVE, StatusView};

/// A stream of [`StatusView`]s, opened by one signed request: the log has one entry of it however long
/// it is watched. Ends with the operator's credential or the hub.
pub struct LiveStatus {
    body: Incoming,
    read: BytesMut,
}

impl std::fmt::Debug for LiveStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LiveStatus")
    }
}

impl Client {
    /// Watches the boundary. The client's connection serves nothing else while it lasts.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn watch(&self) -> Result<LiveStatus, ClientError> {
        let response = self.post(&Command::Read { what: STATUS_LIVE.to_owned() }, None).await?;
        if response.status() == StatusCode::OK {
            return Ok(LiveStatus::new(response));
        }
        answer_of(response).await?;
        Err(ClientError::Protocol("the hub does not let its status be watched".to_owned()))
    }
}

impl LiveStatus {
    fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), read: BytesMut::new() }
    }

    /// The next change; `None` at the end. Nothing is lost where the future is dropped.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] where the hub falls silent or what it says is no status.
    pub async fn next(&mut self) -> Result<Option<StatusView>, ClientError> {
        let protocol = |error: &dyn std::fmt::Display| ClientError::Protocol(error.to_string());
        loop {
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end);
                self.read.advance(1);
                // An empty line says that nothing changed.
                if !line.is_empty() {
                    return serde_json::from_slice(&line).map(Some).map_err(|error| protocol(&error));
                }
            }
            if self.read.len() > ANSWER_LEN {
                return Err(protocol(&"a status that does not end"));
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.map_err(|_| protocol(&"the hub fell silent"))?;
            let Some(frame) = frame else { return Ok(None) };
            if let Some(data) = frame.map_err(|error| protocol(&error))?.data_ref() {
                self.read.extend_from_slice(data);
            }
        }
    }
}
