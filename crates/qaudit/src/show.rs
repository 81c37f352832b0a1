//! One entry, and the state of the boundary as of it.

use std::io::Read;

use evidence::Chain;
use evidence::bundle::{BundleError, Section, Sections};
use evidence::entry::entry_hash;
use evidence::merkle::leaf_hash;
use kernel::view::Status;
use kernel::{Body, State};
use serde::Serialize;
use types::{Hash, Timestamp};

use crate::failure::Failure;
use crate::moment;

/// An entry and the state after it. The links of the entries up to it have been checked, no
/// signature has: `verify` and `replay` do that.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// Place in the log.
    pub index: u64,
    /// When, in milliseconds since 1970.
    pub at: Timestamp,
    /// When, for people.
    pub time: String,
    /// Hash of the entry before.
    pub prev: Hash,
    /// Hash of the entry in the chain.
    pub hash: Hash,
    /// Its leaf in the Merkle tree.
    pub leaf: Hash,
    /// Event and records.
    #[serde(flatten)]
    pub body: Body,
    /// The state after it.
    pub state: StateAt,
}

/// The state of a boundary after an entry.
#[derive(Debug, Clone, Serialize)]
pub struct StateAt {
    /// The log up to the entry.
    pub log: LogAt,
    /// What `qecnet status` showed then.
    #[serde(flatten)]
    pub status: Status,
    /// The revocation epoch.
    pub epoch: u64,
    /// Hash of the policies in force.
    pub policy: Option<Hash>,
    /// Hash of the whole state.
    pub hash: Hash,
}

/// A log up to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LogAt {
    /// Number of entries.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// Folds the log up to entry `index`.
pub fn show(input: impl Read, index: u64) -> Result<Shown, Failure> {
    let mut sections = Sections::open(input)?;
    let mut chain = Chain::new();
    let mut state = State::default();
    while let Some(section) = sections.next_section()? {
        let Section::Entry(bytes) = section else { continue };
        let entry = chain.push::<Body>(&bytes).map_err(BundleError::from)?;
        state.commit(&entry.body, entry.at);
        if entry.index == index {
            return Ok(Shown {
                index,
                at: entry.at,
                time: moment::text(entry.at),
                prev: entry.prev,
                hash: entry_hash(&bytes),
                leaf: leaf_hash(&bytes),
                body: entry.body,
                state: StateAt {
                    log: LogAt { size: chain.size(), root: chain.root() },
                    status: state.status(),
                    epoch: state.epoch(),
                    policy: state.policy_hash(),
                    hash: state.hash(),
                },
            });
        }
    }
    Err(Failure::NoSuchEntry { index, entries: chain.size() })
}

/// The entry for people.
pub fn describe(shown: &Shown) -> Result<String, serde_json::Error> {
    let mut out = format!("entry {} at {}\nhash {}\n", shown.index, shown.time, shown.hash);
    out += &format!("event\n  {}\nrecords\n", serde_json::to_string(&shown.body.event)?);
    for record in &shown.body.records {
        out += &format!("  {}\n", serde_json::to_string(record)?);
    }
    out +=
        &format!("state after it (not verified: run `qaudit replay`)\n{}", serde_json::to_string_pretty(&shown.state)?);
    Ok(out)
}
