use std::sync::Arc;

use crate::bits::Bits;
use crate::cascade::answer::cut;
use crate::cascade::{Node, PASSES, Pace, Query, Schedule, Shuffles, write_queries};

/// The passes that open one by one; the ones after them disclose one bit each and open together.
const SINGLE_PASSES: usize = 3;

/// Bob's side: asks for parities until no known one differs, correcting his string on the way.
pub(crate) struct Asker {
    schedule: Schedule,
    shuffles: Arc<Shuffles>,
    frames: Vec<Frame>,
    asked: Vec<Query>,
    leaked: u64,
    corrected: u64,
    rounds: u32,
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
    bits: Option<Bits>,
    /// For each node, by its place in the heap of the pass, whether the parities of its halves are
    /// known. Empty until the first search.
    split: Vec<u64>,
    /// The smallest known nodes whose parities differ from Alice's, small ones first.
    odd: Vec<Node>,
}

impl Pass {
    /// A node that is not split and lies on the path of a corrected bit changes sides.
    fn toggle(&mut self, node: Node) {
        match self.odd.binary_search(&node) {
            Ok(at) => drop(self.odd.remove(at)),
            Err(at) => self.odd.insert(at, node),
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
            self.split = vec![0; (2 * len + 64).div_ceil(64)];
        }
        let place = heap_place(node, len);
        self.split[place / 64] |= 1 << (place % 64);
    }
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
                passes[0].bits = Some(bits);
                Frame { passes, opened: 0, total: false }
            })
            .collect();
        Self { schedule, shuffles, frames, asked: Vec::new(), leaked: 0, corrected: 0, rounds: 0 }
    }

    /// Appends the next batch of questions to `out`; false where there are none left.
    pub(crate) fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        self.asked.clear();
        for index in 0..self.frames.len() {
            self.ask_frame(index);
        }
        write_queries(&self.asked, out);
        self.rounds += u32::from(!self.asked.is_empty());
        !self.asked.is_empty()
    }

    fn ask_frame(&mut self, index: usize) {
        let frame = &mut self.frames[index];
        // Searches run in one pass at a time: its odd nodes are disjoint, so that no two searches
        // pay for the same error. The pass with the smallest odd node is the cheapest.
        if self.schedule.pace == Pace::Quick {
            let before = self.asked.len();
            for (pass, state) in frame.passes[..frame.opened].iter().enumerate() {
                self.asked.extend(state.odd.iter().map(|&node| Query::Left { frame: index, pass, node }));
            }
            if self.asked.len() > before {
                return;
            }
        }
        let smallest = frame.passes[..frame.opened].iter().enumerate();
        let pass = smallest.filter_map(|(p, pass)| Some((pass.odd.first()?.level(), p))).min();
        if let Some((_, pass)) = pass {
            let queries = frame.passes[pass].odd.iter().map(|&node| Query::Left { frame: index, pass, node });
            self.asked.extend(queries);
            return;
        }
        let until = match frame.opened {
            opened if opened < SINGLE_PASSES && self.schedule.pace == Pace::Frugal => opened + 1,
            0 => 1,
            1 => 2,
            _ => PASSES,
        };
        self.asked.extend((frame.opened..until).map(|pass| Query::Open { frame: index, pass }));
        frame.opened = until;
    }

    /// How many bits answer the last batch.
    pub(crate) fn expected(&self) -> usize {
        let len = |query: &Query| match query {
            Query::Open { pass, .. } => self.schedule.opening(*pass),
            Query::Left { .. } => 1,
        };
        self.asked.iter().map(len).sum()
    }

    /// Takes the answers to the last batch, exactly [`Self::expected`] bits. False where they
    /// contradict earlier ones: the peer lies.
    pub(crate) fn answered(&mut self, answers: &Bits) -> bool {
        self.leaked += answers.len() as u64;
        let mut at = 0;
        for query in std::mem::take(&mut self.asked) {
            match query {
                Query::Open { frame, pass } => {
                    let count = self.schedule.opening(pass);
                    self.open(frame, pass, &answers.slice(at, count));
                    at += count;
                }
                Query::Left { frame, pass, node } => {
                    self.halve(frame, pass, node, answers.get(at));
                    at += 1;
                }
            }
        }
        // a single bit is corrected when its parity is learned, so none is left that differs
        let contradicts = |pass: &Pass| pass.odd.first().is_some_and(|node| node.level() == 0);
        !self.frames.iter().any(|frame| frame.passes.iter().any(contradicts))
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
        frame.passes[pass].odd.clear();
        if pass > 0 && parities.len() == 1 && self.schedule.halves(pass) {
            // no need to bring the bits in order before a search wants them
            let Some(bits) = frame.passes[0].bits.as_ref() else { return };
            let ours = self.shuffles.half_parity(pass, bits);
            let odd = [ours != whole, bits.parity(0, len) ^ ours != last];
            let nodes = (0..2).filter(|&block| odd[block]).map(|block| Node::new(level, block));
            nodes.for_each(|node| self.settle(at, pass, node));
            return;
        }
        frame.order(pass, &self.shuffles);
        let Some(bits) = frame.passes[pass].bits.take() else { return };
        for block in 0..self.schedule.blocks(pass) {
            let node = Node::new(level, block);
            let theirs = if block < parities.len() { parities.get(block) } else { last };
            let (start, end) = node.range(len);
            if bits.parity(start, end) != theirs {
                odd.push(node);
            }
        }
        frame.passes[pass].bits = Some(bits);
        odd.into_iter().for_each(|node| self.settle(at, pass, node));
    }

    /// Learns the parity of the left half of an odd node: one half is odd now.
    fn halve(&mut self, frame: usize, pass: usize, node: Node, theirs: bool) {
        let len = self.schedule.frame;
        self.frames[frame].order(pass, &self.shuffles);
        let state = &mut self.frames[frame].passes[pass];
        // a correction made by another answer of this batch may have settled the node
        let was_odd = state.odd.binary_search(&node).is_ok();
        let (start, end) = node.child(false).range(len);
        let ours = state.bits.as_ref().is_some_and(|bits| bits.parity(start, end));
        let left_odd = ours != theirs;
        if was_odd {
            state.toggle(node);
        }
        state.set_split(node, len);
        // parities of the halves add up to that of the node
        let mut odd = Vec::with_capacity(2);
        if left_odd {
            odd.push(node.child(false));
        }
        if left_odd != was_odd {
            odd.push(node.child(true));
        }
        for child in odd {
            self.settle(frame, pass, child);
        }
    }

    /// Puts an odd node among the ones to search, after halving it for free where its right half
    /// lies past the end of the frame; a single odd bit is an error.
    fn settle(&mut self, frame: usize, pass: usize, mut node: Node) {
        let len = self.schedule.frame;
        while node.level() > 0 && node.child(true).range(len).0 >= len {
            node = node.child(false);
        }
        self.frames[frame].passes[pass].toggle(node);
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
            if let Some(bits) = pass.bits.as_mut() {
                bits.flip(place);
            }
            let mut level = self.schedule.levels[p];
            while level > 0 && pass.is_known_below(Node::new(level, place >> level), len) {
                level -= 1;
            }
            pass.toggle(Node::new(level, place >> level));
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
        let mut key = Bits::with_capacity(self.schedule.bits);
        for frame in &self.frames {
            let Some(bits) = &frame.passes[0].bits else { continue };
            let take = self.schedule.frame.min(self.schedule.bits - key.len());
            (0..take).for_each(|i| key.push(bits.get(i)));
        }
        key
    }
}

impl Frame {
    /// Brings Bob's present bits into the order of `pass`.
    fn order(&mut self, pass: usize, shuffles: &Shuffles) {
        if self.passes[pass].bits.is_none() {
            self.passes[pass].bits = self.passes[0].bits.as_ref().map(|bits| shuffles.apply(pass, bits));
        }
    }
}
