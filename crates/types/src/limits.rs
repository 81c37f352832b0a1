//! Every bound of the product in one file. A length read from outside is checked against one of
//! these before anything is allocated for it.

/// Longest name of a boundary, node or operator, in bytes.
pub const NAME_LEN: usize = 32;

/// Largest log entry, in bytes; fixed by the 16-bit length of C2SP `tlog-tiles`.
pub const ENTRY_LEN: usize = 65_535;

/// Most entries in one append.
pub const BATCH_ENTRIES: usize = 1_024;

/// Most keys one step acts on; what is left is due again at once. Keeps an entry below
/// [`ENTRY_LEN`].
pub const KEYS_PER_STEP: usize = 256;

/// Largest framed message of a session, in bytes.
pub const FRAME_LEN: usize = 4 * 1024 * 1024;

/// Largest body of an API request, in bytes: a signed request, which its entry repeats in part.
pub const REQUEST_BODY_LEN: usize = 16 * 1024;

/// Largest message of a node to the hub, in bytes, refused before it is read in.
pub const NODE_MESSAGE_LEN: usize = 256 * 1024;

/// Fewest bits of entropy behind a generated key (KM-03).
pub const KEY_ENTROPY_BITS: usize = 256;

/// Error rate of a quantum channel, in parts per million, at which it carries no key (KM-09).
pub const QBER_ABORT_PPM: u32 = 110_000;

/// Slowest secret key rate, in bits per second, at which a quantum channel is used (KM-09).
pub const MIN_SECRET_BPS: u32 = 1_000;
