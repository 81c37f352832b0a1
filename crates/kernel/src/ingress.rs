//! What a boundary refused to take in, source by source. One that sends what does not fit is named, signalled
//! and cut; one that is refused again and again is signalled.

use types::Millis;
use types::mesh::{SignalKind, Subject};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::record::{Principal, Record, Refusal};
use crate::sentinel;

/// Least time between two counts of one source.
pub const COALESCED: Millis = Millis::from_secs(10);

/// From so many refusals in one count on, the source is signalled.
const PERSISTENT: u64 = 256;

/// How sure it is that a node which sends what cannot be recorded is not an honest one, in parts per million:
/// honest nodes keep the bounds.
const OVERSIZED_PPM: u32 = 900_000;
/// The same of an operator, whose client may only be of another version.
const OVERSIZED_REQUEST_PPM: u32 = 600_000;
/// The same of one that is refused persistently.
const PERSISTENT_PPM: u32 = 600_000;

/// Takes in a count of refused events.
pub(crate) fn refused(draft: &mut Draft<'_>, source: &Principal, refusal: &Refusal, count: u64) {
    let subject = match source {
        Principal::Node(node) => Some(Subject::Node(node.clone())),
        Principal::Operator(operator) => Some(Subject::Operator(operator.clone())),
        Principal::Engine => None,
    };
    let known = subject.as_ref().is_none_or(|subject| sentinel::known(draft.state, subject).is_ok());
    if count == 0 || !known {
        return draft.refuse(Refusal::OutOfBounds);
    }
    draft.record(Record::RefusalsCounted { source: source.clone(), refusal: refusal.clone(), count });
    let Some(subject) = subject else { return };
    let hub = Principal::Node(types::NodeId::hub());
    match (refusal, source) {
        (Refusal::TooLarge, Principal::Node(node)) => {
            sentinel::note(draft, &hub, &subject, SignalKind::AuthFailure, OVERSIZED_PPM);
            draft.effect(Effect::Reauthenticate(node.clone()));
        }
        (Refusal::TooLarge, _) => {
            sentinel::note(draft, &hub, &subject, SignalKind::AuthFailure, OVERSIZED_REQUEST_PPM);
        }
        _ if count >= PERSISTENT => {
            sentinel::note(draft, &hub, &subject, SignalKind::DenialBurst, PERSISTENT_PPM);
        }
        _ => {}
    }
}
