//! What can happen to a boundary. The hub authenticates an event before it steps; an event is
//! recorded beside what it led to, so that a replay can step it again.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use types::mesh::{Delivery, ForwardSpec, Function, KeyType, LinkReport, SignalKind, Subject};
use types::sae::{Handout, KmeSpec, SaeSpec};
use types::{
    BoundaryId, ForwardId, GrantId, Hash, IncidentId, KeyId, Label, LinkId, Millis, NodeId, OperatorId, RequestId,
    SaeId, Timestamp,
};

use crate::record::{Principal, Refusal};

/// The first event of a boundary: who may act, under which policy, with which timing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Genesis {
    /// The boundary; also the origin of its checkpoints.
    #[n(0)]
    pub boundary: BoundaryId,
    /// Timing of keys and mesh.
    #[n(1)]
    pub settings: Settings,
    /// The Cedar policies, as text.
    #[n(2)]
    pub policy: String,
    /// The first operators.
    #[n(3)]
    pub operators: Vec<OperatorSpec>,
    /// The founding nodes.
    #[n(4)]
    pub nodes: Vec<NodeSpec>,
    /// The quantum links there are; one end of a link may be the hub.
    #[n(5)]
    pub links: Vec<LinkId>,
    /// Salt of this boundary's commitments, drawn by the hub.
    #[n(6)]
    pub salt: Hash,
    /// Fingerprint of the log's signing keys.
    #[n(7)]
    pub audit_key: Hash,
}

impl Genesis {
    /// Everyone it names, with the fingerprint of the identity it gives them.
    pub fn identities(&self) -> Vec<(Principal, Hash)> {
        let operators = self
            .operators
            .iter()
            .map(|operator| (Principal::Operator(operator.id.clone()), Label::IDENTITY.hash(&[&operator.identity])));
        let nodes = self.nodes.iter().map(|node| (Principal::Node(node.id.clone()), node.identity));
        operators.chain(nodes).collect()
    }
}

/// Timing of keys and mesh.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Settings {
    /// Life of a `MESH_SESSION` key before its rotation (KM-09: 300 s).
    #[n(0)]
    pub refresh: Millis,
    /// How long a replaced key stays valid after its replacement is in use everywhere (KM-06).
    #[n(1)]
    pub overlap: Millis,
    /// How long a retired key is archived (KM-07).
    #[n(2)]
    pub retention: Millis,
    /// Life of the `SOVEREIGN_MASTER` key (KM-14: 24 h).
    #[n(3)]
    pub master_life: Millis,
    /// Life of a `NODE_IDENTITY` key (KM-14: 90 d).
    #[n(4)]
    pub identity_life: Millis,
    /// Life of the `AUDIT_SIGNING` key (KM-14: 365 d).
    #[n(5)]
    pub audit_life: Millis,
    /// How long a distribution may wait for its receipts before it fails (KM-02).
    #[n(6)]
    pub distribution_timeout: Millis,
    /// Longest wait for approvals of a held request.
    #[n(7)]
    pub approval_timeout: Millis,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            refresh: Millis::from_secs(300),
            overlap: Millis::from_secs(5),
            retention: Millis::from_hours(1),
            master_life: Millis::from_hours(24),
            identity_life: Millis::from_days(90),
            audit_life: Millis::from_days(365),
            distribution_timeout: Millis::from_secs(10),
            approval_timeout: Millis::from_hours(1),
        }
    }
}

/// An operator: a person or service with a key of its own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct OperatorSpec {
    /// The name.
    #[n(0)]
    pub id: OperatorId,
    /// Groups the operator is in, sorted; policies refer to them.
    #[n(1)]
    pub groups: Vec<String>,
    /// Hybrid public identity in its canonical encoding, so that an outsider can verify requests.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(with = "crate::hexbytes")]
    pub identity: Vec<u8>,
    /// When the key ends, where it is not renewed before.
    #[n(3)]
    pub expires: Timestamp,
}

/// An operator to be: what the card says that was handed over, and how long its key shall live. The life
/// counts from the moment it is taken, so that what is approved stays the same while it waits.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct OperatorCard {
    /// The name.
    #[n(0)]
    pub id: OperatorId,
    /// Groups the operator is in, sorted.
    #[n(1)]
    pub groups: Vec<String>,
    /// Hybrid public identity in its canonical encoding.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(with = "crate::hexbytes")]
    pub identity: Vec<u8>,
    /// Life of the key.
    #[n(3)]
    pub life: Millis,
}

impl OperatorCard {
    /// The operator from `now` on.
    pub fn at(&self, now: Timestamp) -> OperatorSpec {
        let (id, groups, identity) = (self.id.clone(), self.groups.clone(), self.identity.clone());
        OperatorSpec { id, groups, identity, expires: now + self.life }
    }
}

