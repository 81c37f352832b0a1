//! The class of a signal (SM-10), from what it is and how sure its source is.

use types::mesh::{Severity, SignalKind};

/// Certainty, in parts per million.
pub const CERTAIN_PPM: u32 = 1_000_000;

/// From here on a compromise counts as confirmed: less than 1 in 10,000 false (KM-13, DETECT).
pub const CONFIRMED_PPM: u32 = 999_900;

/// From here on a signal is a strong indicator.
pub const STRONG_PPM: u32 = 900_000;

/// From here on a signal is more likely true than not.
pub const LIKELY_PPM: u32 = 500_000;

/// What an observation weighs that is noted for trends alone.
pub const UNLIKELY_PPM: u32 = 300_000;

/// The class of one signal. Only what means a compromise can be CRITICAL, and only when confirmed.
pub const fn severity(kind: SignalKind, confidence_ppm: u32) -> Severity {
    let confirmed = confidence_ppm >= CONFIRMED_PPM;
    let strong = confidence_ppm >= STRONG_PPM;
    let likely = confidence_ppm >= LIKELY_PPM;
    match kind {
        SignalKind::NodeCompromise
        | SignalKind::KeyCompromise
        | SignalKind::LateralMovement
        | SignalKind::UnauthorizedAccess
        | SignalKind::ManifestMismatch
            if confirmed =>
        {
            Severity::Critical
        }
        SignalKind::NodeCompromise
        | SignalKind::KeyCompromise
        | SignalKind::LateralMovement
        | SignalKind::UnauthorizedAccess
        | SignalKind::ManifestMismatch
        | SignalKind::QberHigh
        | SignalKind::AuthFailure
        | SignalKind::Replay
        | SignalKind::KeyMismatch
        | SignalKind::StoreRewound
        | SignalKind::DenialBurst => {
            if strong {
                Severity::High
            } else if likely {
                Severity::Medium
            } else {
                Severity::Low
            }
        }
        SignalKind::RateLow
        | SignalKind::PoolDry
        | SignalKind::GenerationFailure
        | SignalKind::DistributionFailure
        | SignalKind::ClockRegressed
        | SignalKind::LinkReset
        | SignalKind::CredentialExpiry => {
            if strong {
                Severity::Medium
            } else {
                Severity::Low
            }
        }
        SignalKind::Telemetry => Severity::Low,
    }
}

/// Whose word a signal is, where it is not that of a detector of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Voice {
    /// A node about itself, its keys, its links or its hub.
    Own,
    /// A node about another.
    Witness,
    /// An operator.
    Operator,
}

impl Voice {
    /// Every voice.
    pub const ALL: &'static [Self] = &[Self::Own, Self::Witness, Self::Operator];
}

/// What a word weighs, in parts per million: never enough to confirm by itself. Two different
/// sources that speak of a compromise confirm it together.
pub const fn weight(voice: Voice, kind: SignalKind) -> u32 {
    match (kind, voice) {
        (
            SignalKind::NodeCompromise
            | SignalKind::KeyCompromise
            | SignalKind::LateralMovement
            | SignalKind::UnauthorizedAccess
            | SignalKind::ManifestMismatch,
            Voice::Operator,
        ) => 999_000,
        (
            SignalKind::NodeCompromise
            | SignalKind::KeyCompromise
            | SignalKind::LateralMovement
            | SignalKind::UnauthorizedAccess
            | SignalKind::ManifestMismatch,
            Voice::Own | Voice::Witness,
        ) => 990_000,
        (
            SignalKind::QberHigh | SignalKind::AuthFailure | SignalKind::Replay | SignalKind::KeyMismatch,
            Voice::Operator,
        ) => STRONG_PPM,
        (SignalKind::AuthFailure | SignalKind::Replay, Voice::Witness) => LIKELY_PPM,
        (SignalKind::KeyMismatch, Voice::Own | Voice::Witness) => LIKELY_PPM,
        (
            SignalKind::RateLow
            | SignalKind::PoolDry
            | SignalKind::DenialBurst
            | SignalKind::GenerationFailure
            | SignalKind::DistributionFailure
            | SignalKind::ClockRegressed
            | SignalKind::Telemetry
            | SignalKind::CredentialExpiry,
            Voice::Operator,
        ) => LIKELY_PPM,
        (
            SignalKind::QberHigh
            | SignalKind::AuthFailure
            | SignalKind::Replay
            | SignalKind::RateLow
            | SignalKind::PoolDry
            | SignalKind::DenialBurst
            | SignalKind::GenerationFailure
            | SignalKind::DistributionFailure
            | SignalKind::ClockRegressed
            | SignalKind::Telemetry
            | SignalKind::CredentialExpiry,
            Voice::Own | Voice::Witness,
        ) => UNLIKELY_PPM,
        // Neither calls for more than a look by people.
        (SignalKind::StoreRewound | SignalKind::LinkReset, Voice::Own) => STRONG_PPM,
        (SignalKind::StoreRewound | SignalKind::LinkReset, Voice::Operator) => LIKELY_PPM,
        (SignalKind::StoreRewound | SignalKind::LinkReset, Voice::Witness) => UNLIKELY_PPM,
    }
}

/// How sure independent sources are together, in parts per million: the chance that at least one
/// is right. Rounded down.
pub fn combined_ppm(confidences_ppm: impl Iterator<Item = u32>) -> u32 {
    // The product of the chances of error, in parts per 10^12 so that two sources keep their digits.
    let whole = u128::from(CERTAIN_PPM) * u128::from(CERTAIN_PPM);
    let wrong = confidences_ppm.fold(whole, |wrong, ppm| {
        let doubt = u128::from(CERTAIN_PPM.saturating_sub(ppm));
        (wrong * doubt).div_ceil(u128::from(CERTAIN_PPM))
    });
    ((whole - wrong) / u128::from(CERTAIN_PPM)) as u32
}
