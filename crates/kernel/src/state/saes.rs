//! SAEs and KMEs as the kernel knows them.

use minicbor::{Decode, Encode};
use types::mesh::SaeRole;
use types::sae::{Handout, KmeSpec, SaeSpec};
use types::{Hash, NodeId, SaeId, Timestamp};

use super::State;

/// A SAE, and what it was given.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Sae {
    /// What was added.
    #[n(0)]
    pub spec: SaeSpec,
    /// When.
    #[n(1)]
    pub since: Timestamp,
    /// Keys given to it as a master.
    #[n(2)]
    pub as_master: u64,
    /// Keys given to it as a slave.
    #[n(3)]
    pub as_slave: u64,
    /// When it was last accounted to have been given any.
    #[n(4)]
    pub last: Option<Timestamp>,
}

/// The KME of a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Kme {
    /// Where it is.
    #[n(0)]
    pub spec: KmeSpec,
    /// Since when that is known.
    #[n(1)]
    pub since: Timestamp,
}

impl State {
    /// Takes a SAE in; one that is known keeps its account.
    pub(super) fn add_sae(&mut self, spec: &SaeSpec) {
        if let Some(known) = self.saes.get_mut(&spec.id) {
            known.spec = spec.clone();
            return;
        }
        let sae = Sae { spec: spec.clone(), since: self.clock, as_master: 0, as_slave: 0, last: None };
        self.saes.insert(spec.id.clone(), sae);
    }

    pub(super) fn know_kme(&mut self, node: &NodeId, spec: &KmeSpec) {
        self.kmes.insert(node.clone(), Kme { spec: spec.clone(), since: self.clock });
    }

    pub(super) fn account(&mut self, node: &NodeId, number: u64, handouts: &[Handout]) {
        let last = self.accounted.entry(node.clone()).or_default();
        *last = number.max(*last);
        for handout in handouts {
            let receivers = match handout.role {
                SaeRole::Master => std::slice::from_ref(&handout.master),
                SaeRole::Slave => &handout.slaves,
            };
            for id in receivers {
                let Some(sae) = self.saes.get_mut(id) else { continue };
                let count = match handout.role {
                    SaeRole::Master => &mut sae.as_master,
                    SaeRole::Slave => &mut sae.as_slave,
                };
                *count = count.saturating_add(handout.keys);
                sae.last = Some(self.clock);
            }
        }
    }

    /// Every SAE.
    pub fn saes(&self) -> &std::collections::BTreeMap<SaeId, Sae> {
        &self.saes
    }

    /// A SAE.
    pub fn sae(&self, id: &SaeId) -> Option<&Sae> {
        self.saes.get(id)
    }

    /// The SAEs that are served now: those of nodes that are not isolated.
    pub fn served_saes(&self) -> impl Iterator<Item = &SaeSpec> {
        self.saes.values().map(|sae| &sae.spec).filter(|spec| !self.is_isolated(&spec.node))
    }

    /// The KME of a node, where it is known.
    pub fn kme(&self, node: &NodeId) -> Option<&Kme> {
        self.kmes.get(node)
    }

    /// The start in which a node runs, as it said last.
    pub fn started(&self, node: &NodeId) -> Option<Hash> {
        self.node_starts.get(node).copied()
    }

    /// The hub's last start.
    pub fn hub_start(&self) -> &crate::starts::HubStart {
        &self.hub_start
    }

    /// Number of the last account of a node; 0 where there is none.
    pub fn accounted(&self, node: &NodeId) -> u64 {
        self.accounted.get(node).copied().unwrap_or(0)
    }
}
