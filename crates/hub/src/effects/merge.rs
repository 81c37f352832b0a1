//! Effects of the same kind that stand next to each other become one, so that a rotation of many steps costs
//! each node one message of a kind and not one a step.

use kernel::effect::{Effect, KeyOrder};
use types::{KeyId, NodeId};

/// Kinds that list keys, in the order in which a step orders them. For one key they come in the order of its life
/// (made known, used, archived, erased), and this order keeps that: what a later step orders never overtakes
/// what an earlier one ordered for the same key.
#[derive(Default)]
struct Lists {
    purge: Vec<(KeyId, Vec<NodeId>)>,
    activate: Vec<(KeyId, Vec<NodeId>, Option<KeyId>)>,
    deliver: Vec<KeyOrder>,
    /// One event tells of all keys made together, and an event has room for those of one step: these stay apart.
    make: Vec<Vec<KeyOrder>>,
    retire: Vec<(KeyId, Vec<NodeId>)>,
    destroy: Vec<(KeyId, Vec<NodeId>)>,
}

impl Lists {
    fn flush(&mut self, out: &mut Vec<Effect>) {
        let Self { purge, activate, deliver, make, retire, destroy } = std::mem::take(self);
        out.extend((!purge.is_empty()).then_some(Effect::Purge(purge)));
        out.extend((!activate.is_empty()).then_some(Effect::Activate(activate)));
        out.extend((!deliver.is_empty()).then_some(Effect::Deliver(deliver)));
        out.extend(make.into_iter().map(Effect::Make));
        out.extend((!retire.is_empty()).then_some(Effect::Retire(retire)));
        out.extend((!destroy.is_empty()).then_some(Effect::Destroy(destroy)));
    }
}

/// The same effects in fewer. What lists no keys keeps its place among all others.
pub(super) fn merge(effects: impl IntoIterator<Item = Effect>) -> Vec<Effect> {
    let (mut lists, mut out) = (Lists::default(), Vec::new());
    for effect in effects {
        match effect {
            Effect::Purge(mut keys) => lists.purge.append(&mut keys),
            Effect::Activate(mut keys) => lists.activate.append(&mut keys),
            Effect::Deliver(mut keys) => lists.deliver.append(&mut keys),
            Effect::Retire(mut keys) => lists.retire.append(&mut keys),
            Effect::Destroy(mut keys) => lists.destroy.append(&mut keys),
            Effect::Make(keys) => lists.make.push(keys),
            other => {
                lists.flush(&mut out);
                out.push(other);
            }
        }
    }
    lists.flush(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u64) -> KeyId {
        KeyId::new(number)
    }

    fn nodes() -> Vec<NodeId> {
        vec!["n1".parse().unwrap(), "n2".parse().unwrap()]
    }

    /// What happens to a key, in the order of its life.
    fn order(stage: usize, number: u64) -> Effect {
        match stage {
            0 => Effect::Activate(vec![(key(number), nodes(), None)]),
            1 => Effect::Retire(vec![(key(number), nodes())]),
            2 => Effect::Destroy(vec![(key(number), nodes())]),
            _ => Effect::Isolate { node: "n1".parse().unwrap(), epoch: number },
        }
    }

    fn flat(effects: &[Effect]) -> Vec<(usize, u64)> {
        let each = effects.iter().flat_map(|effect| match effect {
            Effect::Activate(keys) => keys.iter().map(|one| (0, one.0.get())).collect::<Vec<_>>(),
            Effect::Retire(keys) => keys.iter().map(|one| (1, one.0.get())).collect(),
            Effect::Destroy(keys) => keys.iter().map(|one| (2, one.0.get())).collect(),
            Effect::Isolate { epoch, .. } => vec![(3, *epoch)],
            _ => vec![],
        });
        each.collect()
    }

    /// Each key's ways through its life, interleaved at random, with cuts between.
    fn history() -> impl Strategy<Value = Vec<(usize, u64)>> {
        prop::collection::vec((0..12_u64, 0..20_u8), 0..80).prop_map(|turns| {
            let mut stages = [0; 12];
            let mut out = Vec::new();
            for (at, (number, cut)) in turns.into_iter().enumerate() {
                if cut == 0 {
                    out.push((3, at as u64));
                } else if stages[number as usize] < 3 {
                    out.push((stages[number as usize], number));
                    stages[number as usize] += 1;
                }
            }
            out
        })
    }

    proptest! {
        /// KM-10 KM-12: nothing is lost or doubled, the order for one key stays, and nothing crosses a cut.
        #[test]
        fn merged_effects_say_the_same(history in history()) {
            let merged = flat(&merge(history.iter().map(|(stage, number)| order(*stage, *number))));
            let of = |list: &[(usize, u64)], number: u64| -> Vec<usize> {
                list.iter().filter(|one| one.0 < 3 && one.1 == number).map(|one| one.0).collect()
            };
            prop_assert_eq!(merged.len(), history.len());
            for number in 0..12 {
                prop_assert_eq!(of(&merged, number), of(&history, number));
            }
            let split = |list: &[(usize, u64)]| -> Vec<Vec<(usize, u64)>> {
                let sorted = |part: &[(usize, u64)]| { let mut part = part.to_vec(); part.sort_unstable(); part };
                list.split(|one| one.0 == 3).map(sorted).collect()
            };
            prop_assert_eq!(split(&merged), split(&history));
        }
    }
}
