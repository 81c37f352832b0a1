use zeroize::Zeroizing;

use crate::bits::Bits;
use crate::cascade::tree::{PATHS, Shape, level_of, node_above, sums_of};

/// 64 bits of Bob's in the order of a pass, or 64 cells, and what is known of the nodes above them.
/// A bit of each word stands for a node, see [`crate::cascade::tree::fold`].
#[derive(Clone, Copy, Default)]
struct Cell {
    /// Parities of the nodes' left halves.
    sum: u64,
    /// Nodes whose halves' parities at Alice's are known. Bit 63: the parity of the whole cell is.
    split: u64,
    /// The smallest known nodes whose parities differ from Alice's.
    odd: u64,
    /// Nodes on the list of questions.
    listed: u64,
}

impl zeroize::DefaultIsZeroes for Cell {}

/// What Bob knows in the order of one pass.
///
/// A node is known when Alice's parity of it follows from her answers. Of all nodes above a bit the
/// known ones are the largest, so the smallest of them is found by counting.
#[derive(Default)]
pub(super) struct Search {
    cells: Zeroizing<Vec<Cell>>,
    /// Nodes to search, as `cell·64 + node`. One that is not odd any more is dropped when met.
    list: Vec<u16>,
    /// Bit l - 1: there may be nodes of level l on the list.
    levels: u32,
    /// Whether a node on the list may not be odd any more.
    stale: bool,
}

/// A correction met a bit that Alice's answers prove right: she contradicts herself.
#[derive(Debug)]
pub(super) struct Contradiction;

impl Search {
    /// With Bob's sums.
    pub(super) fn new(shape: &Shape, sums: &[u64]) -> Self {
        let cells = sums.iter().zip(shape.known());
        let cells = cells.map(|(&sum, &split)| Cell { sum, split, ..Cell::default() }).collect::<Vec<_>>().into();
        Self { cells, ..Self::default() }
    }

    /// Whether Bob's bits are in the order of this pass.
    #[inline]
    pub(super) fn is_ordered(&self) -> bool {
        !self.cells.is_empty()
    }

    /// No smaller node than of this level waits; `None` where none at all does.
    #[inline]
    pub(super) fn lowest(&self) -> Option<u32> {
        (!self.list.is_empty()).then(|| self.levels.trailing_zeros())
    }

    /// The nodes to ask about now.
    pub(super) fn questions(&mut self) -> &[u16] {
        if std::mem::take(&mut self.stale) {
            let cells = &mut self.cells;
            self.list.retain(|&address| {
                let (cell, node) = (&mut cells[usize::from(address) / 64], address % 64);
                let odd = cell.odd >> node & 1;
                cell.listed &= !(1 << node) | odd << node;
                odd == 1
            });
        }
        &self.list
    }

    /// Takes the answers about the first `asked` nodes of the list: `answers` from bit `at`. Places
    /// of wrong bits go to `found`; they are corrected by [`Self::correct`].
    pub(super) fn answered(&mut self, shape: &Shape, asked: usize, answers: &Bits, at: usize, found: &mut Vec<u16>) {
        let mut list = std::mem::take(&mut self.list);
        let words_end = shape.words_end();
        self.levels = list[asked..].iter().fold(0, |levels, &address| levels | level_bit(shape, address));
        let (mut kept, mut levels) = (0, 0);
        for start in (0..asked).step_by(64) {
            let mut answer = answers.word_at(at + start);
            for i in start..asked.min(start + 64) {
                let address = list[i];
                let (index, node) = (usize::from(address / 64), u32::from(address % 64));
                let cell = &mut self.cells[index];
                let bit = 1_u64 << node;
                let odd = cell.odd >> node & 1;
                let left = (cell.sum >> node ^ answer) & 1;
                answer >>= 1;
                cell.split |= bit;
                cell.listed &= !bit;
                cell.odd &= !bit;
                // a correction made by another answer of this message may have settled the node
                if index >= words_end || odd == 0 {
                    self.halved(shape, index, node as usize, left == 1, left != odd, found);
                    continue;
                }
                let reach = ((node + 1) & !node) / 2;
                if reach == 0 {
                    found.push(address + 1 - left as u16);
                    continue;
                }
                let child = node + reach - ((2 * reach) & (left as u32).wrapping_neg());
                cell.odd |= 1 << child;
                cell.listed |= 1 << child;
                levels |= reach;
                list[kept] = (index as u16) * 64 + child as u16;
                kept += 1;
            }
        }
        list.drain(kept..asked);
        list.append(&mut self.list);
        self.list = list;
        self.levels |= levels;
    }

    /// A node was split that is of a higher tier, or was not odd.
    #[cold]
    fn halved(&mut self, shape: &Shape, at: usize, node: usize, left: bool, right: bool, found: &mut Vec<u16>) {
        let tier = shape.tier(at);
        let below = level_of(node) - 1;
        let start = (at - shape.tiers()[tier]) * 64 + node + 1;
        for (odd, start) in [(left, start - (1 << below)), (right, start)] {
            shape.learn(tier, start, below, |cell, nodes| self.cells[cell].split |= nodes);
            if tier + below as usize == 0 {
                found.extend(odd.then_some(start as u16));
            } else if odd {
                // its smallest known part is the one at its beginning
                let _ = self.turn_over(shape, start << (6 * tier));
            }
        }
    }

    #[inline]
    fn add(&mut self, at: usize, node: usize, tier: u32) {
        let cell = &mut self.cells[at];
        let bit = 1 << node;
        cell.odd ^= bit;
        if cell.odd & bit == 0 {
            self.stale = true;
        } else if cell.listed & bit == 0 {
            cell.listed |= bit;
            self.list.push((at * 64 + node) as u16);
            self.levels |= 1 << (level_of(node) - 1 + 6 * tier);
        }
    }

    /// A block differs from Alice's.
    pub(super) fn block_is_odd(&mut self, shape: &Shape, block: usize) {
        let _ = self.turn_over(shape, shape.block_start(block));
    }

    /// The smallest known node above a place changes sides.
    #[inline]
    fn turn_over(&mut self, shape: &Shape, place: usize) -> Result<(), Contradiction> {
        let mut i = place;
        for (tier, &first) in shape.tiers().iter().enumerate() {
            let (at, leaf) = (first + i / 64, i % 64);
            let known = (self.cells[at].split & PATHS[leaf]).count_ones();
            match known {
                0 => i /= 64,
                1..=6 => {
                    self.add(at, node_above(leaf, 7 - known), tier as u32);
                    return Ok(());
                }
                _ => return Err(Contradiction),
            }
        }
        Err(Contradiction)
    }

    /// A bit turns over; `found` where this pass's own answers said so, so that nothing known about
    /// it changes sides.
    #[inline]
    pub(super) fn correct(&mut self, shape: &Shape, place: usize, found: bool) -> Result<(), Contradiction> {
        let mut i = place;
        for &first in shape.tiers() {
            self.cells[first + i / 64].sum ^= sums_of(i % 64);
            i /= 64;
        }
        if found { Ok(()) } else { self.turn_over(shape, place) }
    }
}

fn level_bit(shape: &Shape, address: u16) -> u32 {
    1 << (level_of(usize::from(address) % 64) - 1 + 6 * shape.tier(usize::from(address) / 64) as u32)
}
