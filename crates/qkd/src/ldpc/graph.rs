use std::collections::BTreeSet;

use crate::cascade::split_mix;
use crate::ldpc::Plan;

/// Where a row of circulants meets a column: check z of the row takes in bit
/// `(z + shift) mod size` of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) column: usize,
    pub(super) shift: usize,
}

/// The code of a block.
pub(super) struct Graph {
    pub(super) size: usize,
    /// The edges of each row, by column.
    pub(super) rows: Vec<Vec<Edge>>,
}

impl Graph {
    /// The same graph for all who name this plan.
    pub(super) fn new(plan: &Plan) -> Self {
        let mut growth = Growth {
            size: plan.size,
            state: (plan.columns() as u64) << 32 | (plan.rows as u64) << 16 | plan.size as u64,
            rows: vec![Vec::new(); plan.rows],
            differences: BTreeSet::new(),
        };
        for (column, degree) in degrees(plan).into_iter().enumerate() {
            growth.place(column, degree, plan);
        }
        Self { size: growth.size, rows: growth.rows }
    }

    /// The first halves of the edges of row `row`: every other one, so that neighbours on a chain of
    /// columns of degree 2 part.
    pub(super) fn half(&self, row: usize) -> Vec<Edge> {
        self.rows[row].iter().copied().step_by(2).collect()
    }

    /// The other half.
    pub(super) fn other_half(&self, row: usize) -> Vec<Edge> {
        self.rows[row].iter().copied().skip(1).step_by(2).collect()
    }

    /// The parities of one row of checks over `bits`, one byte each.
    pub(super) fn parities(&self, edges: &[Edge], bits: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.size];
        for edge in edges {
            let column = &bits[edge.column * self.size..(edge.column + 1) * self.size];
            let (wrapped, first) = column.split_at(edge.shift);
            out.iter_mut().zip(first.iter().chain(wrapped)).for_each(|(out, bit)| *out ^= bit);
        }
        out
    }
}

/// Degrees of the columns, ascending. Columns of degree 2 make one chain, a few have many edges,
/// the others 3; the shares were found by simulation.
fn degrees(plan: &Plan) -> Vec<usize> {
    let rate = plan.rows as f64 / plan.columns() as f64;
    let (two, many, most) = shares(rate);
    let two = ((two * plan.rows as f64) as usize).min(plan.rows - 1);
    let many = (many * plan.columns() as f64) as usize;
    (0..plan.columns())
        .map(|column| match column {
            _ if column < two => 2,
            _ if column >= plan.columns() - many => most.min(plan.rows),
            _ => 3,
        })
        .collect()
}

/// Columns of degree 2 to a row, share of columns with many edges, and how many these have, for a
/// code with so many rows to a column.
fn shares(rows: f64) -> (f64, f64, usize) {
    match rows {
        r if r < 0.15 => (0.9, 0.35, 12),
        r if r < 0.25 => (0.7, 0.25, 14),
        r if r < 0.42 => (0.7, 0.2, 14),
        _ => (0.9, 0.2, 10),
    }
}

struct Growth {
    size: usize,
    state: u64,
    rows: Vec<Vec<Edge>>,
    /// For each two rows that a column joins, the difference of its shifts.
    differences: BTreeSet<(usize, usize, usize)>,
}

impl Growth {
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(split_mix(&mut self.state)) * n as u128) >> 64) as usize
    }

    fn place(&mut self, column: usize, degree: usize, plan: &Plan) {
        let mut placed: Vec<(usize, usize)> = Vec::new();
        for k in 0..degree {
            let row = if degree == 2 && column + 1 < plan.rows { column + k } else { self.thinnest(&placed) };
            let start = self.below(self.size);
            let closes = |&shift: &usize| {
                placed
                    .iter()
                    .any(|&(other, theirs)| self.differences.contains(&self.difference(row, shift, other, theirs)))
            };
            // the first shift that closes no cycle of length 4
            let free = (start..start + self.size).map(|shift| shift % self.size).find(|shift| !closes(shift));
            let shift = free.unwrap_or(start);
            for &(other, theirs) in &placed {
                let difference = self.difference(row, shift, other, theirs);
                self.differences.insert(difference);
            }
            placed.push((row, shift));
            self.rows[row].push(Edge { column, shift });
        }
    }

    /// A row with the fewest edges, none of this column.
    fn thinnest(&mut self, placed: &[(usize, usize)]) -> usize {
        let free = |row: &usize| placed.iter().all(|(other, _)| other != row);
        let least = (0..self.rows.len()).filter(free).map(|row| self.rows[row].len()).min().unwrap_or(0);
        let thin: Vec<usize> = (0..self.rows.len()).filter(free).filter(|&row| self.rows[row].len() == least).collect();
        let at = self.below(thin.len().max(1));
        thin.get(at).copied().unwrap_or(0)
    }

    fn difference(&self, row: usize, shift: usize, other: usize, theirs: usize) -> (usize, usize, usize) {
        if row < other {
            (row, other, (shift + self.size - theirs) % self.size)
        } else {
            (other, row, (theirs + self.size - shift) % self.size)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Graph, degrees};
    use crate::ldpc::Plan;

    #[test]
    fn columns_have_their_degrees_and_close_no_short_cycle() {
        for (bits, qber) in [(40_000, 0.01), (16_384, 0.05), (40_000, 0.03), (200_000, 0.1)] {
            let plan = Plan::new(bits, qber);
            let graph = Graph::new(&plan);
            let mut found = vec![0; plan.columns()];
            let mut differences = BTreeSet::new();
            let mut cycles = 0;
            for (i, row) in graph.rows.iter().enumerate() {
                assert!(row.iter().all(|edge| edge.shift < graph.size));
                row.iter().for_each(|edge| found[edge.column] += 1);
                for (j, other) in graph.rows.iter().enumerate().skip(i + 1) {
                    for edge in row {
                        let theirs = other.iter().filter(|theirs| theirs.column == edge.column);
                        theirs.for_each(|theirs| {
                            let difference = (edge.shift + graph.size - theirs.shift) % graph.size;
                            cycles += usize::from(!differences.insert((i, j, difference)));
                        });
                    }
                }
                let columns: BTreeSet<usize> = row.iter().map(|edge| edge.column).collect();
                assert_eq!(columns.len(), row.len());
            }
            assert_eq!(found, degrees(&plan));
            assert_eq!(cycles, 0, "{bits} {qber}");
        }
    }

    /// Both ends build the graph for themselves: a change of it is a change of the protocol.
    #[test]
    fn the_graph_of_a_plan_stays_the_same() {
        let graph = Graph::new(&Plan::new(20_000, 0.03));
        let edges = graph.rows.iter().flatten();
        let sum = edges.fold(0_u64, |sum, edge| sum.rotate_left(7) ^ (edge.column << 16 | edge.shift) as u64);
        assert_eq!((graph.size, graph.rows.len(), sum), (140, 32, 8_952_058_707_782_710_587));
    }
}
