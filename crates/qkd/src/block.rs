//! Post-processing of one block: from clicks to secret bits, between Alice and Bob.
//!
//! Both ends are state machines that take and give whole messages; the caller carries them over
//! any channel, in order. Bob starts. The conversation is
//!
//! ```text
//! Bob   detections   slots, settings, and the bits of all settings but the key's   tag 1
//! Alice sifted       which settings agree, counts of the tests, intensities of
//!                    weak pulses, the plan of reconciliation                       tag 2
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
//! A block that is only to look at the channel ends with the verdict of each end after the second tag.

mod alice;
mod bob;
mod message;
mod sifted;
mod verdict;

pub use alice::{Alice, Offer, Recall};
pub use bob::Bob;
pub use message::{MAX_PADS_NAME, Purpose};
pub use verdict::{alarm, judge};

use crate::bits::{Bits, SecretBits};
use crate::decoy::Counts;
use crate::entangled::Tally;
use verdict::settle;

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
    /// Clicks in the slots in which the receiver had half its efficiency.
    pub halved: u64,
    /// The same of the clicks that count, at every end that has a receiver.
    pub efficiencies: Efficiencies,
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
    /// Sifted events by intensity, of weak pulses; its key errors come with reconciliation.
    pub counts: Counts,
    /// Coincidences in the settings of the CHSH test, of pairs: `[agree, differ]` in the order of
    /// [`Tally::chsh`].
    pub chsh: [[u64; 2]; 4],
    /// S in thousandths, of pairs.
    pub s_milli: u32,
    /// Lower bound of S in thousandths, at ε_sec.
    pub s_lower_milli: u32,
    /// Lower bound of the part of the key's events that are single photons, of weak pulses.
    pub single_ppm: u32,
    /// Errors corrected in the key.
    pub corrected: u64,
    /// Error rate of the key basis, known after reconciliation.
    pub key_qber_ppm: u32,
    /// Bits that reconciliation disclosed, in both directions ([`crate::Reconciliation::disclosed`]).
    pub leaked_bits: u64,
    /// Bits disclosed by the verification hash.
    pub verify_bits: u32,
    /// Round trips of reconciliation.
    pub round_trips: u32,
    /// Frames reconciled one by one.
    pub frames: u32,
    /// Decodings that failed, each of which cost another round trip.
    pub frame_failures: u32,
    /// Disclosed bits over the Shannon limit n·h(Q), in thousandths.
    pub efficiency_milli: u32,
    /// Pad bits spent on tags.
    pub tag_bits: u32,
    /// Secret bits gained.
    pub secret_bits: u64,
    /// Bound of the probability that anything about this block is not as claimed: secrecy,
    /// correctness and authentication together.
    pub epsilon: f64,
}

/// How many of the clicks that count came while a receiver had half its efficiency. A block holds these against
/// what light does, and not all clicks alone: whoever holds a source of pairs could hide the clicks of a
/// blinded receiver among honest ones that meet none at the other end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Efficiencies {
    /// Slots in which both ends clicked, of pairs.
    pub coincident: u64,
    /// Of [`Self::coincident`], those at Alice's half efficiency.
    pub halved_a: u64,
    /// Of [`Self::coincident`], those at Bob's half efficiency.
    pub halved_b: u64,
    /// Of the key's bits, those at Alice's half efficiency, of pairs.
    pub key_halved_a: u64,
    /// Of the key's bits, those at Bob's half efficiency.
    pub key_halved_b: u64,
}

impl BlockStats {
    /// The coincidences, of pairs. Errors of the key are those that were corrected.
    pub fn tally(&self) -> Tally {
        Tally {
            key: self.key_bits,
            key_errors: self.corrected,
            test: self.sampled,
            test_errors: self.errors,
            chsh: self.chsh,
        }
    }
}

/// An end that has detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// The end that prepares, or measures pairs.
    Alice,
    /// The end that measures.
    Bob,
}

impl std::fmt::Display for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Alice => "Alice",
            Self::Bob => "Bob",
        })
    }
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
    /// Too few bits for an estimate, or to see whether detectors are blinded.
    #[error("only {found} bits to judge by where {wanted} are needed: wait for more clicks")]
    TooFew {
        /// Bits found.
        found: u64,
        /// Bits needed.
        wanted: u64,
    },
    /// The error rate is at or above the line.
    #[error("the error rate is {ppm} ppm: the channel carries no key")]
    Qber {
        /// The rate, or its bound, that crossed the line.
        ppm: u32,
    },
    /// S is not shown to be above 2: nothing proves that the pairs are entangled.
    #[error("S is only shown to be above {lower_milli} thousandths: the channel is not verified and carries no key")]
    Bell {
        /// The lower bound of S in thousandths.
        lower_milli: u32,
    },
    /// Decoys get through less often, beside the signal, than any loss of light explains.
    #[error("decoys are missing: somebody splits photon numbers, and the channel carries no key")]
    Decoy,
    /// Clicks ignore the receiver's efficiency.
    #[error("{halved} of {clicks} clicks of {end} ignore the receiver's efficiency: its detectors are blinded")]
    Blinded {
        /// Whose receiver.
        end: Receiver,
        /// Clicks at half the efficiency.
        halved: u64,
        /// All clicks.
        clicks: u64,
    },
    /// The finite-key length is zero.
    #[error("no secret bits are left at this error rate and block size: use larger blocks")]
    NoSecret,
    /// The corrected strings differ.
    #[error("the corrected strings differ: start a new block")]
    Verification,
    /// The errors were not found with all the parities there are.
    #[error("reconciliation did not settle: start a new block, and watch the error rate")]
    Unreconciled,
    /// The two ends compute different lengths or counts.
    #[error("the ends disagree on the figures of the block: compare their link parameters")]
    Disagreement,
    /// The block was to look at the channel, which holds.
    #[error("the block was only to look at the channel, which holds")]
    Watched,
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

/// Bits of the verification hash that bring the collision probability of `n`-bit strings, at most
/// (n/128 + 2)·2^-t, below ε_cor; whole bytes, at most 128.
fn verify_bits(n: u64, eps_cor: f64) -> u32 {
    let degree = (n / 128 + 2) as f64;
    let bits = (degree / eps_cor).log2().ceil().clamp(8.0, 128.0) as u32;
    bits.next_multiple_of(8)
}

/// The verification hash of a key at a random point, cut to `bits` bits.
fn verify_hash(point: u128, key: &Bits, bits: u32) -> u128 {
    let mut hash = crate::field::PolyHash::new(point);
    hash.words(key.words(), key.len());
    hash.value() & (u128::MAX >> (128 - bits.clamp(1, 128)))
}

#[cfg(test)]
mod tests;
