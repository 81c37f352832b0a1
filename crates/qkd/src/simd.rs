//! The one module with `unsafe` code: the inner loops of the transform in [`crate::additive`],
//! on `PCLMULQDQ` and on the 512-bit `VPCLMULQDQ`, each beside a portable twin tested equal.
//!
//! What makes it sound: every vector load and store goes through a slice whose length was checked
//! in the same function, and a function with a target feature is reached only after the processor
//! was asked for it.
#![allow(unsafe_code)]

use crate::field::mul;

/// Which instructions to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Plain integer arithmetic.
    Portable,
    /// 128-bit carry-less multiplication.
    #[cfg(target_arch = "x86_64")]
    Narrow,
    /// Four 128-bit carry-less multiplications at a time.
    #[cfg(target_arch = "x86_64")]
    Wide,
}

impl Level {
    /// The best level this processor has.
    pub(crate) fn best() -> Self {
        Self::all().last().copied().unwrap_or(Self::Portable)
    }

    /// Every level this processor has.
    pub(crate) fn all() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("sse4.1") {
                levels.push(Self::Narrow);
            }
            if is_x86_feature_detected!("vpclmulqdq") && is_x86_feature_detected!("avx512f") && levels.len() == 2 {
                levels.push(Self::Wide);
            }
        }
        levels
    }
}

/// A factor w, and w·x^64, so that a product needs one reduction only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factor {
    low: u128,
    high: u128,
}

impl Factor {
    pub(crate) fn new(w: u128) -> Self {
        Self { low: w, high: mul(w, 1 << 64) }
    }
}

/// Adds `from` to `to`, element by element, over the shorter of the two.
#[inline]
pub(crate) fn add<T: Copy + std::ops::BitXorAssign>(level: Level, to: &mut [T], from: &[T]) {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Wide && to.len() >= 16 {
        // SAFETY: `Level::all` gives this level only where the processor has the feature.
        return unsafe { x86::wide_add(to, from) };
    }
    let _ = level;
    to.iter_mut().zip(from).for_each(|(t, f)| *t ^= *f);
}

/// Unreduced sums of products: low + middle·x^64 + high·x^128.
pub(crate) struct Sums {
    pub(crate) low: Vec<u128>,
    pub(crate) middle: Vec<u128>,
    pub(crate) high: Vec<u128>,
}

/// One layer of the transform over blocks of `2 * half` elements: with the block's factor w, the
/// halves (a, b) become (a + w·b, a + w·b + b).
pub(crate) fn layer(level: Level, data: &mut [u128], half: usize, factors: &[Factor]) {
    for_blocks::<false>(level, data, half, factors);
}

/// The inverse of [`layer`].
pub(crate) fn unlayer(level: Level, data: &mut [u128], half: usize, factors: &[Factor]) {
    for_blocks::<true>(level, data, half, factors);
}

fn for_blocks<const INVERSE: bool>(level: Level, data: &mut [u128], half: usize, factors: &[Factor]) {
    match level {
        Level::Portable => {
            for (block, w) in data.chunks_exact_mut(2 * half).zip(factors) {
                let (a, b) = block.split_at_mut(half);
                for (a, b) in a.iter_mut().zip(b) {
                    if INVERSE {
                        *b ^= *a;
                    }
                    *a ^= mul(*b, w.low);
                    if !INVERSE {
                        *b ^= *a;
                    }
                }
            }
        }
        // SAFETY: `Level::all` gives these only where the processor has their features.
        #[cfg(target_arch = "x86_64")]
        Level::Narrow => unsafe { x86::layer::<INVERSE>(data, half, factors) },
        #[cfg(target_arch = "x86_64")]
        Level::Wide => unsafe { x86::wide_layer::<INVERSE>(data, half, factors) },
    }
}

/// Adds the products of each pair, element by element, to `sums`. Every slice must be at least as
/// long as `sums`.
pub(crate) fn multiply_add(level: Level, sums: &mut Sums, pairs: &[(&[u128], &[u128])]) {
    match level {
        Level::Portable => portable_multiply_add(sums, pairs, 0),
        #[cfg(target_arch = "x86_64")]
        Level::Narrow => portable_multiply_add(sums, pairs, 0),
        // SAFETY: `Level::all` gives this level only where the processor has its features.
        #[cfg(target_arch = "x86_64")]
        Level::Wide => unsafe { x86::wide_multiply_add(sums, pairs) },
    }
}

