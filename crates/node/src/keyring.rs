//! The keys of one node: a pure state machine over what the hub and the other participants say.
//!
//! Time, entropy and pad bits are arguments; nothing here waits, reads or writes. A key is known to
//! the hub as held only by a [`Receipt`], and a receipt is given out by [`KeyRing`] in the same call
//! that puts the key into [`KeyRing::changes`]: the caller makes the changes durable first and sends
//! the receipt after.
//!
//! ```text
//! deliver ─▶ Share ─mix─▶ Mixing ─confirm─▶ Staged ─activate─▶ Active ─activate(replaces)─▶ Rotating
//!              └─────────answer──────────────▶┘ └──────── retire ─────────┴──────────────────────┴─▶ Retired
//! every state ── destroy · purge · isolate · reconcile ──▶ gone
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crypto::{ConfirmKey, KeyMaterial, PairKey, Secret32, SharedSecret, kdf};
use session::mesh::{Activation, Receipt};
use types::mesh::{Delivery, KeyState, KeyType};
use types::{Hash, KeyId, Label, NodeId};
use zeroize::Zeroizing;

mod held;
mod row;

pub use held::{HeldKey, UseCounters};
pub use row::KeyRow;

/// Keys that wait for their other part, per ring; more are refused.
const MAX_UNFINISHED: usize = 4_096;
/// Numbers of keys that are gone, kept so that a late delivery does not bring one back.
const MAX_GONE: usize = 8_192;

/// What is known of a key besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMeta {
    /// The key.
    pub key: KeyId,
    /// Its kind.
    pub key_type: KeyType,
    /// Everyone who holds it.
    pub participants: Vec<NodeId>,
    /// Salt of its commitment.
    pub salt: Hash,
    /// Whether the two participants mix in a part of their own.
    pub mix: bool,
}

/// A key that this ring cannot do what was asked of it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not held, or not in the state this needs.
    #[error("{0} is not held in the state this needs")]
    WrongState(KeyId),
    /// This node is no participant, or the participants do not fit the kind of key.
    #[error("{0} is not for this node")]
    NotForUs(KeyId),
    /// The peer's proof does not fit: the two ends hold different keys.
    #[error("the proof for {0} does not fit: the two ends hold different keys")]
    Mismatch(KeyId),
    /// Too many keys wait for their other part.
    #[error("too many keys wait to be mixed")]
    Full,
}

/// What follows from a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// The key is held; send the receipt once the changes are durable.
    Staged(Receipt),
    /// This node starts the mix with that peer.
    StartMix(NodeId),
    /// The peer starts the mix.
    AwaitMix(NodeId),
    /// Known already, or gone again.
    Ignored,
}

/// What an activation changed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Activated {
    /// In use from now on.
    pub now: Vec<KeyId>,
    /// Not held here.
    pub missing: Vec<KeyId>,
}

enum Phase {
    /// The hub's share; waits for the mix.
    Share(KeyMaterial),
    /// This node has sent its mix and waits for the peer's proof.
    Mixing { key: PairKey, mixed: Delivery },
    /// Held and confirmed; the state is one of DISTRIBUTED (staged), ACTIVE, ROTATING.
    Held { key: Arc<HeldKey>, state: KeyState, mixed: Option<Delivery> },
    /// In the archive only: the bytes are in the vault and not in memory.
    Retired { mixed: Option<Delivery> },
}

struct Slot {
    meta: KeyMeta,
    phase: Phase,
}

/// What must become durable before anything that follows from it is sent.
#[derive(Debug, Default)]
pub struct KeyChanges {
    /// Keys to seal.
    pub seal: Vec<Arc<HeldKey>>,
    /// Keys to erase.
    pub erase: Vec<KeyId>,
    /// Whether the rows changed.
    pub rows: bool,
}

impl KeyChanges {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.seal.is_empty() && self.erase.is_empty() && !self.rows
    }
}

/// The keys of one node.
pub struct KeyRing {
    me: NodeId,
    slots: BTreeMap<KeyId, Slot>,
    gone: BTreeSet<KeyId>,
    changes: KeyChanges,
}

impl KeyRing {
    /// An empty ring of the node `me`.
    pub fn new(me: NodeId) -> Self {
        Self { me, slots: BTreeMap::new(), gone: BTreeSet::new(), changes: KeyChanges::default() }
    }

