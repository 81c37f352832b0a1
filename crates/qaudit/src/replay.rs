//! Whether the operator followed its own policy: every step is taken again.
//!
//! Each entry holds an event and the records that came of it. The kernel is deterministic, so the
//! same event at the same time on the same state has to give the same records, byte for byte. A
//! decision that the policy does not give is found even where the log's own keys signed it.
//!
//! What it proves: the records follow from the events, nothing that was due was left out
//! ([`crate::due`]), and every operator's request carries that operator's own signature. What it cannot
//! prove: that a node really reported what an event says, or that nothing was left out from the end; a
//! checkpoint got elsewhere binds that.

use std::io::Read;

use crypto::identity::{ParseIdentityError, VerifyError};
use crypto::suite::Age;
use crypto::{IdentityPublic, IdentitySignature};
use evidence::bundle::{Audit, Item, Summary};
use evidence::{Algorithm, Entry, Opaque, Pins};
use kernel::event::{Event, Genesis, SignedRequest};
use kernel::record::Record;
use kernel::{Body, RULES, State, step_by};
use serde::Serialize;
use types::cbor::{self, DecodeError};
use types::{BoundaryId, Hash, Label, OperatorId, Timestamp};

use crate::due::{Pauses, Watch};
use crate::failure::Failure;
use crate::founding::{self, OtherFounders};
use crate::{check_signature, moment, rules};

