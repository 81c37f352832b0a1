use proptest::prelude::*;

use super::{PATHS, Shape, fold, level_of, node_above, sums_of};
use crate::bits::Bits;

/// Bit `place` of the cells' bits, as the shape lays them out.
fn laid_out(shape: &Shape, bits: &Bits) -> Vec<bool> {
    let places = shape.words_end() * 64;
    (0..places).map(|place| shape.position(place).is_some_and(|at| at < bits.len() && bits.get(at))).collect()
}

fn naive(bits: &[bool], start: usize, end: usize) -> bool {
    (start..end).fold(false, |sum, i| sum ^ bits.get(i).is_some_and(|&bit| bit))
}

#[test]
fn a_node_is_named_by_the_end_of_its_left_half() {
    for (leaf, path) in PATHS.iter().enumerate() {
        for level in 1..=6 {
            let node = node_above(leaf, level);
            assert_eq!(level_of(node), level);
            assert!(path >> node & 1 == 1);
        }
        assert_eq!(path.count_ones(), 7);
        assert_eq!(fold(1 << leaf), sums_of(leaf));
    }
}

proptest! {
    /// KM-09: every parity that may be asked for, and every block's, is that of the plain bits.
    #[test]
    fn parities_are_those_of_the_bits(
        words in prop::collection::vec(any::<u64>(), 1..=256),
        level in 1_u32..=13,
        balanced in any::<bool>(),
    ) {
        let half = (words.len() * 64).next_power_of_two().trailing_zeros() - 1;
        let level = if balanced { half } else { level.min(half) };
        let shape = Shape::new(words.len(), level, balanced);
        let sums = shape.sums(&words);
        let bits = Bits::from_words(words.clone(), words.len() * 64);
        let plain = laid_out(&shape, &bits);
        for position in 0..bits.len() {
            prop_assert_eq!(shape.position(shape.place(position)), Some(position));
        }
        for address in 0..(shape.cells() * 64 + 200).min(1 << 16) {
            let answer = shape.left_halves(&sums, &[(address as u16).to_le_bytes()]);
            let (cell, node) = (address / 64, address % 64);
            if cell >= shape.cells() || node == 63 {
                prop_assert!(answer.is_none());
                continue;
            }
            let tier = shape.tier(cell);
            let node_level = level_of(node) + 6 * tier as u32;
            let half = 1 << (node_level - 1);
            let middle = ((cell - shape.tiers()[tier]) * 64 + node + 1) << (6 * tier);
            let expected = (node_level <= level).then(|| u64::from(naive(&plain, middle - half, middle)));
            prop_assert_eq!(answer, expected, "{} {}", cell, node);
        }
        let count = if balanced { 2 } else { bits.len().div_ceil(1 << level) };
        let blocks = shape.blocks(&sums, count);
        prop_assert_eq!(blocks.len(), count);
        for block in 0..count {
            let start = shape.block_start(block);
            prop_assert_eq!(blocks.get(block), naive(&plain, start, start + (1 << level)));
        }
    }
}
