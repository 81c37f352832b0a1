//! Why an audit does not hold, for people, for scripts and as JSON.

use std::io;
use std::path::PathBuf;

use evidence::bundle::{BundleError, Part};
use evidence::checkpoint::CheckpointError;
use evidence::pins::PinsError;
use serde::Serialize;

use crate::exit::Exit;
use crate::replay::Problem;

/// Why an audit does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file cannot be opened.
    #[error("cannot read `{}`: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The pins are not pins.
    #[error("`{}`: {error}", .path.display())]
    Pins {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: PinsError,
    },
    /// The checkpoint that was given is not one of the pinned log.
    #[error("`{}` is no checkpoint of the pinned log: {error}", .path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: CheckpointError,
    },
    /// The pins cannot be brought up to date.
    #[error("it holds, and `{}` cannot be updated: {error}", .path.display())]
    Update {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The bundle does not hold.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The bundle is as it was signed, and was signed over something the kernel does not do.
    #[error("tampered: entry {index}: {problem}")]
    Replay {
        /// The first entry that differs.
        index: u64,
        /// How.
        #[source]
        problem: Problem,
    },
    /// The log goes on by rules that are not known here.
    #[error(
        "this log needs rules version {needed} from entry {index} on, and this qaudit knows up to {}: use a later one",
        kernel::RULES
    )]
    Rules {
        /// The first entry of that version.
        index: u64,
        /// The version.
        needed: u16,
    },
    /// An entry was asked for that is not there.
    #[error("there is no entry {index}: the bundle has {entries}, counted from 0")]
    NoSuchEntry {
        /// What was asked for.
        index: u64,
        /// How many there are.
        entries: u64,
    },
}

/// A failure as JSON.
#[derive(Debug, Serialize)]
struct View {
    result: Exit,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<String>,
    problem: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    differs: Option<serde_json::Value>,
}

impl Failure {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Bundle(BundleError::Tampered { .. }) | Self::Replay { .. } => Exit::Tampered,
            Self::Bundle(BundleError::Incomplete(_)) | Self::Rules { .. } => Exit::Incomplete,
            Self::File { .. }
            | Self::Pins { .. }
            | Self::Checkpoint { .. }
            | Self::Update { .. }
            | Self::NoSuchEntry { .. }
            | Self::Bundle(BundleError::Read(_) | BundleError::NotABundle) => Exit::Unreadable,
        }
    }

    /// The first bad part of the bundle, where there is one.
    pub fn part(&self) -> Option<Part> {
        match self {
            Self::Bundle(BundleError::Tampered { part, .. }) => Some(*part),
            Self::Replay { index, .. } | Self::Rules { index, .. } => Some(Part::Entry(*index)),
            _ => None,
        }
    }

    /// The failure as JSON: `result`, `problem`, and where they apply `part`, `entry` and
    /// `differs` (`record`, `logged`, `replayed`).
    pub fn to_json(&self) -> serde_json::Value {
        let part = self.part();
        let entry = match part {
            Some(Part::Entry(index)) => Some(index),
            _ => None,
        };
        let differs = match self {
            Self::Replay { problem: Problem::Differs(difference), .. } => serde_json::to_value(difference).ok(),
            _ => None,
        };
        let part = part.map(|part| part.to_string());
        let view = View { result: self.exit(), entry, part, problem: self.to_string(), differs };
        serde_json::to_value(view).unwrap_or_default()
    }
}
