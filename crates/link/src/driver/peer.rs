//! What both ends say to each other beside the messages of a block, and where tags get their bits.
//!
//! A message is `0 ‖ hello`, `1 ‖ message of a block`, or one of Bob's to Alice: `2` where he wants no
//! light for a while, `3` where he wants it again. A session begins with a hello from each
//! end; either may begin again with a higher round. After the hellos both ends hold the same blocks
//! and count new ones from the same number.

use std::sync::atomic::Ordering;

use crypto::{AuthKey, Secret32, kdf};
use minicbor::{Decode, Encode};
use qkd::{HashKey, PAD_LEN_PER_BLOCK, Side, TagKeys};
use tokio::sync::mpsc;
use types::{Hash, Label, cbor};
use zeroize::Zeroizing;

use super::Core;
use crate::pad::PadError;

const HELLO: u8 = 0;
const BLOCK: u8 = 1;
const REST: u8 = 2;
const SHINE: u8 = 3;
/// Most blocks that a hello lists.
const MAX_BLOCKS: usize = 4_096;
/// Key of the hash and pads of the tags of one block, in bytes.
const TAG_BYTES: usize = HASH_KEY_LEN + PAD_LEN_PER_BLOCK;
const HASH_KEY_LEN: usize = 16;

const FROM_POOL: u8 = 1;
const WATCH_ONLY: u8 = 2;

/// A session that post-processing may use.
pub(super) struct Attach {
    pub(super) auth: AuthKey,
    pub(super) out: mpsc::Sender<Vec<u8>>,
    pub(super) inbox: mpsc::Receiver<Vec<u8>>,
}

#[derive(Debug, Clone, Encode, Decode)]
#[cbor(array)]
struct Hello {
    #[n(0)]
    round: u32,
    #[n(1)]
    params: Hash,
    #[n(2)]
    next_block: u64,
    #[n(3)]
    blocks: Vec<u64>,
    /// Alice: pulses before this slot are forgotten, however long their light is still under way.
    #[n(4)]
    slot: u64,
}

/// The peer's end, over one session.
pub(super) struct Peer {
    attach: Attach,
    own: Hello,
    /// Whether the hellos of the current round have met.
    pub(super) ready: bool,
    /// Lowest number of a block to come.
    pub(super) next_block: u64,
    /// Light of slots before this one is stale.
    pub(super) first_slot: u64,
    /// Number of the next tags derived from the session.
    derived: u32,
}

/// What a message of the peer is.
pub(super) enum Said {
    /// Something about a block.
    Block(Vec<u8>),
    /// A hello: whatever block was under way is void.
    Restarted,
    /// Whether light is wanted from now on.
    Light(bool),
    /// Nothing of use.
    Nothing,
}

/// The peer's end is gone.
pub(super) struct Gone;

impl Peer {
    /// Begins with `attach`.
    pub(super) async fn begin(core: &Core, attach: Attach) -> Result<Self, Gone> {
        let own = Hello { round: 0, params: fingerprint(core), next_block: 0, blocks: Vec::new(), slot: 0 };
        let mut peer = Self { attach, own, ready: false, next_block: 0, first_slot: 0, derived: 0 };
        peer.hello(core, 0).await?;
        Ok(peer)
    }

    /// Begins again: the two ends have lost step.
    pub(super) async fn restart(&mut self, core: &Core) -> Result<(), Gone> {
        self.hello(core, self.own.round.saturating_add(1)).await
    }

    async fn hello(&mut self, core: &Core, round: u32) -> Result<(), Gone> {
        self.ready = false;
        self.own.round = round;
        let held = core.with_shelf(|shelf| (shelf.blocks(), shelf.next_block(), shelf.own_bytes()));
        let (mut blocks, next, own) = held.map_err(|_| Gone)?;
        blocks.truncate(MAX_BLOCKS);
        if core.side == Side::B && own < TAG_BYTES {
            // Alice may not know of bits that were drawn and never named to her. Without blocks both
            // ends know that Bob has none, and that tags begin anew.
            blocks.clear();
        }
        self.own.next_block = next.max(self.next_block);
        self.own.blocks = blocks;
        self.own.slot = core.next_slot.load(Ordering::Relaxed);
        let mut message = vec![HELLO];
        cbor::write(&self.own, &mut message);
        self.attach.out.send(message).await.map_err(|_| Gone)
    }

    /// Sends a message of a block.
    pub(super) async fn send(&self, mut message: Vec<u8>) -> Result<(), Gone> {
        message.insert(0, BLOCK);
        self.attach.out.send(message).await.map_err(|_| Gone)
    }

    /// Bob: says whether light is wanted from now on.
    pub(super) async fn want_light(&mut self, wanted: bool) -> Result<(), Gone> {
        let message = vec![if wanted { SHINE } else { REST }];
        self.attach.out.send(message).await.map_err(|_| Gone)
    }

    /// The next message; can be dropped and called again.
    pub(super) async fn receive(&mut self) -> Option<Vec<u8>> {
        self.attach.inbox.recv().await
    }

