//! C2SP tlog-proof (c2sp.org/tlog-proof): an entry's place in a log, provable offline. With the
//! entry's bytes beside it, this is what a grant carries.

use std::fmt;

use minicbor::{Decode, Encode};
use types::Hash;
use types::cbor::DecodeError;

use crate::base64;
use crate::checkpoint::{BodyError, Checkpoint, CheckpointError, CheckpointPolicy, SignedCheckpoint};
use crate::entry::Entry;
use crate::merkle::{InclusionProof, ProofError, leaf_hash};
use crate::note::{NOTE_LEN, NoteError, NoteVerifier, SignedNote};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Longest path from a leaf to a root.
const PATH_LEN: usize = 64;

/// Longest extra data in bytes.
const EXTRA_LEN: usize = 64 * 1024;

/// A proof that one entry is in a log. Shown as its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Data beside the proof. **Not authenticated**: never trust it for anything.
    pub extra: Option<Vec<u8>>,
    /// Place of the entry in the log.
    pub index: u64,
    /// Siblings from the leaf to the root.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: SignedNote,
}

/// Bytes are not a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofFormatError {
    /// Longer than any proof.
    #[error("the proof is longer than any proof can be")]
    TooLong,
    /// Not UTF-8, another first line, or no empty line before the checkpoint.
    #[error("a proof starts with `{FIRST_LINE}` and has an empty line before its checkpoint")]
    Malformed,
    /// A line that is not what it should be.
    #[error("line {0} of the proof is not what belongs there")]
    BadLine(usize),
    /// The checkpoint is not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text of the checkpoint is not one.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// Why an entry is not proven to be in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvenError {
    /// The checkpoint does not hold.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not hold.
    #[error(transparent)]
    Path(#[from] ProofError),
    /// The entry's bytes are not those of an entry.
    #[error(transparent)]
    Entry(#[from] DecodeError),
    /// The entry says that it stands elsewhere.
    #[error("the entry says that it is entry {entry}, the proof that it is entry {proof}")]
    OtherIndex {
        /// Index in the entry.
        entry: u64,
        /// Index in the proof.
        proof: u64,
    },
}

impl TlogProof {
    /// Joins an inclusion proof and a signed checkpoint of the same size.
    pub fn new(inclusion: InclusionProof, checkpoint: SignedNote) -> Self {
        Self { extra: None, index: inclusion.index, path: inclusion.path, checkpoint }
    }

    /// Parses the one form of a proof.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFormatError> {
        if bytes.len() > NOTE_LEN + 2 * EXTRA_LEN {
            return Err(ProofFormatError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ProofFormatError::Malformed)?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofFormatError::Malformed)?;
        let mut lines = head.split('\n').enumerate().peekable();
        if lines.next().map(|(_, line)| line) != Some(FIRST_LINE) {
            return Err(ProofFormatError::Malformed);
        }
        let mut extra = None;
        if let Some((number, line)) = lines.next_if(|(_, line)| line.starts_with("extra ")) {
            let data = line.strip_prefix("extra ").and_then(base64::decode);
            extra = Some(data.filter(|data| data.len() <= EXTRA_LEN).ok_or(ProofFormatError::BadLine(number))?);
        }
        let index = lines.next().and_then(|(_, line)| line.strip_prefix("index ")?.parse().ok());
        let index = index.ok_or(ProofFormatError::BadLine(1 + usize::from(extra.is_some())))?;
        let mut path = Vec::new();
        for (number, line) in lines {
            let hash = base64::decode_hash(line).filter(|_| path.len() < PATH_LEN);
            path.push(hash.ok_or(ProofFormatError::BadLine(number))?);
        }
        let checkpoint = SignedNote::parse(checkpoint.as_bytes())?;
        Checkpoint::parse(checkpoint.text())?;
        let proof = Self { extra, index, path, checkpoint };
        if proof.to_string() == text { Ok(proof) } else { Err(ProofFormatError::Malformed) }
    }

    /// Checks that `entry` is in the log that `policy` names.
    pub fn verify<V>(
        &self,
        entry: &[u8],
        policy: &CheckpointPolicy,
        verifier: &V,
    ) -> Result<SignedCheckpoint, ProvenError>
    where
        V: NoteVerifier + ?Sized,
    {
        let signed = policy.check(self.checkpoint.clone(), verifier)?;
        let Checkpoint { size, root, .. } = *signed.checkpoint();
        let inclusion = InclusionProof { index: self.index, size, path: self.path.clone() };
        inclusion.verify(&leaf_hash(entry), &root)?;
        Ok(signed)
    }

    /// Checks that `entry` is in the log that `policy` names, and parses it.
    pub fn verify_entry<B, V>(
        &self,
        entry: &[u8],
        policy: &CheckpointPolicy,
        verifier: &V,
    ) -> Result<(Entry<B>, SignedCheckpoint), ProvenError>
    where
        B: for<'b> Decode<'b, ()> + Encode<()>,
        V: NoteVerifier + ?Sized,
    {
        let signed = self.verify(entry, policy, verifier)?;
        let entry = Entry::parse(entry)?;
        if entry.index == self.index {
            Ok((entry, signed))
        } else {
            Err(ProvenError::OtherIndex { entry: entry.index, proof: self.index })
        }
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", base64::encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", base64::encode(hash.as_ref())))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
