//! The simulated fibre between two ends, as a process of its own: neither end can know, except by
//! its error rate, whether somebody listens.
//!
//! The A side fires trains of pulses, the B side gets light; where pulses are prepared late, and where
//! pairs are measured, frames go to and fro at either side. Trains pass at the pulse rate at most; an A
//! side that is faster is held back. Frames that an end does not take are lost light.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crypto::Entropy;
use qkd::{Carried, Fibre, Protocol, Tap};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::draw::{Draw, Failed};
use crate::frame::{SOCKET_BUFFER, read_frame, write_frame};

mod config;
mod control;

pub use config::{FibreConfig, FibreConfigError};

/// Frames that wait for an end before light is lost.
const QUEUE: usize = 8;
/// How long an end may take for one frame.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How far the A side may run ahead of the pulse rate.
const SLACK: Duration = Duration::from_millis(500);
const CONTROL_CONNECTIONS: usize = 16;
const BACKLOG: u32 = 16;

/// The fibre could not start.
#[derive(Debug, thiserror::Error)]
pub enum FibreError {
    /// The description is wrong.
    #[error(transparent)]
    Config(#[from] FibreConfigError),
    /// No entropy for the physics.
    #[error(transparent)]
    Entropy(#[from] crypto::EntropyError),
    /// An address cannot be listened on.
    #[error("cannot listen on `{address}`: {cause}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        cause: io::Error,
    },
}

/// What the control port tells.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FibreStatus {
    /// The end that prepares photons.
    pub a: types::NodeId,
    /// The end that measures them.
    pub b: types::NodeId,
    /// Whether the A side is connected.
    pub a_connected: bool,
    /// Whether the B side is connected.
    pub b_connected: bool,
    /// Photons that left the far end.
    pub carried: u64,
    /// How many of them the eavesdropper had touched.
    pub intercepted: u64,
    /// Frames of light that nobody took.
    pub lost_frames: u64,
    /// Fraction attacked now.
    pub tap: Option<f64>,
    /// How it is attacked.
    pub attack: Option<String>,
    /// How the ends make key.
    pub protocol: Protocol,
}

impl FibreStatus {
    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("error: {error}"))
    }
}

/// Where a bound fibre listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FibreAddresses {
    /// For the A side.
    pub a: std::net::SocketAddr,
    /// For the B side.
    pub b: std::net::SocketAddr,
    /// For the control port.
    pub control: std::net::SocketAddr,
}

struct Optics {
    fibre: Fibre<Draw>,
    /// Frames on their way to each end.
    to_a: Option<mpsc::Sender<Vec<u8>>>,
    to_b: Option<mpsc::Sender<Vec<u8>>>,
    lost_frames: u64,
}

impl Optics {
    fn give(&mut self, carried: Carried) {
        for (frame, end) in [(carried.to_a, &self.to_a), (carried.to_b, &self.to_b)] {
            let Some(frame) = frame else { continue };
            let taken = end.as_ref().is_some_and(|end| end.try_send(frame).is_ok());
            self.lost_frames += u64::from(!taken);
        }
    }
}

/// One of the two ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    A,
    B,
}

