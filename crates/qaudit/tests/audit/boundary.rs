//! A boundary run by the kernel, its log signed as a hub does, and the ways its operator could
//! rewrite it.

use std::rc::Rc;

use crypto::{Entropy, IdentityKey, LogSigner};
use evidence::bundle::{BundleWriter, Header};
use evidence::note::SigningFailed;
use evidence::{
    Algorithm, Checkpoint, CheckpointPolicy, Head, KeyName, NoteSigner, Pins, SignedNote, Tree, VerifierKey,
};
use kernel::event::{Command, Event, Genesis, NodeSpec, OperatorSpec, Request, Settings, SignedRequest};
use kernel::record::Record;
use kernel::{Body, State, step};
use types::mesh::{Function, SignalKind, Subject};
use types::{BoundaryId, GrantId, Hash, Label, LinkId, NodeId, Timestamp, cbor};

const START: u64 = 1_700_000_000_000;
const POLICY: &str = include_str!("../../../../policies/default.cedar");

/// One of the log's two keys.
struct Half<'a> {
    keys: &'a LogSigner,
    key: VerifierKey,
}

impl NoteSigner for Half<'_> {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        Ok(match self.key.algorithm() {
            Algorithm::MlDsa44 => self.keys.sign_mldsa44(message).unwrap(),
            _ => self.keys.sign_ed25519(message).unwrap().to_vec(),
        })
    }
}

pub(crate) struct Boundary {
    log_keys: Rc<LogSigner>,
    pub(crate) operators: Vec<(&'static str, IdentityKey)>,
    pub(crate) state: State,
    pub(crate) now: u64,
    /// Time and body of every entry.
    pub(crate) entries: Vec<(Timestamp, Body)>,
    nonces: u8,
    machines: u8,
}

impl Boundary {
    pub(crate) fn id() -> BoundaryId {
        "north".parse().unwrap()
    }

    /// A boundary with two operators on duty, an auditor, and two nodes.
    pub(crate) fn new() -> Self {
        let log_keys = LogSigner::generate(&Entropy::system().unwrap()).unwrap();
        Self::under(Rc::new(log_keys), 0)
    }

    /// As [`Self::new`], under keys that another log has too; its nodes are those of `machines`.
    fn under(log_keys: Rc<LogSigner>, machines: u8) -> Self {
        let entropy = Entropy::system().unwrap();
        let operators = ["op1", "op2", "eve"].map(|name| (name, IdentityKey::generate(&entropy).unwrap()));
        let mut boundary = Self {
            log_keys,
            operators: operators.into(),
            state: State::default(),
            now: START,
            entries: Vec::new(),
            nonces: 0,
            machines,
        };
        let genesis = boundary.genesis();
        boundary.event(Event::Create(Box::new(genesis)));
        boundary
    }

    fn genesis(&self) -> Genesis {
        let groups = |name| if name == "eve" { vec!["auditors"] } else { vec!["duty", "operators"] };
        let operators = self.operators.iter().map(|(name, key)| OperatorSpec {
            id: name.parse().unwrap(),
            groups: groups(*name).into_iter().map(str::to_owned).collect(),
            identity: key.public().to_bytes(),
            expires: Timestamp::from_millis(self.now) + types::Millis::from_days(90),
        });
        let node = |name: &str| NodeSpec {
            id: name.parse().unwrap(),
            function: Function::Grid,
            identity: Label::IDENTITY.hash(&[name.as_bytes(), &[self.machines]]),
        };
        Genesis {
            boundary: Self::id(),
            settings: Settings::default(),
            policy: POLICY.to_owned(),
            operators: operators.collect(),
            nodes: vec![node("n1"), node("n2")],
            links: LinkId::new("n1".parse().unwrap(), "n2".parse().unwrap()).into_iter().collect(),
            salt: Hash::new([9; 32]),
            audit_key: Label::IDENTITY.hash(&[
                b"log",
                self.log_keys.ed25519_public(),
                self.log_keys.mldsa44_public().as_slice(),
            ]),
        }
    }

    /// Takes one step and logs it; gives back what was decided.
    pub(crate) fn event(&mut self, event: Event) -> Vec<Record> {
        self.now += 100;
        let at = Timestamp::from_millis(self.now);
        let records = step(&self.state, &event, at).records;
        let body = Body::decided(&self.state, event, records.clone());
        self.state.commit(&body, at);
        self.entries.push((at, body));
        records
    }

    pub(crate) fn request(&mut self, who: &str, grant: Option<GrantId>, command: Command) -> Vec<Record> {
        let signed = self.signed(who, who, grant, command);
        self.event(Event::Request(Box::new(signed)))
    }

    /// A request in the name of one operator under the key of another.
    pub(crate) fn signed(&mut self, name: &str, key: &str, grant: Option<GrantId>, command: Command) -> SignedRequest {
        self.nonces += 1;
        let request = Request {
            boundary: Self::id(),
            operator: name.parse().unwrap(),
            nonce: Hash::new([self.nonces; 32]),
            at: Timestamp::from_millis(self.now),
            grant,
            command,
            reason: "a drill".to_owned(),
        };
        let (_, key) = self.operators.iter().find(|(operator, _)| *operator == key).unwrap();
        let signature = key.sign(Label::REQUEST, &[&cbor::to_vec(&request)]).unwrap().to_bytes();
        SignedRequest { request, signature }
    }

    /// A day in the life: sessions, reading, a refused signal, a granted command, a compromise.
    pub(crate) fn lived() -> Self {
        Self::new().live()
    }

    /// As [`Self::lived`], with other people and machines, under the keys of another log.
    pub(crate) fn lived_under(log_keys: Rc<LogSigner>) -> Self {
        Self::under(log_keys, 1).live()
    }

