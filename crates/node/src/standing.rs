//! In which start this node runs, and how far the hub's log was when it last heard of it. So hub and node each notice
//! that the other's store was put back to an earlier state (S7).

use crypto::Entropy;
use minicbor::{Decode, Encode};
use session::mesh::{NodeMessage, Standing};
use store::{CellName, StoreHandle, WriteError};
use types::{Hash, cbor};

use crate::files::FilesError;
use crate::run::NodeError;
use crate::vault::LoadError;

const CELL: &str = "starts";
/// Most starts that are remembered since the last that the hub confirmed.
const MOST: usize = 16;

#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Kept {
    /// The start that the hub last confirmed, those since then, and this one.
    #[n(0)]
    starts: Vec<Hash>,
    #[n(1)]
    seen: Option<Standing>,
}

/// What became of the hub's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The log goes on from where it was.
    Follows,
    /// The hub's store was put back to an earlier state.
    Rewound,
}

/// This start, and the hub's.
pub(crate) struct Starts {
    kept: Kept,
    start: Hash,
    earlier: Vec<Hash>,
    account: Option<u64>,
    rewound: bool,
}

impl Starts {
    /// Names this start, durably, before anything is given to anybody.
    pub(crate) async fn begin(store: &StoreHandle, entropy: &Entropy) -> Result<Self, NodeError> {
        let name = CellName::new(CELL)?;
        let mut kept: Kept = match store.cell(name.clone()).await.map_err(LoadError::from)? {
            Some(bytes) => cbor::from_slice(&bytes).map_err(|_| LoadError::Damaged(CELL))?,
            None => Kept::default(),
        };
        let start = Hash::new(entropy.array().map_err(FilesError::from)?);
        let earlier = kept.starts.clone();
        kept.starts.push(start);
        if kept.starts.len() > MOST {
            // The one that the hub confirmed stays.
            kept.starts.remove(1);
        }
        store.put_cells(vec![(name, cbor::to_vec(&kept))]).await?;
        Ok(Self { kept, start, earlier, account: None, rewound: false })
    }

    /// The last account of keys given to applications that the store had.
    pub(crate) fn set_account(&mut self, account: Option<u64>) {
        self.account = account;
    }

    /// The first word to the hub.
    pub(crate) fn word(&self) -> NodeMessage {
        let (start, earlier) = (self.start, self.earlier.clone());
        NodeMessage::Started { start, earlier, account: self.account, seen: self.kept.seen }
    }

    /// Takes the hub's word, and keeps how far its log is.
    pub(crate) async fn heard(&mut self, said: Standing, store: &StoreHandle) -> Result<Verdict, WriteError> {
        self.rewound = self.kept.seen.is_some_and(|seen| !follows(&seen, &said));
        if self.rewound {
            return Ok(Verdict::Rewound);
        }
        let next = Kept { starts: vec![self.start], seen: Some(said) };
        if next != self.kept
            && let Ok(name) = CellName::new(CELL)
        {
            store.put_cells(vec![(name, cbor::to_vec(&next))]).await?;
            self.kept = next;
        }
        Ok(Verdict::Follows)
    }

    /// Whether the hub's log was behind what this node saw of it when the hub last spoke.
    pub(crate) fn hub_is_rewound(&self) -> bool {
        self.rewound
    }
}

/// Whether a log that was at `seen` can be at `said`.
fn follows(seen: &Standing, said: &Standing) -> bool {
    let same_start = said.starts != seen.starts || said.start == seen.start;
    let same_entry = said.size != seen.size || said.leaf == seen.leaf;
    said.starts >= seen.starts && said.size >= seen.size && same_start && same_entry
}

#[cfg(test)]
mod tests {
    use super::follows;
    use proptest::prelude::*;
    use session::mesh::Standing;
    use types::Hash;

    /// The log of a hub as it was written once: the entry at each size, the start in which it was.
    fn at(size: u64, fork: u8) -> Standing {
        let starts = 1 + size / 7;
        let start = Hash::new([starts as u8 ^ fork; 32]);
        Standing { starts, start, size, leaf: Hash::new([size as u8 ^ fork; 32]) }
    }

    proptest! {
        /// S7: a log that goes on is never taken for one that was put back; one that is shorter always is.
        #[test]
        fn s7_a_log_that_was_put_back_is_noticed(seen in 1..100_u64, said in 1..100_u64) {
            prop_assert_eq!(follows(&at(seen, 0), &at(said, 0)), said >= seen);
            prop_assert!(said > seen || !follows(&at(seen, 0), &at(said, 0x80)));
        }
    }
}
