//! Packed bit strings. Bit `i` is bit `i % 64` of word `i / 64`; in bytes, bit `i % 8` of byte
//! `i / 8`. Bits past the end are always zero.

use std::fmt;

use zeroize::Zeroize;

/// A bit string that is wiped when dropped. It is never shown and cannot be compared with `==`.
#[derive(Clone, Default)]
pub struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// `len` zero bits.
    pub fn zeros(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// No bits yet, with room for `len`, so that growth never leaves a stray copy behind.
    pub fn with_capacity(len: usize) -> Self {
        Self { words: Vec::with_capacity(len.div_ceil(64)), len: 0 }
    }

    /// The first `len` bits of `bytes`, or `None` where `bytes` is not exactly that long or has a
    /// set bit past the end.
    pub fn from_bytes(bytes: &[u8], len: usize) -> Option<Self> {
        if bytes.len() != len.div_ceil(8) {
            return None;
        }
        let mut bits = Self::zeros(len);
        for (word, chunk) in bits.words.iter_mut().zip(bytes.chunks(8)) {
            let mut full = [0; 8];
            full[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_le_bytes(full);
        }
        let clean = bits.words.last().is_none_or(|last| last & !tail_mask(len) == 0);
        clean.then_some(bits)
    }

    /// From words; bits past `len` are cleared.
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(64), 0);
        if let Some(last) = words.last_mut() {
            *last &= tail_mask(len);
        }
        Self { words, len }
    }

    /// The bits as `ceil(len / 8)` bytes.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        let mut left = self.len.div_ceil(8);
        out.reserve(left);
        for word in &self.words {
            let take = left.min(8);
            out.extend_from_slice(&word.to_le_bytes()[..take]);
            left -= take;
        }
    }

    /// How many bits there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The packed words.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Bit `i`; false past the end.
    #[inline]
    pub fn get(&self, i: usize) -> bool {
        self.words.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    /// Turns bit `i` over; `i` must be below the length.
    #[inline]
    pub fn flip(&mut self, i: usize) {
        debug_assert!(i < self.len);
        self.words[i / 64] ^= 1 << (i % 64);
    }

    /// Appends one bit.
    #[inline]
    pub fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        if let Some(last) = self.words.last_mut() {
            *last |= u64::from(bit) << (self.len % 64);
        }
        self.len += 1;
    }

    /// 64 bits from bit `start` on, zeros past the end.
    #[inline]
    pub(crate) fn word_at(&self, start: usize) -> u64 {
        let (first, shift) = (start / 64, start % 64);
        let word = |i: usize| self.words.get(i).copied().unwrap_or(0);
        if shift == 0 { word(first) } else { word(first) >> shift | word(first + 1) << (64 - shift) }
    }

    /// Appends the `count` low bits of a word, at most 64 of them; the others must be zero.
    #[inline]
    pub(crate) fn append(&mut self, bits: u64, count: usize) {
        let shift = self.len % 64;
        self.len += count;
        match self.words.last_mut() {
            Some(last) if shift > 0 => {
                *last |= bits << shift;
                if shift + count > 64 {
                    self.words.push(bits >> (64 - shift));
                }
            }
            _ if count > 0 => self.words.push(bits),
            _ => {}
        }
    }

    /// Appends all of `more`.
    pub(crate) fn extend(&mut self, more: &Self) {
        for (i, &word) in more.words.iter().enumerate() {
            self.append(word, (more.len - 64 * i).min(64));
        }
    }

    /// Cuts off all bits from bit `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.words.truncate(len.div_ceil(64));
            self.len = len;
            if let Some(last) = self.words.last_mut() {
                *last &= tail_mask(len);
            }
        }
    }

    /// `len` bits from bit `start`; both must lie inside.
    pub fn slice(&self, start: usize, len: usize) -> Self {
        debug_assert!(start + len <= self.len);
        let words = (0..len.div_ceil(64)).map(|i| self.word_at(start + 64 * i)).collect();
        Self::from_words(words, len)
    }

    /// Parity of bits `start..end`, which must lie inside.
    pub fn parity(&self, start: usize, end: usize) -> bool {
        if start >= end {
            return false;
        }
        let (first, last) = (start / 64, (end - 1) / 64);
        let head = u64::MAX << (start % 64);
        let tail = tail_mask(end);
        if first == last {
            return (self.words[first] & head & tail).count_ones() & 1 == 1;
        }
        let middle = self.words[first + 1..last].iter().fold(0, |acc, word| acc ^ word);
        (middle ^ (self.words[first] & head) ^ (self.words[last] & tail)).count_ones() & 1 == 1
    }
}

/// Mask of the bits in use in the last word of a string of `len` bits.
fn tail_mask(len: usize) -> u64 {
    if len.is_multiple_of(64) { u64::MAX } else { u64::MAX >> (64 - len % 64) }
}

impl Drop for Bits {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bits({} bits, hidden)", self.len)
    }
}

/// Bits picked out of many, without a branch that nobody can guess. There is always a word more
/// than the bits need.
pub(crate) struct Picked {
    words: Vec<u64>,
    len: usize,
}

impl Picked {
    /// None yet, with room for `len`.
    pub(crate) fn with_capacity(len: usize) -> Self {
        Self { words: Vec::with_capacity(len / 64 + 1), len: 0 }
    }

    /// Appends `bit` where it is `wanted`.
    #[inline]
    pub(crate) fn push_if(&mut self, wanted: bool, bit: bool) {
        let at = self.len / 64;
        if at == self.words.len() {
            self.words.push(0);
        }
        self.words[at] |= u64::from(wanted & bit) << (self.len % 64);
        self.len += usize::from(wanted);
    }

    /// What was picked.
    pub(crate) fn bits(mut self) -> Bits {
        Bits::from_words(std::mem::take(&mut self.words), self.len)
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

/// Secret key bits of a finished block, wiped when dropped.
#[derive(Debug)]
pub struct SecretBits(Bits);

impl SecretBits {
    pub(crate) fn new(bits: Bits) -> Self {
        Self(bits)
    }

    /// How many bits.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bits as whole bytes for a [`crate::Pool`]; up to seven trailing bits are dropped.
    pub fn expose_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let mut out = Vec::with_capacity(self.0.len().div_ceil(8));
        self.0.write_bytes(&mut out);
        out.truncate(self.0.len() / 8);
        zeroize::Zeroizing::new(out)
    }
}
