use crate::bits::Bits;
use crate::cascade::FRAME_BITS;

/// The bits of a frame in the order of one pass, kept as running parities: any range is a matter of
/// two look-ups, and a corrected bit turns over a word and the parities of the words after it.
pub(super) struct Order {
    /// In each word, bit i is the parity of bits 0 to i.
    inner: Bits,
    /// Bit w is the parity of the words before word w.
    before: [u64; FRAME_BITS / 64 / 64 + 1],
}

impl Order {
    /// Of whole words.
    pub(super) fn new(mut words: Vec<u64>) -> Self {
        let mut before = [0; FRAME_BITS / 64 / 64 + 1];
        let mut parity = 0;
        for (w, word) in words.iter_mut().enumerate() {
            for shift in [1, 2, 4, 8, 16, 32] {
                *word ^= *word << shift;
            }
            parity ^= *word >> 63;
            before[(w + 1) / 64] |= parity << ((w + 1) % 64);
        }
        let len = words.len() * 64;
        Self { inner: Bits::from_words(words, len), before }
    }

    /// Parity of the bits before `end`: 0 or 1.
    #[inline]
    fn until(&self, end: usize) -> u64 {
        let (w, b) = (end / 64, end % 64);
        let inner = self.inner.words().get(w).copied().unwrap_or(0);
        (self.before[w / 64] >> (w % 64) ^ inner << 1 >> b) & 1
    }

    /// Parity of bits `start..end`.
    #[inline]
    pub(super) fn parity(&self, start: usize, end: usize) -> bool {
        self.until(start) != self.until(end)
    }

    /// Turns bit `i` over.
    #[inline]
    pub(super) fn flip(&mut self, i: usize) {
        self.inner.words_mut()[i / 64] ^= u64::MAX << (i % 64);
        let next = i / 64 + 1;
        self.before[next / 64] ^= u64::MAX << (next % 64);
        self.before[next / 64 + 1..].iter_mut().for_each(|word| *word ^= u64::MAX);
    }

    /// The bits themselves.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        self.inner.words().iter().map(|word| word ^ word << 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Order;
    use crate::bits::Bits;

    proptest! {
        /// Running parities are those of the plain bits, whatever is turned over.
        #[test]
        fn ranges_are_those_of_the_bits(
            words in prop::collection::vec(any::<u64>(), 1..=256),
            flips in prop::collection::vec(0_usize..1 << 14, 0..20),
            ranges in prop::collection::vec((0_usize..=1 << 14, 0_usize..=1 << 14), 1..40),
        ) {
            let len = words.len() * 64;
            let mut bits = Bits::from_words(words.clone(), len);
            let mut order = Order::new(words);
            for flip in flips {
                bits.flip(flip % len);
                order.flip(flip % len);
            }
            prop_assert_eq!(order.words().collect::<Vec<_>>(), bits.words());
            for (a, b) in ranges {
                let (a, b) = (a.min(b) % (len + 1), a.max(b) % (len + 1));
                let (start, end) = (a.min(b), a.max(b));
                prop_assert_eq!(order.parity(start, end), bits.parity(start, end));
            }
        }
    }
}