fn portable_multiply_add(sums: &mut Sums, pairs: &[(&[u128], &[u128])], from: usize) {
    use crate::clmul::clmul;
    for (a, b) in pairs {
        for i in from..sums.low.len() {
            let (a0, a1, b0, b1) = (a[i] as u64, (a[i] >> 64) as u64, b[i] as u64, (b[i] >> 64) as u64);
            sums.low[i] ^= clmul(a0, b0);
            sums.middle[i] ^= clmul(a0, b1) ^ clmul(a1, b0);
            sums.high[i] ^= clmul(a1, b1);
        }
    }
}

/// out[c] = sum over j of x[j]·s[c + x.len() - 1 - j], for as many c as there are full sums: the
/// plain product of two polynomials with words as coefficients, the middle of it.
pub(crate) fn sliding_products(level: Level, x: &[u64], s: &[u64], out: &mut [u128]) {
    let len = (s.len() + 1).saturating_sub(x.len()).min(out.len());
    if x.is_empty() {
        return;
    }
    match level {
        Level::Portable => portable_sliding_products(x, s, &mut out[..len]),
        // SAFETY: as above; the bounds of `s` are checked by slicing.
        #[cfg(target_arch = "x86_64")]
        Level::Narrow => unsafe { x86::sliding_products(x, s, &mut out[..len]) },
        #[cfg(target_arch = "x86_64")]
        Level::Wide => unsafe { x86::wide_sliding_products(x, s, &mut out[..len]) },
    }
}

