//! The loops on vectors of 512 bits, and the portable ones compiled for vectors of 256.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_set_epi64x, _mm_setzero_si128,
    _mm_sfence, _mm_xor_si128, _mm512_clmulepi64_epi128, _mm512_gf2p8affine_epi64_epi8, _mm512_gf2p8mul_epi8,
    _mm512_loadu_si512, _mm512_permutexvar_epi8, _mm512_set1_epi8, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_shuffle_i64x2, _mm512_storeu_si512, _mm512_stream_si512, _mm512_ternarylogic_epi64, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use crate::field::reduce;
use crate::gf16::TOWER;
use crate::simd::{Factor, Group, Lanes, LinearMap, Run, portable};

/// One value of GF(2^16) in each byte place: the low bytes, the high bytes.
#[derive(Clone, Copy)]
struct Pair {
    lo: __m512i,
    hi: __m512i,
}

/// A factor, spread over all words.
#[derive(Clone, Copy)]
struct Spread {
    low_low: __m512i,
    high_low: __m512i,
    low_high: __m512i,
    high_high: __m512i,
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words(from: &[u64; 8]) -> __m512i {
    // SAFETY: the array holds 64 bytes; the access is an unaligned one.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_words(to: &mut [u64; 8], x: __m512i) {
    // SAFETY: the array holds 64 bytes; the access is an unaligned one.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), x) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &Group) -> Pair {
    Pair { lo: load_words(&from.lo), hi: load_words(&from.hi) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(to: &mut Group, x: Pair) {
    store_words(&mut to.lo, x.lo);
    store_words(&mut to.hi, x.hi);
}

/// a + b + c.
#[inline]
#[target_feature(enable = "avx512f")]
fn sum(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn spread(w: &Factor) -> Spread {
    Spread {
        low_low: _mm512_set1_epi64(w.0[0] as i64),
        high_low: _mm512_set1_epi64(w.0[1] as i64),
        low_high: _mm512_set1_epi64(w.0[2] as i64),
        high_high: _mm512_set1_epi64(w.0[3] as i64),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn plus(a: Pair, b: Pair) -> Pair {
    Pair { lo: _mm512_xor_si512(a.lo, b.lo), hi: _mm512_xor_si512(a.hi, b.hi) }
}

/// (a, b) to (a + w·b, a + w·b + b), or back. `SMALL` is for w of GF(2^8).
#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn butterfly<const INVERSE: bool, const SMALL: bool>(a: Pair, b: Pair, w: Spread) -> (Pair, Pair) {
    let b = if INVERSE { plus(a, b) } else { b };
    let lo = _mm512_gf2p8affine_epi64_epi8::<0>(b.lo, w.low_low);
    let hi = _mm512_gf2p8affine_epi64_epi8::<0>(b.hi, w.high_high);
    let a = if SMALL {
        plus(a, Pair { lo, hi })
    } else {
        Pair {
            lo: sum(a.lo, lo, _mm512_gf2p8affine_epi64_epi8::<0>(b.hi, w.high_low)),
            hi: sum(a.hi, hi, _mm512_gf2p8affine_epi64_epi8::<0>(b.lo, w.low_high)),
        }
    };
    (a, if INVERSE { b } else { plus(a, b) })
}

#[target_feature(enable = "gfni,avx512f,avx512bw")]
pub(super) fn wide_layer<const INVERSE: bool>(data: &mut [Group], half: usize, factors: &[Factor]) {
    for (block, w) in data.chunks_exact_mut(2 * half).zip(factors) {
        let w = spread(w);
        let (a, b) = block.split_at_mut(half);
        for (a, b) in a.iter_mut().zip(b) {
            let (x, y) = butterfly::<INVERSE, false>(load(a), load(b), w);
            store(a, x);
            store(b, y);
        }
    }
}

#[target_feature(enable = "gfni,avx512f,avx512bw")]
pub(super) fn wide_two_layers<const INVERSE: bool>(data: &mut [Group], top: Factor, low: [Factor; 2]) {
    if top.is_small() && low[0].is_small() && low[1].is_small() {
        two_layers::<INVERSE, true>(data, top, low);
    } else {
        two_layers::<INVERSE, false>(data, top, low);
    }
}

#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn two_layers<const INVERSE: bool, const SMALL: bool>(data: &mut [Group], top: Factor, low: [Factor; 2]) {
    let (top, left, right) = (spread(&top), spread(&low[0]), spread(&low[1]));
    let quarter = data.len() / 4;
    let (front, back) = data.split_at_mut(2 * quarter);
    let ((a, b), (c, d)) = (front.split_at_mut(quarter), back.split_at_mut(quarter));
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        let (mut p, mut q, mut r, mut s) = (load(a), load(b), load(c), load(d));
        if INVERSE {
            (p, q) = butterfly::<true, SMALL>(p, q, left);
            (r, s) = butterfly::<true, SMALL>(r, s, right);
        }
        (p, r) = butterfly::<INVERSE, SMALL>(p, r, top);
        (q, s) = butterfly::<INVERSE, SMALL>(q, s, top);
        if !INVERSE {
            (p, q) = butterfly::<false, SMALL>(p, q, left);
            (r, s) = butterfly::<false, SMALL>(r, s, right);
        }
        store(a, p);
        store(b, q);
        store(c, r);
        store(d, s);
    }
}

/// The even quarters of two vectors.
#[inline]
#[target_feature(enable = "avx512f")]
fn even(a: __m512i, b: __m512i) -> __m512i {
    _mm512_shuffle_i64x2::<0x88>(a, b)
}

/// The odd quarters of two vectors.
#[inline]
#[target_feature(enable = "avx512f")]
fn odd(a: __m512i, b: __m512i) -> __m512i {
    _mm512_shuffle_i64x2::<0xdd>(a, b)
}

/// Word r of vector l to word l of vector r.
#[inline]
#[target_feature(enable = "avx512f")]
fn turn(x: [__m512i; 8]) -> [__m512i; 8] {
    let pairs: [__m512i; 8] = [
        _mm512_unpacklo_epi64(x[0], x[1]),
        _mm512_unpackhi_epi64(x[0], x[1]),
        _mm512_unpacklo_epi64(x[2], x[3]),
        _mm512_unpackhi_epi64(x[2], x[3]),
        _mm512_unpacklo_epi64(x[4], x[5]),
        _mm512_unpackhi_epi64(x[4], x[5]),
        _mm512_unpacklo_epi64(x[6], x[7]),
        _mm512_unpackhi_epi64(x[6], x[7]),
    ];
    // for words 0 and 1 of each quarter: vectors 0 to 3 and 4 to 7
    let (e0, o0) = (even(pairs[0], pairs[2]), odd(pairs[0], pairs[2]));
    let (e1, o1) = (even(pairs[1], pairs[3]), odd(pairs[1], pairs[3]));
    let (e2, o2) = (even(pairs[4], pairs[6]), odd(pairs[4], pairs[6]));
    let (e3, o3) = (even(pairs[5], pairs[7]), odd(pairs[5], pairs[7]));
    [even(e0, e2), even(e1, e3), even(o0, o2), even(o1, o3), odd(e0, e2), odd(e1, e3), odd(o0, o2), odd(o1, o3)]
}

/// Eight elements of a vector each.
type Eight = [Pair; 8];

#[target_feature(enable = "gfni,avx512f,avx512bw")]
pub(super) fn wide_six_layers<const INVERSE: bool>(run: &mut [Group; 8], factors: &Run, lanes: &Lanes) {
    let [a, b, c, d, e, f, g, h] = &*run;
    let mut x = [load(a), load(b), load(c), load(d), load(e), load(f), load(g), load(h)];
    let upper = |i: usize| spread(&factors.upper[i]);
    let [two, one, nought] = &factors.lower;
    let (two, one, nought) = (spread(two), spread(one), spread(nought));
    let own = |shared: Spread, i: usize| with_lanes(shared, load_words(&lanes[i]));
    if INVERSE {
        x = by_one::<true>(x, own(nought, 3), own(nought, 4), own(nought, 5), own(nought, 6));
        x = by_two::<true>(x, own(one, 1), own(one, 2));
        x = by_four::<true>(x, own(two, 0));
        x = turn_pairs(x);
        x = by_one::<true>(x, upper(3), upper(4), upper(5), upper(6));
        x = by_two::<true>(x, upper(1), upper(2));
        x = by_four::<true>(x, upper(0));
    } else {
        x = by_four::<false>(x, upper(0));
        x = by_two::<false>(x, upper(1), upper(2));
        x = by_one::<false>(x, upper(3), upper(4), upper(5), upper(6));
        x = turn_pairs(x);
        x = by_four::<false>(x, own(two, 0));
        x = by_two::<false>(x, own(one, 1), own(one, 2));
        x = by_one::<false>(x, own(nought, 3), own(nought, 4), own(nought, 5), own(nought, 6));
    }
    for (group, x) in run.iter_mut().zip(x) {
        store(group, x);
    }
}

/// A factor of the run, and the part of it that each group has for itself.
#[inline]
#[target_feature(enable = "avx512f")]
fn with_lanes(shared: Spread, own: __m512i) -> Spread {
    Spread {
        low_low: _mm512_xor_si512(shared.low_low, own),
        high_high: _mm512_xor_si512(shared.high_high, own),
        ..shared
    }
}

/// One layer of blocks of eight.
#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn by_four<const INVERSE: bool>([a, b, c, d, e, f, g, h]: Eight, w: Spread) -> Eight {
    let (a, e) = butterfly::<INVERSE, false>(a, e, w);
    let (b, f) = butterfly::<INVERSE, false>(b, f, w);
    let (c, g) = butterfly::<INVERSE, false>(c, g, w);
    let (d, h) = butterfly::<INVERSE, false>(d, h, w);
    [a, b, c, d, e, f, g, h]
}

/// One layer of blocks of four.
#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn by_two<const INVERSE: bool>([a, b, c, d, e, f, g, h]: Eight, v: Spread, w: Spread) -> Eight {
    let (a, c) = butterfly::<INVERSE, false>(a, c, v);
    let (b, d) = butterfly::<INVERSE, false>(b, d, v);
    let (e, g) = butterfly::<INVERSE, false>(e, g, w);
    let (f, h) = butterfly::<INVERSE, false>(f, h, w);
    [a, b, c, d, e, f, g, h]
}

/// One layer of blocks of two.
#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn by_one<const INVERSE: bool>(x: Eight, t: Spread, u: Spread, v: Spread, w: Spread) -> Eight {
    let [a, b, c, d, e, f, g, h] = x;
    let (a, b) = butterfly::<INVERSE, false>(a, b, t);
    let (c, d) = butterfly::<INVERSE, false>(c, d, u);
    let (e, f) = butterfly::<INVERSE, false>(e, f, v);
    let (g, h) = butterfly::<INVERSE, false>(g, h, w);
    [a, b, c, d, e, f, g, h]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn turn_pairs([a, b, c, d, e, f, g, h]: Eight) -> Eight {
    let [p, q, r, s, t, u, v, w] = turn([a.lo, b.lo, c.lo, d.lo, e.lo, f.lo, g.lo, h.lo]);
    let [a, b, c, d, e, f, g, h] = turn([a.hi, b.hi, c.hi, d.hi, e.hi, f.hi, g.hi, h.hi]);
    [
        Pair { lo: p, hi: a },
        Pair { lo: q, hi: b },
        Pair { lo: r, hi: c },
        Pair { lo: s, hi: d },
        Pair { lo: t, hi: e },
        Pair { lo: u, hi: f },
        Pair { lo: v, hi: g },
        Pair { lo: w, hi: h },
    ]
}

/// Byte k of word l to byte l of word k, in each vector.
#[inline]
#[target_feature(enable = "avx512f,avx512vbmi")]
fn turn_bytes(mut x: [__m512i; 8]) -> [__m512i; 8] {
    let places = load_words(&PLACES);
    for x in &mut x {
        *x = _mm512_permutexvar_epi8(places, *x);
    }
    x
}

/// Byte l of word k is 8·l + k.
const PLACES: [u64; 8] = {
    let mut places = [0x3830_2820_1810_0800; 8];
    let mut k = 0;
    while k < 8 {
        places[k] += 0x0101_0101_0101_0101 * k as u64;
        k += 1;
    }
    places
};

/// Eight vectors.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_eight<'a>(rows: impl Iterator<Item = &'a [u64; 8]>) -> [__m512i; 8] {
    let mut out = [_mm512_setzero_si512(); 8];
    for (out, row) in out.iter_mut().zip(rows) {
        *out = load_words(row);
    }
    out
}

