use super::{Factor, Group, Lanes, Level, LinearMap, Run};
use super::{
    add, convolve, groups_to_words, horner, layer, select, six_layers, sliding_products, two_layers, words_to_groups,
};
use crate::gf16;
use crate::seeded::Seeded;

fn groups(rng: &mut Seeded, len: usize) -> Vec<Group> {
    let mut words = || std::array::from_fn(|_| rng.word());
    (0..len).map(|_| Group { lo: words(), hi: words() }).collect()
}

fn flat(groups: &[Group]) -> Vec<[u64; 8]> {
    groups.iter().flat_map(|group| [group.lo, group.hi]).collect()
}

fn factor(rng: &mut Seeded, small: bool) -> Factor {
    Factor::new(rng.word() as u16 & if small { 0xff } else { 0xffff })
}

/// A factor is the product with its value, at every place of a group.
#[test]
fn a_layer_multiplies_in_the_field() {
    let mut rng = Seeded::new(1);
    for w in [0, 1, 2, 0x80, 0x100, 0xbeef] {
        let before = groups(&mut rng, 2);
        for level in Level::all() {
            let mut after = before.clone();
            layer(level, &mut after, 1, &[Factor::new(w)], false);
            for place in 0..64 {
                let at = |g: &Group| u16::from_le_bytes([g.lo, g.hi].map(|x| x[place / 8].to_le_bytes()[place % 8]));
                let (a, b) = (at(&before[0]), at(&before[1]));
                assert_eq!(at(&after[0]), a ^ gf16::mul(w, b), "{level:?}");
                assert_eq!(at(&after[1]), a ^ gf16::mul(w, b) ^ b, "{level:?}");
            }
        }
    }
}

#[test]
fn every_level_has_the_same_layers_and_undoes_them() {
    let mut rng = Seeded::new(2);
    for (half, small) in [(1, true), (2, false), (4, false), (8, true)] {
        let factors: Vec<_> = (0..16 / half).map(|_| factor(&mut rng, small)).collect();
        let low = [factors[0], factors[1]];
        let data = groups(&mut rng, 32);
        let mut wanted = data.clone();
        layer(Level::Portable, &mut wanted, half, &factors, false);
        let mut both = data.clone();
        layer(Level::Portable, &mut both, 16, &factors, false);
        layer(Level::Portable, &mut both, 8, &low, false);
        for level in Level::all() {
            let mut found = data.clone();
            layer(level, &mut found, half, &factors, false);
            assert_eq!(flat(&found), flat(&wanted), "{level:?} {half}");
            layer(level, &mut found, half, &factors, true);
            assert_eq!(flat(&found), flat(&data), "{level:?} {half}");
            two_layers(level, &mut found, factors[0], low, false);
            assert_eq!(flat(&found), flat(&both), "{level:?} {half}");
            two_layers(level, &mut found, factors[0], low, true);
            assert_eq!(flat(&found), flat(&data), "{level:?} {half}");
        }
    }
}

#[test]
fn every_level_has_the_same_lowest_layers_and_undoes_them() {
    let mut rng = Seeded::new(3);
    for small in [false, true] {
        let run = Run {
            upper: std::array::from_fn(|_| factor(&mut rng, small)),
            lower: std::array::from_fn(|_| factor(&mut rng, small)),
        };
        let lanes: Lanes = std::array::from_fn(|_| std::array::from_fn(|_| factor(&mut rng, true).0[0]));
        let data: [Group; 8] = groups(&mut rng, 8).try_into().unwrap();
        let mut wanted = data;
        six_layers(Level::Portable, &mut wanted, &run, &lanes, false);
        for level in Level::all() {
            let mut found = data;
            six_layers(level, &mut found, &run, &lanes, false);
            assert_eq!(flat(&found), flat(&wanted), "{level:?}");
            six_layers(level, &mut found, &run, &lanes, true);
            assert_eq!(flat(&found), flat(&data), "{level:?}");
        }
    }
}