/// A node to admit.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct NodeSpec {
    /// The name.
    #[n(0)]
    pub id: NodeId,
    /// What it is for.
    #[n(1)]
    pub function: Function,
    /// Fingerprint of its hybrid identity.
    #[n(2)]
    pub identity: Hash,
}

/// What an operator can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Look at something; `what` is one word, such as `status` or `keys`.
    #[n(0)]
    Read {
        /// What to look at.
        #[n(0)]
        what: String,
    },
    /// Admit a node and the quantum links it has.
    #[n(1)]
    AdmitNode {
        /// The node.
        #[n(0)]
        node: NodeSpec,
        /// Its quantum links.
        #[n(1)]
        links: Vec<LinkId>,
    },
    /// Bring an isolated node back: reverses an autonomous action.
    #[n(2)]
    RestoreNode {
        /// The node.
        #[n(0)]
        node: NodeId,
    },
    /// Rotate keys now.
    #[n(3)]
    RotateKeys {
        /// Only keys of this type; all that rotate where absent.
        #[n(0)]
        key_type: Option<KeyType>,
        /// Revoke first, re-key from what is pre-staged (KM-12).
        #[n(1)]
        emergency: bool,
    },
    /// Sign off the review of an incident.
    #[n(4)]
    ReviewIncident {
        /// The incident.
        #[n(0)]
        incident: IncidentId,
        /// The finding.
        #[n(1)]
        note: String,
    },
    /// Report something noticed.
    #[n(5)]
    Signal {
        /// What it is about.
        #[n(0)]
        subject: Subject,
        /// What.
        #[n(1)]
        kind: SignalKind,
    },
    /// Turn assisted mode on or off (SM-09).
    #[n(6)]
    SetAssisted {
        /// On?
        #[n(0)]
        on: bool,
    },
    /// Add a forward of TCP streams.
    #[n(7)]
    AddForward {
        /// What it does.
        #[n(0)]
        spec: ForwardSpec,
    },
    /// Remove a forward.
    #[n(8)]
    RemoveForward {
        /// The forward.
        #[n(0)]
        id: ForwardId,
    },
    /// Approve a held request, named with its digest.
    #[n(9)]
    Approve {
        /// The held request.
        #[n(0)]
        request: RequestId,
        /// Digest of what is approved.
        #[n(1)]
        digest: Hash,
    },
    /// Deny a held request; one denial ends it.
    #[n(10)]
    Deny {
        /// The held request.
        #[n(0)]
        request: RequestId,
        /// Digest of what is denied.
        #[n(1)]
        digest: Hash,
    },
    /// Open a console session.
    #[n(11)]
    OpenConsole,
    /// Export the log for an auditor.
    #[n(12)]
    ExportAudit,
    /// Let an application have keys at a node.
    #[n(13)]
    AddSae {
        /// The application.
        #[n(0)]
        spec: SaeSpec,
    },
    /// Let it have none any more.
    #[n(14)]
    RemoveSae {
        /// The application.
        #[n(0)]
        id: SaeId,
    },
    /// Cut a node off for good: what the engine does on a confirmed compromise, on the word of two people.
    #[n(20)]
    IsolateNode {
        /// The node.
        #[n(0)]
        node: NodeId,
    },
    /// Cut a node or a credential off for a quarter of an hour, on the word of one person (break-glass).
    #[n(21)]
    BreakGlass {
        /// The node, or the operator whose credential it is.
        #[n(0)]
        subject: Subject,
    },
    /// Confirm, as a second person, what another cut off by break-glass: it becomes lasting.
    #[n(22)]
    ConfirmBreakGlass {
        /// The incident it opened.
        #[n(0)]
        incident: IncidentId,
    },
    /// Let another person or service act here.
    #[n(25)]
    AddOperator {
        /// Who.
        #[n(0)]
        card: OperatorCard,
    },
    /// Let an operator's key live longer.
    #[n(26)]
    RenewOperator {
        /// Whose.
        #[n(0)]
        id: OperatorId,
        /// Its life from then on.
        #[n(1)]
        life: Millis,
    },
    /// Take another key, and other groups, for an operator; a revoked one comes back so.
    #[n(27)]
    ReplaceOperator {
        /// The operator with the new key.
        #[n(0)]
        card: OperatorCard,
    },
    /// Let an operator act no more.
    #[n(28)]
    RemoveOperator {
        /// Who.
        #[n(0)]
        id: OperatorId,
    },
    /// Take steps by a later version of the rules from the next entry on; there is no way back.
    #[n(30)]
    ActivateRules {
        /// The version.
        #[n(0)]
        version: u16,
    },
    /// Know an application by a new certificate.
    #[n(29)]
    RenewSae {
        /// The application.
        #[n(0)]
        id: SaeId,
        /// SHA-256 of its certificate, DER.
        #[n(1)]
        fingerprint: Hash,
    },
}

