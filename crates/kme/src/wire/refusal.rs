use hyper::StatusCode;

use super::answer::ErrorBody;

/// Why a request is refused. The texts in quotes in ETSI GS QKD 014 are given exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Key sizes are whole bytes (clause 6.2).
    #[error("size shall be a multiple of 8")]
    SizeNotBytes,
    /// A mandatory extension is not known (clause 6.2).
    #[error("not all extension_mandatory parameters are supported")]
    MandatoryUnsupported(Vec<String>),
    /// A mandatory extension is known and cannot be honoured now (clause 6.2).
    #[error("not all extension_mandatory request options could be met")]
    MandatoryUnmet(Vec<String>),
    /// An optional extension was left aside, where the configuration calls that an error.
    #[error("not all extension_optional request options handled")]
    OptionalUnhandled(Vec<String>),
    /// A key is unknown, was delivered before, or expired (clause 6.4). No key of the request is delivered.
    #[error("one or more keys specified are not found on KME")]
    KeysNotFound,
    /// The body does not have the form it should.
    #[error("{0}")]
    Malformed(String),
    /// The size is out of bounds.
    #[error("size shall be from {min} to {max} bits")]
    SizeOutOfBounds {
        /// Smallest, in bits.
        min: u32,
        /// Largest, in bits.
        max: u32,
    },
    /// More keys than one request may ask for, or none.
    #[error("number shall be from 1 to {max}")]
    NumberOutOfBounds {
        /// Most keys of a request.
        max: u32,
    },
    /// More slaves than a key may have.
    #[error("additional_slave_SAE_IDs shall have at most {max} members")]
    TooManySlaves {
        /// `max_SAE_ID_count`.
        max: u32,
    },
    /// A slave that no KME here is known for.
    #[error("the SAE `{0}` is not known to this KME")]
    UnknownSae(String),
    /// No such path or method.
    #[error(
        "no such method: use GET status, GET or POST enc_keys, GET or POST dec_keys under /api/v1/keys/{{SAE_ID}}/"
    )]
    NoSuchMethod,
    /// The caller's certificate names no SAE of this KME.
    #[error("the certificate does not name a SAE of this KME")]
    UnknownCaller,
    /// The caller is served over a hybrid key exchange alone.
    #[error("this SAE is given keys over a hybrid key exchange (X25519MLKEM768) alone")]
    ClassicalExchange,
    /// The caller may not have this key, or keys with this SAE.
    #[error("this SAE is not entitled to the keys specified")]
    NotEntitled,
    /// The pool is empty and did not fill in time.
    #[error("no keys are available now for this pair of SAEs: try again later")]
    Empty,
    /// The caller used its share.
    #[error("the quota of this SAE is used up: try again later")]
    Quota,
    /// A KME that must have a key did not confirm it. Nothing was consumed.
    #[error("the KME of a slave SAE cannot be reached: try again later")]
    PeerDown,
    /// This KME started, and the hub has not said yet that it may give keys.
    #[error("this KME started and waits for the hub of its boundary: try again later")]
    Unconfirmed,
    /// What must be durable cannot be made so, or the KME is stopping.
    #[error("key data access error")]
    Storage,
}

impl Refusal {
    /// 400, 401 or 503: the only codes of the standard beside 200.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownCaller | Self::ClassicalExchange | Self::NotEntitled => StatusCode::UNAUTHORIZED,
            Self::Empty | Self::Quota | Self::PeerDown | Self::Unconfirmed | Self::Storage => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::SizeNotBytes
            | Self::MandatoryUnsupported(_)
            | Self::MandatoryUnmet(_)
            | Self::OptionalUnhandled(_)
            | Self::KeysNotFound
            | Self::Malformed(_)
            | Self::SizeOutOfBounds { .. }
            | Self::NumberOutOfBounds { .. }
            | Self::TooManySlaves { .. }
            | Self::UnknownSae(_)
            | Self::NoSuchMethod => StatusCode::BAD_REQUEST,
        }
    }

    /// The body of the answer (clause 6.5).
    pub fn body(&self) -> ErrorBody {
        let (name, values) = match self {
            Self::MandatoryUnsupported(names) => ("extension_mandatory_unsupported", names),
            Self::MandatoryUnmet(names) => ("extension_mandatory_unmet", names),
            Self::OptionalUnhandled(names) => ("extension_optional_unhandled", names),
            _ => return ErrorBody { message: self.to_string(), details: None },
        };
        let details = values.iter().map(|value| {
            let mut detail = serde_json::Map::new();
            detail.insert(name.to_owned(), serde_json::Value::String(value.clone()));
            detail
        });
        ErrorBody { message: self.to_string(), details: Some(details.collect()) }
    }
}
