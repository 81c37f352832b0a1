use proptest::prelude::*;

use super::{Amplifier, hash, seed_len};
use crate::additive::{MIN_LOG, Transform};
use crate::bits::Bits;
use crate::seeded::Seeded;
use crate::simd::Level;

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

/// The transform equals the plain product across block borders, at every level of instructions.
#[test]
fn the_transform_equals_the_plain_product() {
    let mut rng = Seeded::new(7);
    let transform = Transform::new(Level::best());
    for (n, m) in [(1, 1), (64, 64), (65, 1), (20_000, 9_000), (2_100_000, 70), (70, 2_200_000), (2_097_153, 2_097_151)]
    {
        let (seed, input) = (random_bits(&mut rng, seed_len(n, m)), random_bits(&mut rng, n));
        let fast = Amplifier::default().by_transform(
            &seed,
            &input,
            m,
            &transform,
            super::best_log(n.div_ceil(64), m.div_ceil(64)),
        );
        assert_eq!(fast.len(), m);
        if n.min(m) < 100_000 {
            assert!(fast.words() == super::by_words(&seed, &input, m, Level::Portable).words(), "{n} x {m}");
        }
        // and the definition, at a few bits of a large product
        for i in [0, m / 3, m / 2, m - 1] {
            let sum = (0..n).filter(|&j| input.get(j) && seed.get(i + n - 1 - j)).count();
            assert_eq!(fast.get(i), sum % 2 == 1, "{n} x {m}, bit {i}");
        }
    }
    let (seed, input) = (random_bits(&mut rng, seed_len(9_000, 4_000)), random_bits(&mut rng, 9_000));
    let wanted = naive(&seed, &input, 4_000);
    for level in Level::all() {
        let transform = Transform::new(level);
        for log in MIN_LOG..=12 {
            let found = Amplifier::default().by_transform(&seed, &input, 4_000, &transform, log);
            assert!(found.words() == wanted.words(), "{level:?} 2^{log}");
        }
        let found = super::by_words(&seed, &input, 4_000, level);
        assert!(found.words() == wanted.words(), "{level:?}");
    }
}
