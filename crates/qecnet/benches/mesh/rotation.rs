//! Convergence of a whole mesh's rotation (KM-10, KM-11, KM-12): from the order, or the moment a key
//! is due, until the last node uses the last new key. Light nodes, keys delivered by hybrid KEM.
//!
//! Times are those of the log's entries, so they hold for whoever reads the log.

use std::time::{Duration, Instant};

use kernel::State;
use kernel::event::Command;
use kernel::state::keys::Slot;
use types::mesh::KeyType;
use types::{KeyId, Millis, Timestamp};

use crate::deployment::{Mesh, all_other, by_two, done, in_use, numbers};
use crate::figures;
use crate::log::{self, Stretch};

const SCHEDULED_MS: f64 = 5_000.0;
const TRIGGERED_MS: f64 = 2_000.0;
const REVOCATION_MS: f64 = 500.0;
const REKEY_MS: f64 = 3_000.0;

pub(crate) async fn run(nodes: usize) {
    // Long enough that nothing is due before the scheduled part.
    let refresh = Millis::from_secs(match nodes {
        0..=10 => 15,
        11..=60 => 60,
        _ => 300,
    });
    let start = Instant::now();
    let mesh = Mesh::start(nodes, refresh, false).await;
    println!(
        "\n{nodes} light nodes, {} pairs: connected in {:.1} s",
        nodes * (nodes - 1) / 2,
        start.elapsed().as_secs_f64()
    );
    let floor = figures::floor(mesh.path());
    let start = Instant::now();
    mesh.until_staged(nodes).await;
    println!("every pair has a key in use and one in reserve after {:.1} s more", start.elapsed().as_secs_f64());
    memory(&mesh).await;
    println!("{:<34} {:>9} {:>9} {:>8} {:>8} {:>12}", "", "ms", "limit ms", "ratio", "floor x", "log B/pair");
    let bench = Bench { mesh, nodes, floor };
    bench.triggered().await;
    bench.emergency().await;
    bench.scheduled(refresh).await;
    bench.mesh.hub.stop().await;
}

struct Bench {
    mesh: Mesh,
    nodes: usize,
    floor: f64,
}

impl Bench {
    fn line(&self, what: &str, took: f64, limit: f64, stretch: Option<&Stretch>) {
        let pairs = self.nodes * (self.nodes - 1) / 2;
        let bytes = stretch.map_or(String::new(), |stretch| (stretch.bytes / pairs).to_string());
        println!("{what:<34} {took:9.0} {limit:9.0} {:8.3} {:8.0} {bytes:>12}", took / limit, took / self.floor);
    }

    /// The keys in use once every pair uses another than `before`.
    async fn rotated(&self, what: &str, before: Vec<(Slot, KeyId)>) -> Vec<KeyId> {
        let every = Duration::from_millis(if self.nodes > 20 { 250 } else { 10 });
        self.mesh.until(what, every, move |state| all_other(&before, &in_use(state))).await;
        numbers(self.mesh.look(in_use).await)
    }

    /// KM-11: an operator orders it; nothing is revoked, traffic moves over.
    async fn triggered(&self) {
        let before = self.mesh.look(in_use).await;
        let size = log::size(&self.mesh).await;
        let operator = self.mesh.client("op1");
        done(&operator, Command::RotateKeys { key_type: Some(KeyType::MeshSession), emergency: false }).await;
        let now = self.rotated("the triggered rotation converged", before).await;
        self.mesh.until_staged(self.nodes).await;
        let stretch = log::read(&self.mesh, size).await;
        let took = since(stretch.ordered().unwrap(), stretch.last_use(|key| now.binary_search(&key).is_ok()).unwrap());
        self.line("triggered", took, TRIGGERED_MS, Some(&stretch));
    }

    /// KM-12: everything in use is revoked first, then the reserve comes into use.
    async fn emergency(&self) {
        let before = self.mesh.look(in_use).await;
        let size = log::size(&self.mesh).await;
        let operator = self.mesh.client("op1");
        let rotate = Command::RotateKeys { key_type: Some(KeyType::MeshSession), emergency: true };
        by_two(&operator, &self.mesh.client("op2"), rotate).await;
        let now = self.rotated("the emergency rotation converged", before).await;
        self.mesh.until_staged(self.nodes).await;
        let stretch = log::read(&self.mesh, size).await;
        let ordered = stretch.ordered().unwrap();
        if std::env::var_os("BENCH_TRACE").is_some() {
            stretch.trace(ordered);
        }
        self.line("emergency: revoked and erased", since(ordered, stretch.last_purge().unwrap()), REVOCATION_MS, None);
        let took = since(ordered, stretch.last_use(|key| now.binary_search(&key).is_ok()).unwrap());
        self.line("emergency: all keyed anew", took, REKEY_MS, Some(&stretch));
    }

    /// KM-10: keys had their time. All came into use together, so all are due together: the worst case.
    async fn scheduled(&self, refresh: Millis) {
        let before = self.mesh.look(in_use).await;
        let size = log::size(&self.mesh).await;
        let due = self.mesh.look(move |state| first_due(state, refresh)).await.unwrap();
        let now = self.rotated("the scheduled rotation converged", before).await;
        let stretch = log::read(&self.mesh, size).await;
        let took = since(due, stretch.last_use(|key| now.binary_search(&key).is_ok()).unwrap());
        self.line("scheduled, from the first one due", took, SCHEDULED_MS, Some(&stretch));
    }
}

fn first_due(state: &State, refresh: Millis) -> Option<Timestamp> {
    let pairs = state.slots().keys().filter(|slot| slot.key_type() == KeyType::MeshSession);
    pairs.filter_map(|slot| Some(state.current(slot)?.1.since + refresh)).min()
}

fn since(start: Timestamp, end: Timestamp) -> f64 {
    end.since(start).get() as f64
}

/// What the state takes: its canonical encoding, and what copies of it add to this process.
async fn memory(mesh: &Mesh) {
    const COPIES: usize = 4;
    let state = mesh.look(State::clone).await;
    let before = resident();
    let copies = vec![state.clone(); COPIES];
    let each = resident().saturating_sub(before) / COPIES;
    let keys = copies.iter().map(|state| state.keys().len()).max().unwrap();
    println!("state: {keys} keys, {} B encoded, about {each} B in memory", state.encode().len());
}

/// Resident memory of this process, in bytes (proc(5), `statm`).
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
