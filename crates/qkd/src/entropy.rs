//! Where random bits come from: the caller. Nothing in this crate makes any of its own.

use zeroize::Zeroize;

/// A source of uniformly random bytes. Everything secret in this crate is drawn from one.
pub trait Entropy {
    /// Fills `out` with uniformly random bytes.
    fn fill(&mut self, out: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

impl<E: Entropy + ?Sized> Entropy for Box<E> {
    fn fill(&mut self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

pub(crate) const BUFFER: usize = 2_048;

/// Draws random variables from an [`Entropy`] source, which is asked for large pieces at a time.
pub struct Rolls<E> {
    source: E,
    buffer: Box<[u8; BUFFER]>,
    /// Words of the buffer that are drawn.
    at: usize,
    /// Half of a word that was drawn for its other half.
    spare: Option<u32>,
}

impl<E: Entropy> Rolls<E> {
    /// Draws from `source`.
    pub fn new(source: E) -> Self {
        Self { source, buffer: Box::new([0; BUFFER]), at: BUFFER / 8, spare: None }
    }

    /// Sixty-four uniform bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        if let Some(piece) = self.buffer.as_chunks_mut::<8>().0.get_mut(self.at) {
            self.at += 1;
            // a drawn bit stays nowhere but with its owner
            return u64::from_le_bytes(std::mem::take(piece));
        }
        self.refill()
    }

    #[cold]
    fn refill(&mut self) -> u64 {
        self.source.fill(self.buffer.as_mut_slice());
        self.at = 1;
        self.buffer.first_chunk_mut::<8>().map_or(0, |piece| u64::from_le_bytes(std::mem::take(piece)))
    }

    /// Thirty-two uniform bits.
    #[inline]
    pub fn half(&mut self) -> u32 {
        match self.spare.take() {
            Some(half) => half,
            None => {
                let word = self.word();
                self.spare = Some((word >> 32) as u32);
                word as u32
            }
        }
    }

    /// A uniform number in (0, 1], a multiple of 2^-32: for what nature draws, never for a secret.
    #[inline]
    pub fn coarse(&mut self) -> f64 {
        (f64::from(self.half()) + 1.0) * (1.0 / 4_294_967_296.0)
    }

    /// A uniform number in (0, 1], a multiple of 2^-53.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        ((self.word() >> 11) + 1) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// True with probability `p`.
    #[inline]
    pub fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && self.unit() <= p
    }

    /// How many failures precede the next success of a trial that succeeds with the probability
    /// `skip` was made for.
    #[inline]
    pub fn gap(&mut self, skip: &Skip) -> u64 {
        match skip {
            Skip::Never => u64::MAX,
            Skip::Always => 0,
            // a float-to-integer cast saturates
            Skip::Rare { per_log } => (self.unit().ln() * per_log) as u64,
            Skip::Often { above, sure } => {
                let mut failures = 0;
                loop {
                    let roll = u64::from(self.half()) << 32;
                    let mut more = usize::from(sure[(roll >> 58) as usize]);
                    while above.get(more).is_some_and(|&bound| roll < bound) {
                        more += 1;
                    }
                    failures += more as u64;
                    if more < above.len() {
                        return failures;
                    }
                }
            }
        }
    }

    /// The source itself, for large fills.
    pub fn source(&mut self) -> &mut E {
        &mut self.source
    }
}

impl<E> Drop for Rolls<E> {
    fn drop(&mut self) {
        self.buffer.as_mut_slice().zeroize();
        self.spare.zeroize();
    }
}

/// Draws single bits, each of which the source gave.
pub(crate) struct Coins<E> {
    rolls: Rolls<E>,
    /// Bits that are drawn and not tossed, lowest first.
    word: u64,
    left: u8,
}

impl<E: Entropy> Coins<E> {
    /// Tosses what `source` gives.
    pub(crate) fn new(source: E) -> Self {
        Self { rolls: Rolls::new(source), word: 0, left: 0 }
    }

    /// One uniform bit.
    #[inline]
    pub(crate) fn toss(&mut self) -> bool {
        if self.left == 0 {
            (self.word, self.left) = (self.rolls.word(), 64);
        }
        let bit = self.word & 1 == 1;
        self.word >>= 1;
        self.left -= 1;
        bit
    }

    /// Sixty-four of them.
    #[inline]
    pub(crate) fn word(&mut self) -> u64 {
        self.rolls.word()
    }
}

impl<E> Drop for Coins<E> {
    fn drop(&mut self) {
        self.word.zeroize();
    }
}

/// A success probability prepared for geometric skipping, so that the cost of a sparse process
/// grows with its successes and not with its trials.
#[derive(Debug, Clone, PartialEq)]
pub enum Skip {
    /// Probability 0.
    Never,
    /// Probability 1.
    Always,
    /// A small probability: the gap is drawn by inversion.
    Rare {
        /// 1 / ln(1 - p).
        per_log: f64,
    },
    /// A larger one: a roll below the k-th of these bounds, (1 - p)^(k+1)·2^64, means more than k
    /// failures.
    Often {
        /// The bounds, falling.
        above: [u64; 8],
        /// How many of them are above all rolls with the same six high bits.
        sure: [u8; 64],
    },
}

impl Skip {
    /// Prepares success probability `p`, clamped to [0, 1].
    pub fn new(p: f64) -> Self {
        if p >= 1.0 {
            Self::Always
        } else if p >= 0.125 {
            let above: [u64; 8] = std::array::from_fn(|k| ((1.0 - p).powi(k as i32 + 1) * 2_f64.powi(64)) as u64);
            let highest = |i: usize| (i as u64) << 58 | u64::MAX >> 6;
            let sure = std::array::from_fn(|i| above.iter().take_while(|&&bound| highest(i) < bound).count() as u8);
            Self::Often { above, sure }
        } else if p > 0.0 {
            Self::Rare { per_log: (-p).ln_1p().recip() }
        } else {
            Self::Never
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rolls, Skip};
    use crate::seeded::Seeded;

    #[test]
    fn gaps_have_the_mean_and_spread_of_their_probability() {
        let mut rolls = Rolls::new(Seeded::new(1));
        for p in [0.9, 0.63, 0.2, 0.125, 0.1, 0.01] {
            let skip = Skip::new(p);
            let gaps: Vec<f64> = (0..100_000).map(|_| rolls.gap(&skip) as f64).collect();
            let mean = gaps.iter().sum::<f64>() / 1e5;
            let (wanted, variance) = ((1.0 - p) / p, (1.0 - p) / (p * p));
            assert!((mean - wanted).abs() < 5.0 * (variance / 1e5).sqrt(), "{p}: {mean} {wanted}");
            let spread = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 1e5;
            assert!((spread / variance - 1.0).abs() < 0.1, "{p}: {spread} {variance}");
        }
        assert_eq!(rolls.gap(&Skip::new(1.0)), 0);
        assert_eq!(rolls.gap(&Skip::new(0.0)), u64::MAX);
    }
}
