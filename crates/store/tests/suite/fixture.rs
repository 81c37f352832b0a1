//! Stores, entries and notes for tests.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crypto::{Entropy, MasterKey, Secret32};
use evidence::{Checkpoint, Frontier, Opaque, SignedNote};
use store::{Batch, CellName, Store, VaultName, VaultSecret};
use types::{BoundaryId, Timestamp};

pub(crate) fn boundary() -> BoundaryId {
    "alpha".parse().unwrap()
}

pub(crate) fn master(number: u8) -> MasterKey {
    MasterKey::from_bytes(&[number; 32])
}

pub(crate) fn entropy() -> Arc<Entropy> {
    static ENTROPY: OnceLock<Arc<Entropy>> = OnceLock::new();
    Arc::clone(ENTROPY.get_or_init(|| Arc::new(Entropy::system().unwrap())))
}

pub(crate) fn create(path: &Path) -> Store {
    Store::create(path, &boundary(), master(1), entropy()).unwrap()
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, &boundary(), master(1), entropy()).unwrap()
}

pub(crate) fn cell(name: &str) -> CellName {
    CellName::new(name).unwrap()
}

pub(crate) fn secret_name(name: &str) -> VaultName {
    VaultName::new(name).unwrap()
}

pub(crate) fn secret(bytes: &[u8]) -> VaultSecret {
    VaultSecret::from_slice(bytes)
}

/// A writer of well-formed logs: it knows the chain and the tree, as a hub does.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) head: evidence::Head,
    pub(crate) tree: Frontier,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { head: evidence::Head::EMPTY, tree: Frontier::new() }
    }

    /// A batch of entries with bodies of the given lengths, filled with `fill`, and its checkpoint.
    pub(crate) fn batch(&mut self, lens: &[usize], fill: u8) -> Batch {
        let mut batch = Batch::default();
        for len in lens {
            let mut body = vec![0x59];
            body.extend_from_slice(&(300 + *len as u16).to_be_bytes());
            body.resize(303 + len, fill);
            let at = Timestamp::from_millis(1_000 + self.head.size);
            let entry = self.head.next(at, Opaque::new(body).unwrap());
            let sealed = entry.seal().unwrap();
            self.head = self.head.after(entry.at, &sealed);
            self.tree.append(sealed.leaf());
            batch.entries.push(sealed.into());
        }
        batch.checkpoint = Some(self.note());
        batch
    }

    /// The checkpoint of the log as it is. Its signature is no signature: the store checks none.
    fn note(&self) -> String {
        let origin: evidence::KeyName = "test.example/alpha".parse().unwrap();
        let checkpoint = Checkpoint { origin: origin.clone(), size: self.tree.size(), root: self.tree.root() };
        // A line of the right form: 66 zero bytes, the first four of them the key's id.
        let note = format!("{checkpoint}\n\u{2014} {origin} {}\n", "A".repeat(88));
        SignedNote::parse(note.as_bytes()).unwrap().to_string()
    }
}
