//! The two ways of reconciliation behind one face, as the ends of a block use them.

use std::sync::Arc;

use crate::bits::Bits;
use crate::block::AbortReason;
use crate::cascade::{self, Schedule, Shuffles};
use crate::ldpc;
use crate::params::BlockParams;
use crate::wire::{Reader, WireError};

/// How the errors of a block are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reconciliation {
    /// Parities asked for in turn ([`crate::cascade`]): quick, and both ends tell.
    #[default]
    Cascade,
    /// Parity checks told at once ([`crate::ldpc`]): one end tells, mostly in one message.
    Ldpc,
}

impl Reconciliation {
    /// Bits that reconciliation of a string of `bits` bits may have told of it, where Alice told `parities`.
    ///
    /// Both directions count (Tupkary, Lütkenhaus 2023, arXiv 2307.00576). What Bob asks in Cascade follows
    /// from the differences between Alice's parities and his own of the same places, one bit for each of
    /// hers, so the whole conversation has at most 4^`parities` forms. Of parity checks he says only how many
    /// he wants. At the end he says two numbers: the parities and the errors he found. They are charged twice,
    /// once as told and once because the length of the key follows from them: over N lengths the distances
    /// from a perfect key add up, and 2 log2 N bits less in each make their sum what one was.
    pub fn disclosed(self, parities: u64, bits: u64) -> u64 {
        let asked = match self {
            Self::Cascade => parities,
            Self::Ldpc => 0,
        };
        let values = |most: u64| u64::from(u64::BITS - most.leading_zeros());
        parities + asked + 2 * (values(most_parities(bits)) + values(bits))
    }
}

/// Most parities that Alice tells of a string of `bits` bits.
pub(crate) const fn most_parities(bits: u64) -> u64 {
    bits * 2 + 1_024
}

/// What both ends must agree on before the first question.
pub(crate) enum Plan {
    Cascade(Schedule),
    Ldpc(ldpc::Plan),
}

impl Plan {
    /// For a string of `bits` bits with an expected error rate of `qber`, estimated from `sampled`
    /// bits. Parity checks allow for one standard deviation more, since another answer costs a
    /// round trip.
    pub(crate) fn new(params: &BlockParams, bits: usize, qber: f64, sampled: u64) -> Self {
        match params.reconciliation {
            Reconciliation::Cascade => Self::Cascade(Schedule::new(bits, qber, params.pace)),
            Reconciliation::Ldpc => Self::Ldpc(ldpc::Plan::new(bits, qber + (qber / sampled.max(1) as f64).sqrt())),
        }
    }

    /// `u8 method ‖ the numbers of the method`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Cascade(schedule) => {
                out.push(0);
                schedule.write(out);
            }
            Self::Ldpc(plan) => {
                out.push(1);
                plan.write(out);
            }
        }
    }

    /// Reads a plan of the method that `params` names.
    pub(crate) fn read(params: &BlockParams, reader: &mut Reader<'_>, max_bits: usize) -> Result<Self, AbortReason> {
        match (reader.u8()?, params.reconciliation) {
            (0, Reconciliation::Cascade) => Ok(Self::Cascade(Schedule::read(reader, max_bits)?)),
            (1, Reconciliation::Ldpc) => Ok(Self::Ldpc(ldpc::Plan::read(reader, max_bits)?)),
            (0 | 1, _) => Err(AbortReason::Disagreement),
            _ => Err(WireError::Kind.into()),
        }
    }

    /// Bits of the string.
    pub(crate) fn bits(&self) -> usize {
        match self {
            Self::Cascade(schedule) => schedule.bits(),
            Self::Ldpc(plan) => plan.bits(),
        }
    }

    /// Alice's end.
    pub(crate) fn answerer(self, key: &Bits) -> Answerer {
        match self {
            Self::Cascade(schedule) => {
                let shuffles = Arc::new(Shuffles::new(schedule.frame_bits()));
                Answerer::Cascade(cascade::Answerer::new(schedule, shuffles, key))
            }
            Self::Ldpc(plan) => Answerer::Ldpc(ldpc::Answerer::new(plan, key)),
        }
    }

    /// Bob's end.
    pub(crate) fn asker(self, key: &Bits) -> Asker {
        match self {
            Self::Cascade(schedule) => {
                let shuffles = Arc::new(Shuffles::new(schedule.frame_bits()));
                Asker::Cascade(cascade::Asker::new(schedule, shuffles, key))
            }
            Self::Ldpc(plan) => Asker::Ldpc(ldpc::Asker::new(plan, key)),
        }
    }
}

/// Alice's end: answers, and counts what she tells.
pub(crate) enum Answerer {
    Cascade(cascade::Answerer),
    Ldpc(ldpc::Answerer),
}

impl Answerer {
    /// Answers one batch of questions with one bit a parity, in order.
    pub(crate) fn answer(&mut self, reader: &mut Reader<'_>) -> Result<Bits, WireError> {
        match self {
            Self::Cascade(end) => end.answer(reader),
            Self::Ldpc(end) => end.answer(reader),
        }
    }

    /// Parity bits disclosed so far.
    pub(crate) fn leaked(&self) -> u64 {
        match self {
            Self::Cascade(end) => end.leaked(),
            Self::Ldpc(end) => end.leaked(),
        }
    }

    /// Frames the string is cut into, and decodings that failed where `rounds` questions settled it.
    pub(crate) fn frames(&self, rounds: u32) -> (u32, u32) {
        match self {
            Self::Cascade(end) => (end.frames(), 0),
            Self::Ldpc(_) => (1, rounds.saturating_sub(1)),
        }
    }
}

/// Bob's end: asks and corrects.
pub(crate) enum Asker {
    Cascade(cascade::Asker),
    Ldpc(ldpc::Asker),
}

impl Asker {
    /// Appends the next questions to `out`; false where there are none left.
    pub(crate) fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Cascade(end) => end.ask(out),
            Self::Ldpc(end) => end.ask(out),
        }
    }

    /// Takes the answers to the last questions.
    pub(crate) fn answered(&mut self, answers: &Bits) -> Result<(), AbortReason> {
        let expected = match self {
            Self::Cascade(end) => end.expected(),
            Self::Ldpc(end) => end.expected(),
        };
        if answers.len() != expected {
            return Err(AbortReason::Disagreement);
        }
        match self {
            Self::Cascade(end) => end.answered(answers).then_some(()).ok_or(AbortReason::Disagreement),
            Self::Ldpc(end) => end.answered(answers).map(drop).map_err(|_| AbortReason::Unreconciled),
        }
    }

    /// Parity bits disclosed, bits corrected, questions asked.
    pub(crate) fn figures(&self) -> (u64, u64, u32) {
        match self {
            Self::Cascade(end) => (end.leaked(), end.corrected(), end.rounds()),
            Self::Ldpc(end) => (end.leaked(), end.corrected(), end.rounds()),
        }
    }

    /// As [`Answerer::frames`].
    pub(crate) fn frames(&self, rounds: u32) -> (u32, u32) {
        match self {
            Self::Cascade(end) => (end.frames(), 0),
            Self::Ldpc(_) => (1, rounds.saturating_sub(1)),
        }
    }

    /// The corrected string.
    pub(crate) fn finish(self) -> Bits {
        match self {
            Self::Cascade(end) => end.finish(),
            Self::Ldpc(end) => end.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
