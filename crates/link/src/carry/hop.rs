//! One hop of a message: from the link it came by, to the link it leaves by.

use session::mesh::KmeAsk;
use zeroize::Zeroizing;

use super::{Address, CarryError, open, pad_bits, seal};
use crate::driver::Link;
use crate::pad::PadError;

/// Why a message did not get over a hop.
#[derive(Debug, thiserror::Error)]
pub enum HopError {
    /// A pad is named or needed, and there is no link to have it from.
    #[error("there is no quantum link on this hop")]
    NoLink,
    /// The link does not give the pad.
    #[error(transparent)]
    Pad(#[from] PadError),
    /// The message does not fit its pad.
    #[error(transparent)]
    Carry(#[from] CarryError),
}

/// Opens a message that came by `link`; the bits of its pad are spent.
///
/// # Errors
/// [`HopError`].
pub async fn receive(ask: KmeAsk, link: Option<&Link>) -> Result<Zeroizing<Vec<u8>>, HopError> {
    let pad = match ask.pad {
        None => None,
        Some(range) => Some(link.ok_or(HopError::NoLink)?.take(range).await?),
    };
    Ok(open(ask, pad.as_ref())?)
}

/// Opens a message that came by `from` and seals it again for `to`, as a trusted relay does. What came under a pad
/// leaves under one or not at all.
///
/// # Errors
/// [`HopError`].
pub async fn relay(ask: KmeAsk, from: Option<&Link>, to: Option<&Link>) -> Result<KmeAsk, HopError> {
    let address = Address { number: ask.number, from: ask.from.clone(), to: ask.to.clone() };
    let padded = ask.pad.is_some();
    let text = receive(ask, from).await?;
    let pad = match padded {
        true => Some(to.ok_or(HopError::NoLink)?.reserve(pad_bits(text.len())).await?),
        false => None,
    };
    Ok(seal(address, &text, pad.as_ref())?)
}
