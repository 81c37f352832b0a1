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
use crate::sequencer::Look;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);

impl App {
    /// Streams the status to `operator` for as long as its credential lasts.
    pub(super) fn live(&self, operator: &OperatorId) -> Result<Response<Reply>, ErrorBody> {
        let place = self.console.place().ok_or(ErrorCode::TooMany)?;
        let (lines, stream) = mpsc::channel(1);
        let (handle, operator) = (self.handle.clone(), operator.clone());
        tokio::spawn(async move {
            let _place = place;
            let mut last = Bytes::new();
            loop {
                let who = operator.clone();
                let Ok(Some(line)) = handle.look(move |look| line(look, &who)).await else { return };
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

/// The status as a line; `None` where it is not for this operator any more.
fn line(look: &Look<'_>, operator: &OperatorId) -> Option<Bytes> {
    if !look.state.in_good_standing(operator) {
        return None;
    }
    let mut line = serde_json::to_vec(&crate::view::status(look)?).ok()?;
    line.push(b'\n');
    Some(line.into())
}
