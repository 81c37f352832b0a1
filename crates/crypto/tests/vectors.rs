//! Third-party vectors (Project Wycheproof) through the functions that the product calls.
#![allow(clippy::unwrap_used)] // a test may stop at a surprise, in its parts too

use crypto::{AeadAlgorithm, AeadKey, RecordKey, Secret32, ed25519_verify, mldsa44_verify};
use wycheproof::{TestResult, aead, eddsa, mldsa_verify};

/// SM-06a, SM-06d
#[test]
fn sealing_agrees_with_the_vectors() {
    let algorithms = [
        (aead::TestName::ChaCha20Poly1305, AeadAlgorithm::ChaCha20Poly1305),
        (aead::TestName::AesGcm, AeadAlgorithm::Aes256Gcm),
    ];
    for (name, algorithm) in algorithms {
        let set = aead::TestSet::load(name).unwrap();
        let mut checked = 0;
        for group in set.test_groups {
            // lengths that the types of the product do not have
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in group.tests {
                let key = AeadKey::new(algorithm, &RecordKey::from_slice(&test.key).unwrap()).unwrap();
                let nonce: [u8; 12] = test.nonce.as_ref().try_into().unwrap();
                let mut sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
                let opened = key.open(&nonce, &test.aad, &mut sealed).map(|text| text.to_vec());
                if test.result == TestResult::Valid {
                    assert_eq!(opened.as_deref(), Ok(test.pt.as_ref()), "{name:?} {}", test.tc_id);
                    let mut text = test.pt.to_vec();
                    key.seal(&nonce, &test.aad, &mut text).unwrap();
                    assert_eq!(text, [test.ct.as_ref(), test.tag.as_ref()].concat(), "{name:?} {}", test.tc_id);
                } else {
                    assert!(opened.is_err(), "{name:?} {}", test.tc_id);
                }
                checked += 1;
            }
        }
        assert!(checked > 30, "{name:?}: {checked}");
    }
}

/// QT-06
#[test]
fn ed25519_agrees_with_the_vectors() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut checked = 0;
    for group in set.test_groups {
        for test in group.tests {
            let holds = ed25519_verify(&group.key.pk, &test.msg, &test.sig);
            assert_eq!(holds, test.result == TestResult::Valid, "{}", test.tc_id);
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

/// QT-06
#[test]
fn mldsa44_agrees_with_the_vectors() {
    let set = mldsa_verify::TestSet::load(mldsa_verify::TestName::MlDsa44Verify).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups {
        for test in group.tests {
            // the product signs with an empty context only
            if test.ctx.as_ref().is_some_and(|context| !context.is_empty()) {
                continue;
            }
            let holds = mldsa44_verify(&group.pubkey, &test.msg, &test.sig);
            assert_eq!(holds, test.result == TestResult::Valid, "{}", test.tc_id);
            if holds { valid += 1 } else { invalid += 1 }
        }
    }
    assert!(valid > 5 && invalid > 5, "{valid} {invalid}");
}
