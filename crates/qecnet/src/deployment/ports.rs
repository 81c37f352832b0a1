//! Free ports of this machine's loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::bail;
use crypto::Entropy;

/// Ports below those the system gives to outgoing connections, so that a part that starts again
/// finds its port free.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// `count` different free ports. All are held at once while they are drawn, so none comes twice.
pub(crate) fn free(count: usize, entropy: &Entropy) -> anyhow::Result<Vec<SocketAddr>> {
    let start = u16::from_be_bytes(entropy.array()?) % COUNT;
    let candidates = (0..COUNT).map(|step| FIRST + (start + step) % COUNT);
    let held: Vec<TcpListener> =
        candidates.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).take(count).collect();
    if held.len() < count {
        bail!("only {} of {count} ports are free between {FIRST} and {}", held.len(), FIRST + COUNT);
    }
    held.iter().map(|listener| Ok(listener.local_addr()?)).collect()
}
