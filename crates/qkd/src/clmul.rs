//! Carry-less multiplication of 64-bit polynomials over GF(2).

/// The 127-bit product of `a` and `b`, without carries.
///
/// Bits are spread four apart, so that the carries of ordinary multiplication fall into holes and
/// are masked off; at most 16 terms meet in a sum, which needs 5 bits, so the operands' fifth
/// class of carries is avoided by multiplying halves of 32 bits (8 terms, 4 bits).
#[inline]
pub(crate) fn clmul(a: u64, b: u64) -> u128 {
    let (a0, a1, b0, b1) = (a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32);
    let low = clmul32(a0, b0);
    let high = clmul32(a1, b1);
    let middle = clmul32(a0 ^ a1, b0 ^ b1) ^ low ^ high;
    u128::from(low) ^ u128::from(middle) << 32 ^ u128::from(high) << 64
}

#[inline]
fn clmul32(a: u32, b: u32) -> u64 {
    const HOLES: u64 = 0x1111_1111_1111_1111;
    let (a, b) = (u64::from(a), u64::from(b));
    let class = |x: u64, i: u32| x & HOLES << i;
    let mut out = 0;
    for i in 0..4 {
        let mut sum = 0;
        for j in 0..4 {
            sum ^= class(a, j).wrapping_mul(class(b, (i + 4 - j) % 4));
        }
        out ^= class(sum, i);
    }
    out
}
