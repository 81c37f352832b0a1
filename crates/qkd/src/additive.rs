//! The additive Fourier transform of up to 2^16 points, for products of long binary polynomials.
//!
//! A polynomial over GF(2) is cut into words of 64 bits, a polynomial in x with polynomials in z as
//! coefficients. z is set to eight values of GF(2^16), one of each of eight classes of conjugates;
//! the product of two words has degree 126, and is known from its eight values. x runs over
//! GF(2^16) in Cantor's basis v_0 = 1, v_i² + v_i = v_{i-1} (Cantor 1989). With s_i the polynomial
//! that vanishes on the span of v_0 … v_{i-1}, s_i takes the point with number x to the point with
//! number x >> i. A polynomial is rewritten in the basis of products of the s_i and then evaluated
//! layer by layer (Gao, Mateer 2010; Lin, Chung, Han 2014; Chen et al. 2018, arXiv 1803.11301).

use std::ops::{BitXorAssign, Range};

use crate::gf16::{BITS, cantor_basis, eight_classes, mul};
use crate::simd::{
    Factor, Group, Lanes, Level, LinearMap, Run, add, groups_to_words, layer, six_layers, two_layers, words_to_groups,
};

/// Log2 of the largest number of points.
pub(crate) const MAX_LOG: usize = BITS;

/// Log2 of the smallest number of points: half of them fill a run.
pub(crate) const MIN_LOG: usize = RUN_LOG + 1;

/// Log2 of the elements in a run of eight groups.
const RUN_LOG: usize = 6;

/// Elements of eight values that make one group.
pub(crate) const GROUP: usize = 8;

/// Groups that make one run.
pub(crate) const RUN: usize = 8;

/// The prepared transform.
pub(crate) struct Transform {
    level: Level,
    /// The factor of block b in every layer: the point numbered 2b.
    factors: Vec<Factor>,
    runs: Vec<Run>,
    lanes: Lanes,
    evaluate: LinearMap,
    interpolate: LinearMap,
}

impl Transform {
    pub(crate) fn new(level: Level) -> Self {
        let basis = cantor_basis().map(Factor::new);
        let point = |number: usize| {
            (0..BITS).filter(|i| number >> i & 1 == 1).fold(Factor::default(), |sum, i| sum.plus(basis[i]))
        };
        let factors: Vec<Factor> = (0..1 << (MAX_LOG - 1 - 3)).map(|b| point(2 * b)).collect();
        let run = |s: usize| Run {
            upper: std::array::from_fn(|i| factors[[s, 2 * s, 2 * s + 1, 4 * s, 4 * s + 1, 4 * s + 2, 4 * s + 3][i]]),
            lower: [point(16 * s), point(32 * s), point(64 * s)],
        };
        let lane = |layer: usize, h: usize| std::array::from_fn(|l| point((16 >> layer) * l + 2 * h).0[0]);
        let lanes = [lane(3, 0), lane(2, 0), lane(2, 1), lane(1, 0), lane(1, 1), lane(1, 2), lane(1, 3)];
        let runs = (0..1 << (MAX_LOG - RUN_LOG)).map(run).collect();
        let powers = powers();
        let (evaluate, interpolate) = (LinearMap::new(&powers[..64]), LinearMap::new(&inverse(powers)));
        Self { level, factors, runs, lanes, evaluate, interpolate }
    }

    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// Coefficients to the values at twice as many points, in runs given to `keep` in order.
    /// `coefficients` is left changed; `room` is for as many groups as the values need.
    pub(crate) fn forward(
        &self,
        coefficients: &mut [u64],
        room: &mut [Group],
        mut keep: impl FnMut(usize, &[Group; RUN]),
    ) {
        let log = coefficients.len().trailing_zeros() as usize;
        to_products(self.level, coefficients, log);
        let (low, high) = room.split_at_mut(coefficients.len() / GROUP);
        words_to_groups(self.level, &self.evaluate, coefficients, low);
        // the first layer: the upper half of the coefficients is zero
        high.copy_from_slice(low);
        self.down(low, 0, 0, &mut keep);
        self.down(high, 1, low.len() / RUN, &mut keep);
    }