/// Eight vectors of words to their bytes by significance, or back.
#[inline]
#[target_feature(enable = "avx512f,avx512vbmi")]
fn planes(x: [__m512i; 8]) -> [__m512i; 8] {
    turn(turn_bytes(x))
}

#[inline]
#[target_feature(enable = "avx512f,avx512vbmi")]
fn unplanes(x: [__m512i; 8]) -> [__m512i; 8] {
    turn_bytes(turn(x))
}

/// Eight rows of a linear map over planes of bytes.
#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn map_planes(rows: &[[u64; 16]], planes: &[__m512i]) -> [__m512i; 8] {
    let mut out = [_mm512_setzero_si512(); 8];
    for (out, row) in out.iter_mut().zip(rows) {
        let mut total = _mm512_setzero_si512();
        for (pair, m) in planes.as_chunks::<2>().0.iter().zip(row.as_chunks::<2>().0) {
            let a = _mm512_gf2p8affine_epi64_epi8::<0>(pair[0], _mm512_set1_epi64(m[0] as i64));
            let b = _mm512_gf2p8affine_epi64_epi8::<0>(pair[1], _mm512_set1_epi64(m[1] as i64));
            total = sum(total, a, b);
        }
        *out = total;
    }
    out
}

#[target_feature(enable = "gfni,avx512f,avx512bw,avx512vbmi")]
pub(super) fn words_to_run(map: &LinearMap, words: &[u64; 64], run: &mut [Group; 8]) {
    let input = planes(load_eight(words.as_chunks::<8>().0.iter()));
    let lo = unplanes(map_planes(&map.matrices[..8], &input));
    for (group, lo) in run.iter_mut().zip(lo) {
        store_words(&mut group.lo, lo);
    }
    let hi = unplanes(map_planes(&map.matrices[8..], &input));
    for (group, hi) in run.iter_mut().zip(hi) {
        store_words(&mut group.hi, hi);
    }
}

