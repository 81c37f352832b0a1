//! The body of Alice's first message: what sifting found.
//!
//! `var tested ‖ var errors ‖ var key bits ‖ var of the key at Bob's half efficiency`, then for weak pulses
//! nine counts, for pairs eight and the four of [`Efficiencies`] that Bob does not know yet; and
//! unless the block ends here, the schedule of reconciliation, a bit for each click in the key's
//! setting that tells whether it counts, and for weak pulses two planes with the intensities of
//! those that do.

use types::mesh::Protocol;

use crate::bits::{Bits, Picked};
use crate::block::{AbortReason, BlockStats, Efficiencies};
use crate::detector::{Detections, HALVED, setting};
use crate::params::BlockParams;
use crate::wire::{Reader, WireError, put_var};

/// Alice's side of sifting.
pub(super) struct Sifting {
    /// Clicks in the key's setting: whether they count.
    pub(super) matched: Bits,
    /// Her bits of those that count.
    pub(super) key: Bits,
    /// Two planes with the intensities of those that count.
    pub(super) levels: [Bits; 2],
}

/// Compares what Bob announced (`halved·8 + setting·2 + bit`) with what Alice kept (`intensity·4 + setting·2 +
/// bit`, of pairs `halved·8 + setting·2 + bit`, with bit 4 set where nothing was) and enters the counts into
/// `stats`.
pub(super) fn sift(protocol: Protocol, announced: &[u8], kept: &[u8], stats: &mut BlockStats) -> Sifting {
    let room = || Picked::with_capacity(announced.len());
    let weak = protocol == Protocol::DecoyBb84;
    let (mut matched, mut key, mut low, mut high) = (room(), room(), room(), room());
    // by what was announced, what was kept, and whether anything was
    let mut seen = [[0_u64; 32]; 16];
    for (&theirs, &ours) in announced.iter().zip(kept) {
        seen[usize::from(theirs & 15)][usize::from(ours & 31)] += 1;
        let is_key = setting(theirs) == 0;
        let counts = is_key & (ours & 0x12 == 0);
        matched.push_if(is_key, counts);
        key.push_if(counts, ours & 1 == 1);
        if weak {
            low.push_if(counts, ours & 4 == 4);
            high.push_if(counts, ours & 8 == 8);
        }
    }
    count(protocol, &seen, stats);
    let out = Sifting { matched: matched.bits(), key: key.bits(), levels: [low.bits(), high.bits()] };
    stats.key_bits = out.key.len() as u64;
    stats.sifted = stats.key_bits + stats.sampled;
    out
}

/// Enters how often each pair of codes was seen; a kept code above 15 is unknown.
fn count(protocol: Protocol, seen: &[[u64; 32]; 16], stats: &mut BlockStats) {
    let weak = protocol == Protocol::DecoyBb84;
    let halved = |code: usize, times: u64| if code & usize::from(HALVED) == 0 { 0 } else { times };
    for (theirs, row) in seen.iter().enumerate() {
        stats.halved += halved(theirs, row.iter().sum());
        for (ours, &times) in row[..16].iter().enumerate() {
            let (own, level, differ) = (ours >> 1 & 1, (ours >> 2).min(2), (theirs ^ ours) & 1);
            let efficiencies = &mut stats.efficiencies;
            if theirs >> 1 & 3 == 0 && own == 0 {
                efficiencies.key_halved_b += halved(theirs, times);
            }
            if protocol.is_entangled() {
                efficiencies.coincident += times;
                efficiencies.halved_a += halved(ours, times);
                efficiencies.halved_b += halved(theirs, times);
                if theirs >> 1 & 3 == 0 && own == 0 {
                    efficiencies.key_halved_a += halved(ours, times);
                }
            }
            match theirs >> 1 & 3 {
                0 if own == 0 && weak => stats.counts.key[level] += times,
                1 if own == 1 => {
                    stats.sampled += times;
                    stats.errors += differ as u64 * times;
                    if weak {
                        stats.counts.test[level] += times;
                        stats.counts.test_errors[level] += differ as u64 * times;
                    }
                }
                setting @ (2 | 3) => stats.chsh[own * 2 + setting - 2][differ] += times,
                _ => {}
            }
        }
    }
}

