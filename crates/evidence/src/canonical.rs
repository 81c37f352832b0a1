//! A check of canonical CBOR that needs no schema.
//!
//! The log uses the subset of RFC 8949 core deterministic encoding (section 4.2.1) without tags,
//! floats and undefined: shortest heads, definite lengths, map keys in ascending byte order.

/// Deepest nesting of arrays and maps in an entry.
pub const DEPTH: u32 = 32;

/// Why bytes do not start with one canonical item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// The input ends inside the item.
    #[error("the value ends too early")]
    Truncated,
    /// The item is not canonical, or not in the subset.
    #[error("not in canonical form (RFC 8949 section 4.2.1)")]
    NotCanonical,
    /// Arrays and maps nest too deeply.
    #[error("nested more than {DEPTH} levels deep")]
    TooDeep,
}

/// Length in bytes of the one canonical item that `bytes` starts with; more may follow it.
pub fn item_len(bytes: &[u8]) -> Result<usize, ItemError> {
    let mut walker = Walker { bytes, at: 0 };
    walker.item(DEPTH)?;
    Ok(walker.at)
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walker<'_> {
    fn take(&mut self, len: u64) -> Result<&[u8], ItemError> {
        let len = usize::try_from(len).map_err(|_| ItemError::Truncated)?;
        let end = self.at.checked_add(len).ok_or(ItemError::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(ItemError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    /// Major type, additional information and argument of the next head.
    fn head(&mut self) -> Result<(u8, u8, u64), ItemError> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let (width, least) = match info {
            0..=23 => return Ok((major, info, u64::from(info))),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err(ItemError::NotCanonical),
        };
        let argument = self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        if argument < least { Err(ItemError::NotCanonical) } else { Ok((major, info, argument)) }
    }

    fn item(&mut self, depth: u32) -> Result<(), ItemError> {
        let (major, info, argument) = self.head()?;
        match major {
            0 | 1 => Ok(()),
            2 => self.take(argument).map(|_| ()),
            3 => {
                let text = self.take(argument)?;
                std::str::from_utf8(text).map(|_| ()).map_err(|_| ItemError::NotCanonical)
            }
            4 => {
                let depth = depth.checked_sub(1).ok_or(ItemError::TooDeep)?;
                (0..argument).try_for_each(|_| self.item(depth))
            }
            5 => self.map(argument, depth.checked_sub(1).ok_or(ItemError::TooDeep)?),
            // false, true and null
            7 if (20..=22).contains(&info) => Ok(()),
            _ => Err(ItemError::NotCanonical),
        }
    }

    fn map(&mut self, pairs: u64, depth: u32) -> Result<(), ItemError> {
        let mut last_key = 0..0;
        for pair in 0..pairs {
            let start = self.at;
            self.item(depth)?;
            let key = start..self.at;
            if pair > 0 && self.bytes[key.clone()] <= self.bytes[last_key] {
                return Err(ItemError::NotCanonical);
            }
            last_key = key;
            self.item(depth)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ItemError, item_len};

    /// QT-10: the accepted and refused forms of RFC 8949 section 4.2.1 and appendix A.
    #[test]
    fn one_form_of_each_value_is_accepted() {
        let good = ["00", "17", "1818", "1903e8", "1bffffffffffffffff", "3903e7", "40", "6161", "80", "a0", "f5", "f6"];
        for item in good {
            let bytes = hex::decode(item).unwrap();
            assert_eq!(item_len(&bytes), Ok(bytes.len()), "{item}");
        }
        let bad = [
            "1817",
            "190017",
            "1a00000001",
            "1b0000000000000001",
            "9f00ff",
            "5f4100ff",
            "c000",
            "f7",
            "f93c00",
            "61ff",
            "1c",
        ];
        for item in bad {
            assert_eq!(item_len(&hex::decode(item).unwrap()), Err(ItemError::NotCanonical), "{item}");
        }
        assert_eq!(item_len(&hex::decode("a2016161026162").unwrap()), Ok(7));
        assert_eq!(item_len(&hex::decode("a2026161016162").unwrap()), Err(ItemError::NotCanonical));
        assert_eq!(item_len(&hex::decode("a2016161016162").unwrap()), Err(ItemError::NotCanonical));
    }

    #[test]
    fn ends_and_depth_are_bounded() {
        assert_eq!(item_len(&[]), Err(ItemError::Truncated));
        assert_eq!(item_len(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(ItemError::Truncated));
        assert_eq!(item_len(&[0x81; 200]), Err(ItemError::TooDeep));
        assert_eq!(item_len(&[0x00, 0xff]), Ok(1));
    }
}
