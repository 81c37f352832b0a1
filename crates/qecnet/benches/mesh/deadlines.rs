//! Each deadline of SM-08, from the signal to the last acknowledgement, with whole nodes.
//!
//! Signals arrive as two operators' signed requests over HTTPS, of which the second counts; a credential's as the hub's own detectors
//! report it. Time counts from just before the signal is sent. It ends, for keys and isolation, when
//! the last node's acknowledgement reaches the log; for routes, when the last listener of the
//! segment refuses connections; for a credential, when the hub refuses its holder.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use api::{Client, Reply};
use hub::system_time;
use kernel::State;
use kernel::event::{Command, Event};
use kernel::record::RecoveryStep;
use types::mesh::{ForwardSpec, NodeState, SignalKind, Subject};
use types::{Millis, NodeId, OperatorId, Timestamp};

use crate::deployment::{EXPENDABLE, Mesh, all_other, done, free_address, in_use, numbers};
use crate::figures::{self, Samples, millis};
use crate::log;

const LOOK: Duration = Duration::from_millis(10);

pub(crate) async fn run(nodes: usize, samples: usize) {
    let mesh = Mesh::start(nodes, Millis::from_secs(300), true).await;
    mesh.until_staged(nodes).await;
    println!("\n{nodes} whole nodes, {} pairs", nodes * (nodes - 1) / 2);
    let floor = figures::floor(mesh.path());
    let bench = Bench { operator: mesh.client("op1"), second: mesh.client("op2"), mesh, nodes };
    figures::head();
    let (mut rotated, mut purged) = (Samples::default(), Samples::default());
    for _ in 0..samples {
        bench.compromised_key(&mut rotated, &mut purged).await;
    }
    figures::line("a  a key is compromised: every pair has another", &rotated, 200.0, floor);
    figures::line("   … and that key is erased at its holders", &purged, 500.0, floor);
    let mut isolated = Samples::default();
    for at in 0..samples {
        isolated.add(bench.compromised_node(at).await);
    }
    figures::line("b  a node is cut off by all others", &isolated, 500.0, floor);
    let mut rerouted = Samples::default();
    for at in 0..samples {
        rerouted.add(bench.lateral_movement(at).await);
    }
    figures::line("c  every route of its segment is gone", &rerouted, 300.0, floor);
    let mut revoked = Samples::default();
    for at in 0..samples.min(EXPENDABLE) {
        revoked.add(bench.unauthorized_access(at).await);
    }
    figures::line("d  a credential is refused", &revoked, 100.0, floor);
    bench.mesh.hub.stop().await;
}

struct Bench {
    mesh: Mesh,
    operator: Client,
    second: Client,
    nodes: usize,
}

fn since(start: Timestamp, end: Timestamp) -> f64 {
    end.since(start).get() as f64
}

impl Bench {
    fn node(&self, at: usize) -> NodeId {
        format!("n{}", 1 + at % self.nodes).parse().unwrap()
    }

    /// One person's word, which confirms nothing.
    async fn suspect(&self, subject: Subject, kind: SignalKind) {
        done(&self.operator, Command::Signal { subject, kind }).await;
    }

    /// That of a second, which confirms it.
    async fn confirm(&self, subject: Subject, kind: SignalKind) {
        done(&self.second, Command::Signal { subject, kind }).await;
    }

    /// SM-08a: one pair's key is known to an adversary; the whole mesh rotates from what is in reserve.
    async fn compromised_key(&self, rotated: &mut Samples, purged: &mut Samples) {
        let before = self.mesh.look(in_use).await;
        let size = log::size(&self.mesh).await;
        let victim = before[0].1;
        self.suspect(Subject::Key(victim), SignalKind::KeyCompromise).await;
        let start = system_time();
        self.confirm(Subject::Key(victim), SignalKind::KeyCompromise).await;
        let rotated_all = move |state: &State| state.key(victim).is_none() && all_other(&before, &in_use(state));
        self.mesh.until("every pair has another key", LOOK, rotated_all).await;
        let now = numbers(self.mesh.look(in_use).await);
        let stretch = log::read(&self.mesh, size).await;
        rotated.add(since(start, stretch.last_use(|key| now.binary_search(&key).is_ok()).unwrap()));
        purged.add(since(start, stretch.last_purge().unwrap()));
        self.mesh.until_staged(self.nodes).await;
    }

