//! What an outsider's check of a real export costs, beside the hashing and the signatures in it.
//!
//! The export is of a hub that ran with whole nodes: rotations, a compromise, and operators' requests.
//! The limit of `verify` hashes every entry twice (chain and tree) and verifies each checkpoint's two
//! signatures; that of `replay` also verifies every operator's hybrid signature. Neither parses,
//! compares or steps anything. Subject and limit take turns; medians are compared.

use std::time::{Duration, Instant};

use api::client::ExportReply;
use evidence::bundle::{Section, Sections};
use evidence::{Checkpoint, Entry, Pins, SignedNote};
use kernel::Body;
use kernel::event::{Command, Event, SignedRequest};
use types::mesh::{KeyType, SignalKind, Subject};
use types::{Label, Millis};

use crate::deployment::{Mesh, by_two, done};
use crate::figures::{Samples, millis};

const ROUNDS: usize = 7;
const REQUESTS: usize = 500;

pub(crate) async fn run() {
    let (bundle, pins) = export().await;
    let parts = Parts::of(&bundle);
    println!(
        "\nan export of {} B: {} entries, {} checkpoints, {} operators' requests",
        bundle.len(),
        parts.entries.len(),
        parts.notes.len(),
        parts.requests.len()
    );
    let mut times: [Samples; 4] = Default::default();
    for _ in 0..ROUNDS {
        times[0].add(timed(|| drop(qaudit::verify(bundle.as_slice(), &pins).unwrap())));
        times[1].add(timed(|| parts.hash_and_check_notes(&pins)));
        times[2].add(timed(|| drop(qaudit::replay(bundle.as_slice(), &pins).unwrap())));
        times[3].add(timed(|| {
            parts.hash_and_check_notes(&pins);
            parts.check_requests();
        }));
    }
    println!("{:<8} {:>12} {:>10} {:>12} {:>7}", "", "entries/s", "MB/s", "limit/s", "ratio");
    for (name, ours, limit) in [("verify", &times[0], &times[1]), ("replay", &times[2], &times[3])] {
        let per_second = |samples: &Samples| parts.entries.len() as f64 * 1e3 / samples.at(50);
        let speed = bundle.len() as f64 / 1e3 / ours.at(50);
        let (ours, limit) = (per_second(ours), per_second(limit));
        println!("{name:<8} {ours:12.0} {speed:10.1} {limit:12.0} {:7.2}", ours / limit);
    }
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    millis(start.elapsed())
}

/// Half a minute in the life of a hub and five nodes.
async fn export() -> (Vec<u8>, Pins) {
    const NODES: usize = 5;
    let mesh = Mesh::start(NODES, Millis::from_secs(2), true).await;
    mesh.until_staged(NODES).await;
    let operator = mesh.client("op1");
    for _ in 0..REQUESTS {
        done(&operator, Command::Read { what: "status".to_owned() }).await;
    }
    let second = mesh.client("op2");
    let rotate = Command::RotateKeys { key_type: Some(KeyType::MeshSession), emergency: true };
    by_two(&operator, &second, rotate).await;
    let subject = Subject::Node("n5".parse().unwrap());
    for source in [&operator, &second] {
        done(source, Command::Signal { subject: subject.clone(), kind: SignalKind::NodeCompromise }).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let policy = operator.config().policy().unwrap();
    let pins = operator.founding().await.unwrap().pins(mesh.config.boundary.clone(), policy);
    let mut bundle = Vec::new();
    let reply = operator.export(&mut bundle).await.unwrap();
    assert!(matches!(reply, ExportReply::Exported(_)));
    mesh.hub.stop().await;
    (bundle, pins)
}

/// What is to be hashed and verified, taken apart beforehand.
struct Parts {
    entries: Vec<Vec<u8>>,
    notes: Vec<SignedNote>,
    requests: Vec<SignedRequest>,
    identities: Vec<(types::OperatorId, Vec<u8>)>,
}

impl Parts {
    fn of(bundle: &[u8]) -> Self {
        let mut sections = Sections::open(bundle).unwrap();
        let mut parts = Self { entries: vec![], notes: vec![], requests: vec![], identities: vec![] };
        while let Some(section) = sections.next_section().unwrap() {
            match section {
                Section::Entry(bytes) => parts.entry(bytes),
                Section::Checkpoint(note) | Section::Final(note) => parts.notes.push(SignedNote::parse(&note).unwrap()),
            }
        }
        parts
    }

    fn entry(&mut self, bytes: Vec<u8>) {
        match Entry::<Body>::parse(&bytes).unwrap().body.event {
            Event::Create(genesis) => {
                let known = genesis.operators.into_iter().map(|operator| (operator.id, operator.identity));
                self.identities.extend(known);
            }
            Event::Request(signed) => self.requests.push(*signed),
            _ => {}
        }
        self.entries.push(bytes);
    }

    fn hash_and_check_notes(&self, pins: &Pins) {
        for entry in &self.entries {
            std::hint::black_box(Label::ENTRY.hash(&[entry]));
            std::hint::black_box(Label::ENTRY.hash(&[&[0], entry]));
        }
        for note in &self.notes {
            let opened = pins.policy().open_exact(note.to_string().as_bytes(), &api::client::verify_note);
            assert!(Checkpoint::parse(note.text()).unwrap().size <= self.entries.len() as u64 && opened.is_ok());
        }
    }

    fn check_requests(&self) {
        for signed in &self.requests {
            let (_, identity) = self.identities.iter().find(|(id, _)| *id == signed.request.operator).unwrap();
            api::request::verify(identity, signed).unwrap();
        }
    }
}
