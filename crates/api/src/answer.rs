//! What a request is answered with where it did not fail.

use kernel::record::Record;
use serde::{Deserialize, Serialize};
use types::{ForwardId, GrantId, Hash, OperatorId, RequestId, Timestamp};

use crate::view::View;

/// The JSON body of a successful request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Answer {
    /// It was carried out. HTTP 200.
    Done(Done),
    /// It waits for approvals. HTTP 202.
    Held(HeldView),
    /// A grant was issued; present it to have the command carried out. HTTP 200.
    Granted(GrantView),
}

/// A command that was carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Index of the log entry that records it.
    pub entry: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing beside the entry.
    Recorded,
    /// What was asked to see.
    View(Box<View>),
    /// The first entry of the log.
    Founding(FoundingView),
    /// A forward was added.
    Forward(ForwardId),
    /// An approval counted.
    Approved {
        /// The request.
        request: RequestId,
        /// Whether it has all its approvals now. An engine's response is then carried out; an operator
        /// asks again and is given the grant.
        complete: bool,
    },
    /// A held request was denied.
    Denied {
        /// The request.
        request: RequestId,
    },
    /// A console session can be opened, once.
    Console {
        /// Path and query of the sign-in link at the hub's address.
        path: String,
        /// When the link ends.
        expires: Timestamp,
    },
}

/// A request that waits for approvals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldView {
    /// Index of the log entry.
    pub entry: u64,
    /// The request.
    pub request: RequestId,
    /// Digest of what was asked for; approvers name it.
    pub digest: Hash,
    /// What was asked for.
    pub summary: String,
    /// Approvals needed besides the asker.
    pub needed: u32,
    /// The group the approvers must be in.
    pub group: String,
    /// When it ends by itself.
    pub expires: Timestamp,
}

/// The first entry of the log and its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundingView {
    /// Canonical bytes of the entry in hex.
    pub entry: String,
    /// Inclusion proof with a signed checkpoint (C2SP `tlog-proof`).
    pub proof: String,
}

/// A grant and its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// Its number.
    pub grant: GrantId,
    /// Whose it is.
    pub operator: OperatorId,
    /// Digest of the one command it allows.
    pub digest: Hash,
    /// When it ends.
    pub expires: Timestamp,
    /// The log entry that is the grant: canonical bytes in hex.
    pub entry: String,
    /// Inclusion proof with the signed checkpoint (C2SP `tlog-proof`).
    pub proof: String,
}

impl GrantView {
    /// The grant that `records` issue, if they do, as (grant, operator, digest, expires).
    pub fn find(records: &[Record]) -> Option<(GrantId, OperatorId, Hash, Timestamp)> {
        records.iter().find_map(|record| match record {
            Record::Granted { grant, operator, digest, expires } => Some((*grant, operator.clone(), *digest, *expires)),
            _ => None,
        })
    }
}
