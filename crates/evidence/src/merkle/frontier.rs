use minicbor::encode::Write;
use minicbor::{Decode, Decoder, Encode, Encoder};
use types::Hash;

use super::tree::{NodeSource, complete_subtrees};
use super::{empty_root, node_hash};

/// The right edge of a tree: the roots of its complete subtrees, largest first. Enough to append
/// to the tree and to know its root, in at most 64 hashes.
///
/// Encoded as the canonical CBOR array `[size, [hash, …]]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    // Invariant: one hash for every bit set in `size`, highest bit first.
    nodes: Vec<Hash>,
}

/// The hashes do not fit the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frontier of {size} leaves has {} hashes, not {found}", .size.count_ones())]
pub struct FrontierError {
    /// Number of leaves claimed.
    pub size: u64,
    /// Number of hashes given.
    pub found: usize,
}

impl Frontier {
    /// The frontier of the empty tree.
    pub const fn new() -> Self {
        Self { size: 0, nodes: Vec::new() }
    }

    /// From its parts: number of leaves, and the roots of the complete subtrees, largest first.
    pub fn from_parts(size: u64, nodes: Vec<Hash>) -> Result<Self, FrontierError> {
        // The bound leaves room to append for ever without overflow.
        if nodes.len() == size.count_ones() as usize && size <= u64::MAX / 2 {
            Ok(Self { size, nodes })
        } else {
            Err(FrontierError { size, found: nodes.len() })
        }
    }

    /// The frontier of the first `size` leaves of `source`.
    pub fn of<S: NodeSource + ?Sized>(source: &S, size: u64) -> Result<Self, S::Error> {
        let nodes =
            complete_subtrees(size).map(|(level, index)| source.node(level, index)).collect::<Result<_, _>>()?;
        Ok(Self { size, nodes })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the complete subtrees, largest first.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Appends a leaf hash. `completed` sees every node that this finishes, the leaf first, as
    /// (level, index, hash): what a store of nodes has to keep.
    pub fn append_with(&mut self, leaf: Hash, mut completed: impl FnMut(u32, u64, Hash)) {
        let mut node = leaf;
        completed(0, self.size, node);
        for level in 1..=self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(&left, &node);
                completed(level, self.size >> level, node);
            }
        }
        self.nodes.push(node);
        self.size += 1;
    }

    /// Appends a leaf hash.
    pub fn append(&mut self, leaf: Hash) {
        self.append_with(leaf, |_, _, _| {});
    }

    /// Root of the tree.
    pub fn root(&self) -> Hash {
        let fold = self.nodes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        fold.unwrap_or_else(empty_root)
    }
}

impl<C> Encode<C> for Frontier {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.u64(self.size)?;
        self.nodes.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Frontier {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("a frontier is an array of 2 items"));
        }
        let size = d.u64()?;
        // Not more than 64 hashes are taken in, whatever length the array claims.
        let mut nodes = Vec::new();
        for node in d.array_iter_with::<C, Hash>(ctx)?.take(65) {
            nodes.push(node?);
        }
        Self::from_parts(size, nodes).map_err(minicbor::decode::Error::custom)
    }
}
