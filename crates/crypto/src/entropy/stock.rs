//! Full-entropy bytes kept ahead of demand.

use zeroize::{Zeroize, Zeroizing};

/// Most bytes kept.
pub(crate) const CAPACITY: usize = 64 * 1024;
/// Bytes left for keys of the mesh: bulk demand takes nothing below this.
pub(crate) const RESERVE: usize = CAPACITY / 2;

/// A bounded stack of bytes, each given out once and wiped as it leaves.
pub(crate) struct Stock(Zeroizing<Vec<u8>>);

impl Stock {
    pub(crate) fn new() -> Self {
        // Never grows past this, so that no copy is left behind by a reallocation.
        Self(Zeroizing::new(Vec::with_capacity(CAPACITY)))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> usize {
        CAPACITY - self.0.len()
    }

    /// Keeps `bytes`, as far as they fit.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let fit = bytes.len().min(self.room());
        self.0.extend_from_slice(&bytes[..fit]);
    }

    /// XORs stock into the front of `out`, leaving `keep` bytes behind; how many bytes that were.
    pub(crate) fn take_into(&mut self, out: &mut [u8], keep: usize) -> usize {
        let taken = self.0.len().saturating_sub(keep).min(out.len());
        let start = self.0.len() - taken;
        for (byte, fresh) in out.iter_mut().zip(&self.0[start..]) {
            *byte ^= fresh;
        }
        self.0[start..].zeroize();
        self.0.truncate(start);
        taken
    }

    /// Wipes everything.
    pub(crate) fn clear(&mut self) {
        self.0.as_mut_slice().zeroize();
        self.0.clear();
    }
}
