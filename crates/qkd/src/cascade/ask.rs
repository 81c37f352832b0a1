use std::sync::Arc;

use crate::bits::Bits;
use crate::cascade::answer::cut;
use crate::cascade::order::Order;
use crate::cascade::{Node, PASSES, Pace, Schedule, Shuffles, write_batch};

/// The passes that open one by one; the ones after them disclose one bit each and open together.
const SINGLE_PASSES: usize = 3;

/// Bob's side: asks for parities until no known one differs, correcting his string on the way.
pub(crate) struct Asker {
    schedule: Schedule,
    shuffles: Arc<Shuffles>,
    frames: Vec<Frame>,
    asked: Vec<Query>,
    expected: usize,
    room: Vec<u32>,
    leaked: u64,
    corrected: u64,
    rounds: u32,
}

/// One question that waits for its answer.
#[derive(Clone, Copy)]
enum Query {
    /// The block parities of a pass.
    Open { frame: u32, pass: u8 },
    /// The parity of the left half of a node whose parity is known.
    Left { frame: u32, pass: u8, node: Node },
}

struct Frame {
    passes: [Pass; PASSES],
    opened: usize,
    /// Parity of Alice's whole frame, known once the first pass is open.
    total: bool,
}

/// What Bob knows in the order of one pass.
#[derive(Default)]
struct Pass {
    /// His bits in this order, once a search needed them.
    order: Option<Order>,
    /// For each node, by its place in the heap of the pass, whether the parities of its halves are
    /// known. Empty until the first search.
    split: Vec<u64>,
    /// In the same places: the smallest known nodes whose parities differ from Alice's.
    odd: Vec<u64>,
    /// How many of them each level has.
    counts: [u16; 16],
    /// Bit l: level l has some.
    levels: u16,
    /// Single bits whose parity is known to differ: none, once all answers are taken in.
    bits: Vec<u32>,
}

impl Pass {
    /// A node that is not split and lies on the path of a corrected bit changes sides.
    #[inline]
    fn toggle(&mut self, node: Node, len: usize) {
        if node.level() == 0 {
            return match self.bits.iter().position(|&bit| bit as usize == node.index()) {
                Some(at) => drop(self.bits.swap_remove(at)),
                None => self.bits.push(node.index() as u32),
            };
        }
        if self.odd.is_empty() {
            self.odd = vec![0; heap_words(len)];
        }
        let place = heap_place(node, len);
        let word = &mut self.odd[place / 64];
        *word ^= 1 << (place % 64);
        let count = &mut self.counts[usize::from(node.level())];
        *count = if *word >> (place % 64) & 1 == 1 { *count + 1 } else { *count - 1 };
        let bit = 1 << node.level();
        self.levels = if *count > 0 { self.levels | bit } else { self.levels & !bit };
    }

    fn forget_odd(&mut self) {
        self.odd.clear();
        self.counts = [0; 16];
        self.levels = 0;
        self.bits.clear();
    }

