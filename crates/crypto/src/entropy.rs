//! Entropy (KM-03): every raw source is health-tested (NIST SP 800-90B section 4), all sources are
//! mixed, and a source that fails stops key generation for good.
//!
//! What is given out is the XOR of three terms, each of which alone would do:
//!
//! - **stock**: full-entropy bytes, where there are any. Each 32 bytes are conditioned from 80 fresh
//!   bytes of every physical source, credited with [`CREDIT`] bits a byte: 64 bits more than come out,
//!   which is what SP 800-90B section 3.1.5.1.2 asks for full entropy. With stock the construction is
//!   that of an RBG3(XOR) (SP 800-90C): **full entropy**.
//! - a **CTR_DRBG** over AES-256, seeded from every source at once and anew each second that it is
//!   used. Alone it is that of an RBG2(P), or of an RBG2(NP) without a physical source: 256 bits
//!   against every computation, quantum ones included, and no more.
//! - the **generators** of others, the operating system's first: a machine whose memory is put back to
//!   an earlier state gives other bytes than it gave then.
//!
//! Raw entropy may be slower than demand. No consumer ever waits for it: a [`Filler`] of the process
//! fills the stock ahead, asleep nineteen parts in twenty, and beyond the stock the answer is
//! computational. [`Report`] says which was given, and what this machine can pay for.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::{Zeroize, Zeroizing};

mod conditioner;
pub mod drbg;
pub mod filler;
pub mod health;
pub mod report;
pub mod source;
mod stock;

use drbg::SEED;
use filler::{FIRST_SEED, Filler, Meter, Monotonic, RESEED_BYTES, RESEED_EVERY, Turn};
use health::{HealthTests, Tripped};
use report::{Given, Report, SourceReport};
use source::{HardwareSource, Kind, OsSource, RawSource};
use stock::{CAPACITY, RESERVE, Stock};

/// Min-entropy credited to each raw byte of a physical source, in bits. RDSEED claims 8; half is
/// credited.
pub const CREDIT: u32 = 4;

/// Raw bytes drawn from each physical source for 32 bytes of full entropy: 256 + 64 bits.
const BLOCK_DRAW: usize = (256 + 64) / CREDIT as usize;
/// Raw bytes drawn from each source for a seed: 384 + 64 bits.
const SEED_DRAW: usize = (8 * SEED + 64) / CREDIT as usize;
/// Samples tested, and thrown away, before a source is used (SP 800-90B section 4.3).
const STARTUP: usize = 1_024;
/// Bytes given out at a time.
const CHUNK: usize = 1_024;
/// Stock under which the filler starts again.
const LOW: usize = CAPACITY / 4 * 3;
/// Most bytes given out under one seed: a filler that died is noticed.
const SEEDED_MOST: u64 = 1 << 34;

/// Why there is no entropy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntropyError {
    /// A health test tripped. Latched: this instance never gives bytes again.
    #[error("entropy source `{source_name}` failed its {test}; make no keys on this machine until it is examined")]
    Unhealthy {
        /// The source.
        source_name: &'static str,
        /// The test.
        test: Tripped,
    },
    /// A source gives nothing, and has not for a while. Not latched: it may come back.
    #[error("entropy source `{source_name}` gives nothing now; try again")]
    Unavailable {
        /// The source.
        source_name: &'static str,
    },
    /// No source at all.
    #[error("there is no entropy source; configure at least one")]
    NoSource,
    /// No thread for the filler.
    #[error("the system gives no thread to gather entropy; raise its limit of threads")]
    NoThread,
    /// The conditioner failed.
    #[error("the entropy conditioner failed; restart the process and report it")]
    Conditioner,
}

/// The mixed, health-tested source of every key. Shared by reference between threads.
pub struct Entropy {
    shared: Arc<Shared>,
    sources: Vec<SourceReport>,
}

impl Entropy {
    /// The operating system's generator, and the processor's source where it has one.
    ///
    /// # Errors
    /// [`EntropyError`] where a source fails its start-up test.
    pub fn system() -> Result<Self, EntropyError> {
        let mut sources: Vec<Box<dyn RawSource>> = vec![Box::new(OsSource)];
        if let Some(hardware) = HardwareSource::detect() {
            sources.push(Box::new(hardware));
        }
        Self::new(sources)
    }

    /// Exactly these sources, each started up, and a thread that fills ahead until this is dropped.
    ///
    /// # Errors
    /// [`EntropyError`] where there is none or one fails its start-up test.
    pub fn new(sources: Vec<Box<dyn RawSource>>) -> Result<Self, EntropyError> {
        let (entropy, filler) = Self::paced(sources, Arc::new(Monotonic::default()))?;
        let thread = std::thread::Builder::new().name("entropy".to_owned());
        thread.spawn(move || filler.run()).map_err(|_| EntropyError::NoThread)?;
        Ok(entropy)
    }

