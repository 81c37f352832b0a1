//! Whole links, and many of them.

use qkd::cascade::Pace;
use qkd::decoy::Intensities;
use qkd::{BlockStats, Fibre, HashKey, LinkParams, Offer, Pipeline, Preset, Protocol, Purpose, Step, TagKeys};

use super::{Clock, Seeded, seeded};

fn keys() -> TagKeys {
    TagKeys::new(&HashKey::new(&[7; 16]), &[9; qkd::PAD_LEN_PER_BLOCK])
}

/// Light, sifting, reconciliation and amplification of both ends and the fibre between them, on one
/// core and in every protocol: as the presets have it, and with the largest blocks, which spend
/// least on being finite.
pub(super) fn pipeline(only: Option<&String>) {
    let mut rows = Vec::new();
    for protocol in Protocol::ALL {
        for preset in [Preset::Short, Preset::Metro] {
            let params = LinkParams::of(*protocol, preset);
            rows.extend(
                [("", params), (", large blocks", large(*protocol, preset))].map(|row| (*protocol, preset, row)),
            );
        }
    }
    rows.push((Protocol::DecoyBb84, Preset::Lossy, ("", LinkParams::of(Protocol::DecoyBb84, Preset::Lossy))));
    for (protocol, preset, (note, params)) in rows {
        let name = format!("{protocol} {}{note}", preset.as_str());
        if only.is_none_or(|only| name.contains(only.as_str())) {
            link(&name, &params, ((1 << 20) / params.block.clicks).clamp(1, 6));
        }
    }
}

fn link(name: &str, params: &LinkParams, blocks: u32) {
    let mut link = Link::new(params, 1);
    let start = Clock::now();
    let (mut secret, mut light, mut clicks) = (0, 0.0, 0);
    for _ in 0..blocks {
        let lit = Clock::now();
        while !link.bob.is_due() {
            link.shine();
        }
        light += lit.seconds();
        match link.converse() {
            Some(stats) => {
                secret += stats.secret_bits;
                clicks += stats.detected;
            }
            // no key came of this light; it took its time all the same
            None => {
                link.alice.give_up();
                link.bob.give_up();
                clicks += u64::from(params.block.clicks);
            }
        }
    }
    let seconds = start.seconds();
    let rate = secret as f64 / seconds / 1e6;
    println!(
        "pipeline {name:<30} {rate:>5.2} Mbit/s secret, both ends, simulation {:.0} % of the time; {:.0} ns and {:.3} secret bits a click;  {rate:>5.2} x 1 Mbit/s",
        100.0 * light / seconds,
        1e9 * seconds / clicks as f64,
        secret as f64 / clicks as f64
    );
}

/// What is asked of one channel among many, in secret bits a second.
const CHANNEL: f64 = 1_000.0;

/// So many channels side by side, which take turns train by train until each has made a block: how
/// many cores they would keep busy if each made [`CHANNEL`] bits a second, and what they hold. A
/// channel that is in no hurry makes large blocks.
pub(super) fn channels(number: u64) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for protocol in Protocol::ALL {
        let mut params = large(*protocol, Preset::Metro);
        params.block.clicks = if *protocol == Protocol::Bb84 { 1 << 17 } else { 1 << 19 };
        let mut links: Vec<_> = (0..number).map(|seed| Link::new(&params, 4 * seed)).collect();
        let (mut secret, mut most) = (0, 0);
        let start = Clock::now();
        while links.iter().any(|link| link.block == 0) {
            for link in &mut links {
                link.shine();
                if link.bob.is_due() {
                    secret += link.converse().map_or(0, |stats| stats.secret_bits);
                }
            }
            most = most.max(links.iter().map(|link| link.alice.held_bytes() + link.bob.held_bytes()).sum());
        }
        let seconds = start.seconds();
        // how long so many bits would last
        let lasting = secret as f64 / (number as f64 * CHANNEL);
        let busy = seconds / lasting;
        println!(
            "channels {number} x {protocol:<10} at {CHANNEL} bit/s: {busy:.3} cores busy, {:.3} of the {cores} there are; {:.0} KiB a channel with light, both ends",
            busy / cores as f64,
            most as f64 / number as f64 / 1024.0
        );
    }
}

/// The numbers of a link whose blocks are the largest.
fn large(protocol: Protocol, preset: Preset) -> LinkParams {
    let mut params = LinkParams::of(protocol, preset);
    (params.block.clicks, params.block.pace, params.z_log2) = (1_000_000, Pace::Frugal, 3);
    params.block.intensities = Intensities::LARGE_BLOCKS;
    (params.pairs.mean, params.pairs.chsh_log2) = (0.01, if protocol == Protocol::E91 { 4 } else { 6 });
    if protocol.is_entangled() {
        params.frame_pulses *= 3;
    }
    params.set_halved_share();
    params
}

/// Both ends of a link, and the fibre between.
struct Link {
    alice: Pipeline<Seeded>,
    bob: Pipeline<Seeded>,
    fibre: Fibre<Seeded>,
    /// Number of the next block.
    block: u64,
}

impl Link {
    fn new(params: &LinkParams, seed: u64) -> Self {
        Self {
            alice: Pipeline::alice(params, 16 * params.retain_pulses(), 0, seeded(seed), seeded(seed + 3)),
            bob: Pipeline::bob(params, seeded(seed + 2)),
            fibre: Fibre::new(params, seeded(seed + 1)),
            block: 0,
        }
    }

    /// One train.
    fn shine(&mut self) {
        let mut from_a = Some(self.alice.emit());
        let mut from_b: Option<Vec<u8>> = None;
        while from_a.is_some() || from_b.is_some() {
            let one = from_a.take().and_then(|frame| self.fibre.from_a(&frame).ok()).unwrap_or_default();
            let two = from_b.take().and_then(|frame| self.fibre.from_b(&frame).ok()).unwrap_or_default();
            for frame in [one.to_a, two.to_a].into_iter().flatten() {
                from_a = self.alice.light(&frame).ok().flatten().or(from_a);
            }
            for frame in [one.to_b, two.to_b].into_iter().flatten() {
                from_b = self.bob.light(&frame).ok().flatten().or(from_b);
            }
        }
    }

    /// One block, of the light there is.
    fn converse(&mut self) -> Option<BlockStats> {
        let number = self.block;
        self.block += 1;
        let first = self.bob.begin(number, Purpose::Key, b"", keys()).ok()??;
        let mut message = self.alice.accept(Offer::parse(&first).ok()?, keys()).ok()?;
        loop {
            message = match self.bob.hear(&message).ok()? {
                Step::Reply(reply) => reply,
                Step::Finished { reply, .. } => reply?,
                Step::Ignored => return None,
            };
            match self.alice.hear(&message).ok()? {
                Step::Reply(reply) => message = reply,
                Step::Finished { outcome, .. } => return Some(outcome.stats),
                Step::Ignored => return None,
            }
        }
    }
}