fn portable_sliding_products(x: &[u64], s: &[u64], out: &mut [u128]) {
    for (c, out) in out.iter_mut().enumerate() {
        let window = s[c..c + x.len()].iter().rev();
        *out = x.iter().zip(window).fold(0, |sum, (&x, &s)| sum ^ crate::clmul::clmul(x, s));
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, __m512i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_set_epi64x,
        _mm_setzero_si128, _mm_slli_si128, _mm_xor_si128, _mm512_broadcast_i32x4, _mm512_clmulepi64_epi128,
        _mm512_loadu_si512, _mm512_maskz_unpacklo_epi64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_storeu_si512,
        _mm512_ternarylogic_epi64, _mm512_xor_si512,
    };

    use super::{Factor, Sums};

    #[inline]
    #[target_feature(enable = "sse2")]
    fn get(x: u128) -> __m128i {
        _mm_set_epi64x((x >> 64) as i64, x as i64)
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn put(x: __m128i) -> u128 {
        u128::from(_mm_extract_epi64::<1>(x) as u64) << 64 | u128::from(_mm_cvtsi128_si64(x) as u64)
    }

    /// b·w, with w as prepared in [`Factor`].
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn times(b: __m128i, low: __m128i, high: __m128i) -> __m128i {
        let bottom = _mm_xor_si128(_mm_clmulepi64_si128::<0x00>(b, low), _mm_clmulepi64_si128::<0x01>(b, high));
        let top = _mm_xor_si128(_mm_clmulepi64_si128::<0x10>(b, low), _mm_clmulepi64_si128::<0x11>(b, high));
        // bottom + top·x^64; the upper half of top is at x^128 = x^7 + x^2 + x + 1
        let fold = _mm_clmulepi64_si128::<0x01>(top, _mm_set_epi64x(0, 0x87));
        _mm_xor_si128(_mm_xor_si128(bottom, fold), _mm_slli_si128::<8>(top))
    }

    #[target_feature(enable = "pclmulqdq,sse4.1")]
    pub(super) fn layer<const INVERSE: bool>(data: &mut [u128], half: usize, factors: &[Factor]) {
        for (block, w) in data.chunks_exact_mut(2 * half).zip(factors) {
            let (a, b) = block.split_at_mut(half);
            let (low, high) = (get(w.low), get(w.high));
            for (a, b) in a.iter_mut().zip(b) {
                if INVERSE {
                    *b ^= *a;
                }
                *a ^= put(times(get(*b), low, high));
                if !INVERSE {
                    *b ^= *a;
                }
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn wide_add<T: Copy + std::ops::BitXorAssign>(to: &mut [T], from: &[T]) {
        to.iter_mut().zip(from).for_each(|(t, f)| *t ^= *f);
    }

    #[inline]
    #[target_feature(enable = "vpclmulqdq,avx512f")]
    fn wide_times(b: __m512i, low: __m512i, high: __m512i, poly: __m512i) -> __m512i {
        let bottom =
            _mm512_xor_si512(_mm512_clmulepi64_epi128::<0x00>(b, low), _mm512_clmulepi64_epi128::<0x01>(b, high));
        let top = _mm512_xor_si512(_mm512_clmulepi64_epi128::<0x10>(b, low), _mm512_clmulepi64_epi128::<0x11>(b, high));
        let fold = _mm512_clmulepi64_epi128::<0x01>(top, poly);
        // top·x^64 below x^128: the low word of each lane moved up
        let moved = _mm512_maskz_unpacklo_epi64(0b1010_1010, top, top);
        _mm512_ternarylogic_epi64::<0x96>(bottom, fold, moved)
    }

    #[target_feature(enable = "vpclmulqdq,avx512f,pclmulqdq,sse4.1")]
    pub(super) fn wide_layer<const INVERSE: bool>(data: &mut [u128], half: usize, factors: &[Factor]) {
        if half < 4 {
            return layer::<INVERSE>(data, half, factors);
        }
        let poly = _mm512_set1_epi64(0x87);
        for (block, w) in data.chunks_exact_mut(2 * half).zip(factors) {
            let (a, b) = block.split_at_mut(half);
            let (low, high) = (_mm512_broadcast_i32x4(get(w.low)), _mm512_broadcast_i32x4(get(w.high)));
            for (a, b) in a.chunks_exact_mut(4).zip(b.chunks_exact_mut(4)) {
                // SAFETY: both chunks hold four 16-byte elements, 64 bytes; the accesses are unaligned ones.
                unsafe {
                    let (mut x, mut y) = (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast()));
                    if INVERSE {
                        y = _mm512_xor_si512(y, x);
                    }
                    x = _mm512_xor_si512(x, wide_times(y, low, high, poly));
                    if !INVERSE {
                        y = _mm512_xor_si512(y, x);
                    }
                    _mm512_storeu_si512(a.as_mut_ptr().cast(), x);
                    _mm512_storeu_si512(b.as_mut_ptr().cast(), y);
                }
            }
        }
    }

    #[target_feature(enable = "pclmulqdq,sse4.1")]
    pub(super) fn sliding_products(x: &[u64], s: &[u64], out: &mut [u128]) {
        for (c, out) in out.iter_mut().enumerate() {
            let mut sum = _mm_setzero_si128();
            for (&x, &s) in x.iter().zip(s[c..c + x.len()].iter().rev()) {
                let (x, s) = (_mm_set_epi64x(0, x as i64), _mm_set_epi64x(0, s as i64));
                sum = _mm_xor_si128(sum, _mm_clmulepi64_si128::<0x00>(x, s));
            }
            *out = put(sum);
        }
    }

    #[target_feature(enable = "vpclmulqdq,avx512f,pclmulqdq,sse4.1")]
    pub(super) fn wide_sliding_products(x: &[u64], s: &[u64], out: &mut [u128]) {
        let whole = out.len() / 8 * 8;
        for (block, out) in out[..whole].chunks_exact_mut(8).enumerate() {
            let start = block * 8;
            let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            for (words, &x) in s[start..start + x.len() + 7].windows(8).rev().zip(x) {
                // SAFETY: a window holds eight 8-byte words, 64 bytes; the access is an unaligned one.
                let words = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
                let x = _mm512_set1_epi64(x as i64);
                even = _mm512_xor_si512(even, _mm512_clmulepi64_epi128::<0x00>(words, x));
                odd = _mm512_xor_si512(odd, _mm512_clmulepi64_epi128::<0x01>(words, x));
            }
            let (mut a, mut b) = ([0_u128; 4], [0_u128; 4]);
            // SAFETY: both arrays are 64 bytes; the accesses are unaligned ones.
            unsafe {
                _mm512_storeu_si512(a.as_mut_ptr().cast(), even);
                _mm512_storeu_si512(b.as_mut_ptr().cast(), odd);
            }
            for (pair, (a, b)) in out.chunks_exact_mut(2).zip(a.into_iter().zip(b)) {
                pair.copy_from_slice(&[a, b]);
            }
        }
        let rest = s.get(whole..).unwrap_or_default();
        sliding_products(x, rest, &mut out[whole..]);
    }

    #[target_feature(enable = "vpclmulqdq,avx512f")]
    pub(super) fn wide_multiply_add(sums: &mut Sums, pairs: &[(&[u128], &[u128])]) {
        let whole = sums.low.len() / 4 * 4;
        for at in (0..whole).step_by(4) {
            let (l, m, h) = (&mut sums.low[at..at + 4], &mut sums.middle[at..at + 4], &mut sums.high[at..at + 4]);
            // SAFETY: each slice holds four 16-byte elements, 64 bytes; the accesses are unaligned ones.
            unsafe {
                let mut low = _mm512_loadu_si512(l.as_ptr().cast());
                let mut middle = _mm512_loadu_si512(m.as_ptr().cast());
                let mut high = _mm512_loadu_si512(h.as_ptr().cast());
                for (a, b) in pairs {
                    let a = _mm512_loadu_si512(a[at..at + 4].as_ptr().cast());
                    let b = _mm512_loadu_si512(b[at..at + 4].as_ptr().cast());
                    let one = _mm512_clmulepi64_epi128::<0x01>(a, b);
                    let other = _mm512_clmulepi64_epi128::<0x10>(a, b);
                    low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128::<0x00>(a, b));
                    middle = _mm512_ternarylogic_epi64::<0x96>(middle, one, other);
                    high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128::<0x11>(a, b));
                }
                _mm512_storeu_si512(l.as_mut_ptr().cast(), low);
                _mm512_storeu_si512(m.as_mut_ptr().cast(), middle);
                _mm512_storeu_si512(h.as_mut_ptr().cast(), high);
            }
        }
        super::portable_multiply_add(sums, pairs, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::{Factor, Level, Sums, layer, multiply_add, sliding_products, unlayer};
    use crate::seeded::Seeded;

    fn random(rng: &mut Seeded, len: usize) -> Vec<u128> {
        (0..len).map(|_| u128::from(rng.word()) << 64 | u128::from(rng.word())).collect()
    }

    #[test]
    fn every_level_equals_the_portable_one() {
        let mut rng = Seeded::new(1);
        for half in [1, 2, 4, 8, 32] {
            let factors: Vec<_> = random(&mut rng, 64 / half).into_iter().map(Factor::new).collect();
            let data = random(&mut rng, 128);
            let (mut wanted, mut undone) = (data.clone(), data.clone());
            layer(Level::Portable, &mut wanted, half, &factors);
            unlayer(Level::Portable, &mut undone, half, &factors);
            for level in Level::all() {
                let mut found = data.clone();
                layer(level, &mut found, half, &factors);
                assert_eq!(found, wanted, "{level:?} {half}");
                unlayer(level, &mut found, half, &factors);
                assert_eq!(found, data, "{level:?} {half}");
                unlayer(level, &mut found, half, &factors);
                assert_eq!(found, undone, "{level:?} {half}");
            }
        }
    }

    #[test]
    fn every_level_adds_the_same_products() {
        let mut rng = Seeded::new(2);
        for len in [1, 3, 4, 17, 64] {
            let (a, b, start) = (random(&mut rng, len), random(&mut rng, len), random(&mut rng, len));
            let fresh = || Sums { low: start.clone(), middle: start.clone(), high: start.clone() };
            let mut wanted = fresh();
            multiply_add(Level::Portable, &mut wanted, &[(&a, &b), (&b, &start)]);
            for level in Level::all() {
                let mut found = fresh();
                multiply_add(level, &mut found, &[(&a, &b), (&b, &start)]);
                assert_eq!((&found.low, &found.middle, &found.high), (&wanted.low, &wanted.middle, &wanted.high));
            }
        }
    }

    #[test]
    fn every_level_slides_the_same() {
        let mut rng = Seeded::new(3);
        for (n, c) in [(1, 1), (3, 8), (9, 7), (20, 33), (64, 16)] {
            let x: Vec<u64> = (0..n).map(|_| rng.word()).collect();
            let s: Vec<u64> = (0..n + c - 1).map(|_| rng.word()).collect();
            let mut wanted = vec![0; c];
            sliding_products(Level::Portable, &x, &s, &mut wanted);
            for level in Level::all() {
                let mut found = vec![0; c];
                sliding_products(level, &x, &s, &mut found);
                assert_eq!(found, wanted, "{level:?} {n} {c}");
            }
        }
    }
}
