//! A link whose bits come from a vendor's pair of KMEs (ETSI GS QKD 014) and not from light of our own.
//!
//! The end with the smaller name asks its KME for keys as the master and tells the other their identifiers; the
//! other fetches the same keys as the slave. 64 bytes of each block are spent on one-time tags (RFC 8439 section
//! 2.5) under the keys themselves, which bind block number, identifiers and bits: both ends hold the same bits of the
//! same block, or neither keeps it. What the vendor measures of its channel is not known here: a link is usable
//! while its KMEs give keys fast enough.

use std::sync::Arc;
use std::time::Duration;

use kme::client::{Client, ClientError, KmeLink, LinkError, SettingsError};
use minicbor::{Decode, Encode};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use types::{Millis, cbor};

use super::Core;
use super::peer::{Attach, Gone, Peer, Said};
use crate::config::VendorSection;

/// Bytes asked for at a time, where the KME's limits allow it.
const BLOCK: usize = 8 * 1024;
/// Keys of the two tags of a block, in bytes.
const TAG_KEY: usize = 32;
const SPENT: usize = 2 * TAG_KEY;
/// How often a KME is asked for keys, or whether it has any.
const PACE: Duration = Duration::from_millis(500);
/// Pause after a KME gave none.
const REST: Duration = Duration::from_secs(3);
/// Pause between looks at a KME while the pool is full.
const WATCH: Duration = Duration::from_secs(5);
/// Longest wait for an answer of a KME.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most identifiers of a block.
const MOST_IDS: usize = 4_096;

/// A link's client does not start.
#[derive(Debug, thiserror::Error)]
#[error("the link to `{peer}` has no KME: {source}")]
pub struct VendorError {
    peer: types::NodeId,
    source: SettingsError,
}

/// What the two ends say of blocks.
#[derive(Debug, Encode, Decode)]
enum Word {
    /// Fetch these keys.
    #[n(0)]
    Take {
        #[n(0)]
        block: u64,
        #[n(1)]
        ids: Vec<String>,
        #[n(2)]
        bytes: u32,
        #[n(3)]
        tag: [u8; 16],
    },
    /// They are kept.
    #[n(1)]
    Taken {
        #[n(0)]
        block: u64,
        #[n(1)]
        tag: [u8; 16],
    },
    /// They are not.
    #[n(2)]
    Failed {
        #[n(0)]
        block: u64,
    },
    /// The pool is full, and the KME has keys.
    #[n(3)]
    Well,
}

/// A block that the other end is fetching.
struct UnderWay {
    block: u64,
    bits: kme::RawBits,
    began: Instant,
}

/// One end.
pub(super) struct VendorEnd {
    core: Arc<Core>,
    keys: KmeLink,
    peer: Option<Peer>,
    under_way: Option<UnderWay>,
    /// Not before then is the KME asked.
    next: Instant,
    /// When the last block was complete.
    last: Instant,
}

impl VendorEnd {
    pub(super) fn new(core: Arc<Core>, peer: &types::NodeId, section: &VendorSection) -> Result<Self, VendorError> {
        let client = Client::new(&section.client, DEADLINE);
        let client = client.map_err(|source| VendorError { peer: peer.clone(), source })?;
        let keys = KmeLink::new(client, section.peer.clone());
        let now = Instant::now();
        Ok(Self { core, keys, peer: None, under_way: None, next: now, last: now })
    }

