//! The hub's sessions with the nodes. Each node has an urgent and a bulk session, and a link session
//! where a fibre ends at the hub. A node is up when urgent and bulk are.
//!
//! Nothing here waits for a peer: what is to be sent goes into a bounded queue of that peer, and a
//! queue that runs over costs that peer its sessions.

mod inbound;
mod links;
mod peers;
mod relay;
mod sources;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use kernel::State;
use kernel::event::Event;
use session::mesh::{Forward, HubMessage};
use session::{Arrival, Channel, Endpoint, HandshakeError, Listener, Session, SignedRoster};
use store::StoreHandle;
use types::mesh::{KeyType, SignalKind, Subject};
use types::{Hash, NodeId};

use crate::admitted::{Admitted, Membership};
use crate::console::History;
use crate::notice::Notices;
use crate::sequencer::Handle;
pub(crate) use links::Links;
pub(crate) use peers::{Peers, Prekey};
pub(crate) use relay::Relay;
pub(crate) use sources::Sources;

/// The mesh as the hub's tasks share it.
pub(crate) struct Mesh {
    pub(crate) handle: Handle,
    pub(crate) peers: Peers,
    pub(crate) admitted: Arc<Admitted>,
    pub(crate) endpoint: Endpoint,
    pub(crate) notices: Arc<Notices>,
    pub(crate) links: Links,
    pub(crate) history: Arc<History>,
    pub(crate) relay: Relay,
    pub(crate) sources: Sources,
    pub(crate) store: StoreHandle,
    /// Held from a change of who is connected until it is reported, so that reports come in order.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

/// How long an urgent session waits for its bulk twin, and the other way round.
const PAIRING: Duration = Duration::from_secs(15);

impl Mesh {
    /// Accepts sessions until the listener closes.
    pub(crate) async fn serve(self: Arc<Self>, mut listener: Listener) {
        while let Some(arrival) = listener.next().await {
            match arrival {
                Arrival::Session(session) => {
                    let mesh = Arc::clone(&self);
                    tokio::spawn(async move { mesh.welcome(*session).await });
                }
                Arrival::Refused { from, error } => {
                    let notices = Arc::clone(&self.notices);
                    tracing::info!(%from, %error, "a connection did not become a session");
                    if let Some(subject) = suspect(&error) {
                        tokio::spawn(async move { notices.tell(subject, SignalKind::AuthFailure, 500_000).await });
                    }
                }
            }
        }
    }

    async fn welcome(self: Arc<Self>, session: Session) {
        let node = session.peer().clone();
        match session.channel() {
            Channel::Urgent | Channel::Bulk => self.join(node, session).await,
            Channel::Link => self.links.attach(session).await,
            Channel::Stream => tracing::warn!(%node, "the hub carries no streams"),
        }
    }

    /// Takes an urgent or bulk session in, and reports the node up with the second of the two.
    async fn join(self: Arc<Self>, node: NodeId, session: Session) {
        let channel = session.channel();
        let (sender, receiver) = session.split();
        let joined = {
            let _turn = self.turn.lock().await;
            let joined = self.peers.join(&node, channel, sender);
            if joined.displaced == Some(true) {
                self.report(Event::NodeDown { node: node.clone() }).await;
            }
            joined
        };
        let reader = Arc::clone(&self);
        let (generation, name) = (joined.generation, node.clone());
        tokio::spawn(async move {
            reader.read(&name, receiver).await;
            reader.part(&name, generation).await;
        });
        match joined.session_name {
            Some(session) => self.come_up(node, generation, session).await,
            None => {
                tokio::time::sleep(PAIRING).await;
                if !self.peers.is_paired(&node, generation) {
                    tracing::warn!(%node, "only one of urgent and bulk came up");
                    self.part(&node, generation).await;
                }
            }
        }
    }

