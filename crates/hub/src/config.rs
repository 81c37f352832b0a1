//! `config.toml` of the hub. A field that is not known is an error, so that a typing error never
//! turns into a silent default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kernel::event::{NodeSpec, OperatorSpec, Settings};
use link::LinkSection;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::mesh::Function;
use types::{BoundaryId, Hash, LinkId, Millis, NodeId, OperatorId, Timestamp};

/// Everything the hub reads when it starts. Paths are relative to the file's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubConfig {
    /// The boundary; also the origin of its log.
    pub boundary: BoundaryId,
    /// Address of the operators' listener (API and console).
    pub listen: SocketAddr,
    /// Address of the nodes' listener.
    pub mesh_listen: SocketAddr,
    /// Host names and addresses, beside `listen`, under which browsers reach the console.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Where to report a vulnerability, as a URI (RFC 9116 `Contact`).
    #[serde(default = "default_contact")]
    pub security_contact: String,
    /// File with the Cedar policies of a new boundary; the shipped ones where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
    /// The port for everyone; nothing is public where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<Public>,
    /// Where the hub's files are.
    #[serde(default)]
    pub files: Files,
    /// Timing of a new boundary.
    #[serde(default)]
    pub settings: Timing,
    /// How often membership is signed anew; nodes go by it for the `timing.roster` of their own files.
    #[serde(default = "default_roster")]
    pub roster: Span,
    /// The first operators.
    #[serde(default)]
    pub operators: Vec<Operator>,
    /// The founding nodes.
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// The quantum links of a new boundary, as `a~b`.
    #[serde(default)]
    pub links: Vec<LinkName>,
    /// The hub's own ends of quantum links, one `[[link]]` each.
    #[serde(default, rename = "link")]
    pub ends: Vec<LinkSection>,
}

fn default_roster() -> Span {
    Span(Millis::from_secs(60))
}

fn default_contact() -> String {
    "mailto:security@localhost".to_owned()
}

/// The port for everyone: checkpoint, tiles, health and `security.txt`, without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Public {
    /// Its address.
    pub listen: SocketAddr,
    /// Under which others reach it, as `host:port`; `listen` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Names of the hub's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// The hub's hybrid identity.
    pub identity: PathBuf,
    /// TLS key for sessions with nodes.
    pub tls: PathBuf,
    /// Whom the hub trusts.
    pub trust: PathBuf,
    /// The store: log and vault.
    pub store: PathBuf,
    /// The log's signing keys.
    pub log_key: PathBuf,
    /// The vault's master key.
    pub master_key: PathBuf,
    /// TLS key of the operators' listener.
    pub http_key: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            identity: "identity.key".into(),
            tls: "tls.key".into(),
            trust: "trust.toml".into(),
            store: "store.db".into(),
            log_key: "log.key".into(),
            master_key: "master.key".into(),
            http_key: "http.key".into(),
        }
    }
}

/// A founding operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The name.
    pub id: OperatorId,
    /// Groups the operator is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Public identity: hex digits of its canonical bytes.
    pub identity: String,
    /// Life of the key from the founding on, at most `8784h`.
    #[serde(default = "default_life")]
    pub life: Span,
}

fn default_life() -> Span {
    Span(kernel::operators::LIFE)
}

/// A founding node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The name.
    pub id: NodeId,
    /// What it is for.
    pub function: Function,
    /// Fingerprint of its identity.
    pub identity: Hash,
}

/// A link written `a~b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkName(pub LinkId);

impl Serialize for LinkName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LinkName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom(format!("`{text}` is not a link: write two names as in `n1~n2`"));
        let (x, y) = text.split_once('~').ok_or_else(wrong)?;
        let (x, y) = (x.parse().map_err(serde::de::Error::custom)?, y.parse().map_err(serde::de::Error::custom)?);
        LinkId::new(x, y).map(Self).ok_or_else(wrong)
    }
}

/// A duration written as `300s`, `5m` or `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Millis);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

