//! The shelf against a model that keeps every unit in a set.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Mark, Shelf, Short, Taken};
use crate::id::{Place, SheetTag};
use crate::peer::KeyPath;

const UNITS: u16 = 64;
const LEASE: u16 = 16;

fn tag(number: u8) -> SheetTag {
    SheetTag::from_bytes([number; 6])
}

/// Every other sheet is a weak one.
fn path(sheet: u8) -> KeyPath {
    if sheet.is_multiple_of(2) { KeyPath::QkdKem } else { KeyPath::Kem }
}

#[derive(Debug, Clone)]
enum Op {
    Add,
    Take {
        number: u32,
        len: u16,
        strong: bool,
    },
    Settle(usize),
    GiveBack(usize),
    /// Everything queued becomes durable, in order.
    Flush,
    /// Power is lost after `kept` of the queued marks.
    Crash {
        kept: usize,
    },
    /// A clean stop and a new start.
    Stop,
    Tend,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Add),
        8 => (1_u32..6, 1_u16..40, any::<bool>()).prop_map(|(number, len, strong)| Op::Take { number, len, strong }),
        5 => any::<usize>().prop_map(Op::Settle),
        4 => any::<usize>().prop_map(Op::GiveBack),
        3 => Just(Op::Flush),
        1 => (0_usize..4).prop_map(|kept| Op::Crash { kept }),
        1 => Just(Op::Stop),
        2 => Just(Op::Tend),
    ]
}

/// What must hold, told by the simplest means.
struct World {
    shelf: Shelf,
    sheets: u8,
    /// Units that were answered, for ever.
    delivered: BTreeSet<(SheetTag, u16)>,
    out: Vec<Taken>,
    /// Marks sent and not yet durable.
    queue: Vec<Mark>,
    durable: BTreeMap<SheetTag, Mark>,
    spent: BTreeSet<SheetTag>,
}

fn units_of(places: &[Place]) -> impl Iterator<Item = (SheetTag, u16)> {
    places.iter().flat_map(|place| (place.start..place.start + place.units()).map(|unit| (place.tag, unit)))
}

impl World {
    fn new() -> Self {
        let (shelf, durable) = (Shelf::new(LEASE), BTreeMap::new());
        Self {
            shelf,
            sheets: 0,
            delivered: BTreeSet::new(),
            out: vec![],
            queue: vec![],
            durable,
            spent: BTreeSet::new(),
        }
    }

    fn flush(&mut self, count: usize) {
        for mark in self.queue.drain(..count.min(self.queue.len())) {
            self.shelf.durable(mark.tag, mark.leased);
            self.durable.insert(mark.tag, mark);
        }
    }

    fn restart(&mut self) {
        self.queue.clear();
        self.out.clear();
        self.shelf = Shelf::new(LEASE);
        for number in 0..self.sheets {
            let tag = tag(number);
            if !self.spent.contains(&tag) {
                let mark = self.durable.get(&tag).cloned().unwrap_or(Mark { tag, leased: 0, scraps: vec![] });
                let read = Mark::from_bytes(tag, &mark.to_bytes()).unwrap();
                assert_eq!(read, mark);
                self.shelf.add(read, UNITS, path(number));
            }
        }
    }

    /// The most units of one strong sheet that were never given out.
    fn strong_units(&self) -> u16 {
        let strong = self.shelf.leaves.values().filter(|leaf| leaf.open && leaf.path == KeyPath::QkdKem);
        strong.map(|leaf| leaf.units - leaf.cursor).max().unwrap_or(0)
    }

    fn take(&mut self, number: u32, len: u16, strong: bool) {
        let free = self.shelf.free();
        match self.shelf.take(number, len, strong.then_some(KeyPath::QkdKem)) {
            Ok(taken) => {
                assert_eq!(taken.places.len(), number as usize);
                let units: Vec<_> = units_of(&taken.places).collect();
                assert_eq!(self.shelf.free(), free - units.len() as u64);
                let mut held: BTreeSet<_> = self.out.iter().flat_map(|out| units_of(&out.places)).collect();
                for unit in units {
                    assert!(unit.1 < UNITS);
                    let sheet = (0..self.sheets).find(|number| tag(*number) == unit.0).unwrap();
                    assert!(!strong || path(sheet) == KeyPath::QkdKem, "weaker than demanded");
                    assert!(!self.delivered.contains(&unit), "delivered twice");
                    assert!(held.insert(unit), "reserved twice");
                }
                self.queue.extend(taken.marks.iter().cloned());
                self.out.push(taken);
            }
            Err(short) => {
                assert!(strong || short == Short::Empty);
                assert!(number > 1 || self.strong_units() < len.div_ceil(8), "refused what there is");
                assert_eq!(self.shelf.free(), free, "a refusal consumed keys");
            }
        }
    }

