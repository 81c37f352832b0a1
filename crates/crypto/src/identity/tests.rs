use proptest::prelude::*;
use types::Label;

use super::{IdentityError, IdentityKey, IdentityPublic, IdentitySignature, ParseIdentityError, SEED, VerifyError};
use crate::Entropy;
use crate::secret_file::SecretFileError;
use zeroize::Zeroizing;

fn key(byte: u8) -> IdentityKey {
    IdentityKey::from_seeds(Zeroizing::new([byte; 2 * SEED])).unwrap()
}

/// QT-06
#[test]
fn either_half_flipped_fails_and_is_named() {
    let key = key(1);
    let good = key.sign(Label::SESSION_BINDING, &[b"message"]).unwrap();
    key.public().verify(Label::SESSION_BINDING, &[b"message"], &good).unwrap();

    let mut classical = good.clone();
    classical.classical[5] ^= 1;
    let refused = key.public().verify(Label::SESSION_BINDING, &[b"message"], &classical);
    assert_eq!(refused, Err(VerifyError::Classical));

    let mut pq = good.clone();
    pq.pq[1_000] ^= 1;
    assert_eq!(key.public().verify(Label::SESSION_BINDING, &[b"message"], &pq), Err(VerifyError::PostQuantum));

    let mut empty = good;
    empty.pq.clear();
    assert_eq!(key.public().verify(Label::SESSION_BINDING, &[b"message"], &empty), Err(VerifyError::PostQuantum));
}

/// QT-06: a half that is valid under one identity is not valid under another that shares its key.
#[test]
fn a_half_does_not_move_to_another_identity() {
    let (one, mut seeds) = (key(1), [2; 2 * SEED]);
    seeds[..SEED].fill(1);
    let mixed = IdentityKey::from_seeds(Zeroizing::new(seeds)).unwrap();
    assert_eq!(one.public().classical, mixed.public().classical);

    let mut signature = mixed.sign(Label::COMMAND, &[b"x"]).unwrap();
    signature.classical = one.sign(Label::COMMAND, &[b"x"]).unwrap().classical;
    assert_eq!(mixed.public().verify(Label::COMMAND, &[b"x"], &signature), Err(VerifyError::Classical));
}

#[test]
fn domain_message_and_signer_are_bound() {
    let key_1 = key(1);
    let signature = key_1.sign(Label::COMMAND, &[b"ab", b"c"]).unwrap();
    let public = key_1.public();
    assert!(public.verify(Label::COMMAND, &[b"ab", b"c"], &signature).is_ok());
    assert!(public.verify(Label::REQUEST, &[b"ab", b"c"], &signature).is_err());
    assert!(public.verify(Label::COMMAND, &[b"a", b"bc"], &signature).is_err());
    assert!(key(2).public().verify(Label::COMMAND, &[b"ab", b"c"], &signature).is_err());
}

#[test]
fn text_and_bytes_come_back_and_have_one_form() {
    let key = key(3);
    let public = key.public();
    assert_eq!(public.to_string().parse::<IdentityPublic>().unwrap(), *public);
    let signature = key.sign(Label::COMMAND, &[]).unwrap();
    assert_eq!(signature.to_string().parse::<IdentitySignature>().unwrap(), signature);

    let mut longer = public.to_bytes();
    longer.push(0);
    assert!(IdentityPublic::from_bytes(&longer).is_err());
    assert_eq!("zz".parse::<IdentityPublic>(), Err(ParseIdentityError::Hex));
    let mut short = public.clone();
    short.pq.pop();
    assert_eq!(IdentityPublic::from_bytes(&short.to_bytes()), Err(ParseIdentityError::Shape));
    let mut other_suite = public.clone();
    other_suite.suite = crate::SuiteId::new(77);
    assert_eq!(IdentityPublic::from_bytes(&other_suite.to_bytes()), Err(ParseIdentityError::Shape));
}

/// KM-14
#[test]
fn a_saved_identity_is_the_same_and_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.key");
    let key = IdentityKey::generate(&Entropy::system().unwrap()).unwrap();
    key.save(&path).unwrap();
    assert!(matches!(key.save(&path), Err(IdentityError::File(SecretFileError::Exists { .. }))));

    let loaded = IdentityKey::load(&path).unwrap();
    assert_eq!(loaded.public(), key.public());
    let signature = loaded.sign(Label::COMMAND, &[b"x"]).unwrap();
    key.public().verify(Label::COMMAND, &[b"x"], &signature).unwrap();
}

#[test]
fn a_printed_key_shows_only_its_fingerprint() {
    let shown = format!("{:?}", key(4));
    assert_eq!(shown, format!("IdentityKey({})", key(4).public().fingerprint()));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_parse_by_accident(bytes: Vec<u8>) {
        prop_assert!(IdentityPublic::from_bytes(&bytes).is_err());
        prop_assert!(IdentitySignature::from_bytes(&bytes).is_err());
    }
}
