//! System calls and processor instructions. The only unsafe code of the crate: each block states
//! why it is sound.
#![allow(unsafe_code)]

use std::io;

/// The process could not be closed to debuggers and core dumps.
#[derive(Debug, thiserror::Error)]
pub enum HardenError {
    /// `prctl(PR_SET_DUMPABLE, 0)` failed.
    #[error("cannot make the process non-dumpable: {0}")]
    Dumpable(#[source] io::Error),
    /// `setrlimit(RLIMIT_CORE, 0)` failed.
    #[error("cannot forbid core dumps: {0}")]
    CoreLimit(#[source] io::Error),
}

/// Keeps the memory of this process out of core dumps and away from debuggers of the same user.
/// Called first thing by every program that holds keys.
///
/// # Errors
/// [`HardenError`] where the kernel refuses; the program should then not load any key.
pub fn harden_process() -> Result<(), HardenError> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a valid `rlimit` and outlives the call, which only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) } != 0 {
        return Err(HardenError::CoreLimit(io::Error::last_os_error()));
    }
    #[cfg(target_os = "linux")]
    // SAFETY: PR_SET_DUMPABLE takes integers only and touches no memory of ours.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } != 0 {
        return Err(HardenError::Dumpable(io::Error::last_os_error()));
    }
    Ok(())
}

/// Fills `out` from the kernel's generator, which blocks only until it is seeded after boot.
pub(crate) fn os_random(mut out: &mut [u8]) -> io::Result<()> {
    while !out.is_empty() {
        // SAFETY: pointer and length are those of one live, writable slice.
        let got = unsafe { libc::getrandom(out.as_mut_ptr().cast(), out.len(), 0) };
        match usize::try_from(got) {
            Ok(got) if got <= out.len() => out = &mut out[got..],
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Which random-number instruction the processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// RDSEED: the conditioned entropy source itself.
    #[cfg(target_arch = "x86_64")]
    Rdseed,
    /// RDRAND: a generator seeded by it.
    #[cfg(target_arch = "x86_64")]
    Rdrand,
}

/// The best random-number instruction of this processor, if it has one.
pub(crate) fn hardware_instruction() -> Option<Instruction> {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("rdseed") {
            return Some(Instruction::Rdseed);
        }
        if std::arch::is_x86_feature_detected!("rdrand") {
            return Some(Instruction::Rdrand);
        }
    }
    None
}

impl Instruction {
    /// The instruction's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Rdseed => "rdseed",
            #[cfg(target_arch = "x86_64")]
            Self::Rdrand => "rdrand",
        }
    }

    /// Whether it reads the entropy source itself, and not a generator that the source seeds.
    pub(crate) fn is_conditioned_source(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Rdseed => true,
            #[cfg(target_arch = "x86_64")]
            Self::Rdrand => false,
        }
    }
}

/// Draws 64 bits with one try; nothing where the processor has none ready. All cores share one
/// source, and on some processors most tries find it empty.
pub(crate) fn hardware_random(instruction: Instruction) -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        let mut word = 0;
        let ready = match instruction {
            // SAFETY: `hardware_instruction` makes this value only after detecting RDSEED.
            Instruction::Rdseed => unsafe { core::arch::x86_64::_rdseed64_step(&mut word) },
            // SAFETY: `hardware_instruction` makes this value only after detecting RDRAND.
            Instruction::Rdrand => unsafe { core::arch::x86_64::_rdrand64_step(&mut word) },
        };
        (ready == 1).then_some(word)
    }
    #[cfg(not(target_arch = "x86_64"))]
    match instruction {}
}

#[cfg(test)]
mod tests {
    use super::{harden_process, hardware_instruction, hardware_random, os_random};

    #[test]
    fn the_sources_give_different_bytes_each_time() {
        let (mut a, mut b) = ([0; 64], [0; 64]);
        os_random(&mut a).unwrap();
        os_random(&mut b).unwrap();
        assert_ne!(a, b);
        if let Some(instruction) = hardware_instruction() {
            let mut words = std::iter::repeat_with(|| hardware_random(instruction)).flatten();
            assert_ne!(words.next(), words.next());
        }
    }

    #[test]
    fn a_hardened_process_is_not_dumpable() {
        harden_process().unwrap();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        // SAFETY: PR_GET_DUMPABLE takes no further arguments.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }, 0);
    }
}
