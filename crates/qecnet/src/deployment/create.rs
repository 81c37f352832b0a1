//! Making parts: keys, configurations, cards, and the trust files that come of the cards.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use api::ClientConfig;
use crypto::{Entropy, IdentityKey};
use hub::config::{HubConfig, LinkName, Span, Timing};
use link::fibre::FibreConfig;
use link::{LinkSection, ParamsSection, Preset};
use node::NodeConfig;
use session::TrustStore;
use types::mesh::Function;
use types::{BoundaryId, LinkId, Millis, NodeId, OperatorId};

use super::{Card, Deployment, ports, whole};
use crate::cli::Up;

/// Groups the first operators are in: they work the mesh and stand by for one another.
const GROUPS: [&str; 2] = ["operators", "duty"];

/// What a new hub needs to know.
pub(crate) struct NewHub {
    pub(crate) boundary: BoundaryId,
    pub(crate) listen: SocketAddr,
    pub(crate) mesh_listen: SocketAddr,
    /// Where everyone reads what is public, if anywhere.
    pub(crate) public_listen: Option<SocketAddr>,
    pub(crate) refresh: Millis,
}

/// What a new node needs to know.
pub(crate) struct NewNode {
    pub(crate) id: NodeId,
    pub(crate) function: Function,
    pub(crate) boundary: BoundaryId,
    pub(crate) listen: SocketAddr,
    pub(crate) hub: SocketAddr,
    pub(crate) links: Vec<NodeId>,
    /// Where it gives keys to applications.
    pub(crate) kme: Option<SocketAddr>,
    /// Where forwards may end at it.
    pub(crate) allow_connect: Vec<node::Destination>,
}

impl Deployment {
    /// Makes the hub, its card and the operators' description of it.
    pub(crate) fn create_hub(&self, new: &NewHub, entropy: &Entropy) -> anyhow::Result<()> {
        self.folders(&self.hub())?;
        let mut config: HubConfig = toml::from_str(&format!(
            "boundary = \"{}\"\nlisten = \"{}\"\nmesh_listen = \"{}\"\n",
            new.boundary, new.listen, new.mesh_listen
        ))?;
        config.settings = timing(new.refresh);
        config.public = new.public_listen.map(|listen| hub::config::Public { listen, address: None });
        if self.hub_config().exists() {
            let found = HubConfig::load(&self.hub_config())?;
            if (found.listen, found.mesh_listen) != (new.listen, new.mesh_listen) {
                bail!("{} exists, with other addresses: remove it, or give the same", self.hub_config().display());
            }
        } else {
            write(&self.hub_config(), &config.to_toml()?)?;
        }
        let created = hub::files::create(&HubConfig::load(&self.hub_config())?, entropy)?;
        let card =
            Card::Hub { address: new.mesh_listen.to_string(), pin: created.mesh_pin, identity: created.identity };
        card.save(&self.cards())?;
        let client = ClientConfig {
            address: new.listen.to_string(),
            boundary: new.boundary.clone(),
            tls_pin: created.http_pin,
            log_keys: created.log_keys,
            operators: Vec::new(),
        };
        write(&self.client_config(), &client.to_toml())
    }

    /// Makes a node and its card.
    pub(crate) fn create_node(&self, new: &NewNode, entropy: &Entropy) -> anyhow::Result<()> {
        if new.id.is_hub() {
            bail!("`hub` is the name of the hub: give the node another");
        }
        let folder = self.node(&new.id);
        self.folders(&folder)?;
        let mut config = format!(
            "boundary = \"{}\"\nnode = \"{}\"\nlisten = \"{}\"\nhub = \"{}\"\n",
            new.boundary, new.id, new.listen, new.hub
        );
        if !new.allow_connect.is_empty() {
            let list: Vec<String> = new.allow_connect.iter().map(|one| format!("\"{one}\"")).collect();
            config.push_str(&format!("allow_connect = [{}]\n", list.join(", ")));
        }
        if let Some(kme) = new.kme {
            config.push_str(&format!("\n[kme]\nlisten = \"{kme}\"\n"));
        }
        let path = folder.join("config.toml");
        if path.exists() {
            let found = NodeConfig::load(&path)?;
            if (&found.node, found.listen.as_str()) != (&new.id, new.listen.to_string().as_str()) {
                bail!("{} exists, of another node or address: remove it, or give the same", path.display());
            }
        } else {
            write(&path, &config)?;
        }
        let created = node::files::create(&NodeConfig::load(&path)?, entropy)?;
        let card = Card::Node {
            name: new.id.clone(),
            function: new.function,
            address: new.listen.to_string(),
            pin: created.pin,
            identity: created.identity,
            links: new.links.clone(),
        };
        card.save(&self.cards())?;
        Ok(())
    }

