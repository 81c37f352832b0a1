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

const BUFFER: usize = 2_048;

/// Draws random variables from an [`Entropy`] source, which is asked for large pieces at a time.
pub struct Rolls<E> {
    source: E,
    buffer: Box<[u8; BUFFER]>,
    at: usize,
}

impl<E: Entropy> Rolls<E> {
    /// Draws from `source`.
    pub fn new(source: E) -> Self {
        Self { source, buffer: Box::new([0; BUFFER]), at: BUFFER }
    }

    /// Sixty-four uniform bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        if self.at + 8 > BUFFER {
            self.source.fill(self.buffer.as_mut_slice());
            self.at = 0;
        }
        let mut bytes = [0; 8];
        let piece = &mut self.buffer[self.at..self.at + 8];
        bytes.copy_from_slice(piece);
        piece.fill(0); // a drawn bit stays nowhere but with its owner
        self.at += 8;
        u64::from_le_bytes(bytes)
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
    pub fn gap(&mut self, skip: Skip) -> u64 {
        match skip {
            Skip::Never => u64::MAX,
            Skip::Always => 0,
            // a float-to-integer cast saturates
            Skip::Some { per_log } => (self.unit().ln() * per_log) as u64,
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
    }
}

/// A success probability prepared for geometric skipping, so that the cost of a sparse process
/// grows with its successes and not with its trials.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Skip {
    /// Probability 0.
    Never,
    /// Probability 1.
    Always,
    /// Any probability between.
    Some {
        /// 1 / ln(1 - p).
        per_log: f64,
    },
}

impl Skip {
    /// Prepares success probability `p`, clamped to [0, 1].
    pub fn new(p: f64) -> Self {
        if p >= 1.0 {
            Self::Always
        } else if p > 0.0 {
            Self::Some { per_log: (-p).ln_1p().recip() }
        } else {
            Self::Never
        }
    }
}
