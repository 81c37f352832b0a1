//! The log as a client sees it: how it began, and that it only ever grows.

use std::collections::BTreeMap;

use bytes::Bytes;
use evidence::bundle::Part;
use evidence::entry::entry_hash;
use evidence::merkle::{Frontier, NodeMissing, NodeSource};
use evidence::pins::Seen;
use evidence::tile::{Resource, Tile, WIDTH};
use evidence::{CheckpointPolicy, ConsistencyProof, Entry, Founder, Pins, SignedCheckpoint, TlogProof};
use hyper::{Method, StatusCode};
use kernel::Body;
use kernel::event::{Command, Event};
use kernel::record::Principal;
use types::{BoundaryId, Hash};

use super::{Client, ClientError, Reply, collect, refusal, verify_note};
use crate::answer::{Done, Outcome};
use crate::view::FOUNDING;

/// Most tiles that one proof of consistency takes; a log of 2^64 entries takes fewer.
const TILES: usize = 64;

/// How a hub's log contradicts what it showed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// It is shorter.
    #[error("its log has {now} entries and had {seen}: it was rolled back, or this is another log under the same keys")]
    Shorter {
        /// Entries now.
        now: u64,
        /// Entries seen before.
        seen: u64,
    },
    /// It is another.
    #[error("its log of {now} entries does not go on from the {seen} that were seen: its history was rewritten")]
    Forked {
        /// Entries now.
        now: u64,
        /// Entries seen before.
        seen: u64,
    },
}

/// The first entry of a boundary, proven to be in its log.
#[derive(Debug, Clone)]
pub struct Founding {
    /// What it says.
    pub entry: Entry<Body>,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// The checkpoint that proves it.
    pub checkpoint: SignedCheckpoint,
}

impl Founding {
    /// What an auditor pins of this log: its keys, this beginning, its founders and this checkpoint.
    pub fn pins(&self, boundary: BoundaryId, policy: CheckpointPolicy) -> Pins {
        let seen = self.checkpoint.checkpoint();
        let founders = match &self.entry.body.event {
            Event::Create(genesis) => genesis.identities(),
            _ => Vec::new(),
        };
        let founders = founders.into_iter().map(|(founder, identity)| match founder {
            Principal::Operator(name) => Some(Founder::Operator(name, identity)),
            Principal::Node(name) => Some(Founder::Node(name, identity)),
            Principal::Engine => None,
        });
        Pins::new(boundary, policy, entry_hash(&self.bytes))
            .with_founders(founders.flatten())
            .with_seen(Seen { size: seen.size, root: seen.root })
    }
}

impl Client {
    /// The first entry of the log, with its proof under the log's keys. An entry of the log itself.
    ///
    /// # Errors
    /// [`ClientError::BadCheckpoint`] where the proof does not hold, and others.
    pub async fn founding(&self) -> Result<Founding, ClientError> {
        let Reply::Done(Done { outcome: Outcome::Founding(view), .. }) =
            self.run(Command::Read { what: FOUNDING.to_owned() }).await?
        else {
            return Err(ClientError::Protocol("the founding was asked for, and something else came".to_owned()));
        };
        let bad = |reason: String| ClientError::BadCheckpoint(reason);
        let bytes = hex::decode(&view.entry).map_err(|error| bad(error.to_string()))?;
        let proof = TlogProof::parse(view.proof.as_bytes()).map_err(|error| bad(error.to_string()))?;
        let proven = proof.verify_entry::<Body, _>(&bytes, &self.policy, &verify_note);
        let (entry, checkpoint) = proven.map_err(|error| bad(error.to_string()))?;
        if entry.index != 0 {
            return Err(bad(format!("{} was given for the first entry", Part::Entry(entry.index))));
        }
        Ok(Founding { entry, bytes, checkpoint })
    }

    /// Checks that the log the hub shows now goes on from what was `seen` before, and gives the hub's
    /// newest checkpoint.
    ///
    /// # Errors
    /// [`ClientError::Contradiction`] with both checkpoints where it does not.
    pub async fn check_history(&self, seen: Option<Seen>) -> Result<SignedCheckpoint, ClientError> {
        let newest = self.checkpoint().await?;
        let Some(seen) = seen else { return Ok(newest) };
        let now = newest.checkpoint();
        let contradiction = if now.size < seen.size {
            Some(Contradiction::Shorter { now: now.size, seen: seen.size })
        } else if self.extends(seen, now.size, now.root).await? {
            None
        } else {
            Some(Contradiction::Forked { now: now.size, seen: seen.size })
        };
        match contradiction {
            None => Ok(newest),
            Some(what) => Err(ClientError::Contradiction { what, shown: newest.note().to_string().into() }),
        }
    }

