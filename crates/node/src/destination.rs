//! Where forwards may end: a list of the node's own, beside what the boundary grants.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One address, or all ports of one, that forwards may end at: `127.0.0.1:80`, `[fd00::1]:*`. There are no names and
/// no networks: what a name leads to is for others to say, and a network has this machine's own services in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    host: IpAddr,
    port: Option<u16>,
}

/// A text is no place where forwards may end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no place where forwards may end: write `ADDRESS:PORT` or `ADDRESS:*`, as in `127.0.0.1:80`")]
pub struct ParseDestinationError(String);

impl Destination {
    /// Whether a forward may end at `target`.
    pub fn covers(&self, target: &SocketAddr) -> bool {
        self.host == target.ip().to_canonical() && self.port.is_none_or(|port| port == target.port())
    }
}

impl FromStr for Destination {
    type Err = ParseDestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (host, port) = text.rsplit_once(':')?;
            let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                Some(six) => IpAddr::V6(six.parse().ok()?),
                None => IpAddr::V4(host.parse().ok()?),
            };
            let port = if port == "*" { None } else { Some(port.parse().ok().filter(|port| *port > 0)?) };
            // Systems take the unspecified address for the loopback.
            (!host.is_unspecified()).then_some(Self { host: host.to_canonical(), port })
        };
        parse().ok_or_else(|| ParseDestinationError(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host, self.port) {
            (host, Some(port)) => write!(f, "{}", SocketAddr::new(host, port)),
            (IpAddr::V4(host), None) => write!(f, "{host}:*"),
            (IpAddr::V6(host), None) => write!(f, "[{host}]:*"),
        }
    }
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Destination;

    fn covers(rule: &str, target: &str) -> bool {
        rule.parse::<Destination>().unwrap().covers(&target.parse().unwrap())
    }

    /// S15: an address is what it is, under whatever name the system takes it for the same.
    #[test]
    fn s15_a_destination_covers_itself_alone() {
        assert!(covers("127.0.0.1:80", "127.0.0.1:80") && covers("127.0.0.1:*", "127.0.0.1:8080"));
        assert!(covers("127.0.0.1:80", "[::ffff:127.0.0.1]:80") && covers("[fd00::1]:*", "[fd00::1]:9"));
        for other in ["127.0.0.1:81", "127.0.0.2:80", "169.254.169.254:80", "[::1]:80", "0.0.0.0:80"] {
            assert!(!covers("127.0.0.1:80", other), "{other}");
        }
        for wrong in ["", "*", "127.0.0.1", "localhost:80", "0.0.0.0:80", "[::]:*", "10.0.0.0/8:80", "1.2.3.4:0", ":80"]
        {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong}");
        }
        for text in ["127.0.0.1:80", "10.0.0.1:*", "[fd00::1]:443", "[fd00::1]:*"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
    }
}
