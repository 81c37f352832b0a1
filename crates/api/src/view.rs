//! What operators see. Field names are relied on by scripts: they change only with the version of
//! the contract.

use std::collections::BTreeMap;

use kernel::record::{Principal, RecoveryStep, Response};
pub use kernel::view::{Attention, QuarantineBrief};
use serde::{Deserialize, Serialize};
use types::mesh::{
    Delivery, ForwardSpec, Function, KeyState, KeyType, LinkAlarm, LinkFigures, NodeState, Protocol, Severity,
    SignalKind, Subject,
};
use types::sae::{KmeSpec, SaeSpec};
use types::{BoundaryId, ForwardId, Hash, IncidentId, KeyId, NodeId, OperatorId, RequestId, Timestamp};

/// The word in a read command that is answered by a stream of [`StatusView`]s.
pub const STATUS_LIVE: &str = "status-live";

/// The word in a read command for the first entry of the log with its proof.
pub const FOUNDING: &str = "founding";

/// What [`kernel::event::Command::Read`] names, besides [`FOUNDING`] and [`STATUS_LIVE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// [`StatusView`].
    Status,
    /// [`NodeView`]s.
    Nodes,
    /// [`KeyView`]s.
    Keys,
    /// [`LinkView`]s.
    Links,
    /// [`IncidentView`]s.
    Incidents,
    /// [`ApprovalView`]s.
    Approvals,
    /// [`ForwardView`]s.
    Forwards,
    /// [`SaeView`]s.
    Saes,
    /// [`OperatorView`]s.
    Operators,
}

impl Topic {
    /// Every topic.
    pub const ALL: &'static [Self] = &[
        Self::Status,
        Self::Nodes,
        Self::Keys,
        Self::Links,
        Self::Incidents,
        Self::Approvals,
        Self::Forwards,
        Self::Saes,
        Self::Operators,
    ];

    /// The word in a read command.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Nodes => "nodes",
            Self::Keys => "keys",
            Self::Links => "links",
            Self::Incidents => "incidents",
            Self::Approvals => "approvals",
            Self::Forwards => "forwards",
            Self::Saes => "saes",
            Self::Operators => "operators",
        }
    }

    /// The topic of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|topic| topic.as_str() == word)
    }
}

/// One topic's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// The boundary at a glance.
    Status(Box<StatusView>),
    /// All nodes.
    Nodes(Vec<NodeView>),
    /// All keys that are not long destroyed.
    Keys(Vec<KeyView>),
    /// All quantum links.
    Links(Vec<LinkView>),
    /// All incidents.
    Incidents(Vec<IncidentView>),
    /// All held requests.
    Approvals(Vec<ApprovalView>),
    /// All forwards.
    Forwards(Vec<ForwardView>),
    /// All applications that may have keys.
    Saes(Vec<SaeView>),
    /// All operators.
    Operators(Vec<OperatorView>),
}

/// The boundary at a glance (`qecnet status`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The boundary.
    pub boundary: BoundaryId,
    /// The end of its log.
    pub log: LogView,
    /// Its nodes.
    pub nodes: Vec<NodeBrief>,
    /// Its quantum links.
    pub links: Vec<LinkBrief>,
    /// Its keys, counted.
    pub keys: KeyCounts,
    /// Its incidents, counted.
    pub incidents: IncidentCounts,
    /// What waits for people.
    pub attention: Attention,
    /// Whether responses wait for approval (SM-09).
    pub assisted: bool,
    /// Where checkpoint, tiles, health and `security.txt` are for everyone, as a URL; absent where nowhere.
    #[serde(default)]
    pub public: Option<String>,
}

/// The end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogView {
    /// Number of entries.
    pub size: u64,
    /// Root of the Merkle tree (RFC 6962) over them.
    pub root: Hash,
}

/// A node in a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBrief {
    /// The name.
    pub id: NodeId,
    /// What it is for.
    pub function: Function,
    /// Where it stands.
    pub state: NodeState,
}

/// A quantum link in a status. Measured values are absent until the first report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkBrief {
    /// The smaller name; `hub` is the hub.
    pub a: NodeId,
    /// The larger name.
    pub b: NodeId,
    /// Error rate of the last block, 0 to 1.
    pub qber: Option<f64>,
    /// Upper confidence bound of it.
    pub qber_upper: Option<f64>,
    /// Secret bits per second.
    pub secret_bps: u32,
    /// Secret bits in store at both ends.
    pub pool_bits: u64,
    /// What a delivery over it uses now.
    pub delivery: Delivery,
}

/// How many keys there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCounts {
    /// By state; states without keys are absent.
    pub by_state: BTreeMap<KeyState, u64>,
    /// By type, keys that are not destroyed; types without keys are absent.
    pub by_type: BTreeMap<KeyType, u64>,
}

