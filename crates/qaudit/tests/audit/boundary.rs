//! A boundary run by the kernel, its log signed as a hub does, and the ways its operator could
//! rewrite it.

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
    pub(crate) log_keys: LogSigner,
    pub(crate) operators: Vec<(&'static str, IdentityKey)>,
    pub(crate) state: State,
    pub(crate) now: u64,
    /// Time and body of every entry.
    pub(crate) entries: Vec<(Timestamp, Body)>,
    nonces: u8,
}

impl Boundary {
    pub(crate) fn id() -> BoundaryId {
        "north".parse().unwrap()
    }

    /// A boundary with two operators on duty, an auditor, and two nodes.
    pub(crate) fn new() -> Self {
        let entropy = Entropy::system().unwrap();
        let operators = ["op1", "op2", "eve"].map(|name| (name, IdentityKey::generate(&entropy).unwrap()));
        let log_keys = LogSigner::generate(&entropy).unwrap();
        let mut boundary = Self {
            log_keys,
            operators: operators.into(),
            state: State::default(),
            now: START,
            entries: Vec::new(),
            nonces: 0,
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
            identity: Label::IDENTITY.hash(&[name.as_bytes()]),
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
        let body = Body { event, records: records.clone() };
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
        let mut boundary = Self::new();
        for node in ["n1", "n2"] {
            let node: NodeId = node.parse().unwrap();
            boundary.event(Event::NodeUp { session: Label::SESSION_EXPORTER.hash(&[node.as_str().as_bytes()]), node });
        }
        boundary.event(Event::Tick);
        boundary.request("op1", None, Command::Read { what: "status".to_owned() });
        let signal =
            |kind| Command::Signal { subject: Subject::Node("n1".parse().unwrap()), kind, confidence_ppm: 990_000 };
        boundary.request("eve", None, signal(SignalKind::NodeCompromise));
        let assist = Command::SetAssisted { on: true };
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
        Pins::new(Self::id(), CheckpointPolicy::new(Self::origin(), keys).unwrap())
    }

    fn checkpoint(&self, tree: &Tree) -> SignedNote {
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
