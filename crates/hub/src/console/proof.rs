//! Proof that a request comes from the browser that signed in: a signature by a key that never leaves it. Without
//! it a cookie opens nothing, whoever has it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use types::{Label, Millis, Timestamp};

/// Header of a proof: milliseconds since 1970, a nonce of 32 hex digits and the signature (ECDSA on P-256 with
/// SHA-256, 64 bytes as of IEEE P1363, base64url), with points between.
pub(crate) const HEADER: &str = "qecnet-proof";

/// How far the browser's time may be from the hub's.
const SKEW: Millis = Millis::from_secs(30);
/// Proofs a session may give within twice that time; beyond, it waits.
const MOST: usize = 512;

/// An uncompressed point of P-256 (SEC 1 section 2.3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrowserKey([u8; Self::LEN]);

impl BrowserKey {
    pub(crate) const LEN: usize = 65;

    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// As a browser sends it: base64url.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::new(&URL_SAFE_NO_PAD.decode(text).ok()?)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a proof says.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    at: Timestamp,
    nonce: String,
    signature: Vec<u8>,
}

impl Proof {
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let mut parts = header.splitn(3, '.');
        let (at, nonce, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let lowercase_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if nonce.len() != 32 || !nonce.bytes().all(lowercase_hex) || at.len() > 16 {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { at: Timestamp::from_millis(at.parse().ok()?), nonce: nonce.to_owned(), signature })
    }

    /// Whether `key` signed it for this method and path.
    pub(crate) fn holds(&self, key: &BrowserKey, method: &str, path: &str) -> bool {
        crypto::p256_verify(key.as_bytes(), &message(method, path, self.at, &self.nonce), &self.signature)
    }
}

fn message(method: &str, path: &str, at: Timestamp, nonce: &str) -> Vec<u8> {
    let label = Label::CONSOLE_PROOF.as_str();
    format!("{label}\n{method}\n{path}\n{}\n{nonce}", at.as_millis()).into_bytes()
}

/// The proofs a session has given, so that each is good once.
#[derive(Debug, Default)]
pub(crate) struct Given(BTreeMap<String, Timestamp>);

impl Given {
    /// Uses `proof` up. `since` is the hub's start: what was given before is not remembered, and so not taken.
    pub(crate) fn take(&mut self, proof: &Proof, now: Timestamp, since: Timestamp) -> bool {
        let timely = proof.at >= since && proof.at + SKEW >= now && proof.at <= now + SKEW;
        self.0.retain(|_, at| *at + SKEW >= now);
        if !timely || self.0.len() >= MOST {
            return false;
        }
        self.0.insert(proof.nonce.clone(), proof.at).is_none()
    }
}

#[cfg(test)]
mod tests {
    use types::{Millis, Timestamp};

    use super::{Given, Proof};

    fn proof(at: u64, nonce: u8) -> Proof {
        Proof::parse(&format!("{at}.{}.AAAA", hex::encode([nonce; 16]))).unwrap()
    }

    /// SM-07a: a proof is good once, in its time, and not across a restart.
    #[test]
    fn a_proof_is_good_once_and_in_its_time() {
        let (now, since) = (Timestamp::from_millis(100_000), Timestamp::from_millis(90_000));
        let mut given = Given::default();
        assert!(given.take(&proof(100_000, 1), now, since));
        assert!(!given.take(&proof(100_000, 1), now, since));
        assert!(!given.take(&proof(100_000, 1), now + Millis::from_secs(29), since));
        assert!(!given.take(&proof(100_000, 2), now + Millis::from_secs(31), since));
        assert!(!given.take(&proof(140_000, 2), now, since));
        assert!(!given.take(&proof(89_999, 3), now, since));
        assert!(given.take(&proof(90_000, 3), now, since));
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let nonce = "0".repeat(32);
        for wrong in [
            String::new(),
            nonce.clone(),
            format!("1.{nonce}"),
            format!("x.{nonce}.AAAA"),
            format!("1.{}.AAAA", &nonce[1..]),
            format!("1.{}Z.AAAA", &nonce[1..]),
            format!("1.{nonce}.?"),
            format!("99999999999999999999.{nonce}.AAAA"),
        ] {
            assert!(Proof::parse(&wrong).is_none(), "{wrong}");
        }
    }
}