impl Command {
    /// Whether it may take something out of use, or is people's word on that: such requests have room of
    /// their own where they are queued and where they are kept.
    pub const fn is_urgent(&self) -> bool {
        matches!(
            self,
            Self::Signal { .. }
                | Self::RotateKeys { emergency: true, .. }
                | Self::Approve { .. }
                | Self::Deny { .. }
                | Self::RemoveForward { .. }
                | Self::IsolateNode { .. }
                | Self::BreakGlass { .. }
                | Self::ConfirmBreakGlass { .. }
                | Self::ReplaceOperator { .. }
                | Self::RemoveOperator { .. }
                | Self::RemoveSae { .. }
        )
    }
}

/// What an operator signs: one command, once, soon.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Request {
    /// The boundary it is for.
    #[n(0)]
    pub boundary: BoundaryId,
    /// Who asks.
    #[n(1)]
    pub operator: OperatorId,
    /// Drawn afresh by the asker; a second use is a replay.
    #[n(2)]
    pub nonce: Hash,
    /// When it was signed.
    #[n(3)]
    pub at: Timestamp,
    /// The grant presented for it, where the command needs one.
    #[n(4)]
    pub grant: Option<GrantId>,
    /// What is asked for.
    #[n(5)]
    pub command: Command,
    /// Why, for those who approve and those who review: at most [`crate::access::REASON_LEN`] bytes. Needed
    /// wherever a grant or approvals are.
    #[n(6)]
    pub reason: String,
}

/// A request and its hybrid signature: `Label::REQUEST` over the canonical request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct SignedRequest {
    /// The request.
    #[n(0)]
    pub request: Request,
    /// The signature in its canonical encoding. The hub has verified it; a replay does so again.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(with = "crate::hexbytes")]
    pub signature: Vec<u8>,
}

/// One participant's proof that it holds a key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct KeyReceipt {
    /// The key.
    #[n(0)]
    pub key: KeyId,
    /// Its salted commitment; equal for all participants of one key.
    #[n(1)]
    pub commitment: Hash,
    /// What protected the pair's own part, where there is one.
    #[n(2)]
    pub mixed: Option<Delivery>,
}

/// Use of one key at one participant since its last report (KM-05).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct KeyUsage {
    /// The key.
    #[n(0)]
    pub key: KeyId,
    /// Frames sealed and opened.
    #[n(1)]
    pub frames: u64,
    /// Bytes sealed and opened.
    #[n(2)]
    pub bytes: u64,
    /// Frames that did not verify.
    #[n(3)]
    pub failures: u64,
}

/// Why the hub could not act for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// It was not running.
    #[n(0)]
    NotRunning,
    /// It ran, and its store took nothing.
    #[n(1)]
    StoreFailed,
    /// It ran, and was given no time by its machine, or its clock jumped.
    #[n(2)]
    Stalled,
}

