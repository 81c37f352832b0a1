//! The shared secret bits of a link, and who may draw which of them.
//!
//! Both ends append the same blocks under the same numbers. The front part of every block belongs
//! to end A to draw from, the rest to end B, so the two never draw the same bits without a word
//! being exchanged. A drawn [`PadRange`] names blocks and offsets and travels in the clear; the
//! other end [accepts](Pool::accept) it.
//!
//! No bit is handed out twice, across crashes too: drawing and accepting move the [`Cursor`], and
//! [`Pool::take`] gives bits out only after the owner said that a cursor beyond them is
//! [durable](Pool::durable). A crash in between wastes bits and repeats none.

mod cursor;
mod range;

use std::collections::BTreeMap;

pub use cursor::{Cursor, Spans};
pub use range::{PadRange, Segment};
use zeroize::{Zeroize, Zeroizing};

/// Longest block in bytes.
pub const MAX_BLOCK_BYTES: usize = 1 << 24;

/// Blocks over which ranges of the peer may arrive out of order. Older ones count as used.
pub const REORDER_BLOCKS: u64 = 64;

/// One of the two ends of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end with the smaller name: it draws from the front of each block.
    A,
    /// The other end.
    B,
}

/// Why the pool refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Not enough bits left for this end to draw.
    #[error("{left} bytes of pad are left where {wanted} are wanted: wait for the channel, or use the hybrid KEM")]
    Dry {
        /// Bytes this end may still draw.
        left: usize,
        /// Bytes asked for.
        wanted: usize,
    },
    /// A block number that is not above all before it, or a block without or with too many bytes.
    #[error("block {0} cannot be appended: numbers must rise and blocks hold 1 byte to 16 MiB")]
    BadBlock(u64),
    /// The range names a block this end does not have.
    #[error("block {0} is not in the pool: tell the peer to drop it")]
    UnknownBlock(u64),
    /// The range lies outside the part the peer may draw from.
    #[error("the range is not the peer's to draw: refuse it")]
    NotTheirs,
    /// The range was used before.
    #[error("the range was used before: refuse it")]
    Used,
    /// The range was neither reserved nor accepted since the last start, or is taken already.
    #[error("the range is not waiting to be taken: reserve a new one")]
    NotPending,
    /// The cursor that covers the range is not durable yet.
    #[error("store the cursor durably before taking the bits")]
    NotDurable,
}

struct Pending {
    range: PadRange,
    version: u64,
}

/// The pool of one end of one link.
pub struct Pool {
    side: Side,
    share_a: u8,
    blocks: BTreeMap<u64, Zeroizing<Vec<u8>>>,
    cursor: Cursor,
    pending: Vec<Pending>,
    version: u64,
    durable: u64,
    retired: Vec<u64>,
}

impl Pool {
    /// An empty pool. `share_a` percent of every block (at most 100) are A's to draw; both ends
    /// must use the same figure for the whole life of the link.
    pub fn new(side: Side, share_a: u8) -> Self {
        Self::restore(side, share_a, Cursor::default())
    }

    /// A pool after a restart, from the last durable cursor; the stored blocks follow by
    /// [`Self::append`], in order.
    pub fn restore(side: Side, share_a: u8, cursor: Cursor) -> Self {
        let share_a = share_a.min(100);
        Self {
            side,
            share_a,
            blocks: BTreeMap::new(),
            cursor,
            pending: Vec::new(),
            version: 0,
            durable: 0,
            retired: Vec::new(),
        }
    }

    /// Adds a block. Numbers must rise; a block that the cursor knows to be used up, as after a
    /// restart, is retired at once.
    pub fn append(&mut self, block: u64, bytes: &[u8]) -> Result<(), PoolError> {
        let rises = self.blocks.last_key_value().is_none_or(|(&last, _)| block > last);
        if !rises || bytes.is_empty() || bytes.len() > MAX_BLOCK_BYTES {
            return Err(PoolError::BadBlock(block));
        }
        self.blocks.insert(block, Zeroizing::new(bytes.to_vec()));
        self.retire();
        Ok(())
    }

    /// Lowest number a new block may have.
    pub fn next_block(&self) -> u64 {
        let held = self.blocks.last_key_value().map_or(0, |(&last, _)| last + 1);
        held.max(self.cursor.next_block())
    }

    /// Numbers of the blocks held. After a reconnection each end tells the other, and both
    /// [forget](Self::forget) what only one has.
    pub fn blocks(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.keys().copied()
    }

    /// Drops a block that the peer does not have.
    pub fn forget(&mut self, block: u64) {
        self.pending.retain(|pending| pending.range.segments().iter().all(|segment| segment.block != block));
        if self.blocks.remove(&block).is_some() {
            self.retired.push(block);
        }
    }

