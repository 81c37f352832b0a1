//! Reproducible entropy and a pair of ends in one process, for tests.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::entropy::Entropy;
use crate::params::{BlockParams, LinkParams};
use crate::{
    Alice, Attack, BlockAbort, BlockOutcome, Bob, Detector, Fibre, HashKey, Offer, PAD_LEN_PER_BLOCK, PairEnd, Purpose,
    Recall, Settings, Source, Step, TagKeys, Tap,
};

pub(crate) struct Seeded(ChaCha12Rng);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

pub(crate) fn tag_keys(seed: u64) -> TagKeys {
    let mut rng = Seeded::new(seed);
    let (mut hash, mut pads) = ([0; 16], [0; PAD_LEN_PER_BLOCK]);
    rng.fill(&mut hash);
    rng.fill(&mut pads);
    TagKeys::new(&HashKey::new(&hash), &pads)
}

/// What a fault does to one message.
pub(crate) enum Fault {
    None,
    Drop,
    Duplicate,
    Corrupt(usize),
    Truncate(usize),
    /// Deliver a message of long ago instead.
    Replay,
}

/// Alice's end of the light.
#[allow(clippy::large_enum_variant, reason = "a test has two of them")]
pub(crate) enum Sender {
    Source(Source<Seeded>),
    Pairs(PairEnd<Seeded>),
}

impl Sender {
    fn emit(&mut self, pulses: u32) -> Vec<u8> {
        match self {
            Self::Source(source) => source.emit(pulses),
            Self::Pairs(end) => end.emit(pulses),
        }
    }

    fn light(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Source(source) => source.light(frame).map(Some),
            Self::Pairs(end) => end.light(frame),
        }
        .unwrap()
    }
}

impl Recall for Sender {
    fn recall(&mut self, slots: &[u64]) -> Option<Vec<u8>> {
        match self {
            Self::Source(source) => source.recall(slots),
            Self::Pairs(end) => end.recall(slots),
        }
    }

    fn forget_before(&mut self, slot: u64) {
        match self {
            Self::Source(source) => source.forget_before(slot),
            Self::Pairs(end) => end.forget_before(slot),
        }
    }
}

/// A sender, a fibre and a receiver on one bench.
pub(crate) struct Bench {
    pub(crate) params: LinkParams,
    pub(crate) sender: Sender,
    pub(crate) fibre: Fibre<Seeded>,
    pub(crate) detector: Detector<Seeded>,
    purpose: Purpose,
}

pub(crate) type End = Result<BlockOutcome, BlockAbort>;

impl Bench {
    pub(crate) fn new(params: LinkParams, seed: u64) -> Self {
        params.check().unwrap();
        // attackers let few clicks through
        let retain = 16 * params.retain_pulses();
        let entangled = params.block.protocol.is_entangled();
        let settings = Settings::of_bob(&params);
        let sender = if entangled {
            Sender::Pairs(PairEnd::new(&params, retain, 0, Seeded::new(seed)))
        } else {
            Sender::Source(Source::new(&params, retain, 0, Seeded::new(seed), Seeded::new(!seed)))
        };
        Self {
            sender,
            fibre: Fibre::new(&params, Seeded::new(seed + 1)),
            detector: Detector::new(&params.detector, settings, params.click_limit(), Seeded::new(seed + 2)),
            params,
            purpose: Purpose::Key,
        }
    }

    /// Blocks are only to look at the channel.
    pub(crate) fn watching(self) -> Self {
        Self { purpose: Purpose::Watch, ..self }
    }

    pub(crate) fn tapped(self, fraction: f64) -> Self {
        self.attacked(Attack::InterceptResend, fraction)
    }

    pub(crate) fn attacked(mut self, attack: Attack, fraction: f64) -> Self {
        self.fibre.set_tap(Some(Tap { attack, fraction }));
        self
    }

    /// One train, and all that goes to and fro because of it.
    pub(crate) fn train(&mut self) {
        let mut from_a = Some(self.sender.emit(self.params.frame_pulses));
        let mut from_b = None;
        while from_a.is_some() || from_b.is_some() {
            let one = from_a.take().map(|frame| self.fibre.from_a(&frame).unwrap()).unwrap_or_default();
            let two = from_b.take().map(|frame: Vec<u8>| self.fibre.from_b(&frame).unwrap()).unwrap_or_default();
            for frame in [one.to_a, two.to_a].into_iter().flatten() {
                from_a = self.sender.light(&frame).or(from_a);
            }
            for frame in [one.to_b, two.to_b].into_iter().flatten() {
                from_b = self.detector.measure(&frame).unwrap().or(from_b);
            }
        }
    }

