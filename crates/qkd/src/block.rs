//! Post-processing of one block: from clicks to secret bits, between Alice and Bob.
//!
//! Both ends are state machines that take and give whole messages; the caller carries them over
//! any channel, in order. Bob starts. The conversation is
//!
//! ```text
//! Bob   detections   slots, bases, and the bits of the test basis                  tag 1
//! Alice sifted       which bases agree, test bits and errors, Cascade's schedule   tag 2
//! Bob   ask          parities wanted  ┐ repeated
//! Alice parities     the parities     ┘
//! Bob   settled      what was asked and corrected                                  tag 3
//! Alice amplify      verification hash, length, Toeplitz seed                      tag 4
//! Bob   confirm                                                                    tag 5
//! ```
//!
//! A tag covers the whole conversation before it, so every message of both directions is
//! authenticated before a bit of the block is released; what is said in between is acted on only
//! inside the block, which a bad tag destroys. A repeated message is ignored. Anything else
//! unexpected ends the block, at both ends, without a key. Where `confirm` is lost, Bob has a
//! block that Alice has not: blocks are named by number, so this wastes bits and never mixes them.

mod alice;
mod bob;
mod message;

pub use alice::{Alice, Offer};
pub use bob::Bob;
pub use message::MAX_PADS_NAME;

use crate::bits::{Bits, SecretBits};
use crate::finite::tomamichel_length;
use crate::params::BlockParams;
use crate::stats::{binary_entropy, clopper_pearson_upper, sampling_deviation};

/// What a message led to.
#[derive(Debug)]
pub enum Step {
    /// Send this to the peer and go on.
    Reply(Vec<u8>),
    /// A message seen before; nothing to do.
    Ignored,
    /// The block is done at this end.
    Finished {
        /// Last message to the peer, if there is one to send.
        reply: Option<Vec<u8>>,
        /// The key and how it came about.
        outcome: Box<BlockOutcome>,
    },
}

/// A finished block.
#[derive(Debug)]
pub struct BlockOutcome {
    /// The secret bits, equal at both ends.
    pub key: SecretBits,
    /// How they came about.
    pub stats: BlockStats,
}

/// Figures of one block. Rates are in parts per million.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BlockStats {
    /// Number of the block.
    pub block: u64,
    /// Slots the receiver was open for.
    pub pulses: u64,
    /// Clicks.
    pub detected: u64,
    /// Clicks with the same basis at both ends.
    pub sifted: u64,
    /// Sifted bits of the key basis.
    pub key_bits: u64,
    /// Sifted bits of the test basis, all disclosed.
    pub sampled: u64,
    /// Errors among [`Self::sampled`].
    pub errors: u64,
    /// Error rate of the test basis.
    pub qber_ppm: u32,
    /// Upper Clopper-Pearson bound of the error rate, at the block's ε_sec.
    pub qber_upper_ppm: u32,
    /// Upper bound of the phase error rate of the key, as it enters the key length.
    pub phase_error_ppm: u32,
    /// Errors corrected in the key.
    pub corrected: u64,
    /// Error rate of the key basis, known after reconciliation.
    pub key_qber_ppm: u32,
    /// Parity bits disclosed by reconciliation.
    pub leaked_bits: u64,
    /// Bits disclosed by the verification hash.
    pub verify_bits: u32,
    /// Round trips of reconciliation.
    pub round_trips: u32,
    /// Disclosed parities over the Shannon limit n·h(Q), in thousandths.
    pub efficiency_milli: u32,
    /// Pad bits spent on tags.
    pub tag_bits: u32,
    /// Secret bits gained.
    pub secret_bits: u64,
    /// Bound of the probability that anything about this block is not as claimed: secrecy,
    /// correctness and authentication together.
    pub epsilon: f64,
}

