//! Bounded readers and writers of this crate's byte forms: little-endian fixed integers and
//! shortest-form LEB128 variable ones, so that a value has one encoding.

/// The bytes are not a valid form of what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a value.
    #[error("the message ends too early")]
    Short,
    /// Bytes follow the last value.
    #[error("the message is longer than its content")]
    Long,
    /// A number is written in more bytes than it needs, or is above its bound.
    #[error("a number in the message is out of bounds or not in shortest form")]
    Number,
    /// Another version or kind of message.
    #[error("the message is of an unknown kind")]
    Kind,
}

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.bytes.split_at_checked(len).ok_or(WireError::Short)?;
        self.bytes = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(WireError::Short)?;
        self.bytes = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A variable integer of at most `max`.
    #[inline]
    pub(crate) fn var(&mut self, max: u64) -> Result<u64, WireError> {
        // whether one byte or two is a matter of chance in steps between clicks: not for a branch to guess
        if let Some(&[low, high]) = self.bytes.first_chunk::<2>() {
            let more = low >> 7;
            let high = high * more;
            let value = u64::from(low & 0x7f) | u64::from(high) << 7;
            if high < 0x80 && high >= more && value <= max {
                self.bytes = &self.bytes[1 + usize::from(more)..];
                return Ok(value);
            }
        }
        self.long_var(max)
    }

    fn long_var(&mut self, max: u64) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(WireError::Number);
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || shift == 0;
                return if shortest && value <= max { Ok(value) } else { Err(WireError::Number) };
            }
        }
        Err(WireError::Number)
    }

    /// The next byte, not taken.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// All that is left, not taken.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn end(&self) -> Result<(), WireError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(WireError::Long) }
    }
}

#[inline]
pub(crate) fn put_var(out: &mut Vec<u8>, value: u64) {
    if value >= 0x4000 {
        return put_long_var(out, value);
    }
    let more = u8::from(value >= 0x80);
    let len = out.len() + 1 + usize::from(more);
    out.extend_from_slice(&[value as u8 & 0x7f | more << 7, (value >> 7) as u8]);
    out.truncate(len);
}

fn put_long_var(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
