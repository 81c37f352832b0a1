use zeroize::Zeroizing;

use crate::bits::Bits;
use crate::ldpc::decode::{Layer, decode};
use crate::ldpc::graph::Graph;
use crate::ldpc::{Plan, spread};
use crate::wire::put_var;

/// Every check was halved, and still the errors are not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotCorrected;

/// Bob's side: asks for parities until his errors are found.
pub(crate) struct Asker {
    plan: Plan,
    graph: Graph,
    key: Zeroizing<Vec<u8>>,
    /// Parities of the errors, row by row as told.
    odd: Vec<Vec<u8>>,
    errors: Option<Vec<u8>>,
    rounds: u32,
}

impl Asker {
    pub(crate) fn new(plan: Plan, key: &Bits) -> Self {
        let (graph, key) = (Graph::new(&plan), spread(&plan, key));
        Self { plan, graph, key, odd: Vec::new(), errors: None, rounds: 0 }
    }

    /// Appends the next question to `out`: how many rows Alice shall have told after it. False
    /// where there is nothing to ask.
    pub(crate) fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        if self.errors.is_some() {
            return false;
        }
        put_var(out, self.plan.told(self.rounds as usize) as u64);
        self.rounds += 1;
        true
    }

    /// How many bits answer the last question.
    pub(crate) fn expected(&self) -> usize {
        let told = self.plan.told(self.rounds.saturating_sub(1) as usize);
        (told - self.odd.len().min(told)) * self.graph.size
    }

    /// Takes the answer to the last question, exactly [`Self::expected`] bits, and decodes; true
    /// where the errors were found.
    pub(crate) fn answered(&mut self, answers: &Bits) -> Result<bool, NotCorrected> {
        for start in (0..answers.len()).step_by(self.graph.size) {
            let row = self.odd.len();
            let ours = match row.checked_sub(self.plan.rows) {
                None => self.graph.parities(&self.graph.rows[row], &self.key),
                Some(split) => self.graph.parities(&self.graph.half(split), &self.key),
            };
            let theirs = (start..).map(|i| u8::from(answers.get(i)));
            self.odd.push(ours.iter().zip(theirs).map(|(ours, theirs)| ours ^ theirs).collect());
        }
        let qber = f64::from(self.plan.qber_ppm) / 1e6;
        self.errors = decode(&self.graph, &self.layers(), self.plan.columns(), self.plan.bits, qber);
        match &self.errors {
            Some(_) => Ok(true),
            None if self.odd.len() >= self.plan.most() => Err(NotCorrected),
            None => Ok(false),
        }
    }

    /// The checks known, those that were halved as two.
    fn layers(&self) -> Vec<Layer> {
        let split = self.odd.len().saturating_sub(self.plan.rows);
        let mut layers = Vec::with_capacity(self.odd.len());
        for (row, odd) in self.odd.iter().take(self.plan.rows).enumerate() {
            if row >= split {
                layers.push(Layer { edges: self.graph.rows[row].clone(), odd: odd.clone() });
                continue;
            }
            let half = &self.odd[self.plan.rows + row];
            let rest = odd.iter().zip(half).map(|(whole, half)| whole ^ half).collect();
            layers.push(Layer { edges: self.graph.half(row), odd: half.clone() });
            layers.push(Layer { edges: self.graph.other_half(row), odd: rest });
        }
        layers
    }

    /// Parity bits disclosed so far.
    pub(crate) fn leaked(&self) -> u64 {
        (self.odd.len() * self.graph.size) as u64
    }

    /// Errors found.
    pub(crate) fn corrected(&self) -> u64 {
        self.errors.as_ref().map_or(0, |errors| errors.iter().map(|&error| u64::from(error)).sum())
    }

    /// Questions asked so far.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// The corrected string.
    pub(crate) fn finish(self) -> Bits {
        let mut key = Bits::with_capacity(self.plan.bits);
        let errors = self.errors.unwrap_or_default();
        (0..self.plan.bits).for_each(|i| key.push(self.key[i] ^ errors.get(i).copied().unwrap_or(0) == 1));
        key
    }
}