    /// Values in runs of [`RUN`] groups to coefficients, as many as points.
    pub(crate) fn backward(&self, values: &mut [Group], coefficients: &mut [u128]) {
        self.up(values, 0);
        groups_to_words(self.level, &self.interpolate, values, coefficients);
        from_products(self.level, coefficients, coefficients.len().trailing_zeros() as usize);
    }

    /// The layers below block `b`, whose groups are `data`, depth first, so that all but the upper
    /// ones find their data in the nearest cache. The first run has number `run`.
    fn down(&self, data: &mut [Group], b: usize, run: usize, keep: &mut impl FnMut(usize, &[Group; RUN])) {
        match data.len() {
            RUN => {
                let Some(groups) = data.as_chunks_mut::<RUN>().0.first_mut() else { return };
                six_layers(self.level, groups, &self.runs[run], &self.lanes, false);
                keep(run, groups);
            }
            len if len == 2 * RUN => {
                layer(self.level, data, RUN, &self.factors[b..], false);
                data.chunks_exact_mut(RUN).enumerate().for_each(|(i, part)| self.down(part, 2 * b + i, run + i, keep));
            }
            len => {
                let low = [self.factors[2 * b], self.factors[2 * b + 1]];
                two_layers(self.level, data, self.factors[b], low, false);
                let step = len / 4 / RUN;
                data.chunks_exact_mut(len / 4)
                    .enumerate()
                    .for_each(|(i, part)| self.down(part, 4 * b + i, run + i * step, keep));
            }
        }
    }

    fn up(&self, data: &mut [Group], b: usize) {
        match data.len() {
            RUN => {
                let Some(groups) = data.as_chunks_mut::<RUN>().0.first_mut() else { return };
                six_layers(self.level, groups, &self.runs[b], &self.lanes, true);
            }
            len if len == 2 * RUN => {
                data.chunks_exact_mut(RUN).enumerate().for_each(|(i, part)| self.up(part, 2 * b + i));
                layer(self.level, data, RUN, &self.factors[b..], true);
            }
            len => {
                data.chunks_exact_mut(len / 4).enumerate().for_each(|(i, part)| self.up(part, 4 * b + i));
                let low = [self.factors[2 * b], self.factors[2 * b + 1]];
                two_layers(self.level, data, self.factors[b], low, true);
            }
        }
    }
}

/// The values of z^0 … z^127: low bytes below, high bytes above.
fn powers() -> Vec<u128> {
    let classes = eight_classes();
    let mut power = [1_u16; 8];
    let mut out = Vec::with_capacity(128);
    for _ in 0..128 {
        let half = |i: usize| u64::from_le_bytes(power.map(|p| p.to_le_bytes()[i]));
        out.push(u128::from(half(1)) << 64 | u128::from(half(0)));
        power.iter_mut().zip(classes).for_each(|(p, z)| *p = mul(*p, z));
    }
    out
}

/// The inverse of a matrix of 128 columns.
fn inverse(mut columns: Vec<u128>) -> Vec<u128> {
    let mut combined: Vec<u128> = (0..128).map(|i| 1 << i).collect();
    for row in 0..128 {
        let Some(pivot) = (row..128).find(|&i| columns[i] >> row & 1 == 1) else { continue };
        columns.swap(row, pivot);
        combined.swap(row, pivot);
        for i in (0..128).filter(|&i| i != row) {
            if columns[i] >> row & 1 == 1 {
                columns[i] ^= columns[row];
                combined[i] ^= combined[row];
            }
        }
    }
    combined
}

/// Largest power of two below `log`.
fn split(log: usize) -> usize {
    (log - 1).next_power_of_two() / if (log - 1).is_power_of_two() { 1 } else { 2 }
}

/// Bytes of each row treated together: with 2^8 rows, what the first cache holds.
const PANEL: usize = 256;

