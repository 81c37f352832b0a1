use crate::auth::{TagKeys, Transcript};
use crate::bits::{Bits, Picked, SecretBits};
use crate::block::message::{Kind, MAX_PADS_NAME, Message, Purpose, start, write_announcement};
use crate::block::sifted::{has_levels, read_counts, read_levels};
use crate::block::verdict::epsilon;
use crate::block::{AbortReason, BlockAbort, BlockOutcome, BlockStats, Step, judge, settle, verify_hash};
use crate::detector::{Detections, setting};
use crate::params::{BlockParams, MAX_BLOCK_CLICKS};
use crate::reconcile::{Asker, Plan};
use crate::toeplitz;
use crate::wire::{Reader, WireError, put_var};

/// Bob's end of one block.
pub struct Bob {
    params: BlockParams,
    purpose: Purpose,
    transcript: Transcript,
    next: u32,
    stats: BlockStats,
    state: State,
}

enum State {
    Sifting(Detections),
    Asking(Asker),
    Verifying(Bits),
    Over,
}

impl Bob {
    /// Starts block `block` from `detections`, for `purpose`; returns the session and the first message. `pads`
    /// names the pads in `keys`, in the caller's own form of at most [`MAX_PADS_NAME`] bytes, so
    /// that Alice's end can take the same ones.
    pub fn start(
        params: &BlockParams,
        block: u64,
        purpose: Purpose,
        detections: Detections,
        pads: &[u8],
        keys: TagKeys,
    ) -> Result<(Self, Vec<u8>), BlockAbort> {
        let stats = BlockStats {
            block,
            pulses: detections.pulses,
            detected: detections.len() as u64,
            halved: detections.halved,
            ..BlockStats::default()
        };
        let mut out = start(Kind::Detections, block, 0);
        write_announcement(purpose, pads, &detections, &mut out);
        let state = State::Sifting(detections);
        let (params, transcript) = (params.clone(), Transcript::new(keys));
        let mut bob = Self { params, purpose, transcript, next: 1, stats, state };
        if pads.len() > MAX_PADS_NAME || bob.stats.detected > MAX_BLOCK_CLICKS as u64 {
            return Err(bob.abort(AbortReason::Malformed(WireError::Number)));
        }
        match bob.seal(out) {
            Ok(out) => Ok((bob, out)),
            Err(reason) => Err(bob.abort(reason)),
        }
    }

    /// Takes one message of Alice's.
    pub fn handle(&mut self, message: &[u8]) -> Result<Step, BlockAbort> {
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
        if parsed.sequence < self.next {
            return Ok(Step::Ignored);
        }
        self.advance(&parsed).map_err(|reason| self.abort(reason))
    }

    fn advance(&mut self, message: &Message<'_>) -> Result<Step, AbortReason> {
        if message.sequence != self.next {
            return Err(AbortReason::OutOfTurn);
        }
        self.transcript.add(true, message.covered);
        if let Some(tag) = &message.tag {
            self.transcript.check(tag).map_err(|_| AbortReason::BadTag)?;
        }
        self.next += 1;
        match (message.kind, std::mem::replace(&mut self.state, State::Over)) {
            (Kind::Sifted, State::Sifting(detections)) => {
                let asker = self.sift(message.body, &detections)?;
                self.ask(asker).map(Step::Reply)
            }
            (Kind::Parities, State::Asking(mut asker)) => {
                let mut reader = Reader::new(message.body);
                let count = reader.var(u64::from(u32::MAX))? as usize;
                let parities = Bits::from_bytes(reader.take(count.div_ceil(8))?, count).ok_or(WireError::Number)?;
                reader.end()?;
                asker.answered(&parities)?;
                self.ask(asker).map(Step::Reply)
            }
            (Kind::Amplify, State::Verifying(key)) => self.amplify(message.body, &key),
            _ => Err(AbortReason::OutOfTurn),
        }
    }

