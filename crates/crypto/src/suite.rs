//! Cryptographic suites as data. Every signed or encapsulated object names its suite, so that a
//! suite can be added or deprecated without a new format.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Number of a suite in [`SUITES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct SuiteId(u16);

impl SuiteId {
    /// Signature, Ed25519 + ML-DSA-65: identities of nodes and operators (KM-14).
    pub const ED25519_MLDSA65: Self = Self(1);
    /// Signature, Ed25519 + ML-DSA-44: log checkpoints.
    pub const ED25519_MLDSA44: Self = Self(2);
    /// Key encapsulation, X25519 + ML-KEM-1024: key delivery (KM-09).
    pub const X25519_MLKEM1024: Self = Self(16);
    /// Key encapsulation, X25519 + ML-KEM-768: one session (KM-14 `EPHEMERAL_SESSION`).
    pub const X25519_MLKEM768: Self = Self(17);

    /// The suite with this number, known or not.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The suite's row, or nothing where the number is unknown.
    pub fn suite(self) -> Option<&'static Suite> {
        SUITES.iter().find(|suite| suite.id == self)
    }
}

impl fmt::Display for SuiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.suite() {
            Some(suite) => f.write_str(suite.name),
            None => write!(f, "suite {}", self.0),
        }
    }
}

/// Whether a suite may still make new objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// May be used for new objects.
    Current,
    /// Makes nothing new; what it made while current still verifies as history.
    Deprecated,
}

/// When the object under verification was made, as far as the verifier is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Made now: a handshake, a request, a delivery.
    Fresh,
    /// Made earlier and fixed by a log: an entry or a checkpoint under audit.
    Historic,
}

/// What a suite does and the sizes of its halves, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Two signatures over one message.
    Signature {
        /// Classical public key.
        classical_public: usize,
        /// Classical signature.
        classical_signature: usize,
        /// Post-quantum public key.
        pq_public: usize,
        /// Post-quantum signature.
        pq_signature: usize,
    },
    /// Two key encapsulations into one secret of 32 bytes.
    Kem {
        /// Classical public key and ciphertext.
        classical: usize,
        /// Post-quantum public key.
        pq_public: usize,
        /// Post-quantum ciphertext.
        pq_ciphertext: usize,
    },
}

/// One row of the table of suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    /// Number in every object that uses the suite; never given to another suite.
    pub id: SuiteId,
    /// Name in messages and documents.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Whether it makes new objects.
    pub status: Status,
}

impl Suite {
    /// The rule for verifiers: a deprecated suite counts only for history, and an unknown one, which
    /// has no row, never.
    pub fn accepts(&self, age: Age) -> bool {
        match (self.status, age) {
            (Status::Current, Age::Fresh | Age::Historic) | (Status::Deprecated, Age::Historic) => true,
            (Status::Deprecated, Age::Fresh) => false,
        }
    }
}

/// Every suite the product knows. Sizes: RFC 8032, RFC 7748, FIPS 204 table 2, FIPS 203 table 3.
pub const SUITES: &[Suite] = &[
    Suite {
        id: SuiteId::ED25519_MLDSA65,
        name: "ed25519+ml-dsa-65",
        kind: Kind::Signature { classical_public: 32, classical_signature: 64, pq_public: 1_952, pq_signature: 3_309 },
        status: Status::Current,
    },
    Suite {
        id: SuiteId::ED25519_MLDSA44,
        name: "ed25519+ml-dsa-44",
        kind: Kind::Signature { classical_public: 32, classical_signature: 64, pq_public: 1_312, pq_signature: 2_420 },
        status: Status::Current,
    },
    Suite {
        id: SuiteId::X25519_MLKEM1024,
        name: "x25519+ml-kem-1024",
        kind: Kind::Kem { classical: 32, pq_public: 1_568, pq_ciphertext: 1_568 },
        status: Status::Current,
    },
    Suite {
        id: SuiteId::X25519_MLKEM768,
        name: "x25519+ml-kem-768",
        kind: Kind::Kem { classical: 32, pq_public: 1_184, pq_ciphertext: 1_088 },
        status: Status::Current,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Age, SUITES, Status, SuiteId};

    /// QT-06
    #[test]
    fn numbers_and_names_are_unique() {
        let ids: BTreeSet<_> = SUITES.iter().map(|suite| suite.id).collect();
        let names: BTreeSet<_> = SUITES.iter().map(|suite| suite.name).collect();
        assert_eq!((ids.len(), names.len()), (SUITES.len(), SUITES.len()));
    }

    /// QT-06
    #[test]
    fn a_deprecated_suite_verifies_history_only() {
        let mut suite = *SuiteId::ED25519_MLDSA65.suite().unwrap();
        assert!(suite.accepts(Age::Fresh));
        suite.status = Status::Deprecated;
        assert!(suite.accepts(Age::Historic) && !suite.accepts(Age::Fresh));
        assert!(SuiteId::new(999).suite().is_none());
    }
}
