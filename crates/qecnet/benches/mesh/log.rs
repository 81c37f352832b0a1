//! The log of the run as its evidence: when what was recorded.

use std::ops::Range;

use evidence::Entry;
use kernel::Body;
use kernel::event::{Command, Event};
use kernel::record::Record;
use store::Store;
use types::{KeyId, NodeId, Timestamp};

use crate::deployment::Mesh;

/// A stretch of the log.
pub(crate) struct Stretch {
    pub(crate) entries: Vec<Entry<Body>>,
    pub(crate) bytes: usize,
}

/// Number of entries now.
pub(crate) async fn size(mesh: &Mesh) -> u64 {
    mesh.hub.handle().look(|look| look.tree.size()).await.unwrap()
}

/// Reads entries back from the store.
pub(crate) async fn read(mesh: &Mesh, from: u64) -> Stretch {
    let end = size(mesh).await;
    let store: Store = hub::files::open_store(&mesh.config, &mesh.entropy).unwrap();
    let mut stretch = Stretch { entries: Vec::new(), bytes: 0 };
    for start in (from..end).step_by(512) {
        let range: Range<u64> = start..end.min(start + 512);
        for entry in store.read(range).unwrap() {
            stretch.bytes += entry.bytes.len();
            stretch.entries.push(Entry::parse(&entry.bytes).unwrap());
        }
    }
    stretch
}

impl Stretch {
    /// When the last node began to use the last of the keys that `counts`.
    pub(crate) fn last_use(&self, counts: impl Fn(KeyId) -> bool) -> Option<Timestamp> {
        self.last(|record| matches!(record, Record::KeysInUse { keys, .. } if keys.iter().any(|key| counts(*key))))
    }

    /// When the last participant had erased the last revoked key.
    pub(crate) fn last_purge(&self) -> Option<Timestamp> {
        self.last(|record| matches!(record, Record::KeysPurged { .. }))
    }

    /// When the last of those who remain had cut `fallen` off.
    pub(crate) fn last_isolation(&self, fallen: &NodeId) -> Option<Timestamp> {
        self.last(|record| matches!(record, Record::IsolationSeen { node, .. } if node == fallen))
    }

    fn last(&self, counts: impl Fn(&Record) -> bool) -> Option<Timestamp> {
        let has = |entry: &&Entry<Body>| entry.body.records.iter().any(&counts);
        self.entries.iter().rev().find(has).map(|entry| entry.at)
    }

    /// Prints what was recorded when, a line a batch, counted from `start`: for finding what takes time.
    pub(crate) fn trace(&self, start: Timestamp) {
        let mut batches: std::collections::BTreeMap<u64, std::collections::BTreeMap<String, usize>> =
            Default::default();
        for entry in self.entries.iter().filter(|entry| entry.at >= start) {
            let event = format!("{:?}", entry.body.event);
            let word = event.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
            *batches.entry(entry.at.since(start).get()).or_default().entry(word).or_default() += 1;
        }
        batches.iter().for_each(|(at, events)| println!("  +{at:>5} ms {events:?}"));
    }

    /// When the rotation that an operator ordered was decided.
    pub(crate) fn ordered(&self) -> Option<Timestamp> {
        let is_order = |entry: &&Entry<Body>| {
            let asked = matches!(&entry.body.event, Event::Request(signed)
                if matches!(signed.request.command, Command::RotateKeys { .. }));
            asked && entry.body.records.iter().any(|record| matches!(record, Record::RotationOrdered { .. }))
        };
        self.entries.iter().find(is_order).map(|entry| entry.at)
    }
}