/// How many incidents there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentCounts {
    /// Neither settled nor reviewed.
    pub open: u64,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// The name.
    pub id: NodeId,
    /// What it is for.
    pub function: Function,
    /// Where it stands.
    pub state: NodeState,
    /// Fingerprint of its identity.
    pub identity: Hash,
    /// Since when it is in this state.
    pub since: Option<Timestamp>,
    /// Other nodes it shares an ACTIVE pair key with.
    pub keyed: Vec<NodeId>,
    /// Where it gives keys to applications, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kme: Option<KmeSpec>,
}

/// An application that may have keys (SAE).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaeView {
    /// What was added.
    #[serde(flatten)]
    pub spec: SaeSpec,
    /// When.
    pub since: Timestamp,
    /// Where it is served, while it is: its node has a KME and is not isolated.
    pub url: Option<String>,
    /// Keys it was given as a master.
    pub keys_as_master: u64,
    /// Keys it was given as a slave.
    pub keys_as_slave: u64,
    /// When it was last accounted to have been given any.
    pub last: Option<Timestamp>,
}

/// A key. Never its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Its number.
    pub id: KeyId,
    /// Its kind.
    #[serde(rename = "type")]
    pub key_type: KeyType,
    /// Its state; absent while it is wanted and not yet made.
    pub state: Option<KeyState>,
    /// Who holds it.
    pub participants: Vec<NodeId>,
    /// Who proved to hold it.
    pub confirmed: Vec<NodeId>,
    /// Its salted commitment, once proved.
    pub commitment: Option<Hash>,
    /// What protected each delivery.
    pub deliveries: BTreeMap<NodeId, Delivery>,
    /// What protected the pair's own part.
    pub mixed: Option<Delivery>,
    /// When it came into its state.
    pub since: Timestamp,
    /// Frames sealed and opened with it (KM-05).
    pub frames: u64,
    /// Bytes sealed and opened with it.
    pub bytes: u64,
    /// Frames that did not verify.
    pub failures: u64,
}

/// A quantum link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkView {
    /// As in a status.
    #[serde(flatten)]
    pub brief: LinkBrief,
    /// Sifted bits per second.
    pub sifted_bps: u32,
    /// Blocks that became key.
    pub blocks: u64,
    /// Blocks discarded.
    pub discarded: u64,
    /// Whether its bits may be used.
    pub usable: bool,
    /// How its key is made and what that takes.
    #[serde(flatten)]
    pub detail: LinkDetail,
    /// When it was last measured.
    pub measured: Option<Timestamp>,
    /// Recent measurements, oldest first.
    #[serde(default)]
    pub history: Vec<LinkSample>,
}

/// What a link's last block showed, and what its keys have cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkDetail {
    /// How its key is made.
    pub protocol: Option<Protocol>,
    /// What says that it is attacked.
    pub alarm: Option<LinkAlarm>,
    /// Loss of the fibre in decibels, as its clicks show it.
    pub loss_db: Option<f64>,
    /// S of the CHSH test, of entangled links.
    pub s: Option<f64>,
    /// Lower confidence bound of S.
    pub s_lower: Option<f64>,
    /// Lower bound of the part of the key's events that are single photons, of weak pulses.
    pub single_share: Option<f64>,
    /// Bits that reconciliation disclosed, in both directions, over the Shannon limit.
    pub efficiency: Option<f64>,
    /// Pulses sent for 1,000 secret bits.
    pub pulses_per_kbit: Option<u64>,
    /// Bits disclosed for 1,000 secret bits.
    pub leaked_per_kbit: Option<u64>,
    /// Probability that any of its keys since it came up is not as claimed.
    pub epsilon: Option<f64>,
    /// Secret bits since it came up.
    pub secret_bits: u64,
}

impl From<&LinkFigures> for LinkDetail {
    fn from(figures: &LinkFigures) -> Self {
        let some = |value: u64| Some(value).filter(|&value| value > 0);
        let milli = |value: u32| some(value.into()).map(|value| value as f64 / 1e3);
        Self {
            protocol: figures.protocol,
            alarm: figures.alarm,
            loss_db: milli(figures.loss_mdb),
            s: milli(figures.s_milli),
            s_lower: milli(figures.s_lower_milli).or(milli(figures.s_milli).map(|_| 0.0)),
            single_share: some(figures.single_ppm.into()).map(|_| fraction(figures.single_ppm)),
            efficiency: milli(figures.efficiency_milli),
            pulses_per_kbit: some(figures.pulses_per_kbit),
            leaked_per_kbit: some(figures.leaked_per_kbit),
            epsilon: some(figures.epsilon_atto).map(|atto| atto as f64 * 1e-18),
            secret_bits: figures.secret_bits,
        }
    }
}

