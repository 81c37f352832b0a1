//! Stock belongs to one start of both KMEs. Each start is named by a fresh random number, and the bits of a sheet
//! are masked by a stream that only these two starts make: the same bits under other starts are other keys.
//!
//! A KME's own store cannot tell whether it was put back to an earlier state. So nothing in it from an earlier start
//! is ever given out: a restored disk, of either end or of both at once, repeats no key and no name of one.

use crypto::{AuthKey, Secret32, kdf};
use types::{Hash, Label};

use crate::secret::RawBits;

/// Bytes of mask drawn at a time.
const CHUNK: usize = 512;

/// The starts of the two KMEs of a sheet, the master's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Starts {
    pub(crate) master: Hash,
    pub(crate) slave: Hash,
}

impl Starts {
    /// Masks bits as they come from the supply, or takes the mask off again. Uniform bits stay uniform.
    pub(crate) fn mask(&self, id_key: &AuthKey, bits: &mut RawBits) {
        for (number, chunk) in bits.expose_mut().chunks_mut(CHUNK).enumerate() {
            let number = (number as u64).to_be_bytes();
            let info: [&[u8]; 3] = [self.master.as_bytes(), self.slave.as_bytes(), &number];
            let stream = kdf::derive::<CHUNK>(Label::KME_STARTS, id_key.expose(), &[], &info);
            chunk.iter_mut().zip(stream.iter()).for_each(|(bit, mask)| *bit ^= mask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Starts;
    use crate::secret::RawBits;
    use crypto::{AuthKey, Secret32};
    use types::Hash;

    /// S7: the same bits under another start of either KME, or of both, have no byte stretch in common with the keys
    /// that they were before.
    #[test]
    fn s7_the_same_bits_are_other_keys_after_another_start() {
        let (id_key, bits) = (AuthKey::from_bytes(&[7; 32]), vec![0x5a_u8; 4_096 * 8]);
        let start = |number: u8| Hash::new([number; 32]);
        let masked = |master, slave| {
            let mut out = RawBits::from_slice(&bits);
            Starts { master: start(master), slave: start(slave) }.mask(&id_key, &mut out);
            out.expose().to_vec()
        };
        let all = [masked(1, 2), masked(3, 2), masked(1, 4), masked(3, 4), masked(2, 1)];
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert!(one.chunks(8).zip(other.chunks(8)).all(|(a, b)| a != b));
            }
        }
        let mut back = RawBits::from_slice(&all[0]);
        Starts { master: start(1), slave: start(2) }.mask(&id_key, &mut back);
        assert_eq!(back.expose(), bits);
    }
}
