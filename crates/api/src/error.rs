//! What a caller is told when a request fails. The text is for the caller; what went wrong inside
//! stays in the hub's own log.

use kernel::record::Refusal;
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $text:literal $message:literal,)*) => {
        /// Why a request failed, as a word that scripts can rely on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl ErrorCode {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// HTTP status (RFC 9110 section 15).
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What the caller is told where nothing more exact is known.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }
        }
    };
}

codes! {
    /// The body or path has not the form of a request.
    Malformed = 400 "malformed" "the request is not well-formed: use a client of this version",
    /// The signature does not hold, or the operator is not known or revoked.
    Unauthenticated = 401 "unauthenticated" "the signature does not hold: sign with the key of an operator of this boundary",
    /// Policy does not permit it.
    Denied = 403 "denied" "policy does not permit this",
    /// There is nothing under this path or name.
    NotFound = 404 "not-found" "there is nothing here",
    /// The path exists, the method does not.
    MethodNotAllowed = 405 "method-not-allowed" "use another method on this path",
    /// The caller was too slow.
    Timeout = 408 "timeout" "the request took too long to arrive: send it at once",
    /// The request does not fit the state things are in.
    Conflict = 409 "conflict" "this does not fit the state things are in",
    /// The request is stale or was made before.
    Replayed = 410 "replayed" "the request is not fresh or was made before: sign a new one",
    /// The body is larger than a request may be.
    TooLarge = 413 "too-large" "the request is too large",
    /// Too many requests of this caller, or too many callers.
    TooMany = 429 "too-many" "too many requests: wait and try again",
    /// Headers are larger than they may be.
    HeadersTooLarge = 431 "headers-too-large" "the headers are too large",
    /// The hub failed.
    Internal = 500 "internal" "the hub failed: see its log",
    /// The hub cannot record anything now, so it does nothing.
    Unavailable = 503 "unavailable" "the hub cannot record anything now: try again soon",
    /// There is no room for another entry; nothing was done.
    StorageFull = 507 "storage-full" "the hub's disk is full: free some space; nothing was done and nothing was lost",
}

/// The JSON body of every failed request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// The code.
    pub code: ErrorCode,
    /// What to do, for people.
    pub message: String,
    /// Policies that forbade it, where policy did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Index of the log entry that records the refusal, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
}

impl ErrorBody {
    /// The error with its code's own text.
    pub fn new(code: ErrorCode) -> Self {
        Self::with_message(code, code.message())
    }

    /// The error with a more exact text.
    pub fn with_message(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), reasons: Vec::new(), entry: None }
    }
}

impl From<ErrorCode> for ErrorBody {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

/// How a refusal of the kernel is told to the caller.
pub fn code_of(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::UnknownOperator => ErrorCode::Unauthenticated,
        Refusal::Stale | Refusal::Replayed => ErrorCode::Replayed,
        Refusal::NoSuchNode
        | Refusal::NoSuchKey
        | Refusal::NoSuchIncident
        | Refusal::NoSuchForward
        | Refusal::NoSuchRequest
        | Refusal::NoSuchSae
        | Refusal::NoQuarantine
        | Refusal::NoSuchOperator => ErrorCode::NotFound,
        Refusal::WrongBoundary
        | Refusal::DigestMismatch
        | Refusal::NameTaken
        | Refusal::IdentityTaken
        | Refusal::NotSettled
        | Refusal::TooFewApprovers => ErrorCode::Conflict,
        Refusal::NotAnApprover
        | Refusal::BadGrant
        | Refusal::KeyExpired
        | Refusal::Quarantined
        | Refusal::OwnAct
        | Refusal::GlassSpent => ErrorCode::Denied,
        Refusal::OutOfBounds | Refusal::BadPolicy | Refusal::NoReason => ErrorCode::Malformed,
        Refusal::TooLarge => ErrorCode::TooLarge,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ErrorBody, ErrorCode};

    #[test]
    fn codes_have_distinct_words_and_error_statuses() {
        let words: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn an_error_body_has_the_documented_members() {
        let json = serde_json::to_value(ErrorBody::new(ErrorCode::Denied)).unwrap();
        assert_eq!(json, serde_json::json!({"code": "denied", "message": "policy does not permit this"}));
    }
}
