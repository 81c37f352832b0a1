//! What a permit asks for before it is used, from the annotations of the permitting policies.

use std::collections::BTreeSet;

use types::Millis;

/// Life of a grant where no permitting policy names one.
pub const DEFAULT_TTL: Millis = Millis::from_secs(60);

/// Shortest life of a grant a policy may name.
pub const MIN_TTL: Millis = Millis::from_secs(1);

/// Longest life of a grant a policy may name.
pub const MAX_TTL: Millis = Millis::from_secs(15 * 60);

/// Most approvals a policy may ask for.
pub const MAX_APPROVALS: u32 = 9;

/// What must be met before a permit is used.
///
/// Where several policies permit, the strictest of each counts: the shortest life, the most
/// approvals, a grant where any wants one. Where they name several groups, every approver must be
/// in each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligations {
    /// Whether the action is carried out on a grant only. Always so where approvals are needed.
    pub grant: bool,
    /// Life of the grant.
    pub ttl: Millis,
    /// How many distinct people besides the asker must approve.
    pub approvals: u32,
    /// Groups each of them must be in.
    pub approvers: BTreeSet<String>,
}

impl Default for Obligations {
    fn default() -> Self {
        // The longest life, so that the strictest of this and any other is the other.
        Self { grant: false, ttl: MAX_TTL, approvals: 0, approvers: BTreeSet::new() }
    }
}

impl Obligations {
    /// Whatever of the two asks for more, in each respect.
    #[must_use]
    pub fn strictest(mut self, other: &Self) -> Self {
        self.grant |= other.grant;
        self.ttl = self.ttl.min(other.ttl);
        self.approvals = self.approvals.max(other.approvals);
        self.approvers.extend(other.approvers.iter().cloned());
        self
    }

    /// Whether the action is carried out at once.
    pub fn is_immediate(&self) -> bool {
        !self.grant && self.approvals == 0
    }

    /// The groups as they are recorded: joined by commas, which no group of a policy contains.
    pub fn group(&self) -> String {
        self.approvers.iter().map(String::as_str).collect::<Vec<_>>().join(",")
    }
}
