//! The listener for SAEs: HTTPS with mutual TLS, HTTP/1.1 (ETSI GS QKD 014 clause 5).
//!
//! One task per connection; a connection that stalls in its handshake, head, body or answer is cut off after its
//! deadline and holds up nobody meanwhile. Who the caller is comes from its certificate and is looked up again
//! when the directory of SAEs changed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use guard::{Patient, Slots};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use types::mesh::Exchange;

use crate::config::Guard;
use crate::directory::{Directory, Identity, Sae};
use crate::kme::Kme;
use crate::wire::{Command, DecRequest, EncRequest, Refusal, Route, container_text};

mod tls;

pub use tls::{ServerTls, TlsError};
pub(crate) use tls::{certificates, file_error, fingerprint, sae_provider};

/// Most bytes of a request's head.
const HEAD_LEN: usize = 16 * 1024;
/// Most header fields.
const FIELDS: usize = 64;

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, tls: Arc<ServerTls>, kme: Arc<Kme>, guard: Guard) {
    let connections = Slots::new(guard.connections, guard.per_address);
    let handshakes = Slots::new(guard.handshakes, guard.handshakes_per_address);
    let guard = Arc::new(guard);
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some((handshake, slot)) = handshakes.admit(from.ip()).zip(connections.admit(from.ip())) else {
            tracing::warn!(%from, "too many connections; this one is dropped");
            continue;
        };
        let (acceptor, kme, guard) = (tls.acceptor(), Arc::clone(&kme), Arc::clone(&guard));
        tokio::spawn(async move {
            // Without it, small answers wait for the caller's acknowledgements.
            let _ = stream.set_nodelay(true);
            let served = async {
                let shaken = tokio::select! {
                    shaken = shake_hands(stream, from, acceptor, &guard) => shaken,
                    () = handshake.lost() => None,
                };
                if let Some((stream, caller)) = shaken {
                    slot.finished();
                    drop(handshake);
                    Connection::run(stream, from, caller, kme, guard).await;
                }
            };
            tokio::select! {
                () = served => {}
                () = slot.lost() => tracing::warn!(%from, "gives way to others; its connection is dropped"),
            }
        });
    }
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

async fn shake_hands(
    stream: TcpStream,
    from: SocketAddr,
    acceptor: tls::Served,
    guard: &Guard,
) -> Option<(TlsStream, Caller)> {
    let stream = match timeout(guard.handshake.into(), acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%from, %error, "no tls");
            return None;
        }
        Err(_) => {
            tracing::debug!(%from, "no tls in time");
            return None;
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let identity = certificate.and_then(|certificate| tls::identity(certificate));
    let exchange = tls::exchange(stream.get_ref().1);
    identity.map(|identity| (stream, Caller { identity, exchange }))
}

/// Who came, and how the connection agreed on its keys.
struct Caller {
    identity: Identity,
    exchange: Exchange,
}

/// The caller as the directory had it when it was last looked up.
struct Known {
    directory: Arc<Directory>,
    sae: Option<Arc<Sae>>,
}

struct Connection {
    kme: Arc<Kme>,
    guard: Arc<Guard>,
    from: Caller,
    known: Mutex<Known>,
}

/// One of a SAE's connections; given back when dropped.
struct Counted(Arc<Sae>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.disconnect();
    }
}

impl Connection {
    async fn run(stream: TlsStream, from: SocketAddr, caller: Caller, kme: Arc<Kme>, guard: Arc<Guard>) {
        let directory = kme.directory();
        let sae = directory.identify(&caller.identity);
        let counted = match &sae {
            Some(sae) if !sae.connect(guard.per_sae) => {
                return tracing::warn!(%from, sae = %sae.id, "too many connections of this SAE; this one is dropped");
            }
            Some(sae) => Some(Counted(Arc::clone(sae))),
            None => None,
        };
        let mut stream = Patient::new(stream, guard.write.into());
        let head = guard.head.into();
        let this = Arc::new(Self { kme, guard, from: caller, known: Mutex::new(Known { directory, sae }) });
        let service = service_fn(move |request| {
            let this = Arc::clone(&this);
            async move { Ok::<_, Infallible>(this.answer(request).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Some(head))
            .max_buf_size(HEAD_LEN)
            .max_headers(FIELDS)
            .half_close(false)
            .serve_connection(TokioIo::new(&mut stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%from, %error, "a connection ended");
        }
        guard::linger(&mut stream).await;
        drop(counted);
    }

    fn caller(&self) -> Result<Arc<Sae>, Refusal> {
        let directory = self.kme.directory();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&directory, &known.directory) {
            let sae = directory.identify(&self.from.identity);
            *known = Known { directory, sae };
        }
        let sae = known.sae.clone().ok_or(Refusal::UnknownCaller)?;
        if sae.groups.allow(self.from.exchange) { Ok(sae) } else { Err(Refusal::ClassicalExchange) }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.carry_out(request).await {
            Ok(body) => json(StatusCode::OK, body),
            Err(refusal) => {
                let body = serde_json::to_vec(&refusal.body()).unwrap_or_default();
                json(refusal.status(), Bytes::from(body))
            }
        }
    }

    async fn carry_out(&self, request: Request<Incoming>) -> Result<Bytes, Refusal> {
        let caller = self.caller()?;
        let route = Route::of(request.method(), request.uri().path())?;
        let limits = self.kme.limits();
        match route.command {
            Command::Status => {
                let status = self.kme.status(&caller, &route.sae)?;
                Ok(Bytes::from(serde_json::to_vec(&status).unwrap_or_default()))
            }
            Command::EncKeys => {
                let wanted = if route.by_post {
                    EncRequest::from_body(&self.body(request).await?, limits)?
                } else {
                    EncRequest::from_query(request.uri().query(), limits)?
                };
                let keys = self.kme.enc_keys(&caller, self.from.exchange, &route.sae, &wanted).await?;
                Ok(Bytes::from_owner(container_text(&keys)))
            }
            Command::DecKeys => {
                let wanted = if route.by_post {
                    DecRequest::from_body(&self.body(request).await?, limits)?
                } else {
                    DecRequest::from_query(request.uri().query(), limits)?
                };
                let keys = self.kme.dec_keys(&caller, self.from.exchange, &route.sae, &wanted).await?;
                Ok(Bytes::from_owner(container_text(&keys)))
            }
        }
    }

    async fn body(&self, request: Request<Incoming>) -> Result<Bytes, Refusal> {
        let most = self.guard.body_len;
        let collected = timeout(self.guard.body.into(), Limited::new(request.into_body(), most).collect()).await;
        match collected {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(Refusal::Malformed(format!("the body cannot be read: {error}"))),
            Err(_) => Err(Refusal::Malformed("the body did not come in time".to_owned())),
        }
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
