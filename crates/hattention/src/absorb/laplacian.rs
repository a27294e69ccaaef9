//! Approximate factors of the Laplacians that two effects make.
//!
//! With the sign of the second effect turned, the normal equations of two effects are the Laplacian of a bipartite graph:
//! levels are its vertices, combinations its edges. Eliminating a vertex joins its neighbours with each other; drawing
//! one of these edges for each neighbour, with the weight that makes the draw right on average, keeps the factor as
//! sparse as the graph. Vertices of one or two neighbours are eliminated exactly: chains and trees cost nothing.
//!
//! # References
//! Kyng & Sachdeva (2016), Approximate Gaussian elimination for Laplacians; Gao, Kyng & Spielman (2023), Robust and
//! practical solution of Laplacian equations by approximate elimination; Correia (2016) for fixed effects as a graph.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// An approximate `L D Lᵀ` of a graph's Laplacian. Vertices are numbered in the order of their elimination.
#[derive(Debug)]
pub(super) struct Factor {
    /// The vertex that was eliminated at each step.
    order: Vec<u32>,
    /// Where its neighbours' list ends, and the sum of its weights.
    lists: Vec<(usize, f64)>,
    /// Neighbours at that time, by the step at which they are eliminated, with their share of the weight.
    shares: Vec<(u32, f64)>,
}

/// Numbers in `0 .. 1` from a seed: splitmix64.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Factor {
    /// Factors the Laplacian of a graph of weighted edges; draws follow from the seed.
    pub(super) fn of(vertices: usize, edges: &[(u32, u32, f64)], seed: u64) -> Self {
        let mut draws = Draws(seed);
        let mut around: Vec<Vec<(u32, f64)>> = vec![Vec::new(); vertices];
        for &(a, b, weight) in edges.iter().filter(|(_, _, weight)| *weight > 0.0) {
            around[a as usize].push((b, weight));
            around[b as usize].push((a, weight));
        }
        let mut degrees: Vec<u32> = around.iter().map(|list| list.len() as u32).collect();
        let mut queue: BinaryHeap<Reverse<(u32, u32)>> =
            degrees.iter().enumerate().map(|(vertex, degree)| Reverse((*degree, vertex as u32))).collect();
        let mut done = vec![false; vertices];
        let mut factor = Self {
            order: Vec::with_capacity(vertices),
            lists: Vec::with_capacity(vertices),
            shares: Vec::with_capacity(edges.len()),
        };
        while let Some(Reverse((degree, vertex))) = queue.pop() {
            // (A vertex is queued again whenever its degree changes; only its last entry counts.)
            if done[vertex as usize] || degree != degrees[vertex as usize] {
                continue;
            }
            done[vertex as usize] = true;
            let list = neighbours(std::mem::take(&mut around[vertex as usize]), &done);
            for (neighbour, copies, _) in &list {
                degrees[*neighbour as usize] -= copies;
            }
            factor.eliminate(vertex, &list, &mut draws, |a, b, weight| {
                around[a as usize].push((b, weight));
                around[b as usize].push((a, weight));
                degrees[a as usize] += 1;
                degrees[b as usize] += 1;
            });
            queue.extend(list.iter().map(|(neighbour, _, _)| Reverse((degrees[*neighbour as usize], *neighbour))));
        }
        let mut steps = vec![0; vertices];
        factor.order.iter().zip(0..).for_each(|(vertex, step)| steps[*vertex as usize] = step);
        factor.shares.iter_mut().for_each(|(neighbour, _)| *neighbour = steps[*neighbour as usize]);
        factor
    }

    /// Writes down a vertex's neighbours, lightest first, and joins these by one drawn edge each.
    fn eliminate(
        &mut self,
        vertex: u32,
        list: &[(u32, u32, f64)],
        draws: &mut Draws,
        mut join: impl FnMut(u32, u32, f64),
    ) {
        let total: f64 = list.iter().map(|(_, _, weight)| weight).sum();
        self.shares.extend(list.iter().map(|(neighbour, _, weight)| (*neighbour, weight / total)));
        self.order.push(vertex);
        self.lists.push((self.shares.len(), total));
        let mut sums: Vec<f64> = list
            .iter()
            .rev()
            .scan(0.0, |sum, (_, _, weight)| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        sums.reverse();
        for (place, (neighbour, _, weight)) in list.iter().enumerate().take(list.len().saturating_sub(1)) {
            let later = &sums[place + 1..];
            let drawn = draws.next() * later[0];
            // Sums of what is left fall: the last one that is above the draw.
            let other = later.partition_point(|left| *left > drawn).max(1) - 1;
            join(*neighbour, list[place + 1 + other].0, weight * (later[0] / total));
        }
    }

    /// Solves approximately, in place. On every connected part the right side must add up to zero.
    pub(super) fn solve(&self, values: &mut [f64]) {
        let mut by_step: Vec<f64> = self.order.iter().map(|vertex| values[*vertex as usize]).collect();
        let mut start = 0;
        for (step, (end, _)) in self.lists.iter().enumerate() {
            let value = by_step[step];
            self.shares[start..*end].iter().for_each(|(n, share)| by_step[*n as usize] += share * value);
            start = *end;
        }
        let mut end = self.shares.len();
        for (step, (_, total)) in self.lists.iter().enumerate().rev() {
            let start = if step > 0 { self.lists[step - 1].0 } else { 0 };
            // (The last vertex of a part is left at zero: solutions differ by a constant there.)
            let own = if *total > 0.0 { by_step[step] / total } else { 0.0 };
            let around = self.shares[start..end].iter();
            by_step[step] = around.fold(own, |sum, (n, share)| sum + share * by_step[*n as usize]);
            end = start;
        }
        self.order.iter().zip(by_step).for_each(|(vertex, value)| values[*vertex as usize] = value);
    }
}

/// Neighbours that are left, each once with the number of its edges, lightest first.
fn neighbours(mut list: Vec<(u32, f64)>, done: &[bool]) -> Vec<(u32, u32, f64)> {
    list.retain(|(neighbour, _)| !done[*neighbour as usize]);
    list.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let joined = list.chunk_by(|a, b| a.0 == b.0);
    let joined = joined.map(|run| (run[0].0, run.len() as u32, run.iter().map(|(_, weight)| weight).sum::<f64>()));
    let mut joined: Vec<(u32, u32, f64)> = joined.collect();
    joined.sort_unstable_by(|a, b| a.2.total_cmp(&b.2).then(a.0.cmp(&b.0)));
    joined
}
