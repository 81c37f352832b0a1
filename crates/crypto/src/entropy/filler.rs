//! Fills the stock ahead of demand: one task that works a little and sleeps a lot.
//!
//! Raw entropy can be slow (on some processors 24 of 25 tries of RDSEED find nothing, each at the
//! price of a microsecond). So nobody who needs a key ever tries; the filler does, for at most one
//! part in [`DUTY`] of its time, as its own clock measures it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::conditioner::Conditioner;
use super::drbg::SEED;
use super::{BLOCK_DRAW, EntropyError, SEED_DRAW, Shared, Tested};

/// One part of time in so many is spent on tries: 5 % of a core.
pub const DUTY: u32 = 20;
/// Longest stretch of tries, and what a clock that does not move still costs.
const SLICE: Duration = Duration::from_millis(2);
/// Tries between two looks at the clock.
const TRIES: usize = 16;
/// The generator is seeded anew after so long, where it gave anything out.
pub const RESEED_EVERY: Duration = Duration::from_secs(1);
/// ... and after so many bytes.
pub(crate) const RESEED_BYTES: u64 = 1 << 20;
/// A source that gives no byte for so long is gone until it gives one.
pub(crate) const ABSENT_AFTER: Duration = Duration::from_secs(10);

/// Longest time for the first seed, the start-up test's samples and the first stock.
pub(super) const FIRST_SEED: Duration = Duration::from_millis(500);
const FIRST_STOCK: Duration = Duration::from_millis(10);
const FIRST_BLOCKS: usize = 32;

/// What measures the filler's time. The system's is [`Monotonic`]; a simulation brings its own.
pub trait Meter: Send + Sync {
    /// Time since some fixed moment; never falls.
    fn now(&self) -> Duration;
}

/// The monotonic clock.
#[derive(Debug)]
pub struct Monotonic(Instant);

impl Default for Monotonic {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Meter for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What the filler does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Sleep so long, then take the next turn.
    Sleep(Duration),
    /// Nothing is wanted: sleep until a consumer wakes it.
    Rest,
}

/// Samples on their way to becoming a block or a seed.
struct Draw {
    bytes: Zeroizing<Vec<u8>>,
    filled: usize,
}

/// The task that fills. Whoever owns it calls [`Self::turn`] and sleeps as told.
pub struct Filler {
    shared: Arc<Shared>,
    meter: Arc<dyn Meter>,
    physical: Vec<Tested>,
    draws: Vec<Draw>,
    conditioner: Conditioner,
    seeded_at: Duration,
    /// When the slowest source last gave a byte.
    heard_at: Duration,
}

impl Filler {
    pub(super) fn new(shared: Arc<Shared>, meter: Arc<dyn Meter>, physical: Vec<Tested>) -> Self {
        let draw = || Draw { bytes: Zeroizing::new(vec![0; SEED_DRAW]), filled: 0 };
        let draws = physical.iter().map(|_| draw()).collect();
        let now = meter.now();
        let conditioner = Conditioner::default();
        Self { shared, meter, physical, draws, conditioner, seeded_at: now, heard_at: now }
    }

    /// Makes the first seed and a little stock: what a process makes first, its identity, is made
    /// of full entropy where the source can pay for it at once.
    pub(super) fn prime(&mut self) -> Result<(), EntropyError> {
        let end = self.meter.now() + FIRST_SEED;
        if !self.draw_until(SEED_DRAW, end)? {
            return Err(EntropyError::Unavailable { source_name: self.slowest() });
        }
        self.seed()?;
        let end = self.meter.now() + FIRST_STOCK;
        for _ in 0..FIRST_BLOCKS {
            if self.physical.is_empty() || !self.draw_until(BLOCK_DRAW, end)? {
                break;
            }
            self.block()?;
        }
        Ok(())
    }

    /// Works for a moment, where something is wanted, and says how long to sleep.
    pub fn turn(&mut self) -> Turn {
        let start = self.meter.now();
        let wants = self.shared.wants(start.saturating_sub(self.seeded_at));
        let length = match (wants.seed, wants.stock && !self.physical.is_empty()) {
            (true, _) => SEED_DRAW,
            (false, true) => BLOCK_DRAW,
            (false, false) => {
                self.heard_at = start;
                return if wants.used { Turn::Sleep(RESEED_EVERY) } else { Turn::Rest };
            }
        };
        if let Err(error) = self.work(wants.seed, length, start + SLICE) {
            self.shared.fail(error);
            if self.shared.is_latched() {
                return Turn::Rest;
            }
        }
        let end = self.meter.now();
        Turn::Sleep(end.saturating_sub(start).max(SLICE / 8) * (DUTY - 1))
    }

    fn work(&mut self, mut seed: bool, mut length: usize, end: Duration) -> Result<(), EntropyError> {
        while self.draw_until(length, end)? {
            if seed {
                self.seed()?;
                (seed, length) = (false, BLOCK_DRAW);
            } else {
                self.block()?;
            }
            if self.physical.is_empty() || self.shared.is_full() || self.meter.now() >= end {
                break;
            }
        }
        let now = self.meter.now();
        if now.saturating_sub(self.heard_at) >= ABSENT_AFTER {
            return Err(EntropyError::Unavailable { source_name: self.slowest() });
        }
        Ok(())
    }

    fn slowest(&self) -> &'static str {
        let behind = self.draws.iter().zip(&self.physical).min_by_key(|(draw, _)| draw.filled);
        behind.map_or("os", |(_, tested)| tested.name())
    }

    /// Tries until each source has given `length` samples or the time is up; whether they have.
    fn draw_until(&mut self, length: usize, end: Duration) -> Result<bool, EntropyError> {
        loop {
            let mut whole = true;
            let mut heard = true;
            for (tested, draw) in self.physical.iter_mut().zip(&mut self.draws) {
                let before = draw.filled;
                for _ in 0..TRIES {
                    if draw.filled >= length {
                        break;
                    }
                    draw.filled += tested.poll(&mut draw.bytes[draw.filled..length])?;
                }
                whole &= draw.filled >= length;
                heard &= draw.filled > before || draw.filled >= length;
            }
            let now = self.meter.now();
            if heard {
                self.heard_at = now;
            }
            if whole || now >= end {
                return Ok(whole);
            }
        }
    }

    /// The samples drawn, taken out.
    fn drawn(&mut self, length: usize) -> Zeroizing<Vec<u8>> {
        let mut raw = Zeroizing::new(Vec::with_capacity((self.draws.len() + 2) * SEED_DRAW));
        for draw in &mut self.draws {
            raw.extend_from_slice(&draw.bytes[..length]);
            draw.bytes.fill(0);
            draw.filled = 0;
        }
        raw
    }

    fn block(&mut self) -> Result<(), EntropyError> {
        let raw = self.drawn(BLOCK_DRAW);
        let block = self.conditioner.condition::<32>(&raw)?;
        self.shared.put(&*block);
        Ok(())
    }

    fn seed(&mut self) -> Result<(), EntropyError> {
        let mut raw = self.drawn(SEED_DRAW);
        self.shared.generators_into(&mut raw)?;
        let seed = self.conditioner.condition::<SEED>(&raw)?;
        self.shared.reseed(&seed)?;
        self.seeded_at = self.meter.now();
        Ok(())
    }

    /// Takes turns until every consumer is gone.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let turn = self.turn();
            if !shared.sleep(turn) {
                return;
            }
        }
    }
}
