use std::collections::BTreeMap;

use super::REORDER_BLOCKS;
use crate::wire::{Reader, WireError, put_var};

/// Most separate used stretches remembered in one block; past that the lowest gap counts as used.
const MAX_SPANS: usize = 64;

const VERSION: u8 = 1;

/// Used stretches of the peer's part of one block, as `start..end`, ascending, never touching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(Vec<(u32, u32)>);

impl Spans {
    /// Marks `start..end`; false, and unchanged, where any of it was marked before.
    fn mark(&mut self, start: u32, end: u32) -> bool {
        let at = self.0.partition_point(|&(_, e)| e <= start);
        if start >= end || self.0.get(at).is_some_and(|&(s, _)| s < end) {
            return false;
        }
        self.0.insert(at, (start, end));
        self.0.dedup_by(|next, kept| {
            let touch = kept.1 == next.0;
            if touch {
                kept.1 = next.1;
            }
            touch
        });
        if self.0.len() > MAX_SPANS {
            let (first, second) = (self.0[0], self.0[1]);
            self.0.splice(..2, [(first.0, second.1)]);
        }
        true
    }

    fn len(&self) -> usize {
        self.0.iter().map(|&(s, e)| (e - s) as usize).sum()
    }
}

/// Which bits of a pool are used. It holds no secret; stored durably, it is what keeps a restart
/// from handing out a bit again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// This end has drawn everything in blocks below this one…
    own_block: u64,
    /// …and the bytes of its part before this one in that block.
    own_offset: u32,
    /// The peer's part of every block below this one counts as used…
    peer_floor: u64,
    /// …and of these blocks the stretches listed.
    peer: BTreeMap<u64, Spans>,
}

impl Cursor {
    /// Where this end's undrawn bytes start in its part `start..end` of `block`.
    pub(super) fn own_start(&self, block: u64, start: u32, end: u32) -> u32 {
        match block.cmp(&self.own_block) {
            std::cmp::Ordering::Less => end,
            std::cmp::Ordering::Equal => self.own_offset.clamp(start, end),
            std::cmp::Ordering::Greater => start,
        }
    }

    pub(super) fn draw(&mut self, block: u64, end: u32) {
        self.own_block = block;
        self.own_offset = end;
    }

    pub(super) fn peer_done(&self, block: u64) -> bool {
        block < self.peer_floor
    }

    pub(super) fn peer_used(&self, block: u64) -> usize {
        self.peer.get(&block).map_or(0, Spans::len)
    }

    /// Marks bytes of the peer's part as used; false where some were.
    pub(super) fn peer_use(&mut self, block: u64, start: u32, end: u32) -> bool {
        if self.peer_done(block) || !self.peer.entry(block).or_default().mark(start, end) {
            return false;
        }
        self.peer_floor = self.peer_floor.max(block.saturating_sub(REORDER_BLOCKS));
        self.peer = self.peer.split_off(&self.peer_floor);
        true
    }

    pub(super) fn next_block(&self) -> u64 {
        let peer = self.peer.last_key_value().map_or(self.peer_floor, |(&block, _)| block + 1);
        let own = if self.own_offset > 0 { self.own_block + 1 } else { self.own_block };
        own.max(peer)
    }

    /// The byte form to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_var(&mut out, self.own_block);
        put_var(&mut out, u64::from(self.own_offset));
        put_var(&mut out, self.peer_floor);
        put_var(&mut out, self.peer.len() as u64);
        for (block, spans) in &self.peer {
            put_var(&mut out, *block);
            put_var(&mut out, spans.0.len() as u64);
            for &(start, end) in &spans.0 {
                put_var(&mut out, u64::from(start));
                put_var(&mut out, u64::from(end));
            }
        }
        out
    }

    /// Parses [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(WireError::Kind);
        }
        let max = super::MAX_BLOCK_BYTES as u64;
        let own_block = reader.var(u64::MAX)?;
        let own_offset = reader.var(max)? as u32;
        let peer_floor = reader.var(u64::MAX)?;
        let mut peer = BTreeMap::new();
        for _ in 0..reader.var(REORDER_BLOCKS + 1)? {
            let block = reader.var(u64::MAX)?;
            let mut spans = Spans::default();
            for _ in 0..reader.var(MAX_SPANS as u64)? {
                let (start, end) = (reader.var(max)? as u32, reader.var(max)? as u32);
                if spans.0.last().is_some_and(|&(_, e)| e >= start) || !spans.mark(start, end) {
                    return Err(WireError::Number);
                }
            }
            let rises = peer.last_key_value().is_none_or(|(&last, _)| block > last);
            if block < peer_floor || !rises {
                return Err(WireError::Number);
            }
            peer.insert(block, spans);
        }
        reader.end()?;
        Ok(Self { own_block, own_offset, peer_floor, peer })
    }
}
