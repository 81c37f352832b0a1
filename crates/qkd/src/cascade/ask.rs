use std::sync::Arc;

use zeroize::Zeroizing;

use crate::bits::Bits;
use crate::cascade::answer::cut;
use crate::cascade::search::{Contradiction, Search};
use crate::cascade::tree::Shape;
use crate::cascade::{PASSES, Pace, Schedule, Shuffles, write_batch};

/// The passes that open one by one; the ones after them disclose one bit each and open together.
const SINGLE_PASSES: usize = 3;

/// Bob's side: asks for parities until no known one differs, correcting his string on the way.
pub(crate) struct Asker {
    book: Book,
    frames: Vec<Frame>,
    asked: Vec<Query>,
    found: Vec<u16>,
    expected: usize,
    leaked: u64,
    corrected: u64,
    rounds: u32,
}

/// What all frames share.
struct Book {
    schedule: Schedule,
    shuffles: Arc<Shuffles>,
}

impl Book {
    #[inline]
    fn shape(&self, pass: usize) -> &Shape {
        self.shuffles.shape(&self.schedule, pass)
    }
}

/// Questions that wait for their answers.
struct Query {
    frame: u32,
    pass: u8,
    /// How many nodes; none where the pass is opened.
    nodes: u16,
}

struct Frame {
    words: Zeroizing<Vec<u64>>,
    passes: [Search; PASSES],
    /// Bit 2·p + h: in pass p, of two blocks and not yet in order, block h differs.
    halves: u32,
    opened: usize,
    /// Parity of Alice's whole frame, known once the first pass is open.
    total: bool,
}

impl Asker {
    pub(crate) fn new(schedule: Schedule, shuffles: Arc<Shuffles>, key: &Bits) -> Self {
        let frames = cut(&schedule, key).map(|words| Frame {
            words,
            passes: Default::default(),
            halves: 0,
            opened: 0,
            total: false,
        });
        Self {
            frames: frames.collect(),
            book: Book { schedule, shuffles },
            asked: Vec::new(),
            found: Vec::new(),
            expected: 0,
            leaked: 0,
            corrected: 0,
            rounds: 0,
        }
    }

    /// Appends the next batches of questions to `out`; false where there are none left.
    pub(crate) fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        self.asked.clear();
        self.expected = 0;
        for (index, frame) in self.frames.iter_mut().enumerate() {
            frame.ask(&self.book, |pass, nodes| {
                write_batch(index, pass, nodes, out);
                self.asked.push(Query { frame: index as u32, pass: pass as u8, nodes: nodes.len() as u16 });
                self.expected += if nodes.is_empty() { self.book.schedule.opening(pass) } else { nodes.len() };
            });
        }
        self.rounds += u32::from(!self.asked.is_empty());
        !self.asked.is_empty()
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
        for query in &self.asked {
            let (frame, pass) = (&mut self.frames[query.frame as usize], usize::from(query.pass));
            if query.nodes == 0 {
                let count = self.book.schedule.opening(pass);
                if pass > 0 && self.book.schedule.halves(pass) {
                    frame.open_halves(&self.book, pass, answers.get(at));
                } else {
                    frame.open(&self.book, pass, answers.slice(at, count));
                }
                at += count;
                continue;
            }
            let count = usize::from(query.nodes);
            let shape = self.book.shape(pass);
            frame.passes[pass].answered(shape, count, answers, at, &mut self.found);
            at += count;
            self.corrected += self.found.len() as u64;
            for place in self.found.drain(..) {
                if frame.correct(&self.book, pass, usize::from(place)).is_err() {
                    return false;
                }
            }
        }
        true
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
        let schedule = &self.book.schedule;
        let mut words = Vec::with_capacity(schedule.bits.div_ceil(64) + schedule.frame / 64);
        self.frames.iter().for_each(|frame| words.extend_from_slice(&frame.words));
        Bits::from_words(words, schedule.bits)
    }
}

