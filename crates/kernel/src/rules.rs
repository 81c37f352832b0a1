//! The versions of the rules by which steps are taken.
//!
//! An entry names the version under which it was decided, and every version that ever decided an entry
//! stays here, so that an old log replays as it was. A boundary begins under the newest version of the
//! hub that begins it, and goes over to a later one by a governed entry of its own
//! ([`crate::event::Command::ActivateRules`]); there is no way back.

use minicbor::Decoder;
use types::Timestamp;

use crate::event::Event;
use crate::state::State;
use crate::step::{self, Step};

/// The newest version that is known here.
pub const RULES: u16 = 1;

type Take = fn(&State, &Event, Timestamp) -> Step;

/// Every version with its step, in order. A second is added below the first, which stays as it is.
const VERSIONS: &[(u16, Take)] = &[(1, step::step_1)];

/// Whether a version is known here.
pub fn is_known(version: u16) -> bool {
    of(VERSIONS, version).is_some()
}

/// Takes a step by the rules of `version`; `None` where they are not known here.
pub fn step_by(version: u16, state: &State, event: &Event, now: Timestamp) -> Option<Step> {
    of(VERSIONS, version).map(|take| take(state, event, now))
}

fn of(versions: &[(u16, Take)], version: u16) -> Option<Take> {
    versions.iter().find(|(known, _)| *known == version).map(|(_, take)| *take)
}

/// The version that the bytes of a [`crate::Body`] name, whatever else they hold: a later version may have
/// events and records that are not known here.
pub fn named(body: &[u8]) -> Option<u16> {
    let mut decoder = Decoder::new(body);
    decoder.array().ok()??;
    decoder.u16().ok()
}

#[cfg(test)]
mod tests {
    use types::Timestamp;

    use super::{RULES, Step, Take, VERSIONS, of};
    use crate::event::Event;
    use crate::state::State;

    #[test]
    fn versions_rise_and_the_newest_is_the_last() {
        assert!(VERSIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(VERSIONS.last().map(|(version, _)| *version), Some(RULES));
    }

    /// A second version stands beside the first, and each decides its own entries.
    #[test]
    fn each_version_decides_by_itself() {
        fn later(_: &State, _: &Event, _: Timestamp) -> Step {
            Step { more: true, ..Step::default() }
        }
        let versions: [(u16, Take); 2] = [VERSIONS[0], (2, later)];
        let take = |version| {
            of(&versions, version).map(|take| take(&State::default(), &Event::Tick, Timestamp::default()).more)
        };
        assert_eq!((take(1), take(2), take(3)), (Some(false), Some(true), None));
    }
}
