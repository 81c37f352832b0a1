//! Random numbers in quantity, for what is random but never becomes key: CTR_DRBG over AES-256
//! without a derivation function (NIST SP 800-90A Rev. 1 section 10.2.1), seeded from the mixed source.

use std::sync::Arc;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use zeroize::{Zeroize, Zeroizing};

use super::{Entropy, EntropyError};

const KEY: usize = 32;
const BLOCK: usize = 16;
/// Seed length, key and counter together (SP 800-90A table 3).
pub(super) const SEED: usize = KEY + BLOCK;
/// Longest single request, in bytes (SP 800-90A table 3).
const REQUEST: usize = 1 << 16;
/// Bytes given out under one seed; the standard would allow 2^48 requests.
const SEEDED: usize = 1 << 20;

/// A generator of its owner's own, seeded anew from the source every mebibyte. What it gave out
/// cannot be found from what is in its memory later.
pub struct Drbg {
    source: Arc<Entropy>,
    state: State,
    /// Bytes that may still be given out under this seed.
    left: usize,
}

impl Drbg {
    /// A generator that takes its first seed when first asked.
    pub fn new(source: Arc<Entropy>) -> Self {
        Self { source, state: State::default(), left: 0 }
    }

    /// Fills `out`.
    ///
    /// # Errors
    /// [`EntropyError`] where the source gives no seed; `out` is then all zero.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        let filled = out.chunks_mut(REQUEST).try_for_each(|chunk| self.request(chunk));
        if filled.is_err() {
            out.zeroize();
        }
        filled
    }

    fn request(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        if self.left < out.len() {
            let mut seed = Zeroizing::new([0; SEED]);
            self.source.fill(&mut *seed)?;
            self.state.update(&seed)?;
            self.left = SEEDED;
        }
        self.left -= out.len();
        self.state.generate(out)
    }
}

/// The working state. All zero, it is what instantiation starts from.
#[derive(Default)]
pub(super) struct State {
    key: Zeroizing<[u8; KEY]>,
    counter: Zeroizing<u128>,
}

impl State {
    /// CTR_DRBG_Update (section 10.2.1.2): instantiates a zero state, reseeds any other.
    pub(super) fn update(&mut self, provided: &[u8; SEED]) -> Result<(), EntropyError> {
        let cipher = self.cipher()?;
        self.replace(&cipher, provided)
    }

    /// CTR_DRBG_Generate (section 10.2.1.5.1) without additional input.
    pub(super) fn generate(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        let cipher = self.cipher()?;
        out.fill(0);
        self.encrypt(&cipher, out)?;
        self.replace(&cipher, &[0; SEED])
    }

    fn replace(&mut self, cipher: &EncryptingKey, provided: &[u8; SEED]) -> Result<(), EntropyError> {
        let mut next = Zeroizing::new(*provided);
        self.encrypt(cipher, &mut *next)?;
        let (key, counter) = next.split_at(KEY);
        self.key.copy_from_slice(key);
        *self.counter = counter.iter().fold(0, |number, &byte| number << 8 | u128::from(byte));
        Ok(())
    }

    fn cipher(&self) -> Result<EncryptingKey, EntropyError> {
        let key = UnboundCipherKey::new(&AES_256, &*self.key);
        key.and_then(EncryptingKey::ctr).map_err(|_| EntropyError::Conditioner)
    }

    /// Adds the next whole blocks of the key stream; the counter is advanced before each.
    fn encrypt(&mut self, cipher: &EncryptingKey, in_out: &mut [u8]) -> Result<(), EntropyError> {
        let first = self.counter.wrapping_add(1).to_be_bytes();
        *self.counter = self.counter.wrapping_add(in_out.len().div_ceil(BLOCK) as u128);
        let context = EncryptionContext::Iv128(FixedLength::from(first));
        cipher.less_safe_encrypt(in_out, context).map(drop).map_err(|_| EntropyError::Conditioner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Drbg, REQUEST, SEED, SEEDED, State};
    use crate::entropy::Entropy;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// KM-03: NIST CAVP, CTR_DRBG AES-256 without derivation function, with a reseed, the second of
    /// two requests of 64 bytes.
    #[test]
    fn the_vectors_of_nist_come_out() {
        let lines = include_str!("drbg/cavp.txt").lines().filter(|line| !line.starts_with('#'));
        let mut vectors = 0;
        for line in lines {
            let mut fields = line.split(' ');
            let mut field = || fields.next().unwrap();
            let (seed, reseed): ([u8; SEED], [u8; SEED]) = (bytes(field()), bytes(field()));
            let wanted: [u8; 64] = bytes(field());
            let mut state = State::default();
            state.update(&seed).unwrap();
            state.update(&reseed).unwrap();
            let mut out = [0; 64];
            state.generate(&mut out).unwrap();
            state.generate(&mut out).unwrap();
            assert_eq!(out, wanted);
            vectors += 1;
        }
        assert_eq!(vectors, 5);
    }

    /// KM-03: the counter carries over its whole width, and a request that is no whole number of
    /// blocks spends the block it ends in.
    #[test]
    fn a_request_is_the_key_stream_from_the_next_block_on() {
        let start = |counter: u128| State { key: [7; 32].into(), counter: counter.into() };
        for counter in [0, u128::from(u32::MAX) - 1, u128::MAX - 1] {
            let (mut long, mut short) = (start(counter), start(counter));
            let cipher = long.cipher().unwrap();
            let mut whole = [0; 80];
            long.encrypt(&cipher, &mut whole).unwrap();
            let (mut first, mut rest) = ([0; 25], [0; 48]);
            short.encrypt(&cipher, &mut first).unwrap();
            short.encrypt(&cipher, &mut rest).unwrap();
            assert_eq!((&first[..], &rest[..]), (&whole[..25], &whole[32..]));
            assert_eq!(long.counter, short.counter);
        }
    }

    /// KM-03: seeds are fresh for every generator and every mebibyte.
    #[test]
    fn a_generator_is_seeded_from_the_source_again_and_again() {
        let source = Arc::new(Entropy::system().unwrap());
        let (mut one, mut other) = (Drbg::new(Arc::clone(&source)), Drbg::new(source));
        let (mut left, mut right) = (vec![0; 2 * REQUEST + 1], vec![0; 2 * REQUEST + 1]);
        one.fill(&mut left).unwrap();
        other.fill(&mut right).unwrap();
        assert_ne!(left, right);
        assert_eq!(one.left, SEEDED - left.len());
        one.fill(&mut vec![0; SEEDED - REQUEST]).unwrap();
        assert_eq!(one.left, SEEDED - 2 * REQUEST, "the last two requests had a new seed");
    }
}
