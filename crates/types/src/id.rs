//! Identifiers. Names are chosen by people; numbers are counted by the kernel, which has no
//! random numbers to draw.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode};
use serde::{Deserialize, Serialize};

use crate::limits::NAME_LEN;

/// A name does not have the form of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to 32 of a-z, 0-9 and -, starting with a letter")]
pub struct ParseNameError(String);

fn check_name(text: &str) -> Result<(), ParseNameError> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
    let all_allowed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if starts_well && all_allowed && text.len() <= NAME_LEN {
        Ok(())
    } else {
        Err(ParseNameError(text.chars().take(NAME_LEN + 1).collect()))
    }
}

macro_rules! names {
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
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check_name(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
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

names! {
    /// A boundary: one tenant, site or sovereign zone, with a log of its own.
    BoundaryId;
    /// A node of the mesh, or the hub under the reserved name `hub`.
    NodeId;
    /// A person, or a service, that gives commands.
    OperatorId;
}

impl NodeId {
    /// The reserved name of the sovereign hub.
    pub fn hub() -> Self {
        Self("hub".to_owned())
    }

    /// Whether this is the sovereign hub.
    pub fn is_hub(&self) -> bool {
        self.0 == "hub"
    }
}

/// A quantum link between two different participants, the smaller name first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
pub struct LinkId {
    #[n(0)]
    a: NodeId,
    #[n(1)]
    b: NodeId,
}

impl LinkId {
    /// The link between `x` and `y`, in either order; `None` where both are the same.
    pub fn new(x: NodeId, y: NodeId) -> Option<Self> {
        match x.cmp(&y) {
            std::cmp::Ordering::Less => Some(Self { a: x, b: y }),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(Self { a: y, b: x }),
        }
    }

    /// The participant with the smaller name: the one that prepares the photons.
    pub fn a(&self) -> &NodeId {
        &self.a
    }

    /// The participant with the larger name: the one that measures.
    pub fn b(&self) -> &NodeId {
        &self.b
    }

    /// Whether `node` is one of the two ends.
    pub fn has(&self, node: &NodeId) -> bool {
        self.a == *node || self.b == *node
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}", self.a, self.b)
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The identifier with this number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseNumberError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let digits = text.strip_prefix($prefix).unwrap_or(text);
                digits.parse().map(Self).map_err(|_| ParseNumberError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
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

/// The text is not a number, with or without its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write the number of the item, as in `{prefix}7` or `7`")]
pub struct ParseNumberError {
    prefix: &'static str,
}

numbers! {
    /// A key; the number is its order of creation in its boundary.
    KeyId = "k";
    /// A grant.
    GrantId = "g";
    /// A request held for approval.
    RequestId = "r";
    /// An incident.
    IncidentId = "i";
    /// A forward of TCP streams between two nodes.
    ForwardId = "f";
}
