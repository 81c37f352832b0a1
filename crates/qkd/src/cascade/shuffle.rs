use crate::bits::Bits;
use crate::cascade::PASSES;

/// The public shuffles of the passes after the first, for one frame length. They spread errors and
/// keep nothing secret, so one set serves every frame and every block of that length.
pub struct Shuffles {
    len: usize,
    passes: Vec<Shuffle>,
}

struct Shuffle {
    /// Original position of each shuffled one.
    from: Vec<u16>,
    /// Shuffled position of each original one.
    to: Vec<u16>,
    /// The original positions that come to lie in the first half of the next power of two.
    half: Vec<u64>,
}

impl Shuffles {
    /// The shuffles of frames of `len` bits (at most 2^14), the same for all who name this length.
    pub fn new(len: usize) -> Self {
        let len = len.min(crate::cascade::FRAME_BITS);
        let passes = (1..PASSES as u64).map(|pass| Shuffle::new(len, pass)).collect();
        Self { len, passes }
    }

    /// The frame length these are for.
    pub fn frame_bits(&self) -> usize {
        self.len
    }

    pub(super) fn to(&self, pass: usize, position: usize) -> usize {
        if pass == 0 { position } else { usize::from(self.passes[pass - 1].to[position]) }
    }

    pub(super) fn from(&self, pass: usize, position: usize) -> usize {
        if pass == 0 { position } else { usize::from(self.passes[pass - 1].from[position]) }
    }

    /// Parity of the first block of `pass`, one of those whose blocks are half a frame, without
    /// bringing all bits in order.
    pub(super) fn half_parity(&self, pass: usize, bits: &Bits) -> bool {
        let Some(shuffle) = pass.checked_sub(1).map(|i| &self.passes[i]) else { return false };
        let sum = bits.words().iter().zip(&shuffle.half).fold(0, |sum, (bits, half)| sum ^ (bits & half));
        sum.count_ones() & 1 == 1
    }

    /// `bits` in the order of `pass`.
    pub(super) fn apply(&self, pass: usize, bits: &Bits) -> Bits {
        let Some(shuffle) = pass.checked_sub(1).map(|i| &self.passes[i]) else { return bits.clone() };
        let source = bits.words();
        let words = shuffle
            .from
            .chunks(64)
            .map(|chunk| {
                chunk.iter().rev().fold(0, |word, &from| {
                    let from = usize::from(from);
                    word << 1 | source[from / 64] >> (from % 64) & 1
                })
            })
            .collect();
        Bits::from_words(words, self.len)
    }
}

impl Shuffle {
    fn new(len: usize, pass: u64) -> Self {
        let mut from: Vec<u16> = (0..len).map(|i| i as u16).collect();
        let mut state = pass;
        for i in (1..len).rev() {
            let j = ((u128::from(split_mix(&mut state)) * (i as u128 + 1)) >> 64) as usize;
            from.swap(i, j);
        }
        let mut to = vec![0; len];
        from.iter().enumerate().for_each(|(i, &f)| to[usize::from(f)] = i as u16);
        let cut = len.max(2).next_power_of_two() / 2;
        let mut half = vec![0; len.div_ceil(64)];
        from.iter().take(cut).for_each(|&f| half[usize::from(f) / 64] |= 1 << (f % 64));
        Self { from, to, half }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), for what is public only.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
