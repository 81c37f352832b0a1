//! Whose log it is: who founded it, held against the pins.

use std::collections::BTreeSet;

use evidence::{Founder, Pins};
use kernel::event::{Event, Genesis};
use kernel::record::Principal;

use crate::failure::Failure;
use crate::rules;

/// The founders that the first event of a log names.
pub fn founders(genesis: &Genesis) -> BTreeSet<Founder> {
    let founders = genesis.identities().into_iter().filter_map(|(founder, identity)| match founder {
        Principal::Operator(name) => Some(Founder::Operator(name, identity)),
        Principal::Node(name) => Some(Founder::Node(name, identity)),
        Principal::Engine => None,
    });
    founders.collect()
}

/// How the founders of a log differ from the pinned ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it was founded by other people or nodes than the pinned ones: {}", describe(.missing, .strange))]
pub struct OtherFounders {
    /// Pinned, and not in the log with this identity.
    pub missing: Vec<Founder>,
    /// In the log, and not pinned with this identity.
    pub strange: Vec<Founder>,
}

fn describe(missing: &[Founder], strange: &[Founder]) -> String {
    let list = |founders: &[Founder]| {
        let named = founders.iter().map(|founder| format!("{founder} ({})", founder.identity()));
        named.collect::<Vec<_>>().join(", ")
    };
    match (missing, strange) {
        (missing, []) => format!("it lacks {}", list(missing)),
        ([], strange) => format!("it has {}", list(strange)),
        (missing, strange) => format!("it has {} where the pins have {}", list(strange), list(missing)),
    }
}

/// Holds the first entry against the pinned founders. One that was decided by rules that are not known here
/// is told by its hash alone.
pub(crate) fn check(body: &[u8], pins: &Pins) -> Result<(), Failure> {
    let Ok(body) = rules::read(0, body, None) else { return Ok(()) };
    let Event::Create(genesis) = &body.event else { return Ok(()) };
    let pinned: BTreeSet<Founder> = pins.founders().iter().cloned().collect();
    let found = founders(genesis);
    if pinned == found {
        return Ok(());
    }
    let other = OtherFounders {
        missing: pinned.difference(&found).cloned().collect(),
        strange: found.difference(&pinned).cloned().collect(),
    };
    Err(Failure::Replay { index: 0, problem: other.into() })
}
