use minicbor::{Decode, Encode};
use types::Hash;

use super::tree::{NodeMissing, NodeSource, range_root, split};
use super::{empty_root, node_hash};

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not in a tree of the size.
    #[error("entry {index} is not in a log of {size} entries")]
    OutOfRange {
        /// Index of the entry.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// The older tree is the larger one.
    #[error("a log of {from} entries does not grow into one of {to}")]
    Shrinks {
        /// Size of the older tree.
        from: u64,
        /// Size of the newer tree.
        to: u64,
    },
    /// More or fewer hashes than the sizes call for.
    #[error("the proof has {found} hashes where the sizes call for another number")]
    WrongLength {
        /// Number of hashes in the proof.
        found: usize,
    },
    /// The hashes do not lead to the root.
    #[error("the proof does not lead to the root of the log")]
    WrongRoot,
}

/// That one entry is in a tree (RFC 9162 section 2.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct InclusionProof {
    /// Place of the entry in the log.
    #[n(0)]
    pub index: u64,
    /// Size of the tree.
    #[n(1)]
    pub size: u64,
    /// Siblings from the leaf to the root; at most 64.
    #[n(2)]
    pub path: Vec<Hash>,
}

impl InclusionProof {
    /// The proof for leaf `index` in the first `size` leaves of `source`.
    pub fn new<S>(source: &S, index: u64, size: u64) -> Result<Self, S::Error>
    where
        S: NodeSource + ?Sized,
        S::Error: From<NodeMissing>,
    {
        if index >= size {
            return Err(NodeMissing { level: 0, index }.into());
        }
        let (mut low, mut high) = (0, size);
        let mut path = Vec::new();
        while high - low > 1 {
            let middle = low + split(high - low);
            if index < middle {
                path.push(range_root(source, middle, high)?);
                high = middle;
            } else {
                path.push(range_root(source, low, middle)?);
                low = middle;
            }
        }
        path.reverse();
        Ok(Self { index, size, path })
    }

    /// Checks that `leaf` is entry `index` of the tree with `root` (RFC 9162 section 2.1.3.2).
    pub fn verify(&self, leaf: &Hash, root: &Hash) -> Result<(), ProofError> {
        if self.index >= self.size {
            return Err(ProofError::OutOfRange { index: self.index, size: self.size });
        }
        let wrong_length = ProofError::WrongLength { found: self.path.len() };
        let (mut node, mut last) = (self.index, self.size - 1);
        let mut hash = *leaf;
        for sibling in &self.path {
            if last == 0 {
                return Err(wrong_length);
            }
            if node & 1 == 1 || node == last {
                hash = node_hash(sibling, &hash);
                climb_to_right_child(&mut node, &mut last);
            } else {
                hash = node_hash(&hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        match (last == 0, hash == *root) {
            (true, true) => Ok(()),
            (false, _) => Err(wrong_length),
            (true, false) => Err(ProofError::WrongRoot),
        }
    }
}

/// That one tree is the beginning of another (RFC 9162 section 2.1.4).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConsistencyProof {
    /// Size of the older tree.
    #[n(0)]
    pub from: u64,
    /// Size of the newer tree.
    #[n(1)]
    pub to: u64,
    /// Nodes as RFC 9162 orders them; at most 65.
    #[n(2)]
    pub path: Vec<Hash>,
}

impl ConsistencyProof {
    /// The proof that the first `from` leaves of `source` are the beginning of its first `to`.
    pub fn new<S>(source: &S, from: u64, to: u64) -> Result<Self, S::Error>
    where
        S: NodeSource + ?Sized,
        S::Error: From<NodeMissing>,
    {
        if from > to {
            return Err(NodeMissing { level: 0, index: from }.into());
        }
        let mut path = Vec::new();
        if from > 0 {
            let (mut low, mut high) = (0, to);
            while from < high {
                let middle = low + split(high - low);
                if from <= middle {
                    path.push(range_root(source, middle, high)?);
                    high = middle;
                } else {
                    path.push(range_root(source, low, middle)?);
                    low = middle;
                }
            }
            // A verifier has the whole older tree as its first root already.
            if low > 0 {
                path.push(range_root(source, low, high)?);
            }
            path.reverse();
        }
        Ok(Self { from, to, path })
    }

    /// Checks that the tree with root `old` and size `from` is the beginning of the tree with root
    /// `new` and size `to` (RFC 9162 section 2.1.4.2). The empty tree is the beginning of any.
    pub fn verify(&self, old: &Hash, new: &Hash) -> Result<(), ProofError> {
        let wrong_length = ProofError::WrongLength { found: self.path.len() };
        if self.from > self.to {
            return Err(ProofError::Shrinks { from: self.from, to: self.to });
        }
        if self.from == 0 || self.from == self.to {
            let expected = if self.from == 0 { empty_root() } else { *new };
            return match (self.path.is_empty(), *old == expected) {
                (true, true) if self.to > 0 || *new == expected => Ok(()),
                (false, _) => Err(wrong_length),
                _ => Err(ProofError::WrongRoot),
            };
        }
        let (mut node, mut last) = (self.from - 1, self.to - 1);
        while node & 1 == 1 {
            node >>= 1;
            last >>= 1;
        }
        let mut path = self.path.iter();
        let seed = if self.from.is_power_of_two() { old } else { path.next().ok_or(wrong_length)? };
        let (mut old_hash, mut new_hash) = (*seed, *seed);
        for sibling in path {
            if last == 0 {
                return Err(wrong_length);
            }
            if node & 1 == 1 || node == last {
                old_hash = node_hash(sibling, &old_hash);
                new_hash = node_hash(sibling, &new_hash);
                climb_to_right_child(&mut node, &mut last);
            } else {
                new_hash = node_hash(&new_hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        match (last == 0, old_hash == *old && new_hash == *new) {
            (true, true) => Ok(()),
            (false, _) => Err(wrong_length),
            (true, false) => Err(ProofError::WrongRoot),
        }
    }
}

/// Climbs past the levels on which the node has no sibling: the right edge of an odd tree.
fn climb_to_right_child(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        *node >>= 1;
        *last >>= 1;
    }
}