struct Shared {
    config: FibreConfig,
    optics: Mutex<Optics>,
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Optics) -> T) -> T {
        act(&mut self.optics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_tap(&self, tap: Option<Tap>) {
        self.with(|optics| optics.fibre.set_tap(tap));
    }

    fn status(&self) -> FibreStatus {
        self.with(|optics| FibreStatus {
            a: self.config.a.clone(),
            b: self.config.b.clone(),
            a_connected: optics.to_a.as_ref().is_some_and(|end| !end.is_closed()),
            b_connected: optics.to_b.as_ref().is_some_and(|end| !end.is_closed()),
            carried: optics.fibre.carried(),
            intercepted: optics.fibre.intercepted(),
            lost_frames: optics.lost_frames,
            tap: optics.fibre.tap().map(|tap| tap.fraction),
            attack: optics.fibre.tap().map(|tap| tap.attack.to_string()),
            protocol: self.config.params.protocol,
        })
    }
}

/// A fibre that listens and does not carry yet.
pub struct BoundFibre {
    shared: Arc<Shared>,
    a: TcpListener,
    b: TcpListener,
    control: TcpListener,
}

impl BoundFibre {
    /// Binds the three ports of `config`.
    pub async fn bind(config: FibreConfig) -> Result<Self, FibreError> {
        config.check()?;
        let entropy = Arc::new(Entropy::system()?);
        let fibre = Fibre::new(&config.link(), Draw::choices(entropy, Failed::default()));
        let (a, b) = (listen(&config.listen_a).await?, listen(&config.listen_b).await?);
        let control = listen(&config.control).await?;
        let optics = Mutex::new(Optics { fibre, to_a: None, to_b: None, lost_frames: 0 });
        Ok(Self { shared: Arc::new(Shared { config, optics }), a, b, control })
    }

    /// The addresses, with real ports where the description had 0.
    pub fn addresses(&self) -> io::Result<FibreAddresses> {
        Ok(FibreAddresses { a: self.a.local_addr()?, b: self.b.local_addr()?, control: self.control.local_addr()? })
    }

    /// Carries light until `shutdown` is ready.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut tasks = JoinSet::new();
        let (mut side_a, mut side_b): (Option<AbortHandle>, Option<AbortHandle>) = (None, None);
        let permits = Arc::new(Semaphore::new(CONTROL_CONNECTIONS));
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                Some(_) = tasks.join_next() => {}
                Ok((stream, _)) = self.a.accept() => {
                    // A peer that comes again is alive; the connection before may not know yet that it is dead.
                    side_a.take().inspect(AbortHandle::abort);
                    side_a = Some(tasks.spawn(serve(stream, End::A, Arc::clone(&self.shared))));
                }
                Ok((stream, _)) = self.b.accept() => {
                    side_b.take().inspect(AbortHandle::abort);
                    side_b = Some(tasks.spawn(serve(stream, End::B, Arc::clone(&self.shared))));
                }
                Ok((stream, _)) = self.control.accept() => {
                    if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
                        let shared = Arc::clone(&self.shared);
                        tasks.spawn(async move {
                            control::serve(stream, shared).await;
                            drop(permit);
                        });
                    }
                }
                // An accept that fails, for want of descriptors say, is tried again, not in a tight loop.
                else => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// Binds and runs the fibre of `config` until `shutdown` is ready.
pub async fn run(config: FibreConfig, shutdown: impl Future<Output = ()>) -> Result<(), FibreError> {
    BoundFibre::bind(config).await?.run(shutdown).await;
    Ok(())
}

async fn listen(address: &str) -> Result<TcpListener, FibreError> {
    let bind = async {
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in lookup_host(address).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.set_send_buffer_size(SOCKET_BUFFER)?;
            socket.set_recv_buffer_size(SOCKET_BUFFER)?;
            match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
                Ok(listener) => return Ok(listener),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    };
    bind.await.map_err(|cause| FibreError::Listen { address: address.to_owned(), cause })
}

/// Carries light from and to one end until its connection breaks or it breaks the rules.
async fn serve(stream: TcpStream, end: End, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (sender, receiver) = mpsc::channel(QUEUE);
    shared.with(|optics| match end {
        End::A => optics.to_a = Some(sender),
        End::B => optics.to_b = Some(sender),
    });
    tokio::select! {
        () = take(reader, end, &shared) => {}
        () = give(writer, receiver) => {}
    }
}

/// Takes frames from an end; trains at the pulse rate at most.
async fn take(mut reader: OwnedReadHalf, end: End, shared: &Shared) {
    let rate = f64::from(shared.config.link().pulse_rate_hz);
    let mut ready = Instant::now();
    let mut frame = Vec::new();
    loop {
        match read_frame(&mut reader, &mut frame).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::warn!(fibre = %name(shared), %error, "an end is dropped"),
        }
        let pulses = if end == End::A { qkd::train_pulses(&frame) } else { None };
        if pulses.is_some() {
            tokio::time::sleep_until(ready).await;
        }
        let carried = shared.with(|optics| {
            let carried = match end {
                End::A => optics.fibre.from_a(&frame),
                End::B => optics.fibre.from_b(&frame),
            };
            carried.map(|carried| optics.give(carried))
        });
        if let Err(error) = carried {
            return tracing::warn!(fibre = %name(shared), %error, "an end is dropped");
        }
        if let Some(pulses) = pulses {
            let span = Duration::from_secs_f64(f64::from(pulses) / rate);
            ready = ready.max(Instant::now().checked_sub(SLACK).unwrap_or(ready)) + span;
        }
    }
}

/// Gives frames to an end.
async fn give(mut writer: OwnedWriteHalf, mut light: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = light.recv().await {
        match tokio::time::timeout(WRITE_LIMIT, write_frame(&mut writer, &frame)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

fn name(shared: &Shared) -> String {
    format!("{}~{}", shared.config.a, shared.config.b)
}
