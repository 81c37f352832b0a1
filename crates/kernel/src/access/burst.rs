//! Many denials of one operator in a short time (QT-11).
//!
//! The rule: when the [`BURST`]th denial of an operator falls within [`BURST_WINDOW`] of the first of
//! them, the hub signals a denial burst about the operator, and counting begins anew. Only requests
//! that were authenticated, fresh and new count, so nobody can bring another under suspicion by
//! sending old ones again. A burst alone is a strong indicator and no confirmation: it opens an
//! incident, and a second source is needed before the credential is revoked.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use types::mesh::{SignalKind, Subject};
use types::{Millis, NodeId, OperatorId, Timestamp};

use crate::draft::Draft;
use crate::record::{Principal, Record};
use crate::sentinel;
use crate::state::table;

/// So many denials are a burst.
pub const BURST: usize = 5;

/// Within this span.
pub const BURST_WINDOW: Millis = Millis::from_secs(60);

/// How sure a burst is, in parts per million.
const CONFIDENCE_PPM: u32 = 950_000;

/// The last denials of each operator, fewer than [`BURST`] of them and all within the window at the
/// time of the last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Denials {
    #[n(0)]
    #[cbor(with = "table")]
    times: BTreeMap<OperatorId, Vec<Timestamp>>,
}

impl Denials {
    pub(super) fn count(&mut self, operator: &OperatorId, at: Timestamp) {
        let times = self.times.entry(operator.clone()).or_default();
        times.retain(|earlier| *earlier + BURST_WINDOW > at);
        times.push(at);
        if times.len() >= BURST {
            times.remove(0);
        }
    }

    pub(super) fn forget(&mut self, operator: &OperatorId) {
        self.times.remove(operator);
    }

    fn within(&self, operator: &OperatorId, now: Timestamp) -> usize {
        let times = self.times.get(operator).map_or(&[][..], Vec::as_slice);
        times.iter().filter(|earlier| **earlier + BURST_WINDOW > now).count()
    }
}

/// Records that a request of `operator` was denied, and signals where it was one too many.
pub(super) fn denied(draft: &mut Draft<'_>, operator: &OperatorId) {
    draft.record(Record::Denied { operator: operator.clone() });
    if draft.state.access().denials.within(operator, draft.now) + 1 >= BURST {
        let hub = Principal::Node(NodeId::hub());
        let subject = Subject::Operator(operator.clone());
        sentinel::note(draft, &hub, &subject, SignalKind::DenialBurst, CONFIDENCE_PPM);
    }
}