    fn settle(&mut self, at: usize) {
        if self.out.is_empty() {
            return;
        }
        let taken = self.out.swap_remove(at % self.out.len());
        if taken.wait {
            self.flush(usize::MAX);
        }
        for (tag, unit) in units_of(&taken.places) {
            let safe = self.durable.get(&tag).is_some_and(|mark| {
                let scrap = |s: &super::Stretch| (s.start..s.start + s.len).contains(&unit);
                unit < mark.leased && !mark.scraps.iter().any(scrap)
            });
            assert!(safe, "answered before it was durable");
            self.delivered.insert((tag, unit));
        }
        self.shelf.settle(&taken.places);
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Add if self.sheets < 200 => {
                let mark = Mark { tag: tag(self.sheets), leased: 0, scraps: vec![] };
                self.shelf.add(mark, UNITS, path(self.sheets));
                self.sheets += 1;
            }
            Op::Add => {}
            Op::Take { number, len, strong } => self.take(number, len, strong),
            Op::Settle(at) => self.settle(at),
            Op::GiveBack(at) if !self.out.is_empty() => {
                let taken = self.out.swap_remove(at % self.out.len());
                let free = self.shelf.free();
                let marks = self.shelf.give_back(&taken.places);
                assert_eq!(self.shelf.free(), free + units_of(&taken.places).count() as u64);
                self.queue.extend(marks);
            }
            Op::GiveBack(_) => {}
            Op::Flush => self.flush(usize::MAX),
            Op::Crash { kept } => {
                self.flush(kept);
                self.restart();
            }
            Op::Stop => {
                for taken in std::mem::take(&mut self.out) {
                    self.queue.extend(self.shelf.give_back(&taken.places));
                }
                let free = self.shelf.free();
                let marks = self.shelf.exact();
                self.queue.extend(marks);
                self.flush(usize::MAX);
                self.restart();
                assert_eq!(self.shelf.free(), free, "a clean stop lost keys");
            }
            Op::Tend => {
                let spent = self.shelf.drain_spent();
                self.spent.extend(spent);
            }
        }
        self.check();
    }

    /// What is called delivered is not what is still to be had.
    fn check(&self) {
        let held: BTreeSet<_> = self.out.iter().flat_map(|out| units_of(&out.places)).collect();
        for number in 0..self.sheets {
            for stretch in self.shelf.delivered(tag(number)) {
                for unit in stretch.start..stretch.start + stretch.len {
                    assert!(!held.contains(&(tag(number), unit)), "wiped while reserved");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Nothing is delivered twice, answered before it is durable, or lost but to a crash.
    #[test]
    fn no_key_twice_and_none_lost(ops in prop::collection::vec(op(), 1..120)) {
        let mut world = World::new();
        ops.into_iter().for_each(|op| world.run(op));
    }
}

#[test]
fn without_a_crash_every_unit_is_given_out_once() {
    let mut world = World::new();
    world.run(Op::Add);
    world.run(Op::Add);
    // 17 bytes take three units: the last unit of a sheet is left over, for a shorter key.
    while world.shelf.free() >= 3 {
        let before = world.shelf.free();
        world.run(Op::Take { number: 1, len: 17, strong: false });
        if world.shelf.free() == before {
            break;
        }
        world.run(Op::Settle(0));
    }
    while world.shelf.free() > 0 {
        world.run(Op::Take { number: 1, len: 8, strong: false });
        world.run(Op::Settle(0));
    }
    assert_eq!(world.delivered.len(), 2 * usize::from(UNITS));
    assert_eq!(world.shelf.drain_spent().len(), 2);
}

#[test]
fn a_weak_path_is_not_taken_where_a_strong_one_is_wanted() {
    let mut shelf = Shelf::new(LEASE);
    shelf.add(Mark { tag: tag(1), leased: 0, scraps: vec![] }, UNITS, KeyPath::Kem);
    assert_eq!(shelf.take(1, 32, Some(KeyPath::QkdKem)).unwrap_err(), Short::WeakPath);
    assert_eq!(shelf.free(), u64::from(UNITS));
    assert_eq!(shelf.take(1, 32, None).unwrap().path, KeyPath::Kem);
    shelf.add(Mark { tag: tag(2), leased: 0, scraps: vec![] }, UNITS, KeyPath::QkdKem);
    let strong = shelf.take(1, 32, Some(KeyPath::QkdKem)).expect("a weak sheet does not stand in its way");
    assert_eq!((strong.places[0].tag, strong.path), (tag(2), KeyPath::QkdKem));
    assert_eq!(shelf.take(1, 32, None).unwrap().path, KeyPath::QkdKem, "the best there is");
}

#[test]
fn a_mark_has_one_form() {
    for bad in [&[][..], &[1], &[0, 1, 2], &[0, 1, 0, 2], &[0, 1, 0, 2, 0]] {
        assert_eq!(Mark::from_bytes(tag(1), bad), None);
    }
}
