//! GF(2^128) as polynomials over GF(2) modulo x^128 + x^7 + x^2 + x + 1 (the field of NIST
//! SP 800-38D, here with bit `i` of the integer as the coefficient of x^i).

use crate::clmul::clmul;
use crate::simd::{Level, horner};

/// Product of `a` and `b` in the field.
#[inline]
pub(crate) fn mul(a: u128, b: u128) -> u128 {
    let (a0, a1, b0, b1) = (a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64);
    let low = clmul(a0, b0);
    let high = clmul(a1, b1);
    let middle = clmul(a0 ^ a1, b0 ^ b1) ^ low ^ high;
    reduce(low ^ middle << 64, high ^ middle >> 64)
}

/// Reduces `low + high·x^128`.
#[inline]
pub(crate) fn reduce(low: u128, high: u128) -> u128 {
    // x^128 = x^7 + x^2 + x + 1; what the shifts push out is at most 7 bits and folds once more.
    let spill = high >> 121 ^ high >> 126 ^ high >> 127;
    let fold = |h: u128| h ^ h << 1 ^ h << 2 ^ h << 7;
    low ^ fold(high) ^ fold(spill)
}

/// Evaluates a message as a polynomial at a secret point, 16 bytes a coefficient.
///
/// Two different messages of at most `d` blocks have equal values, or values with a given
/// difference, at no more than `d + 1` of the 2^128 points.
#[derive(Clone)]
pub(crate) struct PolyHash {
    point: u128,
    sum: u128,
    blocks: u64,
    level: Level,
}

impl PolyHash {
    pub(crate) fn new(point: u128) -> Self {
        Self { point, sum: 0, blocks: 0, level: Level::best() }
    }

    fn absorb(&mut self, block: u128) {
        self.absorb_all(&[block.to_le_bytes()]);
    }

    fn absorb_all(&mut self, blocks: &[[u8; 16]]) {
        self.sum = horner(self.level, self.sum, self.point, blocks);
        self.blocks += blocks.len() as u64;
    }

    /// Absorbs `bytes` with `label` and their length in front, so that no two lists of pieces meet.
    pub(crate) fn piece(&mut self, label: u64, bytes: &[u8]) {
        self.absorb(u128::from(label) << 64 | bytes.len() as u128);
        let (blocks, rest) = bytes.as_chunks();
        self.absorb_all(blocks);
        if !rest.is_empty() {
            let mut block = [0; 16];
            block[..rest.len()].copy_from_slice(rest);
            self.absorb_all(&[block]);
        }
    }

    /// Absorbs packed words, their number of bits in front.
    pub(crate) fn words(&mut self, words: &[u64], bits: usize) {
        self.absorb(bits as u128);
        for pair in words.chunks(2) {
            let high = pair.get(1).copied().unwrap_or(0);
            self.absorb(u128::from(high) << 64 | u128::from(pair[0]));
        }
    }

    pub(crate) fn value(&self) -> u128 {
        self.sum
    }

    /// Blocks absorbed so far: the degree that bounds the probability of a collision.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }
}

impl Drop for PolyHash {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.point);
        zeroize::Zeroize::zeroize(&mut self.sum);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::mul;

    /// The definition: shift and add, reducing one bit at a time.
    fn naive(a: u128, b: u128) -> u128 {
        (0..128).rev().fold(0, |acc: u128, i| {
            let doubled = acc << 1 ^ if acc >> 127 == 1 { 0x87 } else { 0 };
            doubled ^ if b >> i & 1 == 1 { a } else { 0 }
        })
    }

    proptest! {
        #[test]
        fn product_is_the_definition(a: u128, b: u128) {
            prop_assert_eq!(mul(a, b), naive(a, b));
        }

        #[test]
        fn field_laws(a: u128, b: u128, c: u128) {
            prop_assert_eq!(mul(a, mul(b, c)), mul(mul(a, b), c));
            prop_assert_eq!(mul(a, b ^ c), mul(a, b) ^ mul(a, c));
            prop_assert_eq!(mul(a, 1), a);
        }
    }

    #[test]
    fn the_group_has_the_right_order() {
        // a^(2^128) = a: the Frobenius map applied 128 times is the identity
        let a = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128;
        assert_eq!((0..128).fold(a, |x, _| mul(x, x)), a);
    }
}
