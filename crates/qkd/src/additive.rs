//! The additive Fourier transform of 2^16 points over GF(2^128), for products of long binary
//! polynomials.
//!
//! Points are the subfield GF(2^16) in Cantor's basis v_0 = 1, v_i² + v_i = v_{i-1} (Cantor 1989).
//! With s_i the polynomial that vanishes on the span of v_0 … v_{i-1}, s_i takes the point with
//! number x to the point with number x >> i, and s_16 = x^65536 + x. A polynomial is rewritten in
//! the basis of products of the s_i and then evaluated layer by layer (Lin, Chung, Han 2014; Chen
//! et al. 2018, arXiv 1803.11301).

use crate::field::mul;
use crate::simd::{Factor, Level, add, layer, unlayer};

/// Log2 of the number of points.
const LOG: usize = 16;

/// Log2 of the elements of a part: 32 KiB.
const PART: usize = 11;

/// Number of points; a product is exact modulo x^POINTS + x.
pub(crate) const POINTS: usize = 1 << LOG;

/// The prepared transform.
pub(crate) struct Transform {
    level: Level,
    /// The factor of block b in every layer: the point numbered 2b.
    factors: Vec<Factor>,
}

impl Transform {
    pub(crate) fn new(level: Level) -> Self {
        let basis = cantor_basis();
        let mut points = vec![0_u128; POINTS / 2];
        for b in 1..points.len() {
            let top = b.ilog2() as usize;
            points[b] = points[b ^ 1 << top] ^ basis[top + 1];
        }
        Self { level, factors: points.into_iter().map(Factor::new).collect() }
    }

    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// Coefficients of 64 bits, [`POINTS`] of them, to values in `values`; `words` is left changed.
    pub(crate) fn forward(&self, words: &mut [u64], values: &mut [u128]) {
        to_products(self.level, words, LOG, 1);
        values.iter_mut().zip(words).for_each(|(v, &mut w)| *v = u128::from(w));
        (PART..LOG).rev().for_each(|i| layer(self.level, values, 1 << i, &self.factors));
        // the lower layers stay within parts that fit the first cache
        for (c, part) in values.chunks_exact_mut(1 << PART).enumerate() {
            (0..PART).rev().for_each(|i| layer(self.level, part, 1 << i, &self.factors[c << (PART - 1 - i)..]));
        }
    }

    /// Values to coefficients, in place.
    pub(crate) fn backward(&self, values: &mut [u128]) {
        for (c, part) in values.chunks_exact_mut(1 << PART).enumerate() {
            (0..PART).for_each(|i| unlayer(self.level, part, 1 << i, &self.factors[c << (PART - 1 - i)..]));
        }
        (PART..LOG).for_each(|i| unlayer(self.level, values, 1 << i, &self.factors));
        from_products(self.level, values, LOG, 1);
    }
}

/// v_0 … v_16 (one more than the points need is never used).
fn cantor_basis() -> [u128; LOG + 1] {
    // y² + y is linear over GF(2): bring its images of x^0 … x^127 to echelon form
    let mut rows = [(0_u128, 0_u128); 128];
    for j in 0..128 {
        let (mut image, mut source) = (mul(1 << j, 1 << j) ^ 1 << j, 1_u128 << j);
        while image != 0 {
            let row = &mut rows[image.ilog2() as usize];
            if row.0 == 0 {
                *row = (image, source);
                break;
            }
            image ^= row.0;
            source ^= row.1;
        }
    }
    let mut basis = [1_u128; LOG + 1];
    for i in 1..=LOG {
        let (mut rest, mut root) = (basis[i - 1], 0);
        while rest != 0 && rows[rest.ilog2() as usize].0 != 0 {
            let row = rows[rest.ilog2() as usize];
            rest ^= row.0;
            root ^= row.1;
        }
        basis[i] = root;
    }
    basis
}

/// Largest power of two below `log`.
fn split(log: usize) -> usize {
    (log - 1).next_power_of_two() / if (log - 1).is_power_of_two() { 1 } else { 2 }
}

/// From powers of x to products of s_i, over rows of `width` elements.
fn to_products(level: Level, data: &mut [u64], log: usize, width: usize) {
    if log < 2 {
        return;
    }
    let i = split(log);
    for size in (i + 1..=log).rev() {
        data.chunks_exact_mut(width << size).for_each(|block| expand(level, block, size, i, width));
    }
    to_products(level, data, log - i, width << i);
    data.chunks_exact_mut(width << i).for_each(|row| to_products(level, row, i, width));
}

fn from_products(level: Level, data: &mut [u128], log: usize, width: usize) {
    if log < 2 {
        return;
    }
    let i = split(log);
    data.chunks_exact_mut(width << i).for_each(|row| from_products(level, row, i, width));
    from_products(level, data, log - i, width << i);
    for size in i + 1..=log {
        data.chunks_exact_mut(width << size).for_each(|block| contract(level, block, size, i, width));
    }
}

/// Divides by (x^(2^i) + x)^(2^(size - 1 - i)) = x^(2^(size-1)) + x^(2^(size-1-i)): the upper half
/// becomes the quotient, the lower half the remainder.
fn expand(level: Level, block: &mut [u64], size: usize, i: usize, width: usize) {
    let (half, small) = (width << (size - 1), width << (size - 1 - i));
    let (low, high) = block.split_at_mut(half);
    let (front, back) = high.split_at_mut(half - small);
    add(level, &mut front[..small], back);
    add(level, &mut low[small..], front);
}

fn contract(level: Level, block: &mut [u128], size: usize, i: usize, width: usize) {
    let (half, small) = (width << (size - 1), width << (size - 1 - i));
    let (low, high) = block.split_at_mut(half);
    let (front, back) = high.split_at_mut(half - small);
    add(level, &mut low[small..], front);
    add(level, &mut front[..small], back);
}

#[cfg(test)]
mod tests {
    use super::{POINTS, Transform};
    use crate::clmul::clmul;
    use crate::seeded::Seeded;
    use crate::simd::Level;

    #[test]
    fn a_product_is_exact_modulo_the_vanishing_polynomial() {
        let transform = Transform::new(Level::best());
        let mut rng = Seeded::new(1);
        let (mut a, mut b) = (vec![0_u64; POINTS], vec![0_u64; POINTS]);
        let mut wanted = vec![0_u128; POINTS];
        let places: Vec<usize> = [0, 1, 255, 256, 257, 4_096, 40_000, POINTS - 1].to_vec();
        for &i in &places {
            a[i] = rng.word();
            b[POINTS / 2 - 1 - i / 3] = rng.word();
        }
        for (i, &x) in a.iter().enumerate().filter(|(_, x)| **x != 0) {
            for (j, &y) in b.iter().enumerate().filter(|(_, y)| **y != 0) {
                let place = if i + j < POINTS { i + j } else { i + j - POINTS + 1 };
                wanted[place] ^= clmul(x, y);
            }
        }
        let (mut left, mut right) = (vec![0; POINTS], vec![0; POINTS]);
        transform.forward(&mut a, &mut left);
        transform.forward(&mut b, &mut right);
        let mut product: Vec<u128> = left.iter().zip(&right).map(|(&x, &y)| crate::field::mul(x, y)).collect();
        transform.backward(&mut product);
        assert!(product == wanted);
    }
}
