//! The store beside a model that is nothing but maps.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::{AppendError, Changes, Entry, Head, Store};

use crate::fixture::{Writer, cell, create, open, secret, secret_name};

#[derive(Debug, Clone)]
enum Action {
    /// Append with the true head, or with one that is `behind` appends old; by handle 0 or 1.
    Append {
        handle: usize,
        behind: usize,
        lens: Vec<usize>,
        changes: Vec<Change>,
    },
    Apply {
        handle: usize,
        changes: Vec<Change>,
    },
    Snapshot {
        size: u64,
    },
    Reopen {
        handle: usize,
    },
}

#[derive(Debug, Clone)]
enum Change {
    Secret(u8, Vec<u8>),
    Erase(u8),
    Cell(u8, Vec<u8>),
    Remove(u8),
}

#[derive(Default, Clone)]
struct Model {
    heads: Vec<Head>,
    entries: Vec<Entry>,
    note: Option<String>,
    secrets: BTreeMap<u8, Vec<u8>>,
    cells: BTreeMap<u8, Vec<u8>>,
    snapshots: Vec<u64>,
}

impl Model {
    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Secret(name, text) => drop(self.secrets.insert(*name, text.clone())),
                Change::Erase(name) => drop(self.secrets.remove(name)),
                Change::Cell(name, value) => drop(self.cells.insert(*name, value.clone())),
                Change::Remove(name) => drop(self.cells.remove(name)),
            }
        }
    }

    fn agrees(&self, store: &Store) {
        assert_eq!(store.head().unwrap(), *self.heads.last().unwrap());
        assert_eq!(store.read(0..u64::MAX).unwrap(), self.entries);
        assert_eq!(store.checkpoint().unwrap().map(|checkpoint| checkpoint.note), self.note);
        for name in 0..4 {
            let found = store.secret(&secret_name(&format!("s{name}"))).unwrap();
            assert_eq!(found.as_ref().map(|secret| secret.expose()), self.secrets.get(&name).map(Vec::as_slice));
            assert_eq!(store.cell(&cell(&format!("c{name}"))).unwrap(), self.cells.get(&name).cloned());
        }
        let last = store.snapshot(u64::MAX).unwrap().map(|snapshot| snapshot.size);
        assert_eq!(last, self.snapshots.iter().max().copied());
    }
}

fn changes(list: &[Change]) -> Changes {
    let mut changes = Changes::default();
    for change in list {
        match change {
            Change::Secret(name, text) => changes.put_secret(secret_name(&format!("s{name}")), secret(text)),
            Change::Erase(name) => changes.erase_secret(secret_name(&format!("s{name}"))),
            Change::Cell(name, value) => changes.put_cell(cell(&format!("c{name}")), value.clone()),
            Change::Remove(name) => changes.remove_cell(cell(&format!("c{name}"))),
        }
    }
    changes
}

fn change() -> impl Strategy<Value = Vec<Change>> {
    let one = prop_oneof![
        (0..4_u8, any::<Vec<u8>>()).prop_map(|(name, text)| Change::Secret(name, text)),
        (0..4_u8).prop_map(Change::Erase),
        (0..4_u8, any::<Vec<u8>>()).prop_map(|(name, value)| Change::Cell(name, value)),
        (0..4_u8).prop_map(Change::Remove),
    ];
    proptest::collection::vec(one, 0..4)
}

fn action() -> impl Strategy<Value = Action> {
    let lens = proptest::collection::vec(0..2_000_usize, 0..4);
    prop_oneof![
        6 => (0..2_usize, prop_oneof![3 => Just(0_usize), 1 => 1..4_usize], lens, change())
            .prop_map(|(handle, behind, lens, changes)| Action::Append { handle, behind, lens, changes }),
        2 => (0..2_usize, change()).prop_map(|(handle, changes)| Action::Apply { handle, changes }),
        1 => (0..9_u64).prop_map(|size| Action::Snapshot { size }),
        1 => (0..2_usize).prop_map(|handle| Action::Reopen { handle }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// QT-10, KM-01: with two writers at random, the store is the model: winners whole, losers without trace.
    #[test]
    fn the_store_is_the_model(actions in proptest::collection::vec(action(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alpha.db");
        let mut stores = [Some(create(&path)), Some(open(&path))];
        let mut writer = Writer::new();
        let mut model = Model { heads: vec![Head::EMPTY], ..Model::default() };
        for (number, action) in actions.into_iter().enumerate() {
            match action {
                Action::Append { handle, behind, lens, changes: list } => {
                    let expected = model.heads[model.heads.len().saturating_sub(1 + behind)];
                    let wins = expected == *model.heads.last().unwrap();
                    let mut ahead = writer.clone();
                    let mut batch = ahead.batch(&lens, number as u8);
                    batch.changes = changes(&list);
                    let (entries, note) = (batch.entries.clone(), batch.checkpoint.clone());
                    let result = stores[handle].as_mut().unwrap().append(expected, batch);
                    if wins {
                        prop_assert_eq!(result.unwrap(), Head::from(ahead.head));
                        writer = ahead;
                        model.heads.push(Head::from(writer.head));
                        model.entries.extend(entries);
                        model.note = note;
                        model.apply(&list);
                    } else {
                        let actual = *model.heads.last().unwrap();
                        let lost = matches!(result, Err(AppendError::Lost { actual: found }) if found == actual);
                        prop_assert!(lost);
                    }
                }
                Action::Apply { handle, changes: list } => {
                    stores[handle].as_mut().unwrap().apply(changes(&list)).unwrap();
                    model.apply(&list);
                }
                Action::Snapshot { size } if size <= writer.head.size => {
                    stores[0].as_mut().unwrap().put_snapshot(size, &[1; 50]).unwrap();
                    model.snapshots.push(size);
                    model.snapshots.sort_unstable();
                    model.snapshots.dedup();
                    model.snapshots = model.snapshots.split_off(model.snapshots.len().saturating_sub(2));
                }
                Action::Snapshot { .. } => {}
                Action::Reopen { handle } => {
                    stores[handle] = None;
                    stores[handle] = Some(open(&path));
                }
            }
            model.agrees(stores[number % 2].as_ref().unwrap());
        }
        let report = stores[0].as_ref().unwrap().fsck().unwrap();
        prop_assert_eq!(report.root, writer.tree.root());
    }
}
