//! A seeded flood: every actor at once, each saying anything at any bound, in an order that its seed decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use kernel::event::{Command, NodeSpec, SignedRequest};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use session::Channel;
use session::mesh::{KeyUse, KmeAsk, KmeFrame, NodeMessage, Receipt};
use tokio::io::AsyncWriteExt;
use types::limits::{NODE_MESSAGE_LEN, REQUEST_BODY_LEN};
use types::mesh::{ForwardSpec, Function, KeyPath, LinkFigures, LinkReport, SaeRole, SignalKind, Subject};
use types::sae::{Handout, KmeSpec, SaeId, SaeSpec};
use types::{ForwardId, Hash, IncidentId, KeyId, LinkId, Millis, NodeId, RequestId, Timestamp, cbor};

use crate::{Connected, HostileNode, HostileOperator, Outsider};

/// Longest one thing may take: the hub reads who owes it more slowly, and that is no failure.
const PATIENCE: Duration = Duration::from_millis(300);

/// Chance, from a seed.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The same seed and actor give the same sequence.
    pub fn new(seed: u64, actor: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(actor);
        Self(rng)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound.max(1) as u64) as usize
    }

    fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    /// How many of something: often none, one, the most or one more.
    fn count(&mut self, most: usize) -> usize {
        match self.below(6) {
            0 => 0,
            1 => 1,
            2 => most,
            3 => most + 1,
            _ => self.below(most + 1),
        }
    }

    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => u64::MAX,
            2 => self.0.next_u64(),
            _ => self.below(300) as u64,
        }
    }

    fn text(&mut self, most: usize) -> String {
        ["x", "\u{1d538}", "\u{0}"][self.below(3)].repeat(self.count(most) / 4)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.count(most)];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    fn hash(&mut self) -> Hash {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        Hash::new(bytes)
    }

    fn node(&mut self) -> NodeId {
        match self.below(8) {
            0 => NodeId::hub(),
            1 => "nobody".parse().unwrap(),
            at => format!("n{at}").parse().unwrap(),
        }
    }

    fn key(&mut self) -> KeyId {
        KeyId::new(self.number())
    }

    fn sae(&mut self) -> SaeId {
        format!("s{}", self.below(200)).parse().unwrap()
    }

    fn subject(&mut self) -> Subject {
        match self.below(4) {
            0 => Subject::Node(self.node()),
            1 => Subject::Key(self.key()),
            2 => Subject::Operator(["plain", "auditor", "who"][self.below(3)].parse().unwrap()),
            _ => LinkId::new(self.node(), self.node()).map_or_else(|| Subject::Node(NodeId::hub()), Subject::Link),
        }
    }

    fn kind(&mut self) -> SignalKind {
        SignalKind::ALL[self.below(SignalKind::ALL.len())]
    }

    fn handout(&mut self) -> Handout {
        let mut handout = Handout {
            role: SaeRole::Master,
            master: self.sae(),
            slaves: (0..self.count(65)).map(|at| format!("{at:0>64}").parse().unwrap()).collect(),
            size: 256,
            path: KeyPath::Kem,
            requests: 0,
            keys: 0,
            since: Timestamp::from_millis(self.number()),
            digest: Hash::ZERO,
            named: vec![],
            exchange: types::mesh::Exchange::Classical,
        };
        let evidence: Vec<Hash> = (0..self.count(64)).map(|_| self.hash()).collect();
        handout.add(&evidence);
        handout
    }

    fn report(&mut self) -> Option<LinkReport> {
        Some(LinkReport {
            link: LinkId::new(self.node(), format!("a{}", self.below(1 << 20)).parse().unwrap())?,
            qber_ppm: self.number() as u32,
            qber_upper_ppm: 0,
            secret_bps: self.number() as u32,
            sifted_bps: 0,
            pool_bits: self.number(),
            blocks: self.number(),
            discarded: 0,
            usable: self.one_in(2),
            figures: LinkFigures::default(),
        })
    }

    /// Any message of a node.
    pub fn node_message(&mut self) -> NodeMessage {
        let keys = |dice: &mut Self| (0..dice.count(3_000)).map(|_| dice.key()).collect::<Vec<_>>();
        match self.below(13) {
            0 => NodeMessage::Prekey(self.bytes(3_000)),
            1 => {
                let receipt = |dice: &mut Self| Receipt { key: dice.key(), commitment: dice.hash(), mixed: None };
                NodeMessage::Receipts((0..self.count(3_000)).map(|_| receipt(self)).collect())
            }
            2 => NodeMessage::Failed { keys: keys(self), reason: self.text(4_000) },
            3 => NodeMessage::Activated(keys(self)),
            4 => NodeMessage::Purged(keys(self)),
            5 => NodeMessage::Isolated { node: self.node(), epoch: self.number() },
            6 => NodeMessage::Links((0..self.count(2_000)).filter_map(|_| self.report()).collect()),
            7 => {
                let used = |dice: &mut Self| KeyUse {
                    key: dice.key(),
                    frames: dice.number(),
                    bytes: dice.number(),
                    failures: dice.below(3) as u64,
                };
                NodeMessage::Use((0..self.count(5_000)).map(|_| used(self)).collect())
            }
            8 => NodeMessage::Signal { subject: self.subject(), kind: self.kind() },
            9 => NodeMessage::ForwardFailed { id: ForwardId::new(self.number()), reason: self.text(4_000) },
            10 => NodeMessage::KmeUp(KmeSpec { url: self.text(300), authority: self.text(9_000) }),
            11 => NodeMessage::HandedOut {
                number: self.number(),
                handouts: (0..self.count(9)).map(|_| self.handout()).collect(),
                gap: None,
            },
            _ => NodeMessage::Kme(KmeFrame::Ask(KmeAsk {
                number: self.number(),
                from: self.node(),
                to: self.node(),
                pad: None,
                text: self.bytes(20_000),
                tag: self.bytes(16),
            })),
        }
    }

    /// Any command of an operator. Nothing that policy would carry out on this word alone cuts off what is honest.
    pub fn command(&mut self) -> Command {
        match self.below(10) {
            0 => Command::Read { what: self.text(12_000) },
            1 => Command::Read { what: ["status", "keys", "links", "nodes"][self.below(4)].to_owned() },
            2 => Command::AdmitNode {
                node: NodeSpec { id: self.node(), function: Function::Grid, identity: self.hash() },
                links: (0..self.count(180)).filter_map(|_| LinkId::new(self.node(), self.node())).collect(),
            },
            3 => Command::ReviewIncident { incident: IncidentId::new(self.number()), note: self.text(60_000) },
            4 => Command::Signal { subject: self.subject(), kind: self.kind() },
            5 => Command::AddForward {
                spec: ForwardSpec {
                    node: self.node(),
                    listen: self.text(8_000),
                    to: self.node(),
                    connect: self.text(8_000),
                },
            },
            6 => Command::Approve { request: RequestId::new(self.number()), digest: self.hash() },
            7 => Command::AddSae {
                spec: SaeSpec {
                    id: self.sae(),
                    node: self.node(),
                    fingerprint: self.hash(),
                    slaves: Some((0..self.count(200)).map(|at| format!("{at:0>64}").parse().unwrap()).collect()),
                    quota_bps: Some(self.number()),
                    groups: types::mesh::Groups::Preferred,
                },
            },
            8 => Command::OpenConsole,
            _ => Command::ExportAudit,
        }
    }
}