impl Frame {
    /// Puts what to ask now, and what opens: pass and nodes, none for a pass that opens.
    fn ask(&mut self, book: &Book, mut put: impl FnMut(usize, &[u16])) {
        let quick = book.schedule.pace == Pace::Quick;
        let mut some = false;
        for pass in 0..if quick { self.opened } else { 0 } {
            if self.passes[pass].lowest().is_some() {
                let nodes = self.passes[pass].questions();
                if !nodes.is_empty() {
                    put(pass, nodes);
                    some = true;
                }
            }
        }
        // Searches run in one pass at a time: its odd nodes are disjoint, so that no two searches
        // pay for the same error. The pass with the smallest odd node is the cheapest.
        while !some {
            let lows = self.passes[..self.opened].iter().enumerate();
            let Some((_, pass)) = lows.filter_map(|(p, pass)| Some((pass.lowest()?, p))).min() else {
                // a pass of two blocks is brought in order when no other search is left
                if self.halves == 0 {
                    return self.open_next(quick, put);
                }
                self.bring_in_order(book, self.halves.trailing_zeros() as usize / 2);
                continue;
            };
            let nodes = self.passes[pass].questions();
            if !nodes.is_empty() {
                put(pass, nodes);
                some = true;
            }
        }
    }

    fn open_next(&mut self, quick: bool, mut put: impl FnMut(usize, &[u16])) {
        let until = match self.opened {
            opened if opened < SINGLE_PASSES && !quick => opened + 1,
            0 => 1,
            1 => 2,
            _ => PASSES,
        };
        (self.opened..until).for_each(|pass| put(pass, &[]));
        self.opened = until;
    }

    /// Brings Bob's present bits into the order of a pass of two blocks, for a search.
    fn bring_in_order(&mut self, book: &Book, pass: usize) {
        let shape = book.shape(pass);
        let mut search = Search::new(shape, &Zeroizing::new(shape.sums(&book.shuffles.apply(pass, &self.words))));
        let odd = self.halves >> (2 * pass);
        (0..2).filter(|half| odd >> half & 1 == 1).for_each(|half| search.block_is_odd(shape, half));
        self.halves &= !(3 << (2 * pass));
        self.passes[pass] = search;
    }

    /// Learns the parity of the first of two blocks.
    fn open_halves(&mut self, book: &Book, pass: usize, theirs: bool) {
        let first = book.shuffles.half_parity(pass, &self.words) != theirs;
        let ours = self.words.iter().fold(0, |sum, word| sum ^ word).count_ones() & 1 == 1;
        let second = first != (ours != self.total);
        self.halves |= (u32::from(first) | u32::from(second) << 1) << (2 * pass);
    }

    /// Learns the parities of the blocks of a pass, of all but the last one after the first pass.
    fn open(&mut self, book: &Book, pass: usize, mut theirs: Bits) {
        let whole = theirs.parity(0, theirs.len());
        if pass == 0 {
            self.total = whole;
        } else {
            theirs.push(whole ^ self.total);
        }
        let shape = book.shape(pass);
        let sums = Zeroizing::new(shape.sums(&book.shuffles.apply(pass, &self.words)));
        let mut search = Search::new(shape, &sums);
        let ours = shape.blocks(&sums, book.schedule.blocks(pass));
        for (i, (ours, theirs)) in ours.words().iter().zip(theirs.words()).enumerate() {
            let mut odd = ours ^ theirs;
            while odd != 0 {
                search.block_is_odd(shape, i * 64 + odd.trailing_zeros() as usize);
                odd &= odd - 1;
            }
        }
        self.passes[pass] = search;
    }

    /// Corrects the bit at a place of the pass that found it wrong.
    fn correct(&mut self, book: &Book, finder: usize, place: usize) -> Result<(), Contradiction> {
        let position = book.shape(finder).position(place).ok_or(Contradiction)?;
        let position = book.shuffles.from(finder, position);
        self.words[position / 64] ^= 1 << (position % 64);
        for (pass, search) in self.passes[..self.opened].iter_mut().enumerate() {
            if search.is_ordered() {
                let shape = book.shape(pass);
                let place = shape.place(book.shuffles.to(pass, position));
                search.correct(shape, place, pass == finder)?;
            } else {
                let half = usize::from(book.shuffles.is_in_second_half(pass, position));
                self.halves ^= 1 << (2 * pass + half);
            }
        }
        Ok(())
    }
}
