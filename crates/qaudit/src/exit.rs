//! Exit codes: the verdict for scripts.

/// How an audit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Exit {
    /// Everything holds.
    Holds = 0,
    /// Something was altered, or the policy was not followed.
    Tampered = 1,
    /// A file cannot be read or is not what it should be.
    Unreadable = 2,
    /// As far as it goes nothing is wrong, but it ends too early.
    Incomplete = 3,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
