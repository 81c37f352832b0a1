//! Seeded keys, so that every run signs and alters the same bytes.

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use evidence::note::SigningFailed;
use evidence::{
    Algorithm, Checkpoint, CheckpointPolicy, Entry, Head, KeyName, NoteSigner, Opaque, Pins, Sealed, SignedNote, Tree,
    VerifierKey,
};
use types::{BoundaryId, Hash, Timestamp};

pub(crate) enum Pair {
    Ed25519(Box<Ed25519KeyPair>),
    MlDsa44(Box<PqdsaKeyPair>),
}

pub(crate) struct Signer {
    pair: Pair,
    key: VerifierKey,
}

impl Signer {
    pub(crate) fn new(name: &str, algorithm: Algorithm, seed: u8) -> Self {
        let seed = [seed; 32];
        let (pair, public) = match algorithm {
            Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
                let public = pair.public_key().as_ref().to_vec();
                (Pair::Ed25519(Box::new(pair)), public)
            }
            Algorithm::MlDsa44 => {
                let pair = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, &seed).unwrap();
                let public = pair.public_key().as_ref().to_vec();
                (Pair::MlDsa44(Box::new(pair)), public)
            }
        };
        Self { pair, key: VerifierKey::new(name.parse().unwrap(), algorithm, public).unwrap() }
    }
}

impl NoteSigner for Signer {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        Ok(match &self.pair {
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::MlDsa44(pair) => {
                let mut signature = vec![0; 2_420];
                pair.sign(message, &mut signature).unwrap();
                signature
            }
        })
    }
}

pub(crate) fn verifier(key: &VerifierKey, message: &[u8], signature: &[u8]) -> bool {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => {
            UnparsedPublicKey::new(&ED25519, key.public()).verify(message, signature).is_ok()
        }
        Algorithm::MlDsa44 => UnparsedPublicKey::new(&ML_DSA_44, key.public()).verify(message, signature).is_ok(),
    }
}

/// A log with its keys, as a hub keeps it.
pub(crate) struct Log {
    pub(crate) origin: KeyName,
    pub(crate) classical: Signer,
    pub(crate) quantum_safe: Signer,
    pub(crate) head: Head,
    pub(crate) entries: Vec<Sealed>,
    pub(crate) tree: Tree,
}

impl Log {
    pub(crate) fn new(origin: &str) -> Self {
        Self {
            origin: origin.parse().unwrap(),
            classical: Signer::new(origin, Algorithm::Ed25519, 1),
            quantum_safe: Signer::new(origin, Algorithm::MlDsa44, 2),
            head: Head::EMPTY,
            entries: Vec::new(),
            tree: Tree::new(),
        }
    }

    pub(crate) fn with_entries(origin: &str, count: u64) -> Self {
        let mut log = Self::new(origin);
        (0..count).for_each(|number| log.push(number));
        log
    }

    pub(crate) fn push(&mut self, number: u64) {
        let body = Opaque::new(types::cbor::to_vec(&("step", number))).unwrap();
        let entry: Entry<Opaque> = self.head.next(Timestamp::from_millis(1_700_000_000_000 + number), body);
        let sealed = entry.seal().unwrap();
        self.head = self.head.after(entry.at, &sealed);
        self.tree.append(sealed.leaf());
        self.entries.push(sealed);
    }

    pub(crate) fn checkpoint(&self, size: u64) -> Checkpoint {
        let root = evidence::merkle::root_of(&self.tree, size).unwrap();
        Checkpoint { origin: self.origin.clone(), size, root }
    }

    pub(crate) fn signed(&self, size: u64) -> SignedNote {
        self.checkpoint(size)
            .sign(Timestamp::from_millis(1_700_000_099_999), &[&self.classical, &self.quantum_safe])
            .unwrap()
    }

    pub(crate) fn policy(&self) -> CheckpointPolicy {
        let keys = vec![self.classical.key().clone(), self.quantum_safe.key().clone()];
        CheckpointPolicy::new(self.origin.clone(), keys).unwrap()
    }

    pub(crate) fn boundary() -> BoundaryId {
        "north".parse().unwrap()
    }

    pub(crate) fn pins(&self) -> Pins {
        let genesis = self.entries.first().map_or(Hash::ZERO, Sealed::hash);
        Pins::new(Self::boundary(), self.policy(), genesis)
    }

    pub(crate) fn root(&self, size: u64) -> Hash {
        self.checkpoint(size).root
    }
}