    /// Numbers of the blocks dropped since the last call, whose stored bytes are to be erased.
    pub fn drain_retired(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.retired)
    }

    /// Bytes this end may still draw.
    pub fn available(&self) -> usize {
        self.blocks.iter().map(|(&block, bytes)| self.own_left(block, bytes.len()).len()).sum()
    }

    /// Bytes the peer may still draw.
    pub fn peer_available(&self) -> usize {
        self.blocks.iter().map(|(&block, bytes)| self.peer_left(block, bytes.len())).sum()
    }

    /// Draws `len` bytes of this end's part. The bits come from [`Self::take`] once the cursor is
    /// durable.
    pub fn reserve(&mut self, len: usize) -> Result<PadRange, PoolError> {
        let left = self.available();
        if left < len || len == 0 {
            return Err(PoolError::Dry { left, wanted: len });
        }
        let mut segments = Vec::new();
        let mut wanted = len;
        for (&block, bytes) in &self.blocks {
            let part = self.own_left(block, bytes.len());
            let take = part.len().min(wanted);
            if take > 0 {
                segments.push(Segment { block, start: part.start as u32, len: take as u32 });
                wanted -= take;
            }
            if wanted == 0 || segments.len() == range::MAX_SEGMENTS {
                break;
            }
        }
        if wanted > 0 {
            return Err(PoolError::Dry { left: len - wanted, wanted: len });
        }
        if let Some(last) = segments.last() {
            self.cursor.draw(last.block, last.start + last.len);
        }
        let range = PadRange::from_segments(segments);
        self.push_pending(&range);
        Ok(range)
    }

    /// Accepts a range the peer drew; nothing changes where it is refused.
    pub fn accept(&mut self, range: &PadRange) -> Result<(), PoolError> {
        let mut cursor = self.cursor.clone();
        for segment in range.segments() {
            let len = self.blocks.get(&segment.block).map(|bytes| bytes.len());
            if cursor.peer_done(segment.block) {
                return Err(PoolError::Used);
            }
            let part = self.part(other(self.side), len.ok_or(PoolError::UnknownBlock(segment.block))?);
            if (segment.start as usize) < part.start || segment.end() as usize > part.end {
                return Err(PoolError::NotTheirs);
            }
            if !cursor.peer_use(segment.block, segment.start, segment.end()) {
                return Err(PoolError::Used);
            }
        }
        self.cursor = cursor;
        self.push_pending(range);
        Ok(())
    }

    /// The cursor and its version. Store it durably, then call [`Self::durable`] with the version.
    pub fn cursor(&self) -> (u64, &Cursor) {
        (self.version, &self.cursor)
    }

    /// States that the cursor of `version` is stored durably.
    pub fn durable(&mut self, version: u64) {
        self.durable = self.durable.max(version.min(self.version));
    }

    /// The bits of a range reserved or accepted before; they are wiped from the pool.
    pub fn take(&mut self, range: &PadRange) -> Result<Zeroizing<Vec<u8>>, PoolError> {
        let at = self.pending.iter().position(|pending| pending.range == *range).ok_or(PoolError::NotPending)?;
        if self.pending[at].version > self.durable {
            return Err(PoolError::NotDurable);
        }
        self.pending.swap_remove(at);
        let mut out = Zeroizing::new(Vec::with_capacity(range.len()));
        for segment in range.segments() {
            let bytes = self.blocks.get_mut(&segment.block).ok_or(PoolError::UnknownBlock(segment.block))?;
            let piece = bytes.get_mut(segment.start as usize..segment.end() as usize).ok_or(PoolError::NotTheirs)?;
            out.extend_from_slice(piece);
            piece.zeroize();
        }
        self.retire();
        Ok(out)
    }

    /// Lets go of a range that will not be used; its bits are wasted.
    pub fn discard(&mut self, range: &PadRange) {
        self.pending.retain(|pending| pending.range != *range);
        self.retire();
    }

    fn push_pending(&mut self, range: &PadRange) {
        self.version += 1;
        self.pending.push(Pending { range: range.clone(), version: self.version });
    }

    fn part(&self, side: Side, len: usize) -> std::ops::Range<usize> {
        let split = len * usize::from(self.share_a) / 100;
        match side {
            Side::A => 0..split,
            Side::B => split..len,
        }
    }

    fn own_left(&self, block: u64, len: usize) -> std::ops::Range<usize> {
        let part = self.part(self.side, len);
        let start = self.cursor.own_start(block, part.start as u32, part.end as u32) as usize;
        start..part.end
    }

    fn peer_left(&self, block: u64, len: usize) -> usize {
        let part = self.part(other(self.side), len);
        if self.cursor.peer_done(block) { 0 } else { part.len() - self.cursor.peer_used(block) }
    }

    /// Drops blocks with nothing left for either end.
    fn retire(&mut self) {
        let waits = |block: u64| {
            self.pending.iter().any(|pending| pending.range.segments().iter().any(|segment| segment.block == block))
        };
        let spent = |(&block, bytes): (&u64, &Zeroizing<Vec<u8>>)| {
            let left = self.own_left(block, bytes.len()).len() + self.peer_left(block, bytes.len());
            (left == 0 && !waits(block)).then_some(block)
        };
        let done: Vec<u64> = self.blocks.iter().filter_map(spent).collect();
        for block in done {
            self.blocks.remove(&block);
            self.retired.push(block);
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("side", &self.side)
            .field("blocks", &self.blocks.len())
            .field("available", &self.available())
            .finish_non_exhaustive()
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::A => Side::B,
        Side::B => Side::A,
    }
}

#[cfg(test)]
mod tests;