/// Why a block gave no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AbortReason {
    /// A message cannot be parsed.
    #[error("the peer sent a malformed message ({0}): start a new block")]
    Malformed(crate::wire::WireError),
    /// A message out of turn, or of another block.
    #[error("the peer sent a message out of turn: start a new block")]
    OutOfTurn,
    /// A tag does not fit: somebody changed the conversation, or the ends hold different pads.
    #[error("authentication failed: start a new block, and raise an alarm when it happens again")]
    BadTag,
    /// Bob names pulses that Alice does not remember sending.
    #[error("the peer names pulses that were not sent or are forgotten: start a new block")]
    UnknownPulses,
    /// Too few bits for an estimate.
    #[error("only {found} test bits where {wanted} are needed: wait for more clicks")]
    TooFew {
        /// Test bits found.
        found: u64,
        /// Test bits needed.
        wanted: u64,
    },
    /// The error rate is at or above the line.
    #[error("the error rate is {ppm} ppm: the channel carries no key")]
    Qber {
        /// The rate, or its bound, that crossed the line.
        ppm: u32,
    },
    /// The finite-key length is zero.
    #[error("no secret bits are left at this error rate and block size: use larger blocks")]
    NoSecret,
    /// The corrected strings differ.
    #[error("the corrected strings differ: start a new block")]
    Verification,
    /// The two ends compute different lengths or counts.
    #[error("the ends disagree on the figures of the block: compare their link parameters")]
    Disagreement,
    /// The peer gave the block up.
    #[error("the peer gave the block up")]
    ByPeer,
    /// The caller gave the block up.
    #[error("the block was given up")]
    ByCaller,
}

/// A block that gave no key; all its bits are gone.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("block {}: {reason}", stats.block)]
pub struct BlockAbort {
    /// Why.
    pub reason: AbortReason,
    /// What was known by then.
    pub stats: Box<BlockStats>,
    /// Message that tells the peer, if it has not given up itself.
    pub notice: Option<Vec<u8>>,
}

fn ppm(rate: f64) -> u32 {
    (rate * 1e6).round() as u32
}

/// Enters the comparison of the test bits into `stats` and holds the error rate against the line.
fn judge(params: &BlockParams, stats: &mut BlockStats) -> Result<(), AbortReason> {
    let (n, k, errors) = (stats.key_bits, stats.sampled, stats.errors);
    let wanted = u64::from(params.min_test_bits).max(1);
    if k < wanted || n == 0 {
        return Err(AbortReason::TooFew { found: k, wanted });
    }
    let rate = errors as f64 / k as f64;
    stats.qber_ppm = ppm(rate);
    stats.qber_upper_ppm = ppm(clopper_pearson_upper(errors, k, params.eps_sec));
    stats.phase_error_ppm = ppm((rate + sampling_deviation(n, k, params.eps_sec / 4.0)).min(0.5));
    let held = if params.abort_on_upper { stats.qber_upper_ppm } else { stats.qber_ppm };
    // compared as counts, so that no rounding moves the line
    let over = errors * 1_000_000 >= u64::from(params.qber_abort_ppm) * k || held >= params.qber_abort_ppm;
    if over { Err(AbortReason::Qber { ppm: held }) } else { Ok(()) }
}

/// Bits of the verification hash that bring the collision probability of `n`-bit strings, at most
/// (n/128 + 2)·2^-t, below ε_cor; whole bytes, at most 128.
fn verify_bits(n: u64, eps_cor: f64) -> u32 {
    let degree = (n / 128 + 2) as f64;
    let bits = (degree / eps_cor).log2().ceil().clamp(8.0, 128.0) as u32;
    bits.next_multiple_of(8)
}

/// Enters what reconciliation cost and computes the length of the key.
fn settle(params: &BlockParams, stats: &mut BlockStats, auth: f64) -> Result<usize, AbortReason> {
    let (n, k) = (stats.key_bits, stats.sampled);
    let key_rate = stats.corrected as f64 / n as f64;
    stats.key_qber_ppm = ppm(key_rate);
    let shannon = n as f64 * binary_entropy(key_rate);
    stats.efficiency_milli = if shannon > 0.0 { (stats.leaked_bits as f64 / shannon * 1e3) as u32 } else { 0 };
    stats.verify_bits = verify_bits(n, params.eps_cor);
    stats.epsilon = params.eps_sec + params.eps_cor + auth;
    if ppm(key_rate) >= params.qber_abort_ppm {
        return Err(AbortReason::Qber { ppm: ppm(key_rate) });
    }
    // The hash is disclosed like a parity; it stands where the formula has log2(1/ε_cor).
    let leak = (stats.leaked_bits + u64::from(stats.verify_bits)) as f64;
    let qber = stats.errors as f64 / k as f64;
    let length = tomamichel_length(n, k, qber, leak, params.eps_sec, 1.0) as u64;
    stats.secret_bits = length;
    if length == 0 { Err(AbortReason::NoSecret) } else { Ok(length as usize) }
}

/// The verification hash of a key at a random point, cut to `bits` bits.
fn verify_hash(point: u128, key: &Bits, bits: u32) -> u128 {
    let mut hash = crate::field::PolyHash::new(point);
    hash.words(key.words(), key.len());
    hash.value() & (u128::MAX >> (128 - bits.clamp(1, 128)))
}

#[cfg(test)]
mod tests;