    /// Makes an operator's key and card.
    pub(crate) fn create_operator(&self, id: &OperatorId, groups: &[String], entropy: &Entropy) -> anyhow::Result<()> {
        self.folders(&self.operators())?;
        let key = IdentityKey::load_or_generate(&self.operator_key(id), entropy)?;
        let card = Card::Operator { name: id.clone(), groups: groups.to_vec(), identity: key.public().clone() };
        card.save(&self.cards())?;
        Ok(())
    }

    /// Makes the next key and card of an operator, beside those in use. Returns where the card is.
    pub(crate) fn create_next(&self, id: &OperatorId, groups: &[String], entropy: &Entropy) -> anyhow::Result<PathBuf> {
        self.folders(&self.next())?;
        let key = IdentityKey::load_or_generate(&self.next_key(id), entropy)?;
        let card = Card::Operator { name: id.clone(), groups: groups.to_vec(), identity: key.public().clone() };
        card.save(&self.next())
    }

    /// Takes the next key of an operator, where it lies here and is the one of `card`, as the one in use.
    pub(crate) fn adopt(&self, card: &Card) -> anyhow::Result<()> {
        let Card::Operator { name, identity, .. } = card else { bail!("this is not the card of an operator") };
        let next = self.next_key(name);
        if next.exists() && IdentityKey::load(&next)?.public() == identity {
            whole::take_name(&next, &self.operator_key(name))?;
            // the card in use is saved from what was carried
            let _ = fs::remove_file(self.next().join(format!("{name}.toml")));
        }
        fs::create_dir_all(self.cards())?;
        card.save(&self.cards())?;
        self.know(std::slice::from_ref(card))
    }

    /// Has this deployment's operators recognise those of `cards`.
    pub(crate) fn know(&self, cards: &[Card]) -> anyhow::Result<()> {
        let path = self.client_config();
        if !path.exists() {
            return Ok(());
        }
        let mut client = ClientConfig::load(&path)?;
        for card in cards {
            if let Card::Operator { name, identity, .. } = card {
                client.know(name.clone(), identity.clone());
            }
        }
        write(&path, &client.to_toml())
    }

    /// Makes every trust file in the folder, and the founders of a hub that has not started yet,
    /// from the cards that lie in `cards/`.
    pub(crate) fn apply_cards(&self, boundary: &BoundaryId) -> anyhow::Result<()> {
        let cards = Card::all(&self.cards())?;
        let entries: Vec<_> = cards.iter().filter_map(Card::trust_entry).collect();
        let trust = TrustStore::render(boundary, entries)?;
        self.know(&cards)?;
        if self.hub().exists() {
            write(&self.hub().join("trust.toml"), &trust)?;
            self.found(&cards)?;
        }
        for card in &cards {
            if let Card::Node { name, .. } = card
                && self.node(name).exists()
            {
                write(&self.node(name).join("trust.toml"), &trust)?;
            }
        }
        Ok(())
    }

    /// Lists operators, nodes and links of the cards as the hub's founders.
    fn found(&self, cards: &[Card]) -> anyhow::Result<()> {
        let path = self.hub_config();
        let mut config: HubConfig = toml::from_str(&fs::read_to_string(&path)?)?;
        config.operators.clear();
        config.nodes.clear();
        let mut links: BTreeMap<LinkId, ()> = BTreeMap::new();
        for card in cards {
            match card {
                Card::Hub { .. } => {}
                Card::Operator { name, groups, identity } => config.operators.push(hub::config::Operator {
                    id: name.clone(),
                    groups: groups.clone(),
                    identity: hex::encode(identity.to_bytes()),
                    life: hub::config::Span(kernel::operators::LIFE),
                }),
                Card::Node { name, function, identity, .. } => {
                    config.nodes.push(hub::config::Node {
                        id: name.clone(),
                        function: *function,
                        identity: identity.fingerprint(),
                    });
                    links.extend(card.links().into_iter().map(|link| (link, ())));
                }
            }
        }
        config.links = links.into_keys().map(LinkName).collect();
        write(&path, &config.to_toml()?)
    }