    /// Puts back a key that [`Self::rows`] listed; `key` is absent for an archived one.
    pub fn restore(&mut self, row: KeyRow, key: Option<PairKey>) -> Result<(), KeyError> {
        let id = row.key;
        let (meta, state, mixed) = row.split();
        let phase = match (state, key) {
            (KeyState::Retired, _) => Phase::Retired { mixed },
            (KeyState::Distributed | KeyState::Active | KeyState::Rotating, Some(key)) => {
                Phase::Held { key: Arc::new(HeldKey::new(id, key)), state, mixed }
            }
            _ => return Err(KeyError::WrongState(id)),
        };
        self.slots.insert(id, Slot { meta, phase });
        Ok(())
    }

    /// What to keep of every key that is held or archived, without its bytes.
    pub fn rows(&self) -> Vec<KeyRow> {
        let rows = self.slots.values().filter_map(|slot| match &slot.phase {
            Phase::Held { state, mixed, .. } => Some(KeyRow::new(&slot.meta, *state, *mixed)),
            Phase::Retired { mixed } => Some(KeyRow::new(&slot.meta, KeyState::Retired, *mixed)),
            Phase::Share(_) | Phase::Mixing { .. } => None,
        });
        rows.collect()
    }

    /// Takes what changed since the last call.
    pub fn changes(&mut self) -> KeyChanges {
        std::mem::take(&mut self.changes)
    }

    /// Takes the hub's share of a key.
    pub fn deliver(&mut self, meta: KeyMeta, share: KeyMaterial) -> Result<Delivered, KeyError> {
        let id = meta.key;
        if self.gone.contains(&id) || self.slots.contains_key(&id) {
            return Ok(Delivered::Ignored);
        }
        if !meta.participants.contains(&self.me) {
            return Err(KeyError::NotForUs(id));
        }
        if !meta.mix {
            let key = combine(&meta, &share, None, None).ok_or(KeyError::NotForUs(id))?;
            return Ok(Delivered::Staged(self.stage(meta, key, None)));
        }
        let peer = other(&meta, &self.me).ok_or(KeyError::NotForUs(id))?.clone();
        if self.unfinished() >= MAX_UNFINISHED {
            return Err(KeyError::Full);
        }
        self.slots.insert(id, Slot { meta, phase: Phase::Share(share) });
        Ok(if self.me < peer { Delivered::StartMix(peer) } else { Delivered::AwaitMix(peer) })
    }

    /// Combines the share of `id` with this node's own choice of parts; returns the proof to send.
    /// Only the smaller name of a pair mixes.
    pub fn mix(&mut self, id: KeyId, pad: Option<&[u8; 32]>, kem: &SharedSecret) -> Result<Hash, KeyError> {
        let me = self.me.clone();
        let slot = self.slots.get_mut(&id).ok_or(KeyError::WrongState(id))?;
        let Phase::Share(share) = &slot.phase else { return Err(KeyError::WrongState(id)) };
        if other(&slot.meta, &me).is_none_or(|peer| *peer < me) {
            return Err(KeyError::NotForUs(id));
        }
        let key = combine(&slot.meta, share, pad, Some(kem)).ok_or(KeyError::NotForUs(id))?;
        let proof = prove(&key, id, &me);
        slot.phase = Phase::Mixing { key, mixed: mode(pad) };
        Ok(proof)
    }

    /// Takes the mix of `peer`. `kems` are the secrets of the ciphertext under every prekey it may
    /// have been made for. Returns the proof to answer with and the receipt, both to be sent once
    /// the changes are durable.
    pub fn answer(
        &mut self,
        peer: &NodeId,
        id: KeyId,
        pad: Option<&[u8; 32]>,
        kems: &[SharedSecret],
        proof: &Hash,
    ) -> Result<(Hash, Receipt), KeyError> {
        let slot = self.slots.get(&id).ok_or(KeyError::WrongState(id))?;
        let Phase::Share(share) = &slot.phase else { return Err(KeyError::WrongState(id)) };
        if other(&slot.meta, &self.me) != Some(peer) || *peer > self.me {
            return Err(KeyError::NotForUs(id));
        }
        let candidates = kems.iter().filter_map(|kem| combine(&slot.meta, share, pad, Some(kem)));
        let key = candidates.into_iter().find(|key| kdf::equal(prove(key, id, peer).as_ref(), proof.as_ref()));
        let key = key.ok_or(KeyError::Mismatch(id))?;
        let own = prove(&key, id, &self.me);
        let meta = slot.meta.clone();
        Ok((own, self.stage(meta, key, Some(mode(pad)))))
    }