#[target_feature(enable = "gfni,avx512f,avx512bw,avx512vbmi")]
pub(super) fn run_to_words(map: &LinearMap, run: &[Group; 8], words: &mut [u128; 64]) {
    let mut input = [_mm512_setzero_si512(); 16];
    input[..8].copy_from_slice(&planes(load_eight(run.iter().map(|group| &group.lo))));
    input[8..].copy_from_slice(&planes(load_eight(run.iter().map(|group| &group.hi))));
    let lo = unplanes(map_planes(&map.matrices[..8], &input));
    let hi = unplanes(map_planes(&map.matrices[8..], &input));
    for ((words, lo), hi) in words.as_chunks_mut::<8>().0.iter_mut().zip(lo).zip(hi) {
        let (mut a, mut b) = ([0; 8], [0; 8]);
        store_words(&mut a, lo);
        store_words(&mut b, hi);
        *words = std::array::from_fn(|i| u128::from(b[i]) << 64 | u128::from(a[i]));
    }
}

#[target_feature(enable = "avx512f")]
pub(super) fn scatter(from: &[Group], to: &mut [Group], stride: usize) {
    for (to, group) in to.iter_mut().step_by(stride).zip(from) {
        let Pair { lo, hi } = load(group);
        // SAFETY: a group is 128 bytes at a multiple of 64. The fence below orders these stores
        // before anything that follows.
        unsafe {
            _mm512_stream_si512(to.lo.as_mut_ptr().cast(), lo);
            _mm512_stream_si512(to.hi.as_mut_ptr().cast(), hi);
        }
    }
    _mm_sfence();
}

