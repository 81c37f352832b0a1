//! How often one may ask: buckets by address, for whoever calls, and by operator, for whom a signature shows.

use guard::{Buckets, Caller, Rate};
use types::OperatorId;

/// Calls of one address, whoever is behind it. A signature of each is verified.
const BY_ADDRESS: Rate = Rate { burst: 1_000.0, per_second: 200.0 };
/// Signed requests of one operator: each leaves an entry.
const BY_OPERATOR: Rate = Rate { burst: 400.0, per_second: 50.0 };
/// Addresses, and operators, remembered at a time.
const MOST: usize = 4_096;

/// Who has asked how often.
pub(crate) struct Gate {
    addresses: Buckets<Caller>,
    operators: Buckets<OperatorId>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { addresses: Buckets::new(BY_ADDRESS, MOST), operators: Buckets::new(BY_OPERATOR, MOST) }
    }
}

impl Gate {
    /// Whether a call of `caller` is looked at.
    pub(super) fn lets_call(&self, caller: Caller) -> bool {
        self.addresses.take(caller, 1.0)
    }

    /// Whether a request that `operator` has signed is recorded. Nobody else can use this up.
    pub(super) fn lets_ask(&self, operator: &OperatorId) -> bool {
        self.operators.take(operator.clone(), 1.0)
    }
}
