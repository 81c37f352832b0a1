use super::{TAG_LEN, TAGS_PER_BLOCK, Transcript};
use crate::seeded::{Seeded, tag_keys};

#[test]
fn both_ends_agree_and_any_flipped_bit_is_noticed() {
    for bit in 0..(40 * 8) {
        let (mut alice, mut bob) = (Transcript::new(tag_keys(7)), Transcript::new(tag_keys(7)));
        let message = [0x5a; 40];
        alice.add(true, &message);
        let tag = alice.tag().unwrap();
        let mut changed = message;
        changed[bit / 8] ^= 1 << (bit % 8);
        bob.add(true, &changed);
        assert!(bob.check(&tag).is_err());
    }
}

#[test]
fn a_forged_tag_a_moved_border_and_a_turned_direction_are_noticed() {
    let tag_of = |parts: &[(bool, &[u8])]| {
        let mut transcript = Transcript::new(tag_keys(1));
        parts.iter().for_each(|(from_alice, bytes)| transcript.add(*from_alice, bytes));
        transcript.tag().unwrap()
    };
    let honest = tag_of(&[(true, b"ab"), (false, b"c")]);
    assert_eq!(honest, tag_of(&[(true, b"ab"), (false, b"c")]));
    assert_ne!(honest, tag_of(&[(true, b"a"), (false, b"bc")]));
    assert_ne!(honest, tag_of(&[(false, b"ab"), (true, b"c")]));
    assert_ne!(honest, tag_of(&[(true, b"ab"), (false, b"c\0")]));
    let mut transcript = Transcript::new(tag_keys(1));
    transcript.add(true, b"ab");
    for bit in 0..TAG_LEN * 8 {
        let mut transcript = Transcript::new(tag_keys(1));
        transcript.add(true, b"ab");
        transcript.add(false, b"c");
        let mut forged = honest;
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(transcript.check(&forged).is_err());
    }
}

/// A tag seen for one message does not help to forge another: over many keys, shifting the tag by
/// the difference for a guessed hash key never fits.
#[test]
fn a_tag_does_not_carry_over_to_another_message() {
    let mut rng = Seeded::new(3);
    for seed in 0..2_000 {
        let (mut honest, mut victim) = (Transcript::new(tag_keys(seed)), Transcript::new(tag_keys(seed)));
        honest.add(true, b"qber 20%");
        victim.add(true, b"qber  1%");
        let mut tag = honest.tag().unwrap();
        let mut guess = crate::field::PolyHash::new(u128::from(rng.word()) << 64 | u128::from(rng.word()));
        let mut other = guess.clone();
        guess.piece(1, b"qber 20%");
        other.piece(1, b"qber  1%");
        let shift = (guess.value() ^ other.value()).to_le_bytes();
        tag.iter_mut().zip(shift).for_each(|(t, s)| *t ^= s);
        assert!(victim.check(&tag).is_err());
    }
}

#[test]
fn pads_run_out_and_are_never_used_twice() {
    let mut transcript = Transcript::new(tag_keys(2));
    transcript.add(true, b"same");
    let tags: std::collections::BTreeSet<_> = (0..TAGS_PER_BLOCK).map(|_| transcript.tag().unwrap()).collect();
    assert_eq!(tags.len(), TAGS_PER_BLOCK);
    assert!(transcript.tag().is_none());
    assert!(transcript.check(&[0; TAG_LEN]).is_err());
}
