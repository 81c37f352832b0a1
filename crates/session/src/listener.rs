//! Accepts sessions, so that no peer, slow or hostile, stalls another.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use guard::{Slot, Slots};

use crate::endpoint::Endpoint;
use crate::error::HandshakeError;
use crate::link::Session;

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most handshakes at once. Beyond it the youngest of the address that has most of them is dropped, those
    /// first that have not finished TLS.
    pub handshakes: usize,
    /// Arrivals kept until the caller takes them.
    pub arrivals: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handshakes: 256, arrivals: 256 }
    }
}

/// What comes out of a listener.
#[derive(Debug)]
pub enum Arrival {
    /// A session that is up.
    Session(Box<Session>),
    /// A connection that did not become one: a signal, not a failure of the listener.
    Refused {
        /// Where it came from.
        from: SocketAddr,
        /// Why.
        error: HandshakeError,
    },
}

/// A listening socket with its handshakes. Dropping it closes the socket and drops all handshakes;
/// sessions that are up stay.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
    task: AbortHandle,
}

impl Listener {
    /// Listens on `address` (`host:port`; port 0 for any).
    ///
    /// # Errors
    /// The error of the socket, for example a port in use.
    pub async fn bind(endpoint: Endpoint, address: &str, limits: Limits) -> std::io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        let (sender, arrivals) = mpsc::channel(limits.arrivals.max(1));
        let task = tokio::spawn(run(endpoint, socket, limits, sender)).abort_handle();
        Ok(Self { address, arrivals, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next session or refusal; nothing once the listener is closed. Can be dropped and called again.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(endpoint: Endpoint, socket: TcpListener, limits: Limits, arrivals: mpsc::Sender<Arrival>) {
    /// Pause after the system gave no connection, for example for want of file descriptors.
    const PAUSE: Duration = Duration::from_millis(50);
    let places = Slots::new(limits.handshakes.max(1), usize::MAX);
    // dropped with this task, and all handshakes with it
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((tcp, from)) => match places.admit(from.ip()) {
                    Some(place) => {
                        running.spawn(handshake(endpoint.clone(), tcp, from, place, arrivals.clone()));
                    }
                    None => report(&arrivals, from, HandshakeError::Evicted),
                },
                Err(error) => {
                    tracing::warn!(%error, "no connection accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = running.join_next() => {}
        }
    }
}

// A flood of refusals must not push out sessions: they are dropped where nobody takes them.
fn report(arrivals: &mpsc::Sender<Arrival>, from: SocketAddr, error: HandshakeError) {
    tracing::debug!(%from, %error, "session refused");
    if arrivals.capacity() > arrivals.max_capacity() / 2 {
        let _ = arrivals.try_send(Arrival::Refused { from, error });
    }
}

async fn handshake(endpoint: Endpoint, tcp: TcpStream, from: SocketAddr, place: Slot, arrivals: mpsc::Sender<Arrival>) {
    let made = tokio::select! {
        made = endpoint.accept(tcp, || place.finished()) => made,
        () = place.lost() => Err(HandshakeError::Evicted),
    };
    match made {
        Ok(session) => {
            let _ = arrivals.send(Arrival::Session(Box::new(session))).await;
        }
        Err(error) => report(&arrivals, from, error),
    }
}
