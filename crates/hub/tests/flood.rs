//! A live hub under a seeded flood of everything at every bound, and what holds all the while.
//!
//! 100 seeds here; as many as `QECNET_FLOOD_SEEDS` says in a long run, from `QECNET_FLOOD_FROM` on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adversary::{Deployment, HostileNode, HostileOperator, Running, flood, replay, start};
use hub::Hub;
use kernel::event::Command;
use kernel::record::Principal;
use types::NodeId;
use types::mesh::{SignalKind, Subject};

/// Seeds of one hub; then another is begun.
const PER_HUB: u64 = 10;
/// What each actor does in one seed.
const TURNS: usize = 12;
/// Longest an honest operator waits for its answer, both cores being busy with the flood itself.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest until a revocation that was ordered in the flood is carried out and durable.
const REVOCATION: Duration = Duration::from_secs(20);
/// Most memory that one hub's floods may add for good, attackers and their buffers in the same process included.
const MEMORY: u64 = 192 << 20;
/// Most bytes of log that one node brings about: at once, and a second on top (see `hub/src/mesh/sources.rs`). On two
/// kinds of sessions 2 MiB and 32 KiB/s, each byte charged as message and as event, an entry at most three times a
/// large event; and 1,000 events and 50 a second, an entry at most 1 KiB for a small one.
const LOG_AT_ONCE: u64 = 8 << 20;
const LOG_PER_SECOND: u64 = 200 << 10;

struct Site {
    deployment: Deployment,
    hub: Hub,
    honest: HostileOperator,
    second: HostileOperator,
    hostile: Vec<Arc<HostileNode>>,
    plain: Arc<HostileOperator>,
    running: Vec<Running>,
    acknowledged: BTreeSet<u64>,
    began: Instant,
    memory: u64,
}

impl Site {
    /// Two hostile nodes, and one for each seed to be cut off; two of those run as they ship.
    async fn new() -> Self {
        let deployment = Deployment::new(2 + PER_HUB as usize);
        let hub = deployment.start().await;
        let honest = deployment.hostile_operator(&hub, "op1");
        let second = deployment.hostile_operator(&hub, "op2");
        let plain = Arc::new(deployment.hostile_operator(&hub, "plain").from(adversary::Outsider::at(3)));
        let hostile = (1..=2).map(|at| Arc::new(deployment.hostile_node(at))).collect();
        let running = deployment.nodes[2..4].iter().map(start).collect();
        let (acknowledged, began) = (BTreeSet::new(), Instant::now());
        Self { deployment, hub, honest, second, hostile, plain, running, acknowledged, began, memory: resident() }
    }

    /// One honest request, answered in time; what is acknowledged is remembered.
    async fn an_operator_is_answered(&mut self) -> Duration {
        let start = Instant::now();
        let answer = self.honest.ask(Command::Read { what: "status".to_owned() }).await.expect("no answer");
        assert_eq!(answer.status, 200, "an honest operator is answered: {}", String::from_utf8_lossy(&answer.body));
        assert!(start.elapsed() < ANSWER, "an honest operator waited {:?}", start.elapsed());
        self.acknowledged.insert(answer.json()["entry"].as_u64().unwrap());
        start.elapsed()
    }

    async fn a_revocation_is_carried_out(&mut self, fallen: &NodeId) {
        let start = Instant::now();
        for operator in [&self.honest, &self.second] {
            let (subject, kind) = (Subject::Node(fallen.clone()), SignalKind::NodeCompromise);
            let answer = operator.ask(Command::Signal { subject, kind }).await.unwrap();
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            self.acknowledged.insert(answer.json()["entry"].as_u64().unwrap());
        }
        loop {
            let about = fallen.clone();
            if self.hub.handle().look(move |look| look.state.is_isolated(&about)).await.unwrap() {
                return;
            }
            assert!(start.elapsed() < REVOCATION, "{fallen} is not cut off");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn seed(&mut self, seed: u64) {
        let (hostile, plain) = (self.hostile.clone(), Arc::clone(&self.plain));
        let to = [self.hub.http_address(), self.hub.mesh_address()];
        let flood = tokio::spawn(async move { flood::flood(seed, &hostile, &plain, to, TURNS).await });
        self.an_operator_is_answered().await;
        let fallen: NodeId = format!("n{}", 3 + seed % PER_HUB).parse().unwrap();
        self.a_revocation_is_carried_out(&fallen).await;
        while !flood.is_finished() {
            self.an_operator_is_answered().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        flood.await.unwrap();
    }

    /// Reads the log back, replays it and looks at it; then again from disk.
    async fn end(self) {
        let grown = resident().saturating_sub(self.memory);
        assert!(grown < MEMORY, "memory grew by {} MB", grown >> 20);
        let bound = LOG_AT_ONCE + LOG_PER_SECOND * self.began.elapsed().as_secs();
        let client = self.deployment.client(&self.hub, "op2");
        let mut size = 0;
        let mut by_source = std::collections::BTreeMap::<Principal, u64>::new();
        replay(&self.deployment, &client, |entry| {
            size = entry.index + 1;
            *by_source.entry(entry.body.event.source()).or_default() += types::cbor::to_vec(entry).len() as u64;
        })
        .await;
        for node in ["n1", "n2"] {
            let written = by_source.get(&Principal::Node(node.parse().unwrap())).copied().unwrap_or(0);
            assert!(written <= bound, "{node} wrote {written} bytes of log, more than {bound}");
        }
        assert!(self.acknowledged.iter().all(|entry| *entry < size), "what was acknowledged is in the log");
        for node in self.running {
            node.stop().await;
        }
        self.hub.stop().await;
        let hub = self.deployment.start().await;
        let kept = hub.handle().look(|look| look.tree.size()).await.unwrap();
        assert!(kept >= size, "what was acknowledged outlives the hub");
        hub.stop().await;
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |value| value.parse().expect(name))
}

/// S1, S2, S3, S8 together.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_s2_s3_s8_a_flood_of_anything_stops_nobody() {
    let seeds = from_environment("QECNET_FLOOD_SEEDS", 100);
    let first = from_environment("QECNET_FLOOD_FROM", 0);
    let mut site: Option<Site> = None;
    for seed in first..first + seeds {
        let current = match &mut site {
            Some(site) => site,
            None => site.insert(Site::new().await),
        };
        println!("seed {seed}");
        current.seed(seed).await;
        if (seed + 1 - first).is_multiple_of(PER_HUB)
            && let Some(done) = site.take()
        {
            println!("a hub after {PER_HUB} seeds: {:?}", done.began.elapsed());
            done.end().await;
        }
    }
    if let Some(rest) = site {
        rest.end().await;
    }
}
