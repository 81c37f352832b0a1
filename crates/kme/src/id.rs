use std::fmt;
use std::str::FromStr;

use crypto::{AuthKey, kdf};
use minicbor::{Decode, Encode};
pub use types::sae::{ID_LEN, ParseIdError};
use types::{Hash, Label};
pub use types::{KmeId, SaeId};

/// Bytes of one unit of a sheet: the grain in which keys are cut.
pub const UNIT: usize = 8;
/// Most units of a sheet: what the 12 bits of `custom_b` in a key's identifier can name.
pub const SHEET_UNITS: usize = 4096;
/// Longest key, in bytes: what 13 bits of its identifier can name, and one sheet can hold.
pub const KEY_LEN: usize = 8191;

/// Number of a sheet, 48 random bits, the same at both KMEs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct SheetTag(u64);

impl SheetTag {
    /// From six random bytes.
    pub(crate) fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes.iter().fold(0, |tag, byte| tag << 8 | u64::from(*byte)))
    }

    fn to_bytes(self) -> [u8; 6] {
        let [_, _, bytes @ ..] = self.0.to_be_bytes();
        bytes
    }
}

impl fmt::Display for SheetTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl FromStr for SheetTag {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 6];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ())?;
        Ok(Self::from_bytes(bytes))
    }
}

/// Where a key lies: a stretch of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tag: SheetTag,
    /// First unit.
    pub(crate) start: u16,
    /// Length in bytes; the last unit may be used in part.
    pub(crate) len: u16,
}

impl Place {
    /// Units that the key takes up.
    pub(crate) fn units(self) -> u16 {
        self.len.div_ceil(UNIT as u16)
    }

    /// Bytes of the sheet that the key takes up.
    pub(crate) fn bytes(self) -> std::ops::Range<usize> {
        let start = usize::from(self.start) * UNIT;
        start..start + usize::from(self.len)
    }
}

/// The identifier of a key: a UUID of version 8 (RFC 9562 section 5.8).
///
/// ```text
/// custom_a 48 bits  sheet     custom_b 12 bits  first unit     custom_c 62 bits  length 13 ‖ tag 49
/// ```
///
/// The tag authenticates the rest under the sheet's own key, so that a key is found without an index
/// and nobody names a key that was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct KeyUuid(#[cbor(with = "minicbor::bytes")] [u8; 16]);

impl KeyUuid {
    pub(crate) fn new(place: Place, key: &AuthKey) -> Self {
        let tail = u64::from(place.len & 0x1fff) << 49 | Self::mac(place, key);
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&place.tag.to_bytes());
        bytes[6..8].copy_from_slice(&(0x8000 | place.start & 0xfff).to_be_bytes());
        bytes[8..].copy_from_slice(&(1 << 63 | tail).to_be_bytes());
        Self(bytes)
    }

    fn mac(place: Place, key: &AuthKey) -> u64 {
        let (start, len) = (place.start.to_be_bytes(), place.len.to_be_bytes());
        let tag = kdf::mac(key, Label::KME_KEY_ID, &[&place.tag.to_bytes(), &start, &len]);
        let mut head = [0; 8];
        head.copy_from_slice(&tag[..8]);
        u64::from_be_bytes(head) >> 15
    }

    /// The place it claims; `None` where it is not one of ours.
    pub(crate) fn place(&self) -> Option<Place> {
        let [a, b, c, d, e, f, v, w, tail @ ..] = self.0;
        let (middle, tail) = (u16::from_be_bytes([v, w]), u64::from_be_bytes(tail));
        let len = (tail >> 49 & 0x1fff) as u16;
        let well_formed = middle >> 12 == 8 && tail >> 62 == 0b10 && len > 0;
        well_formed.then_some(Place { tag: SheetTag::from_bytes([a, b, c, d, e, f]), start: middle & 0xfff, len })
    }

    /// Whether it was made for `place` under `key`.
    pub(crate) fn is_genuine(&self, place: Place, key: &AuthKey) -> bool {
        kdf::equal(&Self::new(place, key).0, &self.0)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its name in evidence, which tells nothing to who does not hold the identifier.
    pub fn evidence(&self) -> Hash {
        Label::KME_EVIDENCE.hash(&[&self.0])
    }

    /// Its text: 36 ASCII characters (RFC 9562 section 4).
    pub fn text(&self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            out[at] = DIGITS[usize::from(byte >> 4)];
            out[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        out
    }
}

impl fmt::Display for KeyUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

/// The text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key_ID shall be a UUID")]
pub struct ParseUuidError;

impl FromStr for KeyUuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text: &[u8; 36] = text.as_bytes().try_into().map_err(|_| ParseUuidError)?;
        let mut digits = [0; 32];
        let mut at = 0;
        for (index, byte) in text.iter().enumerate() {
            if matches!(index, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return Err(ParseUuidError);
                }
            } else {
                digits[at] = *byte;
                at += 1;
            }
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseUuidError)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use crypto::{AuthKey, Secret32};
    use proptest::prelude::*;

    use super::{KeyUuid, Place, SheetTag};

    proptest! {
        #[test]
        fn an_identifier_names_its_place_and_no_other(tag: [u8; 6], start in 0_u16..4096, len in 1_u16..8192, flip in 0_usize..128) {
            let key = AuthKey::from_bytes(&[7; 32]);
            let place = Place { tag: SheetTag::from_bytes(tag), start, len };
            let id = KeyUuid::new(place, &key);
            prop_assert_eq!(id.place(), Some(place));
            prop_assert!(id.is_genuine(place, &key));
            prop_assert_eq!(id.to_string().parse::<KeyUuid>(), Ok(id));
            prop_assert_eq!(id.to_string().to_uppercase().parse::<KeyUuid>(), Ok(id));
            let mut bytes = id.0;
            bytes[flip / 8] ^= 1 << (flip % 8);
            let other = KeyUuid(bytes);
            prop_assert!(!other.place().is_some_and(|place| other.is_genuine(place, &key)));
        }
    }

    #[test]
    fn only_the_usual_form_of_a_uuid_is_one() {
        assert!("550e8400-e29b-41d4-a716-446655440000".parse::<KeyUuid>().is_ok());
        for bad in [
            "",
            "550e8400e29b41d4a716446655440000",
            "550e8400-e29b-41d4-a716-44665544000g",
            "{550e8400-e29b-41d4-a716-446655440000}",
        ] {
            assert!(bad.parse::<KeyUuid>().is_err(), "{bad}");
        }
    }
}
