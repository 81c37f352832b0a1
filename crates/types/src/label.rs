//! The tree of hash and key-derivation domains.
//!
//! Every SHA-256 and HKDF use in the product (outside formats fixed by a standard, such as
//! RFC 6962 tree hashing) starts with one of these labels, so that no value made for one purpose
//! can stand in for another. A label is written `qecnet/<area>/<purpose>/v1`.

use sha2::{Digest, Sha256};

use crate::Hash;

/// One domain of the tree: a fixed text that no other domain uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(&'static str);

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Label {
            $($(#[$doc])* pub const $name: Self = Self($text);)*

            /// Every label of the tree, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

labels! {
    /// Hash of a log entry, chained into the next.
    ENTRY = "qecnet/evidence/entry/v1";
    /// Hash of a whole kernel state.
    STATE = "qecnet/kernel/state/v1";
    /// Hash of a policy bundle.
    POLICY = "qecnet/kernel/policy/v1";
    /// Digest of an operator's command, to which grants and approvals are bound.
    COMMAND = "qecnet/kernel/command/v1";
    /// Message an operator signs to make a request.
    REQUEST = "qecnet/api/request/v1";
    /// Message an operator signs to approve or deny a held request.
    APPROVAL = "qecnet/api/approval/v1";
    /// Salted commitment to key material.
    KEY_COMMITMENT = "qecnet/key/commitment/v1";
    /// Salt of the commitment to one key.
    KEY_SALT = "qecnet/key/salt/v1";
    /// Mask of a sheet of keys of applications, which makes it of one start of both KMEs.
    KME_STARTS = "qecnet/kme/starts/v1";
    /// Mask of a key delivery, from the hybrid KEM.
    DELIVERY_MASK = "qecnet/key/delivery-mask/v1";
    /// Authentication key of a delivery, from the hybrid KEM.
    DELIVERY_TAG = "qecnet/key/delivery-tag/v1";
    /// A pair's key, combined from the hub's part and the pair's own.
    PAIR_KEY = "qecnet/key/pair/v1";
    /// Key with which a participant proves that it holds a pair's key.
    KEY_CONFIRM = "qecnet/key/confirm/v1";
    /// Output and next state of the entropy source's conditioner.
    ENTROPY = "qecnet/crypto/entropy/v1";
    /// Shared secret of the hybrid KEM, from its two halves.
    HYBRID_KEM = "qecnet/crypto/hybrid-kem/v1";
    /// Message under both halves of a hybrid signature.
    HYBRID_SIGNATURE = "qecnet/crypto/hybrid-signature/v1";
    /// Fingerprint of a hybrid public identity.
    IDENTITY = "qecnet/crypto/identity/v1";
    /// Exporter of a session's TLS channel (RFC 8446 section 7.5).
    SESSION_EXPORTER = "qecnet/session/exporter/v1";
    /// Membership as the hub signs it.
    ROSTER = "qecnet/session/roster/v1";
    /// Digest of the nodes that are cut off.
    ISOLATED = "qecnet/session/isolated/v1";
    /// Message both ends of a session sign to bind identity to channel.
    SESSION_BINDING = "qecnet/session/binding/v1";
    /// Envelope key of a session, one per direction.
    SESSION_ENVELOPE = "qecnet/session/envelope/v1";
    /// First authentication key of a quantum link, before it has bits of its own.
    QKD_AUTH = "qecnet/qkd/first-auth/v1";
    /// Key of one forwarded stream in one direction under one pair key.
    STREAM = "qecnet/node/stream/v1";
    /// Key that seals one record of the vault, wrapped by the master key.
    VAULT_RECORD = "qecnet/store/vault-record/v1";
    /// Token of a console sign-in.
    CONSOLE_TOKEN = "qecnet/hub/console-token/v1";
    /// Message a browser signs to prove that it holds the key of its console session.
    CONSOLE_PROOF = "qecnet/hub/console-proof/v1";
    /// Identifier of a key delivered over ETSI GS QKD 014.
    KME_KEY_ID = "qecnet/kme/key-id/v1";
    /// Name in evidence of a key delivered over ETSI GS QKD 014.
    KME_EVIDENCE = "qecnet/kme/evidence/v1";
    /// Running digest of the keys that one SAE was given.
    KME_HANDOUT = "qecnet/kme/handout/v1";
}

impl Label {
    /// The text of the label.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// SHA-256 over the label and `parts`, each preceded by its length as a 64-bit big-endian
    /// integer, so that no two different lists of parts meet in one hash.
    pub fn hash(self, parts: &[&[u8]]) -> Hash {
        let mut sha = Sha256::new();
        absorb(&mut sha, self.0.as_bytes());
        for part in parts {
            absorb(&mut sha, part);
        }
        Hash::new(sha.finalize().into())
    }

    /// The bytes to sign in this domain: label, then each part, all length-prefixed.
    pub fn message(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for part in std::iter::once(&self.0.as_bytes()).chain(parts) {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part);
        }
        out
    }
}

fn absorb(sha: &mut Sha256, part: &[u8]) {
    sha.update((part.len() as u64).to_be_bytes());
    sha.update(part);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Label;

    #[test]
    fn no_two_domains_share_a_text() {
        let texts: BTreeSet<_> = Label::ALL.iter().map(|label| label.as_str()).collect();
        assert_eq!(texts.len(), Label::ALL.len());
        assert!(texts.iter().all(|text| text.starts_with("qecnet/") && text.ends_with("/v1")));
    }

    #[test]
    fn parts_are_not_confused_by_moving_their_border() {
        assert_ne!(Label::ENTRY.hash(&[b"ab", b"c"]), Label::ENTRY.hash(&[b"a", b"bc"]));
        assert_ne!(Label::ENTRY.hash(&[b"ab"]), Label::STATE.hash(&[b"ab"]));
    }
}