/// One measurement of a link.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LinkSample {
    /// When.
    pub at: Timestamp,
    /// Error rate, 0 to 1.
    pub qber: f64,
    /// S, of entangled links.
    #[serde(default)]
    pub s: Option<f64>,
    /// Secret bits per second.
    pub secret_bps: u32,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Its number.
    pub id: IncidentId,
    /// What it is about.
    pub subject: Subject,
    /// What was noticed first.
    pub kind: SignalKind,
    /// Its class.
    pub severity: Severity,
    /// When it began.
    pub opened: Timestamp,
    /// Whether it is neither settled nor reviewed.
    pub open: bool,
    /// Whether the cause went away by itself.
    pub settled: bool,
    /// Recovery steps done (KM-13).
    pub recovery: Vec<RecoveryStep>,
    /// What the engine did.
    pub responses: Vec<Response>,
    /// Who reviewed it, and the finding.
    pub review: Option<ReviewView>,
}

/// A review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewView {
    /// By whom.
    pub by: OperatorId,
    /// The finding.
    pub note: String,
}

/// A held request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// The request.
    pub request: RequestId,
    /// Who asked.
    pub by: Principal,
    /// What was asked for.
    pub summary: String,
    /// Digest that approvals name.
    pub digest: Hash,
    /// Approvals needed besides the asker.
    pub needed: u32,
    /// The group the approvers must be in.
    pub group: String,
    /// Who approved so far.
    pub approved: Vec<OperatorId>,
    /// When it ends by itself.
    pub expires: Timestamp,
    /// Whether it still waits. With all its approvals, its asker asks again and is given a grant.
    pub open: bool,
    /// The request as its asker signed it: hex digits of its canonical bytes. What is approved is read from
    /// these, and from nothing else ([`crate::held::check`]).
    pub asked: Option<String>,
    /// The response of the engine, where the engine asked, and its incident.
    pub response: Option<(IncidentId, Response)>,
    /// Policies that permit it under these approvals.
    pub policies: Vec<String>,
    /// Who else may approve.
    pub approvers: Vec<OperatorId>,
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorView {
    /// The name.
    pub id: OperatorId,
    /// Groups the operator is in.
    pub groups: Vec<String>,
    /// Fingerprint of its identity.
    pub identity: Hash,
    /// When its key ends.
    pub expires: Timestamp,
    /// Whether its key ends soon, or has ended.
    pub ending: bool,
    /// Whether it may act: neither revoked nor expired.
    pub active: bool,
}

/// A forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardView {
    /// Its number.
    pub id: ForwardId,
    /// What it does.
    #[serde(flatten)]
    pub spec: ForwardSpec,
}

/// Parts per million as a fraction.
pub fn fraction(ppm: u32) -> f64 {
    f64::from(ppm) / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::{Attention, IncidentCounts, KeyCounts, LinkBrief, LogView, NodeBrief, StatusView, Topic, fraction};
    use types::mesh::{Delivery, Function, KeyState, KeyType, NodeState};
    use types::{Hash, NodeId};

    /// The exact shape that scripts rely on (`status --json`).
    #[test]
    fn a_status_has_the_agreed_members() {
        let n1: NodeId = "n1".parse().unwrap();
        let status = StatusView {
            boundary: "site".parse().unwrap(),
            log: LogView { size: 3, root: Hash::ZERO },
            nodes: vec![NodeBrief { id: n1.clone(), function: Function::Grid, state: NodeState::Online }],
            links: vec![LinkBrief {
                a: NodeId::hub(),
                b: n1,
                qber: Some(fraction(31_000)),
                qber_upper: None,
                secret_bps: 2_000,
                pool_bits: 9,
                delivery: Delivery::QkdKem,
            }],
            keys: KeyCounts { by_state: [(KeyState::Active, 4)].into(), by_type: [(KeyType::MeshSession, 4)].into() },
            incidents: IncidentCounts { open: 1 },
            attention: Attention { reviews_owed: 2, ..Attention::default() },
            assisted: false,
            public: Some("https://127.0.0.1:8442".to_owned()),
        };
        let expected = serde_json::json!({
            "boundary": "site",
            "log": {"size": 3, "root": Hash::ZERO.to_string()},
            "nodes": [{"id": "n1", "function": "grid", "state": "ONLINE"}],
            "links": [{"a": "hub", "b": "n1", "qber": 0.031, "qber_upper": null, "secret_bps": 2000,
                       "pool_bits": 9, "delivery": "qkd+kem"}],
            "keys": {"by_state": {"ACTIVE": 4}, "by_type": {"MESH_SESSION": 4}},
            "incidents": {"open": 1},
            "attention": {"isolated": [], "quarantined": [], "reviews_owed": 2, "approvals_waiting": 0},
            "assisted": false,
            "public": "https://127.0.0.1:8442",
        });
        assert_eq!(serde_json::to_value(&status).unwrap(), expected);
        assert_eq!(serde_json::from_value::<StatusView>(expected).unwrap(), status);
    }

    #[test]
    fn topics_are_their_words() {
        assert!(Topic::ALL.iter().all(|topic| Topic::parse(topic.as_str()) == Some(*topic)));
        assert_eq!(Topic::parse("Status"), None);
    }
}
