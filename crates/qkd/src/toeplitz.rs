//! Privacy amplification by a random Toeplitz matrix.

use std::sync::OnceLock;

use zeroize::{Zeroize, Zeroizing};

use crate::additive::{GROUP, MAX_LOG, MIN_LOG, RUN, Transform};
use crate::bits::Bits;
use crate::simd::{Group, Level, add, convolve, scatter, sliding_products};

/// Bits of seed that hash `input` bits to `output` bits.
pub fn seed_len(input: usize, output: usize) -> usize {
    (input + output).saturating_sub(1)
}

/// The `output`-bit hash of `input`: y_i = ⊕_j t_{i - j + n - 1} x_j, where `seed` holds the
/// n + m - 1 diagonals t. The family is 2-universal (Krawczyk 1994). `None` where the seed has
/// another length.
pub fn hash(seed: &Bits, input: &Bits, output: usize) -> Option<Bits> {
    Amplifier::default().hash(seed, input, output)
}

/// Hashes block after block in memory it keeps; nothing of a block stays in it. One of 10^8 bits
/// takes 128 MiB, one of 2^20 bits 3 MiB.
#[derive(Default)]
pub struct Amplifier {
    inputs: Vec<Group>,
    windows: Vec<Group>,
    parts: Vec<Group>,
    room: Vec<Group>,
    sums: Vec<Group>,
    words: Vec<u64>,
    coefficients: Vec<u128>,
    product: Vec<u128>,
}

impl Amplifier {
    /// [`hash`].
    pub fn hash(&mut self, seed: &Bits, input: &Bits, output: usize) -> Option<Bits> {
        if seed.len() != seed_len(input.len(), output) || output == 0 || input.is_empty() {
            return None;
        }
        // below this, measured, the transform costs more than the plain product
        if (input.len() as u64) * (output as u64) < 1 << 30 {
            return Some(by_words(seed, input, output, Level::best()));
        }
        static TRANSFORM: OnceLock<Transform> = OnceLock::new();
        let transform = TRANSFORM.get_or_init(|| Transform::new(Level::best()));
        let log = best_log(input.words().len(), output.div_ceil(64));
        let out = self.by_transform(seed, input, output, transform, log);
        self.wipe();
        Some(out)
    }

    /// Bytes held for the blocks so far.
    pub fn held_bytes(&self) -> usize {
        let groups = [&self.inputs, &self.windows, &self.parts, &self.room, &self.sums];
        let groups: usize = groups.into_iter().map(Vec::len).sum();
        groups * size_of::<Group>() + self.words.len() * 8 + (self.coefficients.len() + self.product.len()) * 16
    }

    /// The seed is public, and so are the windows of it.
    fn wipe(&mut self) {
        let groups = [&mut self.inputs, &mut self.parts, &mut self.room, &mut self.sums];
        groups.into_iter().for_each(|room| room.as_mut_slice().zeroize());
        self.words.as_mut_slice().zeroize();
        [&mut self.coefficients, &mut self.product].into_iter().for_each(|room| room.as_mut_slice().zeroize());
    }
}

impl Drop for Amplifier {
    fn drop(&mut self) {
        self.wipe();
    }
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

/// Log2 of the points of the transforms that make this product cheapest, by count of operations.
fn best_log(input: usize, output: usize) -> usize {
    let cost = |log: &usize| {
        let block = 1 << (log - 1);
        let (columns, rows) = (input.div_ceil(block), output.div_ceil(block) + 1);
        ((2 * columns + 2 * rows) * (log + 12) + 3 * rows * columns) << log
    };
    (MIN_LOG..=MAX_LOG).min_by_key(cost).unwrap_or(MAX_LOG)
}

/// `len` elements of any content; growth leaves no stray copy behind.
fn at_least<T: Copy + Default>(room: &mut Vec<T>, len: usize) -> &mut [T]
where
    Vec<T>: Zeroize,
{
    if room.len() < len {
        room.zeroize();
        *room = vec![T::default(); len];
    }
    &mut room[..len]
}

impl Amplifier {
    /// The hash is bits n-1 … n+m-2 of the product of the polynomials seed and input. Both are cut
    /// into blocks of words, the seed such that a block begins at the first wanted word of the
    /// product; part r of the product, which has twice the length of a block, is the sum over j of
    /// input block j times seed block r - j. In memory, the same group of all blocks lies together.
    fn by_transform(&mut self, seed: &Bits, input: &Bits, output: usize, transform: &Transform, log: usize) -> Bits {
        let (seed, x) = (seed.words(), input.words());
        let (first, last) = wanted_words(input.len(), output);
        let block = 1 << (log - 1);
        let groups = 2 * block / GROUP;
        let columns = x.len().div_ceil(block);
        // one part more than there are blocks of output: it reaches into the first of them
        let rows = (last - first + 1).div_ceil(block) + 1;
        let all = rows + columns - 1;
        let room = at_least(&mut self.room, groups);
        let words = at_least(&mut self.words, block);
        let mut load = |from: &[u64], skip: usize, values: &mut [Group], at: usize, all: usize| {
            let filled = skip + from.len().min(block - skip);
            words[..skip].fill(0);
            words[skip..filled].copy_from_slice(&from[..filled - skip]);
            words[filled..].fill(0);
            transform.forward(words, room, |run, groups| {
                scatter(transform.level(), groups, &mut values[run * RUN * all + at..], all);
            });
        };
        let inputs = at_least(&mut self.inputs, groups * columns);
        x.chunks(block).enumerate().for_each(|(j, part)| load(part, 0, inputs, j, columns));
        let windows = at_least(&mut self.windows, groups * all);
        for d in 0..all {
            // this block starts `columns - d` blocks before coefficient `first` of the seed
            let (start, before) = (first + d * block, columns * block);
            let from = seed.get(start.saturating_sub(before)..).unwrap_or_default();
            load(from, before.saturating_sub(start).min(block), windows, d, all);
        }
        let parts = at_least(&mut self.parts, groups * rows);
        let pairs = inputs.chunks_exact(columns).zip(windows.chunks_exact(all));
        let sums = at_least(&mut self.sums, rows);
        for (group, (inputs, windows)) in pairs.enumerate() {
            convolve(transform.level(), inputs, windows, sums);
            scatter(transform.level(), sums, &mut parts[group..], groups);
        }
        let product = at_least(&mut self.product, (rows + 1) * block);
        product.fill(0);
        let coefficients = at_least(&mut self.coefficients, 2 * block);
        for (r, part) in parts.chunks_exact_mut(groups).enumerate() {
            transform.backward(part, coefficients);
            add(transform.level(), &mut product[r * block..], coefficients);
        }
        cut(&product[block..], input.len(), output)
    }
}

#[cfg(test)]
mod tests;
