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
use crate::console::{BrowserKey, Console, PROOF_HEADER, Proof, SignedIn};
use crate::notice::Notices;
use crate::sequencer::Handle;

/// Longest wait for the body of a request.
const BODY: Duration = Duration::from_secs(10);
/// Longest body of a browser that signs in.
const ENTER_LEN: usize = 1_024;

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
    /// Where the public port is, as a URL.
    pub(crate) public: Option<String>,
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
    ConsoleMorph,
    ConsoleStyle,
    /// Without anything of the boundary in it.
    Console,
    Root,
    /// With a one-time token.
    ConsoleEnter,
    /// With a session: cookie and proof.
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
            routes::CONSOLE_MORPH => Self::ConsoleMorph,
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
            Self::Requests | Self::ConsoleEnter | Self::ConsoleLeave => Method::POST,
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
            Route::Requests | Route::ConsoleEnter | Route::ConsoleEvents | Route::ConsoleLeave
                if !self.gate.lets_call(caller) =>
            {
                failure(ErrorCode::TooMany)
            }
            Route::Requests => match read_body(request, REQUEST_BODY_LEN).await {
                Ok(body) => self.request(&body).await,
                Err(error) => failure(error),
            },
            Route::Checkpoint => self.checkpoint().await,
            Route::Tile(path) => self.tile(path).await,
            Route::Health => self.health().await,
            Route::SecurityText => whole("text/plain; charset=utf-8", self.security_text()),
            Route::ConsoleScript => whole("text/javascript; charset=utf-8", crate::console::SCRIPT),
            Route::ConsoleMorph => whole("text/javascript; charset=utf-8", crate::console::MORPH),
            Route::ConsoleStyle => whole("text/css; charset=utf-8", crate::console::STYLE),
            Route::Console => crate::console::shell(),
            Route::Root => redirect(routes::CONSOLE),
            Route::ConsoleEnter => match self.enter(request).await {
                Ok(cookie) => signed(&cookie),
                Err(error) => failure(error),
            },
            Route::ConsoleEvents => self.console_events(&request),
            Route::ConsoleLeave => self.console_leave(&request).await,
        }
    }

    pub(super) async fn health(&self) -> Response<Reply> {
        let fault = self.handle.look(|look| look.fault.is_some()).await;
        match fault {
            Ok(false) => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
            _ => failure(ErrorCode::Unavailable),
        }
    }

    pub(super) fn security_text(&self) -> String {
        // RFC 9116 section 2.5.5 wants a date; a year from now, to the day.
        let expires = crate::console::day((self.time)() + types::Millis::from_days(365));
        format!("Contact: {}\nExpires: {expires}T00:00:00Z\nPreferred-Languages: en\n", self.security_contact)
    }

    /// Signs a browser in: returns the cookie to set.
    async fn enter(&self, request: Request<Incoming>) -> Result<String, ErrorBody> {
        let proof = proof(&request).ok_or_else(not_signed_in)?;
        let body = read_body(request, ENTER_LEN).await?;
        let asked: Enter = serde_json::from_slice(&body).map_err(|_| ErrorCode::Malformed)?;
        let key = BrowserKey::parse(&asked.key).ok_or(ErrorCode::Malformed)?;
        // What the browser cannot sign with, it is not signed in with.
        if !proof.holds(&key, Method::POST.as_str(), routes::CONSOLE_ENTER) {
            return Err(not_signed_in());
        }
        match self.console.sign_in.enter(&asked.token, key, &self.entropy, (self.time)()).await {
            Ok(Some(session)) => Ok(crate::console::set_cookie(&session)),
            Ok(None) => {
                Err(ErrorBody::with_message(ErrorCode::Denied, "the sign-in link was used or has ended: get another"))
            }
            Err(error) => {
                tracing::error!(%error, "no console session can be opened");
                Err(ErrorCode::Unavailable.into())
            }
        }
    }

    /// The session of a request: its cookie, and the proof that the browser which signed in makes it.
    fn session(&self, request: &Request<Incoming>) -> Option<SignedIn> {
        let cookies = request.headers().get_all(header::COOKIE).iter();
        let cookie = cookies.filter_map(|value| value.to_str().ok()).find_map(crate::console::cookie_of)?;
        let (method, path) = (request.method().as_str(), request.uri().path());
        self.console.sign_in.prove(cookie, &proof(request)?, method, path, (self.time)())
    }

    fn console_events(&self, request: &Request<Incoming>) -> Response<Reply> {
        let Some(session) = self.session(request) else { return failure(not_signed_in()) };
        match self.console.events(self.handle.clone(), session, Arc::clone(&self.time)) {
            Some(lines) => respond(StatusCode::OK, routes::LINES, Reply::Stream(lines)),
            None => failure(ErrorCode::TooMany),
        }
    }

    async fn console_leave(&self, request: &Request<Incoming>) -> Response<Reply> {
        let Some(session) = self.session(request) else { return failure(not_signed_in()) };
        self.console.sign_in.leave(&session).await;
        signed(&crate::console::clear_cookie())
    }
}

/// The body with which a browser signs in.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Enter {
    /// The one-time token of the link.
    token: String,
    /// The public key of the browser's session, base64url.
    key: String,
}

fn proof(request: &Request<Incoming>) -> Option<Proof> {
    Proof::parse(request.headers().get(PROOF_HEADER)?.to_str().ok()?)
}

fn not_signed_in() -> ErrorBody {
    ErrorBody::with_message(ErrorCode::Unauthenticated, "sign in again")
}

fn redirect(to: &'static str) -> Response<Reply> {
    let mut response = respond(StatusCode::SEE_OTHER, "text/plain", Reply::Whole(None));
    response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static(to));
    response
}

/// Nothing but a cookie, set or taken back.
fn signed(cookie: &str) -> Response<Reply> {
    let mut response = respond(StatusCode::NO_CONTENT, "text/plain", Reply::Whole(None));
    if let Ok(cookie) = header::HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

async fn read_body(request: Request<Incoming>, most: usize) -> Result<Bytes, ErrorCode> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > most as u64) {
        return Err(ErrorCode::TooLarge);
    }
    let body = Limited::new(request.into_body(), most).collect();
    match timeout(BODY, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ErrorCode::TooLarge),
        Ok(Err(_)) => Err(ErrorCode::Malformed),
        Err(_) => Err(ErrorCode::Timeout),
    }
}
