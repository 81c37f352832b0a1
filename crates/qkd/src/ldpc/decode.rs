use crate::ldpc::graph::{Edge, Graph};

/// Passes over all checks before a frame is given up.
const PASSES: usize = 80;

/// Certainty of the bits that fill the last circulant, and bound of all others.
const CERTAIN: f32 = 40.0;

/// Checks whose parities are known, as rows of `size` checks each.
pub(super) struct Layer {
    pub(super) edges: Vec<Edge>,
    /// Parity of the errors in each check: 0 or 1.
    pub(super) odd: Vec<u8>,
}

/// Finds the likeliest errors with the given parities: belief propagation, row by row (Mansour and
/// Shanbhag 2003), the two-argument check rule with its correction (Hu et al. 2001). `None` where it
/// does not settle. `bits` of the string are real, errors of probability `qber`.
pub(super) fn decode(graph: &Graph, layers: &[Layer], columns: usize, bits: usize, qber: f64) -> Option<Vec<u8>> {
    let size = graph.size;
    let prior = ((1.0 - qber) / qber).ln() as f32;
    let mut belief = vec![CERTAIN; columns * size];
    belief[..bits].fill(prior);
    let mut told: Vec<Vec<f32>> = layers.iter().map(|layer| vec![0.0; layer.edges.len() * size]).collect();
    let mut room = Room::default();
    for _ in 0..PASSES {
        for (layer, told) in layers.iter().zip(&mut told) {
            room.update(layer, told, &mut belief, size);
        }
        let errors: Vec<u8> = belief.iter().map(|&b| u8::from(b < 0.0)).collect();
        if layers.iter().all(|layer| graph.parities(&layer.edges, &errors) == layer.odd) {
            return Some(errors);
        }
    }
    None
}

#[derive(Default)]
struct Room {
    asked: Vec<f32>,
    forward: Vec<f32>,
    backward: Vec<f32>,
}

impl Room {
    fn update(&mut self, layer: &Layer, told: &mut [f32], belief: &mut [f32], size: usize) {
        let degree = layer.edges.len();
        self.asked.resize(degree * size, 0.0);
        self.forward.resize(degree * size, 0.0);
        self.backward.resize(size, 0.0);
        for ((edge, told), asked) in layer.edges.iter().zip(told.chunks(size)).zip(self.asked.chunks_mut(size)) {
            let (wrapped, first) = belief[edge.column * size..(edge.column + 1) * size].split_at(edge.shift);
            let (head, tail) = asked.split_at_mut(first.len());
            subtract(head, first, told);
            subtract(tail, wrapped, &told[first.len()..]);
        }
        // what the edges before each one say, the parity included
        for (start, odd) in self.forward.iter_mut().zip(&layer.odd) {
            *start = if *odd == 1 { -CERTAIN } else { CERTAIN };
        }
        for k in 1..degree {
            let (before, here) = self.forward[(k - 1) * size..].split_at_mut(size);
            here[..size].copy_from_slice(before);
            combine(&mut here[..size], &self.asked[(k - 1) * size..k * size]);
        }
        self.backward.fill(CERTAIN);
        for (k, edge) in layer.edges.iter().enumerate().rev() {
            let range = k * size..(k + 1) * size;
            let (asked, told) = (&self.asked[range.clone()], &mut told[range.clone()]);
            told.copy_from_slice(&self.forward[range]);
            combine(told, &self.backward);
            combine(&mut self.backward, asked);
            let (wrapped, first) = belief[edge.column * size..(edge.column + 1) * size].split_at_mut(edge.shift);
            let cut = first.len();
            add(first, asked, told);
            add(wrapped, &asked[cut..], &told[cut..]);
        }
    }
}

fn subtract(out: &mut [f32], belief: &[f32], told: &[f32]) {
    out.iter_mut().zip(belief).zip(told).for_each(|((out, belief), told)| *out = belief - told);
}

fn add(belief: &mut [f32], asked: &[f32], told: &[f32]) {
    belief.iter_mut().zip(asked).zip(told).for_each(|((belief, asked), told)| *belief = asked + told);
}

/// Belief in the parity of two bits: 2·artanh(tanh(a/2)·tanh(b/2)).
fn combine(a: &mut [f32], b: &[f32]) {
    for (a, &b) in a.iter_mut().zip(b) {
        let (x, y) = (a.abs(), b.abs());
        let (least, gap) = if x < y { (x, y - x) } else { (y, x - y) };
        let value = least + rest(x + y) - rest(gap);
        let value = if value > 0.0 { value } else { 0.0 };
        *a = f32::from_bits(value.to_bits() | ((a.to_bits() ^ b.to_bits()) & 0x8000_0000));
    }
}

/// ln(1 + e^-x) for x ≥ 0: e^-x as the 32nd power of two terms of e^(-x/32), the logarithm by the
/// polynomial of Abramowitz and Stegun 1964, 4.1.43.
fn rest(x: f32) -> f32 {
    let x = if x < 32.0 { x } else { 32.0 };
    let mut power = 1.0 - x * (1.0 / 32.0) + x * x * (1.0 / 2048.0);
    for _ in 0..5 {
        power *= power;
    }
    let tail = 0.289_475 + power * (-0.136_063 + power * 0.032_158);
    power * (0.999_496 + power * (-0.491_909 + power * tail))
}

#[cfg(test)]
mod tests {
    use super::{combine, rest};

    #[test]
    fn the_check_rule_is_that_of_two_bits() {
        for x in (0..400).map(|i| i as f32 / 10.0) {
            assert!((rest(x) - (-x).exp().ln_1p()).abs() < 2e-3, "{x}");
            for y in (0..40).map(|i| i as f32 / 3.0) {
                let mut found = [x, -x];
                combine(&mut found, &[y, y]);
                let exact = 2.0 * ((f64::from(x) / 2.0).tanh() * (f64::from(y) / 2.0).tanh()).min(1.0 - 1e-16).atanh();
                assert!((f64::from(found[0]) - exact).abs() < 5e-3, "{x} {y}");
                assert!((found[0] + found[1]).abs() < f32::EPSILON);
            }
        }
    }
}