    /// Takes the answer of `peer` to this node's mix.
    pub fn confirm(&mut self, peer: &NodeId, id: KeyId, proof: &Hash) -> Result<Receipt, KeyError> {
        let slot = self.slots.get(&id).ok_or(KeyError::WrongState(id))?;
        let Phase::Mixing { key, .. } = &slot.phase else { return Err(KeyError::WrongState(id)) };
        if other(&slot.meta, &self.me) != Some(peer) {
            return Err(KeyError::NotForUs(id));
        }
        if !kdf::equal(prove(key, id, peer).as_ref(), proof.as_ref()) {
            return Err(KeyError::Mismatch(id));
        }
        match self.slots.remove(&id) {
            Some(Slot { meta, phase: Phase::Mixing { key, mixed } }) => Ok(self.stage(meta, key, Some(mixed))),
            _ => Err(KeyError::WrongState(id)),
        }
    }

    /// Gives up a key of this node and `peer` that is not in use. `false` where there is none such.
    pub fn abandon(&mut self, peer: &NodeId, id: KeyId) -> bool {
        let shared = self.slots.get(&id).filter(|slot| other(&slot.meta, &self.me) == Some(peer));
        let unused = shared.is_some_and(|slot| match &slot.phase {
            Phase::Share(_) | Phase::Mixing { .. } => true,
            Phase::Held { state, .. } => *state == KeyState::Distributed,
            Phase::Retired { .. } => false,
        });
        if unused {
            self.forget(id);
        }
        unused
    }

    /// Keys whose mix with `peer` this node has still to start.
    pub fn to_mix(&self, peer: &NodeId) -> Vec<KeyId> {
        let waits = |slot: &&Slot| matches!(slot.phase, Phase::Share(_)) && other(&slot.meta, &self.me) == Some(peer);
        if self.me > *peer { Vec::new() } else { self.slots.values().filter(waits).map(|slot| slot.meta.key).collect() }
    }

    /// Keys whose mix with `peer` was sent and not answered: what a new session to it must give up.
    pub fn unanswered(&self, peer: &NodeId) -> Vec<KeyId> {
        let waits =
            |slot: &&Slot| matches!(slot.phase, Phase::Mixing { .. }) && other(&slot.meta, &self.me) == Some(peer);
        self.slots.values().filter(waits).map(|slot| slot.meta.key).collect()
    }

    /// Whether the share of `id` is here and waits for a mix.
    pub fn awaits_mix(&self, id: KeyId) -> bool {
        self.slots.get(&id).is_some_and(|slot| matches!(slot.phase, Phase::Share(_)))
    }

    /// Brings staged keys into use (KM-04: the hub says so once every participant has confirmed).
    /// What they replace stays valid until it is retired (KM-06).
    pub fn activate(&mut self, list: &[Activation]) -> Activated {
        let mut done = Activated::default();
        for Activation { key, replaces } in list {
            match self.state_mut(*key) {
                Some(state) => {
                    if *state == KeyState::Distributed {
                        *state = KeyState::Active;
                        self.changes.rows = true;
                    }
                    done.now.push(*key);
                }
                None => {
                    done.missing.push(*key);
                    continue;
                }
            }
            if let Some(state) = replaces.and_then(|old| self.state_mut(old))
                && *state == KeyState::Active
            {
                *state = KeyState::Rotating;
                self.changes.rows = true;
            }
        }
        done
    }

    /// The key that this node and `peer` have proven to each other and not yet used: the newest, where
    /// it is newer than the one in use.
    pub fn reserve(&self, peer: &NodeId) -> Option<KeyId> {
        let (_, current) = self.pair(peer);
        let is_reserve = |slot: &Slot| {
            slot.meta.key_type == KeyType::MeshSession
                && other(&slot.meta, &self.me) == Some(peer)
                && matches!(slot.phase, Phase::Held { state: KeyState::Distributed, mixed: Some(_), .. })
        };
        let newest = self.slots.iter().rev().find(|(_, slot)| is_reserve(slot)).map(|(id, _)| *id);
        newest.filter(|id| current.is_none_or(|current| current < *id))
    }

    /// Brings the [reserve](Self::reserve) of this node and `peer` into use without the hub (SM-02).
    /// `false` where `id` neither is the reserve nor in use already.
    pub fn renew(&mut self, peer: &NodeId, id: KeyId) -> bool {
        let (_, current) = self.pair(peer);
        if current == Some(id) {
            return true;
        }
        let fits = self.reserve(peer) == Some(id);
        if fits {
            self.activate(&[Activation { key: id, replaces: current }]);
        }
        fits
    }

    /// Every key of a pair that is in use.
    pub fn in_use(&self) -> Vec<KeyId> {
        let in_use = self.slots.values().filter(|slot| {
            slot.meta.key_type == KeyType::MeshSession
                && matches!(slot.phase, Phase::Held { state: KeyState::Active, .. })
        });
        in_use.map(|slot| slot.meta.key).collect()
    }