/// From powers of x to products of s_i.
fn to_products(level: Level, data: &mut [u64], log: usize) {
    if log == 4 {
        return data.as_chunks_mut::<16>().0.iter_mut().for_each(sixteen_to_products);
    }
    let i = split(log);
    Rows { level, data, width: 1, columns: 0..1 }.expand(0, log, i, 1);
    panels::<u64>(1 << i).for_each(|columns| {
        Rows { level, data, width: 1 << i, columns }.divide(0, log - i, 1);
    });
    data.chunks_exact_mut(1 << i).for_each(|row| to_products(level, row, i));
}

fn from_products(level: Level, data: &mut [u128], log: usize) {
    if log == 4 {
        return data.as_chunks_mut::<16>().0.iter_mut().for_each(sixteen_from_products);
    }
    let i = split(log);
    data.chunks_exact_mut(1 << i).for_each(|row| from_products(level, row, i));
    panels::<u128>(1 << i).for_each(|columns| {
        Rows { level, data, width: 1 << i, columns }.combine(0, log - i, 1);
    });
    Rows { level, data, width: 1, columns: 0..1 }.contract(0, log, i, 1);
}

fn panels<T>(width: usize) -> impl Iterator<Item = Range<usize>> {
    let step = PANEL / size_of::<T>();
    (0..width).step_by(step).map(move |start| start..width.min(start + step))
}

/// An array as rows of `width` elements, of which some columns are treated.
struct Rows<'a, T> {
    level: Level,
    data: &'a mut [T],
    width: usize,
    columns: Range<usize>,
}

impl<T: Copy + BitXorAssign> Rows<'_, T> {
    /// Adds `count` rows from `from` to those from `to`, which lie before them.
    fn add(&mut self, to: usize, from: usize, count: usize) {
        let (low, high) = self.data.split_at_mut(from * self.width);
        let low = &mut low[to * self.width..];
        if self.columns.len() == self.width {
            return add(self.level, &mut low[..count * self.width], high);
        }
        let rows = low.chunks_mut(self.width).zip(high.chunks(self.width)).take(count);
        rows.for_each(|(to, from)| add(self.level, &mut to[self.columns.clone()], &from[self.columns.clone()]));
    }

    /// [`to_products`] of an array where a coefficient is `unit` rows from row `first`.
    fn divide(&mut self, first: usize, log: usize, unit: usize) {
        if log < 2 {
            return;
        }
        let i = split(log);
        self.expand(first, log, i, unit);
        self.divide(first, log - i, unit << i);
        (0..1 << (log - i)).for_each(|k| self.divide(first + ((k * unit) << i), i, unit));
    }

    /// [`from_products`] of such an array.
    fn combine(&mut self, first: usize, log: usize, unit: usize) {
        if log < 2 {
            return;
        }
        let i = split(log);
        (0..1 << (log - i)).for_each(|k| self.combine(first + ((k * unit) << i), i, unit));
        self.combine(first, log - i, unit << i);
        self.contract(first, log, i, unit);
    }

    /// Divides by (x^(2^i) + x)^(2^(size - 1 - i)) = x^(2^(size-1)) + x^(2^(size-1-i)): the upper
    /// half becomes the quotient, the lower half the remainder; and so on in both halves.
    fn expand(&mut self, first: usize, size: usize, i: usize, unit: usize) {
        let (half, small) = (unit << (size - 1), unit << (size - 1 - i));
        self.add(first + half, first + 2 * half - small, small);
        self.add(first + small, first + half, half - small);
        if size > i + 1 {
            self.expand(first, size - 1, i, unit);
            self.expand(first + half, size - 1, i, unit);
        }
    }

    fn contract(&mut self, first: usize, size: usize, i: usize, unit: usize) {
        let (half, small) = (unit << (size - 1), unit << (size - 1 - i));
        if size > i + 1 {
            self.contract(first, size - 1, i, unit);
            self.contract(first + half, size - 1, i, unit);
        }
        self.add(first + small, first + half, half - small);
        self.add(first + half, first + 2 * half - small, small);
    }
}

