use zeroize::Zeroizing;

use crate::cascade::tree::Shape;
use crate::cascade::{FRAME_BITS, PASSES, Schedule};
use crate::simd::{Level, select};

/// The public shuffles of the passes after the first, for one frame length. They spread errors and
/// keep nothing secret, so one set serves every frame and every block of that length.
pub struct Shuffles {
    len: usize,
    passes: Vec<Shuffle>,
    /// How the bits are kept for searches: for two blocks, then for blocks of 2, 4, 8, … bits.
    shapes: Vec<Shape>,
    level: Level,
}

/// A frame is a table of words, 64 bits wide. Each column of bits is turned by its own number of
/// rows, then each row by its own number of columns, then each column again. That takes a few
/// operations for a word, where an arbitrary permutation takes as many for a bit.
struct Shuffle {
    first: Turn,
    rows: Vec<u8>,
    second: Turn,
    /// The original positions that come to lie in the first half.
    half: Vec<u64>,
}

/// How far each column is turned down.
struct Turn {
    columns: Columns,
    /// The same, column by column, below the number of rows.
    by: [u8; 64],
}

/// Mask k has the columns whose number of rows to turn has bit k.
type Columns = [u64; (FRAME_BITS / 64).ilog2() as usize];

impl Shuffles {
    /// The shuffles of frames of `len` bits (a multiple of 64 of at most 2^14 counts, the next one
    /// where it is none), the same for all who name this length.
    pub fn new(len: usize) -> Self {
        let len = len.max(1).next_multiple_of(64).min(FRAME_BITS);
        let passes = (1..PASSES as u64).map(|pass| Shuffle::new(len, pass)).collect();
        let half = half_level(len);
        let shapes = std::iter::once(Shape::new(len / 64, half, true));
        let shapes = shapes.chain((1..=half).map(|level| Shape::new(len / 64, level, false))).collect();
        Self { len, passes, shapes, level: Level::best() }
    }

    /// The frame length these are for.
    pub fn frame_bits(&self) -> usize {
        self.len
    }

    /// How the bits are kept in a pass.
    #[inline]
    pub(super) fn shape(&self, schedule: &Schedule, pass: usize) -> &Shape {
        let halves = pass > 0 && schedule.halves(pass);
        &self.shapes[if halves { 0 } else { usize::from(schedule.levels[pass]) }]
    }

    #[inline]
    pub(super) fn to(&self, pass: usize, position: usize) -> usize {
        let Some(shuffle) = pass.checked_sub(1).map(|i| &self.passes[i]) else { return position };
        let (row, column) = (position / 64, position % 64);
        let row = self.down(row, shuffle.first.by[column]);
        let column = (column + usize::from(shuffle.rows[row])) % 64;
        self.down(row, shuffle.second.by[column]) * 64 + column
    }

    #[inline]
    pub(super) fn from(&self, pass: usize, position: usize) -> usize {
        let Some(shuffle) = pass.checked_sub(1).map(|i| &self.passes[i]) else { return position };
        let (row, column) = (position / 64, position % 64);
        let row = self.up(row, shuffle.second.by[column]);
        let column = (column + 64 - usize::from(shuffle.rows[row])) % 64;
        self.up(row, shuffle.first.by[column]) * 64 + column
    }

    #[inline]
    fn down(&self, row: usize, by: u8) -> usize {
        let (row, count) = (row + usize::from(by), self.len / 64);
        if row < count { row } else { row - count }
    }

    #[inline]
    fn up(&self, row: usize, by: u8) -> usize {
        let by = usize::from(by);
        if row >= by { row - by } else { row + self.len / 64 - by }
    }

    /// Parity of the first block of `pass`, one of those whose blocks are half a frame, without
    /// bringing all bits in order.
    pub(super) fn half_parity(&self, pass: usize, words: &[u64]) -> bool {
        let Some(shuffle) = pass.checked_sub(1).map(|i| &self.passes[i]) else { return false };
        let sum = words.iter().zip(&shuffle.half).fold(0, |sum, (bits, half)| sum ^ (bits & half));
        sum.count_ones() & 1 == 1
    }

