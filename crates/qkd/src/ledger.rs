//! What a link has spent of its security over its life.

use crate::block::BlockStats;

/// Sums ε over all blocks of a link. By composability the keys of all of them together are secret
/// and equal, except with at most this probability.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EpsilonLedger {
    blocks: u64,
    secret_bits: u64,
    spent: f64,
}

impl EpsilonLedger {
    /// The ledger of a link that has made `blocks` blocks before, `secret_bits` bits at ε `spent`.
    pub fn resume(blocks: u64, secret_bits: u64, spent: f64) -> Self {
        Self { blocks, secret_bits, spent }
    }

    /// Enters a finished block.
    pub fn enter(&mut self, stats: &BlockStats) {
        self.blocks += 1;
        self.secret_bits += stats.secret_bits;
        self.spent += stats.epsilon;
    }

    /// Blocks so far.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Secret bits so far.
    pub fn secret_bits(&self) -> u64 {
        self.secret_bits
    }

    /// ε spent so far.
    pub fn spent(&self) -> f64 {
        self.spent
    }
}
