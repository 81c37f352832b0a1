//! Messages between key management entities on one hop, under a pad of the hop's quantum link.
//!
//! ```text
//! text = message XOR bits 0 … 8·length of the pad
//! tag  = Poly1305(last 256 bits of the pad, frame)
//! ```
//!
//! The mask is a one-time pad, and Poly1305 under a key that is used once a Wegman-Carter authenticator
//! (RFC 8439 section 2.5; Bernstein 2005). The session around it is encrypted under keys of a hybrid KEM, so
//! either alone protects the message.

mod hop;

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use session::mesh::KmeAsk;
use types::{NodeId, cbor};
use zeroize::Zeroizing;

use crate::pad::{Pad, PadBits};

pub use hop::{HopError, receive, relay};

const TAG_KEY: usize = 32;
const TAG: usize = 16;

/// Bits of pad that a message of `len` bytes takes.
pub fn pad_bits(len: usize) -> u64 {
    8 * (len as u64 + TAG_KEY as u64)
}

/// Why a message was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CarryError {
    /// The pad is not as long as the message needs.
    #[error("the pad has {found} bits where the message needs {wanted}")]
    PadLength {
        /// Bits given.
        found: u64,
        /// Bits needed.
        wanted: u64,
    },
    /// The tag does not fit: the message was altered, or sealed under another pad.
    #[error("the message is not authentic under this pad")]
    Tag,
}

/// Who speaks to whom, under which number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The sender's choice.
    pub number: u64,
    /// The node of the entity that speaks.
    pub from: NodeId,
    /// The node of the entity that is spoken to.
    pub to: NodeId,
}

/// Masks and authenticates `message`. `pad` has [`pad_bits`] bits that nothing else uses.
///
/// # Errors
/// [`CarryError::PadLength`].
pub fn seal(address: Address, message: &[u8], pad: Option<&Pad>) -> Result<KmeAsk, CarryError> {
    let Address { number, from, to } = address;
    let mut ask = KmeAsk { number, from, to, pad: pad.map(|pad| pad.range), text: message.to_vec(), tag: Vec::new() };
    if let Some(pad) = pad {
        let bits = check(message.len(), &pad.bits)?;
        mask(&mut ask.text, bits);
        ask.tag = tag(&ask, bits);
    }
    Ok(ask)
}

/// Authenticates `ask` and unmasks its message. `pad` holds the bits that `ask.pad` names.
///
/// # Errors
/// [`CarryError`].
pub fn open(mut ask: KmeAsk, pad: Option<&PadBits>) -> Result<Zeroizing<Vec<u8>>, CarryError> {
    let wanted = pad_bits(ask.text.len());
    if ask.pad.is_some() != pad.is_some() {
        return Err(CarryError::PadLength { found: 0, wanted });
    }
    let given = std::mem::take(&mut ask.tag);
    if let Some(pad) = pad {
        let bits = check(ask.text.len(), pad)?;
        if !crypto::kdf::equal(&tag(&ask, bits), &given) {
            return Err(CarryError::Tag);
        }
        mask(&mut ask.text, bits);
    } else if !given.is_empty() {
        return Err(CarryError::Tag);
    }
    Ok(Zeroizing::new(ask.text))
}

fn check(len: usize, pad: &PadBits) -> Result<&[u8], CarryError> {
    let (found, wanted) = (8 * pad.expose().len() as u64, pad_bits(len));
    if found == wanted { Ok(pad.expose()) } else { Err(CarryError::PadLength { found, wanted }) }
}

fn mask(text: &mut [u8], pad: &[u8]) {
    text.iter_mut().zip(pad).for_each(|(byte, mask)| *byte ^= mask);
}

/// The tag of a masked message whose `tag` is empty.
fn tag(bare: &KmeAsk, pad: &[u8]) -> Vec<u8> {
    let Some(key) = pad.last_chunk::<TAG_KEY>() else { return Vec::new() };
    let tag = Poly1305::new(key.into()).compute_unpadded(&cbor::to_vec(bare));
    tag.as_slice()[..TAG].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use session::mesh::PadRange;
    use zeroize::Zeroizing;

    use super::{Address, CarryError, open, pad_bits, seal};
    use crate::pad::{Pad, PadBits};

    fn address() -> Address {
        Address { number: 7, from: "n1".parse().unwrap(), to: "n2".parse().unwrap() }
    }

    fn pad(bytes: &[u8]) -> Pad {
        let range = PadRange { offset: 64, len: 8 * bytes.len() as u64 };
        Pad { range, bits: PadBits::new(Zeroizing::new(bytes.to_vec())) }
    }

    proptest! {
        /// KM-08: a message comes out as it went in, its text on the way is the message under the pad, and a
        /// frame in which any bit was changed does not open.
        #[test]
        fn a_padded_message_opens_whole_or_not_at_all(
            message in prop::collection::vec(any::<u8>(), 0..200), seed: u8, at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let bytes: Vec<u8> = (0..message.len() + 32).map(|i| (i as u8).wrapping_mul(37) ^ seed).collect();
            let pad = pad(&bytes);
            prop_assert_eq!(pad.range.len, pad_bits(message.len()));
            let ask = seal(address(), &message, Some(&pad)).unwrap();
            prop_assert!(ask.text.iter().zip(&message).zip(&bytes).all(|((text, m), p)| *text == m ^ p));
            prop_assert_eq!(&*open(ask.clone(), Some(&pad.bits)).unwrap(), &message);
            let mut altered = ask.clone();
            let whole = altered.text.len() + altered.tag.len();
            let at = at.index(whole);
            if at < altered.text.len() {
                altered.text[at] ^= 1 << bit;
            } else {
                altered.tag[at - ask.text.len()] ^= 1 << bit;
            }
            prop_assert_eq!(open(altered, Some(&pad.bits)).unwrap_err(), CarryError::Tag);
            let mut other = ask.clone();
            other.to = "n3".parse().unwrap();
            prop_assert_eq!(open(other, Some(&pad.bits)).unwrap_err(), CarryError::Tag);
            prop_assert!(open(ask, None).is_err());
        }
    }
}
