//! Privacy amplification by a random Toeplitz matrix.

use crate::bits::Bits;

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
    let last = input.len() - 1;
    let diagonals = seed.words();
    let mut sum = vec![0_u64; output.div_ceil(64)];
    for (w, &word) in input.words().iter().enumerate() {
        let mut word = word;
        while word != 0 {
            let j = w * 64 + word.trailing_zeros() as usize;
            word &= word - 1;
            add_shifted(&mut sum, diagonals, last - j);
        }
    }
    Some(Bits::from_words(sum, output))
}

/// Adds the bits of `from` that start at `start` to `sum`.
fn add_shifted(sum: &mut [u64], from: &[u64], start: usize) {
    let (first, shift) = (start / 64, start % 64);
    let word = |i: usize| from.get(i).copied().unwrap_or(0);
    if shift == 0 {
        sum.iter_mut().zip(&from[first..]).for_each(|(s, f)| *s ^= f);
        return;
    }
    let mut low = word(first);
    for (i, s) in sum.iter_mut().enumerate() {
        let high = word(first + i + 1);
        *s ^= low >> shift | high << (64 - shift);
        low = high;
    }
}

#[cfg(test)]
mod tests;
