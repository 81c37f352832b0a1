//! Raw sources: where entropy comes from, before any test or conditioning.

use crate::platform::{self, Instruction};

/// A raw source gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// A source of raw samples, one per byte. Tests inject sources that are broken on purpose; a
/// deployment may add one for hardware of its own.
pub trait RawSource: Send {
    /// Name in error messages.
    fn name(&self) -> &'static str;

    /// Fills `out` with fresh samples.
    ///
    /// # Errors
    /// [`Unavailable`] where it cannot; what is then in `out` is not used.
    fn read(&mut self, out: &mut [u8]) -> Result<(), Unavailable>;
}

/// The kernel's generator, `getrandom(2)`.
#[derive(Debug)]
pub struct OsSource;

impl RawSource for OsSource {
    fn name(&self) -> &'static str {
        "os"
    }

    fn read(&mut self, out: &mut [u8]) -> Result<(), Unavailable> {
        platform::os_random(out).map_err(|_| Unavailable)
    }
}

/// The processor's own generator: RDSEED, or RDRAND where there is no RDSEED.
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
        "processor"
    }

    fn read(&mut self, out: &mut [u8]) -> Result<(), Unavailable> {
        for chunk in out.chunks_mut(8) {
            let word = platform::hardware_random(self.0).ok_or(Unavailable)?;
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
