use std::collections::{BTreeMap, BTreeSet};

use crypto::{KeyMaterial, PairKey, Secret32, SharedSecret};
use proptest::prelude::*;
use session::mesh::Activation;
use types::mesh::{Delivery, KeyState, KeyType};
use types::{Hash, KeyId, NodeId};

use super::{Delivered, KeyError, KeyMeta, KeyRing};

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn meta(key: u64, mix: bool) -> KeyMeta {
    KeyMeta {
        key: KeyId::new(key),
        key_type: KeyType::MeshSession,
        participants: vec![node("n1"), node("n2")],
        salt: Hash::new([key as u8; 32]),
        mix,
    }
}

fn share(byte: u8) -> KeyMaterial {
    KeyMaterial::from_bytes(&[byte; 32])
}

fn kem(byte: u8) -> SharedSecret {
    SharedSecret::from_bytes(&[byte; 32])
}

fn rings() -> (KeyRing, KeyRing) {
    (KeyRing::new(node("n1")), KeyRing::new(node("n2")))
}

/// Both ends of a mix; what the two receipts say.
fn mixed(a: &mut KeyRing, b: &mut KeyRing, key: u64, pad: Option<[u8; 32]>) -> (Hash, Hash) {
    let id = KeyId::new(key);
    assert_eq!(a.deliver(meta(key, true), share(1)), Ok(Delivered::StartMix(node("n2"))));
    assert_eq!(b.deliver(meta(key, true), share(1)), Ok(Delivered::AwaitMix(node("n1"))));
    let proof = a.mix(id, pad.as_ref(), &kem(2)).unwrap();
    let (answer, theirs) = b.answer(&node("n1"), id, pad.as_ref(), &[kem(9), kem(2)], &proof).unwrap();
    let ours = a.confirm(&node("n2"), id, &answer).unwrap();
    let wanted = if pad.is_some() { Delivery::QkdKem } else { Delivery::Kem };
    assert_eq!((ours.mixed, theirs.mixed), (Some(wanted), Some(wanted)));
    (ours.commitment, theirs.commitment)
}

/// SM-02: a pair changes to the key both have proven to each other, once; not to one that only the
/// hub vouches for, nor back. What the hub then does not know is undone.
#[test]
fn a_reserve_is_used_without_the_hub() {
    let (mut a, mut b) = rings();
    let (peer, first, reserve) = (node("n2"), KeyId::new(7), KeyId::new(8));
    mixed(&mut a, &mut b, 7, None);
    a.activate(&[Activation { key: first, replaces: None }]);
    assert_eq!((a.reserve(&peer), a.in_use()), (None, vec![first]));
    mixed(&mut a, &mut b, 8, None);
    a.deliver(meta(9, false), share(1)).unwrap();
    assert_eq!(a.reserve(&peer), Some(reserve), "what was not mixed is not proven to the peer");
    assert!(!a.renew(&peer, KeyId::new(9)) && !a.renew(&node("n3"), reserve) && !a.renew(&peer, KeyId::new(6)));
    drop(a.changes());
    assert!(a.renew(&peer, reserve) && a.changes().rows, "what changed is to be written");
    assert!(a.renew(&peer, reserve) && !a.changes().rows, "asked again it is done already");
    assert!(!a.renew(&peer, first), "there is no way back");
    assert_eq!((a.pair(&peer).1, a.state(first), a.reserve(&peer)), (Some(reserve), Some(KeyState::Rotating), None));

    assert_eq!(a.reconcile(&[first], &a.ids()), [reserve, KeyId::new(9)]);
    assert_eq!(a.pair(&peer).1, Some(first), "the key that the hub knows is in use again");
}

/// KM-04: both ends of a pair commit to the same key, and to another one where any part differs.
#[test]
fn every_part_of_a_mix_is_in_the_key() {
    let mut seen = BTreeSet::new();
    for pad in [None, Some([0; 32]), Some([3; 32])] {
        let (mut a, mut b) = rings();
        let (ours, theirs) = mixed(&mut a, &mut b, 7, pad);
        assert_eq!(ours, theirs);
        assert!(seen.insert(ours));
    }
    let (mut a, mut b) = rings();
    let unmixed = [a.deliver(meta(7, false), share(1)), b.deliver(meta(7, false), share(1))];
    let [Ok(Delivered::Staged(ours)), Ok(Delivered::Staged(theirs))] = unmixed else { panic!("{unmixed:?}") };
    assert_eq!((ours.commitment, ours.mixed), (theirs.commitment, None));
    assert!(seen.insert(ours.commitment));
}

