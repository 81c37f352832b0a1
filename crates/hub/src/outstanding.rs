//! What a crash left undone, read off the state: an effect that was ordered and not carried out
//! leaves its key where it was.

use kernel::State;
use kernel::effect::{Effect, KeyOrder};
use kernel::event::Event;
use types::KeyId;
use types::limits::KEYS_PER_STEP;
use types::mesh::{KeyState, KeyType, NodeState};

/// Work for the hub alone. What concerns a node is taken up when it comes back ([`ended_sessions`]).
pub(crate) fn effects(state: &State) -> Vec<Effect> {
    let order = |(id, key): (&KeyId, &kernel::state::keys::Key)| KeyOrder {
        key: *id,
        key_type: key.slot.key_type(),
        participants: key.slot.participants().to_vec(),
        mix: key
            .slot
            .ends()
            .is_some_and(|link| key.slot.key_type() == KeyType::MeshSession && state.link(&link).is_some()),
    };
    // Kinds whose material exists elsewhere are never made by the hub.
    let made_here =
        |key: &kernel::state::keys::Key| matches!(key.slot.key_type(), KeyType::MeshSession | KeyType::SovereignMaster);
    let of_hub = |key: &kernel::state::keys::Key| key.slot.key_type() == KeyType::SovereignMaster;
    let keys = || state.keys().iter().filter(|(_, key)| made_here(key));
    let wanted: Vec<KeyOrder> = keys().filter(|(_, key)| key.state.is_none()).map(order).collect();
    let made: Vec<KeyOrder> = keys()
        .filter(|(_, key)| {
            of_hub(key) && matches!(key.state, Some(KeyState::Generated | KeyState::Distributed)) && !key.is_staged()
        })
        .map(order)
        .collect();
    let unused = keys().filter(|(_, key)| of_hub(key) && key.state == Some(KeyState::Active) && !key.in_use_by_all());
    let mut effects: Vec<Effect> = wanted.chunks(KEYS_PER_STEP).map(|part| Effect::Make(part.to_vec())).collect();
    if !made.is_empty() {
        effects.push(Effect::Deliver(made));
    }
    effects.extend(unused.map(|(id, key)| Effect::Rewrap { key: *id, replaces: key.replaces }));
    effects
}

/// Every session ended with the process that held it. The nodes come up again as they dial in, and
/// what they missed is sent to them then.
pub(crate) fn ended_sessions(state: &State) -> Vec<Event> {
    let online = state.nodes().iter().filter(|(_, node)| node.state == NodeState::Online);
    online.map(|(node, _)| Event::NodeDown { node: node.clone() }).collect()
}
