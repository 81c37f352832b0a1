use super::{KemCiphertext, KemError, KemPublic, KemSecret, combine, encapsulate};
use crate::secret::Secret32 as _;
use crate::{Entropy, SuiteId};

const SUITES: [SuiteId; 2] = [SuiteId::X25519_MLKEM1024, SuiteId::X25519_MLKEM768];

/// SM-05, KM-09
#[test]
fn both_ends_get_the_same_fresh_secret() {
    let entropy = Entropy::system().unwrap();
    for suite in SUITES {
        let secret = KemSecret::generate(suite, &entropy).unwrap();
        let public = KemPublic::from_bytes(&secret.public().to_bytes()).unwrap();
        let (ciphertext, sent) = encapsulate(&public, &entropy).unwrap();
        let ciphertext = KemCiphertext::from_bytes(&ciphertext.to_bytes()).unwrap();
        let received = secret.decapsulate(&ciphertext).unwrap();
        assert_eq!(sent.expose(), received.expose());
        let (_, again) = encapsulate(&public, &entropy).unwrap();
        assert_ne!(sent.expose(), again.expose());
    }
}

/// SM-05: whoever knows only one of the two inner secrets learns nothing of the result.
#[test]
fn each_inner_secret_and_each_public_part_changes_the_result() {
    let entropy = Entropy::system().unwrap();
    let secret = KemSecret::generate(SuiteId::X25519_MLKEM1024, &entropy).unwrap();
    let (ciphertext, _) = encapsulate(secret.public(), &entropy).unwrap();
    let base = combine(&[1; 32], &[2; 32], &ciphertext, secret.public());
    let mut results = vec![
        combine(&[3; 32], &[2; 32], &ciphertext, secret.public()),
        combine(&[1; 32], &[3; 32], &ciphertext, secret.public()),
        combine(&[2; 32], &[1; 32], &ciphertext, secret.public()),
    ];
    for field in 0..2 {
        let (mut text, mut public) = (ciphertext.clone(), secret.public().clone());
        let (in_text, in_public) =
            if field == 0 { (&mut text.x25519, &mut public.x25519) } else { (&mut text.mlkem, &mut public.mlkem) };
        in_text[7] ^= 1;
        in_public[7] ^= 1;
        results.push(combine(&[1; 32], &[2; 32], &text, secret.public()));
        results.push(combine(&[1; 32], &[2; 32], &ciphertext, &public));
    }
    assert!(results.iter().all(|result| result.expose() != base.expose()));
}

/// SM-05
#[test]
fn an_altered_half_never_gives_the_secret() {
    let entropy = Entropy::system().unwrap();
    for suite in SUITES {
        let secret = KemSecret::generate(suite, &entropy).unwrap();
        let (ciphertext, sent) = encapsulate(secret.public(), &entropy).unwrap();
        let mut classical = ciphertext.clone();
        classical.x25519[3] ^= 1;
        let mut pq = ciphertext.clone();
        pq.mlkem[500] ^= 1;
        for altered in [classical, pq] {
            assert!(secret.decapsulate(&altered).map_or(true, |got| got.expose() != sent.expose()));
        }
        let other = KemSecret::generate(suite, &entropy).unwrap();
        assert!(other.decapsulate(&ciphertext).map_or(true, |got| got.expose() != sent.expose()));
    }
}

#[test]
fn bad_peers_are_refused() {
    let entropy = Entropy::system().unwrap();
    let secret = KemSecret::generate(SuiteId::X25519_MLKEM768, &entropy).unwrap();
    let mut low_order = secret.public().clone();
    low_order.x25519.fill(0);
    assert!(matches!(encapsulate(&low_order, &entropy), Err(KemError::Peer)));

    // coefficients at or above the modulus (FIPS 203 section 7.2)
    let mut unreduced = secret.public().clone();
    unreduced.mlkem[..1_152].fill(0xff);
    assert!(matches!(encapsulate(&unreduced, &entropy), Err(KemError::Peer)));

    let (mut ciphertext, _) = encapsulate(secret.public(), &entropy).unwrap();
    ciphertext.suite = SuiteId::X25519_MLKEM1024;
    assert!(matches!(secret.decapsulate(&ciphertext), Err(KemError::Peer)));
    assert!(KemCiphertext::from_bytes(&ciphertext.to_bytes()).is_err());
    assert!(matches!(KemSecret::generate(SuiteId::ED25519_MLDSA65, &entropy), Err(KemError::Suite(_))));
}
