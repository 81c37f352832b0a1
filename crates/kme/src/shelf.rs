//! The keys of one pair of SAEs at the master's side: sheets of shared bits, and which units of them
//! were given out. Pure book-keeping, every operation constant time per key, whatever the stock.
//!
//! ```text
//! sheet   0 ......... cursor ......... leased ......... units
//!         given out  │ durably marked │ untouched
//!                      as given out
//! ```
//!
//! Invariants:
//! 1. A unit is in one place only: given out, reserved, a scrap, or beyond its sheet's cursor.
//! 2. What is answered lies below a durable `leased` and in no durable scrap: after a crash everything below
//!    `leased` but the durable scraps counts as given out. A crash loses at most a lease, and repeats nothing.
//! 3. What returns is taken again before anything new, then the strongest there is, the oldest first.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::id::{Place, SheetTag, UNIT};
use crate::peer::KeyPath;

/// Most scraps beyond which the ends of sheets, each shorter than a key, are given up.
const SCRAPS: usize = 256;

/// Units `start..start + len` of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start: u16,
    pub(crate) len: u16,
}

/// What must be durable before the keys it covers are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) tag: SheetTag,
    pub(crate) leased: u16,
    pub(crate) scraps: Vec<Stretch>,
}

impl Mark {
    /// `leased`, then start and length of each scrap, 16-bit big-endian each.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let numbers = self.scraps.iter().flat_map(|scrap| [scrap.start, scrap.len]);
        std::iter::once(self.leased).chain(numbers).flat_map(u16::to_be_bytes).collect()
    }

    #[cfg(test)]
    pub(crate) fn from_bytes(tag: SheetTag, bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<2>();
        let numbers: Vec<u16> = numbers.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
        let (leased, scraps) = numbers.split_first()?;
        let (scraps, odd) = scraps.as_chunks::<2>();
        let well_formed = rest.is_empty() && odd.is_empty();
        let scraps = scraps.iter().map(|[start, len]| Stretch { start: *start, len: *len }).collect();
        well_formed.then_some(Self { tag, leased: *leased, scraps })
    }
}

#[derive(Debug)]
struct Leaf {
    units: u16,
    /// First unit never given out.
    cursor: u16,
    /// Durable mark.
    leased: u16,
    /// Mark on its way to be durable.
    asked: u16,
    scraps: Vec<Stretch>,
    reserved: Vec<Stretch>,
    /// Whether units from the cursor on can be given out.
    open: bool,
    path: KeyPath,
}

/// Keys taken from a shelf: reserved until settled or given back.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) places: Vec<Place>,
    /// The weakest of the keys' paths.
    pub(crate) path: KeyPath,
    /// To be made durable, in this order, after every mark taken from this shelf before.
    pub(crate) marks: Vec<Mark>,
    /// Whether the keys may only be answered once `marks` are durable.
    pub(crate) wait: bool,
}

/// Why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// Not enough keys.
    Empty,
    /// Enough, of a weaker path than required.
    WeakPath,
}

#[derive(Debug)]
pub(crate) struct Shelf {
    leaves: HashMap<SheetTag, Leaf>,
    /// Open sheets, the current one of each path first: weak ones never stand before strong ones.
    order: BTreeMap<KeyPath, VecDeque<SheetTag>>,
    /// One entry per scrap, the youngest last; within a sheet in the order of its own list.
    scraps: Vec<SheetTag>,
    /// Units that can be taken.
    free: u64,
    /// Units marked ahead.
    lease: u16,
}

impl Shelf {
    /// An empty shelf that marks `lease` units ahead.
    pub(crate) fn new(lease: u16) -> Self {
        Self { leaves: HashMap::new(), order: BTreeMap::new(), scraps: Vec::new(), free: 0, lease }
    }

    /// Adds a sheet as `mark` has it; everything below its lease but the scraps is gone.
    pub(crate) fn add(&mut self, mark: Mark, units: u16, path: KeyPath) {
        let open = mark.leased < units;
        let Mark { tag, leased, scraps } = mark;
        self.free += u64::from(units.saturating_sub(leased));
        self.free += scraps.iter().map(|scrap| u64::from(scrap.len)).sum::<u64>();
        self.scraps.extend(scraps.iter().map(|_| tag));
        let leaf = Leaf { units, cursor: leased, leased, asked: leased, scraps, reserved: vec![], open, path };
        if open {
            self.order.entry(path).or_default().push_back(tag);
        }
        self.leaves.insert(tag, leaf);
    }

    /// Units that can be taken.
    pub(crate) fn free(&self) -> u64 {
        self.free
    }