macro_rules! timing {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Timing of keys and mesh; what is absent has the default of [`Settings`].
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Timing {
            $($(#[$doc])* pub $field: Span,)*
        }

        impl From<Settings> for Timing {
            fn from(settings: Settings) -> Self {
                Self { $($field: Span(settings.$field),)* }
            }
        }

        impl Timing {
            /// The same as the kernel knows it.
            pub fn settings(&self) -> Settings {
                Settings { $($field: self.$field.0,)* }
            }
        }
    };
}

timing! {
    /// Life of a pair's session key, at least `1s`.
    refresh,
    /// How long a replaced key stays valid.
    overlap,
    /// How long a retired key is archived.
    retention,
    /// Life of the master key.
    master_life,
    /// Life of a node's identity.
    identity_life,
    /// Life of the log's keys.
    audit_life,
    /// How long a distribution may wait for its receipts.
    distribution_timeout,
    /// Longest wait for approvals.
    approval_timeout,
}

impl Default for Timing {
    fn default() -> Self {
        Settings::default().into()
    }
}

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A field is unknown, missing or of another form.
    #[error("`{path}` is not a configuration of the hub: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value does not fit.
    #[error("`{path}`: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Which value, and what would fit.
        reason: String,
    },
}

impl HubConfig {
    /// Reads and checks the file at `path`; its paths become absolute or relative to the working folder.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and what to change.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
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

    /// The Cedar policies a new boundary begins with.
    ///
    /// # Errors
    /// [`ConfigError::File`] where the file named cannot be read.
    pub fn policy_text(&self) -> Result<String, ConfigError> {
        self.policy.as_deref().map_or_else(|| Ok(kernel::policy::DEFAULT_POLICY.to_owned()), read)
    }

    /// The operators as the kernel knows them, of a boundary that begins at `now`.
    ///
    /// # Errors
    /// The name of an operator whose identity is not one, or is another's, or whose key lives too long.
    pub fn operator_specs(&self, now: Timestamp) -> Result<Vec<OperatorSpec>, String> {
        let mut seen = std::collections::BTreeMap::new();
        let mut spec = |operator| {
            let operator: &Operator = operator;
            let wrong =
                || format!("the identity of operator `{}` is not one: copy it from `init operator`", operator.id);
            let identity = hex::decode(&operator.identity).map_err(|_| wrong())?;
            crypto::IdentityPublic::from_bytes(&identity).map_err(|_| wrong())?;
            let mut groups = operator.groups.clone();
            groups.sort();
            groups.dedup();
            if let Some(other) = seen.insert(identity.clone(), &operator.id) {
                return Err(format!(
                    "operators `{other}` and `{}` have one identity: each needs a key of its own",
                    operator.id
                ));
            }
            if operator.life.0 == Millis::new(0) || operator.life.0 > kernel::operators::LONGEST_LIFE {
                return Err(format!("`life` of operator `{}` is from 1ms to 8784h", operator.id));
            }
            Ok(OperatorSpec { id: operator.id.clone(), groups, identity, expires: now + operator.life.0 })
        };
        self.operators.iter().map(&mut spec).collect()
    }