    pub(crate) fn keys(&self) -> Rc<LogSigner> {
        Rc::clone(&self.log_keys)
    }

    fn live(self) -> Self {
        let mut boundary = self;
        for node in ["n1", "n2"] {
            let node: NodeId = node.parse().unwrap();
            boundary.event(Event::NodeUp { session: Label::SESSION_EXPORTER.hash(&[node.as_str().as_bytes()]), node });
        }
        boundary.event(Event::Tick);
        boundary.request("op1", None, Command::Read { what: "status".to_owned() });
        let signal = |kind| Command::Signal { subject: Subject::Node("n1".parse().unwrap()), kind };
        boundary.request("eve", None, signal(SignalKind::NodeCompromise));
        let assist = Command::SetAssisted { on: true };
        let asked = boundary.request("op1", None, assist.clone());
        let held = asked.iter().find_map(|record| match record {
            Record::Held { request, digest, .. } => Some((*request, *digest)),
            _ => None,
        });
        let (request, digest) = held.unwrap_or_else(|| panic!("{asked:?}"));
        boundary.request("op2", None, Command::Approve { request, digest });
        let granted = boundary.request("op1", None, assist.clone());
        let grant = granted.iter().find_map(|record| match record {
            Record::Granted { grant, .. } => Some(*grant),
            _ => None,
        });
        assert!(grant.is_some(), "{granted:?}");
        boundary.request("op1", grant, assist);
        boundary.request("op2", None, signal(SignalKind::NodeCompromise));
        boundary.event(Event::Tick);
        boundary
    }

    /// What a hub would show that steps the same events but those it leaves out, by the rules, and signs
    /// what comes of it.
    pub(crate) fn lived_without(leave_out: impl Fn(usize, &Event) -> bool) -> Self {
        Self::replaying(&Self::lived(), leave_out)
    }

    /// As [`Self::lived_without`], of what happened in another.
    pub(crate) fn replaying(other: &Self, leave_out: impl Fn(usize, &Event) -> bool) -> Self {
        let mut boundary = Self {
            log_keys: other.keys(),
            operators: Vec::new(),
            state: State::default(),
            now: START,
            entries: Vec::new(),
            nonces: 0,
            machines: other.machines,
        };
        for (place, (at, body)) in other.entries.iter().enumerate() {
            if !leave_out(place, &body.event) {
                boundary.now = at.as_millis() - 100;
                boundary.event(body.event.clone());
            }
        }
        boundary
    }

    /// Folds the entries that are there now.
    pub(crate) fn restate(&mut self) {
        self.state = State::default();
        self.entries.iter().for_each(|(at, body)| self.state.commit(body, *at));
    }

    /// The checkpoint over all entries, as the hub serves it.
    pub(crate) fn note(&self) -> SignedNote {
        let (mut head, mut tree) = (Head::EMPTY, Tree::new());
        for (at, body) in &self.entries {
            let sealed = head.next(*at, body.clone()).seal().unwrap();
            head = head.after(*at, &sealed);
            tree.append(sealed.leaf());
        }
        self.checkpoint(&tree)
    }

    /// Index of the first entry whose records satisfy `wanted`.
    pub(crate) fn find(&self, wanted: impl Fn(&Record) -> bool) -> u64 {
        self.entries.iter().position(|(_, body)| body.records.iter().any(&wanted)).unwrap() as u64
    }

    fn origin() -> KeyName {
        "north".parse().unwrap()
    }

    fn halves(&self) -> [Half<'_>; 2] {
        let half = |algorithm, public: &[u8]| Half {
            keys: &self.log_keys,
            key: VerifierKey::new(Self::origin(), algorithm, public.to_vec()).unwrap(),
        };
        [
            half(Algorithm::Ed25519, self.log_keys.ed25519_public()),
            half(Algorithm::MlDsa44, self.log_keys.mldsa44_public().as_slice()),
        ]
    }

    pub(crate) fn pins(&self) -> Pins {
        let keys = self.halves().iter().map(|half| half.key.clone()).collect();
        let (at, body) = &self.entries[0];
        let genesis = Head::EMPTY.next(*at, body.clone()).seal().unwrap().hash();
        let pins = Pins::new(Self::id(), CheckpointPolicy::new(Self::origin(), keys).unwrap(), genesis);
        match &body.event {
            Event::Create(genesis) => pins.with_founders(qaudit::founding::founders(genesis)),
            _ => pins,
        }
    }

    pub(crate) fn checkpoint(&self, tree: &Tree) -> SignedNote {
        let checkpoint = Checkpoint { origin: Self::origin(), size: tree.size(), root: tree.root() };
        let [classical, quantum_safe] = self.halves();
        checkpoint.sign(Timestamp::from_millis(self.now), &[&classical, &quantum_safe]).unwrap()
    }

    /// Chains and signs whatever the entries are now: for an honest boundary its log, after a
    /// change of the entries what a dishonest one would show.
    pub(crate) fn bundle(&self) -> Vec<u8> {
        let header = Header { boundary: Self::id(), origin: Self::origin(), size: self.entries.len() as u64 };
        let mut writer = BundleWriter::new(Vec::new(), &header).unwrap();
        let (mut head, mut tree) = (Head::EMPTY, Tree::new());
        for (at, body) in &self.entries {
            let entry = head.next(*at, body.clone());
            let sealed = entry.seal().unwrap();
            head = head.after(entry.at, &sealed);
            tree.append(sealed.leaf());
            writer.entry(sealed.bytes()).unwrap();
            if tree.size() == 3 {
                writer.checkpoint(&self.checkpoint(&tree)).unwrap();
            }
        }
        writer.finish(&self.checkpoint(&tree)).unwrap()
    }
}
