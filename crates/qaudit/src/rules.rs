//! Reading what may have been decided by rules that are not known here.

use kernel::{Body, RULES, rules};
use types::cbor;

use crate::failure::Failure;
use crate::replay::Problem;

/// The body of entry `index`, where version `holds` of the rules is in force; `None` before the first entry.
pub(crate) fn read(index: u64, bytes: &[u8], holds: Option<u16>) -> Result<Body, Failure> {
    if let Some(found) = rules::named(bytes) {
        let holds = holds.unwrap_or(found);
        if found != holds {
            return Err(Failure::Replay { index, problem: Problem::OtherRules { found, holds } });
        }
        if found > RULES {
            return Err(Failure::Rules { index, needed: found });
        }
    }
    cbor::from_slice(bytes).map_err(|error| Failure::Replay { index, problem: error.into() })
}
