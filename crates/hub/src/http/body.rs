//! Bodies of responses: whole, or streamed through a bounded channel.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::{HeaderMap, Response, StatusCode, header};
use serde::Serialize;
use tokio::sync::mpsc;

use api::{ErrorBody, ErrorCode};

/// The body of a response.
pub(crate) enum Reply {
    /// All at once.
    Whole(Option<Bytes>),
    /// As it comes; an error breaks the connection off, so that a cut body is not taken for a whole one.
    Stream(mpsc::Receiver<std::io::Result<Bytes>>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(chunks) => chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(_) => hyper::body::SizeHint::default(),
        }
    }
}

/// What every response says to browsers: nothing of ours is framed, sniffed, cached or told on.
fn guard_headers(headers: &mut HeaderMap) {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000"),
        (header::CONTENT_SECURITY_POLICY, super::CONTENT_SECURITY_POLICY),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(header::HeaderValue::from_static(value));
    }
}

/// A response with these parts.
pub(crate) fn respond(status: StatusCode, kind: &'static str, body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    guard_headers(response.headers_mut());
    response
}

/// Text or bytes that are there already.
pub(crate) fn whole(kind: &'static str, body: impl Into<Bytes>) -> Response<Reply> {
    respond(StatusCode::OK, kind, Reply::Whole(Some(body.into())))
}

/// A JSON value.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Reply> {
    match serde_json::to_vec(value) {
        Ok(body) => respond(status, "application/json", Reply::Whole(Some(body.into()))),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            failure(ErrorCode::Internal)
        }
    }
}

/// A failed request.
pub(crate) fn failure(error: impl Into<ErrorBody>) -> Response<Reply> {
    let error = error.into();
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&error).unwrap_or_default();
    let mut response = respond(status, "application/json", Reply::Whole(Some(body.into())));
    if matches!(error.code, ErrorCode::TooMany | ErrorCode::Unavailable | ErrorCode::StorageFull) {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}
