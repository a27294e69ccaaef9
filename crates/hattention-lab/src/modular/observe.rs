//! What attention and weights say of themselves on the way.

use hattention::thermodynamics::Ensemble;

use super::model::{Shape, place};
use crate::error::Error;

/// Numbers of a model, over all pairs. Energies are minus inner products of queries and keys, the temperature is `√d_h`.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The canonical `C = Var_p(E)/T²` of the query "=" (keys of a, b and itself), the mean over pairs of every head. Shape: `[heads]`.
    pub capacity: Vec<f64>,
    /// The same of the query of b, which reads a and itself; the mean over heads. (The query of a reads itself alone: its C is zero. Neither
    /// is read by the output.)
    pub capacity_second: f64,
    /// The entropy of "=", the mean over pairs and heads.
    pub entropy: f64,
    /// The free energy of "=", the mean over pairs and heads.
    pub free_energy: f64,
    /// The pooled variance of the scaled scores of "=", unweighted, over keys, pairs and heads.
    pub pooled_last: f64,
    /// The pooled variance of all scaled scores, of three queries with three keys, masks left out: what `Var(QKᵀ/√d)` is.
    pub pooled_all: f64,
    /// `‖W_Q W_Kᵀ‖_F`, the root of the mean square over heads.
    pub query_key: f64,
    /// The norm of all parameters.
    pub weights: f64,
}

/// Tables of a head: `[rows][width]`.
struct Table {
    rows: Vec<f64>,
    width: usize,
}

impl Table {
    fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.width..(i + 1) * self.width]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| a.mul_add(*b, sum))
}

/// Mean and variance of numbers that count as often as they are told.
#[derive(Clone, Copy, Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, x: f64, times: f64) {
        self.count += times;
        let off = x - self.mean;
        self.mean += off * times / self.count;
        self.squares += times * off * (x - self.mean);
    }

    fn variance(&self) -> f64 {
        self.squares / self.count
    }
}

impl Observed {
    /// Of parameters in their order, row by row.
    pub(super) fn of(shape: &Shape, parameters: &[Vec<f64>]) -> Result<Self, Error> {
        let Shape { modulus: p, width: d, heads, .. } = *shape;
        let (width, scale) = (shape.head_width(), 1.0 / (shape.head_width() as f64).sqrt());
        let (token, position) = (&parameters[place::TOKEN], &parameters[place::POSITION]);
        // The inputs of the first and second token and of "=".
        let input = |at: usize, row: usize| -> Vec<f64> {
            token[row * d..(row + 1) * d].iter().zip(&position[at * d..(at + 1) * d]).map(|(x, y)| x + y).collect()
        };
        let inputs: Vec<Vec<Vec<f64>>> =
            vec![(0..p).map(|a| input(0, a)).collect(), (0..p).map(|b| input(1, b)).collect(), vec![input(2, p)]];
        let table = |of: usize, head: usize, rows: &[Vec<f64>]| {
            let matrix = &parameters[of];
            let column =
                |x: &[f64], c: usize| (0..d).fold(0.0, |s, k| x[k].mul_add(matrix[k * d + head * width + c], s));
            Table { rows: rows.iter().flat_map(|x| (0..width).map(move |c| column(x, c))).collect(), width }
        };
        let (mut all, mut last) = (Spread::default(), Spread::default());
        let (mut capacity, mut second, mut entropy, mut free, mut products) = (Vec::new(), 0.0, 0.0, 0.0, 0.0);
        let pairs = (p * p) as f64;
        for head in 0..heads {
            let of = |which: usize| -> Vec<Table> { inputs.iter().map(|rows| table(which, head, rows)).collect() };
            let (queries, keys) = (of(place::QUERY), of(place::KEY));
            let score = |(i, a): (usize, usize), (j, b): (usize, usize)| scale * dot(queries[i].row(a), keys[j].row(b));
            // "=" with a, with b, and with itself.
            let own = score((2, 0), (2, 0));
            let [first, then] = [0, 1].map(|j| (0..p).map(|b| score((2, 0), (j, b))).collect::<Vec<f64>>());
            let across: Vec<f64> = (0..p * p).map(|k| score((1, k % p), (0, k / p))).collect();
            let within: Vec<f64> = (0..p).map(|b| score((1, b), (1, b))).collect();
            let mut sum = [0.0; 4];
            for pair in 0..p * p {
                let (a, b) = (pair / p, pair % p);
                // Energies over T at temperature one: C, S and F/T are the same.
                let seen = |energies: &[f64]| -> Result<_, Error> { Ok(Ensemble::of(energies, 1.0)?.observables()) };
                let of_last = seen(&[-first[a], -then[b], -own])?.unwrap_or_default();
                let of_second = seen(&[-across[pair], -within[b]])?.unwrap_or_default();
                let found = [of_last.heat_capacity, of_second.heat_capacity, of_last.entropy, of_last.free_energy];
                sum.iter_mut().zip(found).for_each(|(sum, x)| *sum += x);
            }
            capacity.push(sum[0] / pairs);
            second += sum[1] / pairs / heads as f64;
            entropy += sum[2] / pairs / heads as f64;
            free += sum[3] / pairs / heads as f64 / scale;
            for x in first.iter().chain(&then) {
                last.add(*x, p as f64);
                all.add(*x, p as f64);
            }
            last.add(own, pairs);
            all.add(own, pairs);
            for (k, x) in across.iter().enumerate() {
                all.add(*x, 1.0);
                all.add(score((0, k / p), (1, k % p)), 1.0);
            }
            for b in 0..p {
                all.add(within[b], p as f64);
                all.add(score((0, b), (0, b)), p as f64);
                all.add(score((0, b), (2, 0)), p as f64);
                all.add(score((1, b), (2, 0)), p as f64);
            }
            // ‖W_Q W_Kᵀ‖² = tr(W_QᵀW_Q W_KᵀW_K).
            let gram = |of: usize| -> Vec<f64> {
                let matrix = &parameters[of];
                let entry = |i: usize, j: usize| {
                    (0..d).map(|k| matrix[k * d + head * width + i] * matrix[k * d + head * width + j]).sum::<f64>()
                };
                (0..width * width).map(|k| entry(k / width, k % width)).collect()
            };
            products += dot(&gram(place::QUERY), &gram(place::KEY));
        }
        Ok(Self {
            capacity,
            capacity_second: second,
            entropy,
            free_energy: free,
            pooled_last: last.variance(),
            pooled_all: all.variance(),
            query_key: (products / heads as f64).sqrt(),
            weights: parameters.iter().flatten().map(|w| w * w).sum::<f64>().sqrt(),
        })
    }
}