    /// Takes `number` keys of `len` bytes, each from one stretch, all or none.
    pub(crate) fn take(&mut self, number: u32, len: u16, least: Option<KeyPath>) -> Result<Taken, Short> {
        let units = len.div_ceil(UNIT as u16);
        if self.free < u64::from(number) * u64::from(units) {
            return Err(Short::Empty);
        }
        let mut taken =
            Taken { places: Vec::with_capacity(number as usize), path: KeyPath::QkdKem, marks: vec![], wait: false };
        let mut touched: Vec<(SheetTag, bool)> = Vec::with_capacity(2);
        for _ in 0..number {
            match self.one(units, least) {
                Ok((tag, start, path, scrap)) => {
                    taken.places.push(Place { tag, start, len });
                    taken.path = taken.path.min(path);
                    match touched.iter_mut().find(|(known, _)| *known == tag) {
                        Some((_, by_scrap)) => *by_scrap |= scrap,
                        None => touched.push((tag, scrap)),
                    }
                }
                Err(short) => {
                    self.undo(&taken.places);
                    return Err(short);
                }
            }
        }
        for (tag, scrap) in touched {
            if let Some((mark, wait)) = self.mark(tag, scrap) {
                taken.marks.push(mark);
                taken.wait |= wait;
            }
        }
        Ok(taken)
    }

    fn one(&mut self, units: u16, least: Option<KeyPath>) -> Result<(SheetTag, u16, KeyPath, bool), Short> {
        if let Some(found) = self.take_scraps(units, least) {
            return Ok(found);
        }
        while let Some((path, tag)) = self.front() {
            if least.is_some_and(|least| path < least) {
                return Err(Short::WeakPath);
            }
            let leaf = self.leaves.get_mut(&tag).ok_or(Short::Empty)?;
            let left = leaf.units - leaf.cursor;
            if left >= units {
                let start = leaf.cursor;
                leaf.cursor += units;
                leaf.reserved.push(Stretch { start, len: units });
                self.free -= u64::from(units);
                if leaf.cursor == leaf.units {
                    self.close(path, tag);
                }
                return Ok((tag, start, path, false));
            }
            // The rest is too short for this key and stays for a shorter one.
            self.close(path, tag);
        }
        Err(Short::Empty)
    }

    /// The current sheet of the strongest path there is.
    fn front(&self) -> Option<(KeyPath, SheetTag)> {
        self.order.iter().rev().find_map(|(path, sheets)| Some((*path, *sheets.front()?)))
    }

    fn take_scraps(&mut self, units: u16, least: Option<KeyPath>) -> Option<(SheetTag, u16, KeyPath, bool)> {
        let tag = *self.scraps.last()?;
        let leaf = self.leaves.get_mut(&tag)?;
        let scrap = leaf.scraps.last_mut()?;
        if scrap.len < units || least.is_some_and(|least| leaf.path < least) {
            return None;
        }
        let start = scrap.start;
        scrap.start += units;
        scrap.len -= units;
        if scrap.len == 0 {
            leaf.scraps.pop();
            self.scraps.pop();
        }
        leaf.reserved.push(Stretch { start, len: units });
        self.free -= u64::from(units);
        Some((tag, start, leaf.path, true))
    }

    /// Takes the current sheet out of the order; what is left of it becomes a scrap.
    fn close(&mut self, path: KeyPath, tag: SheetTag) {
        self.order.entry(path).or_default().pop_front();
        if let Some(leaf) = self.leaves.get_mut(&tag) {
            leaf.open = false;
            let rest = Stretch { start: leaf.cursor, len: leaf.units - leaf.cursor };
            leaf.cursor = leaf.units;
            if rest.len > 0 && self.scraps.len() < SCRAPS {
                leaf.scraps.push(rest);
                self.scraps.push(tag);
            } else {
                self.free -= u64::from(rest.len);
            }
        }
    }

    /// The mark that a sheet needs now, and whether it must be waited for.
    fn mark(&mut self, tag: SheetTag, scrap: bool) -> Option<(Mark, bool)> {
        let leaf = self.leaves.get_mut(&tag)?;
        let wait = scrap || leaf.cursor > leaf.leased;
        let ahead = leaf.leased.saturating_sub(leaf.cursor);
        let renew = leaf.asked == leaf.leased && ahead < self.lease / 2 && leaf.asked < leaf.units;
        if !wait && !renew {
            return None;
        }
        if leaf.cursor > leaf.asked || renew {
            leaf.asked = leaf.cursor.saturating_add(self.lease).min(leaf.units).max(leaf.asked);
        }
        Some((Mark { tag, leased: leaf.asked, scraps: leaf.scraps.clone() }, wait))
    }

    /// The mark of a sheet as it is, so that nothing is lost when the KME stops.
    pub(crate) fn exact(&mut self) -> Vec<Mark> {
        let marks = self.leaves.iter_mut().map(|(tag, leaf)| {
            leaf.asked = leaf.cursor;
            leaf.leased = leaf.leased.min(leaf.cursor);
            Mark { tag: *tag, leased: leaf.cursor, scraps: leaf.scraps.clone() }
        });
        marks.collect()
    }

