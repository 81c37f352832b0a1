//! What a step decided. Applying records is the only way a state changes, so each carries all
//! that its change needs.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use types::mesh::{Delivery, ForwardSpec, KeyState, KeyType, LinkReport, NodeState, Severity, SignalKind, Subject};
use types::sae::{Handout, KmeSpec, SaeSpec};
use types::{ForwardId, GrantId, Hash, IncidentId, KeyId, LinkId, NodeId, OperatorId, RequestId, SaeId, Timestamp};

use crate::event::{Genesis, KeyUsage, NodeSpec, OperatorSpec, Pause, SignedRequest};

/// Why an event was refused before policy was asked, or had no effect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The boundary exists already, or does not exist yet.
    #[n(0)]
    #[error("the boundary is not in the state this needs")]
    WrongBoundary,
    /// The request is for another boundary, or its operator is not known or revoked.
    #[n(1)]
    #[error("the operator is not known here")]
    UnknownOperator,
    /// Signed too long ago, or in the future.
    #[n(2)]
    #[error("the request is not fresh: check the clock and sign again")]
    Stale,
    /// The nonce was used before.
    #[n(3)]
    #[error("the request was made before: sign a new one")]
    Replayed,
    /// No such node, or not in the state this needs.
    #[n(4)]
    #[error("no such node in the state this needs")]
    NoSuchNode,
    /// No such key, or the caller is no participant of it, or the transition is not drawn.
    #[n(5)]
    #[error("no such key, or it is not in the state this needs")]
    NoSuchKey,
    /// No such incident.
    #[n(6)]
    #[error("no such incident")]
    NoSuchIncident,
    /// No such forward, or an impossible one.
    #[n(7)]
    #[error("no such forward, or its ends are not two admitted nodes")]
    NoSuchForward,
    /// No such held request, or it has ended.
    #[n(8)]
    #[error("no such request, or it is no longer open")]
    NoSuchRequest,
    /// The approval names another digest than the held request.
    #[n(9)]
    #[error("the digest is not that of the held request: look at it again")]
    DigestMismatch,
    /// The asker approves its own request, approves twice or is not in the group.
    #[n(10)]
    #[error("another person of the approving group must approve")]
    NotAnApprover,
    /// No such grant, not this operator's, not for this command, used or expired.
    #[n(11)]
    #[error("the grant does not fit this command, was used or has expired: ask for a new one")]
    BadGrant,
    /// The name is taken.
    #[n(12)]
    #[error("the name is taken")]
    NameTaken,
    /// The command is too large or otherwise out of bounds.
    #[n(13)]
    #[error("a value is out of bounds")]
    OutOfBounds,
    /// The policies of the boundary do not validate.
    #[n(14)]
    #[error("the policies do not validate: check them before the boundary is created")]
    BadPolicy,
    /// No such SAE.
    #[n(15)]
    #[error("no such application")]
    NoSuchSae,
    /// A critical request does not say why it is made.
    #[n(25)]
    #[error("this needs a reason that others can judge: say why, in one line of at most 512 bytes")]
    NoReason,
    /// The operator's key has come to its end.
    #[n(26)]
    #[error("the operator's key has expired: have two others renew or replace it")]
    KeyExpired,
    /// Somebody has, or had, this identity.
    #[n(27)]
    #[error("the identity is, or was, another's: every operator has a key of its own, and each is used once")]
    IdentityTaken,
    /// Nobody could give the approvals that policy asks for any more.
    #[n(28)]
    #[error("too few would be left to ask and to approve: add another person first")]
    TooFewApprovers,
    /// No such operator.
    #[n(29)]
    #[error("no such operator, or not in the state this needs")]
    NoSuchOperator,
    /// The credential is under quarantine: it approves what the engine asks, and nothing else.
    #[n(50)]
    #[error("the credential is under quarantine until it lapses: ask another operator")]
    Quarantined,
    /// A response of the incident waits, or is under way.
    #[n(51)]
    #[error("the incident is not settled: decide on what waits, or wait until its recovery is reported")]
    NotSettled,
    /// Another person must do it.
    #[n(52)]
    #[error("another person must do this")]
    OwnAct,
    /// The operator broke the glass as often as one may.
    #[n(53)]
    #[error("one quarantine at a time and three in twelve hours: have a second person confirm it")]
    GlassSpent,
    /// No quarantine of that incident.
    #[n(54)]
    #[error("nothing is under quarantine by that incident")]
    NoQuarantine,
    /// What it leads to does not fit an entry of the log.
    #[n(60)]
    #[error("what this leads to does not fit an entry of the log: ask for less at a time")]
    TooLarge,
}

