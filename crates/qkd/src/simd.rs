//! The one module with `unsafe` code: the inner loops of the transform in [`crate::additive`] and
//! of plain products, on `GFNI` and `VPCLMULQDQ` of 512 bits or on `PCLMULQDQ`, each beside a
//! portable twin tested equal.
//!
//! What makes it sound: every vector load and store goes through a slice or a [`Group`] whose
//! length was checked in the same function, and a function with a target feature is reached only
//! after the processor was asked for it.
#![allow(unsafe_code)]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Which instructions to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Plain integer arithmetic.
    Portable,
    /// 128-bit carry-less multiplication, and integer arithmetic on 256 bits.
    #[cfg(target_arch = "x86_64")]
    Narrow,
    /// Four 128-bit carry-less multiplications at a time, and 8 x 8 bit matrices.
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
            let narrow = is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("avx2");
            let wide = is_x86_feature_detected!("vpclmulqdq")
                && is_x86_feature_detected!("gfni")
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi");
            if narrow {
                levels.push(Self::Narrow);
            }
            if narrow && wide {
                levels.push(Self::Wide);
            }
        }
        levels
    }
}

/// Eight elements of an array of points. An element is eight values of GF(2^16): their low bytes
/// make one word, their high bytes another.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Group {
    pub(crate) lo: [u64; 8],
    pub(crate) hi: [u64; 8],
}

impl zeroize::DefaultIsZeroes for Group {}

/// Multiplication by a value of GF(2^16) as four 8 x 8 bit matrices: from the low byte to the low
/// one, from high to low, from low to high, from high to high. Row i of a matrix is byte 7 - i, as
/// the instruction wants it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Factor(pub(crate) [u64; 4]);

impl Factor {
    pub(crate) fn new(w: u16) -> Self {
        let part = |input: usize, output: usize| {
            matrix(|bit| crate::gf16::mul(w, 1 << (8 * input + bit)).to_le_bytes()[output])
        };
        Self([part(0, 0), part(1, 0), part(0, 1), part(1, 1)])
    }

    /// The factor of the sum of two values.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    /// Whether the value is one of GF(2^8).
    fn is_small(&self) -> bool {
        self.0[1] | self.0[2] == 0
    }
}

/// The 8 x 8 matrix that takes bit k of a byte to `column(k)`.
pub(crate) fn matrix(column: impl Fn(usize) -> u8) -> u64 {
    (0..8).fold(0, |all, k| {
        let column = column(k);
        (0..8).fold(all, |all, i| all | u64::from(column >> i & 1) << (8 * (7 - i) + k))
    })
}

/// A linear map of words of 64 or 128 bits, as matrices for whole vectors and as a table of the
/// values of each byte.
pub(crate) struct LinearMap {
    /// `matrices[out][in]` of bytes.
    matrices: [[u64; 16]; 16],
    table: Vec<[u128; 256]>,
}

impl LinearMap {
    /// From the image of each input bit.
    pub(crate) fn new(columns: &[u128]) -> Self {
        let image = |bit: usize| columns.get(bit).copied().unwrap_or(0);
        let matrices =
            std::array::from_fn(|out| std::array::from_fn(|from| matrix(|k| (image(8 * from + k) >> (8 * out)) as u8)));
        let table = (0..columns.len() / 8)
            .map(|byte| {
                let mut values = [0_u128; 256];
                for value in 1..256_usize {
                    let low = value.trailing_zeros() as usize;
                    values[value] = values[value & (value - 1)] ^ image(8 * byte + low);
                }
                values
            })
            .collect();
        Self { matrices, table }
    }
}

/// What the six lowest layers need over one run of eight groups: the factors of layers 5, 4 and 3,
/// and the parts of those of layers 2, 1 and 0 that all blocks of the run share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) upper: [Factor; 7],
    pub(crate) lower: [Factor; 3],
}

/// The other parts of the factors of layers 2, 1 and 0, for the eight groups of any run: all are
/// of GF(2^8), so one matrix each. One block in layer 2, two in layer 1, four in layer 0.
pub(crate) type Lanes = [[u64; 8]; 7];

