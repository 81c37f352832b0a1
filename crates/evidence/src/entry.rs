//! One entry of the log: one step of the kernel, chained to the entry before it.

use minicbor::encode::Write;
use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::Serialize;
use types::cbor::{self, DecodeError};
use types::limits::ENTRY_LEN;
use types::{Hash, Label, Timestamp};

use crate::canonical;
use crate::merkle::leaf_hash;

/// One entry. Its bytes are the canonical CBOR array `[index, prev, at, body]`
/// (`docs/format/entry.md`), at most 65,535 of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<B> {
    /// Place in the log, from 0.
    pub index: u64,
    /// Hash of the entry before; [`Hash::ZERO`] in entry 0.
    pub prev: Hash,
    /// When the kernel took the step; never earlier than in the entry before.
    pub at: Timestamp,
    /// What happened.
    pub body: B,
}

impl<B, C> Encode<C> for Entry<B>
where
    B: Encode<C>,
{
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(4)?.u64(self.index)?;
        self.prev.encode(e, ctx)?;
        self.at.encode(e, ctx)?;
        self.body.encode(e, ctx)
    }
}

impl<'b, B, C> Decode<'b, C> for Entry<B>
where
    B: Decode<'b, C>,
{
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(4) {
            return Err(minicbor::decode::Error::message("an entry is an array of 4 items"));
        }
        Ok(Self {
            index: d.u64()?,
            prev: Hash::decode(d, ctx)?,
            at: Timestamp::decode(d, ctx)?,
            body: B::decode(d, ctx)?,
        })
    }
}

/// An entry that does not fit the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the entry takes {len} bytes: split the step so that it takes at most {ENTRY_LEN}")]
pub struct TooLong {
    /// Length of the encoded entry in bytes.
    pub len: usize,
}

impl<B: Encode<()>> Entry<B> {
    /// The entry's canonical bytes with both of their hashes.
    pub fn seal(&self) -> Result<Sealed, TooLong> {
        Sealed::new(cbor::to_vec(self))
    }
}

impl<B> Entry<B>
where
    B: for<'b> Decode<'b, ()> + Encode<()>,
{
    /// Parses the canonical bytes of one entry and nothing more.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        cbor::from_slice(bytes)
    }
}

/// The canonical bytes of an entry and the two hashes they have in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    bytes: Vec<u8>,
    hash: Hash,
    leaf: Hash,
}

impl Sealed {
    fn new(bytes: Vec<u8>) -> Result<Self, TooLong> {
        if bytes.len() > ENTRY_LEN {
            return Err(TooLong { len: bytes.len() });
        }
        Ok(Self { hash: entry_hash(&bytes), leaf: leaf_hash(&bytes), bytes })
    }

    /// The bytes to store.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash the next entry carries as `prev`.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The leaf of the Merkle tree (RFC 6962 section 2.1).
    pub fn leaf(&self) -> Hash {
        self.leaf
    }

    /// The bytes to store, taken out.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Hash of an entry in the chain: SHA-256 in the domain [`Label::ENTRY`] over its bytes.
pub fn entry_hash(bytes: &[u8]) -> Hash {
    Label::ENTRY.hash(&[bytes])
}

/// The end of a log: all that the next entry depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Head {
    /// Number of entries.
    #[n(0)]
    pub size: u64,
    /// Hash of the last entry; [`Hash::ZERO`] for an empty log.
    #[n(1)]
    pub hash: Hash,
    /// Time of the last entry; zero for an empty log.
    #[n(2)]
    pub at: Timestamp,
}

impl Head {
    /// The end of a log without entries.
    pub const EMPTY: Self = Self { size: 0, hash: Hash::ZERO, at: Timestamp::from_millis(0) };

    /// The entry that follows this head. Time never runs backwards in a log: where the clock did,
    /// the entry takes the time of the one before.
    pub fn next<B>(&self, at: Timestamp, body: B) -> Entry<B> {
        Entry { index: self.size, prev: self.hash, at: at.max(self.at), body }
    }

    /// The head after an entry that [`Head::next`] made.
    pub fn after(&self, at: Timestamp, sealed: &Sealed) -> Self {
        Self { size: self.size + 1, hash: sealed.hash, at }
    }
}

