use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::base64;

/// Longest key name, and longest origin, in bytes: one length byte in the signed message of
/// ML-DSA-44 cosignatures.
const NAME_LEN: usize = 255;

/// Name of a key, or origin of a log, such as `example.com/log42`: 1 to 255 bytes of UTF-8
/// without spaces, `+` or control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct KeyName(String);

/// A text is not the name of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a key or log has 1 to 255 bytes and no spaces, `+` or control characters")]
pub struct NameError;

impl KeyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = |c: char| c == '+' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.len() > NAME_LEN || text.contains(refused) {
            return Err(NameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a signature line is: the type byte of c2sp.org/signed-note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// 0x01: Ed25519 over the note text.
    Ed25519,
    /// 0x04: timestamped Ed25519 cosignature of a checkpoint.
    Ed25519Cosignature,
    /// 0x06: timestamped ML-DSA-44 (sub)tree cosignature.
    MlDsa44,
}

impl Algorithm {
    /// The type byte.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Ed25519Cosignature => 0x04,
            Self::MlDsa44 => 0x06,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::Ed25519Cosignature),
            0x06 => Some(Self::MlDsa44),
            _ => None,
        }
    }

    /// Length of a public key in bytes.
    pub const fn public_len(self) -> usize {
        match self {
            Self::Ed25519 | Self::Ed25519Cosignature => 32,
            Self::MlDsa44 => 1_312,
        }
    }

    /// Length of a bare signature in bytes.
    pub const fn signature_len(self) -> usize {
        match self {
            Self::Ed25519 | Self::Ed25519Cosignature => 64,
            Self::MlDsa44 => 2_420,
        }
    }

    /// Whether the signature has a time in front of it.
    pub const fn timestamped(self) -> bool {
        !matches!(self, Self::Ed25519)
    }
}

/// The four bytes by which a line names its key, next to the key's name. Short: a hint, not a
/// commitment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoteKeyId([u8; 4]);

impl NoteKeyId {
    pub(super) const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The four bytes.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for NoteKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for NoteKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteKeyId({self})")
    }
}

/// A public key that signs notes. As text a "vkey":
/// `<name>+<key id in hex>+<base64(type byte ‖ public key)>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerifierKey {
    name: KeyName,
    algorithm: Algorithm,
    public: Vec<u8>,
    id: NoteKeyId,
}

/// A text or bytes are not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// Not three parts joined by `+`, or one of them is not what it should be.
    #[error("a verifier key is written `name+8 hex digits+base64`")]
    Malformed,
    /// The name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A type of signature that is not handled here.
    #[error("signature type {0:#04x} is not supported: use 01, 04 or 06")]
    UnknownType(u8),
    /// The key has not the length of its type.
    #[error("a public key of this type has {expected} bytes, not {found}")]
    Length {
        /// Length of the type's keys in bytes.
        expected: usize,
        /// Length found in bytes.
        found: usize,
    },
    /// The key id does not belong to name and key.
    #[error("the key id {found} does not fit the name and the key: check for a typing error")]
    WrongId {
        /// The id in the text.
        found: NoteKeyId,
    },
}

impl VerifierKey {
    /// From the encoded public key: 32 bytes of Ed25519 or 1,312 of ML-DSA-44.
    pub fn new(name: KeyName, algorithm: Algorithm, public: Vec<u8>) -> Result<Self, VerifierKeyError> {
        if public.len() != algorithm.public_len() {
            return Err(VerifierKeyError::Length { expected: algorithm.public_len(), found: public.len() });
        }
        let digest = Sha256::new()
            .chain_update(name.as_str())
            .chain_update([b'\n', algorithm.byte()])
            .chain_update(&public)
            .finalize();
        let id = NoteKeyId([digest[0], digest[1], digest[2], digest[3]]);
        Ok(Self { name, algorithm, public, id })
    }

    /// Name of the key.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs with, and over which message.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The encoded public key.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The id its lines carry.
    pub fn id(&self) -> NoteKeyId {
        self.id
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = vec![self.algorithm.byte()];
        material.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, self.id, base64::encode(&material))
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VerifierKeyError::Malformed);
        };
        let material = base64::decode(material).ok_or(VerifierKeyError::Malformed)?;
        let (byte, public) = material.split_first().ok_or(VerifierKeyError::Malformed)?;
        let algorithm = Algorithm::from_byte(*byte).ok_or(VerifierKeyError::UnknownType(*byte))?;
        let key = Self::new(name.parse()?, algorithm, public.to_vec())?;
        let found = u32::from_str_radix(id, 16).map_err(|_| VerifierKeyError::Malformed)?;
        let found = NoteKeyId(found.to_be_bytes());
        if found != key.id {
            return Err(VerifierKeyError::WrongId { found });
        }
        if key.to_string() == text { Ok(key) } else { Err(VerifierKeyError::Malformed) }
    }
}
