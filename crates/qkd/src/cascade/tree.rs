use crate::bits::Bits;

/// Of a word, bit i becomes the parity of the 2^k bits that end with bit i, where 2^k is the largest
/// power of two that divides i + 1 (the sums of Fenwick 1994). Bit m = s + 2^(k - 1) - 1 then is the
/// parity of the left half of the node of 2^k bits that starts at s, and no two nodes share one: m
/// names the node. Bit 63 is the parity of the word.
pub(super) fn fold(word: u64) -> u64 {
    (0..6).fold(word, add_left)
}

/// Undoes the steps of [`fold`] from the last one down to `step`.
fn unfold(word: u64, step: u32) -> u64 {
    (step..6).rev().fold(word, add_left)
}

/// The last bit of every 2^(step + 1) takes up the last bit of the half before; its own inverse.
#[inline]
fn add_left(word: u64, step: u32) -> u64 {
    const ENDS: [u64; 6] = [
        0xaaaa_aaaa_aaaa_aaaa,
        0x8888_8888_8888_8888,
        0x8080_8080_8080_8080,
        0x8000_8000_8000_8000,
        0x8000_0000_8000_0000,
        0x8000_0000_0000_0000,
    ];
    word ^ word << (1 << step) & ENDS[step as usize]
}

/// The nodes above each leaf of a word, and bit 63.
pub(super) const PATHS: [u64; 64] = {
    let mut paths = [1 << 63; 64];
    let mut leaf = 0;
    while leaf < 64 {
        let mut level = 1;
        while level <= 6 {
            paths[leaf] |= 1 << ((leaf >> level << level) + (1 << (level - 1)) - 1);
            level += 1;
        }
        leaf += 1;
    }
    paths
};

/// The sums a leaf is part of: of the nodes above it, those that have it in their left half.
#[inline]
pub(super) fn sums_of(leaf: usize) -> u64 {
    PATHS[leaf % 64] & u64::MAX << (leaf % 64)
}

/// The node of `level`, 1 to 6, above a leaf.
#[inline]
pub(super) fn node_above(leaf: usize, level: u32) -> usize {
    (leaf >> level << level) + (1 << (level - 1)) - 1
}

/// The level of a node in its word.
#[inline]
pub(super) fn level_of(node: usize) -> u32 {
    (node + 1).trailing_zeros() + 1
}

/// How the bits of a frame, in the order of one pass, are kept for the searches of that pass.
///
/// Each word is a cell with its [`fold`]. Where blocks are longer than a word, the parities of 64
/// cells are the leaves of a cell of the next tier.
pub(super) struct Shape {
    /// Log2 of the block size.
    level: u32,
    /// Where the cells of each tier begin, and where they end.
    tiers: [usize; 4],
    /// Tiers in use.
    count: usize,
    /// From this word on, words are kept `gap` places later.
    cut: usize,
    gap: usize,
    /// For each cell the nodes that are split before any search: those longer than a block, and those
    /// that are `free`. Bit 63: the parity of the whole cell is known.
    known: Vec<u64>,
    /// For each cell the nodes whose right half is past the end: as good as their left half.
    free: Vec<u64>,
}

impl Shape {
    /// For frames of `words` words in blocks of 2^`level` bits; `balanced` for two blocks of equal
    /// length, whatever the length of the frame.
    pub(super) fn new(words: usize, level: u32, balanced: bool) -> Self {
        let (cut, gap) = match level.checked_sub(6) {
            Some(half) if balanced => (words.div_ceil(2), (1 << half) - words.div_ceil(2)),
            _ => (words, 0),
        };
        let count = (level.max(1) as usize - 1) / 6 + 1;
        let mut tiers = [0; 4];
        let mut cells = words + gap;
        for tier in 0..count {
            tiers[tier + 1] = tiers[tier] + cells;
            cells = cells.div_ceil(64);
        }
        let mut shape = Self { level, tiers, count, cut, gap, known: Vec::new(), free: Vec::new() };
        shape.free = shape.past_the_end(words);
        shape.known = shape.split_at_first();
        shape
    }

    fn past_the_end(&self, words: usize) -> Vec<u64> {
        let mut free = vec![0; self.cells()];
        let mut live = vec![false; self.tiers[1]];
        (0..words).for_each(|word| live[self.slot(word)] = true);
        for tier in 1..self.count {
            let cells = gather(live.iter().copied());
            for (free, &leaves) in free[self.tiers[tier]..].iter_mut().zip(&cells) {
                for node in 0..63 {
                    let right = u64::MAX >> (64 - (1 << (level_of(node) - 1))) << (node + 1);
                    *free |= u64::from(leaves & right == 0) << node;
                }
            }
            live = cells.iter().map(|&cell| cell != 0).collect();
        }
        free
    }

    fn split_at_first(&self) -> Vec<u64> {
        let mut known = vec![0; self.cells()];
        let top = self.count - 1;
        let level = self.level - 6 * top as u32;
        let longer = (0..63).filter(|&node| level_of(node) > level).fold(1 << 63, |mask, node| mask | 1 << node);
        known[self.tiers[top]..].fill(longer);
        let leaves = (self.tiers[top + 1] - self.tiers[top]) * 64;
        let blocks = (0..if top > 0 { leaves } else { 0 }).step_by(1 << level);
        blocks.for_each(|start| self.learn(top, start, level, |cell, nodes| known[cell] |= nodes));
        known
    }

