//! Checks a log entry by entry, and names the first one that is not as it was written.

use minicbor::{Decode, Decoder, Encode};
use types::cbor::DecodeError;
use types::limits::ENTRY_LEN;
use types::{Hash, Timestamp};

use crate::entry::{Entry, Head, entry_hash};
use crate::merkle::{Frontier, leaf_hash};

/// The first entry that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {index}: {problem}")]
pub struct ChainError {
    /// Index of the entry.
    pub index: u64,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not the canonical bytes of an entry.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// Longer than an entry can be.
    #[error("longer than {ENTRY_LEN} bytes")]
    TooLong,
    /// Stands at another place than it says.
    #[error("it says that it is entry {found}")]
    WrongIndex {
        /// The index in the entry.
        found: u64,
    },
    /// Does not carry the hash of the entry before.
    #[error("its link to the entry before was altered")]
    BrokenLink,
    /// The entry after carries another hash, and is itself linked as written.
    #[error("altered: the entry after it carries the hash of other bytes")]
    Altered,
    /// Earlier than the entry before.
    #[error("its time {at:?} is before that of the entry before, {before:?}")]
    TimeRunsBack {
        /// Time of this entry.
        at: Timestamp,
        /// Time of the entry before.
        before: Timestamp,
    },
    /// The links hold, but the entries do not give the signed root.
    #[error("altered, or remade after an altered one: entries {confirmed} to here do not give the signed root")]
    NotInRoot {
        /// First entry that no earlier checkpoint vouches for.
        confirmed: u64,
    },
}

/// What stands after an entry whose link is broken; it tells which of two neighbours was altered.
#[derive(Debug, Clone, Copy)]
pub enum After<'a> {
    /// The bytes of the next entry.
    Entry(&'a [u8]),
    /// A signed root over everything up to and with the entry.
    Root(Hash),
    /// Nothing that helps.
    Nothing,
}

/// A log as far as it has been checked.
#[derive(Debug, Clone)]
pub struct Chain {
    head: Head,
    frontier: Frontier,
    confirmed: u64,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The beginning of every log.
    pub const fn new() -> Self {
        Self { head: Head::EMPTY, frontier: Frontier::new(), confirmed: 0 }
    }

    /// From a point that was checked before; `None` where the two disagree on the size.
    pub fn resume(head: Head, frontier: Frontier) -> Option<Self> {
        (head.size == frontier.size()).then_some(Self { head, frontier, confirmed: head.size })
    }

    /// Checks the next entry: length, canonical form, index, link and time, in this order. On
    /// error nothing changes.
    pub fn push<B>(&mut self, bytes: &[u8]) -> Result<Entry<B>, ChainError>
    where
        B: for<'b> Decode<'b, ()> + Encode<()>,
    {
        let bad = |problem| ChainError { index: self.head.size, problem };
        if bytes.len() > ENTRY_LEN {
            return Err(bad(Problem::TooLong));
        }
        let entry = Entry::<B>::parse(bytes).map_err(|error| bad(error.into()))?;
        if entry.index != self.head.size {
            return Err(bad(Problem::WrongIndex { found: entry.index }));
        }
        if entry.prev != self.head.hash {
            return Err(bad(Problem::BrokenLink));
        }
        if entry.at < self.head.at {
            return Err(bad(Problem::TimeRunsBack { at: entry.at, before: self.head.at }));
        }
        self.head = Head { size: self.head.size + 1, hash: entry_hash(bytes), at: entry.at };
        self.frontier.append(leaf_hash(bytes));
        Ok(entry)
    }

    /// Holds the entries so far against a root that was signed over as many.
    pub fn confirm(&mut self, root: &Hash) -> Result<(), ChainError> {
        if self.root() != *root {
            let problem = Problem::NotInRoot { confirmed: self.confirmed };
            return Err(ChainError { index: self.head.size.saturating_sub(1), problem });
        }
        self.confirmed = self.head.size;
        Ok(())
    }

    /// Says which of two neighbours was altered, after [`Chain::push`] refused `entry` for its
    /// link: `entry` itself, or the one before it. An entry that the one after it still links to
    /// as it stands, or that with its link mended gives the signed root, is the unaltered one or
    /// the altered one respectively.
    pub fn blame(&self, entry: &[u8], after: After<'_>) -> ChainError {
        let index = self.head.size;
        let itself = ChainError { index, problem: Problem::BrokenLink };
        if index == self.confirmed {
            return itself;
        }
        let one_before = match after {
            After::Entry(next) => link_of(next).is_some_and(|(_, prev)| prev == entry_hash(entry)),
            After::Root(root) => !self.gives_root_when_mended(entry, &root),
            After::Nothing => false,
        };
        if one_before { ChainError { index: index - 1, problem: Problem::Altered } } else { itself }
    }

    fn gives_root_when_mended(&self, entry: &[u8], root: &Hash) -> bool {
        let Some((end, _)) = link_of(entry) else { return false };
        let mut mended = entry.to_vec();
        mended[end - 32..end].copy_from_slice(self.head.hash.as_ref());
        let mut frontier = self.frontier.clone();
        frontier.append(leaf_hash(&mended));
        frontier.root() == *root
    }

    /// The end of what was checked.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Number of entries checked.
    pub fn size(&self) -> u64 {
        self.head.size
    }

    /// Number of entries that a signed root vouches for.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Root over what was checked.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The right edge of the tree over what was checked.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}

/// The link of an entry whose body may be damaged, and where in its bytes the link ends.
fn link_of(entry: &[u8]) -> Option<(usize, Hash)> {
    let mut decoder = Decoder::new(entry);
    decoder.array().ok().filter(|len| *len == Some(4))?;
    decoder.u64().ok()?;
    let hash = decoder.decode().ok()?;
    Some((decoder.position(), hash))
}

#[cfg(test)]
mod tests;