    fn folders(&self, own: &Path) -> anyhow::Result<()> {
        for folder in [own, &self.cards(), &self.operators()] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            // What is inside is for its owner alone, whatever a later file's own mode.
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }
}

/// Timing that fits a refresh interval: the overlap within it, the archive a dozen of it long.
pub(crate) fn timing(refresh: Millis) -> Timing {
    let half = Millis::new(refresh.get() / 2);
    let dozen = Millis::new(refresh.get().saturating_mul(12));
    let defaults = kernel::event::Settings::default();
    Timing {
        refresh: Span(refresh),
        overlap: Span(half.min(defaults.overlap)),
        retention: Span(dozen.min(defaults.retention)),
        ..Timing::default()
    }
}

/// A hub, nodes with functions in turn, three operators (two who say what they see, one who decides), and a fibre for every pair.
pub(super) fn whole_mesh(deployment: &Deployment, up: &Up) -> anyhow::Result<()> {
    let entropy = Entropy::system()?;
    let nodes: Vec<NodeId> = (1..=up.nodes).map(|n| format!("n{n}").parse()).collect::<Result<_, _>>()?;
    let ends: Vec<NodeId> = std::iter::once(NodeId::hub()).chain(nodes.iter().cloned()).collect();
    let links: Vec<LinkId> = ends
        .iter()
        .enumerate()
        .flat_map(|(at, a)| ends[at + 1..].iter().filter_map(|b| LinkId::new(a.clone(), b.clone())))
        .collect();
    let mut free = ports::free(2 + 2 * nodes.len() + 3 * links.len(), &entropy)?.into_iter();
    let mut port = || free.next().context("too few ports were drawn");

    let boundary: BoundaryId = "qecnet".parse()?;
    let hub = NewHub {
        boundary: boundary.clone(),
        listen: up.listen,
        mesh_listen: port()?,
        public_listen: Some(port()?),
        refresh: up.refresh,
    };
    deployment.create_hub(&hub, &entropy)?;
    for id in ["op1", "op2", "op3"] {
        deployment.create_operator(&id.parse()?, &GROUPS.map(str::to_owned), &entropy)?;
    }
    for (id, function) in nodes.iter().zip(Function::ALL.iter().cycle()) {
        let peers = ends.iter().filter(|end| *end != id).cloned().collect();
        let new = NewNode {
            id: id.clone(),
            function: *function,
            boundary: boundary.clone(),
            listen: port()?,
            hub: hub.mesh_listen,
            links: peers,
            kme: Some(port()?),
            allow_connect: up.allow_connect.clone(),
        };
        deployment.create_node(&new, &entropy)?;
    }
    fs::create_dir_all(deployment.fibres())?;
    let mut pairs = 0..;
    for link in &links {
        let at = if link.a().is_hub() || link.b().is_hub() { None } else { pairs.next() };
        let protocol = up.protocol.of(at);
        let params = ParamsSection::of(protocol, up.preset.unwrap_or(Preset::Metro));
        lay_fibre(deployment, link, [port()?, port()?, port()?], &params)?;
    }
    deployment.apply_cards(&boundary)
}

/// Writes a fibre's file and plugs both ends in.
fn lay_fibre(
    deployment: &Deployment,
    link: &LinkId,
    [a, b, control]: [SocketAddr; 3],
    params: &ParamsSection,
) -> anyhow::Result<()> {
    let fibre = FibreConfig {
        a: link.a().clone(),
        b: link.b().clone(),
        listen_a: a.to_string(),
        listen_b: b.to_string(),
        control: control.to_string(),
        params: params.clone(),
    };
    write(&deployment.fibre_config(link), &toml::to_string(&fibre)?)?;
    for (own, peer, address) in [(link.a(), link.b(), a), (link.b(), link.a(), b)] {
        let section = LinkSection { peer: peer.clone(), fibre: address.to_string(), kme: None, params: params.clone() };
        if own.is_hub() {
            let path = deployment.hub_config();
            let mut config: HubConfig = toml::from_str(&fs::read_to_string(&path)?)?;
            config.ends.push(section);
            write(&path, &config.to_toml()?)?;
        } else {
            let path = deployment.node(own).join("config.toml");
            let mut config: NodeConfig = toml::from_str(&fs::read_to_string(&path)?)?;
            config.links.push(section);
            write(&path, &config.to_toml()?)?;
        }
    }
    Ok(())
}

/// Trust files and configurations decide whom a part believes: only their owner may change them.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    whole::write(path, text, false)
}
