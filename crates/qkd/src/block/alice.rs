use zeroize::Zeroizing;

use crate::auth::{TAG_LEN, TagKeys, Transcript};
use crate::bits::{Bits, SecretBits};
use crate::block::message::{Announcement, Kind, Message, Purpose, read_announcement, start};
use crate::block::sifted::{has_levels, sift, write_counts, write_levels};
use crate::block::verdict::epsilon;
use crate::block::{AbortReason, BlockAbort, BlockOutcome, BlockStats, Step, judge, settle, verify_hash};
use crate::entropy::Entropy;
use crate::pairs::PairEnd;
use crate::params::BlockParams;
use crate::reconcile::{Answerer, Plan};
use crate::source::Source;
use crate::toeplitz;
use crate::wire::{Reader, WireError, put_var};

/// Bob's first message, taken apart but not yet authenticated: it says which pads to use.
pub struct Offer {
    block: u64,
    announcement: Announcement,
    covered: Vec<u8>,
    tag: [u8; TAG_LEN],
}

impl Offer {
    /// Takes Bob's first message apart.
    pub fn parse(message: &[u8]) -> Result<Self, WireError> {
        let message = Message::parse(message)?;
        let tag = message.tag.filter(|_| message.kind == Kind::Detections && message.sequence == 0);
        let tag = tag.ok_or(WireError::Kind)?;
        let announcement = read_announcement(message.body)?;
        Ok(Self { block: message.block, announcement, covered: message.covered.to_vec(), tag })
    }

    /// Number of the block.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// The name Bob gave to the pads he drew for this block (see [`crate::Bob::start`]).
    pub fn pads(&self) -> &[u8] {
        &self.announcement.pads
    }
}

/// What Alice remembers of the light.
pub trait Recall {
    /// What was prepared or seen in each of `slots`, which ascend: `intensity·4 + setting·2 + bit`,
    /// or 0xff where nothing was. `None` where a slot was never fired or is forgotten.
    fn recall(&mut self, slots: &[u64]) -> Option<Vec<u8>>;

    /// Forgets what lies wholly before `slot`.
    fn forget_before(&mut self, slot: u64);
}

impl<E: Entropy> Recall for Source<E> {
    fn recall(&mut self, slots: &[u64]) -> Option<Vec<u8>> {
        Self::recall(self, slots)
    }

    fn forget_before(&mut self, slot: u64) {
        Self::forget_before(self, slot);
    }
}

impl<E: Entropy> Recall for PairEnd<E> {
    fn recall(&mut self, slots: &[u64]) -> Option<Vec<u8>> {
        Self::recall(self, slots)
    }

    fn forget_before(&mut self, slot: u64) {
        Self::forget_before(self, slot);
    }
}

/// Alice's end of one block.
pub struct Alice {
    params: BlockParams,
    transcript: Transcript,
    next: u32,
    stats: BlockStats,
    key: Bits,
    state: State,
}

enum State {
    Answering(Answerer),
    Confirming(SecretBits),
    Over,
}

impl Alice {
    /// Accepts Bob's offer: authenticates it, sifts against what `memory` holds, and compares the
    /// test bits. Returns the session and the answer to send.
    pub fn accept(
        params: &BlockParams,
        offer: Offer,
        keys: TagKeys,
        memory: &mut impl Recall,
    ) -> Result<(Self, Vec<u8>), BlockAbort> {
        let mut alice = Self {
            params: params.clone(),
            transcript: Transcript::new(keys),
            next: 1,
            stats: BlockStats { block: offer.block, ..BlockStats::default() },
            key: Bits::default(),
            state: State::Over,
        };
        match alice.sift(offer, memory) {
            Ok(reply) => Ok((alice, reply)),
            Err((reason, notice)) => {
                let mut abort = alice.abort(reason);
                // a refusal that carries its authenticated reasons is better than a bare notice
                abort.notice = notice.or(abort.notice);
                Err(abort)
            }
        }
    }

    fn sift(&mut self, offer: Offer, memory: &mut impl Recall) -> Result<Vec<u8>, (AbortReason, Option<Vec<u8>>)> {
        self.transcript.add(false, &offer.covered);
        self.transcript.check(&offer.tag).map_err(|_| (AbortReason::BadTag, None))?;
        let Announcement { purpose, slots, codes, pulses, .. } = offer.announcement;
        self.stats.pulses = pulses;
        self.stats.detected = slots.len() as u64;
        let kept = Zeroizing::new(memory.recall(&slots).ok_or((AbortReason::UnknownPulses, None))?);
        if let Some(last) = slots.last() {
            memory.forget_before(last + 1);
        }
        let protocol = self.params.protocol;
        let sifting = sift(protocol, &codes, &kept, &mut self.stats);
        self.key = sifting.key;
        let verdict = judge(&self.params, &mut self.stats);
        let mut out = start(Kind::Sifted, self.stats.block, self.next);
        write_counts(protocol, &self.stats, &mut out);
        if verdict.is_ok() && purpose == Purpose::Key {
            let plan = self.plan();
            plan.write(&mut out);
            sifting.matched.write_bytes(&mut out);
            if has_levels(&self.params) {
                write_levels(&sifting.levels, &mut out);
            }
            self.state = State::Answering(plan.answerer(&self.key));
        }
        self.next += 2;
        let sealed = self.seal(out).map_err(|reason| (reason, None))?;
        match verdict {
            Ok(()) if purpose == Purpose::Watch => Err((AbortReason::Watched, Some(sealed))),
            Ok(()) => Ok(sealed),
            Err(reason) => Err((reason, Some(sealed))),
        }
    }