    /// A mark of this sheet is durable.
    pub(crate) fn durable(&mut self, tag: SheetTag, leased: u16) {
        if let Some(leaf) = self.leaves.get_mut(&tag) {
            leaf.leased = leaf.leased.max(leased);
        }
    }

    /// Reserved keys were delivered.
    pub(crate) fn settle(&mut self, places: &[Place]) {
        for place in places {
            self.release(*place);
        }
    }

    /// Reserved keys were not delivered; returns the marks that keep them over a crash.
    pub(crate) fn give_back(&mut self, places: &[Place]) -> Vec<Mark> {
        let mut tags = Vec::new();
        for place in places.iter().rev() {
            if let Some(stretch) = self.release(*place) {
                self.keep(place.tag, stretch);
            }
            if !tags.contains(&place.tag) {
                tags.push(place.tag);
            }
        }
        let marks = tags.into_iter().filter_map(|tag| {
            let leaf = self.leaves.get_mut(&tag)?;
            // A scrap beyond the lease would be there twice after a crash.
            leaf.asked = leaf.asked.max(leaf.cursor);
            Some(Mark { tag, leased: leaf.asked, scraps: leaf.scraps.clone() })
        });
        marks.collect()
    }

    /// Undoes a take of which no mark was made.
    fn undo(&mut self, places: &[Place]) {
        // Backwards, so that the cursor follows.
        for place in places.iter().rev() {
            let Some(stretch) = self.release(*place) else { continue };
            match self.leaves.get_mut(&place.tag) {
                Some(leaf) if leaf.open && stretch.start + stretch.len == leaf.cursor => {
                    leaf.cursor = stretch.start;
                    self.free += u64::from(stretch.len);
                }
                _ => self.keep(place.tag, stretch),
            }
        }
    }

    /// Keeps a stretch to be taken before anything new.
    fn keep(&mut self, tag: SheetTag, stretch: Stretch) {
        let Some(leaf) = self.leaves.get_mut(&tag) else { return };
        self.free += u64::from(stretch.len);
        match leaf.scraps.last_mut() {
            Some(last) if stretch.start + stretch.len == last.start => {
                last.start = stretch.start;
                last.len += stretch.len;
            }
            _ => {
                leaf.scraps.push(stretch);
                self.scraps.push(tag);
            }
        }
    }

    fn release(&mut self, place: Place) -> Option<Stretch> {
        let reserved = &mut self.leaves.get_mut(&place.tag)?.reserved;
        let at = reserved.iter().position(|stretch| stretch.start == place.start)?;
        Some(reserved.swap_remove(at))
    }

    /// Takes a sheet off the shelf: no key comes from it any more.
    pub(crate) fn forget(&mut self, tag: SheetTag) {
        let Some(leaf) = self.leaves.remove(&tag) else { return };
        self.scraps.retain(|scrap| *scrap != tag);
        self.order.values_mut().for_each(|sheets| sheets.retain(|sheet| *sheet != tag));
        let untouched = if leaf.open { leaf.units - leaf.cursor } else { 0 };
        self.free -= u64::from(untouched) + leaf.scraps.iter().map(|scrap| u64::from(scrap.len)).sum::<u64>();
    }

    /// Sheets that no key will come from any more; they leave the shelf.
    pub(crate) fn drain_spent(&mut self) -> Vec<SheetTag> {
        let spent =
            |leaf: &Leaf| !leaf.open && leaf.scraps.is_empty() && leaf.reserved.is_empty() && leaf.leased == leaf.units;
        let tags: Vec<_> = self.leaves.iter().filter(|(_, leaf)| spent(leaf)).map(|(tag, _)| *tag).collect();
        for tag in &tags {
            self.leaves.remove(tag);
        }
        tags
    }

    /// Stretches of a sheet whose keys were delivered. Empty for a sheet that is not here.
    pub(crate) fn delivered(&self, tag: SheetTag) -> Vec<Stretch> {
        let Some(leaf) = self.leaves.get(&tag) else { return Vec::new() };
        let mut kept: Vec<Stretch> = leaf.scraps.iter().chain(&leaf.reserved).copied().collect();
        kept.sort_unstable_by_key(|stretch| stretch.start);
        let (mut from, mut out) = (0, Vec::new());
        for stretch in kept.into_iter().chain([Stretch { start: leaf.cursor, len: 0 }]) {
            if stretch.start > from {
                out.push(Stretch { start: from, len: stretch.start - from });
            }
            from = from.max(stretch.start + stretch.len);
        }
        out
    }
}

#[cfg(test)]
mod tests;
