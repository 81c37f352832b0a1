use std::fmt;
use std::str::FromStr;

/// Longest name of a vault record or cell, in bytes.
pub const STORE_NAME_LEN: usize = 160;

/// A text cannot name a vault record or a cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot name a record: use 1 to {STORE_NAME_LEN} of a-z, A-Z, 0-9 and - _ . / : ~")]
pub struct ParseStoreNameError(String);

fn check(text: &str) -> Result<(), ParseStoreNameError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_./:~".contains(&b);
    if !text.is_empty() && text.len() <= STORE_NAME_LEN && text.bytes().all(allowed) {
        Ok(())
    } else {
        Err(ParseStoreNameError(text.chars().take(STORE_NAME_LEN).collect()))
    }
}

macro_rules! store_names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name `text`, if it has the form of one.
            pub fn new(text: impl Into<String>) -> Result<Self, ParseStoreNameError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseStoreNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

store_names! {
    /// Name of one sealed record of the vault. Names are not secret.
    VaultName;
    /// Name of one small plain value.
    CellName;
}
