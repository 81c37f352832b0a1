//! What a channel holds, counted by the allocator.

use std::alloc::System;

use qkd::{
    Bits, Fibre, HashKey, LinkParams, Offer, PAD_LEN_PER_BLOCK, Pipeline, Preset, Protocol, Purpose, Step, TagKeys,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Most bytes of a channel at rest, both ends together.
const IDLE: usize = 64 * 1024;

struct Seeded(ChaCha8Rng);

impl qkd::Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

fn seeded(seed: u64) -> Seeded {
    Seeded(ChaCha8Rng::seed_from_u64(seed))
}

/// Bytes allocated and not freed.
fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn keys() -> TagKeys {
    TagKeys::new(&HashKey::new(&[7; 16]), &[9; PAD_LEN_PER_BLOCK])
}

struct Channel {
    alice: Pipeline<Seeded>,
    bob: Pipeline<Seeded>,
}

impl Channel {
    fn new(params: &LinkParams) -> Self {
        let retain = params.retain_pulses();
        Self { alice: Pipeline::alice(params, retain, 0, seeded(1), seeded(2)), bob: Pipeline::bob(params, seeded(3)) }
    }

    fn shine(&mut self, fibre: &mut Fibre<Seeded>) {
        let mut from_a = Some(self.alice.emit());
        let mut from_b: Option<Vec<u8>> = None;
        while from_a.is_some() || from_b.is_some() {
            let one = from_a.take().map(|frame| fibre.from_a(&frame).unwrap()).unwrap_or_default();
            let two = from_b.take().map(|frame| fibre.from_b(&frame).unwrap()).unwrap_or_default();
            for frame in [one.to_a, two.to_a].into_iter().flatten() {
                from_a = self.alice.light(&frame).unwrap().or(from_a);
            }
            for frame in [one.to_b, two.to_b].into_iter().flatten() {
                from_b = self.bob.light(&frame).unwrap().or(from_b);
            }
        }
    }

    /// One block; how many secret bits it gave.
    fn block(&mut self, fibre: &mut Fibre<Seeded>, number: u64) -> u64 {
        while !self.bob.is_due() {
            self.shine(fibre);
        }
        let first = self.bob.begin(number, Purpose::Key, b"", keys()).unwrap().unwrap();
        let mut message = self.alice.accept(Offer::parse(&first).unwrap(), keys()).unwrap();
        loop {
            message = match self.bob.hear(&message).unwrap() {
                Step::Reply(reply) => reply,
                Step::Finished { reply, .. } => reply.unwrap(),
                Step::Ignored => panic!("ignored"),
            };
            match self.alice.hear(&message).unwrap() {
                Step::Reply(reply) => message = reply,
                Step::Finished { outcome, .. } => return outcome.stats.secret_bits,
                Step::Ignored => panic!("ignored"),
            }
        }
    }
}

/// KM-09: a channel at rest holds at most 64 KiB at both ends together, before its first block and
/// after one, in every protocol; what it counts itself is what the allocator counts. A block leaves
/// nothing behind, however many have been.
#[test]
fn a_channel_at_rest_holds_little() {
    // tables that all channels of a process share
    let (input, output) = (1 << 20, 1 << 19);
    qkd::toeplitz::hash(&Bits::zeros(qkd::toeplitz::seed_len(input, output)), &Bits::zeros(input), output).unwrap();
    for protocol in Protocol::ALL {
        let preset = if *protocol == Protocol::Bb84 { Preset::Short } else { Preset::Metro };
        let params = LinkParams::of(*protocol, preset);
        let mut fibre = Fibre::new(&params, seeded(4));
        let before = live();
        let mut channel = Channel::new(&params);
        let fresh = live() - before;
        let mut resting = Vec::new();
        for number in 0..3 {
            assert!(channel.block(&mut fibre, number) > 0);
            let held = channel.alice.held_bytes() + channel.bob.held_bytes();
            channel.alice.rest();
            channel.bob.rest();
            // what the fibre itself holds of trains under way is not the channel's
            fibre = Fibre::new(&params, seeded(5 + number));
            let rest = live().saturating_sub(before);
            println!("{protocol}: {fresh} bytes when new, {held} with light, {rest} at rest");
            assert!(channel.alice.held_bytes() + channel.bob.held_bytes() <= IDLE);
            resting.push(rest);
        }
        assert!(fresh <= IDLE && resting.iter().all(|&rest| rest <= IDLE), "{protocol}: {fresh} {resting:?}");
        assert!(channel.alice.ledger().blocks() == 3 && channel.bob.ledger().spent() < 1e-9);
    }
}
