//! What an auditor is given out of band: which log, whose keys, and what was seen of it before.

use std::fmt;
use std::str::FromStr;

use types::{BoundaryId, Hash};

use crate::base64;
use crate::checkpoint::{CheckpointPolicy, PolicyError};
use crate::note::{KeyName, VerifierKey, VerifierKeyError};

const FIRST_LINE: &str = "qecnet-pins/v1";

/// A root the log once had, as an auditor noted it. A log that no longer passes through it was
/// rewritten; one that is shorter was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Number of entries.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// The pins of one log. As text, one item a line, in this order:
///
/// ```text
/// qecnet-pins/v1
/// boundary <name>
/// origin <origin>
/// log <vkey>                    (two or more: Ed25519 and ML-DSA-44)
/// seen <size> <base64(root)>    (none or more, by ascending size)
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    boundary: BoundaryId,
    policy: CheckpointPolicy,
    seen: Vec<Seen>,
}

/// A text is not a pins file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinsError {
    /// Another first line.
    #[error("a pins file starts with the line `{FIRST_LINE}`")]
    NotPins,
    /// A line that does not belong where it stands.
    #[error("line {0} of the pins file is not what belongs there: boundary, origin, log and seen lines, in this order")]
    BadLine(usize),
    /// A key that is not one.
    #[error("line {line} of the pins file: {error}")]
    Key {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with the key.
        #[source]
        error: VerifierKeyError,
    },
    /// The keys do not make a policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Not in the one form of a pins file.
    #[error("the pins file has extra spaces or lines, no last newline, or sizes out of order")]
    NotCanonical,
}

impl Pins {
    /// Pins for the log of `boundary` whose checkpoints satisfy `policy`.
    pub fn new(boundary: BoundaryId, policy: CheckpointPolicy) -> Self {
        Self { boundary, policy, seen: Vec::new() }
    }

    /// Also pins a root that was seen before.
    pub fn with_seen(mut self, seen: Seen) -> Self {
        self.seen.push(seen);
        self.seen.sort();
        self.seen.dedup();
        self
    }

    /// The boundary whose log it is.
    pub fn boundary(&self) -> &BoundaryId {
        &self.boundary
    }

    /// Whose signatures make a checkpoint of the log.
    pub fn policy(&self) -> &CheckpointPolicy {
        &self.policy
    }

    /// Roots seen before, by ascending size.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\nboundary {}\norigin {}", self.boundary, self.policy.origin())?;
        self.policy.log_keys().iter().try_for_each(|key| writeln!(f, "log {key}"))?;
        self.seen.iter().try_for_each(|seen| writeln!(f, "seen {} {}", seen.size, base64::encode(seen.root.as_ref())))
    }
}

impl FromStr for Pins {
    type Err = PinsError;

    fn from_str(text: &str) -> Result<Self, PinsError> {
        let mut lines = (1..).zip(text.lines()).peekable();
        if lines.next().map(|(_, line)| line) != Some(FIRST_LINE) {
            return Err(PinsError::NotPins);
        }
        let mut item = |word: &str| lines.next_if(|(_, line)| line.split(' ').next() == Some(word));
        let boundary = item("boundary").and_then(|(_, line)| line.strip_prefix("boundary ")?.parse().ok());
        let boundary: BoundaryId = boundary.ok_or(PinsError::BadLine(2))?;
        let origin = item("origin").and_then(|(_, line)| line.strip_prefix("origin ")?.parse().ok());
        let origin: KeyName = origin.ok_or(PinsError::BadLine(3))?;
        let mut keys = Vec::new();
        while let Some((number, line)) = item("log") {
            let vkey = line.strip_prefix("log ").ok_or(PinsError::BadLine(number))?;
            let key: VerifierKey = vkey.parse().map_err(|error| PinsError::Key { line: number, error })?;
            keys.push(key);
        }
        let mut pins = Self::new(boundary, CheckpointPolicy::new(origin, keys)?);
        while let Some((number, line)) = item("seen") {
            let parts = line.strip_prefix("seen ").and_then(|rest| rest.split_once(' '));
            let seen = parts
                .and_then(|(size, root)| Some(Seen { size: size.parse().ok()?, root: base64::decode_hash(root)? }));
            pins = pins.with_seen(seen.ok_or(PinsError::BadLine(number))?);
        }
        if let Some((number, _)) = lines.next() {
            return Err(PinsError::BadLine(number));
        }
        if pins.to_string() == text { Ok(pins) } else { Err(PinsError::NotCanonical) }
    }
}
