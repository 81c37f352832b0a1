use zeroize::Zeroizing;

use crate::bits::Bits;
use crate::ldpc::graph::Graph;
use crate::ldpc::{Plan, spread};
use crate::wire::{Reader, WireError};

/// Alice's side: tells rows of parities in their order, as many as Bob asks for, and counts them.
pub(crate) struct Answerer {
    plan: Plan,
    graph: Graph,
    key: Zeroizing<Vec<u8>>,
    told: usize,
}

impl Answerer {
    pub(crate) fn new(plan: Plan, key: &Bits) -> Self {
        Self { graph: Graph::new(&plan), key: spread(&plan, key), plan, told: 0 }
    }

    /// Answers one question: the parities up to a row, from the one after the last answer.
    pub(crate) fn answer(&mut self, reader: &mut Reader<'_>) -> Result<Bits, WireError> {
        let until = reader.var(self.plan.most() as u64)? as usize;
        if until <= self.told {
            return Err(WireError::Number);
        }
        let mut out = Bits::with_capacity((until - self.told) * self.graph.size);
        for row in self.told..until {
            let parities = match row.checked_sub(self.plan.rows) {
                None => self.graph.parities(&self.graph.rows[row], &self.key),
                Some(split) => self.graph.parities(&self.graph.half(split), &self.key),
            };
            Zeroizing::new(parities).iter().for_each(|parity| out.push(*parity == 1));
        }
        self.told = until;
        Ok(out)
    }

    /// Parity bits disclosed so far.
    pub(crate) fn leaked(&self) -> u64 {
        (self.told * self.graph.size) as u64
    }
}
