//! The fold. Total: a record that names what is not there changes nothing.

use std::sync::Arc;

use types::mesh::{ForwardSpec, LinkReport, NodeState, Subject};
use types::{ForwardId, Hash, LinkId, NodeId, Timestamp};

use super::mesh::{Boundary, Link, Node};
use super::{State, keys::Slot};
use crate::Body;
use crate::event::{Genesis, NodeSpec};
use crate::policy::PolicySet;
use crate::record::Record;

impl State {
    /// Applies an entry: its time, then its records in order.
    pub fn commit(&mut self, body: &Body, at: Timestamp) {
        self.advance(at);
        if self.boundary.is_none() {
            self.rules = body.rules;
        }
        for record in &body.records {
            self.apply(record);
        }
    }

    /// Takes the time of an entry. Time never runs backwards here.
    pub fn advance(&mut self, at: Timestamp) {
        self.clock = self.clock.max(at);
    }

    /// Applies one record at the time of the last [`State::advance`].
    pub fn apply(&mut self, record: &Record) {
        self.access.apply(record, self.clock);
        match record {
            Record::BoundaryCreated { genesis, .. } => self.create(genesis),
            Record::NodeAdmitted { node, links } => self.admit(node, links),
            Record::NodeMoved { node, to, epoch } => self.move_node(node, *to, *epoch),
            Record::KeyWanted { key, key_type, participants, cause } => {
                self.want(*key, Slot::new(*key_type, participants.clone()), *cause);
            }
            Record::KeyAbandoned { key } => self.abandon(*key),
            Record::KeyMoved { key, to, cause, .. } => self.move_key(*key, *to, *cause),
            Record::KeysDelivered { node, delivery, keys } => {
                self.each_holder(node, keys, |holder| holder.delivery = Some(*delivery));
            }
            Record::KeyConfirmed { key, node, commitment, mixed } => self.confirm(*key, node, *commitment, *mixed),
            Record::KeysInUse { node, keys } => self.use_keys(node, keys),
            Record::KeysPurged { node, keys } => self.each_holder(node, keys, |holder| holder.purged = true),
            Record::KeysUsed { keys, .. } => self.count_usage(keys),
            Record::RotationOrdered { key_type, cause, incident } => self.order(*key_type, *cause, *incident),
            Record::LinksMeasured(reports) => self.measure(reports),
            Record::RulesActivated { version } => self.rules = *version,
            Record::AssistedSet { on } => self.assisted = *on,
            Record::ForwardAdded { id, spec } => self.add_forward(*id, spec),
            Record::ForwardRemoved { id } => drop(self.forwards.remove(id)),
            Record::OperatorRevoked { .. }
            | Record::OperatorAdded { .. }
            | Record::OperatorRenewed { .. }
            | Record::OperatorReplaced { .. }
            | Record::OperatorRemoved { .. }
            | Record::OperatorEnding { .. } => self.apply_operator(record),
            Record::SaeAdded { spec } => self.add_sae(spec),
            Record::SaeRemoved { id } => drop(self.saes.remove(id)),
            Record::KmeKnown { node, kme } => self.know_kme(node, kme),
            Record::HandedOut { node, number, handouts, .. } => self.account(node, *number, handouts),
            Record::HubStarted { start } => self.start_hub(*start),
            Record::NodeStarted { node, start, .. } => drop(self.node_starts.insert(node.clone(), *start)),
            Record::SignalNoted { .. }
            | Record::IncidentOpened { .. }
            | Record::IncidentRaised { .. }
            | Record::Recovery { .. }
            | Record::Responded { .. }
            | Record::ResponseWithheld { .. }
            | Record::IncidentSettled { .. }
            | Record::IncidentReviewed { .. }
            | Record::IsolationSeen { .. }
            | Record::VerifyOrdered { .. }
            | Record::KeysProven { .. }
            | Record::IncidentPruned { .. }
            | Record::Quarantined { .. }
            | Record::QuarantineEnded { .. }
            | Record::SourceMuted { .. }
            | Record::Held { .. }
            | Record::HeldEnded { .. }
            | Record::HeldDone { .. } => self.apply_incident(record),
            Record::Granted { grant, .. } => {
                self.next.grant = self.next.grant.max(grant.get().saturating_add(1));
            }
            Record::Refused(_)
            | Record::NonceSpent { .. }
            | Record::Decided(_)
            | Record::Approved { .. }
            | Record::GrantUsed { .. }
            | Record::GrantExpired { .. }
            | Record::Denied { .. }
            | Record::RefusalsCounted { .. }
            | Record::Served { .. }
            | Record::Resumed { .. } => {}
        }
    }

