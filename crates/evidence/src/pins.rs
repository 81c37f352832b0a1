//! What an auditor is given out of band: which log, whose keys, and what was seen of it before.

use std::fmt;
use std::str::FromStr;

use types::{BoundaryId, Hash, NodeId, OperatorId};

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

/// Someone whom the first entry of the log names, with the fingerprint of the identity it gives them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Founder {
    /// An operator.
    Operator(OperatorId, Hash),
    /// A node.
    Node(NodeId, Hash),
}

impl fmt::Display for Founder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(name, _) => write!(f, "operator {name}"),
            Self::Node(name, _) => write!(f, "node {name}"),
        }
    }
}

impl Founder {
    /// Fingerprint of the identity.
    pub fn identity(&self) -> &Hash {
        match self {
            Self::Operator(_, identity) | Self::Node(_, identity) => identity,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let (kind, name) = (words.next()?, words.next()?);
        let identity = base64::decode_hash(words.next()?)?;
        match kind {
            "operator" => Some(Self::Operator(name.parse().ok()?, identity)),
            "node" => Some(Self::Node(name.parse().ok()?, identity)),
            _ => None,
        }
    }
}

/// The pins of one log. As text, one item a line, in this order:
///
/// ```text
/// qecnet-pins/v1
/// boundary <name>
/// origin <origin>
/// log <vkey>                                      (two or more: Ed25519 and ML-DSA-44)
/// genesis <base64(hash of entry 0)>
/// founder operator|node <name> <base64(identity)> (none or more, operators first, by name)
/// seen <size> <base64(root)>                      (none or more, by ascending size)
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    boundary: BoundaryId,
    policy: CheckpointPolicy,
    genesis: Hash,
    founders: Vec<Founder>,
    seen: Vec<Seen>,
}

/// A text is not a pins file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinsError {
    /// Another first line.
    #[error("a pins file starts with the line `{FIRST_LINE}`")]
    NotPins,
    /// A line that does not belong where it stands.
    #[error(
        "line {0} of the pins file is not what belongs there: boundary, origin, log, genesis, founder and seen lines, in this order"
    )]
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
    /// Pins for the log of `boundary` whose checkpoints satisfy `policy` and whose entry 0 has the hash
    /// `genesis` ([`crate::entry::entry_hash`]).
    pub fn new(boundary: BoundaryId, policy: CheckpointPolicy, genesis: Hash) -> Self {
        Self { boundary, policy, genesis, founders: Vec::new(), seen: Vec::new() }
    }

    /// Also names who founded the boundary, so that another founding is told by its people.
    pub fn with_founders(mut self, founders: impl IntoIterator<Item = Founder>) -> Self {
        self.founders.extend(founders);
        self.founders.sort();
        self.founders.dedup();
        self
    }

    /// Also pins a root that was seen before.
    pub fn with_seen(mut self, seen: Seen) -> Self {
        self.seen.push(seen);
        self.seen.sort();
        self.seen.dedup();
        self
    }

    /// As these, with one root seen: the newest, which fixes all that came before it.
    pub fn seen_last(mut self, seen: Seen) -> Self {
        self.seen = vec![seen];
        self
    }

    /// Hash of entry 0.
    pub fn genesis(&self) -> &Hash {
        &self.genesis
    }

    /// Whom entry 0 names, sorted.
    pub fn founders(&self) -> &[Founder] {
        &self.founders
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
        writeln!(f, "genesis {}", base64::encode(self.genesis.as_ref()))?;
        self.founders
            .iter()
            .try_for_each(|founder| writeln!(f, "founder {founder} {}", base64::encode(founder.identity().as_ref())))?;
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
        let policy = CheckpointPolicy::new(origin, keys)?;
        let after_keys = policy.log_keys().len() + 4;
        let genesis = item("genesis").and_then(|(_, line)| base64::decode_hash(line.strip_prefix("genesis ")?));
        let mut pins = Self::new(boundary, policy, genesis.ok_or(PinsError::BadLine(after_keys))?);
        while let Some((number, line)) = item("founder") {
            let founder = line.strip_prefix("founder ").and_then(Founder::parse);
            pins.founders.push(founder.ok_or(PinsError::BadLine(number))?);
        }
        pins = pins.with_founders([]);
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