/// Sums computed together, so that one load of an input serves several.
const TOGETHER: usize = 4;

#[target_feature(enable = "gfni,avx512f,avx512bw")]
pub(super) fn wide_convolve(inputs: &[Group], windows: &[Group], out: &mut [Group]) {
    let whole = out.len() / TOGETHER * TOGETHER;
    let (front, rest) = out.split_at_mut(whole);
    for (out, windows) in
        front.chunks_exact_mut(TOGETHER).zip(windows.windows(inputs.len() + TOGETHER - 1).step_by(TOGETHER))
    {
        sums::<TOGETHER>(inputs, windows, out);
    }
    for (out, windows) in rest.iter_mut().zip(windows[whole..].windows(inputs.len())) {
        sums::<1>(inputs, windows, std::slice::from_mut(out));
    }
}

#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn sums<const N: usize>(inputs: &[Group], windows: &[Group], out: &mut [Group]) {
    let zero = _mm512_setzero_si512();
    let (mut low, mut cross, mut high) = ([zero; N], [zero; N], [zero; N]);
    for (input, window) in inputs.iter().zip(windows.array_windows::<N>().rev()) {
        let a = load(input);
        for n in 0..N {
            let b = load(&window[n]);
            low[n] = _mm512_xor_si512(low[n], _mm512_gf2p8mul_epi8(a.lo, b.lo));
            let (one, other) = (_mm512_gf2p8mul_epi8(a.lo, b.hi), _mm512_gf2p8mul_epi8(a.hi, b.lo));
            cross[n] = sum(cross[n], one, other);
            high[n] = _mm512_xor_si512(high[n], _mm512_gf2p8mul_epi8(a.hi, b.hi));
        }
    }
    let tower = _mm512_set1_epi8(TOWER as i8);
    for (n, out) in out.iter_mut().enumerate() {
        let lo = _mm512_xor_si512(low[n], _mm512_gf2p8mul_epi8(high[n], tower));
        store(out, Pair { lo, hi: _mm512_xor_si512(cross[n], high[n]) });
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn narrow_layer(data: &mut [Group], half: usize, factors: &[Factor], inverse: bool) {
    portable::layer(data, half, factors, inverse);
}

#[target_feature(enable = "avx2")]
pub(super) fn narrow_six_layers(run: &mut [Group; 8], factors: &Run, lanes: &Lanes, inverse: bool) {
    portable::six_layers(run, factors, lanes, inverse);
}

#[target_feature(enable = "avx2")]
pub(super) fn narrow_convolve(inputs: &[Group], windows: &[Group], out: &mut [Group]) {
    portable::convolve(inputs, windows, out);
}

#[target_feature(enable = "avx2")]
pub(super) fn narrow_select(to: &mut [u64], from: &[u64], mask: u64) {
    portable::select(to, from, mask);
}

#[target_feature(enable = "avx512f")]
pub(super) fn wide_select(to: &mut [u64], from: &[u64], mask: u64) {
    portable::select(to, from, mask);
}

#[target_feature(enable = "avx512f")]
pub(super) fn wide_add<T: Copy + std::ops::BitXorAssign>(to: &mut [T], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t ^= *f);
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn put(x: __m128i) -> u128 {
    u128::from(_mm_extract_epi64::<1>(x) as u64) << 64 | u128::from(_mm_cvtsi128_si64(x) as u64)
}

#[inline]
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn product(x: u64, y: u64) -> u128 {
    put(_mm_clmulepi64_si128::<0x00>(_mm_set_epi64x(0, x as i64), _mm_set_epi64x(0, y as i64)))
}

#[target_feature(enable = "pclmulqdq,sse4.1")]
pub(super) fn horner(mut sum: u128, point: u128, blocks: &[[u8; 16]]) -> u128 {
    let (low, high) = (point as u64, (point >> 64) as u64);
    for block in blocks {
        sum ^= u128::from_le_bytes(*block);
        let (x, y) = (sum as u64, (sum >> 64) as u64);
        let middle = product(x, high) ^ product(y, low);
        sum = reduce(product(x, low) ^ middle << 64, product(y, high) ^ middle >> 64);
    }
    sum
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
        for (words, &x) in s[start..start + x.len() + 7].array_windows::<8>().rev().zip(x) {
            let words = load_words(words);
            let x = _mm512_set1_epi64(x as i64);
            even = _mm512_xor_si512(even, _mm512_clmulepi64_epi128::<0x00>(words, x));
            odd = _mm512_xor_si512(odd, _mm512_clmulepi64_epi128::<0x01>(words, x));
        }
        let (mut a, mut b) = ([0; 8], [0; 8]);
        store_words(&mut a, even);
        store_words(&mut b, odd);
        for (pair, (a, b)) in
            out.as_chunks_mut::<2>().0.iter_mut().zip(a.as_chunks::<2>().0.iter().zip(b.as_chunks::<2>().0))
        {
            *pair = [a, b].map(|w| u128::from(w[1]) << 64 | u128::from(w[0]));
        }
    }
    let rest = s.get(whole..).unwrap_or_default();
    sliding_products(x, rest, &mut out[whole..]);
}
