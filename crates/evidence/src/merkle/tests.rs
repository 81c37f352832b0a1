use proptest::prelude::*;
use types::{Hash, cbor};

use super::{ConsistencyProof, Frontier, InclusionProof, NodeSource, Tree, empty_root, leaf_hash, node_hash, root_of};

/// The eight leaves of the RFC 6962 reference tests, published with certificate-transparency-go.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

/// Their roots for sizes 1 to 8.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn reference_leaves() -> Vec<Hash> {
    LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect()
}

fn numbered_leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
}

/// The definition of RFC 6962 section 2.1, word for word: the model everything is held against.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
        }
    }
}

fn hashes(texts: &[&str]) -> Vec<Hash> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// QT-10: roots of the RFC 6962 reference tests.
#[test]
fn roots_are_those_of_the_reference_tests() {
    assert_eq!(empty_root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let leaves = reference_leaves();
    let mut frontier = Frontier::new();
    for (size, root) in (1..).zip(ROOTS) {
        frontier.append(leaves[size - 1]);
        assert_eq!(frontier.root().to_string(), root);
        assert_eq!(root_of(leaves.as_slice(), size as u64).unwrap().to_string(), root);
    }
}

/// QT-10: proofs of the RFC 6962 reference tests.
#[test]
fn proofs_are_those_of_the_reference_tests() {
    let leaves = reference_leaves();
    let path = |index, size| InclusionProof::new(leaves.as_slice(), index, size).unwrap().path;
    assert_eq!(path(0, 1), []);
    assert_eq!(
        path(0, 8),
        hashes(&[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ])
    );
    assert_eq!(
        path(5, 8),
        hashes(&[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ])
    );
    assert_eq!(path(2, 3), hashes(&["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]));
    let path = |from, to| ConsistencyProof::new(leaves.as_slice(), from, to).unwrap().path;
    assert_eq!(path(1, 1), []);
    assert_eq!(path(1, 8), InclusionProof::new(leaves.as_slice(), 0, 8).unwrap().path);
    assert_eq!(
        path(6, 8),
        hashes(&[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ])
    );
    assert_eq!(
        path(2, 5),
        hashes(&[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ])
    );
}

/// QT-10: every inclusion proof of every size up to 300 holds, for its own leaf only.
#[test]
fn every_inclusion_proof_holds_and_only_for_its_leaf() {
    let leaves = numbered_leaves(300);
    let tree: Tree = leaves.iter().copied().collect();
    for size in 1..=300u64 {
        let root = naive_root(&leaves[..size as usize]);
        assert_eq!(root_of(&tree, size).unwrap(), root);
        for index in 0..size {
            let proof = InclusionProof::new(&tree, index, size).unwrap();
            assert_eq!(proof.verify(&leaves[index as usize], &root), Ok(()));
            assert!(proof.verify(&leaves[(index as usize + 1) % 300], &root).is_err());
        }
    }
}

/// QT-10: every consistency proof between sizes up to 300 holds.
#[test]
fn every_consistency_proof_holds() {
    let leaves = numbered_leaves(300);
    let tree: Tree = leaves.iter().copied().collect();
    let roots: Vec<_> = (0..=300).map(|size| naive_root(&leaves[..size])).collect();
    for to in 0..=300u64 {
        for from in 0..=to {
            let proof = ConsistencyProof::new(&tree, from, to).unwrap();
            assert_eq!(proof.verify(&roots[from as usize], &roots[to as usize]), Ok(()), "{from} -> {to}");
        }
    }
}

#[test]
fn a_proof_outside_the_tree_is_refused() {
    let tree: Tree = numbered_leaves(5).into_iter().collect();
    assert!(InclusionProof::new(&tree, 5, 5).is_err());
    assert!(InclusionProof::new(&tree, 0, 6).is_err());
    assert!(ConsistencyProof::new(&tree, 3, 6).is_err());
    assert!(ConsistencyProof::new(&tree, 4, 3).is_err());
    assert!(tree.node(64, 0).is_err() && tree.node(2, 1).is_err());
}

/// What `change` makes of a path of hashes.
fn altered(path: &[Hash], change: u8, at: usize) -> Vec<Hash> {
    let mut path = path.to_vec();
    let at = at % (path.len() + 1);
    match change {
        0 => path.insert(at, leaf_hash(b"extra")),
        1 if at < path.len() => drop(path.remove(at)),
        _ if at < path.len() => path[at] = leaf_hash(b"other"),
        _ => path.push(Hash::ZERO),
    }
    path
}

proptest! {
    /// QT-10: frontier, stored nodes and definition agree, and an altered proof never holds.
    #[test]
    fn trees_agree_and_altered_proofs_fail(size in 1u64..300, from in any::<u64>(), index in any::<u64>(), change in 0u8..3, at in any::<usize>()) {
        let leaves = numbered_leaves(size);
        let tree: Tree = leaves.iter().copied().collect();
        let root = naive_root(&leaves);
        prop_assert_eq!(tree.root(), root);
        prop_assert_eq!(&Frontier::of(leaves.as_slice(), size).unwrap(), tree.frontier());

        let (index, from) = (index % size, from % size);
        let mut proof = InclusionProof::new(&tree, index, size).unwrap();
        prop_assert_eq!(&proof, &InclusionProof::new(leaves.as_slice(), index, size).unwrap());
        proof.path = altered(&proof.path, change, at);
        prop_assert!(proof.verify(&leaves[index as usize], &root).is_err());

        let mut proof = ConsistencyProof::new(&tree, from, size).unwrap();
        proof.path = altered(&proof.path, change, at);
        prop_assert!(proof.verify(&naive_root(&leaves[..from as usize]), &root).is_err());
    }

    /// A proof says which sizes it is for: it does not hold between other trees.
    #[test]
    fn a_consistency_proof_is_bound_to_its_roots(from in 1u64..150, more in 1u64..150) {
        let leaves = numbered_leaves(from + more);
        let proof = ConsistencyProof::new(leaves.as_slice(), from, from + more).unwrap();
        let old = naive_root(&leaves[..from as usize]);
        let new = naive_root(&leaves);
        prop_assert!(proof.verify(&new, &new).is_err());
        prop_assert!(proof.verify(&old, &old).is_err());
        prop_assert!(proof.verify(&leaf_hash(b"x"), &new).is_err());
    }

    #[test]
    fn a_frontier_has_one_encoding(size in 0u64..300) {
        let leaves = numbered_leaves(size);
        let frontier = Frontier::of(leaves.as_slice(), size).unwrap();
        let bytes = cbor::to_vec(&frontier);
        prop_assert_eq!(cbor::from_slice::<Frontier>(&bytes).unwrap(), frontier.clone());
        if size > 0 {
            prop_assert!(Frontier::from_parts(size, frontier.nodes()[1..].to_vec()).is_err());
        }
    }
}
