//! Privacy amplification by a random Toeplitz matrix.

use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::additive::{POINTS, Transform};
use crate::bits::Bits;
use crate::field::reduce;
use crate::simd::{Level, Sums, multiply_add, sliding_products};

/// Bits of seed that hash `input` bits to `output` bits.
pub fn seed_len(input: usize, output: usize) -> usize {
    (input + output).saturating_sub(1)
}

/// The `output`-bit hash of `input`: y_i = ⊕_j t_{i - j + n - 1} x_j, where `seed` holds the
/// n + m - 1 diagonals t. The family is 2-universal (Krawczyk 1994). `None` where the seed has
/// another length.
pub fn hash(seed: &Bits, input: &Bits, output: usize) -> Option<Bits> {
    if seed.len() != seed_len(input.len(), output) || output == 0 || input.is_empty() {
        return None;
    }
    // below this, measured, the transform costs more than the plain product
    if (input.len() as u64) * (output as u64) < 1 << 38 {
        return Some(by_words(seed, input, output, Level::best()));
    }
    static TRANSFORM: OnceLock<Transform> = OnceLock::new();
    Some(by_transform(seed, input, output, TRANSFORM.get_or_init(|| Transform::new(Level::best()))))
}

/// The words of the product of seed and input that hold bits n-1 … n+m-2: first and last.
fn wanted_words(input: usize, output: usize) -> (usize, usize) {
    (((input - 1) / 64).saturating_sub(1), (input + output - 2) / 64)
}

/// Cuts the hash out of coefficients `first …` of the product; a coefficient has 127 bits and
/// overlaps the word above.
fn cut(product: &[u128], input: usize, output: usize) -> Bits {
    let (first, last) = wanted_words(input, output);
    let start = input - 1;
    let word = |w: usize| {
        let below = w.checked_sub(first + 1).map_or(0, |i| (product[i] >> 64) as u64);
        product[w - first] as u64 ^ below
    };
    let words: Vec<u64> = (start / 64..=last).map(word).collect();
    let len = words.len() * 64;
    Bits::from_words(words, len).slice(start % 64, output)
}

/// The plain product of words.
fn by_words(seed: &Bits, input: &Bits, output: usize, level: Level) -> Bits {
    let (first, last) = wanted_words(input.len(), output);
    let (x, seed) = (input.words(), seed.words());
    let count = last - first + 1;
    let word = |u: usize| (first + u).checked_sub(x.len() - 1).and_then(|i| seed.get(i)).copied().unwrap_or(0);
    let window: Vec<u64> = (0..count + x.len() - 1).map(word).collect();
    let mut product = Zeroizing::new(vec![0; count]);
    sliding_products(level, x, &window, &mut product);
    cut(&product, input.len(), output)
}

/// Words of input in one block of the transform: half its points.
const BLOCK: usize = POINTS / 2;

/// Distance between transforms in memory: not a power of two, so that the same tile of all of them
/// fits the second cache.
const STRIDE: usize = POINTS + TILE + 4;

/// Elements multiplied before moving on to the next pair of blocks.
const TILE: usize = 128;

/// The hash is bits n-1 … n+m-2 of the product of the polynomials seed and input. Words are the
/// coefficients; the input is cut into blocks of [`BLOCK`] words, and block i of the product is
/// the sum over j of input block j times the window of the seed i - j blocks on. A window has twice
/// the length of a block, and wraps only into the half of the product that is not used.
fn by_transform(seed: &Bits, input: &Bits, output: usize, transform: &Transform) -> Bits {
    let (seed, x) = (seed.words(), input.words());
    let (first, last) = wanted_words(input.len(), output);
    let rows = (last - first + 1).div_ceil(BLOCK);
    let columns = x.len().div_ceil(BLOCK);
    let mut words = Zeroizing::new(vec![0_u64; POINTS]);
    let mut load = |from: &[u64], skip: usize, values: &mut [u128]| {
        words.fill(0);
        words[skip..].iter_mut().zip(from).for_each(|(w, &f)| *w = f);
        transform.forward(&mut words, &mut values[..POINTS]);
    };
    let mut inputs = Zeroizing::new(vec![0_u128; columns * STRIDE]);
    inputs.chunks_mut(STRIDE).zip(x.chunks(BLOCK)).for_each(|(values, block)| load(block, 0, values));
    let mut windows = vec![0_u128; (rows + columns - 1) * STRIDE];
    for (d, values) in windows.chunks_mut(STRIDE).enumerate() {
        // the window starts (columns - d) blocks before coefficient `first` of the seed
        let (start, before) = (first + d * BLOCK, columns * BLOCK);
        let from = seed.get(start.saturating_sub(before)..).unwrap_or_default();
        load(from, before.saturating_sub(start).min(POINTS), values);
    }
    let mut product = Zeroizing::new(vec![0_u128; rows * BLOCK]);
    for (i, part) in product.chunks_mut(BLOCK).enumerate() {
        let mut values = Zeroizing::new(vec![0; POINTS]);
        for (t, values) in values.chunks_mut(TILE).enumerate() {
            let range = t * TILE..(t + 1) * TILE;
            let mut sums = Sums { low: vec![0; TILE], middle: vec![0; TILE], high: vec![0; TILE] };
            let pairs: Vec<_> = inputs
                .chunks(STRIDE)
                .enumerate()
                .map(|(j, input)| (&input[range.clone()], &windows[(i + columns - 1 - j) * STRIDE..][range.clone()]))
                .collect();
            // in groups small enough for the first cache
            pairs.chunks(8).for_each(|group| multiply_add(transform.level(), &mut sums, group));
            for (k, value) in values.iter_mut().enumerate() {
                *value = reduce(sums.low[k] ^ sums.middle[k] << 64, sums.high[k] ^ sums.middle[k] >> 64);
            }
        }
        transform.backward(&mut values);
        part.copy_from_slice(&values[BLOCK..]);
    }
    cut(&product, input.len(), output)
}

#[cfg(test)]
mod tests;
