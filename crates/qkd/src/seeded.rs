//! Reproducible entropy and a pair of ends in one process, for tests.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::entropy::Entropy;
use crate::params::{BlockParams, LinkParams};
use crate::{
    Alice, BlockAbort, BlockOutcome, Bob, Detector, Fibre, HashKey, Offer, PAD_LEN_PER_BLOCK, Source, Step, TagKeys,
    Tap,
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

/// A source, a fibre and a detector on one bench.
pub(crate) struct Bench {
    pub(crate) params: LinkParams,
    pub(crate) source: Source<Seeded>,
    pub(crate) fibre: Fibre<Seeded>,
    pub(crate) detector: Detector<Seeded>,
}

pub(crate) type End = Result<BlockOutcome, BlockAbort>;

impl Bench {
    pub(crate) fn new(params: LinkParams, seed: u64) -> Self {
        params.check().unwrap();
        Self {
            source: Source::new(params.z_log2, params.retain_pulses(), 0, Seeded::new(seed)),
            fibre: Fibre::new(&params.fibre, Seeded::new(seed + 1)),
            detector: Detector::new(&params.detector, params.z_log2, params.click_limit(), Seeded::new(seed + 2)),
            params,
        }
    }

    pub(crate) fn tapped(mut self, fraction: f64) -> Self {
        self.fibre.set_tap(Some(Tap { fraction }));
        self
    }

    /// Light until there are enough clicks for a block.
    pub(crate) fn shine(&mut self) {
        for _ in 0..100_000 {
            if self.detector.waiting() >= self.params.block.clicks as usize {
                return;
            }
            let frame = self.source.emit(self.params.frame_pulses);
            let light = self.fibre.carry(&frame).unwrap();
            self.detector.measure(&light).unwrap();
        }
        panic!("too dark");
    }

    /// One block over a channel that does `fault` to each message; the ends' results, with a
    /// timeout wherever nothing more arrives.
    pub(crate) fn block(&mut self, number: u64, mut fault: impl FnMut(usize) -> Fault) -> (End, End) {
        self.shine();
        let params: BlockParams = self.params.block.clone();
        let detections = self.detector.take(params.clicks as usize).unwrap();
        let (mut bob, first) = Bob::start(&params, number, detections, b"pads", tag_keys(number)).unwrap();
        let mut rng = Seeded::new(number);
        let mut sent = 0;
        let mut old = first.clone();
        let mut through = |message: Vec<u8>| {
            sent += 1;
            let out = match fault(sent - 1) {
                Fault::None => vec![message.clone()],
                Fault::Drop => vec![],
                Fault::Duplicate => vec![message.clone(), message.clone()],
                Fault::Corrupt(bit) => {
                    let mut bad = message.clone();
                    let bit = bit % (bad.len() * 8);
                    bad[bit / 8] ^= 1 << (bit % 8);
                    vec![bad]
                }
                Fault::Truncate(by) => vec![message[..message.len() - 1 - by % message.len()].to_vec()],
                Fault::Replay => vec![old.clone(), message.clone()],
            };
            old = message;
            out
        };
        let mut alice: Option<Alice> = None;
        let (mut alice_end, mut bob_end): (Option<End>, Option<End>) = (None, None);
        let mut to_alice = through(first);
        while !to_alice.is_empty() {
            let mut to_bob = Vec::new();
            for message in std::mem::take(&mut to_alice) {
                if alice_end.is_some() {
                    continue;
                }
                let step = match alice.as_mut() {
                    Some(alice) => alice.handle(&message, &mut rng),
                    None => match Offer::parse(&message) {
                        Ok(offer) => {
                            Alice::accept(&params, offer, tag_keys(number), &mut self.source).map(|(made, reply)| {
                                alice = Some(made);
                                Step::Reply(reply)
                            })
                        }
                        Err(_) => continue,
                    },
                };
                match step {
                    Ok(Step::Reply(reply)) => to_bob.extend(through(reply)),
                    Ok(Step::Ignored) => {}
                    Ok(Step::Finished { reply, outcome }) => {
                        assert!(reply.is_none());
                        alice_end = Some(Ok(*outcome));
                    }
                    Err(abort) => {
                        to_bob.extend(abort.notice.clone().map(&mut through).unwrap_or_default());
                        alice_end = Some(Err(abort));
                    }
                }
            }
            for message in to_bob {
                if bob_end.is_some() {
                    continue;
                }
                match bob.handle(&message) {
                    Ok(Step::Reply(reply)) => to_alice.extend(through(reply)),
                    Ok(Step::Ignored) => {}
                    Ok(Step::Finished { reply, outcome }) => {
                        to_alice.extend(reply.map(&mut through).unwrap_or_default());
                        bob_end = Some(Ok(*outcome));
                    }
                    Err(abort) => {
                        to_alice.extend(abort.notice.clone().map(&mut through).unwrap_or_default());
                        bob_end = Some(Err(abort));
                    }
                }
            }
        }
        let timeout = || BlockAbort { reason: crate::AbortReason::ByCaller, stats: Box::default(), notice: None };
        let alice_end = alice_end.unwrap_or_else(|| Err(alice.map_or_else(timeout, Alice::give_up)));
        (alice_end, bob_end.unwrap_or_else(|| Err(bob.give_up())))
    }
}