/// Who asked for something: a person, the response engine, or a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// An operator.
    #[n(0)]
    Operator(#[n(0)] OperatorId),
    /// The decision engine.
    #[n(1)]
    Engine,
    /// A node.
    #[n(2)]
    Node(#[n(0)] NodeId),
}

/// A policy decision with all that led to it, so that anyone can decide again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// Who asked.
    #[n(0)]
    pub principal: Principal,
    /// Name of the Cedar action.
    #[n(1)]
    pub action: String,
    /// Cedar resource, as `Type::"id"`.
    #[n(2)]
    pub resource: String,
    /// Digest of the command, or of the response it is about.
    #[n(3)]
    pub digest: Hash,
    /// Hash of the policy bundle that decided.
    #[n(4)]
    pub policy: Hash,
    /// Whether it is permitted.
    #[n(5)]
    pub permit: bool,
    /// Names of the policies that determined the decision, sorted.
    #[n(6)]
    pub reasons: Vec<String>,
}

/// An autonomous action of the response engine (SM-08).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Revoke and replace keys (SM-08a).
    #[n(0)]
    RotateKeys,
    /// Cut a node off (SM-08b).
    #[n(1)]
    IsolateNode(#[n(0)] NodeId),
    /// Take a node's forwards out of the segment (SM-08c).
    #[n(2)]
    Reroute(#[n(0)] NodeId),
    /// Revoke an operator's credential (SM-08d).
    #[n(3)]
    RevokeOperator(#[n(0)] OperatorId),
    /// Look at a node more closely for a while (SM-10).
    #[n(4)]
    Watch(#[n(0)] NodeId),
    /// Have a node prove its identity anew (SM-07c).
    #[n(5)]
    Reauthenticate(#[n(0)] NodeId),
}

/// How a quarantine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineEnd {
    /// Nobody confirmed it in time.
    #[n(0)]
    Lapsed,
    /// A second person or source confirmed it: what was cut off stays so.
    #[n(1)]
    Confirmed,
    /// Two people brought the node back before its time.
    #[n(2)]
    Lifted,
}

/// A step of the recovery sequence (KM-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum RecoveryStep {
    /// The signal was validated.
    #[n(0)]
    Detect,
    /// The node was removed from the mesh.
    #[n(1)]
    Isolate,
    /// Its keys were revoked everywhere.
    #[n(2)]
    Revoke,
    /// The mesh was re-keyed from what was pre-staged.
    #[n(3)]
    ReKey,
    /// Every remaining node confirmed its new keys.
    #[n(4)]
    Verify,
    /// The incident record is complete.
    #[n(5)]
    Report,
}

/// Why a key changed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its age, or the first key of its kind.
    #[n(0)]
    Schedule,
    /// An anomaly, a policy change or an operator.
    #[n(1)]
    Trigger,
    /// Suspected compromise.
    #[n(2)]
    Emergency,
    /// Its distribution failed.
    #[n(3)]
    DistributionFailure,
    /// Every participant confirmed.
    #[n(4)]
    Confirmed,
    /// The overlap ended.
    #[n(5)]
    OverlapElapsed,
    /// The retention ended.
    #[n(6)]
    RetentionElapsed,
    /// Every participant purged it.
    #[n(7)]
    Purged,
    /// A session or link ended, or a participant left.
    #[n(8)]
    Ended,
    /// Its participants brought it into use themselves, while the hub was away (SM-02).
    #[n(9)]
    Pair,
}

/// One thing a step decided.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The boundary exists.
    #[n(0)]
    BoundaryCreated {
        /// Hash of the policy bundle in force.
        #[n(0)]
        policy: Hash,
        /// All that it begins with.
        #[n(1)]
        genesis: Box<Genesis>,
    },
    /// The event was refused; nothing else changed.
    #[n(1)]
    Refused(#[n(0)] Refusal),
    /// A request's nonce is spent.
    #[n(2)]
    NonceSpent {
        /// Whose.
        #[n(0)]
        operator: OperatorId,
        /// The nonce.
        #[n(1)]
        nonce: Hash,
        /// When it was signed.
        #[n(2)]
        at: Timestamp,
    },
    /// Policy decided.
    #[n(3)]
    Decided(#[n(0)] DecisionRecord),
    /// A request waits for approvals.
    #[n(4)]
    Held {
        /// The request.
        #[n(0)]
        request: RequestId,
        /// Who asked.
        #[n(1)]
        by: Principal,
        /// Digest of what was asked for.
        #[n(2)]
        digest: Hash,
        /// What was asked for, for people.
        #[n(3)]
        summary: String,
        /// How many distinct approvers besides the asker are needed.
        #[n(4)]
        needed: u32,
        /// The group they must be in.
        #[n(5)]
        group: String,
        /// When the request ends by itself.
        #[n(6)]
        expires: Timestamp,
        /// The held response, where the engine asked (SM-09).
        #[n(7)]
        response: Option<(IncidentId, Response)>,
        /// The request as its asker signed it, for those who approve; `None` where the engine asked.
        #[n(8)]
        asked: Option<Box<SignedRequest>>,
        /// Names of the policies that permit it under these approvals, sorted.
        #[n(9)]
        policies: Vec<String>,
    },
    /// An approver approved.
    #[n(5)]
    Approved {
        /// The request.
        #[n(0)]
        request: RequestId,
        /// Who approved.
        #[n(1)]
        by: OperatorId,
    },
    /// A held request ended without being carried out.
    #[n(6)]
    HeldEnded {
        /// The request.
        #[n(0)]
        request: RequestId,
        /// Who denied it; `None` where it expired or was overtaken.
        #[n(1)]
        by: Option<OperatorId>,
    },
    /// A held request was carried out or became a grant.
    #[n(7)]
    HeldDone {
        /// The request.
        #[n(0)]
        request: RequestId,
    },
    /// A grant: this entry with its inclusion proof and checkpoint is the grant.
    #[n(8)]
    Granted {
        /// Its number.
        #[n(0)]
        grant: GrantId,
        /// To whom; presenting it takes this operator's signature.
        #[n(1)]
        operator: OperatorId,
        /// Digest of the one command it allows.
        #[n(2)]
        digest: Hash,
        /// When it ends.
        #[n(3)]
        expires: Timestamp,
    },
    /// A grant was used; it is used up.
    #[n(9)]
    GrantUsed {
        /// Its number.
        #[n(0)]
        grant: GrantId,
    },
    /// A grant ended unused.
    #[n(10)]
    GrantExpired {
        /// Its number.
        #[n(0)]
        grant: GrantId,
    },
    /// A node belongs to the mesh.
    #[n(11)]
    NodeAdmitted {
        /// The node.
        #[n(0)]
        node: NodeSpec,
        /// Its quantum links.
        #[n(1)]
        links: Vec<LinkId>,
    },
    /// A node changed state.
    #[n(12)]
    NodeMoved {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// To which state.
        #[n(1)]
        to: NodeState,
        /// The revocation epoch from now on.
        #[n(2)]
        epoch: u64,
    },
    /// A key is wanted; it has a number and no material yet, and is not a key until it is made.
    #[n(13)]
    KeyWanted {
        /// Its number.
        #[n(0)]
        key: KeyId,
        /// Its kind.
        #[n(1)]
        key_type: KeyType,
        /// Who shall hold it.
        #[n(2)]
        participants: Vec<NodeId>,
        /// Why.
        #[n(3)]
        cause: Cause,
    },
    /// A wanted key could not be made; nothing of it is left (KM-02).
    #[n(14)]
    KeyAbandoned {
        /// Its number.
        #[n(0)]
        key: KeyId,
    },
    /// A key changed state (KM-01); `from` is absent for a new key.
    #[n(15)]
    KeyMoved {
        /// The key.
        #[n(0)]
        key: KeyId,
        /// From which state.
        #[n(1)]
        from: Option<KeyState>,
        /// To which state.
        #[n(2)]
        to: KeyState,
        /// Why.
        #[n(3)]
        cause: Cause,
    },
    /// Keys were sent to a participant.
    #[n(16)]
    KeysDelivered {
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
    /// A participant proved that it holds a key.
    #[n(17)]
    KeyConfirmed {
        /// The key.
        #[n(0)]
        key: KeyId,
        /// Who.
        #[n(1)]
        node: NodeId,
        /// The commitment.
        #[n(2)]
        commitment: Hash,
        /// What protected the pair's own part, where there is one.
        #[n(3)]
        mixed: Option<Delivery>,
    },
    /// A participant uses keys now.
    #[n(18)]
    KeysInUse {
        /// Who.
        #[n(0)]
        node: NodeId,
        /// The keys.
        #[n(1)]
        keys: Vec<KeyId>,
    },
    /// A participant erased keys.
    #[n(19)]
    KeysPurged {
        /// Who.
        #[n(0)]
        node: NodeId,
        /// The keys.
        #[n(1)]
        keys: Vec<KeyId>,
    },
    /// Use of keys was counted (KM-05).
    #[n(20)]
    KeysUsed {
        /// Where.
        #[n(0)]
        node: NodeId,
        /// The counters since the last report.
        #[n(1)]
        keys: Vec<KeyUsage>,
    },
    /// Links were measured.
    #[n(21)]
    LinksMeasured(#[n(0)] Vec<LinkReport>),
    /// A signal was noted and classified (SM-10).
    #[n(22)]
    SignalNoted {
        /// Who noticed.
        #[n(0)]
        source: Principal,
        /// What it is about.
        #[n(1)]
        subject: Subject,
        /// What.
        #[n(2)]
        kind: SignalKind,
        /// How sure, in parts per million.
        #[n(3)]
        confidence_ppm: u32,
        /// Its class.
        #[n(4)]
        severity: Severity,
    },
    /// An incident began.
    #[n(23)]
    IncidentOpened {
        /// Its number.
        #[n(0)]
        incident: IncidentId,
        /// What it is about.
        #[n(1)]
        subject: Subject,
        /// What was noticed first.
        #[n(2)]
        kind: SignalKind,
        /// Its class.
        #[n(3)]
        severity: Severity,
    },
    /// An incident's class rose.
    #[n(24)]
    IncidentRaised {
        /// The incident.
        #[n(0)]
        incident: IncidentId,
        /// Its class now.
        #[n(1)]
        severity: Severity,
    },
    /// A recovery step is done.
    #[n(25)]
    Recovery {
        /// The incident.
        #[n(0)]
        incident: IncidentId,
        /// The step.
        #[n(1)]
        step: RecoveryStep,
        /// What was done, for people.
        #[n(2)]
        summary: String,
    },
    /// The engine acted; comes up for review (SM-08e).
    #[n(26)]
    Responded {
        /// The incident.
        #[n(0)]
        incident: IncidentId,
        /// The action.
        #[n(1)]
        response: Response,
    },
    /// The engine would act, and policy does not allow it.
    #[n(27)]
    ResponseWithheld {
        /// The incident.
        #[n(0)]
        incident: IncidentId,
        /// The action.
        #[n(1)]
        response: Response,
    },
    /// An incident is over by itself (the cause went away); it can still be reviewed.
    #[n(28)]
    IncidentSettled {
        /// The incident.
        #[n(0)]
        incident: IncidentId,
    },
    /// An incident was reviewed.
    #[n(29)]
    IncidentReviewed {
        /// The incident.
        #[n(0)]
        incident: IncidentId,
        /// By whom.
        #[n(1)]
        by: OperatorId,
        /// The finding.
        #[n(2)]
        note: String,
    },
    /// Assisted mode was set.
    #[n(30)]
    AssistedSet {
        /// On?
        #[n(0)]
        on: bool,
    },
    /// A forward was added.
    #[n(31)]
    ForwardAdded {
        /// Its number.
        #[n(0)]
        id: ForwardId,
        /// What it does.
        #[n(1)]
        spec: ForwardSpec,
    },
    /// A forward was removed.
    #[n(32)]
    ForwardRemoved {
        /// Its number.
        #[n(0)]
        id: ForwardId,
    },
    /// An operator's credential is revoked.
    #[n(33)]
    OperatorRevoked {
        /// The operator.
        #[n(0)]
        operator: OperatorId,
    },
    /// The console was opened, or the log exported, or something was read.
    #[n(34)]
    Served {
        /// By whom.
        #[n(0)]
        operator: OperatorId,
        /// What.
        #[n(1)]
        what: String,
    },
    /// Every key of a kind shall be replaced; done over as many steps as it takes.
    #[n(35)]
    RotationOrdered {
        /// Only keys of this type; `MESH_SESSION` and `SOVEREIGN_MASTER` where absent.
        #[n(0)]
        key_type: Option<KeyType>,
        /// Why. `Emergency` without an incident revokes each key before it is replaced.
        #[n(1)]
        cause: Cause,
        /// The incident whose recovery it is part of.
        #[n(2)]
        incident: Option<IncidentId>,
    },
    /// A node has cut another off.
    #[n(36)]
    IsolationSeen {
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
    /// Every remaining node shall prove the keys it uses at this point of the log.
    #[n(37)]
    VerifyOrdered {
        /// The incident whose recovery it is part of.
        #[n(0)]
        incident: IncidentId,
    },
    /// A node proved keys it uses.
    #[n(38)]
    KeysProven {
        /// The incident whose recovery it is part of.
        #[n(0)]
        incident: IncidentId,
        /// Who.
        #[n(1)]
        node: NodeId,
        /// The keys.
        #[n(2)]
        keys: Vec<KeyId>,
    },
    /// An authenticated request was denied, or refused for what its operator may not; counts towards a
    /// burst (QT-11).
    #[n(39)]
    Denied {
        /// Whose.
        #[n(0)]
        operator: OperatorId,
    },
    /// An application may have keys at a node, or is known by another certificate there.
    #[n(40)]
    SaeAdded {
        /// The application.
        #[n(0)]
        spec: SaeSpec,
    },
    /// An application may have no keys any more.
    #[n(41)]
    SaeRemoved {
        /// The application.
        #[n(0)]
        id: SaeId,
    },
    /// Where applications find the KME of a node.
    #[n(42)]
    KmeKnown {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// Its KME.
        #[n(1)]
        kme: KmeSpec,
    },
    /// Keys were given to applications (KM-08).
    #[n(43)]
    HandedOut {
        /// By which node.
        #[n(0)]
        node: NodeId,
        /// Number of the account.
        #[n(1)]
        number: u64,
        /// What was given.
        #[n(2)]
        handouts: Vec<Handout>,
        /// The node ended without a word since then: what it gave after may be missing.
        #[n(3)]
        gap: Option<Timestamp>,
    },
    /// An incident left the state to make room; the log keeps it.
    #[n(50)]
    IncidentPruned {
        /// The incident.
        #[n(0)]
        incident: IncidentId,
    },
    /// One person cut a node or a credential off for a while (break-glass).
    #[n(51)]
    Quarantined {
        /// The incident that tells everybody.
        #[n(0)]
        incident: IncidentId,
        /// The node, or the operator whose credential it is.
        #[n(1)]
        subject: Subject,
        /// Who broke the glass.
        #[n(2)]
        by: OperatorId,
        /// When it lapses.
        #[n(3)]
        until: Timestamp,
    },
    /// A quarantine is over.
    #[n(52)]
    QuarantineEnded {
        /// The node, or the operator whose credential it is.
        #[n(0)]
        subject: Subject,
        /// How it ended.
        #[n(1)]
        how: QuarantineEnd,
        /// Who ended it; `None` where time or the engine did.
        #[n(2)]
        by: Option<OperatorId>,
    },
    /// A node signals so much that its word is not heard for a while.
    #[n(53)]
    SourceMuted {
        /// The node.
        #[n(0)]
        source: NodeId,
        /// Until then.
        #[n(1)]
        until: Timestamp,
    },
    /// An operator may act here.
    #[n(55)]
    OperatorAdded {
        /// Who.
        #[n(0)]
        spec: OperatorSpec,
    },
    /// An operator's key lives longer.
    #[n(56)]
    OperatorRenewed {
        /// Whose.
        #[n(0)]
        id: OperatorId,
        /// When it ends now.
        #[n(1)]
        expires: Timestamp,
    },
    /// An operator has another key; the one before is worth nothing.
    #[n(57)]
    OperatorReplaced {
        /// The operator with the new key.
        #[n(0)]
        spec: OperatorSpec,
    },
    /// An operator may act no more.
    #[n(58)]
    OperatorRemoved {
        /// Who.
        #[n(0)]
        id: OperatorId,
    },
    /// An operator's key comes to its end.
    #[n(59)]
    OperatorEnding {
        /// Whose.
        #[n(0)]
        id: OperatorId,
        /// Whether it has ended; else it will soon.
        #[n(1)]
        over: bool,
    },
    /// The hub acts again after a pause.
    #[n(65)]
    Resumed {
        /// When it last could act.
        #[n(0)]
        since: Timestamp,
        /// Why it could not since.
        #[n(1)]
        pause: Pause,
    },
    /// Events of one source were refused, and counted instead of kept.
    #[n(60)]
    RefusalsCounted {
        /// Whose.
        #[n(0)]
        source: Principal,
        /// Why; of several reasons the one that weighs most.
        #[n(1)]
        refusal: Refusal,
        /// How many.
        #[n(2)]
        count: u64,
    },
    /// Steps are taken by this version of the rules from the next entry on.
    #[n(66)]
    RulesActivated {
        /// The version.
        #[n(0)]
        version: u16,
    },
    /// The hub started: grants of before are void, requests signed before are stale.
    #[n(75)]
    HubStarted {
        /// Names the start.
        #[n(0)]
        start: Hash,
    },
    /// A node started.
    #[n(76)]
    NodeStarted {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// Names the start.
        #[n(1)]
        start: Hash,
        /// Its store is a copy of an earlier state.
        #[n(2)]
        rewound: bool,
    },
}
