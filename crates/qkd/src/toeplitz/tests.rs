use proptest::prelude::*;

use super::{hash, seed_len};
use crate::bits::Bits;
use crate::seeded::Seeded;

pub(crate) fn random_bits(rng: &mut Seeded, len: usize) -> Bits {
    Bits::from_words((0..len.div_ceil(64)).map(|_| rng.word()).collect(), len)
}

/// The definition, one bit at a time.
pub(crate) fn naive(seed: &Bits, input: &Bits, output: usize) -> Bits {
    let mut out = Bits::default();
    for i in 0..output {
        let sum = (0..input.len()).filter(|&j| input.get(j) && seed.get(i + input.len() - 1 - j)).count();
        out.push(sum % 2 == 1);
    }
    out
}

proptest! {
    /// Privacy amplification is the matrix product, bit for bit.
    #[test]
    fn equals_the_definition(n in 1_usize..700, m in 1_usize..500, seed: u64) {
        let mut rng = Seeded::new(seed);
        let (diagonals, input) = (random_bits(&mut rng, seed_len(n, m)), random_bits(&mut rng, n));
        let fast = hash(&diagonals, &input, m).unwrap();
        let slow = naive(&diagonals, &input, m);
        prop_assert_eq!(fast.words(), slow.words());
    }
}

#[test]
fn a_seed_of_another_length_is_refused() {
    let mut rng = Seeded::new(1);
    let (seed, input) = (random_bits(&mut rng, 100), random_bits(&mut rng, 64));
    assert!(hash(&seed, &input, 36).is_none());
    assert!(hash(&seed, &input, 37).is_some());
}
