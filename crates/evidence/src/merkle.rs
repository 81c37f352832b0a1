//! The Merkle tree of RFC 6962 section 2.1 over SHA-256.

use sha2::{Digest, Sha256};
use types::Hash;

mod frontier;
mod proof;
mod tree;

pub use frontier::{Frontier, FrontierError};
pub use proof::{ConsistencyProof, InclusionProof, ProofError};
pub use tree::{NodeMissing, NodeSource, Tree, root_of};

/// Hash of a leaf: SHA-256(0x00 ‖ entry bytes).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash::new(Sha256::new().chain_update([0x00]).chain_update(entry).finalize().into())
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::new(Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into())
}

/// Root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Hash::new(Sha256::digest([]).into())
}

#[cfg(test)]
mod tests;
