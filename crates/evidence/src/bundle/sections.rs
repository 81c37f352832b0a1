use std::io::Read;

use types::cbor::DecodeError;
use types::limits::{ENTRY_LEN, NAME_LEN};

use super::{BundleError, CHECKPOINT, ENTRY, FINAL, Header, Incomplete, MAGIC, MAGIC_DISTANCE, Part, Problem};
use crate::canonical::{ItemError, item_len};
use crate::chain;
use crate::note::{NOTE_LEN, SignedNote};

/// Every entry is an array of four items: what its first byte has to be.
const ENTRY_START: u8 = 0x84;

/// Fewest signature lines on a log's checkpoint: one of each kind.
const LOG_LINES: usize = 2;

/// One section of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    /// The bytes of the next entry.
    Entry(Vec<u8>),
    /// The bytes of a signed checkpoint over the entries so far.
    Checkpoint(Vec<u8>),
    /// The bytes of the signed checkpoint over all entries.
    Final(Vec<u8>),
}

/// Reads a bundle section by section, at most one of them in memory. Says nothing about whether
/// what it reads is true; [`super::Audit`] does.
#[derive(Debug)]
pub struct Sections<R> {
    input: R,
    header: Header,
    entries: u64,
}

impl<R: Read> Sections<R> {
    /// Reads the header.
    pub fn open(mut input: R) -> Result<Self, BundleError> {
        let cut = BundleError::Incomplete(Incomplete::CutShort { entries: 0 });
        let magic = read_up_to(&mut input, MAGIC.len())?;
        let differing = MAGIC.iter().zip(&magic).filter(|(wanted, found)| wanted != found).count();
        match (magic.len() == MAGIC.len(), differing) {
            _ if magic.is_empty() || differing >= MAGIC_DISTANCE => return Err(BundleError::NotABundle),
            (_, 1..) => return Err(bad_header()),
            (false, 0) => return Err(cut),
            (true, 0) => {}
        }
        let mut field = |limit: usize, fixed: Option<usize>| -> Result<Vec<u8>, BundleError> {
            let len = match fixed {
                Some(len) => len,
                None => match read_up_to(&mut input, 1)?.first() {
                    Some(len) => usize::from(*len),
                    None => return Err(Incomplete::CutShort { entries: 0 }.into()),
                },
            };
            if len > limit {
                return Err(bad_header());
            }
            let bytes = read_up_to(&mut input, len)?;
            if bytes.len() == len { Ok(bytes) } else { Err(Incomplete::CutShort { entries: 0 }.into()) }
        };
        let boundary = text(field(NAME_LEN, None)?)?.parse().map_err(|_| bad_header())?;
        let origin = text(field(usize::from(u8::MAX), None)?)?.parse().map_err(|_| bad_header())?;
        let size = field(8, Some(8))?.iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
        Ok(Self { input, header: Header { boundary, origin, size }, entries: 0 })
    }

    /// What the bundle says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whole entries read so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The next section; `None` at the end of the file.
    pub fn next_section(&mut self) -> Result<Option<Section>, BundleError> {
        let head = read_up_to(&mut self.input, 5)?;
        let Some(tag) = head.first().copied() else { return Ok(None) };
        let Some(len) = head.get(1..5).and_then(|len| len.try_into().ok()).map(u32::from_be_bytes) else {
            return Err(self.cut_short());
        };
        let (limit, part) = match tag {
            ENTRY => (ENTRY_LEN, Part::Entry(self.entries)),
            _ => (NOTE_LEN, Part::Checkpoint(self.entries)),
        };
        let len = len as usize;
        let payload = read_up_to(&mut self.input, len.min(limit))?;
        let named = self.recognise(&payload).unwrap_or(part);
        if len > limit || !matches!(tag, ENTRY | CHECKPOINT | FINAL) || named != part {
            return Err(BundleError::Tampered { part: named, problem: Problem::BadFrame });
        }
        if payload.len() < len {
            return Err(self.ended_inside(tag, &payload, part));
        }
        Ok(Some(match tag {
            ENTRY => {
                self.entries += 1;
                Section::Entry(payload)
            }
            CHECKPOINT => Section::Checkpoint(payload),
            _ => Section::Final(payload),
        }))
    }

    /// What a payload is by itself, whatever the type in front of it says.
    fn recognise(&self, payload: &[u8]) -> Option<Part> {
        let is_entry = payload.first() == Some(&ENTRY_START) && item_len(payload) == Ok(payload.len());
        if is_entry {
            Some(Part::Entry(self.entries))
        } else {
            SignedNote::parse(payload).is_ok().then_some(Part::Checkpoint(self.entries))
        }
    }

    /// The file ends inside a section: it was cut, or the length in front of the section was
    /// raised. What is there tells: a whole entry or checkpoint with something behind it, or with
    /// nothing missing, was not cut.
    fn ended_inside(&self, tag: u8, payload: &[u8], part: Part) -> BundleError {
        let was_cut = if tag == ENTRY {
            matches!(item_len(payload), Err(ItemError::Truncated))
        } else {
            let is_text = cut_text(payload).is_some_and(|text| text.chars().all(|c| c >= ' ' || c == '\n'));
            let whole = SignedNote::parse(payload).is_ok_and(|note| note.lines().len() >= LOG_LINES);
            is_text && !whole
        };
        if was_cut { self.cut_short() } else { BundleError::Tampered { part, problem: Problem::BadFrame } }
    }

    fn cut_short(&self) -> BundleError {
        Incomplete::CutShort { entries: self.entries }.into()
    }
}

/// The text that `bytes` begin with, where they are UTF-8 up to a character cut at their end.
fn cut_text(bytes: &[u8]) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

fn text(bytes: Vec<u8>) -> Result<String, BundleError> {
    String::from_utf8(bytes).map_err(|_| bad_header())
}

fn bad_header() -> BundleError {
    BundleError::Tampered { part: Part::Header, problem: Problem::BadHeader }
}

/// Up to `len` bytes; fewer only at the end of the input.
fn read_up_to<R: Read>(input: &mut R, len: usize) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::with_capacity(len.min(ENTRY_LEN));
    input.by_ref().take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The problem of an entry that is not one, for readers that go no further than sections.
impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        Self::Entry(chain::Problem::Malformed(error))
    }
}