/// How an entry differs from what the kernel does.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The first event does not create a boundary.
    #[error("the first entry does not create a boundary")]
    NotFounded,
    /// The boundary that is created is another one.
    #[error("it creates boundary `{found}`, which is not the pinned one")]
    OtherBoundary {
        /// The boundary in the event.
        found: BoundaryId,
    },
    /// The boundary names other log keys than the pinned ones.
    #[error("the boundary was created with other log keys than the pinned ones")]
    OtherLogKeys,
    /// The boundary was founded by others.
    #[error(transparent)]
    OtherFounders(#[from] OtherFounders),
    /// The entry names another version of the rules than holds there.
    #[error("it was decided by rules version {found}, where version {holds} holds")]
    OtherRules {
        /// In the entry.
        found: u16,
        /// What holds.
        holds: u16,
    },
    /// It is of the rules it names, and not of their form.
    #[error("it is not of the form of an entry: {0}")]
    Malformed(#[from] DecodeError),
    /// What was due was not done.
    #[error("what was due at {} was not done before it: a tick was left out", moment::text(*.since))]
    TickOmitted {
        /// When it was due.
        since: Timestamp,
    },
    /// A request without its operator's signature.
    #[error("the request is not signed by `{operator}`: {reason}")]
    Unsigned {
        /// Who is said to have asked.
        operator: OperatorId,
        /// What is wrong with the signature.
        #[source]
        reason: SignatureProblem,
    },
    /// The kernel decides otherwise.
    #[error(transparent)]
    Differs(#[from] Box<Difference>),
}

/// What is wrong with a signature of an operator.
#[derive(Debug, thiserror::Error)]
pub enum SignatureProblem {
    /// The identity in the log, or the signature, is not one.
    #[error(transparent)]
    Malformed(#[from] ParseIdentityError),
    /// It does not verify.
    #[error(transparent)]
    Wrong(#[from] VerifyError),
}

/// The first record in which log and kernel differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("record {record} is {}, and the kernel decides {}", name(.logged.as_ref()), name(.replayed.as_ref()))]
pub struct Difference {
    /// Its place among the records of the entry, from 0.
    pub record: usize,
    /// What the log says; absent where the log has fewer records.
    pub logged: Option<Record>,
    /// What the kernel decides; absent where it decides less.
    pub replayed: Option<Record>,
}

fn name(record: Option<&Record>) -> String {
    match record {
        Some(record) => serde_json::to_string(record).unwrap_or_else(|_| format!("{record:?}")),
        None => "absent".to_owned(),
    }
}

/// What a replay proves beyond [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// What the bundle proves.
    #[serde(flatten)]
    pub summary: Summary,
    /// Records that were decided again.
    pub records: u64,
    /// Policy decisions among them.
    pub decisions: u64,
    /// Operators' signatures that were verified.
    pub signatures: u64,
    /// Time in which the hub says that it could not act.
    pub pauses: Pauses,
    /// Hash of the state at the end.
    pub state: Hash,
}

/// Verifies a bundle and takes every step of it again.
///
/// A bundle that does not verify is reported as that, even where a step before the bad part
/// differs: what is not as it was signed says nothing about its signer.
pub fn replay(input: impl Read, pins: &Pins) -> Result<Replayed, Failure> {
    let mut audit = Audit::open(input, pins, check_signature)?;
    let mut replay = Replay::new(pins);
    let mut first = None;
    while let Some(item) = audit.next_item::<Opaque>()? {
        let Item::Entry { entry, .. } = item else { continue };
        if entry.index == 0 {
            // Another log altogether: nothing else about it matters.
            founding::check(entry.body.as_bytes(), pins)?;
        }
        if first.is_none() {
            first = replay.opaque(entry).err();
        }
    }
    if let Some(failure) = first {
        return Err(failure);
    }
    // `next_item` ends only after a final checkpoint.
    let summary = audit.summary().ok_or(evidence::bundle::BundleError::NotABundle)?;
    let Replay { state, records, decisions, signatures, due, .. } = replay;
    if let Some(since) = due.overdue(&state, summary.signed_at) {
        let index = summary.header.size.saturating_sub(1);
        return Err(Failure::Replay { index, problem: Problem::TickOmitted { since } });
    }
    Ok(Replayed { summary, records, decisions, signatures, pauses: due.pauses(), state: state.hash() })
}

/// A replay under way.
struct Replay<'p> {
    pins: &'p Pins,
    state: State,
    records: u64,
    decisions: u64,
    signatures: u64,
    due: Watch,
}

impl<'p> Replay<'p> {
    fn new(pins: &'p Pins) -> Self {
        Self { pins, state: State::default(), records: 0, decisions: 0, signatures: 0, due: Watch::default() }
    }

    /// An entry whose body may be of rules that are not known here.
    fn opaque(&mut self, entry: Entry<Opaque>) -> Result<(), Failure> {
        let Entry { index, prev, at, body } = entry;
        let holds = (index > 0).then(|| self.state.rules());
        let body = rules::read(index, body.as_bytes(), holds)?;
        self.entry(&Entry { index, prev, at, body }).map_err(|problem| Failure::Replay { index, problem })
    }

    fn entry(&mut self, entry: &Entry<Body>) -> Result<(), Problem> {
        let Entry { index, at, body, .. } = entry;
        match &body.event {
            Event::Create(genesis) if *index == 0 => self.check_founding(genesis)?,
            _ if *index == 0 => return Err(Problem::NotFounded),
            Event::Request(signed) => self.check_signature(signed)?,
            _ => {}
        }
        if let Some(since) = self.due.before(&self.state, body, *at) {
            return Err(Problem::TickOmitted { since });
        }
        let step = step_by(body.rules, &self.state, &body.event, *at);
        let replayed = step.ok_or(Problem::OtherRules { found: body.rules, holds: RULES })?.records;
        if cbor::to_vec(&replayed) != cbor::to_vec(&body.records) {
            return Err(Box::new(difference(&body.records, &replayed)).into());
        }
        self.records += replayed.len() as u64;
        self.decisions += replayed.iter().filter(|record| matches!(record, Record::Decided(_))).count() as u64;
        self.state.commit(body, *at);
        self.due.after(&self.state, *index, body, *at);
        Ok(())
    }

    /// The boundary is the pinned one, under the pinned log keys.
    fn check_founding(&self, genesis: &Genesis) -> Result<(), Problem> {
        if genesis.boundary != *self.pins.boundary() {
            return Err(Problem::OtherBoundary { found: genesis.boundary.clone() });
        }
        let keys = self.pins.policy().log_keys();
        let of = |algorithm| keys.iter().filter(move |key| key.algorithm() == algorithm).map(|key| key.public());
        let fits = |classical: &[u8]| {
            of(Algorithm::MlDsa44).any(|pq| Label::IDENTITY.hash(&[b"log", classical, pq]) == genesis.audit_key)
        };
        if of(Algorithm::Ed25519).any(fits) { Ok(()) } else { Err(Problem::OtherLogKeys) }
    }

    /// A request carries the signature of the operator it names, by the key the log has for it. An
    /// operator that the log does not know has no key: the kernel refuses its request.
    fn check_signature(&mut self, signed: &SignedRequest) -> Result<(), Problem> {
        let id = &signed.request.operator;
        let Some(operator) = self.state.operator(id) else { return Ok(()) };
        let check = || -> Result<(), SignatureProblem> {
            let identity = IdentityPublic::from_bytes(&operator.identity)?;
            let signature = IdentitySignature::from_bytes(&signed.signature)?;
            let request = cbor::to_vec(&signed.request);
            Ok(identity.verify_aged(Label::REQUEST, &[&request], &signature, Age::Historic)?)
        };
        check().map_err(|reason| Problem::Unsigned { operator: id.clone(), reason })?;
        self.signatures += 1;
        Ok(())
    }
}

fn difference(logged: &[Record], replayed: &[Record]) -> Difference {
    let same = logged.iter().zip(replayed).take_while(|(one, other)| one == other).count();
    Difference { record: same, logged: logged.get(same).cloned(), replayed: replayed.get(same).cloned() }
}

/// What holds, for people.
pub fn describe(replayed: &Replayed) -> String {
    format!(
        "{}\nreplayed: {} records, {} policy decisions and {} operators' signatures are as the kernel decides\n\
         nothing that was due was left out; by its own word the hub started {} times and could not act for {} s in \
         all, at most {} s at once (until entry {})\nstate {}",
        crate::verify::describe(&replayed.summary),
        replayed.records,
        replayed.decisions,
        replayed.signatures,
        replayed.pauses.starts,
        replayed.pauses.total_ms.div_ceil(1_000),
        replayed.pauses.longest_ms.div_ceil(1_000),
        replayed.pauses.longest_until,
        replayed.state,
    )
}
