//! Nonces that were spent, for as long as a request with them could be fresh.

use std::collections::BTreeSet;

use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode, Encoder, encode};
use types::{Hash, Millis, OperatorId, Timestamp};

/// How far the time of signing may lie from the time of the step, either way.
pub const FRESHNESS: Millis = Millis::from_secs(60);

type Spent = (Timestamp, OperatorId, Hash);

/// Spent nonces by time of signing.
///
/// A step at `t` takes requests signed at `t` ± [`FRESHNESS`]. So after one signed at `s` every later
/// step is at `s - FRESHNESS` or later, and a request signed before `s - 2 * FRESHNESS` is stale for
/// ever: its nonce can be forgotten. That line is kept, so that a nonce that was forgotten stays
/// refused even if time did run backwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Nonces {
    by_time: BTreeSet<Spent>,
    seen: BTreeSet<(OperatorId, Hash)>,
    line: Timestamp,
}

impl Nonces {
    /// Whether a request signed at `at` may be taken at `now`.
    pub(super) fn is_fresh(&self, at: Timestamp, now: Timestamp) -> bool {
        at >= self.line && at <= now + FRESHNESS && now <= at + FRESHNESS
    }

    pub(super) fn is_spent(&self, operator: &OperatorId, nonce: &Hash) -> bool {
        self.seen.contains(&(operator.clone(), *nonce))
    }

    pub(super) fn spend(&mut self, operator: &OperatorId, nonce: Hash, at: Timestamp) {
        self.seen.insert((operator.clone(), nonce));
        self.by_time.insert((at, operator.clone(), nonce));
        self.line = self.line.max(at - FRESHNESS - FRESHNESS);
        self.forget();
    }

    /// Requests signed before `start` are stale from now on: whatever nonces were spent and are not known any more are
    /// theirs.
    pub(super) fn forbid_before(&mut self, start: Timestamp) {
        self.line = self.line.max(start);
        self.forget();
    }

    fn forget(&mut self) {
        while let Some((first, ..)) = self.by_time.first() {
            if *first >= self.line {
                break;
            }
            if let Some((_, operator, nonce)) = self.by_time.pop_first() {
                self.seen.remove(&(operator, nonce));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }
}

/// `[line, [[at, operator, nonce], …]]`, in order.
impl<C> Encode<C> for Nonces {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?;
        self.line.encode(e, ctx)?;
        e.array(self.by_time.len() as u64)?;
        self.by_time.iter().try_for_each(|spent| spent.encode(e, ctx))
    }
}

impl<'b, C> Decode<'b, C> for Nonces {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, DecodeError> {
        if d.array()? != Some(2) {
            return Err(DecodeError::message("spent nonces are an array of 2 items"));
        }
        let line = Timestamp::decode(d, ctx)?;
        let len = d.array()?.ok_or_else(|| DecodeError::message("a list of nonces has a definite length"))?;
        let mut nonces = Self { line, ..Self::default() };
        for _ in 0..len {
            let spent = Spent::decode(d, ctx)?;
            nonces.seen.insert((spent.1.clone(), spent.2));
            nonces.by_time.insert(spent);
        }
        Ok(nonces)
    }
}