    /// The founding nodes as the kernel knows them.
    pub fn node_specs(&self) -> Vec<NodeSpec> {
        let spec = |node: &Node| NodeSpec { id: node.id.clone(), function: node.function, identity: node.identity };
        self.nodes.iter().map(spec).collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.listen == self.mesh_listen && self.listen.port() != 0 {
            return Err("`listen` and `mesh_listen` are the same: give each a port of its own".to_owned());
        }
        let public = self.public.as_ref().map(|public| public.listen).filter(|public| public.port() != 0);
        if public.is_some_and(|public| [self.listen, self.mesh_listen].contains(&public)) {
            return Err("`public.listen` is the address of another listener: give it a port of its own".to_owned());
        }
        if self.settings.refresh.0 < Millis::from_secs(1) {
            return Err("`settings.refresh` is less than 1s: rotate at most once a second".to_owned());
        }
        if self.roster.0 < Millis::new(200) {
            return Err("`roster` is less than 200ms: a minute is usual".to_owned());
        }
        if self.nodes.iter().any(|node| node.id.is_hub()) {
            return Err("`hub` is the name of the hub: give the node another".to_owned());
        }
        for link in &self.ends {
            link.check_source()?;
            link.params.params().check().map_err(|error| format!("`link` to `{}`: {error}", link.peer))?;
        }
        let known = |name: &NodeId| name.is_hub() || self.nodes.iter().any(|node| node.id == *name);
        if let Some(LinkName(link)) = self.links.iter().find(|link| !known(link.0.a()) || !known(link.0.b())) {
            return Err(format!("the link `{link}` ends at a node that `nodes` does not list"));
        }
        self.operator_specs(Timestamp::from_millis(0)).map(|_| ())
    }

    fn rebase(&mut self, folder: &Path) {
        let files = &mut self.files;
        let own = [
            &mut files.identity,
            &mut files.tls,
            &mut files.trust,
            &mut files.store,
            &mut files.log_key,
            &mut files.master_key,
            &mut files.http_key,
        ];
        for path in own.into_iter().chain(self.policy.as_mut()) {
            *path = folder.join(&*path);
        }
        self.ends.iter_mut().filter_map(|link| link.kme.as_mut()).for_each(|kme| kme.rebase(folder));
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, HubConfig};

    const LEAST: &str = "boundary = \"site\"\nlisten = \"127.0.0.1:8443\"\nmesh_listen = \"127.0.0.1:8444\"\n";

    fn load(text: &str) -> Result<HubConfig, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        HubConfig::load(&path)
    }

    #[test]
    fn the_least_config_has_the_documented_defaults() {
        let config = load(LEAST).unwrap();
        assert_eq!(config.settings.settings(), kernel::event::Settings::default());
        assert!(config.files.store.ends_with("store.db") && config.files.store.is_absolute());
        assert_eq!(config.policy_text().unwrap(), kernel::policy::DEFAULT_POLICY);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = format!(
            "{LEAST}links = [\"n1~hub\"]\n[settings]\nrefresh = \"5s\"\n[[nodes]]\nid = \"n1\"\nfunction = \"grid\"\n\
             identity = \"{}\"\n[[link]]\npeer = \"n1\"\nfibre = \"127.0.0.1:9000\"\n",
            "ab".repeat(32)
        );
        let config = load(&text).unwrap();
        assert_eq!(config.links[0].0.to_string(), "hub~n1");
        let written: HubConfig = toml::from_str(&config.to_toml().unwrap()).unwrap();
        assert_eq!(written, config);
    }

    #[test]
    fn each_fault_is_named() {
        let faults = [
            ("lisen = \"127.0.0.1:1\"\n", "lisen"),
            ("[public]\nlisten = \"127.0.0.1:8443\"\n", "public.listen"),
            ("[settings]\nrefresh = \"5 s\"\n", "whole number and a unit"),
            ("[settings]\nrefresh = \"10ms\"\n", "settings.refresh"),
            ("links = [\"hub~n9\"]\n", "hub~n9"),
            ("links = [\"n1\"]\n", "not a link"),
            ("[[fibres]]\npeer = \"n1\"\n", "fibres"),
            ("[[link]]\npeer = \"n1\"\naddress = \"127.0.0.1:1\"\n", "address"),
            ("[[link]]\npeer = \"n1\"\n", "either `fibre` or `kme`"),
            ("[[operators]]\nid = \"op1\"\nidentity = \"00\"\n", "op1"),
            ("[[nodes]]\nid = \"hub\"\nfunction = \"grid\"\nidentity = \"00\"\n", "64 hex digits"),
            ("[[nodes]]\nid = \"N1\"\nfunction = \"grid\"\nidentity = \"00\"\n", "N1"),
        ];
        for (text, wanted) in faults {
            let error = load(&format!("{LEAST}{text}")).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
