//! Exit codes of `qecnet`, the same for every command. `docs/cli.md` lists them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Something failed that has no code of its own.
    Failed = 1,
    /// The command line is wrong (the argument parser's own code).
    Usage = 2,
    /// Policy, or the state of things, does not allow it.
    Refused = 3,
    /// Held until others approve.
    Held = 4,
    /// The hub, or a fibre, does not answer.
    Unreachable = 5,
    /// A configuration, key or trust file is missing or wrong.
    Config = 6,
    /// The store is corrupt or not the one the keys belong to.
    Store = 7,
    /// The disk is full or fails.
    Disk = 8,
    /// An address is in use or cannot be listened on.
    Address = 9,
    /// A peer is not who it must be: wrong pin, expired certificate, wrong signature.
    Trust = 10,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
}

impl Fault {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

/// Gives an error its exit code where it crosses into a command.
pub(crate) trait OrExit<T> {
    fn or_exit(self, exit: Exit, doing: &str) -> Result<T, Fault>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit, doing: &str) -> Result<T, Fault> {
        self.map_err(|error| Fault { exit, error: error.into().context(doing.to_owned()) })
    }
}
