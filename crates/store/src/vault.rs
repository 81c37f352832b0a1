//! The sealed vault (SM-06d): AES-256-GCM, a key of its own for every record, that key wrapped under
//! the master key.
//!
//! ```text
//! record key    R  fresh, 256 bits, seals one version of one record and nothing else
//! wrapping key  W  HKDF-SHA256(master, salt S fresh 256 bits, info: "wrap", boundary, name, version)
//! wrapped key   S ‖ AES-256-GCM(W, 0, R), in a slot that is only ever overwritten in place
//! sealed text   AES-256-GCM(R, 0, secret)
//! ```
//!
//! R and W each seal one text in their life, so the nonce is fixed, and the number of records a master
//! key may wrap is not bounded by the 2³² random nonces of NIST SP 800-38D section 8.3. Associated data
//! and derivation bind boundary, name and version: a row moved elsewhere, or an older row put back
//! under a newer version, does not open. Overwriting the slot destroys the record.

use std::sync::Arc;

use crypto::aead::{NONCE_LEN, TAG_LEN};
use crypto::{AeadAlgorithm, AeadKey, AuthKey, Entropy, MasterKey, RecordKey, Secret32, kdf};
use types::{BoundaryId, Label};
use zeroize::Zeroizing;

use crate::error::SealError;

pub(crate) mod rows;

/// Every key below seals once.
const ONLY_NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];
const SALT_LEN: usize = 32;
pub(crate) const WRAPPED_LEN: usize = SALT_LEN + 32 + TAG_LEN;

/// A secret on its way into or out of the vault: any length, wiped when dropped.
pub struct VaultSecret(Zeroizing<Vec<u8>>);

impl VaultSecret {
    /// Takes over `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A copy of `bytes`; the caller wipes the original.
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }

    /// The bytes. Called only where they enter a primitive or another secret.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl std::fmt::Debug for VaultSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultSecret(redacted)")
    }
}

/// The master key with what seals and checks under it.
pub(crate) struct Keyring {
    master: MasterKey,
    cells: AuthKey,
    /// What a file keeps to recognise the master key by.
    check: [u8; 32],
    entropy: Arc<Entropy>,
    boundary: BoundaryId,
}

/// One row of the vault.
pub(crate) struct Record {
    pub(crate) version: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Keyring {
    pub(crate) fn new(master: MasterKey, boundary: &BoundaryId, entropy: Arc<Entropy>) -> Self {
        let info: [&[u8]; 2] = [b"cells", boundary.as_str().as_bytes()];
        let cells = kdf::derive_secret(Label::VAULT_RECORD, master.expose(), &[], &info);
        let info: [&[u8]; 2] = [b"check", boundary.as_str().as_bytes()];
        let check = *kdf::derive(Label::VAULT_RECORD, master.expose(), &[], &info);
        Self { master, cells, check, entropy, boundary: boundary.clone() }
    }

    /// The keyring of another master key for the same boundary.
    pub(crate) fn with_master(&self, master: MasterKey) -> Self {
        Self::new(master, &self.boundary, Arc::clone(&self.entropy))
    }

    /// What a file keeps to recognise its master key by.
    pub(crate) fn check_value(&self) -> [u8; 32] {
        self.check
    }

    /// Whether `check` is the check value of this master key.
    pub(crate) fn matches(&self, check: &[u8]) -> bool {
        kdf::equal(&self.check, check)
    }

    /// Authenticates a cell, so that neither a flipped bit nor an edit of the file passes for a value:
    /// a pad cursor that reads too low would use pad bits twice.
    pub(crate) fn cell_tag(&self, name: &str, value: &[u8]) -> [u8; 32] {
        kdf::mac(&self.cells, Label::VAULT_RECORD, &[b"cell", name.as_bytes(), value])
    }

    pub(crate) fn cell_matches(&self, name: &str, value: &[u8], tag: &[u8]) -> bool {
        kdf::equal(&self.cell_tag(name, value), tag)
    }

    /// Seals `secret` as version `version` of the record `name`.
    pub(crate) fn seal(&self, name: &str, version: u64, secret: &VaultSecret) -> Result<Record, SealError> {
        let record_key = RecordKey::generate(&self.entropy)?;
        let mut body = Vec::with_capacity(secret.len() + TAG_LEN);
        body.extend_from_slice(secret.expose());
        cipher(&record_key)?.seal(&ONLY_NONCE, &self.binding(b"record", name, version), &mut body)?;
        Ok(Record { version, key: self.wrap(name, version, &record_key)?, body })
    }

    /// The secret of `record`, `None` where the row is not one that this master key sealed there.
    pub(crate) fn open(&self, name: &str, record: &Record) -> Option<VaultSecret> {
        let record_key = self.unwrap_key(name, record)?;
        let mut body = Zeroizing::new(record.body.clone());
        let binding = self.binding(b"record", name, record.version);
        let secret = cipher(&record_key).ok()?.open(&ONLY_NONCE, &binding, &mut body).ok()?;
        Some(VaultSecret::from_slice(secret))
    }

    pub(crate) fn wrap(&self, name: &str, version: u64, record_key: &RecordKey) -> Result<Vec<u8>, SealError> {
        let mut salt = [0; SALT_LEN];
        self.entropy.fill_public(&mut salt)?;
        // Room for the tag from the start: a vector that grows would leave the key behind.
        let mut sealed = Vec::with_capacity(WRAPPED_LEN);
        sealed.extend_from_slice(record_key.expose());
        let wrapping = self.wrapping_key(&salt, name, version);
        cipher(&wrapping)?.seal(&ONLY_NONCE, &self.binding(b"key", name, version), &mut sealed)?;
        sealed.splice(0..0, salt);
        Ok(sealed)
    }

    pub(crate) fn unwrap_key(&self, name: &str, record: &Record) -> Option<RecordKey> {
        let (salt, sealed) = record.key.split_at_checked(SALT_LEN)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let wrapping = self.wrapping_key(salt, name, record.version);
        let binding = self.binding(b"key", name, record.version);
        let key = cipher(&wrapping).ok()?.open(&ONLY_NONCE, &binding, &mut sealed).ok()?;
        RecordKey::from_slice(key).ok()
    }

    fn wrapping_key(&self, salt: &[u8], name: &str, version: u64) -> RecordKey {
        let boundary = self.boundary.as_str().as_bytes();
        let info: [&[u8]; 4] = [b"wrap", boundary, name.as_bytes(), &version.to_be_bytes()];
        kdf::derive_secret(Label::VAULT_RECORD, self.master.expose(), salt, &info)
    }

    fn binding(&self, part: &[u8], name: &str, version: u64) -> Vec<u8> {
        let boundary = self.boundary.as_str().as_bytes();
        Label::VAULT_RECORD.message(&[part, boundary, name.as_bytes(), &version.to_be_bytes()])
    }
}

fn cipher(key: &RecordKey) -> Result<AeadKey, crypto::SealError> {
    AeadKey::new(AeadAlgorithm::Aes256Gcm, key)
}