/// A body that is kept as bytes: any one canonical CBOR item. For tools that check a log without
/// knowing what its entries mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque(Vec<u8>);

impl Opaque {
    /// Wraps bytes that are one canonical item and nothing more.
    pub fn new(bytes: Vec<u8>) -> Result<Self, canonical::ItemError> {
        match canonical::item_len(&bytes)? {
            len if len == bytes.len() => Ok(Self(bytes)),
            _ => Err(canonical::ItemError::NotCanonical),
        }
    }

    /// The bytes of the body.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<C> Encode<C> for Opaque {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.writer_mut().write_all(&self.0).map_err(minicbor::encode::Error::write)
    }
}

impl<'b, C> Decode<'b, C> for Opaque {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let start = d.position();
        let rest = d.input().get(start..).unwrap_or_default();
        let len = canonical::item_len(rest).map_err(minicbor::decode::Error::custom)?;
        d.set_position(start + len);
        Ok(Self(rest[..len].to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use types::Timestamp;
    use types::cbor::DecodeError;

    use super::{Entry, Head, Opaque};

    /// The example of `docs/format/entry.md`, byte by byte.
    #[test]
    fn an_entry_has_the_documented_bytes() {
        let entry = Head::EMPTY.next(Timestamp::from_millis(1_700_000_000_000), Opaque::new(vec![0x80]).unwrap());
        let sealed = entry.seal().unwrap();
        let expected = format!("84005820{}1b0000018bcfe5680080", "00".repeat(32));
        assert_eq!(hex::encode(sealed.bytes()), expected);
        assert_eq!(Entry::parse(sealed.bytes()), Ok(entry));
        let document = include_str!("../../../docs/format/entry.md");
        assert!(document.contains(&sealed.hash().to_string()) && document.contains(&sealed.leaf().to_string()));
        assert_eq!(sealed.hash().to_string(), "5f39e47def3ddfd4438272cea1e9d48ba289e3167bb1bdf87e43456a2e608afe");
        assert_eq!(sealed.leaf().to_string(), "fa4ff7fbcb5d3b96bf3171236d55bb09f75ee5f5e4d06f7fb101fff46faaf4a5");
    }

    /// QT-10: a second form of the same entry is refused, whatever its body is.
    #[test]
    fn other_forms_of_an_entry_are_refused() {
        let sealed = Head::EMPTY.next(Timestamp::from_millis(5), Opaque::new(vec![0x80]).unwrap()).seal().unwrap();
        let mut wide_index = sealed.bytes().to_vec();
        wide_index.splice(1..2, [0x18, 0x00]);
        assert_eq!(Entry::<Opaque>::parse(&wide_index), Err(DecodeError::NotCanonical));
        let mut trailing = sealed.bytes().to_vec();
        trailing.push(0);
        assert_eq!(Entry::<Opaque>::parse(&trailing), Err(DecodeError::NotCanonical));
        let mut wide_body = sealed.bytes().to_vec();
        wide_body.splice(wide_body.len() - 1.., [0x98, 0x00]);
        assert!(matches!(Entry::<Opaque>::parse(&wide_body), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_turn_time() {
        let head = Head { at: Timestamp::from_millis(10), ..Head::EMPTY };
        assert_eq!(head.next(Timestamp::from_millis(7), ()).at, Timestamp::from_millis(10));
    }

    /// The limit of C2SP tlog-tiles.
    #[test]
    fn an_entry_that_does_not_fit_is_refused() {
        let body = |len: usize| {
            let mut bytes = vec![0x59];
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
            bytes.resize(3 + len, 7);
            Opaque::new(bytes).unwrap()
        };
        let overhead = 1 + 1 + 34 + 1 + 3;
        let fits = Head::EMPTY.next(Timestamp::from_millis(0), body(65_535 - overhead));
        assert_eq!(fits.seal().unwrap().bytes().len(), 65_535);
        let long = Head::EMPTY.next(Timestamp::from_millis(0), body(65_536 - overhead));
        assert_eq!(long.seal().unwrap_err().len, 65_536);
    }
}