    fn state_mut(&mut self, id: KeyId) -> Option<&mut KeyState> {
        match &mut self.slots.get_mut(&id)?.phase {
            Phase::Held { state, .. } => Some(state),
            Phase::Share(_) | Phase::Mixing { .. } | Phase::Retired { .. } => None,
        }
    }

    /// Takes keys out of use: their bytes stay sealed in the vault and leave memory (KM-07).
    pub fn retire(&mut self, keys: &[KeyId]) {
        for id in keys {
            if let Some(slot) = self.slots.get_mut(id)
                && let Phase::Held { mixed, .. } = slot.phase
            {
                slot.phase = Phase::Retired { mixed };
                self.changes.rows = true;
            }
        }
    }

    /// Erases keys at the end of their life, or after a failed distribution; returns those that
    /// were here and never in use.
    pub fn destroy(&mut self, keys: &[KeyId]) -> Vec<KeyId> {
        let unused: Vec<_> = keys.iter().copied().filter(|id| self.state(*id) == Some(KeyState::Distributed)).collect();
        keys.iter().for_each(|id| self.forget(*id));
        unused
    }

    /// Erases revoked keys (KM-07).
    pub fn purge(&mut self, keys: &[KeyId]) {
        keys.iter().for_each(|id| self.forget(*id));
    }

    /// Erases every key shared with `node` and returns their numbers (SM-02).
    pub fn isolate(&mut self, node: &NodeId) -> Vec<KeyId> {
        let shared = self.slots.values().filter(|slot| slot.meta.participants.contains(node));
        let keys: Vec<_> = shared.map(|slot| slot.meta.key).collect();
        self.purge(&keys);
        keys
    }

    /// The number of every key that is here in any state.
    pub fn ids(&self) -> BTreeSet<KeyId> {
        self.slots.keys().copied().collect()
    }

    /// Erases every key of `among` that is not in `known`, the hub's list, and returns their numbers.
    /// `among` are the keys that were here when the hub made its list; later ones cannot be in it.
    pub fn reconcile(&mut self, known: &[KeyId], among: &BTreeSet<KeyId>) -> Vec<KeyId> {
        let known: BTreeSet<_> = known.iter().copied().collect();
        let unknown = |id: &KeyId| among.contains(id) && !known.contains(id);
        let dropped: Vec<_> = self.slots.keys().copied().filter(unknown).collect();
        let lost = |peer: &NodeId| self.pair(peer).1.is_some_and(|current| dropped.contains(&current));
        let lost: Vec<_> = self.peers().into_iter().filter(lost).collect();
        self.purge(&dropped);
        lost.iter().for_each(|peer| self.go_back(peer));
        dropped
    }

    /// Uses again what a key replaced that the hub does not know.
    fn go_back(&mut self, peer: &NodeId) {
        let (held, current) = self.pair(peer);
        let replaced = held.iter().rev().map(|key| key.id()).find(|id| self.state(*id) == Some(KeyState::Rotating));
        if let (None, Some(id)) = (current, replaced)
            && let Some(state) = self.state_mut(id)
        {
            *state = KeyState::Active;
            self.changes.rows = true;
        }
    }

    /// Proofs that keys are held, and the keys that are not. An archived key has no proof: its bytes
    /// are sealed away.
    pub fn verify(&self, keys: &[KeyId]) -> (Vec<Receipt>, Vec<KeyId>) {
        let mut receipts = Vec::new();
        let mut missing = Vec::new();
        for id in keys {
            match self.slots.get(id) {
                Some(Slot { meta, phase: Phase::Held { key, mixed, .. } }) => {
                    receipts.push(receipt(meta, key.secret(), *mixed));
                }
                _ => missing.push(*id),
            }
        }
        (receipts, missing)
    }

    /// The state of a key: DISTRIBUTED from its delivery on, `None` where it is not here.
    pub fn state(&self, id: KeyId) -> Option<KeyState> {
        self.slots.get(&id).map(|slot| match &slot.phase {
            Phase::Share(_) | Phase::Mixing { .. } => KeyState::Distributed,
            Phase::Held { state, .. } => *state,
            Phase::Retired { .. } => KeyState::Retired,
        })
    }

    /// Keys that carry traffic with `peer`: every held `MESH_SESSION` key of the pair and, last in
    /// order of number among the active ones, the one to use now.
    pub fn pair(&self, peer: &NodeId) -> (Vec<Arc<HeldKey>>, Option<KeyId>) {
        let mut held = Vec::new();
        let mut current = None;
        for slot in self.slots.values() {
            if let Phase::Held { key, state, .. } = &slot.phase
                && slot.meta.key_type == KeyType::MeshSession
                && other(&slot.meta, &self.me) == Some(peer)
            {
                held.push(Arc::clone(key));
                if *state == KeyState::Active {
                    current = Some(slot.meta.key);
                }
            }
        }
        (held, current)
    }

