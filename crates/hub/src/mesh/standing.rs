//! How far the log is, told to nodes, and held against what they saw before: either side notices that the other was
//! put back to an earlier state (S7).

use std::sync::Arc;
use std::time::Duration;

use session::mesh::{HubMessage, Standing};
use types::{Hash, NodeId};

use super::Mesh;

/// How often nodes hear how far the log is.
const EVERY: Duration = Duration::from_secs(10);

impl Mesh {
    /// The start in which the log knows a node, and whether the node saw a state that the log never was in.
    pub(super) async fn judge(&self, node: &NodeId, seen: Option<Standing>) -> (Option<Hash>, bool) {
        let unknown = match seen {
            Some(seen) => !self.is_in_log(&seen).await,
            None => false,
        };
        if unknown {
            tracing::error!(%node, "saw a later state of the log than it is in: the hub's store was put back");
        }
        let about = node.clone();
        let known = self.handle.look(move |look| look.state.started(&about)).await.ok().flatten();
        (known, unknown)
    }

    /// Whether the log went through that state. Where it cannot be read, nothing is said against it.
    async fn is_in_log(&self, seen: &Standing) -> bool {
        let Some(last) = seen.size.checked_sub(1) else { return true };
        let Ok((size, starts)) = self.handle.look(|look| (look.tree.size(), look.state.hub_start().number)).await
        else {
            return true;
        };
        if seen.size > size || seen.starts > starts {
            return false;
        }
        match self.store.leaf_hashes(last..seen.size).await {
            Ok(leaves) => leaves == [seen.leaf],
            Err(_) => true,
        }
    }

    /// Tells `node` how far the log is.
    pub(crate) async fn stand(&self, node: &NodeId) {
        if let Some(standing) = self.standing().await {
            self.peers.send_urgent(node, &HubMessage::Standing(standing));
        }
    }

    async fn standing(&self) -> Option<Standing> {
        let look = self.handle.look(|look| (look.tree.size(), look.state.hub_start().clone())).await;
        let (size, hub) = look.ok()?;
        let leaves = self.store.leaf_hashes(size.checked_sub(1)?..size).await.ok()?;
        Some(Standing { starts: hub.number, start: hub.name?, size, leaf: *leaves.first()? })
    }

    /// Tells every node again and again.
    pub(crate) async fn report_standing(self: Arc<Self>) {
        loop {
            tokio::time::sleep(EVERY).await;
            let up = self.peers.up();
            let Some(standing) = (if up.is_empty() { None } else { self.standing().await }) else { continue };
            for node in up {
                self.peers.send_urgent(&node, &HubMessage::Standing(standing));
            }
        }
    }
}