    async fn come_up(&self, node: NodeId, generation: u64, session: Hash) {
        self.sources.of(&node, Channel::Urgent).coming_up().await;
        let Some(signed) = self.sign_roster() else { return };
        let about = node.clone();
        let Ok((roster, forwards)) =
            self.handle.look(move |look| (roster(look.state, &about, signed), forwards(look.state, &about))).await
        else {
            return;
        };
        self.peers.send_urgent(&node, &roster);
        // On the session that later lists go over, so that none overtakes another.
        self.peers.send_urgent(&node, &forwards);
        let _turn = self.turn.lock().await;
        if self.peers.mark_up(&node, generation) {
            tracing::info!(%node, "up");
            self.report(Event::NodeUp { node, session }).await;
        }
    }

    /// Ends both sessions of a node, once for each time it was up.
    async fn part(&self, node: &NodeId, generation: u64) {
        let _turn = self.turn.lock().await;
        if self.peers.part(node, generation) == Some(true) {
            tracing::info!(%node, "down");
            self.report(Event::NodeDown { node: node.clone() }).await;
        }
    }

    /// Signs membership as it is durable, for handshakes from now on and to be sent.
    pub(crate) fn sign_roster(&self) -> Option<SignedRoster> {
        let Membership { epoch, members, isolated } = self.admitted.membership();
        let signed = self.endpoint.issue_roster(epoch, members, isolated);
        signed.inspect_err(|error| tracing::error!(%error, "membership is not signed: nodes will fall silent")).ok()
    }

    /// Signs membership anew, again and again, so that no connected node goes by an old roster.
    pub(crate) async fn renew_roster(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            if let Some(roster) = self.sign_roster() {
                self.tell_all_urgently(&HubMessage::Membership(roster), &NodeId::hub());
            }
        }
    }

    /// Cuts a node off at the hub at once.
    pub(crate) async fn cut(&self, node: &NodeId) {
        self.admitted.remove(node);
        self.links.sever(node);
        let _turn = self.turn.lock().await;
        if self.peers.drop_node(node) {
            self.report(Event::NodeDown { node: node.clone() }).await;
        }
    }

    /// Ends a node's sessions. It stays admitted, and comes back with a new handshake: new TLS keys,
    /// and both its signatures over them.
    pub(crate) async fn reauthenticate(&self, node: &NodeId) {
        let _turn = self.turn.lock().await;
        if self.peers.drop_node(node) {
            tracing::info!(%node, "must authenticate anew");
            self.report(Event::NodeDown { node: node.clone() }).await;
        }
    }

    pub(crate) async fn report(&self, event: Event) {
        // A stopped sequencer means that the hub is stopping.
        let _ = self.handle.report(event).await;
    }

    /// Sends a message to every node that is up, save one.
    pub(crate) fn tell_all_urgently(&self, message: &HubMessage, but: &NodeId) {
        for node in self.peers.up() {
            if node != *but {
                self.peers.send_urgent(&node, message);
            }
        }
    }
}

/// Who is behind a refused connection, where that says something about a node we know.
fn suspect(error: &HandshakeError) -> Option<Subject> {
    match error {
        HandshakeError::Identity { node, .. } => Some(Subject::Node(node.clone())),
        _ => None,
    }
}

/// Every SAE that is served now.
pub(crate) fn saes(state: &State) -> HubMessage {
    HubMessage::Saes(state.served_saes().cloned().collect())
}

/// Everyone who may be talked to, and every key that `node` should hold.
fn roster(state: &State, node: &NodeId, roster: SignedRoster) -> HubMessage {
    HubMessage::Roster { roster, keys: state.keys_of(node), life: state.life(KeyType::MeshSession) }
}

/// Every forward `node` takes part in.
pub(crate) fn forwards(state: &State, node: &NodeId) -> HubMessage {
    let list = state.forwards_of(node).map(|(id, spec)| Forward { id, spec: spec.clone() });
    HubMessage::Forwards(list.collect())
}
