//! One end of a link, from light to key, block after block.
//!
//! The owner carries frames between this and the fibre, and messages between this and the peer's
//! pipeline, gives tag keys for each block, and puts what comes out into its [`Pool`](crate::Pool).
//! What a pipeline holds is bounded: clicks of at most two blocks at the end that measures, at the
//! end that prepares what arrived in the retained span, and one block under way. At
//! [rest](Pipeline::rest) it holds next to nothing. It keeps nothing durable: after a crash a new one
//! begins above every slot of the old one, the block under way is lost, and pad bits are the pool's
//! matter alone.

use types::mesh::LinkAlarm;

use crate::auth::TagKeys;
use crate::block::{AbortReason, Alice, BlockAbort, Bob, Offer, Purpose, Recall, Step, alarm};
use crate::detector::{Detector, Settings};
use crate::entropy::Entropy;
use crate::ledger::EpsilonLedger;
use crate::pairs::PairEnd;
use crate::params::LinkParams;
use crate::source::{FrameError, Source};

/// What an end does with light.
enum Optics<E> {
    Source(Source<E>),
    Pairs(PairEnd<E>),
    Receiver(Detector<E>),
}

impl<E: Entropy> Recall for Optics<E> {
    fn recall(&mut self, slots: &[u64]) -> Option<Vec<u8>> {
        match self {
            Self::Source(source) => source.recall(slots),
            Self::Pairs(end) => end.recall(slots),
            Self::Receiver(_) => None,
        }
    }

    fn forget_before(&mut self, slot: u64) {
        match self {
            Self::Source(source) => source.forget_before(slot),
            Self::Pairs(end) => end.forget_before(slot),
            Self::Receiver(_) => {}
        }
    }
}

impl<E: Entropy> Optics<E> {
    fn choices(&mut self) -> &mut E {
        match self {
            Self::Source(source) => source.choices(),
            Self::Pairs(end) => end.choices(),
            Self::Receiver(receiver) => receiver.choices(),
        }
    }
}

enum Running {
    Alice(Box<Alice>),
    Bob(Box<Bob>),
}

/// One end of a link.
pub struct Pipeline<E> {
    params: LinkParams,
    optics: Optics<E>,
    running: Option<Running>,
    ledger: EpsilonLedger,
    alarm: Option<LinkAlarm>,
}

impl<E: Entropy> Pipeline<E> {
    /// Alice's end. Her first slot is `first_slot`, above every slot of a run before; she remembers
    /// the last `retain` slots. What `bits` gives is encoded in photons and becomes key; `choices`
    /// gives bases, intensities and the seeds of amplification, which are all published. Where pairs
    /// are measured nature gives the bits.
    pub fn alice(params: &LinkParams, retain: u64, first_slot: u64, bits: E, choices: E) -> Self {
        let optics = if params.block.protocol.is_entangled() {
            Optics::Pairs(PairEnd::new(params, retain, first_slot, choices))
        } else {
            Optics::Source(Source::new(params, retain, first_slot, bits, choices))
        };
        Self::new(params, optics)
    }

    /// Bob's end.
    pub fn bob(params: &LinkParams, choices: E) -> Self {
        let settings = Settings::of_bob(params);
        let receiver = Detector::new(&params.detector, settings, params.click_limit(), choices);
        Self::new(params, Optics::Receiver(receiver))
    }

    fn new(params: &LinkParams, optics: Optics<E>) -> Self {
        let (running, ledger, alarm) = (None, EpsilonLedger::default(), None);
        Self { params: params.clone(), optics, running, ledger, alarm }
    }

    /// The link's numbers.
    pub fn params(&self) -> &LinkParams {
        &self.params
    }

    /// Alice: fires the next train, and returns the frame for the fibre. Empty at Bob's end.
    pub fn emit(&mut self) -> Vec<u8> {
        let pulses = self.params.frame_pulses;
        match &mut self.optics {
            Optics::Source(source) => source.emit(pulses),
            Optics::Pairs(end) => end.emit(pulses),
            Optics::Receiver(_) => Vec::new(),
        }
    }

    /// Alice: the slot of her next pulse.
    pub fn next_slot(&self) -> u64 {
        match &self.optics {
            Optics::Source(source) => source.next_slot(),
            Optics::Pairs(end) => end.next_slot(),
            Optics::Receiver(_) => 0,
        }
    }

    /// Takes a frame from the fibre and returns the frame that goes back, if one does.
    ///
    /// # Errors
    /// [`FrameError`]; the frame is lost light.
    pub fn light(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        match &mut self.optics {
            Optics::Source(source) => source.light(frame).map(Some),
            Optics::Pairs(end) => end.light(frame),
            Optics::Receiver(receiver) => {
                if receiver.age() >= self.params.retain_pulses() {
                    // Alice has forgotten what she sent
                    receiver.clear();
                }
                receiver.measure(frame)
            }
        }
    }