    pub(super) async fn run(mut self, mut attaches: mpsc::Receiver<Attach>) {
        let mut tick = interval(PACE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                attach = attaches.recv() => match attach {
                    Some(attach) => self.attach(attach).await,
                    None => return,
                },
                message = next(&mut self.peer) => self.hear(message).await,
                _ = tick.tick() => self.advance().await,
            };
            if heard.is_err() {
                self.peer = None;
                self.under_way = None;
            }
        }
    }

    async fn attach(&mut self, attach: Attach) -> Result<(), Gone> {
        self.under_way = None;
        self.peer = None;
        self.peer = Some(Peer::begin(&self.core, attach).await?);
        self.last = Instant::now();
        Ok(())
    }

    async fn say(&self, word: &Word) -> Result<(), Gone> {
        match &self.peer {
            Some(peer) => peer.send(cbor::to_vec(word)).await,
            None => Err(Gone),
        }
    }

    /// Alice: asks her KME, where it is time.
    async fn advance(&mut self) -> Result<(), Gone> {
        let now = Instant::now();
        let ready = self.peer.as_ref().filter(|peer| peer.ready).map(|peer| peer.next_block);
        let Some(block) = ready.filter(|_| self.core.side == qkd::Side::A && now >= self.next) else { return Ok(()) };
        if let Some(under_way) = &self.under_way {
            if now.duration_since(under_way.began) < 2 * DEADLINE {
                return Ok(());
            }
            tracing::warn!(link = %self.core.link, block = under_way.block, "the other end does not answer: beginning again");
            self.under_way = None;
            let Some(peer) = &mut self.peer else { return Err(Gone) };
            return peer.restart(&self.core).await;
        }
        self.next = now + PACE;
        if self.core.with_shelf(|shelf| shelf.is_full()).map_err(|_| Gone)? {
            self.next = now + WATCH;
            return match self.keys.stored().await {
                Ok(stored) if stored > 0 => {
                    self.well();
                    self.say(&Word::Well).await
                }
                Ok(_) => Ok(()),
                Err(error) => self.complain(&error.into()),
            };
        }
        match self.keys.draw(BLOCK).await {
            Ok(drawn) if drawn.bits.expose().len() > SPENT => {
                let bytes = drawn.bits.expose().len() as u32;
                let Some(tag) = offer_tag(block, &drawn.ids, drawn.bits.expose()) else { return Ok(()) };
                self.under_way = Some(UnderWay { block, bits: drawn.bits, began: now });
                self.say(&Word::Take { block, ids: drawn.ids, bytes, tag }).await
            }
            Ok(_) => Ok(()),
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &LinkError) -> Result<(), Gone> {
        let refused = matches!(error, LinkError::Client(ClientError::Refused { status: 503, .. }));
        if refused {
            tracing::debug!(link = %self.core.link, %error, "the vendor's KME has no keys now");
        } else {
            tracing::warn!(link = %self.core.link, %error, "the vendor's KME gives no keys");
        }
        self.next = Instant::now() + REST;
        Ok(())
    }

    async fn hear(&mut self, message: Option<Vec<u8>>) -> Result<(), Gone> {
        let (Some(message), Some(peer)) = (message, self.peer.as_mut()) else { return Err(Gone) };
        match peer.hear(&self.core, message).await? {
            Said::Restarted => self.under_way = None,
            Said::Nothing | Said::Light(_) => {}
            Said::Block(message) => match cbor::from_slice(&message) {
                Ok(Word::Take { block, ids, bytes, tag }) if self.core.side == qkd::Side::B => {
                    return self.fetch(block, &ids, bytes as usize, tag).await;
                }
                Ok(Word::Taken { block, tag }) => self.taken(block, tag),
                Ok(Word::Failed { block }) => {
                    if self.under_way.take_if(|under_way| under_way.block == block).is_some() {
                        self.next = Instant::now() + REST;
                    }
                }
                Ok(Word::Well) if self.core.side == qkd::Side::B => self.well(),
                Ok(Word::Take { .. } | Word::Well) | Err(_) => {
                    tracing::warn!(link = %self.core.link, "a message of the other end is not understood");
                }
            },
        }
        Ok(())
    }

    /// Bob: fetches what Alice drew.
    async fn fetch(&mut self, block: u64, ids: &[String], bytes: usize, tag: [u8; 16]) -> Result<(), Gone> {
        let expected = self.peer.as_ref().is_some_and(|peer| peer.next_block <= block);
        if !expected || ids.is_empty() || ids.len() > MOST_IDS || bytes <= SPENT || bytes > 8 * BLOCK {
            return self.say(&Word::Failed { block }).await;
        }
        let bits = match self.keys.redeem(ids, bytes).await {
            Ok(bits) => bits,
            Err(error) => {
                let _ = self.complain(&error);
                return self.say(&Word::Failed { block }).await;
            }
        };
        if offer_tag(block, ids, bits.expose()) != Some(tag) {
            self.core.auth_failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::warn!(link = %self.core.link, block, "the two KMEs gave different keys");
            return self.say(&Word::Failed { block }).await;
        }
        let Some(answer) = answer_tag(block, bits.expose()) else { return Ok(()) };
        self.keep(block, &bits);
        self.say(&Word::Taken { block, tag: answer }).await
    }

    /// Alice: keeps what Bob has.
    fn taken(&mut self, block: u64, tag: [u8; 16]) {
        let Some(under_way) = self.under_way.take_if(|under_way| under_way.block == block) else { return };
        if answer_tag(block, under_way.bits.expose()) == Some(tag) {
            self.keep(block, &under_way.bits);
        } else {
            self.core.auth_failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::warn!(link = %self.core.link, block, "the other end's proof does not fit");
        }
    }

    fn keep(&mut self, block: u64, bits: &kme::RawBits) {
        let secret = bits.expose().get(SPENT..).unwrap_or_default();
        if let Ok(Err(error)) = self.core.with_shelf(|shelf| shelf.append(block, secret)) {
            return tracing::warn!(link = %self.core.link, %error, "a block is not kept");
        }
        if let Some(peer) = &mut self.peer {
            peer.next_block = block + 1;
        }
        let now = Instant::now();
        let span = Millis::new(u64::try_from(now.duration_since(self.last).as_millis()).unwrap_or(u64::MAX));
        self.last = now;
        let (gained, at) = (8 * secret.len() as u64, self.core.now());
        self.core.with_health(|health| health.given(gained, span, at));
    }

    fn well(&mut self) {
        self.last = Instant::now();
        let at = self.core.now();
        self.core.with_health(|health| health.well(at));
    }
}

async fn next(peer: &mut Option<Peer>) -> Option<Vec<u8>> {
    match peer {
        Some(peer) => peer.receive().await,
        None => std::future::pending().await,
    }
}

fn one_time_tag(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 16]> {
    let key: &[u8; TAG_KEY] = key.first_chunk()?;
    let mut text = zeroize::Zeroizing::new(Vec::new());
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part);
    }
    Poly1305::new(key.into()).compute_unpadded(&text).as_slice().first_chunk().copied()
}

/// Alice's tag, under the first bytes of the block.
fn offer_tag(block: u64, ids: &[String], bits: &[u8]) -> Option<[u8; 16]> {
    one_time_tag(bits, &[&block.to_be_bytes(), &cbor::to_vec(&ids.to_vec()), bits.get(SPENT..)?])
}

/// Bob's tag, under the bytes after them.
fn answer_tag(block: u64, bits: &[u8]) -> Option<[u8; 16]> {
    one_time_tag(bits.get(TAG_KEY..)?, &[b"taken", &block.to_be_bytes()])
}
