use types::Timestamp;

use super::{BodyError, Checkpoint};
use crate::note::{Algorithm, KeyName, NoteError, NoteVerifier, SignatureLine, SignedNote, VerifierKey};

/// Latest time a cosignature may carry, in seconds (c2sp.org/tlog-cosignature).
const LATEST_TIME: u64 = i64::MAX as u64;

/// Whose signatures make a checkpoint of one log: at least one Ed25519 (01) **and** one ML-DSA-44
/// (06) line of the log's own keys. Lines of unknown keys are ignored; a line of a known key that
/// does not verify rejects the checkpoint, whatever the other lines say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointPolicy {
    origin: KeyName,
    log: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
}

/// Keys do not make a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A key of the log has another name.
    #[error("the log's key `{found}` is not named after its origin `{origin}`")]
    WrongName {
        /// The log's origin.
        origin: KeyName,
        /// The key's name.
        found: KeyName,
    },
    /// One of the two kinds is missing.
    #[error("the log needs an Ed25519 key (type 01) and an ML-DSA-44 key (type 06)")]
    NotHybrid,
    /// A key of the log, or two keys that lines cannot tell apart.
    #[error("key `{0}` is given twice, or is of a type that a log does not sign with")]
    Unfit(KeyName),
}

/// Why a note is not a checkpoint of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not that of a checkpoint.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Of another log.
    #[error("the checkpoint is of log `{found}`, not of `{expected}`")]
    WrongOrigin {
        /// The pinned origin.
        expected: KeyName,
        /// The origin in the checkpoint.
        found: KeyName,
    },
    /// A known key's signature does not verify.
    #[error("the signature of `{name}` ({algorithm:?}) does not verify")]
    BadSignature {
        /// Name of the key.
        name: KeyName,
        /// Its algorithm.
        algorithm: Algorithm,
    },
    /// One of the two signatures of the log is missing.
    #[error("the checkpoint lacks the log's {algorithm:?} signature by a pinned key")]
    Missing {
        /// The kind that is missing.
        algorithm: Algorithm,
    },
    /// A line by a key that is not pinned, where only pinned ones are taken.
    #[error("the checkpoint carries a line of `{name}`, whose key is not pinned")]
    UnknownKey {
        /// Name in the line.
        name: KeyName,
    },
}

/// A checkpoint whose signatures were found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: SignedNote,
    at: Timestamp,
}

impl SignedCheckpoint {
    /// What is signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note as it was given.
    pub fn note(&self) -> &SignedNote {
        &self.note
    }

    /// The time in the log's ML-DSA-44 line, in whole seconds.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl CheckpointPolicy {
    /// A policy from the log's keys, all named after its origin.
    pub fn new(origin: KeyName, log: Vec<VerifierKey>) -> Result<Self, PolicyError> {
        for (place, key) in log.iter().enumerate() {
            if key.name() != &origin {
                return Err(PolicyError::WrongName { origin, found: key.name().clone() });
            }
            let twice = log[..place].iter().any(|other| other.id() == key.id());
            if twice || key.algorithm() == Algorithm::Ed25519Cosignature {
                return Err(PolicyError::Unfit(key.name().clone()));
            }
        }
        let has = |algorithm| log.iter().any(|key: &VerifierKey| key.algorithm() == algorithm);
        if !has(Algorithm::Ed25519) || !has(Algorithm::MlDsa44) {
            return Err(PolicyError::NotHybrid);
        }
        Ok(Self { origin, log, witnesses: Vec::new() })
    }

    /// Also knows the key of a witness: its line is not demanded, but must hold where there is one.
    pub fn with_witness(mut self, key: VerifierKey) -> Result<Self, PolicyError> {
        if self.known().any(|other| other.name() == key.name() && other.id() == key.id()) {
            return Err(PolicyError::Unfit(key.name().clone()));
        }
        self.witnesses.push(key);
        Ok(self)
    }

    /// The log's origin.
    pub fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// The log's keys.
    pub fn log_keys(&self) -> &[VerifierKey] {
        &self.log
    }

    fn known(&self) -> impl Iterator<Item = &VerifierKey> {
        self.log.iter().chain(&self.witnesses)
    }

    /// Parses a signed checkpoint and checks its signatures.
    pub fn open<V: NoteVerifier + ?Sized>(
        &self,
        bytes: &[u8],
        verifier: &V,
    ) -> Result<SignedCheckpoint, CheckpointError> {
        self.check(SignedNote::parse(bytes)?, verifier)
    }

    /// As [`CheckpointPolicy::open`], and refuses lines of keys that are not pinned: then no byte
    /// of the note is without a signature over it.
    pub fn open_exact<V>(&self, bytes: &[u8], verifier: &V) -> Result<SignedCheckpoint, CheckpointError>
    where
        V: NoteVerifier + ?Sized,
    {
        let note = SignedNote::parse(bytes)?;
        match note.lines().iter().find(|line| self.key_of(line).is_none()) {
            Some(line) => Err(CheckpointError::UnknownKey { name: line.name.clone() }),
            None => self.check(note, verifier),
        }
    }

    /// Checks the signatures of a parsed note.
    pub fn check<V>(&self, note: SignedNote, verifier: &V) -> Result<SignedCheckpoint, CheckpointError>
    where
        V: NoteVerifier + ?Sized,
    {
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != self.origin {
            return Err(CheckpointError::WrongOrigin { expected: self.origin.clone(), found: checkpoint.origin });
        }
        let mut classical = false;
        let mut quantum_safe_at = None;
        for line in note.lines() {
            let Some(key) = self.key_of(line) else { continue };
            let seconds = verify_line(&checkpoint, key, line, verifier).ok_or_else(|| {
                CheckpointError::BadSignature { name: key.name().clone(), algorithm: key.algorithm() }
            })?;
            if self.log.contains(key) {
                match key.algorithm() {
                    Algorithm::MlDsa44 => quantum_safe_at = Some(seconds),
                    Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => classical = true,
                }
            }
        }
        let missing = |algorithm| CheckpointError::Missing { algorithm };
        let seconds = quantum_safe_at.ok_or(missing(Algorithm::MlDsa44))?;
        if !classical {
            return Err(missing(Algorithm::Ed25519));
        }
        Ok(SignedCheckpoint { checkpoint, note, at: Timestamp::from_millis(seconds.saturating_mul(1_000)) })
    }

    fn key_of(&self, line: &SignatureLine) -> Option<&VerifierKey> {
        self.known().find(|key| key.name() == &line.name && key.id() == line.key_id)
    }
}

/// The time of a line that holds; zero for a type without one.
fn verify_line<V>(checkpoint: &Checkpoint, key: &VerifierKey, line: &SignatureLine, verifier: &V) -> Option<u64>
where
    V: NoteVerifier + ?Sized,
{
    let (seconds, signature) = if key.algorithm().timestamped() {
        let (time, signature) = line.payload.split_first_chunk::<8>()?;
        (u64::from_be_bytes(*time), signature)
    } else {
        (0, line.payload.as_slice())
    };
    let well_formed = signature.len() == key.algorithm().signature_len() && seconds <= LATEST_TIME;
    (well_formed && verifier.verify(key, &checkpoint.message(key, seconds), signature)).then_some(seconds)
}
