//! Which path leads where.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crypto::Entropy;
use guard::Caller;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use tokio::time::timeout;
use types::limits::REQUEST_BODY_LEN;

use api::{ErrorBody, ErrorCode, routes};

use super::body::{Reply, failure, json, respond, whole};
use super::gate::Gate;
use super::public_log::LogReader;
use crate::clock::TimeSource;
use crate::console::Console;
use crate::notice::Notices;
use crate::sequencer::Handle;

/// Longest wait for the body of a request.
const BODY: Duration = Duration::from_secs(10);

/// What the listener serves.
pub(crate) struct App {
    pub(crate) handle: Handle,
    pub(crate) entropy: Arc<Entropy>,
    pub(crate) console: Console,
    pub(crate) log: Arc<LogReader>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) time: TimeSource,
    pub(crate) gate: Gate,
    pub(crate) security_contact: String,
}

/// A path of the listener, and who may call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    /// Signed by an operator.
    Requests,
    /// Public: nothing in it is secret, and it proves itself.
    Checkpoint,
    Tile(&'a str),
    Health,
    SecurityText,
    ConsoleScript,
    ConsoleStyle,
    Root,
    /// With a one-time token.
    ConsoleEnter,
    /// With a session.
    Console,
    ConsoleEvents,
    ConsoleLeave,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            routes::REQUESTS => Self::Requests,
            routes::CHECKPOINT | routes::CHECKPOINT_V1 => Self::Checkpoint,
            routes::HEALTH => Self::Health,
            routes::SECURITY_TXT => Self::SecurityText,
            routes::CONSOLE_SCRIPT => Self::ConsoleScript,
            routes::CONSOLE_STYLE => Self::ConsoleStyle,
            routes::CONSOLE_ENTER => Self::ConsoleEnter,
            routes::CONSOLE => Self::Console,
            routes::CONSOLE_EVENTS => Self::ConsoleEvents,
            routes::CONSOLE_LEAVE => Self::ConsoleLeave,
            "/" => Self::Root,
            _ if path.starts_with(routes::TILES) => Self::Tile(path.trim_start_matches('/')),
            _ => return None,
        })
    }

    fn method(self) -> Method {
        match self {
            Self::Requests | Self::ConsoleLeave => Method::POST,
            _ => Method::GET,
        }
    }
}

impl App {
    /// Answers one request. Every failure has an answer of its own.
    pub(crate) async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Reply> {
        let path = request.uri().path().to_owned();
        let Some(route) = Route::of(&path) else { return failure(ErrorCode::NotFound) };
        if *request.method() != route.method() {
            return failure(ErrorCode::MethodNotAllowed);
        }
        match route {
            // before the body is read: whoever asks too often costs no more than its headers
            Route::Requests if !self.gate.lets_call(caller) => failure(ErrorCode::TooMany),
            Route::Requests => match read_body(request).await {
                Ok(body) => self.request(&body).await,
                Err(error) => failure(error),
            },
            Route::Checkpoint => self.checkpoint().await,
            Route::Tile(path) => self.tile(path).await,
            Route::Health => self.health().await,
            Route::SecurityText => whole("text/plain; charset=utf-8", self.security_text()),
            Route::ConsoleScript => whole("text/javascript; charset=utf-8", crate::console::SCRIPT),
            Route::ConsoleStyle => whole("text/css; charset=utf-8", crate::console::STYLE),
            Route::Root => redirect(routes::CONSOLE, None),
            Route::ConsoleEnter => self.enter(request.uri().query().unwrap_or_default()),
            Route::Console => self.console_page(&request).await,
            Route::ConsoleEvents => self.console_events(&request),
            Route::ConsoleLeave => self.console_leave(&request),
        }
    }

    async fn health(&self) -> Response<Reply> {
        let fault = self.handle.look(|look| look.fault.is_some()).await;
        match fault {
            Ok(false) => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
            _ => failure(ErrorCode::Unavailable),
        }
    }

    fn security_text(&self) -> String {
        // RFC 9116 section 2.5.5 wants a date; a year from now, to the day.
        let expires = crate::console::day((self.time)() + types::Millis::from_days(365));
        format!("Contact: {}\nExpires: {expires}T00:00:00Z\nPreferred-Languages: en\n", self.security_contact)
    }

    fn enter(&self, query: &str) -> Response<Reply> {
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
        match self.console.sign_in.enter(token, &self.entropy, (self.time)()) {
            Ok(Some(session)) => redirect(routes::CONSOLE, Some(&crate::console::set_cookie(&session))),
            Ok(None) => crate::console::signed_out(StatusCode::FORBIDDEN),
            Err(error) => {
                tracing::error!(%error, "no console session can be opened");
                failure(ErrorCode::Unavailable)
            }
        }
    }

    fn cookie<'a>(&self, request: &'a Request<Incoming>) -> Option<&'a str> {
        let cookies = request.headers().get_all(header::COOKIE).iter();
        cookies.filter_map(|value| value.to_str().ok()).find_map(crate::console::cookie_of)
    }

    async fn console_page(&self, request: &Request<Incoming>) -> Response<Reply> {
        let who = self.cookie(request).and_then(|cookie| self.console.sign_in.who(cookie, (self.time)()));
        match who {
            Some(operator) => match self.console.page(&self.handle, &operator).await {
                Ok(page) => whole("text/html; charset=utf-8", page),
                Err(_) => failure(ErrorCode::Unavailable),
            },
            None => crate::console::signed_out(StatusCode::UNAUTHORIZED),
        }
    }

    fn console_events(&self, request: &Request<Incoming>) -> Response<Reply> {
        let now = (self.time)();
        match self.cookie(request).filter(|cookie| self.console.sign_in.who(cookie, now).is_some()) {
            Some(cookie) => {
                let events = self.console.events(self.handle.clone(), cookie.to_owned(), Arc::clone(&self.time));
                match events {
                    Some(events) => respond(StatusCode::OK, "text/event-stream", Reply::Stream(events)),
                    None => failure(ErrorCode::TooMany),
                }
            }
            None => failure(ErrorBody::with_message(ErrorCode::Unauthenticated, "sign in again")),
        }
    }

    /// A form on our own page: `SameSite=Strict` keeps others from sending the cookie with it.
    fn console_leave(&self, request: &Request<Incoming>) -> Response<Reply> {
        if let Some(cookie) = self.cookie(request) {
            self.console.sign_in.leave(cookie);
        }
        redirect(routes::CONSOLE, None)
    }
}

fn redirect(to: &'static str, cookie: Option<&str>) -> Response<Reply> {
    let mut response = respond(StatusCode::SEE_OTHER, "text/plain", Reply::Whole(None));
    response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static(to));
    if let Some(cookie) = cookie.and_then(|cookie| header::HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

async fn read_body(request: Request<Incoming>) -> Result<Bytes, ErrorCode> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > REQUEST_BODY_LEN as u64) {
        return Err(ErrorCode::TooLarge);
    }
    let body = Limited::new(request.into_body(), REQUEST_BODY_LEN).collect();
    match timeout(BODY, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ErrorCode::TooLarge),
        Ok(Err(_)) => Err(ErrorCode::Malformed),
        Err(_) => Err(ErrorCode::Timeout),
    }
}
