//! GF(2^16) as a tower: GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (the field of FIPS 197), and over it
//! W² + W + c. An element is `low + high·W`, the high byte above the low one.
//!
//! Its Cantor basis v_0 = 1, v_i² + v_i = v_{i-1} (Cantor 1989) begins with a basis of GF(2^8),
//! so that small point numbers are elements of the small field.

/// The constant c of the tower: the smallest for which W² + W + c has no root.
pub(crate) const TOWER: u8 = 0x20;

/// Dimension of the field over GF(2).
pub(crate) const BITS: usize = 16;

/// Product in GF(2^8).
pub(crate) const fn mul8(a: u8, b: u8) -> u8 {
    let (mut a, mut sum, mut i) = (a, 0, 0);
    while i < 8 {
        if b >> i & 1 == 1 {
            sum ^= a;
        }
        a = a << 1 ^ if a >> 7 == 1 { 0x1b } else { 0 };
        i += 1;
    }
    sum
}

/// Product in GF(2^16).
pub(crate) fn mul(a: u16, b: u16) -> u16 {
    let ([a0, a1], [b0, b1]) = (a.to_le_bytes(), b.to_le_bytes());
    let high = mul8(a1, b1);
    let low = mul8(a0, b0) ^ mul8(TOWER, high);
    u16::from_le_bytes([low, mul8(a0, b1) ^ mul8(a1, b0) ^ high])
}

/// v_0 … v_15.
pub(crate) fn cantor_basis() -> [u16; BITS] {
    // y² + y is linear over GF(2): bring its images of the sixteen bits to echelon form
    let mut rows = [(0_u16, 0_u16); BITS];
    for j in 0..BITS {
        let (mut image, mut source) = (mul(1 << j, 1 << j) ^ 1 << j, 1_u16 << j);
        while image != 0 {
            let row = &mut rows[image.ilog2() as usize];
            if row.0 == 0 {
                *row = (image, source);
                break;
            }
            image ^= row.0;
            source ^= row.1;
        }
    }
    let mut basis = [1_u16; BITS];
    for i in 1..BITS {
        let (mut rest, mut root) = (basis[i - 1], 0);
        while rest != 0 && rows[rest.ilog2() as usize].0 != 0 {
            let row = rows[rest.ilog2() as usize];
            rest ^= row.0;
            root ^= row.1;
        }
        basis[i] = root;
    }
    basis
}

/// The first eight elements no two of which are conjugate, each with 16 conjugates: the product of
/// their minimal polynomials over GF(2) has degree 128.
pub(crate) fn eight_classes() -> [u16; 8] {
    let mut found = [0; 8];
    let (mut count, mut element) = (0, 0x100_u16);
    while count < 8 {
        let conjugate =
            std::iter::successors(Some(element), |&x| Some(mul(x, x))).take(BITS).any(|x| found.contains(&x));
        if !conjugate {
            found[count] = element;
            count += 1;
        }
        element += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{TOWER, cantor_basis, eight_classes, mul, mul8};

    #[test]
    fn the_tower_is_a_field() {
        assert!((0..=255_u8).all(|y| mul8(y, y) ^ y != TOWER));
        assert!((1..TOWER).all(|c| (0..=255_u8).any(|y| mul8(y, y) ^ y == c)));
        // FIPS 197, section 4.2
        assert_eq!(mul8(0x57, 0x83), 0xc1);
        for a in (1..=u16::MAX).step_by(97) {
            let power = std::iter::successors(Some(a), |&x| Some(mul(x, x))).nth(16);
            assert_eq!(power, Some(a));
            assert_eq!(mul(a, mul(0x1234, 0xabcd)), mul(mul(a, 0x1234), 0xabcd));
            assert_eq!(mul(a, 0x1234 ^ 0xabcd), mul(a, 0x1234) ^ mul(a, 0xabcd));
        }
    }

    #[test]
    fn the_basis_is_cantors_and_starts_in_the_small_field() {
        let basis = cantor_basis();
        for (i, pair) in basis.windows(2).enumerate() {
            assert_eq!(mul(pair[1], pair[1]) ^ pair[1], pair[0], "{i}");
        }
        assert!(basis[..8].iter().all(|v| *v < 256));
        let mut span = vec![0_u16];
        basis.iter().for_each(|v| span.extend(span.clone().iter().map(|s| s ^ v)));
        span.sort_unstable();
        span.dedup();
        assert_eq!(span.len(), 1 << 16);
    }

    #[test]
    fn the_classes_are_distinct() {
        let mut all: Vec<u16> = Vec::new();
        for z in eight_classes() {
            all.extend(std::iter::successors(Some(z), |&x| Some(mul(x, x))).take(16));
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 128);
    }
}