    /// Light until there are enough clicks for a block.
    pub(crate) fn shine(&mut self) {
        for _ in 0..100_000 {
            if self.detector.waiting() >= self.params.block.clicks as usize {
                return;
            }
            self.train();
        }
        panic!("too dark");
    }

    /// One block over a channel that does `fault` to each message; the ends' results, with a
    /// timeout wherever nothing more arrives.
    pub(crate) fn block<F: FnMut(usize) -> Fault>(&mut self, number: u64, fault: F) -> (End, End) {
        self.shine();
        let params: BlockParams = self.params.block.clone();
        let detections = self.detector.take(params.clicks as usize).unwrap();
        let (bob, first) = Bob::start(&params, number, self.purpose, detections, b"pads", tag_keys(number)).unwrap();
        let mut channel = Channel { fault, sent: 0, old: first.clone() };
        let mut alice_end = AliceEnd { params, number, session: None, rng: Seeded::new(number), end: None };
        let mut bob_end = BobEnd { session: bob, end: None };
        let mut to_alice = channel.through(Some(first));
        while !to_alice.is_empty() {
            let mut to_bob = Vec::new();
            for message in std::mem::take(&mut to_alice) {
                to_bob.extend(channel.through(alice_end.take(&message, &mut self.sender)));
            }
            for message in to_bob {
                to_alice.extend(channel.through(bob_end.take(&message)));
            }
        }
        let timeout = || BlockAbort { reason: crate::AbortReason::ByCaller, stats: Box::default(), notice: None };
        let alice = alice_end.end.unwrap_or_else(|| Err(alice_end.session.map_or_else(timeout, Alice::give_up)));
        (alice, bob_end.end.unwrap_or_else(|| Err(bob_end.session.give_up())))
    }
}

/// The classical channel, as bad as `fault` makes it.
struct Channel<F> {
    fault: F,
    sent: usize,
    old: Vec<u8>,
}

impl<F: FnMut(usize) -> Fault> Channel<F> {
    fn through(&mut self, message: Option<Vec<u8>>) -> Vec<Vec<u8>> {
        let Some(message) = message else { return vec![] };
        self.sent += 1;
        let old = std::mem::replace(&mut self.old, message.clone());
        match (self.fault)(self.sent - 1) {
            Fault::None => vec![message],
            Fault::Drop => vec![],
            Fault::Duplicate => vec![message.clone(), message],
            Fault::Corrupt(bit) => {
                let mut bad = message;
                let bit = bit % (bad.len() * 8);
                bad[bit / 8] ^= 1 << (bit % 8);
                vec![bad]
            }
            Fault::Truncate(by) => vec![message[..message.len() - 1 - by % message.len()].to_vec()],
            Fault::Replay => vec![old, message],
        }
    }
}

struct AliceEnd {
    params: BlockParams,
    number: u64,
    session: Option<Alice>,
    rng: Seeded,
    end: Option<End>,
}

impl AliceEnd {
    fn take(&mut self, message: &[u8], sender: &mut Sender) -> Option<Vec<u8>> {
        if self.end.is_some() {
            return None;
        }
        let step = match self.session.as_mut() {
            Some(alice) => alice.handle(message, &mut self.rng),
            None => {
                let offer = Offer::parse(message).ok()?;
                Alice::accept(&self.params, offer, tag_keys(self.number), sender).map(|(made, reply)| {
                    self.session = Some(made);
                    Step::Reply(reply)
                })
            }
        };
        finish(step, &mut self.end)
    }
}

struct BobEnd {
    session: Bob,
    end: Option<End>,
}

impl BobEnd {
    fn take(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if self.end.is_some() {
            return None;
        }
        finish(self.session.handle(message), &mut self.end)
    }
}

/// The message to send on, the result put aside.
fn finish(step: Result<Step, BlockAbort>, end: &mut Option<End>) -> Option<Vec<u8>> {
    match step {
        Ok(Step::Reply(reply)) => Some(reply),
        Ok(Step::Ignored) => None,
        Ok(Step::Finished { reply, outcome }) => {
            *end = Some(Ok(*outcome));
            reply
        }
        Err(abort) => {
            let notice = abort.notice.clone();
            *end = Some(Err(abort));
            notice
        }
    }
}
