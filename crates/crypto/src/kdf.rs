//! Derivation and authentication: HKDF-SHA256 (RFC 5869) and HMAC-SHA256 (RFC 2104), always under
//! a label of the product's tree.

use aws_lc_rs::{constant_time, hmac};
use types::Label;
use zeroize::{Zeroize, Zeroizing};

use crate::secret::Secret32;

const HASH_LEN: usize = 32;

/// Derives `N` secret bytes (at most 8,160) from `ikm`: HKDF-SHA256 with this salt; the expansion's
/// info is `label` and then each of `info`, all length-prefixed.
pub fn derive<const N: usize>(label: Label, ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * HASH_LEN, "RFC 5869 section 2.3 bounds the output") }
    let mut out = Zeroizing::new([0; N]);
    hkdf(salt, ikm, &label.message(info), &mut *out);
    out
}

/// As [`derive()`], into a secret of its own type.
pub fn derive_secret<T: Secret32>(label: Label, ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> T {
    T::fill_with(|out| hkdf(salt, ikm, &label.message(info), out))
}

// The library's HKDF reports errors for lengths only. This is RFC 5869 sections 2.2 and 2.3 over
// the library's HMAC, so that the callers, whose lengths are checked, have no error to drop.
fn hkdf(salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8]) {
    let extract = hmac::Key::new(hmac::HMAC_SHA256, salt);
    let mut prk = copy_tag(&hmac::sign(&extract, ikm));
    let expand = hmac::Key::new(hmac::HMAC_SHA256, &prk);
    prk.zeroize();
    let mut block = [0; HASH_LEN];
    for (counter, chunk) in (1..=255_u8).zip(out.chunks_mut(HASH_LEN)) {
        let mut context = hmac::Context::with_key(&expand);
        if counter > 1 {
            context.update(&block);
        }
        context.update(info);
        context.update(&[counter]);
        block = copy_tag(&context.sign());
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
    block.zeroize();
}

fn copy_tag(tag: &hmac::Tag) -> [u8; HASH_LEN] {
    let mut out = [0; HASH_LEN];
    out.copy_from_slice(tag.as_ref());
    out
}

/// HMAC-SHA256 under `key` over `label` and each of `parts`, all length-prefixed.
pub fn mac<K: Secret32>(key: &K, label: Label, parts: &[&[u8]]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
    copy_tag(&hmac::sign(&key, &label.message(parts)))
}

/// Whether `tag` is [`mac`] of the same arguments; takes the same time wherever they differ.
pub fn mac_verify<K: Secret32>(key: &K, label: Label, parts: &[&[u8]], tag: &[u8]) -> bool {
    equal(&mac(key, label, parts), tag)
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests;