#[test]
fn every_level_maps_alike() {
    let mut rng = Seeded::new(4);
    let mut wide = || u128::from(rng.word()) << 64 | u128::from(rng.word());
    let narrow = LinearMap::new(&(0..64).map(|_| wide()).collect::<Vec<_>>());
    let columns: Vec<u128> = (0..128).map(|_| wide()).collect();
    let map = LinearMap::new(&columns);
    let words: Vec<u64> = (0..128).map(|_| rng.word()).collect();
    let data = groups(&mut rng, 16);
    let (mut wanted, mut wanted_words) = (groups(&mut rng, 16), vec![0; 128]);
    words_to_groups(Level::Portable, &narrow, &words, &mut wanted);
    groups_to_words(Level::Portable, &map, &data, &mut wanted_words);
    let one = u128::from(data[0].hi[1]) << 64 | u128::from(data[0].lo[1]);
    let sum = (0..128).filter(|i| one >> i & 1 == 1).fold(0, |sum, i| sum ^ columns[i]);
    assert_eq!(wanted_words[1], sum);
    for level in Level::all() {
        let (mut found, mut found_words) = (groups(&mut rng, 16), vec![0; 128]);
        words_to_groups(level, &narrow, &words, &mut found);
        groups_to_words(level, &map, &data, &mut found_words);
        assert_eq!(flat(&found), flat(&wanted), "{level:?}");
        assert_eq!(found_words, wanted_words, "{level:?}");
    }
}

#[test]
fn every_level_adds_the_same_products() {
    let mut rng = Seeded::new(5);
    for (rows, columns) in [(1, 1), (3, 5), (9, 2), (4, 4)] {
        let (inputs, windows) = (groups(&mut rng, columns), groups(&mut rng, rows + columns - 1));
        let mut wanted = vec![Group::default(); rows];
        convolve(Level::Portable, &inputs, &windows, &mut wanted);
        let at = |g: &Group| u16::from_le_bytes([g.lo[3] as u8, g.hi[3] as u8]);
        for (r, wanted) in wanted.iter().enumerate() {
            let term = |j: usize| gf16::mul(at(&inputs[j]), at(&windows[r + columns - 1 - j]));
            assert_eq!(at(wanted), (0..columns).fold(0, |sum, j| sum ^ term(j)));
        }
        for level in Level::all() {
            let mut found = vec![Group::default(); rows];
            convolve(level, &inputs, &windows, &mut found);
            assert_eq!(flat(&found), flat(&wanted), "{level:?}");
        }
    }
}

#[test]
fn every_level_slides_and_adds_the_same() {
    let mut rng = Seeded::new(6);
    for (n, c) in [(1, 1), (3, 8), (9, 7), (20, 33), (64, 16)] {
        let x: Vec<u64> = (0..n).map(|_| rng.word()).collect();
        let s: Vec<u64> = (0..n + c - 1).map(|_| rng.word()).collect();
        let mut wanted = vec![0; c];
        sliding_products(Level::Portable, &x, &s, &mut wanted);
        for level in Level::all() {
            let mut found = vec![0; c];
            sliding_products(level, &x, &s, &mut found);
            assert_eq!(found, wanted, "{level:?} {n} {c}");
            let (mut added, mut plain) = (x.clone(), x.clone());
            add(level, &mut added, &s);
            plain.iter_mut().zip(&s).for_each(|(p, s)| *p ^= s);
            assert_eq!(added, plain);
            let (mut mixed, mask) = (x.clone(), s[0]);
            select(level, &mut mixed, &s, mask);
            let plain = x.iter().zip(&s).map(|(x, s)| x & !mask | s & mask);
            assert_eq!(mixed, plain.collect::<Vec<_>>());
        }
    }
}

/// Tags are the same whatever the processor has.
#[test]
fn every_level_has_the_same_polynomials() {
    let mut rng = Seeded::new(7);
    let mut wide = || u128::from(rng.word()) << 64 | u128::from(rng.word());
    for count in [0, 1, 2, 7, 100] {
        let (sum, point) = (wide(), wide());
        let blocks: Vec<[u8; 16]> = (0..count).map(|_| wide().to_le_bytes()).collect();
        let wanted = horner(Level::Portable, sum, point, &blocks);
        Level::all().iter().for_each(|&level| assert_eq!(horner(level, sum, point, &blocks), wanted, "{level:?}"));
    }
}