    fn is_odd(&self, node: Node, len: usize) -> bool {
        let place = heap_place(node, len);
        self.odd.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    /// The smallest level with odd nodes.
    fn smallest(&self) -> Option<u32> {
        (self.levels != 0).then(|| self.levels.trailing_zeros())
    }

    /// The odd nodes of a level, ascending.
    fn odd_nodes(&self, level: u8, len: usize, indices: &mut Vec<u32>) {
        indices.clear();
        let first = heap_place(Node::new(level, 0), len);
        let mut left = self.counts[usize::from(level)];
        let mut at = first / 64;
        let mut word = if left > 0 { self.odd[at] & u64::MAX << (first % 64) } else { 0 };
        while left > 0 {
            while word == 0 {
                at += 1;
                word = self.odd[at];
            }
            indices.push((at * 64 + word.trailing_zeros() as usize - first) as u32);
            word &= word - 1;
            left -= 1;
        }
    }

    /// Whether the parities of the node's halves are known; a half past the end is always even.
    fn is_known_below(&self, node: Node, len: usize) -> bool {
        if node.child(true).range(len).0 >= len {
            return true;
        }
        let place = heap_place(node, len);
        self.split.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    fn set_split(&mut self, node: Node, len: usize) {
        if self.split.is_empty() {
            self.split = vec![0; heap_words(len)];
        }
        let place = heap_place(node, len);
        self.split[place / 64] |= 1 << (place % 64);
    }
}

/// Words for all places of a heap.
fn heap_words(len: usize) -> usize {
    (len + 64).div_ceil(64)
}

/// Distinct place of every node of level 1 and up: the levels one after another, each with room
/// for `len / 2^level + 1` nodes.
fn heap_place(node: Node, len: usize) -> usize {
    let level = usize::from(node.level());
    // sum over 1..level of (len >> i) + 1 is at most len - (len >> (level - 1)) + level - 1
    (len - (len >> (level - 1))) + level + node.index()
}

impl Asker {
    pub(crate) fn new(schedule: Schedule, shuffles: Arc<Shuffles>, key: &Bits) -> Self {
        let frames = cut(&schedule, key)
            .map(|bits| {
                let mut passes: [Pass; PASSES] = Default::default();
                passes[0].order = Some(Order::new(bits));
                Frame { passes, opened: 0, total: false }
            })
            .collect();
        let (asked, room) = (Vec::new(), Vec::new());
        Self { schedule, shuffles, frames, asked, expected: 0, room, leaked: 0, corrected: 0, rounds: 0 }
    }

    /// Appends the next batches of questions to `out`; false where there are none left.
    pub(crate) fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        self.asked.clear();
        self.expected = 0;
        for index in 0..self.frames.len() {
            self.ask_frame(index, out);
        }
        self.rounds += u32::from(!self.asked.is_empty());
        !self.asked.is_empty()
    }

    fn ask_frame(&mut self, index: usize, out: &mut Vec<u8>) {
        let opened = self.frames[index].opened;
        if self.schedule.pace == Pace::Quick {
            let before = self.asked.len();
            (0..opened).for_each(|pass| self.ask_pass(index, pass, out));
            if self.asked.len() > before {
                return;
            }
        }
        // Searches run in one pass at a time: its odd nodes are disjoint, so that no two searches
        // pay for the same error. The pass with the smallest odd node is the cheapest.
        let passes = self.frames[index].passes[..opened].iter().enumerate();
        if let Some((_, pass)) = passes.filter_map(|(p, pass)| Some((pass.smallest()?, p))).min() {
            return self.ask_pass(index, pass, out);
        }
        let until = match opened {
            opened if opened < SINGLE_PASSES && self.schedule.pace == Pace::Frugal => opened + 1,
            0 => 1,
            1 => 2,
            _ => PASSES,
        };
        for pass in opened..until {
            write_batch(index, pass, None, out);
            self.asked.push(Query::Open { frame: index as u32, pass: pass as u8 });
            self.expected += self.schedule.opening(pass);
        }
        self.frames[index].opened = until;
    }

    /// Asks about every odd node of one pass.
    fn ask_pass(&mut self, index: usize, pass: usize, out: &mut Vec<u8>) {
        let len = self.schedule.frame;
        let state = &self.frames[index].passes[pass];
        let mut levels = state.levels;
        while levels != 0 {
            let level = levels.trailing_zeros() as u8;
            levels &= levels - 1;
            state.odd_nodes(level, len, &mut self.room);
            write_batch(index, pass, Some((level, &self.room)), out);
            let query =
                |&i: &u32| Query::Left { frame: index as u32, pass: pass as u8, node: Node::new(level, i as usize) };
            self.asked.extend(self.room.iter().map(query));
            self.expected += self.room.len();
        }
    }

    /// How many bits answer the last questions.
    pub(crate) fn expected(&self) -> usize {
        self.expected
    }

    /// Takes the answers to the last batch, exactly [`Self::expected`] bits. False where they
    /// contradict earlier ones: the peer lies.
    pub(crate) fn answered(&mut self, answers: &Bits) -> bool {
        self.leaked += answers.len() as u64;
        let mut at = 0;
        let asked = std::mem::take(&mut self.asked);
        for query in &asked {
            match *query {
                Query::Open { frame, pass } => {
                    let count = self.schedule.opening(usize::from(pass));
                    self.open(frame as usize, usize::from(pass), &answers.slice(at, count));
                    at += count;
                }
                Query::Left { frame, pass, node } => {
                    self.halve(frame as usize, usize::from(pass), node, answers.get(at));
                    at += 1;
                }
            }
        }
        self.asked = asked;
        // a single bit is corrected when its parity is learned, so none is left that differs
        let mut touched = self.asked.iter().map(|query| match *query {
            Query::Open { frame, .. } | Query::Left { frame, .. } => frame as usize,
        });
        let mut last = usize::MAX;
        !touched.any(|frame| {
            let seen = std::mem::replace(&mut last, frame) == frame;
            !seen && self.frames[frame].passes[..self.frames[frame].opened].iter().any(|pass| !pass.bits.is_empty())
        })
    }

    fn open(&mut self, at: usize, pass: usize, parities: &Bits) {
        let (len, level) = (self.schedule.frame, self.schedule.levels[pass]);
        let frame = &mut self.frames[at];
        let mut odd = Vec::new();
        let whole = parities.parity(0, parities.len());
        if pass == 0 {
            frame.total = whole;
        }
        let last = whole ^ frame.total;
        // corrections made by earlier answers of this batch are in his bits already
        frame.passes[pass].forget_odd();
        if pass > 0 && parities.len() == 1 && self.schedule.halves(pass) {
            // no need to bring the bits in order before a search wants them
            let Some(bits) = frame.passes[0].order.as_ref() else { return };
            let ours = self.shuffles.half_parity(pass, bits.words());
            let odd = [ours != whole, bits.parity(0, len) ^ ours != last];
            let nodes = (0..2).filter(|&block| odd[block]).map(|block| Node::new(level, block));
            nodes.for_each(|node| self.settle(at, pass, node));
            return;
        }
        frame.order(pass, &self.shuffles);
        let Some(order) = frame.passes[pass].order.as_ref() else { return };
        for block in 0..self.schedule.blocks(pass) {
            let node = Node::new(level, block);
            let theirs = if block < parities.len() { parities.get(block) } else { last };
            let (start, end) = node.range(len);
            if order.parity(start, end) != theirs {
                odd.push(node);
            }
        }
        odd.into_iter().for_each(|node| self.settle(at, pass, node));
    }

    /// Learns the parity of the left half of an odd node: one half is odd now.
    fn halve(&mut self, frame: usize, pass: usize, node: Node, theirs: bool) {
        let len = self.schedule.frame;
        self.frames[frame].order(pass, &self.shuffles);
        let state = &mut self.frames[frame].passes[pass];
        // a correction made by another answer of this batch may have settled the node
        let was_odd = state.is_odd(node, len);
        let (start, end) = node.child(false).range(len);
        let ours = state.order.as_ref().is_some_and(|order| order.parity(start, end));
        let left_odd = ours != theirs;
        if was_odd {
            state.toggle(node, len);
        }
        state.set_split(node, len);
        // parities of the halves add up to that of the node
        if left_odd {
            self.settle(frame, pass, node.child(false));
        }
        if left_odd != was_odd {
            self.settle(frame, pass, node.child(true));
        }
    }

    /// Puts an odd node among the ones to search, after halving it for free where its right half
    /// lies past the end of the frame; a single odd bit is an error.
    fn settle(&mut self, frame: usize, pass: usize, mut node: Node) {
        let len = self.schedule.frame;
        while node.level() > 0 && node.child(true).range(len).0 >= len {
            node = node.child(false);
        }
        self.frames[frame].passes[pass].toggle(node, len);
        if node.level() == 0 {
            self.correct(frame, self.shuffles.from(pass, node.index()));
        }
    }

    fn correct(&mut self, frame: usize, position: usize) {
        let len = self.schedule.frame;
        self.corrected += 1;
        let frame = &mut self.frames[frame];
        for p in 0..frame.opened {
            let place = self.shuffles.to(p, position);
            let pass = &mut frame.passes[p];
            if let Some(order) = pass.order.as_mut() {
                order.flip(place);
            }
            let mut level = self.schedule.levels[p];
            while level > 0 && pass.is_known_below(Node::new(level, place >> level), len) {
                level -= 1;
            }
            pass.toggle(Node::new(level, place >> level), len);
        }
    }

    /// Frames the string is cut into.
    pub(crate) fn frames(&self) -> u32 {
        self.frames.len() as u32
    }

    /// Parity bits disclosed so far.
    pub(crate) fn leaked(&self) -> u64 {
        self.leaked
    }

    /// Bits corrected so far.
    pub(crate) fn corrected(&self) -> u64 {
        self.corrected
    }

    /// Batches asked so far.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// The corrected string.
    pub(crate) fn finish(self) -> Bits {
        let mut words = Vec::with_capacity(self.schedule.bits.div_ceil(64) + self.schedule.frame / 64);
        let orders = self.frames.iter().filter_map(|frame| frame.passes[0].order.as_ref());
        orders.for_each(|order| words.extend(order.words()));
        Bits::from_words(words, self.schedule.bits)
    }
}

impl Frame {
    /// Brings Bob's present bits into the order of `pass`.
    fn order(&mut self, pass: usize, shuffles: &Shuffles) {
        if self.passes[pass].order.is_none() {
            let words = self.passes[0].order.as_ref().map(|order| order.words().collect());
            self.passes[pass].order = words.map(|words| Order::new(shuffles.apply(pass, words)));
        }
    }
}
