//! What the disclosed counts say: whether the channel may carry key, and how much.

use types::mesh::{LinkAlarm, Protocol};

use crate::block::{AbortReason, BlockStats, Efficiencies, Receiver, ppm, verify_bits};
use crate::decoy::lim_length;
use crate::entangled::LOCAL_S;
use crate::finite::{bell_length, phase_error_upper, tomamichel_length};
use crate::params::{BlockParams, HALVED_IN};
use crate::stats::{binary_entropy, clopper_pearson_upper};

/// What `reason` says of the channel, where it says that it is attacked.
pub fn alarm(reason: &AbortReason) -> Option<LinkAlarm> {
    match reason {
        AbortReason::Qber { .. } => Some(LinkAlarm::Qber),
        AbortReason::Bell { .. } => Some(LinkAlarm::Bell),
        AbortReason::Decoy => Some(LinkAlarm::Decoy),
        AbortReason::Blinded { .. } => Some(LinkAlarm::Blinding),
        _ => None,
    }
}

/// Enters estimates and bounds into `stats`, whose counts are known, and holds them against every
/// line. All figures are entered whatever the verdict.
///
/// # Errors
/// The first line that is crossed: too few bits, blinded detectors, S, error rate, decoys.
pub fn judge(params: &BlockParams, stats: &mut BlockStats) -> Result<(), AbortReason> {
    let (n, k, errors) = (stats.key_bits, stats.sampled, stats.errors);
    let wanted = u64::from(params.min_test_bits).max(1);
    let blinded = holds_blinding(params, stats);
    if k < wanted || n == 0 {
        return Err(blinded.err().unwrap_or(AbortReason::TooFew { found: k, wanted }));
    }
    let rate = errors as f64 / k as f64;
    stats.qber_ppm = ppm(rate);
    stats.qber_upper_ppm = ppm(clopper_pearson_upper(errors, k, params.eps_sec));
    stats.phase_error_ppm = ppm(phase_error_upper(n, k, errors, params.eps_sec));
    let bell = holds_bell(params, stats);
    let decoy = holds_decoys(params, stats);
    blinded?;
    bell?;
    let held = if params.abort_on_upper { stats.qber_upper_ppm } else { stats.qber_ppm };
    // compared as counts, so that no rounding moves the line
    if errors * 1_000_000 >= u64::from(params.qber_abort_ppm) * k || held >= params.qber_abort_ppm {
        return Err(AbortReason::Qber { ppm: held });
    }
    decoy?;
    shows_blinding(params, stats)
}

/// Hoeffding's margin of a share of `clicks`, at ε_sec.
fn margin(params: &BlockParams, clicks: u64) -> f64 {
    (params.eps_sec.recip().ln() / (2.0 * clicks.max(1) as f64)).sqrt()
}

/// Light clicks half as often at half the efficiency. Whoever makes detectors click at will does
/// not know in which slots that is, so the share of those slots in her clicks is their share in
/// time. Every end that has a receiver is judged, by all its clicks that count and by those of the key.
fn holds_blinding(params: &BlockParams, stats: &BlockStats) -> Result<(), AbortReason> {
    let Efficiencies { coincident, halved_a, halved_b, key_halved_a, key_halved_b } = stats.efficiencies;
    let seen = [
        (Receiver::Bob, stats.halved, stats.detected),
        (Receiver::Bob, key_halved_b, stats.key_bits),
        (Receiver::Bob, halved_b, coincident),
        (Receiver::Alice, halved_a, coincident),
        (Receiver::Alice, key_halved_a, if params.protocol.is_entangled() { stats.key_bits } else { 0 }),
    ];
    for (end, halved, clicks) in seen {
        if halved as f64 > (params.halved_share + margin(params, clicks)) * clicks as f64 {
            return Err(AbortReason::Blinded { end, halved, clicks });
        }
    }
    Ok(())
}

/// A block in which even a receiver that is blinded throughout would pass says nothing of it.
fn shows_blinding(params: &BlockParams, stats: &BlockStats) -> Result<(), AbortReason> {
    let room = f64::from(HALVED_IN).recip() - params.halved_share;
    if margin(params, stats.key_bits) < room {
        return Ok(());
    }
    let wanted = params.eps_sec.recip().ln() / (2.0 * room * room).max(f64::MIN_POSITIVE);
    Err(AbortReason::TooFew { found: stats.key_bits, wanted: wanted.min(1e18) as u64 })
}

