//! The definition of each loop in plain integer arithmetic, eight bytes in a word.

use crate::gf16::TOWER;
use crate::simd::{Factor, Group, Lanes, LinearMap, Run};

const ONES: u64 = 0x0101_0101_0101_0101;

/// All ones in each byte whose bit `k` is set.
#[inline(always)]
fn mask(x: u64, k: usize) -> u64 {
    let bit = x >> k & ONES;
    (bit << 8).wrapping_sub(bit)
}

/// The matrix's columns, column k in byte k: the transpose of its rows.
#[inline(always)]
fn columns(matrix: u64) -> u64 {
    let mut x = matrix.swap_bytes();
    for (shift, keep) in [(7, 0x00aa_00aa_00aa_00aa_u64), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0)] {
        let moved = (x ^ x >> shift) & keep;
        x ^= moved ^ moved << shift;
    }
    x
}

/// Each byte of `x` times the matrix with these columns.
#[inline(always)]
fn affine(x: u64, columns: u64) -> u64 {
    (0..8).fold(0, |sum, k| sum ^ mask(x, k) & (columns >> (8 * k) & 0xff).wrapping_mul(ONES))
}

/// Products in GF(2^8), byte by byte.
#[inline(always)]
fn mul(mut x: u64, y: u64) -> u64 {
    let mut sum = 0;
    for k in 0..8 {
        sum ^= x & mask(y, k);
        x = (x & !(ONES << 7)) << 1 ^ (x >> 7 & ONES).wrapping_mul(0x1b);
    }
    sum
}

/// (a, b) to (a + w·b, a + w·b + b), or back. Elements are (low, high) words.
#[inline(always)]
fn butterfly(a: (&mut u64, &mut u64), b: (&mut u64, &mut u64), w: &[u64; 4], inverse: bool) {
    if inverse {
        *b.0 ^= *a.0;
        *b.1 ^= *a.1;
    }
    *a.0 ^= affine(*b.0, w[0]) ^ affine(*b.1, w[1]);
    *a.1 ^= affine(*b.0, w[2]) ^ affine(*b.1, w[3]);
    if !inverse {
        *b.0 ^= *a.0;
        *b.1 ^= *a.1;
    }
}

#[inline(always)]
fn vertical(a: &mut Group, b: &mut Group, w: &[u64; 4], inverse: bool) {
    for l in 0..8 {
        butterfly((&mut a.lo[l], &mut a.hi[l]), (&mut b.lo[l], &mut b.hi[l]), w, inverse);
    }
}

#[inline(always)]
pub(super) fn layer(data: &mut [Group], half: usize, factors: &[Factor], inverse: bool) {
    for (block, w) in data.chunks_exact_mut(2 * half).zip(factors) {
        let w = w.0.map(columns);
        let (a, b) = block.split_at_mut(half);
        a.iter_mut().zip(b).for_each(|(a, b)| vertical(a, b, &w, inverse));
    }
}

/// Element r of group l to place l of group r, and back.
#[inline(always)]
fn turn(run: &mut [Group; 8]) {
    for l in 0..8 {
        for r in 0..l {
            let (a, b) = (run[l], run[r]);
            (run[l].lo[r], run[l].hi[r]) = (b.lo[l], b.hi[l]);
            (run[r].lo[l], run[r].hi[l]) = (a.lo[r], a.hi[r]);
        }
    }
}

/// Layers 2, 1 and 0 of a turned run, or of them backwards.
#[inline(always)]
fn turned_layers(run: &mut [Group; 8], factors: &Run, lanes: &Lanes, inverse: bool) {
    for step in 0..3 {
        let i = if inverse { step } else { 2 - step };
        let shared = &factors.lower[2 - i];
        for h in 0..4_usize >> i {
            let lanes = &lanes[(4 >> i) - 1 + h];
            for (l, &own) in lanes.iter().enumerate() {
                let own = Factor([own, 0, 0, own]);
                let w = shared.plus(own).0.map(columns);
                for r in (h << (i + 1))..(h << (i + 1)) + (1 << i) {
                    let (front, back) = run.split_at_mut(r + (1 << i));
                    let (a, b) = (&mut front[r], &mut back[0]);
                    butterfly((&mut a.lo[l], &mut a.hi[l]), (&mut b.lo[l], &mut b.hi[l]), &w, inverse);
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn six_layers(run: &mut [Group; 8], factors: &Run, lanes: &Lanes, inverse: bool) {
    let upper = [(4, 0..1), (2, 1..3), (1, 3..7)];
    if inverse {
        turned_layers(run, factors, lanes, true);
        turn(run);
        upper.into_iter().rev().for_each(|(half, range)| layer(run, half, &factors.upper[range], true));
    } else {
        upper.into_iter().for_each(|(half, range)| layer(run, half, &factors.upper[range], false));
        turn(run);
        turned_layers(run, factors, lanes, false);
    }
}

#[inline(always)]
pub(super) fn select(to: &mut [u64], from: &[u64], mask: u64) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to ^= (*to ^ from) & mask);
}

pub(super) fn words_to_run(map: &LinearMap, words: &[u64; 64], run: &mut [Group; 8]) {
    for (i, word) in words.iter().enumerate() {
        let bytes = word.to_le_bytes();
        let value = map.table.iter().zip(bytes).fold(0, |sum, (table, byte)| sum ^ table[usize::from(byte)]);
        (run[i / 8].lo[i % 8], run[i / 8].hi[i % 8]) = (value as u64, (value >> 64) as u64);
    }
}

pub(super) fn run_to_words(map: &LinearMap, run: &[Group; 8], words: &mut [u128; 64]) {
    for (i, word) in words.iter_mut().enumerate() {
        let bytes = (u128::from(run[i / 8].hi[i % 8]) << 64 | u128::from(run[i / 8].lo[i % 8])).to_le_bytes();
        *word = map.table.iter().zip(bytes).fold(0, |sum, (table, byte)| sum ^ table[usize::from(byte)]);
    }
}

#[inline(always)]
pub(super) fn convolve(inputs: &[Group], windows: &[Group], out: &mut [Group]) {
    for (out, windows) in out.iter_mut().zip(windows.windows(inputs.len())) {
        let (mut low, mut cross, mut high) = ([0_u64; 8], [0_u64; 8], [0_u64; 8]);
        for (a, b) in inputs.iter().zip(windows.iter().rev()) {
            for l in 0..8 {
                low[l] ^= mul(a.lo[l], b.lo[l]);
                cross[l] ^= mul(a.lo[l], b.hi[l]) ^ mul(a.hi[l], b.lo[l]);
                high[l] ^= mul(a.hi[l], b.hi[l]);
            }
        }
        for l in 0..8 {
            out.lo[l] = low[l] ^ mul(high[l], ONES * u64::from(TOWER));
            out.hi[l] = cross[l] ^ high[l];
        }
    }
}

pub(super) fn sliding_products(x: &[u64], s: &[u64], out: &mut [u128]) {
    for (c, out) in out.iter_mut().enumerate() {
        let window = s[c..c + x.len()].iter().rev();
        *out = x.iter().zip(window).fold(0, |sum, (&x, &s)| sum ^ crate::clmul::clmul(x, s));
    }
}

pub(super) fn horner(sum: u128, point: u128, blocks: &[[u8; 16]]) -> u128 {
    blocks.iter().fold(sum, |sum, block| crate::field::mul(sum ^ u128::from_le_bytes(*block), point))
}