    /// SM-08b: a node is found compromised; then two people bring it back.
    async fn compromised_node(&self, at: usize) -> f64 {
        let fallen = self.node(at);
        self.cool_down(at).await;
        let (size, earlier) = (log::size(&self.mesh).await, self.incidents().await);
        self.suspect(Subject::Node(fallen.clone()), SignalKind::NodeCompromise).await;
        let start = system_time();
        self.confirm(Subject::Node(fallen.clone()), SignalKind::NodeCompromise).await;
        self.recovered(&fallen, earlier).await;
        let end = log::read(&self.mesh, size).await.last_isolation(&fallen).unwrap();
        self.restore(&fallen).await;
        since(start, end)
    }

    /// SM-08c: forwards lead from every other node to the one that an adversary moves through.
    async fn lateral_movement(&self, at: usize) -> f64 {
        let fallen = self.node(at);
        self.cool_down(at).await;
        let earlier = self.incidents().await;
        let mut listeners: Vec<SocketAddr> = Vec::new();
        for other in (0..self.nodes).map(|at| self.node(at)).filter(|node| *node != fallen) {
            let listen = free_address();
            listeners.push(listen);
            let (listen, connect) = (listen.to_string(), "127.0.0.1:9".to_owned());
            done(
                &self.operator,
                Command::AddForward { spec: ForwardSpec { node: other, listen, to: fallen.clone(), connect } },
            )
            .await;
        }
        for listener in &listeners {
            while TcpStream::connect(listener).is_err() {
                tokio::time::sleep(LOOK).await;
            }
        }
        let watch = tokio::task::spawn_blocking(move || {
            while listeners.iter().any(|listener| TcpStream::connect(listener).is_ok()) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Instant::now()
        });
        self.suspect(Subject::Node(fallen.clone()), SignalKind::LateralMovement).await;
        let start = Instant::now();
        self.confirm(Subject::Node(fallen.clone()), SignalKind::LateralMovement).await;
        let end = watch.await.unwrap();
        self.recovered(&fallen, earlier).await;
        self.restore(&fallen).await;
        millis(end - start)
    }

    /// SM-08d: the hub's detectors confirm a pattern; its holder goes on asking until refused.
    async fn unauthorized_access(&self, at: usize) -> f64 {
        let operator: OperatorId = format!("x{at}").parse().unwrap();
        let holder = self.mesh.client(operator.as_str());
        let read = || Command::Read { what: "status".to_owned() };
        done(&holder, read()).await;
        let signal = Event::Detected {
            subject: Subject::Operator(operator),
            kind: SignalKind::UnauthorizedAccess,
            confidence_ppm: 1_000_000,
        };
        let start = Instant::now();
        self.mesh.hub.handle().report(signal).await.unwrap();
        while let Ok(Reply::Done(_)) = holder.run(read()).await {}
        millis(start.elapsed())
    }

    /// Each node has its turn; the same signal about it counts again after ten seconds.
    async fn cool_down(&self, at: usize) {
        if at > 0 && at.is_multiple_of(self.nodes) {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }

    async fn incidents(&self) -> usize {
        self.mesh.look(|state| state.incidents().len()).await
    }

    /// Waits until the incident about `fallen` that came after `earlier` others is recovered from.
    async fn recovered(&self, fallen: &NodeId, earlier: usize) {
        let fallen = fallen.clone();
        self.mesh
            .until("the recovery is complete", LOOK, move |state| {
                let mut new = state.incidents().values().skip(earlier);
                new.any(|one| {
                    one.subject == Subject::Node(fallen.clone())
                        && one.recovery.steps.contains_key(&RecoveryStep::Report)
                })
            })
            .await;
    }

    async fn restore(&self, node: &NodeId) {
        let restore = Command::RestoreNode { node: node.clone() };
        let Reply::Held(held) = self.operator.run(restore.clone()).await.unwrap() else { panic!("not held") };
        done(&self.second, Command::Approve { request: held.request, digest: held.digest }).await;
        done(&self.operator, restore).await;
        let back = node.clone();
        self.mesh
            .until("the node is back", LOOK, move |state| {
                state.node(&back).is_some_and(|node| node.state == NodeState::Online)
            })
            .await;
        self.mesh.until_staged(self.nodes).await;
    }
}