    fn start_hub(&mut self, start: Hash) {
        self.hub_start.number += 1;
        self.hub_start.name = Some(start);
        self.hub_start.at = self.clock;
    }

    fn measure(&mut self, reports: &[LinkReport]) {
        for report in reports {
            if let Some(link) = self.links.get_mut(&report.link) {
                link.measure(report, self.clock);
            }
        }
    }

    fn add_forward(&mut self, id: ForwardId, spec: &ForwardSpec) {
        self.next.forward = self.next.forward.max(id.get().saturating_add(1));
        self.forwards.insert(id, spec.clone());
    }

    fn create(&mut self, genesis: &Genesis) {
        let policies = PolicySet::parse(&genesis.policy).ok().map(Arc::new);
        self.boundary = Some(Boundary {
            id: genesis.boundary.clone(),
            settings: genesis.settings.clone(),
            policy: policies.as_ref().map_or_else(|| genesis.policy.clone(), |set| set.text().to_owned()),
            salt: genesis.salt,
            audit_key: genesis.audit_key,
            since: self.clock,
        });
        self.policies = policies;
        genesis.operators.iter().for_each(|operator| self.put_operator(operator));
        for slot in [Slot::master(), Slot::audit()] {
            self.slots.entry(slot).or_default();
        }
        for node in &genesis.nodes {
            self.admit(node, &[]);
        }
        self.add_links(&genesis.links);
        // The timing is known only now.
        let slots: Vec<Slot> = self.slots.keys().cloned().collect();
        slots.iter().for_each(|slot| self.reindex(slot));
    }

    fn admit(&mut self, spec: &NodeSpec, links: &[LinkId]) {
        let mut slots: Vec<Slot> = self.nodes.keys().filter_map(|peer| Slot::pair(peer, &spec.id)).collect();
        slots.push(Slot::identity(&spec.id));
        let node = Node {
            spec: spec.clone(),
            state: NodeState::Offline,
            since: self.clock,
            epoch: self.epoch,
            restored: None,
        };
        self.nodes.insert(spec.id.clone(), node);
        for slot in slots {
            self.slots.entry(slot).or_default();
        }
        self.slots_of(&spec.id).iter().for_each(|slot| self.reindex(slot));
        self.add_links(links);
    }

    fn add_links(&mut self, links: &[LinkId]) {
        for link in links {
            self.links.entry(link.clone()).or_default();
        }
    }

    fn move_node(&mut self, id: &NodeId, to: NodeState, epoch: u64) {
        let now = self.clock;
        self.epoch = self.epoch.max(epoch);
        let Some(node) = self.nodes.get_mut(id) else { return };
        let crossing = (node.state == NodeState::Isolated) != (to == NodeState::Isolated);
        if crossing && to != NodeState::Isolated {
            node.restored = Some(now);
            // what was said of it before has been answered: one word more must not cut it off again
            self.noted.remove(&Subject::Node(id.clone()));
        }
        (node.state, node.since, node.epoch) = (to, now, epoch);
        for slot in self.slots_of(id) {
            if crossing { self.reindex(&slot) } else { self.reindex_slot(&slot) }
        }
        if to == NodeState::Isolated {
            for link in self.links.iter_mut().filter(|(link, _)| link.has(id)).map(|(_, link)| link) {
                (link.usable, link.since) = (false, now);
            }
        }
    }

    /// Every slot that `node` takes part in.
    pub(crate) fn slots_of(&self, node: &NodeId) -> Vec<Slot> {
        let pairs = self.nodes.keys().filter_map(|peer| Slot::pair(peer, node));
        let pools = self.links.keys().filter(|link| link.has(node)).map(Slot::transport);
        let own = [Slot::identity(node), Slot::session(node)];
        pairs.chain(pools).chain(own).filter(|slot| self.slots.contains_key(slot)).collect()
    }
}

impl Link {
    fn measure(&mut self, report: &types::mesh::LinkReport, now: Timestamp) {
        let usable = report.carries_key();
        if self.report.is_none() {
            (self.first, self.since) = (now, now);
        }
        if self.usable != usable {
            (self.usable, self.since) = (usable, now);
        }
        self.proven |= usable;
        self.last = now;
        self.report = Some(report.clone());
    }
}