/// Something that happened, authenticated by the hub.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The boundary begins.
    #[n(0)]
    Create(#[n(0)] Box<Genesis>),
    /// Time passed; whatever is due happens.
    #[n(1)]
    Tick,
    /// An operator asks.
    #[n(2)]
    Request(#[n(0)] Box<SignedRequest>),
    /// A node's session with the hub is up.
    #[n(3)]
    NodeUp {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// Hash of the session's exporter: names the session without revealing it.
        #[n(1)]
        session: Hash,
    },
    /// A node's session is gone.
    #[n(4)]
    NodeDown {
        /// The node.
        #[n(0)]
        node: NodeId,
    },
    /// The hub made its share of these keys and holds it sealed.
    #[n(5)]
    Made {
        /// The keys.
        #[n(0)]
        keys: Vec<KeyId>,
    },
    /// The hub could not make these keys (KM-02): no record of them is left.
    #[n(6)]
    MakeFailed {
        /// The keys that were asked for.
        #[n(0)]
        keys: Vec<KeyId>,
        /// Why.
        #[n(1)]
        reason: String,
    },
    /// Keys were sent to a participant.
    #[n(7)]
    Delivered {
        /// To whom.
        #[n(0)]
        node: NodeId,
        /// Under what.
        #[n(1)]
        delivery: Delivery,
        /// The keys.
        #[n(2)]
        keys: Vec<KeyId>,
    },
    /// Keys could not be sent to a participant, or the participant could not take them.
    #[n(8)]
    DeliveryFailed {
        /// To whom.
        #[n(0)]
        node: NodeId,
        /// The keys.
        #[n(1)]
        keys: Vec<KeyId>,
        /// Why.
        #[n(2)]
        reason: String,
    },
    /// A participant proves that it holds keys.
    #[n(9)]
    Receipts {
        /// Who.
        #[n(0)]
        node: NodeId,
        /// Its proofs.
        #[n(1)]
        receipts: Vec<KeyReceipt>,
    },
    /// A participant uses these keys now.
    #[n(10)]
    Activated {
        /// Who.
        #[n(0)]
        node: NodeId,
        /// The keys.
        #[n(1)]
        keys: Vec<KeyId>,
    },
    /// A participant erased these keys.
    #[n(11)]
    Purged {
        /// Who.
        #[n(0)]
        node: NodeId,
        /// The keys.
        #[n(1)]
        keys: Vec<KeyId>,
    },
    /// A participant has cut a node off.
    #[n(12)]
    IsolationConfirmed {
        /// Who cut it off.
        #[n(0)]
        by: NodeId,
        /// The node that is cut off.
        #[n(1)]
        node: NodeId,
        /// The revocation epoch it holds now.
        #[n(2)]
        epoch: u64,
    },
    /// What the quantum links measured.
    #[n(13)]
    Links(#[n(0)] Vec<LinkReport>),
    /// Use of keys at one participant.
    #[n(14)]
    Usage {
        /// Who.
        #[n(0)]
        node: NodeId,
        /// Its counters.
        #[n(1)]
        keys: Vec<KeyUsage>,
    },
    /// A node noticed something. What its word weighs is for the engine to say.
    #[n(15)]
    Signal {
        /// Who noticed; never the hub.
        #[n(0)]
        source: NodeId,
        /// What it is about.
        #[n(1)]
        subject: Subject,
        /// What.
        #[n(2)]
        kind: SignalKind,
    },
    /// A node gives keys to applications here.
    #[n(16)]
    KmeUp {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// Where.
        #[n(1)]
        kme: KmeSpec,
    },
    /// A node accounts for keys that it gave to applications.
    #[n(17)]
    HandedOut {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// Rises with every account of the node.
        #[n(1)]
        number: u64,
        /// What it gave.
        #[n(2)]
        handouts: Vec<Handout>,
        /// The node ended without a word since then: what it gave after may be missing.
        #[n(3)]
        gap: Option<Timestamp>,
    },
    /// A detector of the hub itself noticed something.
    #[n(20)]
    Detected {
        /// What it is about.
        #[n(0)]
        subject: Subject,
        /// What.
        #[n(1)]
        kind: SignalKind,
        /// How sure the detector is, in parts per million: a constant of the detector.
        #[n(2)]
        confidence_ppm: u32,
    },
    /// The hub acts again after a time in which it could not: what was due then happens late. Said at
    /// every start and after every pause longer than [`crate::PAUSE`], before anything else.
    #[n(30)]
    Resumed {
        /// When it last could act; at a start the time of the last entry, for more it does not know.
        #[n(0)]
        since: Timestamp,
        /// Why it could not.
        #[n(1)]
        pause: Pause,
    },
    /// Events of one source were refused and are not in the log each: at most one of these a source in
    /// [`crate::ingress::COALESCED`].
    #[n(25)]
    Refusals {
        /// Whose.
        #[n(0)]
        source: Principal,
        /// Why; of several reasons the one that weighs most.
        #[n(1)]
        refusal: Refusal,
        /// How many.
        #[n(2)]
        count: u64,
        /// Bytes of their canonical encodings together.
        #[n(3)]
        bytes: u64,
    },
    /// The hub starts. Said before it takes anything.
    #[n(35)]
    HubStarted {
        /// Names this start; drawn by the hub.
        #[n(0)]
        start: Hash,
    },
    /// A node says in which start it runs, with what it knows from before.
    #[n(36)]
    NodeStarted {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// Names its start; drawn by it.
        #[n(1)]
        start: Hash,
        /// The start that the hub last confirmed to it, and those since then.
        #[n(2)]
        earlier: Vec<Hash>,
        /// Number of the last account of keys given to applications that its store had when it started.
        #[n(3)]
        account: Option<u64>,
        /// It saw a later state of the log than the log is in, or another: the log was put back.
        #[n(4)]
        unknown: bool,
    },
}

impl Event {
    /// Who caused it: an operator, a node that speaks, or the engine, which stands for the hub itself.
    pub fn source(&self) -> Principal {
        match self {
            Self::Request(signed) => Principal::Operator(signed.request.operator.clone()),
            Self::DeliveryFailed { node, .. }
            | Self::Receipts { node, .. }
            | Self::Activated { node, .. }
            | Self::Purged { node, .. }
            | Self::IsolationConfirmed { by: node, .. }
            | Self::Usage { node, .. }
            | Self::Signal { source: node, .. }
            | Self::KmeUp { node, .. }
            | Self::HandedOut { node, .. }
            | Self::NodeStarted { node, .. }
                if !node.is_hub() =>
            {
                Principal::Node(node.clone())
            }
            _ => Principal::Engine,
        }
    }
}