/// Only a lower bound of S above 2 verifies the channel (SM-06b).
fn holds_bell(params: &BlockParams, stats: &mut BlockStats) -> Result<(), AbortReason> {
    if !params.protocol.is_entangled() {
        return Ok(());
    }
    let chsh = stats.tally().chsh(params.eps_sec);
    let milli = |s: f64| (s.max(0.0) * 1e3) as u32;
    (stats.s_milli, stats.s_lower_milli) = (milli(chsh.s), milli(chsh.lower));
    if chsh.verified() {
        return Ok(());
    }
    // a block cut short for lack of light may be too small to show a violation that is there
    if stats.detected < u64::from(params.clicks) && 2.0 * chsh.s - chsh.lower > LOCAL_S {
        let found = stats.chsh.iter().flatten().sum::<u64>();
        let wanted = found * u64::from(params.clicks) / stats.detected.max(1);
        return Err(AbortReason::TooFew { found, wanted });
    }
    Err(AbortReason::Bell { lower_milli: stats.s_lower_milli })
}

/// Where every photon has the same chance, whatever its company, the gain of a pulse is a concave
/// function of its mean photon number, so a decoy of mean μ2 gains at least μ2/μ1 of what the signal
/// does. Splitting photon numbers makes it gain less. Hoeffding's margins at ε_sec.
fn holds_decoys(params: &BlockParams, stats: &mut BlockStats) -> Result<(), AbortReason> {
    if params.protocol != Protocol::DecoyBb84 {
        return Ok(());
    }
    let (set, counts) = (&params.intensities, &stats.counts);
    let bound = lim_length(set, counts, 0.0, params.eps_sec, 1.0);
    stats.single_ppm = ppm((bound.single / stats.key_bits as f64).clamp(0.0, 1.0));
    stats.phase_error_ppm = ppm(bound.phase_error);
    let events = |k: usize| (counts.key[k] + counts.test[k]) as f64;
    let total: f64 = (0..3).map(events).sum();
    let margin = (total / 2.0 * params.eps_sec.recip().ln()).sqrt();
    let decoy = (events(1) + margin) / set.probability[1];
    let signal = (events(0) - margin) / set.probability[0];
    if decoy * set.mean[0] < signal * set.mean[1] { Err(AbortReason::Decoy) } else { Ok(()) }
}

/// Enters what reconciliation cost and computes the length of the key.
pub(super) fn settle(params: &BlockParams, stats: &mut BlockStats, auth: f64) -> Result<usize, AbortReason> {
    let (n, k) = (stats.key_bits, stats.sampled);
    let key_rate = stats.corrected as f64 / n as f64;
    stats.key_qber_ppm = ppm(key_rate);
    let shannon = n as f64 * binary_entropy(key_rate);
    stats.efficiency_milli = if shannon > 0.0 { (stats.leaked_bits as f64 / shannon * 1e3) as u32 } else { 0 };
    stats.verify_bits = verify_bits(n, params.eps_cor);
    stats.epsilon = epsilon(params, auth);
    if ppm(key_rate) >= params.qber_abort_ppm {
        return Err(AbortReason::Qber { ppm: ppm(key_rate) });
    }
    // The hash is disclosed like a parity; it stands where the formula has log2(1/ε_cor).
    let leak = (stats.leaked_bits + u64::from(stats.verify_bits)) as f64;
    let tested = || tomamichel_length(n, k, stats.errors, leak, params.eps_sec, 1.0);
    let length = match params.protocol {
        Protocol::Bb84 | Protocol::Bbm92 => tested(),
        Protocol::E91 => {
            let lower = stats.tally().chsh(params.eps_sec).lower;
            tested().min(bell_length(n, lower, leak, params.eps_sec))
        }
        Protocol::DecoyBb84 => {
            stats.counts.key_errors = stats.corrected;
            lim_length(&params.intensities, &stats.counts, leak, params.eps_sec, 1.0).length
        }
    };
    stats.secret_bits = length as u64;
    if stats.secret_bits == 0 { Err(AbortReason::NoSecret) } else { Ok(stats.secret_bits as usize) }
}

/// The probability that anything about a block is not as claimed. E91 relies on the bound of S too,
/// which fails with probability ε_sec.
pub(super) fn epsilon(params: &BlockParams, auth: f64) -> f64 {
    let bell = if params.protocol == Protocol::E91 { params.eps_sec } else { 0.0 };
    params.eps_sec + bell + params.eps_cor + auth
}
