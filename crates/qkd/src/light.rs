//! The frames of the quantum channel.
//!
//! Every frame begins `u8 kind ‖ u64 first slot ‖ u32 pulses`. A dense train of single photons is
//! sent whole, as [`PulseFrame`](crate::source) planes. Every other train is prepared *late*: the
//! source says that it fires ([`Train`]), the fibre answers in which slots anything gets through
//! ([`Arrivals`]), and only for those the source draws what it sent ([`Choices`]). What is drawn
//! late has the same distribution as if it had been drawn before, since whether a slot is named
//! does not depend on it; and the cost of a train grows with what arrives, not with its pulses.
//! Halves of entangled pairs work the same way: an end says which arrivals it notices in which
//! settings, and gets the outcomes ([`Outcomes`]), for a pair has none before it is measured.
//!
//! To an end that measures the fibre may send only what its detectors notice at full efficiency: the
//! kind then has bit 4 set. Photons are lost independently of each other, so it does not matter in
//! which order fibre and detector lose them, and the cost of light grows with clicks.
//!
//! | kind | body |
//! |---|---|
//! | 1 planes | basis bits, bits |
//! | 2 photons | `var count ‖ (var gap·4 + z·2 + bit)*`: single photons |
//! | 3 train | `u8 light`, for weak pulses `3 × f64 mean` |
//! | 4 arrivals | `var count ‖ (var step)*`, steps between slots, 0 where two photons share one |
//! | 5 choices | `var count ‖` a nibble each |
//! | 6 outcomes | `var count ‖` a bit each |
//! | 7 bunches | `var count ‖ (u8 form·8 + setting·2 + bit ‖ var gap)*`: several photons, or a blinding pulse |

use crate::bits::Bits;
use crate::params::{MAX_ARRIVALS, MAX_FRAME_PULSES};
use crate::source::Qubit;
use crate::wire::{Reader, WireError, put_var};

pub(crate) const TRAIN: u8 = 3;
pub(crate) const ARRIVALS: u8 = 4;
pub(crate) const CHOICES: u8 = 5;
pub(crate) const OUTCOMES: u8 = 6;
pub(crate) const BUNCHES: u8 = 7;

/// Of a kind: what the detectors would not notice has been dropped already.
pub(crate) const THINNED: u8 = 0x10;

/// The pulses a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) pulses: u32,
}

impl Span {
    pub(crate) fn end(self) -> u64 {
        self.first + u64::from(self.pulses)
    }

    pub(crate) fn start(self, kind: u8) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.pulses.to_le_bytes());
        out
    }

    /// Reads the head of a frame of `kind`, and whether it is thinned.
    pub(crate) fn read_light(reader: &mut Reader<'_>, kind: u8) -> Result<(Self, bool), WireError> {
        let thinned = reader.peek().is_some_and(|byte| byte & THINNED != 0);
        let kind = if thinned { kind | THINNED } else { kind };
        Ok((Self::read(reader, kind)?, thinned))
    }

    /// The head of a frame of `kind`, thinned or not.
    pub(crate) fn start_light(self, kind: u8, thinned: bool) -> Vec<u8> {
        self.start(if thinned { kind | THINNED } else { kind })
    }

    /// Reads the head of a frame of `kind`.
    pub(crate) fn read(reader: &mut Reader<'_>, kind: u8) -> Result<Self, WireError> {
        if reader.u8()? != kind {
            return Err(WireError::Kind);
        }
        let (first, pulses) = (reader.u64()?, reader.u32()?);
        if pulses > MAX_FRAME_PULSES || first.checked_add(u64::from(pulses)).is_none_or(|end| end >> 61 != 0) {
            return Err(WireError::Number);
        }
        Ok(Self { first, pulses })
    }
}

/// What a train is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Glow {
    /// One photon in every pulse.
    Single,
    /// Weak coherent pulses, each of one of three mean photon numbers.
    Weak([f64; 3]),
    /// Pairs, from the source in the middle of the fibre.
    Pairs,
}

/// The source fires.
pub(crate) struct Train {
    pub(crate) span: Span,
    pub(crate) glow: Glow,
}

impl Train {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.span.start(TRAIN);
        match self.glow {
            Glow::Single => out.push(0),
            Glow::Weak(means) => {
                out.push(1);
                means.iter().for_each(|mean| out.extend_from_slice(&mean.to_le_bytes()));
            }
            Glow::Pairs => out.push(2),
        }
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let span = Span::read(&mut reader, TRAIN)?;
        let glow = match reader.u8()? {
            0 => Glow::Single,
            1 => {
                let mut means = [0.0; 3];
                for mean in &mut means {
                    *mean = f64::from_le_bytes(reader.array()?);
                }
                if means.iter().any(|mean| !(0.0..=8.0).contains(mean)) {
                    return Err(WireError::Number);
                }
                Glow::Weak(means)
            }
            2 => Glow::Pairs,
            _ => return Err(WireError::Kind),
        };
        reader.end()?;
        Ok(Self { span, glow })
    }
}

/// Slots in which something arrives, relative to the train's first, ascending; a slot may come
/// twice.
pub(crate) struct Arrivals {
    pub(crate) span: Span,
    pub(crate) thinned: bool,
    pub(crate) slots: Vec<u32>,
}