    /// Exactly these sources, filled by a [`Filler`] that the caller turns, in the time of `meter`.
    ///
    /// # Errors
    /// [`EntropyError`] where there is none or one fails its start-up test.
    pub fn paced(sources: Vec<Box<dyn RawSource>>, meter: Arc<dyn Meter>) -> Result<(Self, Filler), EntropyError> {
        if sources.is_empty() {
            return Err(EntropyError::NoSource);
        }
        let (mut physical, mut generators, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        for source in sources {
            let mut tested = Tested::new(source);
            reports.push(tested.start_up(&*meter)?);
            match tested.source.kind() {
                Kind::Physical => physical.push(tested),
                Kind::Generator => generators.push(tested),
            }
        }
        let pool = Pool {
            stock: Stock::new(),
            filling: true,
            resting: false,
            closed: false,
            drbg: drbg::State::default(),
            generators,
            since_seed: 0,
            failed: None,
            given: Given::default(),
        };
        let shared = Arc::new(Shared { pool: Mutex::new(pool), wake: Condvar::new() });
        let mut filler = Filler::new(Arc::clone(&shared), meter, physical);
        filler.prime()?;
        Ok((Self { shared, sources: reports }, filler))
    }

    /// Fills `out` for keys: full entropy as far as the stock goes, 256 bits computational beyond.
    ///
    /// # Errors
    /// [`EntropyError`]; `out` is then all zero. A failed health test is latched.
    pub fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.shared.give(out, 0)
    }

    /// As [`Self::fill`], for demand without end, the raw bits of quantum links: it leaves half of
    /// the stock to keys.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_bulk(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.shared.give(out, RESERVE)
    }

    /// Fills `out` for salts, nonces and whatever else is public: computational, and no stock is
    /// spent on it.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_public(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.shared.give(out, CAPACITY)
    }

    /// As [`Self::fill_public`], an array.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn array<const N: usize>(&self) -> Result<[u8; N], EntropyError> {
        let mut out = [0; N];
        self.fill_public(&mut out)?;
        Ok(out)
    }

    /// The names of the sources in use.
    pub fn source_names(&self) -> Vec<&'static str> {
        self.sources.iter().map(|source| source.name).collect()
    }

    /// What was measured, what this machine can pay for, and what was given out so far.
    pub fn report(&self) -> Report {
        let pool = self.shared.lock();
        Report { sources: self.sources.clone(), given: pool.given, stock: pool.stock.len() }
    }
}

impl Drop for Entropy {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entropy({:?})", self.source_names())
    }
}

struct Tested {
    source: Box<dyn RawSource>,
    tests: HealthTests,
}

impl Tested {
    fn new(source: Box<dyn RawSource>) -> Self {
        Self { source, tests: HealthTests::new(CREDIT) }
    }

    fn name(&self) -> &'static str {
        self.source.name()
    }

    /// One try; how many bytes came, each tested.
    fn poll(&mut self, out: &mut [u8]) -> Result<usize, EntropyError> {
        let got = self.source.poll(out).min(out.len());
        let tested = out[..got].iter().try_for_each(|sample| self.tests.check(*sample));
        tested.map_err(|test| EntropyError::Unhealthy { source_name: self.name(), test })?;
        Ok(got)
    }

    /// Tests [`STARTUP`] samples, throws them away, and measures what they cost.
    fn start_up(&mut self, meter: &dyn Meter) -> Result<SourceReport, EntropyError> {
        let mut discarded = Zeroizing::new([0; STARTUP]);
        let (start, mut filled) = (meter.now(), 0);
        while filled < STARTUP {
            filled += self.poll(&mut discarded[filled..])?;
            if meter.now().saturating_sub(start) > FIRST_SEED {
                return Err(EntropyError::Unavailable { source_name: self.name() });
            }
        }
        let spent = meter.now().saturating_sub(start).max(Duration::from_nanos(1));
        let bytes_per_second = (STARTUP as f64 / spent.as_secs_f64()) as u64;
        Ok(SourceReport { name: self.name(), kind: self.source.kind(), bytes_per_second })
    }
}

/// What a filler is asked for.
struct Wants {
    seed: bool,
    stock: bool,
    /// The seed there is was used.
    used: bool,
}

/// What consumers and filler share. Nobody holds the lock while trying a physical source.
struct Shared {
    pool: Mutex<Pool>,
    wake: Condvar,
}

