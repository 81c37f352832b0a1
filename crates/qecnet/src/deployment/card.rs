//! Cards: what one part tells the others about itself. A card holds nothing secret; people carry
//! it from machine to machine, and every trust file is made of cards that lie in the folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crypto::IdentityPublic;
use kernel::event::{NodeSpec, OperatorCard};
use serde::{Deserialize, Serialize};
use session::{SpkiPin, TrustEntry};
use types::mesh::Function;
use types::{LinkId, Millis, NodeId, OperatorId};

use super::whole;

/// One card, as `cards/<name>.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Card {
    /// The hub.
    Hub {
        /// Where nodes connect.
        address: String,
        /// Pin of its TLS key.
        pin: SpkiPin,
        /// Its identity.
        identity: IdentityPublic,
    },
    /// A node.
    Node {
        /// Its name.
        name: NodeId,
        /// What it is for.
        function: Function,
        /// Where other nodes connect.
        address: String,
        /// Pin of its TLS key.
        pin: SpkiPin,
        /// Its identity.
        identity: IdentityPublic,
        /// The other ends of its quantum links.
        #[serde(default)]
        links: Vec<NodeId>,
    },
    /// An operator.
    Operator {
        /// The name.
        name: OperatorId,
        /// Groups the operator is in.
        groups: Vec<String>,
        /// Public identity.
        identity: IdentityPublic,
    },
}

impl Card {
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a card", path.display()))
    }

    /// Writes the card into the folder of cards.
    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let name = match self {
            Self::Hub { .. } => "hub",
            Self::Node { name, .. } => name.as_str(),
            Self::Operator { name, .. } => name.as_str(),
        };
        let path = folder.join(format!("{name}.toml"));
        whole::write(&path, &toml::to_string(self)?, true)?;
        Ok(path)
    }

    /// Every card in the folder, by name of file.
    pub(crate) fn all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let list = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let mut paths = list.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }

    /// What the kernel admits.
    pub(crate) fn node_spec(&self) -> anyhow::Result<NodeSpec> {
        let Self::Node { name, function, identity, .. } = self else { bail!("this is not the card of a node") };
        Ok(NodeSpec { id: name.clone(), function: *function, identity: identity.fingerprint() })
    }

    /// What the kernel takes as an operator whose key lives so long.
    pub(crate) fn operator(&self, life: Millis) -> anyhow::Result<OperatorCard> {
        let Self::Operator { name, groups, identity } = self else { bail!("this is not the card of an operator") };
        let mut groups = groups.clone();
        groups.sort();
        groups.dedup();
        Ok(OperatorCard { id: name.clone(), groups, identity: identity.to_bytes(), life })
    }

    /// The quantum links a node's card names.
    pub(crate) fn links(&self) -> Vec<LinkId> {
        let Self::Node { name, links, .. } = self else { return Vec::new() };
        links.iter().filter_map(|peer| LinkId::new(name.clone(), peer.clone())).collect()
    }

    /// What a trust file says of a part; operators are in none.
    pub(crate) fn trust_entry(&self) -> Option<TrustEntry> {
        let entry = |name: &NodeId, address: &String, pin: &SpkiPin, identity: &IdentityPublic| TrustEntry {
            name: name.clone(),
            address: Some(address.clone()),
            pin: *pin,
            identity: identity.clone(),
        };
        match self {
            Self::Hub { address, pin, identity } => Some(entry(&NodeId::hub(), address, pin, identity)),
            Self::Node { name, address, pin, identity, .. } => Some(entry(name, address, pin, identity)),
            Self::Operator { .. } => None,
        }
    }
}
