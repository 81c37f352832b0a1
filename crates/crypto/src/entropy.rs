//! Entropy (KM-03): every raw source is health-tested (NIST SP 800-90B section 4), all sources are
//! mixed, and a source that fails stops key generation for good.
//!
//! Each block of 32 bytes out is made from at least 64 fresh bytes of every source, credited with
//! [`CREDIT`] bits of min-entropy per byte, so that each source alone brings
//! [`KEY_ENTROPY_BITS`]. The conditioner is HMAC-SHA-512 as HKDF uses it (SP 800-90B
//! section 3.1.5.1.1, RFC 5869), keyed by a state that is replaced with every block: what is in
//! memory later does not tell what was given out earlier.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Salt};
use types::Label;
use types::limits::KEY_ENTROPY_BITS;
use zeroize::{Zeroize, Zeroizing};

pub mod drbg;
pub mod health;
pub mod source;

use health::{HealthTests, Tripped};
use source::{HardwareSource, OsSource, RawSource};

/// Min-entropy credited to each raw byte, in bits. Both built-in sources claim 8; half is credited.
pub const CREDIT: u32 = 4;

/// Raw bytes drawn from each source for one block.
const DRAW: usize = KEY_ENTROPY_BITS / CREDIT as usize;
const BLOCK: usize = 32;
const STATE: usize = 64;
/// Samples tested, and thrown away, before a source is used (SP 800-90B section 4.3).
const STARTUP: usize = 1_024;

/// Why there is no entropy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntropyError {
    /// A health test tripped. Latched: this instance never gives bytes again.
    #[error("entropy source `{source_name}` failed its {test}; make no keys on this machine until it is examined")]
    Unhealthy {
        /// The source.
        source_name: &'static str,
        /// The test.
        test: Tripped,
    },
    /// A source gave nothing. Not latched: it may come back.
    #[error("entropy source `{source_name}` gives nothing now; try again")]
    Unavailable {
        /// The source.
        source_name: &'static str,
    },
    /// No source at all.
    #[error("there is no entropy source; configure at least one")]
    NoSource,
    /// The conditioner failed.
    #[error("the entropy conditioner failed; restart the process and report it")]
    Conditioner,
}

/// The mixed, health-tested source of every key. Shared by reference between threads.
pub struct Entropy(Mutex<Mixer>);

impl Entropy {
    /// The operating system's generator, and the processor's where it has one.
    ///
    /// # Errors
    /// [`EntropyError`] where a source fails its start-up test.
    pub fn system() -> Result<Self, EntropyError> {
        let mut sources: Vec<Box<dyn RawSource>> = vec![Box::new(OsSource)];
        if let Some(hardware) = HardwareSource::detect() {
            sources.push(Box::new(hardware));
        }
        Self::new(sources)
    }

    /// Exactly these sources, each started up.
    ///
    /// # Errors
    /// [`EntropyError`] where there is none or one fails its start-up test.
    pub fn new(sources: Vec<Box<dyn RawSource>>) -> Result<Self, EntropyError> {
        if sources.is_empty() {
            return Err(EntropyError::NoSource);
        }
        let mut mixer = Mixer {
            sources: sources.into_iter().map(Tested::new).collect(),
            state: Zeroizing::new([0; STATE]),
            latched: None,
        };
        mixer.start_up()?;
        Ok(Self(Mutex::new(mixer)))
    }

    /// Fills `out`; every 32 bytes carry 256 bits of entropy.
    ///
    /// # Errors
    /// [`EntropyError`]; `out` is then all zero. A failed health test is latched.
    pub fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        // A thread that died while holding the lock left a state that is still only mixed onwards.
        let mut mixer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = out.chunks_mut(BLOCK).try_for_each(|chunk| mixer.block(chunk));
        if filled.is_err() {
            out.zeroize();
        }
        filled
    }

    /// An array of `N` fresh bytes: for salts, nonces and other public values.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn array<const N: usize>(&self) -> Result<[u8; N], EntropyError> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    /// The names of the sources in use.
    pub fn source_names(&self) -> Vec<&'static str> {
        let mixer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mixer.sources.iter().map(|tested| tested.source.name()).collect()
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entropy({:?})", self.source_names())
    }
}

struct Tested {
    source: Box<dyn RawSource>,
    tests: HealthTests,
}

impl Tested {
    fn new(source: Box<dyn RawSource>) -> Self {
        Self { source, tests: HealthTests::new(CREDIT) }
    }

    fn read(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        let source_name = self.source.name();
        self.source.read(out).map_err(|source::Unavailable| EntropyError::Unavailable { source_name })?;
        let tested = out.iter().try_for_each(|sample| self.tests.check(*sample));
        tested.map_err(|test| EntropyError::Unhealthy { source_name, test })
    }
}

struct Mixer {
    sources: Vec<Tested>,
    state: Zeroizing<[u8; STATE]>,
    latched: Option<EntropyError>,
}

impl Mixer {
    fn start_up(&mut self) -> Result<(), EntropyError> {
        let mut discarded = Zeroizing::new([0; STARTUP]);
        self.sources.iter_mut().try_for_each(|tested| tested.read(&mut *discarded))
    }

    fn block(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        if let Some(error) = &self.latched {
            return Err(error.clone());
        }
        let mut raw = Zeroizing::new(vec![0; DRAW * self.sources.len()]);
        for (tested, samples) in self.sources.iter_mut().zip(raw.chunks_mut(DRAW)) {
            if let Err(error) = tested.read(samples) {
                if matches!(error, EntropyError::Unhealthy { .. }) {
                    self.latched = Some(error.clone());
                }
                return Err(error);
            }
        }
        let mut okm = Zeroizing::new([0; STATE + BLOCK]);
        let prk = Salt::new(HKDF_SHA512, &*self.state).extract(&raw);
        prk.expand(&[Label::ENTROPY.as_str().as_bytes()], Length(okm.len()))
            .and_then(|expanded| expanded.fill(&mut *okm))
            .map_err(|_| EntropyError::Conditioner)?;
        self.state.copy_from_slice(&okm[..STATE]);
        out.copy_from_slice(&okm[STATE..STATE + out.len()]);
        Ok(())
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests;