    /// Whether a bit of the frame lies in the second of two blocks of `pass`.
    pub(super) fn is_in_second_half(&self, pass: usize, position: usize) -> bool {
        let half = pass.checked_sub(1).map(|i| &self.passes[i].half);
        half.is_some_and(|half| half[position / 64] >> (position % 64) & 1 == 0)
    }

    /// Words of a frame in the order of `pass`.
    pub(super) fn apply(&self, pass: usize, words: &[u64]) -> Zeroizing<Vec<u64>> {
        let mut words = Zeroizing::new(words.to_vec());
        let Some(shuffle) = pass.checked_sub(1).map(|i| &self.passes[i]) else { return words };
        let mut room = Zeroizing::new(vec![0; words.len()]);
        turn_columns(self.level, &shuffle.first.columns, &mut words, &mut room);
        words.iter_mut().zip(&shuffle.rows).for_each(|(word, &by)| *word = word.rotate_left(u32::from(by)));
        turn_columns(self.level, &shuffle.second.columns, &mut words, &mut room);
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

/// Turns each column up again.
fn turn_back(columns: &Columns, words: &mut [u64], room: &mut [u64]) {
    for (k, &mask) in columns.iter().enumerate() {
        let by = (1 << k) % words.len();
        room.copy_from_slice(words);
        let (first, rest) = room.split_at(by);
        let (front, back) = words.split_at_mut(rest.len());
        select(Level::Portable, front, rest, mask);
        select(Level::Portable, back, first, mask);
    }
}

impl Turn {
    fn new(state: &mut u64, count: usize) -> Self {
        let columns: Columns = std::array::from_fn(|_| split_mix(state));
        let by =
            |c: usize| columns.iter().enumerate().map(|(k, mask)| (mask >> c & 1) as usize * (1 << k)).sum::<usize>();
        Self { columns, by: std::array::from_fn(|c| (by(c) % count) as u8) }
    }
}

impl Shuffle {
    fn new(len: usize, pass: u64) -> Self {
        let count = len / 64;
        let mut state = pass;
        let (first, second) = (Turn::new(&mut state, count), Turn::new(&mut state, count));
        let rows: Vec<u8> = (0..count).map(|_| (split_mix(&mut state) % 64) as u8).collect();
        // the first half, brought back to where it came from
        let cut = first_half(len);
        let mut half: Vec<u64> = (0..count).map(|w| if (w + 1) * 64 <= cut { u64::MAX } else { 0 }).collect();
        if cut < 64 {
            half[0] = (1 << cut) - 1;
        }
        let mut room = vec![0; count];
        turn_back(&second.columns, &mut half, &mut room);
        half.iter_mut().zip(&rows).for_each(|(word, &by)| *word = word.rotate_right(u32::from(by)));
        turn_back(&first.columns, &mut half, &mut room);
        Self { first, rows, second, half }
    }
}

/// Log2 of the block size where there are two blocks of a power of two.
pub(super) fn half_level(len: usize) -> u32 {
    len.max(2).next_power_of_two().trailing_zeros() - 1
}

/// Bits in the first half of a frame: whole words, where it has more than one.
fn first_half(len: usize) -> usize {
    if len > 64 { (len / 64).div_ceil(2) * 64 } else { 32 }
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
    use super::{Shuffles, first_half};
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
                let moved = shuffles.apply(pass, &words);
                for i in 0..len {
                    assert_eq!(shuffles.from(pass, shuffles.to(pass, i)), i);
                    assert_eq!(bit(&moved, shuffles.to(pass, i)), bit(&words, i));
                }
                let half = first_half(len);
                let sum = (0..half).fold(0, |sum, i| sum ^ bit(&moved, i));
                assert!(pass == 0 || shuffles.half_parity(pass, &words) == (sum == 1));
                let second = |i: usize| shuffles.is_in_second_half(pass, i) == (shuffles.to(pass, i) >= half);
                assert!(pass == 0 || (0..len).all(second));
            }
        }
    }
}