    /// Takes a message apart and acts on hellos.
    pub(super) async fn hear(&mut self, core: &Core, mut message: Vec<u8>) -> Result<Said, Gone> {
        match message.first() {
            Some(&BLOCK) if self.ready => {
                message.remove(0);
                Ok(Said::Block(message))
            }
            Some(&HELLO) => {
                let Ok(theirs) = cbor::from_slice::<Hello>(&message[1..]) else { return Ok(Said::Nothing) };
                // A second hello of a round that has met is an echo; answering it would never end.
                let stale = theirs.round < self.own.round || (theirs.round == self.own.round && self.ready);
                if stale || theirs.blocks.len() > MAX_BLOCKS {
                    return Ok(Said::Nothing);
                }
                if theirs.round > self.own.round {
                    self.hello(core, theirs.round).await?;
                }
                self.meet(core, &theirs)?;
                Ok(Said::Restarted)
            }
            Some(&(REST | SHINE)) if self.ready && message.len() == 1 => Ok(Said::Light(message[0] == SHINE)),
            _ => Ok(Said::Nothing),
        }
    }

    fn meet(&mut self, core: &Core, theirs: &Hello) -> Result<(), Gone> {
        if theirs.params != self.own.params {
            tracing::error!(link = %core.link, "the two ends of the link have different parameters: make them equal");
            return Ok(());
        }
        let common: Vec<_> = self.own.blocks.iter().copied().filter(|block| theirs.blocks.contains(block)).collect();
        core.with_shelf(|shelf| shelf.keep_only(&common)).map_err(|_| Gone)?;
        self.next_block = self.own.next_block.max(theirs.next_block);
        self.first_slot = theirs.slot;
        self.ready = true;
        core.with_health(|_| {});
        Ok(())
    }

    /// Bob: bits for the tags of the next block, and the name under which Alice finds them. The
    /// flag says that the block is only watched, not kept.
    pub(super) async fn draw_tags(&mut self, core: &Core) -> Result<(Vec<u8>, TagKeys, bool), PadError> {
        let (own, full) = core.with_shelf(|shelf| (shelf.own_bytes(), shelf.is_full()))?;
        let watch = if full { WATCH_ONLY } else { 0 };
        if own >= TAG_BYTES {
            let (range, bits) = core.draw(TAG_BYTES).await?;
            let mut name = vec![FROM_POOL | watch];
            name.extend_from_slice(&range.to_bytes());
            return Ok((name, tag_keys(bits.expose())?, full));
        }
        let mut name = vec![watch];
        name.extend_from_slice(&self.derived.to_le_bytes());
        let keys = self.derive_tags(self.derived)?;
        self.derived = self.derived.saturating_add(1);
        Ok((name, keys, full))
    }

    /// Alice: the bits that Bob named. Those derived from the session are taken only while Bob has
    /// none of his own.
    pub(super) async fn find_tags(&mut self, core: &Core, name: &[u8]) -> Result<(TagKeys, bool), PadError> {
        let (&flags, name) = name.split_first().ok_or(PadError::Range)?;
        let watch = flags & WATCH_ONLY != 0;
        if flags & FROM_POOL != 0 {
            let range = qkd::PadRange::from_bytes(name).map_err(|_| PadError::Range)?;
            if range.len() != TAG_BYTES {
                return Err(PadError::Range);
            }
            let bits = core.accept(range).await?;
            return Ok((tag_keys(bits.expose())?, watch));
        }
        let number = u32::from_le_bytes(name.try_into().map_err(|_| PadError::Range)?);
        let theirs = core.with_shelf(|shelf| shelf.peer_bytes())?;
        if number < self.derived || theirs >= TAG_BYTES {
            return Err(PadError::Range);
        }
        self.derived = number.saturating_add(1);
        Ok((self.derive_tags(number)?, watch))
    }

    fn derive_tags(&self, number: u32) -> Result<TagKeys, PadError> {
        let info: [&[u8]; 2] = [b"tags", &number.to_be_bytes()];
        let bytes: Zeroizing<[u8; TAG_BYTES]> = kdf::derive(Label::QKD_AUTH, self.attach.auth.expose(), &[], &info);
        tag_keys(&*bytes)
    }
}

fn tag_keys(bytes: &[u8]) -> Result<TagKeys, PadError> {
    let hash = bytes.first_chunk::<HASH_KEY_LEN>().ok_or(PadError::Range)?;
    let pads = bytes.get(HASH_KEY_LEN..).and_then(<[u8]>::first_chunk::<PAD_LEN_PER_BLOCK>).ok_or(PadError::Range)?;
    Ok(TagKeys::new(&HashKey::new(hash), pads))
}

/// Whether both ends mean the same link.
fn fingerprint(core: &Core) -> Hash {
    let params = &core.params;
    let text = format!("{} {} {:?}", params.z_log2, params.pairs.chsh_log2, params.block);
    Label::QKD_AUTH.hash(&[b"parameters", core.link.to_string().as_bytes(), text.as_bytes()])
}
