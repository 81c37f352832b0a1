//! What an operator's tool knows about a hub: where it is, and by what it is recognised.

use std::path::{Path, PathBuf};

use crypto::IdentityPublic;
use evidence::note::VerifierKeyError;
use evidence::{CheckpointPolicy, VerifierKey};
use serde::{Deserialize, Serialize};
use types::{BoundaryId, Hash, OperatorId};

/// `operators/client.toml`. Written by `qecnet init`, copied to operators by hand: nothing received
/// over a network changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// Address of the hub's operators' listener, `host:port`.
    pub address: String,
    /// The boundary.
    pub boundary: BoundaryId,
    /// SHA-256 of the public key (SubjectPublicKeyInfo) of the listener's certificate.
    pub tls_pin: Hash,
    /// Keys of the log, as C2SP vkeys: one Ed25519 and one ML-DSA-44.
    pub log_keys: Vec<String>,
    /// The operators whose requests this one may have to judge, from their cards.
    #[serde(default, rename = "operator", skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<KnownOperator>,
}

/// An operator by whose identity a request is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownOperator {
    /// The name.
    pub name: OperatorId,
    /// The public identity.
    pub identity: IdentityPublic,
}

/// A client configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or written.
    #[error("cannot use `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not of the form wanted.
    #[error("`{path}` is not a client configuration: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A key of the log is not one.
    #[error("`log_keys`: {0}")]
    Key(#[from] VerifierKeyError),
    /// The keys do not make a log's hybrid pair.
    #[error("`log_keys`: {0}")]
    Policy(#[from] evidence::checkpoint::PolicyError),
    /// The boundary's name is no origin of a log.
    #[error("the boundary's name cannot be the origin of a log")]
    Origin,
}

impl ClientConfig {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and the fault; an unknown field is one.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        config.policy()?;
        Ok(config)
    }

    /// The file's content.
    pub fn to_toml(&self) -> String {
        let keys: Vec<String> = self.log_keys.iter().map(|key| format!("  {key:?},\n")).collect();
        let one = |one: &KnownOperator| {
            let identity = hex::encode(one.identity.to_bytes());
            format!("\n[[operator]]\nname = \"{}\"\nidentity = \"{identity}\"\n", one.name)
        };
        let operators: Vec<String> = self.operators.iter().map(one).collect();
        format!(
            "# How operators find and recognise the hub. Copy it by hand; nothing received changes it.\n\
             address = {:?}\nboundary = \"{}\"\ntls_pin = \"{}\"\nlog_keys = [\n{}]\n{}",
            self.address,
            self.boundary,
            self.tls_pin,
            keys.concat(),
            operators.concat()
        )
    }

    /// The identity an operator is recognised by, where it is known here.
    pub fn identity_of(&self, operator: &OperatorId) -> Option<&IdentityPublic> {
        self.operators.iter().find(|known| known.name == *operator).map(|known| &known.identity)
    }

    /// Recognises an operator by this identity from now on.
    pub fn know(&mut self, name: OperatorId, identity: IdentityPublic) {
        self.operators.retain(|known| known.name != name);
        self.operators.push(KnownOperator { name, identity });
        self.operators.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Whose signatures make a checkpoint of this boundary's log.
    ///
    /// # Errors
    /// [`ConfigError::Key`] or [`ConfigError::Policy`] for keys that do not fit.
    pub fn policy(&self) -> Result<CheckpointPolicy, ConfigError> {
        let keys = self.log_keys.iter().map(|key| key.parse()).collect::<Result<Vec<VerifierKey>, _>>()?;
        let origin = self.boundary.as_str().parse().map_err(|_| ConfigError::Origin)?;
        Ok(CheckpointPolicy::new(origin, keys)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientConfig, ConfigError, KnownOperator};
    use crypto::{Entropy, IdentityKey};
    use types::Hash;

    #[test]
    fn a_config_round_trips_and_a_typo_is_named() {
        let identity = IdentityKey::generate(&Entropy::system().unwrap()).unwrap().public().clone();
        let config = ClientConfig {
            address: "127.0.0.1:8443".to_owned(),
            boundary: "site".parse().unwrap(),
            tls_pin: Hash::new([3; 32]),
            log_keys: vec!["a+b".to_owned()],
            operators: vec![KnownOperator { name: "op1".parse().unwrap(), identity }],
        };
        let text = config.to_toml();
        assert_eq!(toml::from_str::<ClientConfig>(&text).unwrap(), config);
        let error = toml::from_str::<ClientConfig>(&text.replace("tls_pin", "tls_pim")).unwrap_err();
        assert!(error.to_string().contains("tls_pim"), "{error}");
        assert!(matches!(config.policy(), Err(ConfigError::Key(_))));
    }
}
