//! S8: a crowd at a listener keeps out only itself.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adversary::{Deployment, Outsider};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::view::answered;

/// Connections that one attacker keeps open at a time: more than a listener has places for.
const HELD: usize = 1_500;

/// Someone who connects as fast as it can, says nothing or little, and stays.
struct Crowd {
    task: JoinHandle<()>,
    opened: Arc<AtomicU64>,
}

impl Crowd {
    fn at(outsider: Outsider, to: SocketAddr, half: bool) -> Self {
        let opened = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&opened);
        let task = tokio::spawn(async move {
            let mut held: VecDeque<TcpStream> = VecDeque::new();
            loop {
                let connected = if half { outsider.half_handshake(to).await } else { outsider.connect(to).await };
                if let Ok(stream) = connected {
                    count.fetch_add(1, Ordering::Relaxed);
                    held.push_back(stream);
                }
                if held.len() >= HELD {
                    held.pop_front();
                }
            }
        });
        Self { task, opened }
    }

    async fn opened(&self, most: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.opened.load(Ordering::Relaxed) < most {
            assert!(Instant::now() < deadline, "the crowd is too slow to matter");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Nodes: 3,500 connects a second of one address, and no honest handshake came through.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s8_a_crowd_at_one_address_keeps_no_node_out() {
    let deployment = Deployment::new(1);
    let hub = deployment.start().await;
    let node = deployment.hostile_node(1);
    let crowds =
        [Crowd::at(Outsider::at(2), hub.mesh_address(), false), Crowd::at(Outsider::at(3), hub.mesh_address(), true)];
    for crowd in &crowds {
        crowd.opened(HELD as u64).await;
    }
    for _ in 0..5 {
        let before: u64 = crowds.iter().map(|crowd| crowd.opened.load(Ordering::Relaxed)).sum();
        let start = Instant::now();
        let connected = node.connect().await.unwrap();
        let during: u64 = crowds.iter().map(|crowd| crowd.opened.load(Ordering::Relaxed)).sum();
        println!("two handshakes in {:?}, while {} connections came", start.elapsed(), during - before);
        drop(connected);
    }
    hub.stop().await;
}

/// Operators: two addresses filled every place.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s8_a_crowd_at_two_addresses_keeps_no_operator_out() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let operator = deployment.hostile_operator(&hub, "op1");
    let to = hub.http_address();
    let crowds = [Crowd::at(Outsider::at(2), to, false), Crowd::at(Outsider::at(3), to, true)];
    for crowd in &crowds {
        crowd.opened(HELD as u64).await;
    }
    for _ in 0..5 {
        println!("answered in {:?}", answered(&operator).await);
    }
    drop(crowds);
    // and those who do finish TLS, and then stay, hold no more than is left
    let mut stayed = Vec::new();
    for last in [4, 5, 6, 7] {
        for _ in 0..300 {
            stayed.extend(Outsider::at(last).tls(to, deployment.created.http_pin).await);
        }
    }
    assert!(stayed.len() > 1_000, "{}", stayed.len());
    answered(&operator).await;
    hub.stop().await;
}
