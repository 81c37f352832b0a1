use crate::wire::{Reader, WireError, put_var};

/// Most segments in one range.
pub(super) const MAX_SEGMENTS: usize = 64;

/// A stretch of bytes of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Number of the block.
    pub block: u64,
    /// First byte.
    pub start: u32,
    /// How many bytes, at least one.
    pub len: u32,
}

impl Segment {
    pub(super) fn end(&self) -> u32 {
        self.start.saturating_add(self.len)
    }
}

/// Names bytes of a pool without showing them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PadRange(Vec<Segment>);

impl PadRange {
    pub(super) fn from_segments(segments: Vec<Segment>) -> Self {
        Self(segments)
    }

    /// The stretches, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.iter().map(|segment| segment.len as usize).sum()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `var segments ‖ (var block ‖ var start ‖ var length)*`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_var(&mut out, self.0.len() as u64);
        for segment in &self.0 {
            put_var(&mut out, segment.block);
            put_var(&mut out, u64::from(segment.start));
            put_var(&mut out, u64::from(segment.len));
        }
        out
    }

    /// Parses [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let count = reader.var(MAX_SEGMENTS as u64)?;
        let mut segments = Vec::new();
        for _ in 0..count {
            let block = reader.var(u64::MAX)?;
            let start = reader.var(super::MAX_BLOCK_BYTES as u64)? as u32;
            let len = reader.var(super::MAX_BLOCK_BYTES as u64)? as u32;
            if len == 0 {
                return Err(WireError::Number);
            }
            segments.push(Segment { block, start, len });
        }
        reader.end()?;
        if segments.is_empty() { Err(WireError::Number) } else { Ok(Self(segments)) }
    }
}