/// Takes the bits of `mask` from `from` into each word of `to`, over the shorter of the two.
#[inline]
pub(crate) fn select(level: Level, to: &mut [u64], from: &[u64], mask: u64) {
    match level {
        Level::Portable => portable::select(to, from, mask),
        // SAFETY: `Level::all` gives these only where the processor has their features.
        #[cfg(target_arch = "x86_64")]
        Level::Narrow => unsafe { x86::narrow_select(to, from, mask) },
        #[cfg(target_arch = "x86_64")]
        Level::Wide => unsafe { x86::wide_select(to, from, mask) },
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

/// One layer of the transform over blocks of `2 * half` groups: with the block's factor w, the
/// halves (a, b) become (a + w·b, a + w·b + b). With `inverse`, back again.
pub(crate) fn layer(level: Level, data: &mut [Group], half: usize, factors: &[Factor], inverse: bool) {
    match level {
        Level::Portable => portable::layer(data, half, factors, inverse),
        // SAFETY: `Level::all` gives these only where the processor has their features.
        #[cfg(target_arch = "x86_64")]
        Level::Narrow => unsafe { x86::narrow_layer(data, half, factors, inverse) },
        #[cfg(target_arch = "x86_64")]
        Level::Wide if inverse => unsafe { x86::wide_layer::<true>(data, half, factors) },
        #[cfg(target_arch = "x86_64")]
        Level::Wide => unsafe { x86::wide_layer::<false>(data, half, factors) },
    }
}

/// Two layers at once over one block of `4 * quarter` groups: `top` is the factor of the upper
/// layer, `low` those of the two blocks of the lower one. With `inverse`, back again.
pub(crate) fn two_layers(level: Level, data: &mut [Group], top: Factor, low: [Factor; 2], inverse: bool) {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Wide {
        // SAFETY: `Level::all` gives this only where the processor has its features.
        return unsafe {
            if inverse {
                x86::wide_two_layers::<true>(data, top, low)
            } else {
                x86::wide_two_layers::<false>(data, top, low)
            }
        };
    }
    let (half, quarter) = (data.len() / 2, data.len() / 4);
    if inverse {
        layer(level, data, quarter, &low, true);
        layer(level, data, half, &[top], true);
    } else {
        layer(level, data, half, &[top], false);
        layer(level, data, quarter, &low, false);
    }
}

/// The six lowest layers over one run of eight groups. The forward direction leaves element
/// 8·l + r of the run at place l of group r; the inverse expects it there.
pub(crate) fn six_layers(level: Level, run: &mut [Group; 8], factors: &Run, lanes: &Lanes, inverse: bool) {
    match level {
        Level::Portable => portable::six_layers(run, factors, lanes, inverse),
        // SAFETY: `Level::all` gives these only where the processor has their features.
        #[cfg(target_arch = "x86_64")]
        Level::Narrow => unsafe { x86::narrow_six_layers(run, factors, lanes, inverse) },
        #[cfg(target_arch = "x86_64")]
        Level::Wide if inverse => unsafe { x86::wide_six_layers::<true>(run, factors, lanes) },
        #[cfg(target_arch = "x86_64")]
        Level::Wide => unsafe { x86::wide_six_layers::<false>(run, factors, lanes) },
    }
}

/// Maps each word to an element. There must be eight words to a group, and eight groups to a run.
pub(crate) fn words_to_groups(level: Level, map: &LinearMap, words: &[u64], groups: &mut [Group]) {
    for (words, groups) in words.as_chunks::<64>().0.iter().zip(groups.as_chunks_mut::<8>().0) {
        #[cfg(target_arch = "x86_64")]
        if level == Level::Wide {
            // SAFETY: `Level::all` gives this only where the processor has its features.
            unsafe { x86::words_to_run(map, words, groups) };
            continue;
        }
        let _ = level;
        portable::words_to_run(map, words, groups);
    }
}

/// Maps each element to 128 bits.
pub(crate) fn groups_to_words(level: Level, map: &LinearMap, groups: &[Group], words: &mut [u128]) {
    for (words, groups) in words.as_chunks_mut::<64>().0.iter_mut().zip(groups.as_chunks::<8>().0) {
        #[cfg(target_arch = "x86_64")]
        if level == Level::Wide {
            // SAFETY: `Level::all` gives this only where the processor has its features.
            unsafe { x86::run_to_words(map, groups, words) };
            continue;
        }
        let _ = level;
        portable::run_to_words(map, groups, words);
    }
}

/// Puts groups into `to`, each `stride` groups after the one before, past the caches.
pub(crate) fn scatter(level: Level, from: &[Group], to: &mut [Group], stride: usize) {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Wide {
        // SAFETY: `Level::all` gives this only where the processor has its features.
        return unsafe { x86::scatter(from, to, stride) };
    }
    let _ = level;
    to.iter_mut().step_by(stride).zip(from).for_each(|(to, group)| *to = *group);
}

/// out[r] = sum over j of inputs[j]·windows[r + columns - 1 - j], element by element.
pub(crate) fn convolve(level: Level, inputs: &[Group], windows: &[Group], out: &mut [Group]) {
    match level {
        Level::Portable => portable::convolve(inputs, windows, out),
        // SAFETY: `Level::all` gives these only where the processor has their features.
        #[cfg(target_arch = "x86_64")]
        Level::Narrow => unsafe { x86::narrow_convolve(inputs, windows, out) },
        #[cfg(target_arch = "x86_64")]
        Level::Wide => unsafe { x86::wide_convolve(inputs, windows, out) },
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
        Level::Portable => portable::sliding_products(x, s, &mut out[..len]),
        // SAFETY: as above; the bounds of `s` are checked by slicing.
        #[cfg(target_arch = "x86_64")]
        Level::Narrow => unsafe { x86::sliding_products(x, s, &mut out[..len]) },
        #[cfg(target_arch = "x86_64")]
        Level::Wide => unsafe { x86::wide_sliding_products(x, s, &mut out[..len]) },
    }
}

/// Takes blocks into the value of a polynomial over GF(2^128) at `point`: for each of them the sum so
/// far, plus the block, is multiplied by the point.
pub(crate) fn horner(level: Level, sum: u128, point: u128, blocks: &[[u8; 16]]) -> u128 {
    match level {
        Level::Portable => portable::horner(sum, point, blocks),
        // SAFETY: `Level::all` gives these only where the processor has their features.
        #[cfg(target_arch = "x86_64")]
        Level::Narrow | Level::Wide => unsafe { x86::horner(sum, point, blocks) },
    }
}

#[cfg(test)]
mod tests;