    /// Every other participant of a `MESH_SESSION` key that is held.
    pub fn peers(&self) -> BTreeSet<NodeId> {
        let pairs = self.slots.values().filter(|slot| slot.meta.key_type == KeyType::MeshSession);
        pairs.filter_map(|slot| other(&slot.meta, &self.me).cloned()).collect()
    }

    /// Every key whose bytes are in memory and confirmed.
    pub fn held(&self) -> impl Iterator<Item = &Arc<HeldKey>> {
        self.slots.values().filter_map(|slot| match &slot.phase {
            Phase::Held { key, .. } => Some(key),
            Phase::Share(_) | Phase::Mixing { .. } | Phase::Retired { .. } => None,
        })
    }

    fn unfinished(&self) -> usize {
        self.slots.values().filter(|slot| matches!(slot.phase, Phase::Share(_) | Phase::Mixing { .. })).count()
    }

    fn stage(&mut self, meta: KeyMeta, key: PairKey, mixed: Option<Delivery>) -> Receipt {
        let receipt = receipt(&meta, &key, mixed);
        let key = Arc::new(HeldKey::new(meta.key, key));
        self.changes.seal.push(Arc::clone(&key));
        self.changes.rows = true;
        let phase = Phase::Held { key, state: KeyState::Distributed, mixed };
        self.slots.insert(meta.key, Slot { meta, phase });
        receipt
    }

    fn forget(&mut self, id: KeyId) {
        self.gone.insert(id);
        if self.gone.len() > MAX_GONE {
            // Numbers only grow: the smallest is the one least likely to be delivered late.
            self.gone.pop_first();
        }
        if let Some(slot) = self.slots.remove(&id)
            && matches!(slot.phase, Phase::Held { .. } | Phase::Retired { .. })
        {
            self.changes.seal.retain(|key| key.id() != id);
            self.changes.erase.push(id);
            self.changes.rows = true;
        }
    }
}

/// The other of two participants.
fn other<'a>(meta: &'a KeyMeta, me: &NodeId) -> Option<&'a NodeId> {
    match meta.participants.as_slice() {
        [a, b] if a == me && b != me => Some(b),
        [a, b] if b == me && a != me => Some(a),
        _ => None,
    }
}

fn mode(pad: Option<&[u8; 32]>) -> Delivery {
    if pad.is_some() { Delivery::QkdKem } else { Delivery::Kem }
}

/// The final key: HKDF over the hub's share and the pair's own parts. Which parts there are is in
/// the derivation, so that a key without a part never equals one with it.
fn combine(meta: &KeyMeta, share: &KeyMaterial, pad: Option<&[u8; 32]>, kem: Option<&SharedSecret>) -> Option<PairKey> {
    let mut parts = Zeroizing::new(Vec::with_capacity(96));
    parts.extend_from_slice(share.expose());
    parts.extend_from_slice(pad.map_or(&[][..], |pad| &pad[..]));
    parts.extend_from_slice(kem.map_or(&[][..], |kem| &kem.expose()[..]));
    let which = [u8::from(pad.is_some()), u8::from(kem.is_some())];
    let mut names: Vec<_> = meta.participants.iter().map(|node| node.as_str().as_bytes()).collect();
    names.sort_unstable();
    let id = meta.key.get().to_be_bytes();
    let mut info: Vec<&[u8]> = vec![&id, &which];
    info.extend(names);
    (!meta.participants.is_empty()).then(|| kdf::derive_secret(Label::PAIR_KEY, &parts, &[], &info))
}

/// Proof of `sender` that it holds `key`.
fn prove(key: &PairKey, id: KeyId, sender: &NodeId) -> Hash {
    let confirm: ConfirmKey = kdf::derive_secret(Label::KEY_CONFIRM, key.expose(), &[], &[]);
    Hash::new(kdf::mac(&confirm, Label::KEY_CONFIRM, &[&id.get().to_be_bytes(), sender.as_str().as_bytes()]))
}

fn receipt(meta: &KeyMeta, key: &PairKey, mixed: Option<Delivery>) -> Receipt {
    let parts: [&[u8]; 3] = [meta.salt.as_ref(), &meta.key.get().to_be_bytes(), key.expose()];
    Receipt { key: meta.key, commitment: Label::KEY_COMMITMENT.hash(&parts), mixed }
}

#[cfg(test)]
mod tests;
