//! C2SP tlog-tiles: the static resources a log is served as.

use std::fmt;
use std::str::FromStr;

use types::limits::ENTRY_LEN;

use crate::merkle::NodeSource;

/// Hashes in a full tile, and entries in a full entry bundle.
pub const WIDTH: u16 = 256;

/// Highest level of a tile.
const LEVELS: u8 = 63;

/// One resource below a log's prefix. Shown and parsed as its path, without a leading slash:
/// `checkpoint`, `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// The newest signed checkpoint.
    Checkpoint,
    /// Node hashes.
    Tile(Tile),
    /// Entries.
    Entries(EntryBundle),
}

/// A run of up to 256 node hashes on one level of the tree of tiles: node `i` of the tile is the
/// root over `256^level` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// 0 for leaf hashes; each level up is eight levels of the Merkle tree.
    pub level: u8,
    /// Place on its level.
    pub index: u64,
    /// Number of hashes, 1 to 256.
    pub width: u16,
}

/// A run of up to 256 entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryBundle {
    /// Place in the log: the first entry is `256 · index`.
    pub index: u64,
    /// Number of entries, 1 to 256.
    pub width: u16,
}

/// A path that names no resource of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path is not `checkpoint`, `tile/<level>/<index>` or `tile/entries/<index>`, with `.p/<width>` if partial")]
pub struct PathError;

impl Tile {
    /// The tile `index` of `level` in a tree of `size` leaves; `None` where it is empty.
    pub fn at(level: u8, index: u64, size: u64) -> Option<Self> {
        let nodes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let width = nodes.checked_sub(index.checked_mul(u64::from(WIDTH))?)?.min(u64::from(WIDTH)) as u16;
        (width > 0 && level <= LEVELS).then_some(Self { level, index, width })
    }

    /// The bytes of the tile: its hashes one after the other.
    pub fn read<S: NodeSource + ?Sized>(&self, source: &S) -> Result<Vec<u8>, S::Error> {
        let mut bytes = Vec::with_capacity(32 * usize::from(self.width));
        let first = self.index.saturating_mul(u64::from(WIDTH));
        for offset in 0..u64::from(self.width) {
            let node = source.node(8 * u32::from(self.level), first.saturating_add(offset))?;
            bytes.extend_from_slice(node.as_ref());
        }
        Ok(bytes)
    }
}

impl EntryBundle {
    /// The bundle `index` of a log of `size` entries; `None` where it is empty.
    pub fn at(index: u64, size: u64) -> Option<Self> {
        Tile::at(0, index, size).map(|tile| Self { index, width: tile.width })
    }

    /// Index of the first entry.
    pub fn first(&self) -> u64 {
        self.index.saturating_mul(u64::from(WIDTH))
    }
}

/// An entry is too long for an entry bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry in a bundle has at most {ENTRY_LEN} bytes")]
pub struct EntryTooLong;

/// Appends one entry to the bytes of an entry bundle: `u16be length ‖ entry`.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntryTooLong> {
    let len = u16::try_from(entry.len()).map_err(|_| EntryTooLong)?;
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Bytes are not an entry bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the entry bundle ends inside entry {0}")]
pub struct BundleEnds(pub usize);

/// The entries of an entry bundle, in order.
pub fn parse_entries(mut bundle: &[u8]) -> Result<Vec<&[u8]>, BundleEnds> {
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let ends = BundleEnds(entries.len());
        let (len, rest) = bundle.split_first_chunk::<2>().ok_or(ends)?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or(ends)?;
        entries.push(entry);
        bundle = rest;
    }
    Ok(entries)
}

fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let digits = index.to_string();
    let groups = digits.len().div_ceil(3);
    let padded = format!("{index:0width$}", width = groups * 3);
    for group in 0..groups {
        let mark = if group + 1 == groups { "" } else { "x" };
        write!(f, "/{mark}{}", &padded[group * 3..group * 3 + 3])?;
    }
    if width < WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
}

fn parse_place(text: &str) -> Option<(u64, u16)> {
    let (place, width) = match text.split_once(".p/") {
        Some((place, width)) => (place, width.parse().ok().filter(|width| (1..WIDTH).contains(width))?),
        None => (text, WIDTH),
    };
    let digits: String = place.chars().filter(char::is_ascii_digit).collect();
    Some((digits.parse().ok()?, width))
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Tile(tile) => {
                write!(f, "tile/{}", tile.level)?;
                write_place(f, tile.index, tile.width)
            }
            Self::Entries(bundle) => {
                f.write_str("tile/entries")?;
                write_place(f, bundle.index, bundle.width)
            }
        }
    }
}