    fn sift(&mut self, body: &[u8], detections: &Detections) -> Result<Asker, AbortReason> {
        let mut reader = Reader::new(body);
        let candidates = detections.codes.iter().filter(|&&code| setting(code) == 0).count();
        read_counts(self.params.protocol, detections, &mut reader, &mut self.stats)?;
        judge(&self.params, &mut self.stats)?;
        if self.purpose == Purpose::Watch {
            reader.end()?;
            return Err(AbortReason::Watched);
        }
        let plan = Plan::read(&self.params, &mut reader, candidates)?;
        let matched = Bits::from_bytes(reader.take(candidates.div_ceil(8))?, candidates).ok_or(WireError::Number)?;
        if has_levels(&self.params) {
            read_levels(&mut reader, &self.stats)?;
        }
        reader.end()?;
        let (mut key, mut at) = (Picked::with_capacity(candidates), 0);
        for &code in detections.codes.iter() {
            let is_key = setting(code) == 0;
            key.push_if(is_key & matched.get(at), code & 1 == 1);
            at += usize::from(is_key);
        }
        let key = key.bits();
        if key.len() as u64 != self.stats.key_bits || key.len() != plan.bits() {
            return Err(AbortReason::Disagreement);
        }
        Ok(plan.asker(&key))
    }

    /// The next questions, or the end of reconciliation.
    fn ask(&mut self, mut asker: Asker) -> Result<Vec<u8>, AbortReason> {
        let mut out = start(Kind::Ask, self.stats.block, self.next);
        if asker.ask(&mut out) {
            self.state = State::Asking(asker);
            self.next += 1;
            self.transcript.add(false, &out);
            return Ok(out);
        }
        let (told, corrected, rounds) = asker.figures();
        (self.stats.corrected, self.stats.round_trips) = (corrected, rounds);
        self.stats.leaked_bits = self.params.reconciliation.disclosed(told, self.stats.key_bits);
        (self.stats.frames, self.stats.frame_failures) = asker.frames(self.stats.round_trips);
        let mut out = start(Kind::Settled, self.stats.block, self.next);
        put_var(&mut out, told);
        put_var(&mut out, corrected);
        self.state = State::Verifying(asker.finish());
        self.next += 1;
        self.seal(out)
    }

    fn amplify(&mut self, body: &[u8], key: &Bits) -> Result<Step, AbortReason> {
        let length = settle(&self.params, &mut self.stats, self.transcript.epsilon())?;
        let mut reader = Reader::new(body);
        let theirs = reader.var(MAX_BLOCK_CLICKS as u64)? as usize;
        let point = u128::from_le_bytes(reader.array()?);
        let hash = u128::from_le_bytes(reader.array()?);
        if theirs != length {
            return Err(AbortReason::Disagreement);
        }
        let seed_len = toeplitz::seed_len(key.len(), length);
        let seed = Bits::from_bytes(reader.take(seed_len.div_ceil(8))?, seed_len).ok_or(WireError::Number)?;
        reader.end()?;
        if verify_hash(point, key, self.stats.verify_bits) != hash {
            return Err(AbortReason::Verification);
        }
        let key = toeplitz::hash(&seed, key, length).ok_or(AbortReason::Disagreement)?;
        let out = start(Kind::Confirm, self.stats.block, self.next);
        let reply = Some(self.seal(out)?);
        self.stats.tag_bits = crate::auth::PAD_LEN_PER_BLOCK as u32 * 8;
        self.stats.epsilon = epsilon(&self.params, self.transcript.epsilon());
        let outcome = Box::new(BlockOutcome { key: SecretBits::new(key), stats: self.stats.clone() });
        Ok(Step::Finished { reply, outcome })
    }

    fn seal(&mut self, mut out: Vec<u8>) -> Result<Vec<u8>, AbortReason> {
        self.transcript.add(false, &out);
        out.extend_from_slice(&self.transcript.tag().ok_or(AbortReason::OutOfTurn)?);
        Ok(out)
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
        self.state = State::Over;
        self.stats.secret_bits = 0;
        // Alice was done before
        let notice = (reason != AbortReason::Watched).then(|| start(Kind::GiveUp, self.stats.block, 0));
        BlockAbort { reason, stats: Box::new(self.stats.clone()), notice }
    }
}
