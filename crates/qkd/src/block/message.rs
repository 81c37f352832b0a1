//! Byte forms: `u8 kind ‖ u64 block ‖ u32 sequence ‖ body ‖ 16-byte tag, on tagged kinds`.

use crate::auth::TAG_LEN;
use crate::block::AbortReason;
use crate::detector::{Detections, HALVED, setting};
use crate::params::MAX_BLOCK_CLICKS;
use crate::wire::{Reader, WireError, put_var};

/// Longest name of the pads of a block, in bytes.
pub const MAX_PADS_NAME: usize = 256;

const HEADER: usize = 13;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Detections = 0x10,
    Sifted = 0x11,
    Ask = 0x12,
    Parities = 0x13,
    Settled = 0x14,
    Amplify = 0x15,
    Confirm = 0x16,
    GiveUp = 0x1f,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Detections,
        Self::Sifted,
        Self::Ask,
        Self::Parities,
        Self::Settled,
        Self::Amplify,
        Self::Confirm,
        Self::GiveUp,
    ];

    fn tagged(self) -> bool {
        !matches!(self, Self::Ask | Self::Parities | Self::GiveUp)
    }
}

/// A message taken apart, its body still bytes.
pub(super) struct Message<'a> {
    pub(super) kind: Kind,
    pub(super) block: u64,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
    /// All that the tag covers.
    pub(super) covered: &'a [u8],
    pub(super) tag: Option<[u8; TAG_LEN]>,
}

impl<'a> Message<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let code = reader.u8()?;
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == code).ok_or(WireError::Kind)?;
        let (block, sequence) = (reader.u64()?, reader.u32()?);
        let (covered, tag) = if kind.tagged() {
            let (covered, tag) = bytes.split_last_chunk::<TAG_LEN>().ok_or(WireError::Short)?;
            (covered, Some(*tag))
        } else {
            (bytes, None)
        };
        let body = covered.get(HEADER..).ok_or(WireError::Short)?;
        Ok(Self { kind, block, sequence, body, covered, tag })
    }
}

pub(super) fn start(kind: Kind, block: u64, sequence: u32) -> Vec<u8> {
    let mut out = vec![kind as u8];
    out.extend_from_slice(&block.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out
}

/// What a block is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To make key.
    Key,
    /// To look at the channel: the block ends with the verdict, and no key is made.
    Watch,
}

/// What Bob discloses: where he had clicks, in which settings, and the bits of all settings but the
/// key's.
pub(super) struct Announcement {
    pub(super) purpose: Purpose,
    pub(super) pads: Vec<u8>,
    pub(super) pulses: u64,
    pub(super) slots: Vec<u64>,
    /// Of each click, as in [`Detections`]; the bit is zero in the key's setting.
    pub(super) codes: Vec<u8>,
}

pub(super) fn write_announcement(purpose: Purpose, pads: &[u8], detections: &Detections, out: &mut Vec<u8>) {
    out.push(u8::from(purpose == Purpose::Watch));
    put_var(out, pads.len() as u64);
    out.extend_from_slice(pads);
    put_var(out, detections.pulses);
    put_var(out, detections.len() as u64);
    out.extend_from_slice(detections.steps());
    // of the key's setting no bit is said
    let said = |code: u8| if setting(code) == 0 { code & HALVED } else { code };
    let (pairs, last) = detections.codes.as_chunks::<2>();
    out.extend(pairs.iter().map(|&[low, high]| said(low) | said(high) << 4));
    out.extend(last.iter().map(|&code| said(code)));
}

pub(super) fn read_announcement(body: &[u8]) -> Result<Announcement, WireError> {
    let mut reader = Reader::new(body);
    let purpose = match reader.u8()? {
        0 => Purpose::Key,
        1 => Purpose::Watch,
        _ => return Err(WireError::Kind),
    };
    let len = reader.var(MAX_PADS_NAME as u64)? as usize;
    let pads = reader.take(len)?.to_vec();
    let pulses = reader.var(u64::MAX >> 3)?;
    let clicks = reader.var(MAX_BLOCK_CLICKS as u64)? as usize;
    if clicks > reader.left() {
        return Err(WireError::Short);
    }
    let mut slots = Vec::with_capacity(clicks);
    let mut next = 0_u64;
    for _ in 0..clicks {
        let gap = reader.var(u64::MAX)?;
        let slot = next.checked_add(gap).filter(|slot| slot >> 61 == 0).ok_or(WireError::Number)?;
        slots.push(slot);
        next = slot + 1;
    }
    let packed = reader.take(clicks.div_ceil(2))?;
    let mut codes: Vec<u8> = packed.iter().flat_map(|pair| [pair & 15, pair >> 4]).collect();
    // nothing is said of the key's bits, and nothing follows the last code
    if codes.iter().any(|&code| code & !HALVED == 1) || codes[clicks..].iter().any(|&code| code != 0) {
        return Err(WireError::Number);
    }
    codes.truncate(clicks);
    reader.end()?;
    Ok(Announcement { purpose, pads, pulses, slots, codes })
}

impl From<WireError> for AbortReason {
    fn from(error: WireError) -> Self {
        Self::Malformed(error)
    }
}
