//! The bits both ends of a link hold, and their use: durable before a bit leaves, each bit once.
//!
//! A range on the wire is one stretch of the drawer's part of the pool: it starts at a byte of a
//! block and runs on through the following blocks. `offset` is `block · 2^27 + bit within the
//! block`, so offsets only grow over the life of a link, restarts included.

use std::collections::BTreeMap;

use qkd::{Cursor, Pool, PoolError, Side};
use session::mesh::PadRange;
use zeroize::Zeroizing;

/// Bits of the address space of one block: `qkd::pool::MAX_BLOCK_BYTES` bytes.
const BLOCK_SHIFT: u32 = 27;
/// Percent of every block that end A draws from. Both ends send keys: A prepares deliveries and mixes, and
/// either may send keys of applications or relay them.
const SHARE_A: u8 = 60;
/// Bytes of pool above which new blocks are only watched, not kept.
const FULL: usize = 512 * 1024;
/// Bytes from which on a pool is filled at leisure: two thousand keys of 256 bits.
const AMPLE: usize = 64 * 1024;
/// Most bits of one range.
const MAX_RANGE: u64 = 8 * 64 * 1024;

/// Pad bits, wiped when dropped.
pub struct PadBits(Zeroizing<Vec<u8>>);

impl PadBits {
    pub(crate) fn new(bits: Zeroizing<Vec<u8>>) -> Self {
        Self(bits)
    }

    /// The bits. Called only where they enter a primitive.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for PadBits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PadBits(redacted)")
    }
}

/// Bits drawn for one use, and the name under which the peer finds them.
#[derive(Debug)]
pub struct Pad {
    /// The name.
    pub range: PadRange,
    /// The bits.
    pub bits: PadBits,
}

/// Why there are no pad bits.
#[derive(Debug, thiserror::Error)]
pub enum PadError {
    /// The error rate is too high or the secret rate too low.
    #[error("the quantum link is not usable now: use the hybrid KEM alone")]
    Unusable,
    /// The link was severed.
    #[error("the quantum link is severed")]
    Severed,
    /// The pool refused.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Not a whole, positive number of bytes within bounds, or a range that no drawer could name.
    #[error("a pad range is a whole number of bytes, at most 64 KiB, inside the peer's part of the pool")]
    Range,
    /// The cursor could not be made durable.
    #[error("the pad cursor cannot be stored: {0}")]
    Store(#[from] store::WriteError),
}

/// The pool of one end with the lengths of its blocks.
pub(crate) struct Shelf {
    pool: Pool,
    side: Side,
    lens: BTreeMap<u64, usize>,
}

/// A range in the engine's form with the cursor that must be durable before its bits are taken.
pub(crate) struct Claim {
    pub(crate) range: qkd::PadRange,
    pub(crate) version: u64,
    pub(crate) cursor: Vec<u8>,
}

impl Shelf {
    pub(crate) fn new(side: Side, cursor: Cursor) -> Self {
        Self { pool: Pool::restore(side, SHARE_A, cursor), side, lens: BTreeMap::new() }
    }

    pub(crate) fn append(&mut self, block: u64, bytes: &[u8]) -> Result<(), PoolError> {
        self.pool.append(block, bytes)?;
        self.lens.insert(block, bytes.len());
        self.tidy();
        Ok(())
    }

    pub(crate) fn next_block(&self) -> u64 {
        let held = self.lens.last_key_value().map_or(0, |(last, _)| last + 1);
        self.pool.next_block().max(held)
    }

    pub(crate) fn blocks(&self) -> Vec<u64> {
        self.pool.blocks().collect()
    }

    /// Drops every block that is not in `common`.
    pub(crate) fn keep_only(&mut self, common: &[u64]) {
        for block in self.blocks() {
            if !common.contains(&block) {
                self.pool.forget(block);
            }
        }
        self.tidy();
    }

    pub(crate) fn bits(&self) -> u64 {
        8 * (self.pool.available() + self.pool.peer_available()) as u64
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bits() >= 8 * FULL as u64
    }

    /// Whether there is enough for what comes suddenly, so that the rest can be filled at leisure.
    pub(crate) fn is_ample(&self) -> bool {
        self.bits() >= 8 * AMPLE as u64
    }

    pub(crate) fn own_bytes(&self) -> usize {
        self.pool.available()
    }

    pub(crate) fn peer_bytes(&self) -> usize {
        self.pool.peer_available()
    }

    /// Draws `len` bytes of this end's part.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<Claim, PoolError> {
        let range = self.pool.reserve(len)?;
        Ok(self.claim(range))
    }

    /// Accepts what the peer drew.
    pub(crate) fn accept(&mut self, range: qkd::PadRange) -> Result<Claim, PoolError> {
        self.pool.accept(&range)?;
        Ok(self.claim(range))
    }

    fn claim(&mut self, range: qkd::PadRange) -> Claim {
        let (version, cursor) = self.pool.cursor();
        Claim { range, version, cursor: cursor.to_bytes() }
    }

    /// The bits of a claim whose cursor is durable now.
    pub(crate) fn redeem(&mut self, claim: &Claim) -> Result<PadBits, PoolError> {
        self.pool.durable(claim.version);
        let bits = self.pool.take(&claim.range)?;
        self.tidy();
        Ok(PadBits::new(bits))
    }

    /// Lengths of blocks that ranges may still run through: those held.
    fn tidy(&mut self) {
        for block in self.pool.drain_retired() {
            self.lens.remove(&block);
        }
    }

    /// The wire form of a range this end drew.
    pub(crate) fn to_wire(range: &qkd::PadRange) -> Option<PadRange> {
        let first = range.segments().first()?;
        let offset = (first.block << BLOCK_SHIFT) + 8 * u64::from(first.start);
        Some(PadRange { offset, len: 8 * range.len() as u64 })
    }

    /// The engine's form of a range the peer drew.
    pub(crate) fn resolve(&self, range: PadRange) -> Result<qkd::PadRange, PadError> {
        let whole =
            range.len > 0 && range.len <= MAX_RANGE && range.len.is_multiple_of(8) && range.offset.is_multiple_of(8);
        if !whole {
            return Err(PadError::Range);
        }
        let block = range.offset >> BLOCK_SHIFT;
        let mut start = ((range.offset & ((1 << BLOCK_SHIFT) - 1)) / 8) as usize;
        if !self.lens.contains_key(&block) {
            return Err(PoolError::UnknownBlock(block).into());
        }
        let mut left = (range.len / 8) as usize;
        let mut segments = Vec::new();
        for (&block, &len) in self.lens.range(block..) {
            let part = self.peer_part(len);
            let from = start.max(part.start);
            start = 0;
            let take = part.end.saturating_sub(from).min(left);
            if take > 0 {
                segments.push((block, from, take));
                left -= take;
            }
            if left == 0 {
                return encode(&segments).ok_or(PadError::Range);
            }
        }
        Err(PadError::Range)
    }

    fn peer_part(&self, len: usize) -> std::ops::Range<usize> {
        let split = len * usize::from(SHARE_A) / 100;
        match self.side {
            Side::A => split..len,
            Side::B => 0..split,
        }
    }
}

/// The engine's byte form of a range, parsed back by the engine itself.
fn encode(segments: &[(u64, usize, usize)]) -> Option<qkd::PadRange> {
    let mut bytes = Vec::new();
    put_var(&mut bytes, segments.len() as u64);
    for &(block, start, len) in segments {
        [block, start as u64, len as u64].into_iter().for_each(|number| put_var(&mut bytes, number));
    }
    qkd::PadRange::from_bytes(&bytes).ok()
}

fn put_var(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests;