/// [`to_products`] of 16 elements, written out: (to, from) in order.
const SIXTEEN: [(usize, usize); 32] = {
    let mut out = [(0, 0); 32];
    let mut at = 0;
    // by x^4 + x to the powers 2 and 1, then by x^2 + x in both digits of the base 4
    let steps = [(16, 8, 2), (8, 4, 1), (16, 8, 4), (4, 2, 1)];
    let mut s = 0;
    while s < 4 {
        let (block, half, small) = steps[s];
        let mut start = 0;
        while start < 16 {
            let mut k = 0;
            while k < small {
                out[at] = (start + half + k, start + block - small + k);
                at += 1;
                k += 1;
            }
            k = 0;
            while k < half - small {
                out[at] = (start + small + k, start + half + k);
                at += 1;
                k += 1;
            }
            start += block;
        }
        s += 1;
    }
    out
};

fn sixteen_to_products(x: &mut [u64; 16]) {
    SIXTEEN.iter().for_each(|&(to, from)| x[to] ^= x[from]);
}

fn sixteen_from_products(x: &mut [u128; 16]) {
    SIXTEEN.iter().rev().for_each(|&(to, from)| x[to] ^= x[from]);
}

#[cfg(test)]
mod tests {
    use super::{GROUP, MAX_LOG, MIN_LOG, RUN, Transform};
    use crate::clmul::clmul;
    use crate::seeded::Seeded;
    use crate::simd::{Group, Level, convolve};

    fn values(transform: &Transform, words: &[u64]) -> Vec<Group> {
        let mut room = vec![Group::default(); 2 * words.len() / GROUP];
        let mut out = room.clone();
        transform.forward(&mut words.to_vec(), &mut room, |run, groups| {
            out[run * RUN..(run + 1) * RUN].copy_from_slice(groups);
        });
        out
    }

    #[test]
    fn a_product_is_that_of_the_polynomials_at_every_size() {
        let transform = Transform::new(Level::best());
        let mut rng = Seeded::new(1);
        for log in MIN_LOG..=MAX_LOG {
            let half = 1 << (log - 1);
            let (mut a, mut b) = (vec![0_u64; half], vec![0_u64; half]);
            let mut wanted = vec![0_u128; 2 * half];
            for i in [0, 1, half / 3, half / 2 + 1, half - 1] {
                a[i] = rng.word();
                b[half - 1 - i / 3] = rng.word();
            }
            for (i, &x) in a.iter().enumerate().filter(|(_, x)| **x != 0) {
                for (j, &y) in b.iter().enumerate().filter(|(_, y)| **y != 0) {
                    wanted[i + j] ^= clmul(x, y);
                }
            }
            let (left, right) = (values(&transform, &a), values(&transform, &b));
            let mut product = vec![Group::default(); left.len()];
            for ((a, b), out) in left.chunks(1).zip(right.chunks(1)).zip(product.chunks_mut(1)) {
                convolve(transform.level(), a, b, out);
            }
            let mut found = vec![0; 2 * half];
            transform.backward(&mut product, &mut found);
            assert!(found == wanted, "2^{log}");
        }
    }

    #[test]
    fn every_level_gives_the_same_values() {
        let mut rng = Seeded::new(2);
        let words: Vec<u64> = (0..1 << 12).map(|_| rng.word()).collect();
        let flat = |groups: &[Group]| groups.iter().flat_map(|g| g.lo.into_iter().chain(g.hi)).collect::<Vec<_>>();
        let wanted = values(&Transform::new(Level::Portable), &words);
        for level in Level::all() {
            let transform = Transform::new(level);
            let mut found = values(&transform, &words);
            assert!(flat(&found) == flat(&wanted), "{level:?}");
            let mut back = vec![0; 2 * words.len()];
            transform.backward(&mut found, &mut back);
            assert!(back.iter().zip(words.iter().chain(&vec![0; words.len()])).all(|(b, w)| *b == u128::from(*w)));
        }
    }
}