    fn plan(&self) -> Plan {
        // one error more than seen: an estimate of zero would make blocks without end
        let rate = (self.stats.errors + 1) as f64 / self.stats.sampled.max(1) as f64;
        Plan::new(&self.params, self.key.len(), rate, self.stats.sampled)
    }

    /// Takes one message of Bob's. Random bits are drawn for the seed of the amplification.
    pub fn handle(&mut self, message: &[u8], entropy: &mut impl Entropy) -> Result<Step, BlockAbort> {
        let parsed = match Message::parse(message) {
            Ok(parsed) => parsed,
            Err(error) => return Err(self.abort(error.into())),
        };
        if parsed.block != self.stats.block {
            return Ok(Step::Ignored);
        }
        if parsed.kind == Kind::GiveUp {
            let mut abort = self.abort(AbortReason::ByPeer);
            abort.notice = None;
            return Err(abort);
        }
        if parsed.sequence + 1 < self.next {
            return Ok(Step::Ignored);
        }
        self.advance(&parsed, entropy).map_err(|reason| self.abort(reason))
    }

    fn advance(&mut self, message: &Message<'_>, entropy: &mut impl Entropy) -> Result<Step, AbortReason> {
        if message.sequence + 1 != self.next {
            return Err(AbortReason::OutOfTurn);
        }
        self.transcript.add(false, message.covered);
        if let Some(tag) = &message.tag {
            self.transcript.check(tag).map_err(|_| AbortReason::BadTag)?;
        }
        match (message.kind, std::mem::replace(&mut self.state, State::Over)) {
            (Kind::Ask, State::Answering(mut answerer)) => {
                let mut reader = Reader::new(message.body);
                let parities = answerer.answer(&mut reader)?;
                reader.end()?;
                let mut out = start(Kind::Parities, self.stats.block, self.next);
                put_var(&mut out, parities.len() as u64);
                parities.write_bytes(&mut out);
                self.state = State::Answering(answerer);
                self.stats.round_trips += 1;
                self.next += 2;
                self.transcript.add(true, &out);
                Ok(Step::Reply(out))
            }
            (Kind::Settled, State::Answering(answerer)) => self.amplify(message.body, &answerer, entropy),
            (Kind::Confirm, State::Confirming(key)) => {
                if !message.body.is_empty() {
                    return Err(WireError::Long.into());
                }
                self.finish_stats();
                let outcome = Box::new(BlockOutcome { key, stats: self.stats.clone() });
                Ok(Step::Finished { reply: None, outcome })
            }
            _ => Err(AbortReason::OutOfTurn),
        }
    }

    fn amplify(&mut self, body: &[u8], answerer: &Answerer, entropy: &mut impl Entropy) -> Result<Step, AbortReason> {
        let mut reader = Reader::new(body);
        let leaked = reader.var(u64::from(u32::MAX))?;
        self.stats.corrected = reader.var(self.stats.key_bits)?;
        reader.end()?;
        if leaked != answerer.leaked() {
            return Err(AbortReason::Disagreement);
        }
        self.stats.leaked_bits = self.params.reconciliation.disclosed(leaked, self.stats.key_bits);
        (self.stats.frames, self.stats.frame_failures) = answerer.frames(self.stats.round_trips);
        let length = settle(&self.params, &mut self.stats, self.transcript.epsilon())?;
        let mut point = [0; 16];
        entropy.fill(&mut point);
        let hash = verify_hash(u128::from_le_bytes(point), &self.key, self.stats.verify_bits);
        let seed_len = toeplitz::seed_len(self.key.len(), length);
        let mut seed = vec![0; seed_len.div_ceil(8)];
        entropy.fill(&mut seed);
        if let Some(last) = seed.last_mut() {
            *last &= 0xff >> ((8 - seed_len % 8) % 8);
        }
        let mut out = start(Kind::Amplify, self.stats.block, self.next);
        put_var(&mut out, length as u64);
        out.extend_from_slice(&point);
        out.extend_from_slice(&hash.to_le_bytes());
        out.extend_from_slice(&seed);
        let seed = Bits::from_bytes(&seed, seed_len).ok_or(AbortReason::Disagreement)?;
        let key = toeplitz::hash(&seed, &self.key, length).ok_or(AbortReason::Disagreement)?;
        self.key = Bits::default();
        self.state = State::Confirming(SecretBits::new(key));
        self.next += 2;
        self.seal(out).map(Step::Reply)
    }

    fn seal(&mut self, mut out: Vec<u8>) -> Result<Vec<u8>, AbortReason> {
        self.transcript.add(true, &out);
        out.extend_from_slice(&self.transcript.tag().ok_or(AbortReason::OutOfTurn)?);
        Ok(out)
    }

    fn finish_stats(&mut self) {
        self.stats.tag_bits = crate::auth::PAD_LEN_PER_BLOCK as u32 * 8;
        self.stats.epsilon = epsilon(&self.params, self.transcript.epsilon());
    }

    /// Number of the block.
    pub fn block(&self) -> u64 {
        self.stats.block
    }

    /// Gives the block up, as on a timeout; every secret of it is wiped.
    pub fn give_up(mut self) -> BlockAbort {
        self.abort(AbortReason::ByCaller)
    }

    fn abort(&mut self, reason: AbortReason) -> BlockAbort {
        self.key = Bits::default();
        self.state = State::Over;
        self.stats.secret_bits = 0;
        let notice = Some(start(Kind::GiveUp, self.stats.block, 0));
        BlockAbort { reason, stats: Box::new(self.stats.clone()), notice }
    }
}
