use crate::cascade::{FRAME_BITS, PASSES};
use crate::simd::{Level, select};

/// The public shuffles of the passes after the first, for one frame length. They spread errors and
/// keep nothing secret, so one set serves every frame and every block of that length.
pub struct Shuffles {
    len: usize,
    passes: Vec<Shuffle>,
    level: Level,
}

/// A frame is a table of words, 64 bits wide. Each column of bits is turned by its own number of
/// rows, then each row by its own number of columns, then each column again. That takes a few
/// operations for a word, where an arbitrary permutation takes as many for a bit.
struct Shuffle {
    first: Columns,
    rows: Vec<u32>,
    second: Columns,
    /// Original position of each shuffled one.
    from: Vec<u16>,
    /// Shuffled position of each original one.
    to: Vec<u16>,
    /// The original positions that come to lie in the first half of the next power of two.
    half: Vec<u64>,
}

/// Mask k has the columns whose number of rows to turn has bit k.
type Columns = [u64; (FRAME_BITS / 64).ilog2() as usize];

impl Shuffles {
    /// The shuffles of frames of `len` bits (a multiple of 64 of at most 2^14 counts, the next one
    /// where it is none), the same for all who name this length.
    pub fn new(len: usize) -> Self {
        let len = len.max(1).next_multiple_of(64).min(FRAME_BITS);
        let passes = (1..PASSES as u64).map(|pass| Shuffle::new(len, pass)).collect();
        Self { len, passes, level: Level::best() }
    }

    /// The frame length these are for.
    pub fn frame_bits(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn to(&self, pass: usize, position: usize) -> usize {
        if pass == 0 { position } else { usize::from(self.passes[pass - 1].to[position]) }
    }

    #[inline]
    pub(super) fn from(&self, pass: usize, position: usize) -> usize {
        if pass == 0 { position } else { usize::from(self.passes[pass - 1].from[position]) }
    }

    /// Parity of the first block of `pass`, one of those whose blocks are half a frame, without
    /// bringing all bits in order.
    pub(super) fn half_parity(&self, pass: usize, words: impl Iterator<Item = u64>) -> bool {
        let Some(shuffle) = pass.checked_sub(1).map(|i| &self.passes[i]) else { return false };
        let sum = words.zip(&shuffle.half).fold(0, |sum, (bits, half)| sum ^ (bits & half));
        sum.count_ones() & 1 == 1
    }

    /// Words of a frame in the order of `pass`.
    pub(super) fn apply(&self, pass: usize, mut words: Vec<u64>) -> Vec<u64> {
        let Some(shuffle) = pass.checked_sub(1).map(|i| &self.passes[i]) else { return words };
        let mut room = zeroize::Zeroizing::new(vec![0; words.len()]);
        turn_columns(self.level, &shuffle.first, &mut words, &mut room);
        words.iter_mut().zip(&shuffle.rows).for_each(|(word, &by)| *word = word.rotate_left(by));
        turn_columns(self.level, &shuffle.second, &mut words, &mut room);
        words
    }
}

/// Turns each column down by the sum of the powers of two in whose mask it is.
fn turn_columns(level: Level, columns: &Columns, words: &mut [u64], room: &mut [u64]) {
    for (k, &mask) in columns.iter().enumerate() {
        let by = (1 << k) % words.len();
        room.copy_from_slice(words);
        let (last, rest) = room.split_at(words.len() - by);
        let (front, back) = words.split_at_mut(by);
        select(level, front, rest, mask);
        select(level, back, last, mask);
    }
}

/// How far each column is turned.
fn offsets(columns: &Columns) -> [usize; 64] {
    std::array::from_fn(|c| columns.iter().enumerate().map(|(k, mask)| (mask >> c & 1) as usize * (1 << k)).sum())
}

impl Shuffle {
    fn new(len: usize, pass: u64) -> Self {
        let count = len / 64;
        let mut state = pass;
        let mut columns = || -> Columns { std::array::from_fn(|_| split_mix(&mut state)) };
        let (first, second) = (columns(), columns());
        let rows: Vec<u32> = (0..count).map(|_| (split_mix(&mut state) % 64) as u32).collect();
        let (down, down_again) = (offsets(&first), offsets(&second));
        let (mut from, mut to) = (vec![0; len], vec![0; len]);
        for (position, to) in to.iter_mut().enumerate() {
            let (row, column) = (position / 64, position % 64);
            let row = (row + down[column]) % count;
            let column = (column + rows[row] as usize) % 64;
            let row = (row + down_again[column]) % count;
            *to = (row * 64 + column) as u16;
            from[usize::from(*to)] = position as u16;
        }
        let cut = len.max(2).next_power_of_two() / 2;
        let mut half = vec![0; count];
        from.iter().take(cut).for_each(|&f| half[usize::from(f) / 64] |= 1 << (f % 64));
        Self { first, rows, second, from, to, half }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), for what is public only.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::Shuffles;
    use crate::cascade::PASSES;
    use crate::seeded::Seeded;

    #[test]
    fn a_shuffle_is_a_permutation_and_moves_bits_as_its_tables_say() {
        let mut rng = Seeded::new(1);
        for len in [64, 128, 192, 640, 10_048, 1 << 14] {
            let shuffles = Shuffles::new(len);
            let words: Vec<u64> = (0..len / 64).map(|_| rng.word()).collect();
            let bit = |words: &[u64], i: usize| words[i / 64] >> (i % 64) & 1;
            for pass in 0..PASSES {
                let moved = shuffles.apply(pass, words.clone());
                for i in 0..len {
                    assert_eq!(shuffles.from(pass, shuffles.to(pass, i)), i);
                    assert_eq!(bit(&moved, shuffles.to(pass, i)), bit(&words, i));
                }
                let half = len.next_power_of_two() / 2;
                let sum = (0..half).fold(0, |sum, i| sum ^ bit(&moved, i));
                assert!(pass == 0 || shuffles.half_parity(pass, words.iter().copied()) == (sum == 1));
            }
        }
    }
}
