//! Continuous health tests of a raw source (NIST SP 800-90B section 4.4): repetition count and
//! adaptive proportion, on samples of one byte.

use std::fmt;

/// Chance of a false alarm per test as an exponent: α = 2^-30 for a source that has exactly the
/// credited entropy (SP 800-90B section 4.2 suggests 2^-20 to 2^-40). The built-in sources have
/// twice that entropy, so their chance is far smaller.
pub const ALPHA_EXPONENT: u32 = 30;

/// Samples in a window of the adaptive proportion test, for non-binary sources.
pub const WINDOW: u32 = 512;

/// The test that a source failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tripped {
    /// One value came too many times in a row.
    RepetitionCount,
    /// One value came too often in a window.
    AdaptiveProportion,
}

impl fmt::Display for Tripped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RepetitionCount => "repetition count test",
            Self::AdaptiveProportion => "adaptive proportion test",
        })
    }
}

/// Both tests over one stream of samples.
#[derive(Debug)]
pub struct HealthTests {
    repetition_cutoff: u32,
    proportion_cutoff: u32,
    last: Option<u8>,
    run: u32,
    window_value: u8,
    window_seen: u32,
    window_count: u32,
}

impl HealthTests {
    /// Tests for a source credited with `credit` bits of min-entropy per byte (1 to 8), at
    /// α = 2^-[`ALPHA_EXPONENT`].
    pub fn new(credit: u32) -> Self {
        Self {
            repetition_cutoff: repetition_cutoff(credit, ALPHA_EXPONENT),
            proportion_cutoff: proportion_cutoff(credit, ALPHA_EXPONENT),
            last: None,
            run: 0,
            window_value: 0,
            window_seen: 0,
            window_count: 0,
        }
    }

    /// Tests one more sample.
    ///
    /// # Errors
    /// The test that it trips.
    pub fn check(&mut self, sample: u8) -> Result<(), Tripped> {
        self.run = if self.last == Some(sample) { self.run + 1 } else { 1 };
        self.last = Some(sample);

        if self.window_seen == 0 {
            self.window_value = sample;
            self.window_count = 0;
        }
        self.window_count += u32::from(sample == self.window_value);
        self.window_seen = (self.window_seen + 1) % WINDOW;

        if self.run >= self.repetition_cutoff {
            return Err(Tripped::RepetitionCount);
        }
        if self.window_count >= self.proportion_cutoff {
            return Err(Tripped::AdaptiveProportion);
        }
        Ok(())
    }
}

/// Cutoff of the repetition count test, SP 800-90B section 4.4.1: 1 + ⌈-log2 α / H⌉.
pub fn repetition_cutoff(credit: u32, alpha_exponent: u32) -> u32 {
    1 + alpha_exponent.div_ceil(credit.clamp(1, 8))
}

/// Cutoff of the adaptive proportion test, SP 800-90B section 4.4.2: 1 + critbinom(W, 2^-H, 1 - α).
pub fn proportion_cutoff(credit: u32, alpha_exponent: u32) -> u32 {
    let p = 0.5_f64.powi(credit.clamp(1, 8) as i32);
    let alpha = 0.5_f64.powi(alpha_exponent as i32);
    // The upper tail is summed from its small end, where double precision is exact enough; the
    // smallest k with P(X > k) <= α is critbinom.
    let mut tail = 0.0;
    let mut k = WINDOW;
    let mut ln_pmf = f64::from(WINDOW) * p.ln();
    while k > 0 {
        tail += ln_pmf.exp();
        if tail > alpha {
            break;
        }
        // P(X = k-1) = P(X = k) · k/(W-k+1) · (1-p)/p
        ln_pmf += (f64::from(k) / f64::from(WINDOW - k + 1) * (1.0 - p) / p).ln();
        k -= 1;
    }
    1 + k
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HealthTests, Tripped, WINDOW, proportion_cutoff, repetition_cutoff};

    /// KM-03: SP 800-90B section 4.4.2, table 2 (α = 2^-20, W = 512).
    #[test]
    fn the_proportion_cutoffs_are_those_of_the_standard() {
        let cutoffs = [1, 2, 4, 8].map(|credit| proportion_cutoff(credit, 20));
        assert_eq!(cutoffs, [311, 177, 62, 13]);
    }

    /// KM-03: SP 800-90B section 4.4.1: α = 2^-20 and H = 2 give 11.
    #[test]
    fn the_repetition_cutoff_is_that_of_the_standard() {
        assert_eq!(repetition_cutoff(2, 20), 11);
        assert_eq!(repetition_cutoff(4, 30), 9);
    }

    /// KM-03
    #[test]
    fn a_stuck_source_trips_exactly_at_the_cutoff() {
        let mut tests = HealthTests::new(4);
        let results: Vec<_> = (0..9).map(|_| tests.check(0xff)).collect();
        assert!(results[..8].iter().all(Result::is_ok));
        assert_eq!(results[8], Err(Tripped::RepetitionCount));
    }

    proptest! {
        /// KM-03: a value in every fourth place never repeats, but is far too frequent.
        #[test]
        fn a_biased_source_trips_the_proportion_test(value: u8, noise in proptest::collection::vec(any::<u8>(), 512)) {
            let mut tests = HealthTests::new(4);
            let biased = noise.iter().enumerate().map(|(at, byte)| if at % 4 == 0 { value } else { *byte });
            let first = biased.map(|sample| tests.check(sample)).find(Result::is_err);
            prop_assert_eq!(first, Some(Err(Tripped::AdaptiveProportion)));
        }

        /// KM-03: a counter has no repetition and no bias, so that neither test alarms on it: the
        /// tests find failures of a source, not predictability.
        #[test]
        fn an_even_stream_does_not_alarm(start: u8) {
            let mut tests = HealthTests::new(4);
            for step in 0..4 * WINDOW {
                prop_assert_eq!(tests.check(start.wrapping_add(step as u8)), Ok(()));
            }
        }
    }
}