struct Pool {
    stock: Stock,
    filling: bool,
    /// The filler sleeps until a consumer wakes it.
    resting: bool,
    closed: bool,
    drbg: drbg::State,
    generators: Vec<Tested>,
    /// Bytes given out under this seed.
    since_seed: u64,
    failed: Option<EntropyError>,
    given: Given,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pool> {
        // A thread that died while holding the lock left a state that is still only mixed onwards.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, out: &mut [u8], keep: usize) -> Result<(), EntropyError> {
        let mut pool = self.lock();
        let given = out.chunks_mut(CHUNK).try_for_each(|chunk| pool.chunk(chunk, keep));
        if given.is_err() {
            out.zeroize();
        }
        if std::mem::take(&mut pool.resting) {
            drop(pool);
            self.wake.notify_all();
        }
        given
    }

    fn wants(&self, since: Duration) -> Wants {
        let mut pool = self.lock();
        let used = pool.since_seed > 0;
        if pool.stock.room() == 0 {
            pool.filling = false;
        } else if pool.stock.len() < LOW {
            pool.filling = true;
        }
        let seed = used && (since >= RESEED_EVERY || pool.since_seed >= RESEED_BYTES);
        Wants { seed, stock: pool.filling, used }
    }

    fn is_full(&self) -> bool {
        self.lock().stock.room() == 0
    }

    fn put(&self, block: &[u8]) {
        let mut pool = self.lock();
        pool.stock.put(block);
        pool.heal();
    }

    /// Adds what each generator brings to a seed.
    fn generators_into(&self, raw: &mut Vec<u8>) -> Result<(), EntropyError> {
        let mut pool = self.lock();
        let mut bytes = Zeroizing::new([0; SEED_DRAW]);
        for at in 0..pool.generators.len() {
            if let Err(error) = pool.generator(at, &mut *bytes) {
                pool.fail(error.clone());
                return Err(error);
            }
            raw.extend_from_slice(&*bytes);
        }
        Ok(())
    }

    fn reseed(&self, seed: &[u8; SEED]) -> Result<(), EntropyError> {
        let mut pool = self.lock();
        pool.drbg.update(seed)?;
        pool.since_seed = 0;
        pool.heal();
        Ok(())
    }

    fn fail(&self, error: EntropyError) {
        self.lock().fail(error);
    }

    fn is_latched(&self) -> bool {
        matches!(self.lock().failed, Some(EntropyError::Unhealthy { .. }))
    }

    /// Sleeps as `turn` says; `false` where nobody is left to fill for.
    fn sleep(&self, turn: Turn) -> bool {
        let mut pool = self.lock();
        match turn {
            Turn::Sleep(span) => {
                let waited = self.wake.wait_timeout_while(pool, span, |pool| !pool.closed);
                let (pool, _) = waited.unwrap_or_else(PoisonError::into_inner);
                !pool.closed
            }
            Turn::Rest => {
                pool.resting = true;
                let waited = self.wake.wait_while(pool, |pool| pool.resting && !pool.closed);
                !waited.unwrap_or_else(PoisonError::into_inner).closed
            }
        }
    }
}

impl Pool {
    /// A health test that failed stays failed, and what is kept may be of the same source.
    fn fail(&mut self, error: EntropyError) {
        if matches!(error, EntropyError::Unhealthy { .. }) {
            self.stock.clear();
        }
        if !matches!(self.failed, Some(EntropyError::Unhealthy { .. })) {
            self.failed = Some(error);
        }
    }

    /// A source that was away is back.
    fn heal(&mut self) {
        if matches!(self.failed, Some(EntropyError::Unavailable { .. })) {
            self.failed = None;
        }
    }

    fn generator(&mut self, at: usize, out: &mut [u8]) -> Result<(), EntropyError> {
        let Some(tested) = self.generators.get_mut(at) else { return Ok(()) };
        // A generator is ready at once, or it is broken: a second try finds an interrupted one ready.
        const TRIES: usize = 16;
        let mut filled = 0;
        for _ in 0..TRIES {
            filled += tested.poll(&mut out[filled..])?;
            if filled == out.len() {
                return Ok(());
            }
        }
        Err(EntropyError::Unavailable { source_name: tested.name() })
    }

    fn chunk(&mut self, out: &mut [u8], keep: usize) -> Result<(), EntropyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.since_seed >= SEEDED_MOST {
            return Err(EntropyError::Unavailable { source_name: "filler" });
        }
        self.drbg.generate(out)?;
        let mut term = Zeroizing::new([0; CHUNK]);
        for at in 0..self.generators.len() {
            let term = &mut term[..out.len()];
            if let Err(error) = self.generator(at, term) {
                if matches!(error, EntropyError::Unhealthy { .. }) {
                    self.fail(error.clone());
                }
                return Err(error);
            }
            out.iter_mut().zip(&*term).for_each(|(byte, other)| *byte ^= other);
        }
        let full = self.stock.take_into(out, keep);
        self.since_seed += out.len() as u64;
        self.given.count(full, out.len() - full, keep);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