    /// Bob: whether there are clicks for a block, and none is under way. A channel that gives far
    /// fewer than it should makes a small block, which tells more of it than none.
    pub fn is_due(&self) -> bool {
        let Optics::Receiver(receiver) = &self.optics else { return false };
        let wanted = self.params.block.clicks as usize;
        let late = receiver.age() >= self.params.retain_pulses() / 4 * 3;
        self.running.is_none() && receiver.waiting() >= if late { wanted / 64 } else { wanted }
    }

    /// Whether a block is under way.
    pub fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Bob: begins block `number` with all clicks that wait, for `purpose`, and returns the first message. `None`
    /// where no block is [due](Self::is_due).
    ///
    /// # Errors
    /// [`BlockAbort`], where the pads' name is too long.
    pub fn begin(
        &mut self,
        number: u64,
        purpose: Purpose,
        pads: &[u8],
        keys: TagKeys,
    ) -> Result<Option<Vec<u8>>, BlockAbort> {
        if !self.is_due() {
            return Ok(None);
        }
        let Optics::Receiver(receiver) = &mut self.optics else { return Ok(None) };
        let Some(detections) = receiver.take(1) else { return Ok(None) };
        let (bob, message) = Bob::start(&self.params.block, number, purpose, detections, pads, keys)?;
        self.running = Some(Running::Bob(Box::new(bob)));
        Ok(Some(message))
    }

    /// Alice: takes up the block that Bob offers, in place of one under way, and returns the answer.
    ///
    /// # Errors
    /// [`BlockAbort`]: the offer is not authentic, the channel carries no key, or it was only looked at.
    pub fn accept(&mut self, offer: Offer, keys: TagKeys) -> Result<Vec<u8>, BlockAbort> {
        self.running = None;
        let accepted = Alice::accept(&self.params.block, offer, keys, &mut self.optics);
        match self.watch(accepted) {
            Ok((alice, reply)) => {
                self.running = Some(Running::Alice(Box::new(alice)));
                Ok(reply)
            }
            Err(abort) => Err(abort),
        }
    }

    /// Takes a message of the block under way; ignores it where there is none.
    ///
    /// # Errors
    /// [`BlockAbort`]: the block is over, without a key.
    pub fn hear(&mut self, message: &[u8]) -> Result<Step, BlockAbort> {
        let heard = match &mut self.running {
            Some(Running::Alice(alice)) => alice.handle(message, self.optics.choices()),
            Some(Running::Bob(bob)) => bob.handle(message),
            None => return Ok(Step::Ignored),
        };
        let step = self.watch(heard);
        match &step {
            Ok(Step::Finished { outcome, .. }) => {
                self.running = None;
                self.alarm = None;
                self.ledger.enter(&outcome.stats);
            }
            Ok(_) => {}
            Err(_) => self.running = None,
        }
        step
    }

    /// Notes what the end of a block without a key says of an attack.
    fn watch<T>(&mut self, result: Result<T, BlockAbort>) -> Result<T, BlockAbort> {
        match &result {
            Err(abort) if abort.reason == AbortReason::Watched => self.alarm = None,
            Err(abort) => self.alarm = alarm(&abort.reason).or(self.alarm),
            Ok(_) => {}
        }
        result
    }

    /// Gives up the block under way, as on a timeout.
    pub fn give_up(&mut self) -> Option<BlockAbort> {
        match self.running.take()? {
            Running::Alice(alice) => Some(alice.give_up()),
            Running::Bob(bob) => Some(bob.give_up()),
        }
    }

    /// Lets go of the block under way and of all light; the next block begins with light to come.
    pub fn rest(&mut self) {
        self.running = None;
        match &mut self.optics {
            Optics::Source(source) => source.clear(),
            Optics::Pairs(end) => end.clear(),
            Optics::Receiver(receiver) => receiver.clear(),
        }
    }

    /// What the last block says of an attack.
    pub fn alarm(&self) -> Option<LinkAlarm> {
        self.alarm
    }

    /// ε and secret bits of all blocks so far.
    pub fn ledger(&self) -> &EpsilonLedger {
        &self.ledger
    }

    /// Bytes held between blocks: this value itself, and light that no block has used.
    pub fn held_bytes(&self) -> usize {
        let light = match &self.optics {
            Optics::Source(source) => source.held_bytes(),
            Optics::Pairs(end) => end.held_bytes(),
            Optics::Receiver(receiver) => receiver.held_bytes(),
        };
        size_of::<Self>() + 2 * crate::entropy::BUFFER + light
    }
}
