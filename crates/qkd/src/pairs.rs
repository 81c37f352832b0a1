//! Alice's receiver for halves of entangled pairs, and her memory of what it saw.
//!
//! She also gives the clock: the pump of the pair source fires when she says so, which names the
//! slots. The source itself is in the fibre and is not trusted.

use crate::detector::{Detector, Settings};
use crate::entropy::Entropy;
use crate::light::{Glow, Span, Train};
use crate::memory::Memory;
use crate::params::{LinkParams, MAX_FRAME_PULSES};
use crate::source::FrameError;

/// Alice's end of a link with a source of pairs in the middle.
pub struct PairEnd<E> {
    detector: Detector<E>,
    memory: Memory,
    next: u64,
    retain: u64,
}

impl<E: Entropy> PairEnd<E> {
    /// An end whose first slot is `first_slot`; clicks are kept for the last `retain` slots.
    pub fn new(params: &LinkParams, retain: u64, first_slot: u64, entropy: E) -> Self {
        let settings = Settings::Two { z_log2: params.z_log2 };
        let detector = Detector::new(&params.detector, settings, usize::MAX, entropy);
        Self { detector, memory: Memory::default(), next: first_slot, retain }
    }

    /// Fires the pump `pulses` times and returns the frame that says so.
    pub fn emit(&mut self, pulses: u32) -> Vec<u8> {
        let span = Span { first: self.next, pulses: pulses.min(MAX_FRAME_PULSES) };
        self.next = span.end();
        self.memory.forget_before(self.next.saturating_sub(self.retain));
        Train { span, glow: Glow::Pairs }.encode()
    }

    /// Takes a frame from the fibre and returns what goes back into it, if anything does.
    pub fn light(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        let reply = self.detector.measure(frame)?;
        let waiting = self.detector.waiting();
        if let Some(mut clicks) = self.detector.take(waiting)
            && let Some((first, last)) = clicks.span()
        {
            let span = Span { first, pulses: u32::try_from(last + 1 - first).unwrap_or(u32::MAX) };
            let codes = std::mem::take(&mut clicks.codes);
            self.memory.keep(span, clicks.slots(), codes);
        }
        Ok(reply)
    }

    /// Where choices come from.
    pub(crate) fn choices(&mut self) -> &mut E {
        self.detector.choices()
    }

    /// The slot of the next pulse.
    pub fn next_slot(&self) -> u64 {
        self.next
    }

    /// Forgets clicks of frames that lie wholly before `slot`.
    pub fn forget_before(&mut self, slot: u64) {
        self.memory.forget_before(slot);
    }

    /// Forgets all clicks.
    pub fn clear(&mut self) {
        self.memory.clear();
        self.detector.clear();
    }

    /// Bytes held for clicks that may still be named.
    pub fn held_bytes(&self) -> usize {
        self.memory.bytes() + self.detector.held_bytes()
    }

    /// What was seen in each of `slots`, which must ascend, as kept codes, and unknown where this
    /// end had no click; `None` where one was never fired.
    pub(crate) fn recall(&mut self, slots: &[u64]) -> Option<Vec<u8>> {
        (*slots.last()? < self.next).then(|| self.memory.recall(slots))
    }
}
