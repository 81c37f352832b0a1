//! What an attack did, seen from inside the hub.

use std::time::{Duration, Instant};

use adversary::HostileOperator;
use hub::Hub;
use kernel::State;
use kernel::event::{Command, Event};
use types::NodeId;

/// A word a node or operator goes by.
pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// Something of the durable state.
pub(crate) async fn look<T: Send + 'static>(hub: &Hub, look: impl FnOnce(&State) -> T + Send + 'static) -> T {
    hub.handle().look(move |at| look(at.state)).await.unwrap()
}

/// Entries there are.
pub(crate) async fn size(hub: &Hub) -> u64 {
    hub.handle().look(|at| at.tree.size()).await.unwrap()
}

/// The read of a status.
pub(crate) fn status() -> Command {
    Command::Read { what: "status".to_owned() }
}

/// How long an honest operator waited for its answer; the answer must be one.
pub(crate) async fn answered(operator: &HostileOperator) -> Duration {
    let start = Instant::now();
    let answered = operator.ask(status()).await.unwrap();
    assert_eq!(answered.status, 200, "{}", String::from_utf8_lossy(&answered.body));
    start.elapsed()
}

/// Whether `node` is cut off, durably.
pub(crate) async fn is_isolated(hub: &Hub, node: &NodeId) -> bool {
    let node = node.clone();
    look(hub, move |state| state.is_isolated(&node)).await
}

/// Counts of refusals that name this source, and how many of its events they stand for.
pub(crate) fn counted(event: &Event, source: &kernel::record::Principal) -> u64 {
    match event {
        Event::Refusals { source: of, count, .. } if of == source => *count,
        _ => 0,
    }
}

/// Memory of this process in use, in bytes.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}
