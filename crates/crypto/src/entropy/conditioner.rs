//! HMAC-SHA-512 as HKDF uses it, a vetted conditioning component (SP 800-90B section 3.1.5.1.1, RFC
//! 5869), keyed by a state that is replaced with every output: what is in memory later does not tell
//! what was given out earlier.

use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Salt};
use types::Label;
use zeroize::Zeroizing;

use super::EntropyError;

const STATE: usize = 64;

#[derive(Default)]
pub(super) struct Conditioner(State);

struct State(Zeroizing<[u8; STATE]>);

impl Default for State {
    fn default() -> Self {
        Self(Zeroizing::new([0; STATE]))
    }
}

impl Conditioner {
    /// `N` bytes of `raw`, 64 at most. They have full entropy where `raw` brings 64 bits more than
    /// they have (SP 800-90B section 3.1.5.1.2).
    pub(super) fn condition<const N: usize>(&mut self, raw: &[u8]) -> Result<Zeroizing<[u8; N]>, EntropyError> {
        let mut okm = Zeroizing::new(vec![0; STATE + N]);
        let prk = Salt::new(HKDF_SHA512, &*self.0.0).extract(raw);
        prk.expand(&[Label::ENTROPY.as_str().as_bytes()], Length(okm.len()))
            .and_then(|expanded| expanded.fill(&mut okm))
            .map_err(|_| EntropyError::Conditioner)?;
        self.0.0.copy_from_slice(&okm[..STATE]);
        let mut out = Zeroizing::new([0; N]);
        out.copy_from_slice(&okm[STATE..]);
        Ok(out)
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
