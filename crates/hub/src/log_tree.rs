//! The Merkle tree of the running log: what is needed for roots and proofs, in a quarter byte an
//! entry. Nodes above a tile of 256 leaves stay in memory, leaves are read from the store, save the
//! latest, which proofs of fresh grants need.

use std::collections::VecDeque;

use evidence::merkle::{Frontier, NodeMissing, NodeSource};
use store::{ReadError, Store};
use types::Hash;

/// Leaves under one node that is kept: a full tile (C2SP `tlog-tiles`).
const TILE: u64 = 256;
/// Height of such a node.
const TILE_LEVEL: u32 = 8;
/// Leaves kept in memory at the end of the log.
const RECENT: u64 = 64 * TILE;

/// The tree over the first `size` entries of the log.
#[derive(Debug, Clone, Default)]
pub struct LogTree {
    frontier: Frontier,
    // `upper[h][i]` is node `i` on level `TILE_LEVEL + h`.
    upper: Vec<Vec<Hash>>,
    // The last leaves; the first of them is leaf `size - recent.len()`.
    recent: VecDeque<Hash>,
}

impl LogTree {
    /// Appends a leaf.
    pub fn append(&mut self, leaf: Hash) {
        let upper = &mut self.upper;
        self.frontier.append_with(leaf, |level, _, hash| {
            if let Some(height) = level.checked_sub(TILE_LEVEL) {
                let height = height as usize;
                if upper.len() == height {
                    upper.push(Vec::new());
                }
                upper[height].push(hash);
            }
        });
        self.recent.push_back(leaf);
        if self.recent.len() as u64 > RECENT {
            self.recent.pop_front();
        }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Root over all leaves.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The right edge, to see what a root will be.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    fn recent_leaves(&self, first: u64, count: u64) -> Option<impl Iterator<Item = Hash> + '_> {
        let start = first.checked_sub(self.size() - self.recent.len() as u64)?;
        let end = start.checked_add(count)?;
        (end <= self.recent.len() as u64).then(|| self.recent.range(start as usize..end as usize).copied())
    }
}

/// A node of the tree cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// The tree has no such node.
    #[error(transparent)]
    Missing(#[from] NodeMissing),
    /// The leaves below it cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A tree with the store that has its older leaves.
pub(crate) struct StoredTree<'a> {
    /// The tree.
    pub(crate) tree: &'a LogTree,
    /// The store.
    pub(crate) store: &'a Store,
}

impl NodeSource for StoredTree<'_> {
    type Error = NodeError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, NodeError> {
        let missing = NodeMissing { level, index };
        if let Some(height) = level.checked_sub(TILE_LEVEL) {
            let nodes = self.tree.upper.get(height as usize).ok_or(missing)?;
            let place = usize::try_from(index).map_err(|_| missing)?;
            return Ok(nodes.get(place).copied().ok_or(missing)?);
        }
        let width = 1u64 << level;
        let first = index.checked_mul(width).ok_or(missing)?;
        if first.checked_add(width).is_none_or(|end| end > self.tree.size()) {
            return Err(missing.into());
        }
        let mut below = Frontier::new();
        match self.tree.recent_leaves(first, width) {
            Some(leaves) => leaves.for_each(|leaf| below.append(leaf)),
            None => self.store.leaf_hashes(first..first + width)?.into_iter().for_each(|leaf| below.append(leaf)),
        }
        if below.size() == width { Ok(below.root()) } else { Err(missing.into()) }
    }
}
