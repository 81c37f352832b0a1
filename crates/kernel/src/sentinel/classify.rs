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
