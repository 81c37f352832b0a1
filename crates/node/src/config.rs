//! `config.toml` of a node. A field that is not known is an error, so that a typing error never
//! turns into a silent default.

use std::path::{Path, PathBuf};
use std::time::Duration;

use link::LinkSection;
use serde::{Deserialize, Serialize};
use types::{BoundaryId, Millis, NodeId};

use crate::counter::{self, KmeSection};
use crate::destination::Destination;

/// Everything a node reads when it starts. Paths are relative to the file's folder. Whom the node
/// trusts, and where they listen, is in the trust file (SM-03).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The boundary it belongs to.
    pub boundary: BoundaryId,
    /// Its name.
    pub node: NodeId,
    /// Where it takes sessions of other nodes, `host:port`.
    pub listen: String,
    /// Where the hub takes sessions of nodes, `host:port`.
    pub hub: String,
    /// Where the node's files are.
    #[serde(default)]
    pub files: Files,
    /// How often it does what it does by itself.
    #[serde(default)]
    pub timing: Timing,
    /// Its quantum links.
    #[serde(default, rename = "link")]
    pub links: Vec<LinkSection>,
    /// Where forwards of the boundary may end here, each `ADDRESS:PORT` or `ADDRESS:*`; nowhere by default. Which
    /// forwards there are is for the boundary to decide, and a file opens none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_connect: Vec<Destination>,
    /// How applications are given keys here; not at all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kme: Option<KmeSection>,
}

/// Names of the node's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// Its hybrid identity.
    pub identity: PathBuf,
    /// Certificate and key for sessions.
    pub tls: PathBuf,
    /// Whom it trusts.
    pub trust: PathBuf,
    /// The store: vault and cursors.
    pub store: PathBuf,
    /// The vault's master key.
    pub master_key: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            identity: "identity.key".into(),
            tls: "tls.pem".into(),
            trust: "trust.toml".into(),
            store: "store.db".into(),
            master_key: "master.key".into(),
        }
    }
}

/// How often a node does what it does by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// Time between reports of links and of the use of keys, at least `100ms`.
    pub report: Span,
    /// Longest wait before a lost session is tried again.
    pub reconnect: Span,
    /// How old the hub's newest roster may be before no peer is spoken to: as long the mesh goes on
    /// without the hub. At least `2s`; the hub signs one each minute.
    pub roster: Span,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            report: Span(Millis::from_secs(5)),
            reconnect: Span(Millis::from_secs(5)),
            roster: Span(Millis::from_hours(24)),
        }
    }
}

/// A duration written as `300ms`, `5s`, `5m` or `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Millis);

impl Span {
    pub(crate) fn get(self) -> Duration {
        self.0.into()
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A field is unknown, missing or of another form; the message shows the line.
    #[error("`{path}` is not a configuration of a node: {source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value does not fit.
    #[error("`{path}`: {reason}", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which value, and what would fit.
        reason: String,
    },
}

impl NodeConfig {
    /// Reads and checks the file at `path`; its paths become relative to the working folder.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and what to change.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        config.check().map_err(|reason| ConfigError::Value { path: path.to_owned(), reason })?;
        config.rebase(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    /// The file's content.
    ///
    /// # Errors
    /// The library's error; none is expected of these types.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    fn check(&self) -> Result<(), String> {
        if self.node.is_hub() {
            return Err("`node` is `hub`: that name is the hub's, give the node another".to_owned());
        }
        if self.timing.report.0 < Millis::new(100) || self.timing.reconnect.0 < Millis::new(100) {
            return Err("`timing`: every span is at least 100ms".to_owned());
        }
        if self.timing.roster.0 < Millis::from_secs(2) {
            return Err("`timing.roster` is less than 2s: a day is usual".to_owned());
        }
        let mut peers = std::collections::BTreeSet::new();
        for link in &self.links {
            if link.peer == self.node || !peers.insert(&link.peer) {
                return Err(format!("`link` to `{}`: one link to each other participant", link.peer));
            }
            link.check_source()?;
            link.params.params().check().map_err(|error| format!("`link` to `{}`: {error}", link.peer))?;
        }
        self.kme.as_ref().map_or(Ok(()), KmeSection::check)
    }

    fn rebase(&mut self, folder: &Path) {
        let files = &mut self.files;
        let own = [&mut files.identity, &mut files.tls, &mut files.trust, &mut files.store, &mut files.master_key];
        for path in own {
            *path = folder.join(&*path);
        }
        self.links.iter_mut().filter_map(|link| link.kme.as_mut()).for_each(|kme| kme.rebase(folder));
        if let Some(section) = &mut self.kme {
            counter::rebase(section, folder);
        }
    }
}

#[cfg(test)]
mod tests;
