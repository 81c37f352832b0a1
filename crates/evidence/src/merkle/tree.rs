use std::convert::Infallible;

use types::Hash;

use super::frontier::Frontier;
use super::{empty_root, node_hash};

/// Where the nodes of a tree come from. `node(level, index)` is the root over the leaves
/// `index · 2^level` up to, not including, `(index + 1) · 2^level`; only complete subtrees are
/// asked for.
pub trait NodeSource {
    /// Why a node could not be had.
    type Error;

    /// The hash of one complete subtree.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// A node outside the tree was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tree has no node {index} on level {level}: ask for a size within the log")]
pub struct NodeMissing {
    /// Height above the leaves.
    pub level: u32,
    /// Place on its level.
    pub index: u64,
}

impl From<Infallible> for NodeMissing {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Leaf hashes as a tree; inner nodes are computed anew each time.
impl NodeSource for [Hash] {
    type Error = NodeMissing;

    fn node(&self, level: u32, index: u64) -> Result<Hash, NodeMissing> {
        let missing = NodeMissing { level, index };
        let width = 1u64.checked_shl(level).ok_or(missing)?;
        let start = index.checked_mul(width).ok_or(missing)?;
        let end = start.checked_add(width).ok_or(missing)?;
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let leaves = range.and_then(|(start, end)| self.get(start..end)).ok_or(missing)?;
        let mut frontier = Frontier::new();
        leaves.iter().for_each(|leaf| frontier.append(*leaf));
        Ok(frontier.root())
    }
}

/// A whole tree in memory, 64 bytes a leaf, so that a proof costs O(log n).
#[derive(Debug, Clone, Default)]
pub struct Tree {
    frontier: Frontier,
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// The empty tree.
    pub const fn new() -> Self {
        Self { frontier: Frontier::new(), levels: Vec::new() }
    }

    /// Appends a leaf hash.
    pub fn append(&mut self, leaf: Hash) {
        let levels = &mut self.levels;
        self.frontier.append_with(leaf, |level, _, hash| {
            let level = level as usize;
            if levels.len() == level {
                levels.push(Vec::new());
            }
            levels[level].push(hash);
        });
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Root over all leaves.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The right edge.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}

impl Extend<Hash> for Tree {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| self.append(leaf));
    }
}

impl FromIterator<Hash> for Tree {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut tree = Self::new();
        tree.extend(leaves);
        tree
    }
}

impl NodeSource for Tree {
    type Error = NodeMissing;

    fn node(&self, level: u32, index: u64) -> Result<Hash, NodeMissing> {
        let nodes = self.levels.get(level as usize);
        let place = usize::try_from(index).ok();
        let node = nodes.zip(place).and_then(|(nodes, place)| nodes.get(place));
        node.copied().ok_or(NodeMissing { level, index })
    }
}

/// Root over the first `size` leaves of `source`.
pub fn root_of<S: NodeSource + ?Sized>(source: &S, size: u64) -> Result<Hash, S::Error> {
    if size == 0 { Ok(empty_root()) } else { range_root(source, 0, size) }
}

/// The complete subtrees that the first `size` leaves fall into, as (level, index), largest first.
pub(super) fn complete_subtrees(size: u64) -> impl Iterator<Item = (u32, u64)> {
    (0..u64::BITS).rev().filter(move |level| size >> level & 1 == 1).map(move |level| (level, (size >> level) - 1))
}

/// The largest power of two below `len`, for `len` of at least 2 (RFC 6962: `k`).
pub(super) fn split(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}

/// Root over the leaves from `low` up to, not including, `high`. The range must be one that
/// RFC 6962 meets on its way down from a root: not empty, and `low` a multiple of the next power
/// of two.
pub(super) fn range_root<S: NodeSource + ?Sized>(source: &S, low: u64, high: u64) -> Result<Hash, S::Error> {
    let offset = low;
    let mut right: Option<Hash> = None;
    let parts: Vec<_> = complete_subtrees(high - low).collect();
    for (level, index) in parts.into_iter().rev() {
        let left = source.node(level, index + (offset >> level))?;
        right = Some(right.map_or(left, |right| node_hash(&left, &right)));
    }
    Ok(right.unwrap_or_else(empty_root))
}
