use zeroize::Zeroizing;

use crate::wire::{Reader, put_var};

/// Of the code of a click: the receiver had half its efficiency.
pub(crate) const HALVED: u8 = 8;

/// The setting of a click's code.
#[inline]
pub(crate) const fn setting(code: u8) -> u8 {
    code >> 1 & 3
}

/// The clicks of one block, in order of their slots.
#[derive(Default)]
pub struct Detections {
    /// Of each click, how many slots lie between it and the one before; before the first, all from
    /// slot 0 on. As it is announced: two bytes a click, mostly one.
    steps: Vec<u8>,
    /// Slot of the first click.
    first: u64,
    /// The slot after the last click.
    end: u64,
    /// `setting·2 + bit` of each, the settings being 0 key, 1 test, 2 and 3 CHSH, and [`HALVED`] where
    /// the receiver had half its efficiency.
    pub(crate) codes: Zeroizing<Vec<u8>>,
    /// Slots the receiver was open for.
    pub(crate) pulses: u64,
    /// Clicks in slots of half efficiency.
    pub(crate) halved: u64,
}

impl Detections {
    /// How many clicks.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Enters a click, in a slot after those of all others.
    #[inline]
    pub(super) fn push(&mut self, slot: u64, setting: u8, bit: bool, halved: bool) {
        self.step_to(slot);
        self.end = slot + 1;
        self.halved += u64::from(halved);
        self.codes.push(setting << 1 | u8::from(bit) | if halved { HALVED } else { 0 });
    }

    #[inline]
    fn step_to(&mut self, slot: u64) {
        if self.codes.is_empty() {
            self.first = slot;
        }
        put_var(&mut self.steps, slot - self.end);
    }

    /// Enters the clicks of later slots.
    pub(super) fn append(&mut self, later: &Self) {
        self.pulses += later.pulses;
        self.halved += later.halved;
        let mut steps = Reader::new(&later.steps);
        if steps.var(u64::MAX).is_err() {
            return;
        }
        self.step_to(later.first);
        self.steps.extend_from_slice(steps.rest());
        self.end = later.end;
        self.codes.extend_from_slice(&later.codes);
    }

    /// Slots of the first and the last click.
    pub(crate) fn span(&self) -> Option<(u64, u64)> {
        (!self.is_empty()).then_some((self.first, self.end.saturating_sub(1)))
    }

    /// The slots, in order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u64> {
        let (mut steps, mut next) = (Reader::new(&self.steps), 0);
        std::iter::from_fn(move || {
            let slot = next + steps.var(u64::MAX).ok()?;
            next = slot + 1;
            Some(slot)
        })
    }

    /// The steps between the slots, as they are announced.
    pub(crate) fn steps(&self) -> &[u8] {
        &self.steps
    }

    pub(super) fn bytes(&self) -> usize {
        self.steps.capacity() + self.codes.capacity()
    }
}