/// A hostile node floods: `turns` messages, on whatever sessions it can get.
pub async fn node_floods(node: &HostileNode, mut dice: Dice, turns: usize) {
    let mut connected: Option<Connected> = None;
    for _ in 0..turns {
        let Some(sessions) = &mut connected else {
            connected = node.connect().await.ok();
            continue;
        };
        let channel = if dice.one_in(4) { Channel::Urgent } else { Channel::Bulk };
        let bytes = match dice.below(20) {
            0 => vec![0; NODE_MESSAGE_LEN + dice.below(NODE_MESSAGE_LEN)],
            1 => dice.bytes(10_000),
            2 => {
                let mut bytes = cbor::to_vec(&dice.node_message());
                bytes.truncate(dice.below(bytes.len() + 1));
                bytes
            }
            _ => cbor::to_vec(&dice.node_message()),
        };
        let sent = tokio::time::timeout(PATIENCE, sessions.say_bytes(channel, &bytes)).await;
        while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(1), sessions.hear()).await {}
        if matches!(sent, Ok(Err(_))) || dice.one_in(40) {
            connected = None;
        }
    }
}

/// A hostile operator floods: `turns` requests of now, of another time, made before, or none at all.
pub async fn operator_floods(operator: &HostileOperator, mut dice: Dice, turns: usize) {
    let mut made: Vec<SignedRequest> = Vec::new();
    for _ in 0..turns {
        let work = async {
            match dice.below(6) {
                0 if !made.is_empty() => drop(operator.send(&made[dice.below(made.len())]).await),
                1 => {
                    let at = hub::system_time() - Millis::new(dice.number());
                    drop(operator.send(&operator.sign_at(dice.command(), at, dice.hash())).await);
                }
                2 => {
                    let path = ["/", "/v1/requests", "/checkpoint", "/tile/0/000", "/console/events"][dice.below(5)];
                    let method = if dice.one_in(2) { Method::POST } else { Method::GET };
                    let body = dice.bytes(REQUEST_BODY_LEN);
                    drop(operator.exchange(method, path, &[("x-any", "1")], body).await);
                }
                _ => {
                    let signed = operator.sign(dice.command());
                    made.push(signed.clone());
                    drop(operator.send(&signed).await);
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, work).await;
    }
}

/// Someone without credentials floods: `turns` connections, whole, half or broken, most of them kept open.
pub async fn outsider_floods(outsider: Outsider, to: [SocketAddr; 2], mut dice: Dice, turns: usize) {
    let mut kept = Vec::new();
    for _ in 0..turns {
        let address = to[dice.below(2)];
        let connected =
            if dice.one_in(2) { outsider.connect(address).await } else { outsider.half_handshake(address).await };
        let Ok(mut stream) = connected else { continue };
        if dice.one_in(3) {
            // the hub may have closed it
            let _ = stream.write_all(&dice.bytes(4_000)).await;
        }
        kept.push(stream);
        if kept.len() > 600 {
            kept.swap_remove(dice.below(600));
        }
    }
}

/// All of them at once, until each has had its turns.
pub async fn flood(
    seed: u64,
    nodes: &[Arc<HostileNode>],
    operator: &Arc<HostileOperator>,
    to: [SocketAddr; 2],
    turns: usize,
) {
    let mut actors = tokio::task::JoinSet::new();
    for (at, node) in nodes.iter().enumerate() {
        let (node, dice) = (Arc::clone(node), Dice::new(seed, at as u64));
        actors.spawn(async move { node_floods(&node, dice, turns).await });
    }
    for stream in 100..102 {
        let (operator, dice) = (Arc::clone(operator), Dice::new(seed, stream));
        actors.spawn(async move { operator_floods(&operator, dice, turns).await });
    }
    for stream in 200..202 {
        let (outsider, dice) = (Outsider::at((stream - 150) as u8), Dice::new(seed, stream));
        actors.spawn(async move { outsider_floods(outsider, to, dice, 4 * turns).await });
    }
    actors.join_all().await;
}