/// KM-02, KM-04: ends that hold different parts find out by the proof, and neither gives a receipt.
#[test]
fn different_parts_never_lead_to_a_receipt() {
    let id = KeyId::new(7);
    for (their_share, their_pad, their_kem) in [(5, 3, 2), (1, 4, 2), (1, 3, 6)] {
        let (mut a, mut b) = rings();
        a.deliver(meta(7, true), share(1)).unwrap();
        b.deliver(meta(7, true), share(their_share)).unwrap();
        let proof = a.mix(id, Some(&[3; 32]), &kem(2)).unwrap();
        let answer = b.answer(&node("n1"), id, Some(&[their_pad; 32]), &[kem(their_kem)], &proof);
        assert_eq!(answer.unwrap_err(), KeyError::Mismatch(id));
        assert_eq!(
            a.confirm(&node("n2"), id, &proof).unwrap_err(),
            KeyError::Mismatch(id),
            "a proof is not its own answer"
        );
        assert!(a.changes().is_empty() && b.changes().is_empty());
        assert!(a.abandon(&node("n2"), id) && b.abandon(&node("n1"), id));
        assert_eq!(b.deliver(meta(7, true), share(1)), Ok(Delivered::Ignored), "a key that failed does not come back");
    }
}

/// SM-07a: only the peer of a pair, in its own role, moves the pair's key.
#[test]
fn others_cannot_meddle_with_a_mix() {
    let (id, other) = (KeyId::new(7), node("n3"));
    let (mut a, mut b) = rings();
    a.deliver(meta(7, true), share(1)).unwrap();
    b.deliver(meta(7, true), share(1)).unwrap();
    assert_eq!(b.mix(id, None, &kem(2)).unwrap_err(), KeyError::NotForUs(id));
    let proof = a.mix(id, None, &kem(2)).unwrap();
    assert_eq!(b.answer(&other, id, None, &[kem(2)], &proof).unwrap_err(), KeyError::NotForUs(id));
    let (answer, _) = b.answer(&node("n1"), id, None, &[kem(2)], &proof).unwrap();
    assert_eq!(a.confirm(&other, id, &answer).unwrap_err(), KeyError::NotForUs(id));
    assert!(!a.abandon(&other, id) && !b.abandon(&other, id));
    assert!(a.mix(id, None, &kem(2)).is_err(), "a mix is made once");
    a.confirm(&node("n2"), id, &answer).unwrap();
    a.activate(&[Activation { key: id, replaces: None }]);
    assert!(!a.abandon(&node("n2"), id), "a key in use is not given up on a peer's word");
    let mut third = KeyRing::new(other);
    assert_eq!(third.deliver(meta(7, false), share(1)), Err(KeyError::NotForUs(id)));
}

#[derive(Debug, Clone)]
enum Act {
    Deliver(u64),
    Activate(u64, Option<u64>),
    Retire(u64),
    Destroy(u64),
    Purge(u64),
    Reconcile(BTreeSet<u64>),
    Isolate,
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let key = 0..8_u64;
    let act = prop_oneof![
        4 => key.clone().prop_map(Act::Deliver),
        4 => (key.clone(), prop::option::of(key.clone())).prop_map(|(new, old)| Act::Activate(new, old)),
        2 => key.clone().prop_map(Act::Retire),
        1 => key.clone().prop_map(Act::Destroy),
        1 => key.clone().prop_map(Act::Purge),
        1 => prop::collection::btree_set(key, 0..8).prop_map(Act::Reconcile),
        1 => Just(Act::Isolate),
        2 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 0..60)
}

/// What is durable: the vault, and the rows as of the last change.
#[derive(Default)]
struct Disk {
    sealed: BTreeMap<KeyId, [u8; 32]>,
    rows: Vec<super::KeyRow>,
}

impl Disk {
    fn write(&mut self, ring: &mut KeyRing) {
        let changes = ring.changes();
        for key in changes.seal {
            self.sealed.insert(key.id(), *key.secret().expose());
        }
        self.sealed.retain(|id, _| !changes.erase.contains(id));
        if changes.rows {
            self.rows = ring.rows();
        }
    }

    fn read(&self) -> KeyRing {
        let mut ring = KeyRing::new(node("n1"));
        for row in self.rows.clone() {
            let archived = row.state == KeyState::Retired;
            let key = self.sealed.get(&row.key).filter(|_| !archived).map(PairKey::from_bytes);
            ring.restore(row, key).unwrap();
        }
        ring
    }
}

