use std::io::Read;

use minicbor::{Decode, Encode};

use super::{BundleError, Header, Incomplete, Part, Problem, Section, Sections, Summary};
use crate::chain::{self, After, Chain};
use crate::checkpoint::SignedCheckpoint;
use crate::entry::{Entry, entry_hash};
use crate::note::NoteVerifier;
use crate::pins::Pins;

/// One checked item of a bundle. An entry is proven only by a checkpoint after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<B> {
    /// The next entry, linked to all before it.
    Entry {
        /// Its bytes.
        bytes: Vec<u8>,
        /// What they mean.
        entry: Entry<B>,
    },
    /// A signed checkpoint that vouches for all entries before it.
    Checkpoint(SignedCheckpoint),
}

/// Checks a bundle against pins, item by item, in memory bounded by one section.
///
/// The bundle holds when [`Audit::next_item`] has returned `None`.
#[derive(Debug)]
pub struct Audit<'p, R, V> {
    sections: Sections<R>,
    pins: &'p Pins,
    verifier: V,
    chain: Chain,
    checkpoints: u64,
    last: Option<SignedCheckpoint>,
    other_genesis: bool,
}

impl<'p, R: Read, V: NoteVerifier> Audit<'p, R, V> {
    /// Reads the header and holds it against the pins.
    pub fn open(input: R, pins: &'p Pins, verifier: V) -> Result<Self, BundleError> {
        let sections = Sections::open(input)?;
        let Header { boundary, origin, .. } = sections.header().clone();
        if boundary != *pins.boundary() || origin != *pins.policy().origin() {
            return Err(tampered(Part::Header, Problem::OtherLog { boundary, origin }));
        }
        Ok(Self { sections, pins, verifier, chain: Chain::new(), checkpoints: 0, last: None, other_genesis: false })
    }

    /// The next item; `None` once the final checkpoint has been checked and nothing follows it.
    pub fn next_item<B>(&mut self) -> Result<Option<Item<B>>, BundleError>
    where
        B: for<'b> Decode<'b, ()> + Encode<()>,
    {
        if self.last.is_some() {
            return Ok(None);
        }
        // After the entry itself was given, so that a reader who knows its meaning can say who differs.
        if self.other_genesis {
            return Err(tampered(Part::Entry(0), Problem::OtherGenesis));
        }
        match self.sections.next_section()? {
            Some(Section::Entry(bytes)) => {
                let entry = self.entry(&bytes)?;
                Ok(Some(Item::Entry { bytes, entry }))
            }
            Some(Section::Checkpoint(bytes)) => {
                let signed = self.checkpoint(&bytes)?;
                Ok(Some(Item::Checkpoint(signed)))
            }
            Some(Section::Final(bytes)) => {
                let signed = self.checkpoint(&bytes)?;
                self.end()?;
                self.last = Some(signed.clone());
                Ok(Some(Item::Checkpoint(signed)))
            }
            None => Err(self.no_final()),
        }
    }

    /// What the bundle was found to prove; `None` before its end.
    pub fn summary(&self) -> Option<Summary> {
        self.last.as_ref().map(|last| Summary {
            header: self.sections.header().clone(),
            root: last.checkpoint().root,
            last_entry_at: self.chain.head().at,
            signed_at: last.at(),
            checkpoints: self.checkpoints,
        })
    }

    /// What the bundle says of itself.
    pub fn header(&self) -> &Header {
        self.sections.header()
    }

    fn entry<B>(&mut self, bytes: &[u8]) -> Result<Entry<B>, BundleError>
    where
        B: for<'b> Decode<'b, ()> + Encode<()>,
    {
        let entry = match self.chain.push(bytes) {
            Ok(entry) => entry,
            Err(error) if error.problem == chain::Problem::BrokenLink => return Err(self.blame(bytes).into()),
            Err(error) => return Err(error.into()),
        };
        let size = self.chain.size();
        self.other_genesis = size == 1 && entry_hash(bytes) != *self.pins.genesis();
        if self.pins.seen().iter().any(|seen| seen.size == size && seen.root != self.chain.root()) {
            return Err(tampered(Part::Entry(size - 1), Problem::NotAsSeen));
        }
        Ok(entry)
    }

    /// Looks one section further to tell which of two neighbours was altered.
    fn blame(&mut self, bytes: &[u8]) -> chain::ChainError {
        match self.sections.next_section() {
            Ok(Some(Section::Entry(next))) => self.chain.blame(bytes, After::Entry(&next)),
            Ok(Some(Section::Checkpoint(note) | Section::Final(note))) => {
                let signed = self.pins.policy().open_exact(&note, &self.verifier).ok();
                let signed = signed.filter(|signed| signed.checkpoint().size == self.chain.size() + 1);
                let after = signed.map_or(After::Nothing, |signed| After::Root(signed.checkpoint().root));
                self.chain.blame(bytes, after)
            }
            Ok(None) | Err(_) => self.chain.blame(bytes, After::Nothing),
        }
    }

    fn checkpoint(&mut self, bytes: &[u8]) -> Result<SignedCheckpoint, BundleError> {
        let entries = self.chain.size();
        let opened = self.pins.policy().open_exact(bytes, &self.verifier);
        let signed = opened.map_err(|error| tampered(Part::Checkpoint(entries), error.into()))?;
        let covered = signed.checkpoint().size;
        if covered > entries {
            return Err(tampered(Part::Entry(entries), Problem::Missing { signed: covered }));
        }
        if covered < entries {
            return Err(tampered(Part::Checkpoint(entries), Problem::Misplaced { signed: covered }));
        }
        self.chain.confirm(&signed.checkpoint().root)?;
        self.checkpoints += 1;
        Ok(signed)
    }

    /// What follows a final checkpoint that holds: nothing, and all that was promised came before.
    fn end(&mut self) -> Result<(), BundleError> {
        let entries = self.chain.size();
        let promised = self.sections.header().size;
        let at_end = matches!(self.sections.next_section(), Ok(None));
        match (at_end, promised == entries) {
            (true, true) => {}
            (true, false) => {
                return Err(tampered(Part::Header, Problem::WrongCount { promised, signed: entries }));
            }
            (false, true) => return Err(tampered(Part::End, Problem::Trailing)),
            (false, false) => return Err(tampered(Part::Checkpoint(entries), Problem::BadFrame)),
        }
        match self.pins.seen().iter().find(|seen| seen.size > entries) {
            Some(seen) => Err(Incomplete::RolledBack { entries, seen: seen.size }.into()),
            None => Ok(()),
        }
    }

    /// The file ends without a final checkpoint: cut, unless all that was promised is there and
    /// vouched for, which leaves only the type of the last section to be wrong.
    fn no_final(&self) -> BundleError {
        let entries = self.chain.size();
        if entries == self.sections.header().size && self.chain.confirmed() == entries && self.checkpoints > 0 {
            return tampered(Part::Checkpoint(entries), Problem::BadFrame);
        }
        Incomplete::CutShort { entries }.into()
    }
}

fn tampered(part: Part, problem: Problem) -> BundleError {
    BundleError::Tampered { part, problem }
}
