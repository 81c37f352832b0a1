//! Secure application entities (SAEs) and the entities that manage their keys (KMEs), in the words of
//! ETSI GS QKD 014: who they are, and how a boundary keeps account of what they were given.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode};
use serde::{Deserialize, Serialize};

use crate::mesh::{Exchange, Groups, KeyPath, SaeRole};
use crate::{Hash, Label, NodeId, Timestamp, cbor};

/// Longest name of a SAE or KME, in bytes.
pub const ID_LEN: usize = 64;

/// Keys of one [`Handout`] up to which it names each; beyond, its digest alone commits to them.
pub const NAMED_KEYS: u64 = 64;

/// Most [`Handout`]s in one account.
pub const HANDOUTS_PER_ACCOUNT: usize = 8;

/// Most slaves of one [`Handout`].
pub const RECEIVERS: usize = 64;

/// Most bytes of the canonical [`Handout`]s of one account: an entry holds them twice, as what was said and as
/// what was recorded. The longest single one fits.
pub const ACCOUNT_LEN: usize = 31 * 1024;

/// A text cannot name a SAE or a KME.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot name a SAE or KME: use 1 to {ID_LEN} of a-z, A-Z, 0-9 and - _ . ~ : @")]
pub struct ParseIdError(String);

fn allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~:@".contains(&byte)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Serialize)]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if text.is_empty() || text.len() > ID_LEN || !text.bytes().all(allowed) {
                    return Err(ParseIdError(text.chars().take(ID_LEN).collect()));
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                d.str()?.parse().map_err(minicbor::decode::Error::custom)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A secure application entity: whoever uses keys.
    SaeId;
    /// A key management entity.
    KmeId;
}

impl From<&NodeId> for KmeId {
    /// The KME of a node has the node's name, which is a name of a KME too.
    fn from(node: &NodeId) -> Self {
        Self(node.as_str().to_owned())
    }
}

/// A SAE of the boundary.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct SaeSpec {
    /// Its name.
    #[n(0)]
    pub id: SaeId,
    /// The node whose KME serves it.
    #[n(1)]
    pub node: NodeId,
    /// SHA-256 of its certificate, DER.
    #[n(2)]
    pub fingerprint: Hash,
    /// SAEs with which it may have keys as a master, sorted; all where absent.
    #[n(3)]
    pub slaves: Option<Vec<SaeId>>,
    /// Bits of key it may take a second as a master; the node's default where absent.
    #[n(4)]
    pub quota_bps: Option<u64>,
    /// Over which key exchange it is served.
    #[n(5)]
    pub groups: Groups,
}

/// Where SAEs find the KME of a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct KmeSpec {
    /// `https://HOST:PORT`.
    #[n(0)]
    pub url: String,
    /// Certificate of the authority that signs the KME's own, PEM.
    #[n(1)]
    pub authority: String,
}

/// Keys given to one SAE over a span of time: never the keys, nor what they could be found by.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Handout {
    /// Whether they were given to the master or to a slave.
    #[n(0)]
    pub role: SaeRole,
    /// The master.
    #[n(1)]
    pub master: SaeId,
    /// All slaves entitled, or the one that fetched.
    #[n(2)]
    pub slaves: Vec<SaeId>,
    /// Size of each key, in bits; of the largest where they differ.
    #[n(3)]
    pub size: u32,
    /// What protected their bits on the way between the KMEs.
    #[n(4)]
    pub path: KeyPath,
    /// How many requests were answered.
    #[n(5)]
    pub requests: u64,
    /// How many keys were given.
    #[n(6)]
    pub keys: u64,
    /// When the first was, by the node's clock.
    #[n(7)]
    pub since: Timestamp,
    /// [`chain`] over the evidence of every key, in order, from zero.
    #[n(8)]
    pub digest: Hash,
    /// The evidence of each key, where there are at most [`NAMED_KEYS`]; else empty.
    #[n(9)]
    pub named: Vec<Hash>,
    /// How the connections agreed on their keys over which they were given.
    #[n(10)]
    pub exchange: Exchange,
}

/// The digest of a list of keys that goes on with one more key.
pub fn chain(digest: Hash, evidence: Hash) -> Hash {
    Label::KME_HANDOUT.hash(&[digest.as_ref(), evidence.as_ref()])
}

impl Handout {
    /// Bytes of its canonical encoding.
    pub fn encoded_len(&self) -> usize {
        cbor::to_vec(self).len()
    }

    /// Whether its figures agree with each other.
    pub fn is_consistent(&self) -> bool {
        let named = self.named.len() as u64;
        let all_named = named == self.keys && self.named.iter().copied().fold(Hash::ZERO, chain) == self.digest;
        let shape = !self.slaves.is_empty() && self.requests > 0 && self.keys >= self.requests;
        shape && if self.keys <= NAMED_KEYS { all_named } else { named == 0 }
    }

    /// Adds one request for keys of the same kind.
    pub fn add(&mut self, evidence: &[Hash]) {
        self.requests += 1;
        self.keys += evidence.len() as u64;
        self.digest = evidence.iter().copied().fold(self.digest, chain);
        if self.keys > NAMED_KEYS {
            self.named = Vec::new();
        } else {
            self.named.extend_from_slice(evidence);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Handout, NAMED_KEYS};
    use crate::mesh::{Exchange, KeyPath, SaeRole};
    use crate::{Hash, Timestamp, cbor};

    proptest! {
        /// KM-08: whatever is added, an account stays consistent and its size bounded; one in which a
        /// figure was changed is not.
        #[test]
        fn accounts_agree_with_themselves(requests in prop::collection::vec(1..9_usize, 1..40)) {
            let mut handout = Handout {
                role: SaeRole::Master,
                master: "a1".parse().unwrap(),
                slaves: vec!["b1".parse().unwrap()],
                size: 256,
                path: KeyPath::QkdKem,
                requests: 0,
                keys: 0,
                since: Timestamp::from_millis(1),
                digest: Hash::ZERO,
                named: vec![],
                exchange: Exchange::Hybrid,
            };
            let mut count = 0_u8;
            for keys in &requests {
                let evidence: Vec<Hash> = (0..*keys).map(|_| { count = count.wrapping_add(1); Hash::new([count; 32]) }).collect();
                handout.add(&evidence);
                prop_assert!(handout.is_consistent());
                prop_assert!(handout.named.len() as u64 <= NAMED_KEYS);
            }
            prop_assert_eq!(handout.requests, requests.len() as u64);
            prop_assert_eq!(handout.keys, requests.iter().sum::<usize>() as u64);
            prop_assert_eq!(cbor::from_slice::<Handout>(&cbor::to_vec(&handout)).unwrap(), handout.clone());
            if handout.keys <= NAMED_KEYS {
                let mut changed = handout.clone();
                changed.digest = Hash::new([0xee; 32]);
                prop_assert!(!changed.is_consistent());
                changed = handout.clone();
                changed.keys += 1;
                prop_assert!(!changed.is_consistent());
            }
        }
    }
}
