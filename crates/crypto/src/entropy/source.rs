//! Raw sources: where entropy comes from, before any test or conditioning.

use crate::platform::{self, Instruction};

/// What stands behind the samples of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A physical entropy source (SP 800-90B section 2.2): its samples are credited with entropy.
    Physical,
    /// A generator that someone else seeds (SP 800-90A): good against every computation, and no
    /// source of full entropy.
    Generator,
}

/// A source of raw samples, one per byte. Tests inject sources that are broken on purpose; a
/// deployment may add one for hardware of its own.
pub trait RawSource: Send {
    /// Name in messages.
    fn name(&self) -> &'static str;

    /// What stands behind it.
    fn kind(&self) -> Kind;

    /// Fills the front of `out` with the samples that are ready and returns how many bytes that
    /// were. It never waits and never tries twice: whoever calls it decides what a try may cost.
    fn poll(&mut self, out: &mut [u8]) -> usize;
}

/// The kernel's generator, `getrandom(2)`.
#[derive(Debug)]
pub struct OsSource;

impl RawSource for OsSource {
    fn name(&self) -> &'static str {
        "os"
    }

    fn kind(&self) -> Kind {
        Kind::Generator
    }

    fn poll(&mut self, out: &mut [u8]) -> usize {
        platform::os_random(out).map_or(0, |()| out.len())
    }
}

/// The processor's own: RDSEED, or RDRAND where there is no RDSEED.
#[derive(Debug)]
pub struct HardwareSource(Instruction);

impl HardwareSource {
    /// The source, where the processor has one.
    pub fn detect() -> Option<Self> {
        platform::hardware_instruction().map(Self)
    }
}

impl RawSource for HardwareSource {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn kind(&self) -> Kind {
        if self.0.is_conditioned_source() { Kind::Physical } else { Kind::Generator }
    }

    fn poll(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        for chunk in out.chunks_mut(8) {
            let Some(word) = platform::hardware_random(self.0) else { break };
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
            filled += chunk.len();
        }
        filled
    }
}