impl Arrivals {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.span.start_light(ARRIVALS, self.thinned);
        out.reserve(5 + 2 * self.slots.len());
        put_var(&mut out, self.slots.len() as u64);
        let mut last = 0;
        for &slot in &self.slots {
            put_var(&mut out, u64::from(slot - last));
            last = slot;
        }
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let (span, thinned) = Span::read_light(&mut reader, ARRIVALS)?;
        let count = count(&mut reader, 1)?;
        let mut slots = Vec::with_capacity(count);
        walk(&mut reader, span, count, |slot| slots.push(slot))?;
        Ok(Self { span, thinned, slots })
    }

    /// Checks a frame for a source whole; its span, how many slots it names, and the steps between them as bytes.
    pub(crate) fn check(bytes: &[u8]) -> Result<(Span, usize, &[u8]), WireError> {
        let mut reader = Reader::new(bytes);
        let span = Span::read(&mut reader, ARRIVALS)?;
        let count = count(&mut reader, 1)?;
        let steps = reader.rest();
        walk(&mut reader, span, count, |_| {})?;
        Ok((span, count, steps))
    }
}

/// Reads `count` steps, to the end of the frame.
#[inline]
fn walk(reader: &mut Reader<'_>, span: Span, count: usize, mut take: impl FnMut(u32)) -> Result<(), WireError> {
    let mut slot = 0_u64;
    for _ in 0..count {
        slot += reader.var(u64::from(span.pulses))?;
        if slot >= u64::from(span.pulses) {
            return Err(WireError::Number);
        }
        take(slot as u32);
    }
    reader.end()
}

/// How many items follow, `per_byte` of them in a byte at most.
pub(crate) fn count(reader: &mut Reader<'_>, per_byte: usize) -> Result<usize, WireError> {
    let count = reader.var(MAX_ARRIVALS as u64)? as usize;
    if count > reader.left() * per_byte { Err(WireError::Short) } else { Ok(count) }
}

/// What an end chose for each arrival, in order, four bits each.
pub(crate) struct Choices {
    pub(crate) span: Span,
    pub(crate) codes: Vec<u8>,
}

/// A choice of an end that notices the arrival, beside its setting.
pub(crate) const NOTICED: u8 = 4;

impl Choices {
    pub(crate) fn encode(&self) -> Vec<u8> {
        Self::of(self.span, &self.codes)
    }

    /// The frame that says these codes.
    pub(crate) fn of(span: Span, codes: &[u8]) -> Vec<u8> {
        let mut out = span.start(CHOICES);
        put_var(&mut out, codes.len() as u64);
        let (pairs, last) = codes.as_chunks::<2>();
        out.extend(pairs.iter().map(|[low, high]| low | high << 4));
        out.extend_from_slice(last);
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let span = Span::read(&mut reader, CHOICES)?;
        let count = count(&mut reader, 2)?;
        let packed = reader.take(count.div_ceil(2))?;
        reader.end()?;
        let mut codes = vec![0; packed.len() * 2];
        for (pair, byte) in codes.as_chunks_mut::<2>().0.iter_mut().zip(packed) {
            *pair = [byte & 15, byte >> 4];
        }
        codes.truncate(count);
        Ok(Self { span, codes })
    }
}

/// What an end saw in the arrivals it noticed, in order.
pub(crate) struct Outcomes {
    pub(crate) span: Span,
    pub(crate) bits: Bits,
}

impl Outcomes {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.span.start(OUTCOMES);
        put_var(&mut out, self.bits.len() as u64);
        self.bits.write_bytes(&mut out);
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let span = Span::read(&mut reader, OUTCOMES)?;
        let count = count(&mut reader, 8)?;
        let bits = Bits::from_bytes(reader.take(count.div_ceil(8))?, count).ok_or(WireError::Number)?;
        reader.end()?;
        Ok(Self { span, bits })
    }
}

/// What is in one slot of a [`Bunches`] frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bunch {
    pub(crate) slot: u32,
    /// How many photons; zero for a pulse so bright that the detectors no longer count photons and
    /// click, all of them in this setting with this bit, and in no other setting.
    pub(crate) photons: u8,
    pub(crate) setting: u8,
    pub(crate) bit: bool,
}

impl Bunch {
    /// The state of its photons.
    pub(crate) fn qubit(&self) -> Qubit {
        Qubit { z: self.setting == 1, bit: self.bit }
    }
}

/// Most photons told apart in one slot.
pub(crate) const MAX_BUNCH: u8 = 3;

/// Weak pulses and blinding pulses at Bob's end, by slot.
pub(crate) struct Bunches {
    pub(crate) span: Span,
    pub(crate) thinned: bool,
    pub(crate) bunches: Vec<Bunch>,
}

impl Bunches {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.span.start_light(BUNCHES, self.thinned);
        out.reserve(5 + 3 * self.bunches.len());
        put_var(&mut out, self.bunches.len() as u64);
        let mut next = 0;
        for bunch in &self.bunches {
            out.push(bunch.photons.min(MAX_BUNCH) << 3 | bunch.setting << 1 | u8::from(bunch.bit));
            put_var(&mut out, u64::from(bunch.slot - next));
            next = bunch.slot + 1;
        }
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let (span, thinned) = Span::read_light(&mut reader, BUNCHES)?;
        let count = count(&mut reader, 1)?;
        let mut bunches = Vec::with_capacity(count);
        let mut slot = 0_u64;
        for _ in 0..count {
            let code = reader.u8()?;
            slot += reader.var(u64::from(span.pulses))?;
            if slot >= u64::from(span.pulses) || code > 31 {
                return Err(WireError::Number);
            }
            bunches.push(Bunch { slot: slot as u32, photons: code >> 3, setting: code >> 1 & 3, bit: code & 1 == 1 });
            slot += 1;
        }
        reader.end()?;
        Ok(Self { span, thinned, bunches })
    }
}