impl FromStr for Resource {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        let parse = || {
            if path == "checkpoint" {
                return Some(Self::Checkpoint);
            }
            let (kind, place) = path.strip_prefix("tile/")?.split_once('/')?;
            let (index, width) = parse_place(place)?;
            if kind == "entries" {
                return Some(Self::Entries(EntryBundle { index, width }));
            }
            let level = kind.parse().ok().filter(|level| *level <= LEVELS)?;
            Some(Self::Tile(Tile { level, index, width }))
        };
        parse().filter(|resource| resource.to_string() == path).ok_or(PathError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BundleEnds, EntryBundle, Resource, Tile, parse_entries, push_entry};
    use crate::merkle::{NodeSource, Tree, leaf_hash};

    /// The examples of c2sp.org/tlog-tiles.
    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |level, index, width| Resource::Tile(Tile { level, index, width });
        assert_eq!(tile(0, 1_234_067, 256).to_string(), "tile/0/x001/x234/067");
        assert_eq!(tile(1, 0, 17).to_string(), "tile/1/000.p/17");
        assert_eq!(Resource::Entries(EntryBundle { index: 273, width: 112 }).to_string(), "tile/entries/273.p/112");
        assert_eq!("checkpoint".parse(), Ok(Resource::Checkpoint));
        for bad in [
            "",
            "tile",
            "tile/0",
            "tile/0/1",
            "tile/00/001",
            "tile/64/001",
            "tile/0/x001",
            "tile/0/x000/001",
            "tile/0/001.p/0",
            "tile/0/001.p/256",
            "tile/0/001.p/01",
            "tile/0/001/002",
            "/tile/0/001",
            "tile/entries/1",
            "tile/0/00a",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert!(bad.parse::<Resource>().is_err(), "{bad}");
        }
    }

    /// A tree of 70,000 entries, counted out in c2sp.org/tlog-tiles.
    #[test]
    fn widths_are_those_of_the_specification() {
        let width = |level, index| Tile::at(level, index, 70_000).map(|tile| tile.width);
        assert_eq!([width(0, 272), width(0, 273), width(0, 274)], [Some(256), Some(112), None]);
        assert_eq!([width(1, 0), width(1, 1), width(1, 2)], [Some(256), Some(17), None]);
        assert_eq!([width(2, 0), width(2, 1), width(3, 0)], [Some(1), None, None]);
        assert_eq!([Tile::at(0, 0, 256).map(|t| t.width), Tile::at(1, 0, 256).map(|t| t.width)], [Some(256), Some(1)]);
        assert_eq!(Tile::at(63, u64::MAX, u64::MAX), None);
    }

    #[test]
    fn a_tile_holds_the_nodes_of_its_level() {
        let tree: Tree = (0..600u32).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let upper = Tile::at(1, 0, 600).unwrap();
        assert_eq!(upper.width, 2);
        let expected = [tree.node(8, 0).unwrap(), tree.node(8, 1).unwrap()].map(|hash| *hash.as_bytes()).concat();
        assert_eq!(upper.read(&tree).unwrap(), expected);
        assert_eq!(Tile::at(0, 2, 600).unwrap().read(&tree).unwrap().len(), 88 * 32);
    }

    proptest! {
        #[test]
        fn paths_round_trip(level in 0u8..=63, index: u64, width in 1u16..=256) {
            for resource in [Resource::Tile(Tile { level, index, width }), Resource::Entries(EntryBundle { index, width })] {
                prop_assert_eq!(resource.to_string().parse(), Ok(resource));
            }
        }

        #[test]
        fn entry_bundles_round_trip(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let mut bytes = Vec::new();
            for entry in &entries {
                push_entry(&mut bytes, entry).unwrap();
            }
            prop_assert_eq!(parse_entries(&bytes).unwrap(), entries.clone());
            if let Some(last) = entries.last() {
                bytes.pop();
                let cut_to_nothing = last.is_empty() && bytes.is_empty();
                prop_assert!(cut_to_nothing || parse_entries(&bytes) == Err(BundleEnds(entries.len() - 1)));
            }
        }
    }
}
