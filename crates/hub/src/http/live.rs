//! The boundary at a glance for tools, as it changes: a line of JSON a change, an empty line where
//! there is none. One signed request opens it.

use std::time::Duration;

use api::{ErrorBody, ErrorCode, routes};
use bytes::Bytes;
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;
use types::OperatorId;

use super::body::{Reply, respond};
use super::router::App;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);

impl App {
    /// Streams the status to `operator` for as long as its credential lasts.
    pub(super) fn live(&self, operator: &OperatorId) -> Result<Response<Reply>, ErrorBody> {
        let place = self.console.place().ok_or(ErrorCode::TooMany)?;
        let (lines, stream) = mpsc::channel(1);
        let (handle, operator, public) = (self.handle.clone(), operator.clone(), self.public.clone());
        tokio::spawn(async move {
            let _place = place;
            let mut last = Bytes::new();
            while let Ok(Some(scene)) = handle.scene().await
                && scene.is_for(&operator)
                && let Some(line) = scene.line(public.as_deref())
            {
                let next = if line == last { Bytes::from_static(b"\n") } else { line.clone() };
                if lines.send(Ok(next)).await.is_err() {
                    return;
                }
                last = line;
                tokio::time::sleep(EVERY).await;
            }
        });
        Ok(respond(StatusCode::OK, routes::LINES, Reply::Stream(stream)))
    }
}
