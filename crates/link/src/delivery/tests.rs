use crypto::{KeyMaterial, Secret32, SharedSecret};
use proptest::prelude::*;
use session::mesh::{DeliveredKey, DeliveryFrame, PadRange};
use types::mesh::KeyType;
use types::{Hash, KeyId, cbor};
use zeroize::Zeroizing;

use super::{DeliveryError, open, pad_bits, seal};
use crate::pad::{Pad, PadBits};

fn bits(bytes: Vec<u8>) -> PadBits {
    PadBits::new(Zeroizing::new(bytes))
}

fn described(number: u64) -> DeliveredKey {
    DeliveredKey {
        key: KeyId::new(number),
        key_type: KeyType::MeshSession,
        participants: vec!["n1".parse().unwrap(), "n2".parse().unwrap()],
        salt: Hash::new([7; 32]),
        masked: Hash::ZERO,
        mix: true,
    }
}

fn sealed(shares: &[[u8; 32]], secret: &SharedSecret, pad: Option<&[u8]>) -> DeliveryFrame {
    let materials: Vec<_> = shares.iter().map(KeyMaterial::from_bytes).collect();
    let keys: Vec<_> = materials.iter().enumerate().map(|(at, share)| (described(at as u64), share)).collect();
    let pad = pad
        .map(|bytes| Pad { range: PadRange { offset: 64, len: 8 * bytes.len() as u64 }, bits: bits(bytes.to_vec()) });
    seal(&keys, vec![1, 2, 3], secret, pad.as_ref()).unwrap()
}

proptest! {
    /// KM-03, SM-05: what was sealed opens, with and without a pad; one flipped bit anywhere in the
    /// frame, the pad or the secret is refused or gives other shares, never the same ones.
    #[test]
    fn only_the_frame_that_was_sealed_opens(
        shares in prop::collection::vec(any::<[u8; 32]>(), 1..6),
        secret: [u8; 32],
        noise in prop::collection::vec(any::<u8>(), 224),
        padded: bool,
        at: prop::sample::Index,
    ) {
        let kem = SharedSecret::from_bytes(&secret);
        let noise = &noise[..(pad_bits(shares.len()) / 8) as usize];
        let pad = padded.then_some(noise);
        let frame = sealed(&shares, &kem, pad);
        let held = pad.map(|bytes| bits(bytes.to_vec()));
        let opened = open(&frame, &kem, held.as_ref()).unwrap();
        prop_assert!(opened.iter().map(|share| *share.expose()).eq(shares.iter().copied()));

        let mut bytes = cbor::to_vec(&frame);
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(altered) = cbor::from_slice::<DeliveryFrame>(&bytes) {
            prop_assert!(open(&altered, &kem, held.as_ref()).is_err());
        }
        if let Some(bytes) = pad {
            // the tag's part of the pad, wrong
            let mut wrong = bytes.to_vec();
            let last = wrong.len() - 1 - at.index(16);
            wrong[last] ^= 1;
            prop_assert_eq!(open(&frame, &kem, Some(&bits(wrong))).unwrap_err(), DeliveryError::Tag);
        }

    }
}

/// Either alone protects: with the KEM secret known, a share stays hidden behind the pad, and with
/// the pad known behind the KEM.
#[test]
fn pad_and_kem_each_mask_every_share() {
    let kem = SharedSecret::from_bytes(&[9; 32]);
    let with_pad = sealed(&[[5; 32]], &kem, Some(&[0x3c; 64]));
    let other_pad = sealed(&[[5; 32]], &kem, Some(&[0xc3; 64]));
    let other_kem = sealed(&[[5; 32]], &SharedSecret::from_bytes(&[8; 32]), Some(&[0x3c; 64]));
    assert_ne!(with_pad.keys[0].masked, other_pad.keys[0].masked);
    assert_ne!(with_pad.keys[0].masked, other_kem.keys[0].masked);
}

/// RFC 8439 section 2.5.2: the authenticator of the library under its one-time key.
#[test]
fn the_authenticator_is_the_one_of_the_standard() {
    use poly1305::universal_hash::KeyInit;
    let key = [
        0x85, 0xd6, 0xbe, 0x78, 0x57, 0x55, 0x6d, 0x33, 0x7f, 0x44, 0x52, 0xfe, 0x42, 0xd5, 0x06, 0xa8, 0x01, 0x03,
        0x80, 0x8a, 0xfb, 0x0d, 0xb2, 0xfd, 0x4a, 0xbf, 0xf6, 0xaf, 0x41, 0x49, 0xf5, 0x1b,
    ];
    let tag = poly1305::Poly1305::new(&key.into()).compute_unpadded(b"Cryptographic Forum Research Group");
    let wanted = [0xa8, 0x06, 0x1d, 0xc1, 0x30, 0x51, 0x36, 0xc6, 0xc2, 0x2b, 0x8b, 0xaf, 0x0c, 0x01, 0x27, 0xa9];
    assert_eq!(tag.as_slice(), wanted);
}
