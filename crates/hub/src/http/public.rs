//! The public port: what everyone may read, for whoever speaks TLS 1.3. Nothing in it is secret and it proves itself,
//! so no credential is asked for and a classical key exchange will do; hybrid is taken where the client has it.
//!
//! A stranger gets little of the hub: a few places for each address, no body, and answers at a pace that leaves the
//! disk and the sequencer to those who have work to do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use guard::{Buckets, Caller, Patient, Rate, Slot, Slots};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use api::{ErrorCode, routes};

use super::Tls;
use super::body::{Reply, failure, whole};
use super::router::App;

/// Most connections at a time.
const CONNECTIONS: usize = 256;
/// Most connections of one address at a time.
const CONNECTIONS_PER_ADDRESS: usize = 16;
/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Longest wait for the headers of a request, and for the next request of a kept connection.
const HEADERS: Duration = Duration::from_secs(5);
/// Longest wait for a caller to take what was written to it.
const WRITE: Duration = Duration::from_secs(10);
/// Longest life of a connection.
const LIFE: Duration = Duration::from_secs(60);
/// Most bytes of headers.
const HEADER_LEN: usize = 8 * 1024;
/// Most header fields.
const HEADER_FIELDS: usize = 32;
/// Answers for one address.
const BY_ADDRESS: Rate = Rate { burst: 256.0, per_second: 32.0 };
/// Addresses remembered at a time.
const MOST: usize = 4_096;
/// Answers that are made at a time.
const AT_A_TIME: usize = 2;
/// Least time that each of them takes: two thousand answers a second in all.
const PACE: Duration = Duration::from_millis(1);

struct Public {
    app: Arc<App>,
    callers: Buckets<Caller>,
    turn: Semaphore,
}

/// Serves until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<Tls>, app: Arc<App>) {
    let connections = Slots::new(CONNECTIONS, CONNECTIONS_PER_ADDRESS);
    let public = Arc::new(Public { app, callers: Buckets::new(BY_ADDRESS, MOST), turn: Semaphore::new(AT_A_TIME) });
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let Some(slot) = connections.admit(from.ip()) else { continue };
                let (acceptor, public) = (tls.acceptor(), Arc::clone(&public));
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection(stream, from, acceptor, public, &slot) => {}
                        () = slot.lost() => {}
                        // What is not done by then is cut off.
                        () = sleep(LIFE) => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no public connection could be accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, from: SocketAddr, acceptor: TlsAcceptor, public: Arc<Public>, slot: &Slot) {
    // Small answers come at once; with a socket that refuses the option they only come later.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        return tracing::debug!(%from, "no tls");
    };
    slot.finished();
    let caller = Caller::from(from.ip());
    let service = service_fn(move |request| {
        let public = Arc::clone(&public);
        async move { Ok::<_, Infallible>(public.answer(&request, caller).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_LEN)
        .max_headers(HEADER_FIELDS)
        .half_close(false)
        .serve_connection(TokioIo::new(Patient::new(stream, WRITE)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%from, %error, "a public connection ended");
    }
}

impl Public {
    async fn answer(&self, request: &Request<Incoming>, caller: Caller) -> Response<Reply> {
        if !self.callers.take(caller, 1.0) {
            return failure(ErrorCode::TooMany);
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return failure(ErrorCode::MethodNotAllowed);
        }
        if !request.body().is_end_stream() {
            return failure(ErrorCode::TooLarge);
        }
        // Never closed; and where it were, nobody would be served.
        let Ok(_turn) = self.turn.acquire().await else { return failure(ErrorCode::Unavailable) };
        let (answer, ()) = tokio::join!(self.find(request.uri().path()), sleep(PACE));
        answer
    }

    async fn find(&self, path: &str) -> Response<Reply> {
        match path {
            routes::CHECKPOINT | routes::CHECKPOINT_V1 => self.app.checkpoint().await,
            routes::HEALTH => self.app.health().await,
            routes::SECURITY_TXT => whole("text/plain; charset=utf-8", self.app.security_text()),
            _ if path.starts_with(routes::TILES) => self.app.tile(path.trim_start_matches('/')).await,
            _ => failure(ErrorCode::NotFound),
        }
    }
}
