//! The operators' listener: the API, the console and the public log, over TLS 1.3.
//!
//! Every bound is per connection or per request, so that one slow or greedy caller costs itself and
//! nobody else: connections in all and per address, the handshake, the headers, the body, and the
//! time a response may wait to be taken.

mod body;
mod gate;
mod live;
mod public;
mod public_log;
mod requests;
mod router;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use guard::{Caller, Patient, Slot, Slots};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub(crate) use body::{Reply, respond};
pub(crate) use gate::Gate;
pub(crate) use public::serve as serve_public;
pub(crate) use public_log::LogReader;
pub(crate) use router::App;

/// Most connections at a time.
const CONNECTIONS: usize = 1_024;
/// Most connections of one address at a time.
const CONNECTIONS_PER_ADDRESS: usize = 768;
/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest wait for the headers of a request, and for the next request of a kept connection.
const HEADERS: Duration = Duration::from_secs(15);
/// Longest wait for a caller to take what was written to it.
const WRITE: Duration = Duration::from_secs(30);
/// Most bytes of headers.
const HEADER_LEN: usize = 16 * 1024;
/// Most header fields.
const HEADER_FIELDS: usize = 64;

/// Nothing but our own two files, no inline script, no framing.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The listener's TLS, which changes when its certificate is renewed.
pub(crate) struct Tls(RwLock<Arc<ServerConfig>>);

impl Tls {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        Self(RwLock::new(config))
    }

    pub(crate) fn renew(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Serves until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<Tls>, app: Arc<App>) {
    let connections = Slots::new(CONNECTIONS, CONNECTIONS_PER_ADDRESS);
    loop {
        match listener.accept().await {
            Ok((stream, from)) => match connections.admit(from.ip()) {
                Some(slot) => {
                    let (acceptor, app) = (tls.acceptor(), Arc::clone(&app));
                    tokio::spawn(async move {
                        tokio::select! {
                            () = connection(stream, from, acceptor, app, &slot) => {}
                            () = slot.lost() => tracing::warn!(%from, "gives way to others; its connection is dropped"),
                        }
                    });
                }
                None => tracing::warn!(%from, "too many connections; this one is dropped"),
            },
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, from: SocketAddr, acceptor: TlsAcceptor, app: Arc<App>, slot: &Slot) {
    // Without it, small answers wait for the caller's acknowledgements; with a socket that refuses
    // the option they only come later.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%from, %error, "no tls"),
        Err(_) => return tracing::debug!(%from, "no tls in time"),
    };
    slot.finished();
    let caller = Caller::from(from.ip());
    let service = service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(app.answer(request, caller).await) }
    });
    let mut stream = Patient::new(stream, WRITE);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_LEN)
        .max_headers(HEADER_FIELDS)
        .half_close(false)
        .serve_connection(TokioIo::new(&mut stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%from, %error, "a connection ended");
    }
    guard::linger(&mut stream).await;
}
