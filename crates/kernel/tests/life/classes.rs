//! The classes of signals as a file to read, and the arithmetic of several sources.

use kernel::sentinel::classify::{CONFIRMED_PPM, combined_ppm, severity};
use types::mesh::{Severity, SignalKind};

use crate::grid::golden;

const CONFIDENCES: [u32; 10] = [0, 300_000, 499_999, 500_000, 899_999, 900_000, 999_000, 999_899, 999_900, 1_000_000];

/// SM-10: kind times confidence.
#[test]
fn the_classes_are_the_drawn_ones() {
    let mut text = format!("{:22}", "");
    for ppm in CONFIDENCES {
        text += &format!(" {ppm:>8}");
    }
    for kind in SignalKind::ALL {
        text += &format!("\n{:22}", kind.as_str());
        for ppm in CONFIDENCES {
            text += &format!(" {:>8}", severity(*kind, ppm).as_str());
        }
    }
    golden("signal-classes.txt", &(text + "\n"));
}

/// KM-13: nothing is CRITICAL at a false-positive probability of 1 in 10,000 or more.
#[test]
fn critical_takes_less_than_one_false_positive_in_ten_thousand() {
    for kind in SignalKind::ALL {
        for ppm in (0..CONFIRMED_PPM).step_by(997) {
            assert!(severity(*kind, ppm) < Severity::Critical, "{kind} at {ppm}");
        }
    }
}

/// SM-10: independent sources multiply their doubts; the result is rounded down.
#[test]
fn doubts_multiply() {
    assert_eq!(combined_ppm([990_000, 990_000].into_iter()), 999_900);
    assert_eq!(combined_ppm([900_000, 900_000].into_iter()), 990_000);
    assert_eq!(combined_ppm([999_000, 999_000].into_iter()), 999_999);
    assert_eq!(combined_ppm([900_000, 900_000, 900_000].into_iter()), 999_000);
    assert_eq!(combined_ppm([1_000_000, 0].into_iter()), 1_000_000);
    assert_eq!(combined_ppm(std::iter::empty()), 0);
}