proptest! {
    /// KM-01, KM-04, KM-06, KM-07: over any history, with a restart between any two steps, the ring
    /// is where the drawn life cycle says, its vault holds exactly the keys that are not gone, and
    /// what is gone never comes back.
    #[test]
    fn the_ring_follows_the_life_cycle(acts in acts()) {
        use KeyState::{Active, Distributed, Retired, Rotating};
        let mut ring = KeyRing::new(node("n1"));
        let mut disk = Disk::default();
        let mut model: BTreeMap<u64, KeyState> = BTreeMap::new();
        let mut gone = BTreeSet::new();
        for act in acts {
            let erase = |keys: Vec<u64>, model: &mut BTreeMap<u64, KeyState>, gone: &mut BTreeSet<u64>| {
                for key in keys {
                    model.remove(&key);
                    gone.insert(key);
                }
            };
            match act {
                Act::Deliver(key) => {
                    let outcome = ring.deliver(meta(key, false), share(key as u8)).unwrap();
                    let fresh = !model.contains_key(&key) && !gone.contains(&key);
                    prop_assert_eq!(matches!(outcome, Delivered::Staged(_)), fresh);
                    if fresh {
                        model.insert(key, Distributed);
                    }
                }
                Act::Activate(new, old) => {
                    let list = [Activation { key: KeyId::new(new), replaces: old.map(KeyId::new) }];
                    let done = ring.activate(&list);
                    let held = model.get(&new).is_some_and(|state| *state != Retired);
                    prop_assert_eq!((done.now.len(), done.missing.len()), (usize::from(held), usize::from(!held)));
                    if held {
                        model.entry(new).and_modify(|state| if *state == Distributed { *state = Active });
                        if let Some(state) = old.and_then(|old| model.get_mut(&old)) && *state == Active {
                            *state = Rotating;
                        }
                    }
                }
                Act::Retire(key) => {
                    ring.retire(&[KeyId::new(key)]);
                    model.entry(key).and_modify(|state| *state = Retired);
                }
                Act::Destroy(key) => {
                    let unused = ring.destroy(&[KeyId::new(key)]);
                    prop_assert_eq!(unused.len(), usize::from(model.get(&key) == Some(&Distributed)));
                    erase(vec![key], &mut model, &mut gone);
                }
                Act::Purge(key) => {
                    ring.purge(&[KeyId::new(key)]);
                    erase(vec![key], &mut model, &mut gone);
                }
                Act::Reconcile(known) => {
                    let ids: Vec<_> = known.iter().copied().map(KeyId::new).collect();
                    let among = ring.ids();
                    ring.reconcile(&ids, &among);
                    let newest = |state, model: &BTreeMap<u64, KeyState>| {
                        model.iter().filter(|(_, found)| **found == state).map(|(key, _)| *key).next_back()
                    };
                    let before = newest(Active, &model);
                    let dropped = model.keys().copied().filter(|key| !known.contains(key)).collect();
                    erase(dropped, &mut model, &mut gone);
                    let lost = before.is_some_and(|key| !known.contains(&key)) && newest(Active, &model).is_none();
                    if let Some(replaced) = newest(Rotating, &model).filter(|_| lost) {
                        model.insert(replaced, Active);
                    }
                }
                Act::Isolate => {
                    ring.isolate(&node("n2"));
                    erase(model.keys().copied().collect(), &mut model, &mut gone);
                }
                Act::Restart => {
                    ring = disk.read();
                    gone.clear();
                }
            }
            disk.write(&mut ring);
            for key in 0..8 {
                prop_assert_eq!(ring.state(KeyId::new(key)), model.get(&key).copied());
            }
            prop_assert!(disk.sealed.keys().map(|id| id.get()).eq(model.keys().copied()));
            let (held, current) = ring.pair(&node("n2"));
            let in_use = model.iter().filter(|(_, state)| **state != Retired).map(|(key, _)| *key);
            prop_assert!(held.iter().map(|key| key.id().get()).eq(in_use));
            let newest = model.iter().filter(|(_, state)| **state == Active).map(|(key, _)| *key).next_back();
            prop_assert_eq!(current.map(KeyId::get), newest);
            let (proofs, missing) = ring.verify(&(0..8).map(KeyId::new).collect::<Vec<_>>());
            prop_assert_eq!((proofs.len(), missing.len()), (held.len(), 8 - held.len()));
        }
    }
}

/// A list that the hub made before a delivery does not erase what the delivery brought.
#[test]
fn a_list_speaks_of_what_was_there_when_it_was_made() {
    let mut ring = KeyRing::new(node("n1"));
    ring.deliver(meta(1, false), share(1)).unwrap();
    let listed = ring.ids();
    ring.deliver(meta(2, false), share(2)).unwrap();
    assert_eq!(ring.reconcile(&[], &listed), [KeyId::new(1)]);
    assert_eq!(ring.state(KeyId::new(2)), Some(KeyState::Distributed));
}