    /// Whether the tree of `size` with `root` begins with the tree `seen`, by the hub's own hash tiles.
    /// Hashes that lead to neither root prove nothing but that it does not.
    async fn extends(&self, seen: Seen, size: u64, root: Hash) -> Result<bool, ClientError> {
        let mut tiles = Tiles { size, tiles: BTreeMap::new() };
        for _ in 0..TILES {
            match ConsistencyProof::new(&tiles, seen.size, size) {
                Ok(proof) => return Ok(proof.verify(&seen.root, &root).is_ok()),
                Err(missing) => {
                    let Some(tile) = tiles.of(missing).filter(|tile| !tiles.has(*tile)) else { return Ok(false) };
                    let Some(hashes) = self.tile(tile).await? else { return Ok(false) };
                    tiles.tiles.insert((tile.level, tile.index), hashes);
                }
            }
        }
        Ok(false)
    }

    /// The hashes of a tile; `None` where the hub has none like it.
    async fn tile(&self, tile: Tile) -> Result<Option<Vec<Hash>>, ClientError> {
        let path = format!("/{}", Resource::Tile(tile));
        let response = self.send(Method::GET, &path, Bytes::new()).await?;
        let status = response.status();
        let body = collect(response, 32 * usize::from(WIDTH)).await?;
        match status {
            StatusCode::OK if body.len() == 32 * usize::from(tile.width) => {
                let hashes = body.chunks_exact(32).filter_map(|hash| Some(Hash::new(hash.try_into().ok()?)));
                Ok(Some(hashes.collect()))
            }
            StatusCode::OK | StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refusal(&body)),
        }
    }
}

/// The tiles of a tree of `size` leaves that were fetched so far.
struct Tiles {
    size: u64,
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl Tiles {
    fn has(&self, tile: Tile) -> bool {
        self.tiles.contains_key(&(tile.level, tile.index))
    }

    /// The tile that a node is made of.
    fn of(&self, node: NodeMissing) -> Option<Tile> {
        let (level, first) = place(node)?;
        Tile::at(level, first / u64::from(WIDTH), self.size)
    }
}

/// The level of the tile a node is made of, and the first of its hashes on that level.
fn place(node: NodeMissing) -> Option<(u8, u64)> {
    let level = u8::try_from(node.level / 8).ok()?;
    Some((level, node.index.checked_mul(1 << (node.level % 8))?))
}

impl NodeSource for Tiles {
    type Error = NodeMissing;

    fn node(&self, level: u32, index: u64) -> Result<Hash, NodeMissing> {
        let missing = NodeMissing { level, index };
        let (tile_level, first) = place(missing).ok_or(missing)?;
        let tile = self.tiles.get(&(tile_level, first / u64::from(WIDTH))).ok_or(missing)?;
        let from = (first % u64::from(WIDTH)) as usize;
        let hashes = tile.get(from..from + (1 << (level % 8))).ok_or(missing)?;
        let mut below = Frontier::new();
        hashes.iter().for_each(|hash| below.append(*hash));
        Ok(below.root())
    }
}

#[cfg(test)]
mod tests {
    use evidence::merkle::root_of;
    use evidence::{ConsistencyProof, Tree};
    use types::Hash;

    use super::{BTreeMap, NodeMissing, NodeSource, Tiles};

    #[test]
    fn tiles_prove_growth_at_every_size() {
        let mut tree = Tree::new();
        (0..700u64).for_each(|leaf| tree.append(types::Label::ENTRY.hash(&[&leaf.to_be_bytes()])));
        for (from, to) in [(1, 2), (1, 700), (255, 256), (256, 257), (255, 700), (256, 512), (511, 700), (600, 700)] {
            let mut tiles = Tiles { size: to, tiles: BTreeMap::new() };
            let proof = loop {
                match ConsistencyProof::new(&tiles, from, to) {
                    Ok(proof) => break proof,
                    Err(missing) => {
                        let tile = tiles.of(missing).unwrap();
                        assert!(!tiles.has(tile), "{missing:?}");
                        let bytes = tile.read(&tree).unwrap();
                        let hashes = bytes.chunks_exact(32).map(|hash| Hash::new(hash.try_into().unwrap())).collect();
                        tiles.tiles.insert((tile.level, tile.index), hashes);
                    }
                }
            };
            let (old, new) = (root_of(&tree, from).unwrap(), root_of(&tree, to).unwrap());
            assert_eq!(proof.verify(&old, &new), Ok(()), "{from} in {to}");
            assert!(proof.verify(&Hash::new([1; 32]), &new).is_err());
        }
        assert!(Tiles { size: 9, tiles: BTreeMap::new() }.node(3, 9).is_err());
        assert!(Tiles { size: 9, tiles: BTreeMap::new() }.of(NodeMissing { level: 0, index: 9 }).is_some());
    }
}
