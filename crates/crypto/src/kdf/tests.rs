use proptest::prelude::*;
use types::Label;

use super::{derive, equal, hkdf, mac, mac_verify};
use crate::secret::{AuthKey, Secret32};

type Vector<'a> = (&'a [u8], &'a [u8], &'a [u8], &'a str);

/// RFC 5869 appendix A.1 to A.3.
#[test]
fn hkdf_gives_the_vectors_of_its_rfc() {
    let a2: Vec<u8> = (0x00..=0x4f).collect();
    let a2_salt: Vec<u8> = (0x60..=0xaf).collect();
    let a2_info: Vec<u8> = (0xb0..=0xff).collect();
    let a1_salt: Vec<u8> = (0x00..=0x0c).collect();
    let a1_info: Vec<u8> = (0xf0..=0xf9).collect();
    let cases: [Vector<'_>; 3] = [
        (
            &[0x0b; 22],
            &a1_salt,
            &a1_info,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            &a2,
            &a2_salt,
            &a2_info,
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (&[0x0b; 22], &[], &[], "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
    ];
    for (ikm, salt, info, expected) in cases {
        let mut out = vec![0; expected.len() / 2];
        hkdf(salt, ikm, info, &mut out);
        assert_eq!(hex::encode(out), expected);
    }
}

struct Len(usize);
impl aws_lc_rs::hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

proptest! {
    #[test]
    fn hkdf_agrees_with_the_library(
        ikm: [u8; 32], salt in proptest::collection::vec(any::<u8>(), 0..80),
        info in proptest::collection::vec(any::<u8>(), 0..80), len in 1..=8_160_usize,
    ) {
        use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
        let mut ours = vec![0; len];
        hkdf(&salt, &ikm, &info, &mut ours);
        let mut theirs = vec![0; len];
        let prk = Salt::new(HKDF_SHA256, &salt).extract(&ikm);
        prk.expand(&[&info], Len(len)).unwrap().fill(&mut theirs).unwrap();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn a_tag_verifies_only_its_own_message(key: [u8; 32], message: Vec<u8>, flip in 0..32_usize) {
        let key = AuthKey::from_bytes(&key);
        let mut tag = mac(&key, Label::KEY_CONFIRM, &[&message]);
        prop_assert!(mac_verify(&key, Label::KEY_CONFIRM, &[&message], &tag));
        prop_assert!(!mac_verify(&key, Label::PAIR_KEY, &[&message], &tag));
        prop_assert!(!mac_verify(&key, Label::KEY_CONFIRM, &[&message, b""], &tag));
        prop_assert!(!mac_verify(&key, Label::KEY_CONFIRM, &[&message], &tag[..31]));
        tag[flip] ^= 1;
        prop_assert!(!mac_verify(&key, Label::KEY_CONFIRM, &[&message], &tag));
    }
}

#[test]
fn labels_and_parts_separate_derivations() {
    let base = derive::<32>(Label::PAIR_KEY, b"secret", b"salt", &[b"ab", b"c"]);
    for other in [
        derive::<32>(Label::STREAM, b"secret", b"salt", &[b"ab", b"c"]),
        derive::<32>(Label::PAIR_KEY, b"secret", b"salt", &[b"a", b"bc"]),
        derive::<32>(Label::PAIR_KEY, b"secret", b"tlas", &[b"ab", b"c"]),
        derive::<32>(Label::PAIR_KEY, b"terces", b"salt", &[b"ab", b"c"]),
    ] {
        assert!(!equal(&*base, &*other));
    }
}