    /// The node of `level` at leaf `start` of a tier has become known: what else is known and split
    /// because of that goes to `split`, as nodes of a cell.
    pub(super) fn learn(&self, mut tier: usize, mut start: usize, mut level: u32, mut split: impl FnMut(usize, u64)) {
        loop {
            if level == 0 {
                // a leaf is a cell of the tier below
                let Some(below) = tier.checked_sub(1) else { return };
                if self.tiers[below] + start >= self.tiers[tier] {
                    return;
                }
                split(self.tiers[below] + start, 1 << 63);
                (tier, start, level) = (below, start * 64, 6);
            }
            let (cell, node) = (self.tiers[tier] + start / 64, node_above(start % 64, level));
            if self.free[cell] >> node & 1 == 0 {
                return;
            }
            split(cell, 1 << node);
            level -= 1;
        }
    }

    pub(super) fn known(&self) -> &[u64] {
        &self.known
    }

    pub(super) fn cells(&self) -> usize {
        self.tiers[self.count]
    }

    pub(super) fn tiers(&self) -> &[usize] {
        &self.tiers[..self.count]
    }

    /// The tier a cell is of.
    #[inline]
    pub(super) fn tier(&self, cell: usize) -> usize {
        self.tiers[1..self.count].iter().filter(|&&end| cell >= end).count()
    }

    /// Where the cells of the second tier begin.
    #[inline]
    pub(super) fn words_end(&self) -> usize {
        self.tiers[1]
    }

    #[inline]
    fn slot(&self, word: usize) -> usize {
        if word < self.cut { word } else { word + self.gap }
    }

    /// The place of a bit of the frame among the cells' bits.
    #[inline]
    pub(super) fn place(&self, position: usize) -> usize {
        self.slot(position / 64) * 64 + position % 64
    }

    /// The bit at a place; `None` where there is none.
    #[inline]
    pub(super) fn position(&self, place: usize) -> Option<usize> {
        let word = place / 64;
        if word < self.cut {
            return Some(place);
        }
        place.checked_sub(self.gap * 64).filter(|position| position / 64 >= self.cut)
    }

    /// The cells of a frame.
    pub(super) fn sums(&self, words: &[u64]) -> Vec<u64> {
        let mut sums = vec![0; self.cells()];
        let (front, back) = words.split_at(self.cut.min(words.len()));
        sums[..front.len()].iter_mut().zip(front).for_each(|(sum, &word)| *sum = fold(word));
        let back_at = self.cut + self.gap;
        sums[back_at..back_at + back.len()].iter_mut().zip(back).for_each(|(sum, &word)| *sum = fold(word));
        for tier in 1..self.count {
            let (below, above) = sums.split_at_mut(self.tiers[tier]);
            let cells = below[self.tiers[tier - 1]..].chunks(64);
            above.iter_mut().zip(cells).for_each(|(sum, cells)| {
                *sum = fold(cells.iter().rev().fold(0, |word, cell| word << 1 | cell >> 63));
            });
        }
        sums
    }

    /// The parities of the first `count` blocks.
    pub(super) fn blocks(&self, sums: &[u64], count: usize) -> Bits {
        let top = self.count - 1;
        let level = self.level - 6 * top as u32;
        let each = 64 >> level;
        let mut out = Bits::with_capacity(count + 64);
        for &sum in &sums[self.tiers[top]..self.tiers[top + 1]] {
            let ends = unfold(sum, level) >> ((1 << level) - 1);
            let parities = (0..each).fold(0, |word, i| word | (ends >> (i << level) & 1) << i);
            out.append(parities, each);
        }
        out.truncate(count);
        out
    }

    /// Where a block begins.
    pub(super) fn block_start(&self, block: usize) -> usize {
        block << self.level
    }

    /// The parities of the left halves of nodes, given as little-endian addresses, at most 64;
    /// `None` where there is no such node, or only in a larger one than a block.
    #[inline]
    pub(super) fn left_halves(&self, sums: &[u64], nodes: &[[u8; 2]]) -> Option<u64> {
        let top = self.count - 1;
        let (top_at, top_mask) = (self.tiers[top], (1 << (self.level - 6 * top as u32)) - 1);
        let (mut parities, mut all) = (0, true);
        for (i, address) in nodes.iter().enumerate() {
            let address = u16::from_le_bytes(*address);
            let (cell, node) = (usize::from(address / 64), address % 64);
            let mask = if cell >= top_at { top_mask } else { 63 };
            all &= (node + 1) & mask != 0;
            parities |= (sums.get(cell)? >> node & 1) << i;
        }
        all.then_some(parities)
    }
}

/// Bits packed into words.
fn gather(bits: impl Iterator<Item = bool>) -> Vec<u64> {
    let mut words = Vec::new();
    for (i, bit) in bits.enumerate() {
        if i % 64 == 0 {
            words.push(0);
        }
        if let Some(last) = words.last_mut() {
            *last |= u64::from(bit) << (i % 64);
        }
    }
    words
}

#[cfg(test)]
mod tests;
