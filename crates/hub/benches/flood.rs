//! What a flood costs an honest operator: the time to its answer with and without one, from the same hub.
//!
//! `cargo bench -p hub --bench flood`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a bench prints, and stops where something is wrong

use std::sync::Arc;
use std::time::{Duration, Instant};

use adversary::{Deployment, HostileOperator, Outsider, flood};
use kernel::event::Command;

/// Honest requests measured with the flood, and as many without.
const REQUESTS: usize = 300;
/// The most that the slowest of a hundred answers may take, as a multiple of that without a flood.
const MOST: f64 = 4.0;

async fn ask(operator: &HostileOperator) -> Duration {
    let start = Instant::now();
    let answer = operator.ask(Command::Read { what: "status".to_owned() }).await.unwrap();
    assert_eq!(answer.status, 200);
    start.elapsed()
}

async fn measure(operator: &HostileOperator) -> Vec<Duration> {
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        times.push(ask(operator).await);
        // below what one operator may ask for
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times.sort_unstable();
    times
}

fn percentile(sorted: &[Duration], of: usize) -> f64 {
    sorted[(sorted.len() * of / 100).min(sorted.len() - 1)].as_secs_f64() * 1e3
}

fn main() {
    // as a check that it builds, `cargo test --benches` passes an argument and measures nothing
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let deployment = Deployment::new(3);
        let hub = deployment.start().await;
        let honest = deployment.hostile_operator(&hub, "op1");
        let plain = Arc::new(deployment.hostile_operator(&hub, "plain").from(Outsider::at(3)));
        let nodes: Vec<_> = (1..=2).map(|at| Arc::new(deployment.hostile_node(at))).collect();
        let calm = measure(&honest).await;
        let to = [hub.http_address(), hub.mesh_address()];
        let attack = tokio::spawn(async move {
            for seed in 0.. {
                flood::flood(seed, &nodes, &plain, to, 100).await;
            }
        });
        let flooded = measure(&honest).await;
        attack.abort();
        for (what, times) in [("calm", &calm), ("flooded", &flooded)] {
            println!("{what}: p50 {:.2} ms, p99 {:.2} ms", percentile(times, 50), percentile(times, 99));
        }
        let ratio = percentile(&flooded, 99) / percentile(&calm, 99);
        println!("p99 under the flood is {ratio:.1} times that without it (at most {MOST})");
        hub.stop().await;
    });
}