pub(super) fn write_counts(protocol: Protocol, stats: &BlockStats, out: &mut Vec<u8>) {
    let Efficiencies { coincident, halved_a, halved_b, key_halved_a, key_halved_b } = stats.efficiencies;
    [stats.sampled, stats.errors, stats.key_bits, key_halved_b].into_iter().for_each(|count| put_var(out, count));
    if protocol == Protocol::DecoyBb84 {
        let counts = &stats.counts;
        [counts.key, counts.test, counts.test_errors].iter().flatten().for_each(|&count| put_var(out, count));
    }
    if protocol.is_entangled() {
        stats.chsh.iter().flatten().for_each(|&count| put_var(out, count));
        [coincident, halved_a, halved_b, key_halved_a].into_iter().for_each(|count| put_var(out, count));
    }
}

/// Reads Alice's counts and holds them against Bob's own `detections`.
pub(super) fn read_counts(
    protocol: Protocol,
    detections: &Detections,
    reader: &mut Reader<'_>,
    stats: &mut BlockStats,
) -> Result<(), AbortReason> {
    let mut clicks = [0_u64; 4];
    detections.codes.iter().for_each(|&code| clicks[usize::from(setting(code))] += 1);
    stats.sampled = reader.var(clicks[1])?;
    stats.errors = reader.var(stats.sampled)?;
    stats.key_bits = reader.var(clicks[0])?;
    stats.sifted = stats.key_bits + stats.sampled;
    stats.efficiencies.key_halved_b = reader.var(stats.key_bits.min(stats.halved))?;
    if protocol == Protocol::DecoyBb84 {
        let counts = &mut stats.counts;
        for (table, most) in [
            (&mut counts.key, stats.key_bits),
            (&mut counts.test, stats.sampled),
            (&mut counts.test_errors, stats.errors),
        ] {
            for count in table.iter_mut() {
                *count = reader.var(most)?;
            }
            if table.iter().sum::<u64>() != most {
                return Err(AbortReason::Disagreement);
            }
        }
    }
    if protocol.is_entangled() {
        for (place, pair) in stats.chsh.iter_mut().enumerate() {
            for count in pair.iter_mut() {
                *count = reader.var(clicks[2 + place % 2])?;
            }
        }
        let told = &mut stats.efficiencies;
        told.coincident = reader.var(stats.detected)?;
        told.halved_a = reader.var(told.coincident)?;
        told.halved_b = reader.var(told.coincident.min(stats.halved))?;
        told.key_halved_a = reader.var(told.halved_a.min(stats.key_bits))?;
        if told.coincident < stats.sifted || told.halved_b < told.key_halved_b {
            return Err(AbortReason::Disagreement);
        }
    }
    Ok(())
}

pub(super) fn write_levels(levels: &[Bits; 2], out: &mut Vec<u8>) {
    levels.iter().for_each(|plane| plane.write_bytes(out));
}

/// Reads the intensities of the key's events and demands that they add up to the counts.
pub(super) fn read_levels(reader: &mut Reader<'_>, stats: &BlockStats) -> Result<(), AbortReason> {
    let len = stats.key_bits as usize;
    let mut plane =
        || -> Result<Bits, WireError> { Bits::from_bytes(reader.take(len.div_ceil(8))?, len).ok_or(WireError::Number) };
    let (low, high) = (plane()?, plane()?);
    let ones = |words: &[u64]| words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
    let both = low.words().iter().zip(high.words()).any(|(low, high)| low & high != 0);
    let seen =
        [stats.key_bits.wrapping_sub(ones(low.words()) + ones(high.words())), ones(low.words()), ones(high.words())];
    if both || seen != stats.counts.key { Err(AbortReason::Disagreement) } else { Ok(()) }
}

/// The intensities of the clicks that count, per block parameters, if they are disclosed.
pub(super) fn has_levels(params: &BlockParams) -> bool {
    params.protocol == Protocol::DecoyBb84
}
