//! What attention and weights say of themselves on the way.

use hattention::matrix::Matrix;
use hattention::thermodynamics::Ensemble;
use rayon::prelude::*;

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

    fn merged(self, other: Self) -> Self {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let (apart, share) = (other.mean - self.mean, other.count / count);
        let squares = self.squares + other.squares + apart * apart * self.count * share;
        Self { count, mean: self.mean + share * apart, squares }
    }

    fn variance(&self) -> f64 {
        self.squares / self.count
    }
}

impl Observed {
    /// Of parameters in their order, row by row.
    pub(super) fn of(shape: &Shape, parameters: &[Vec<f64>]) -> Result<Self, Error> {
        let Shape { modulus: p, width: d, heads, .. } = *shape;
        let width = shape.head_width();
        let (token, position) = (&parameters[place::TOKEN], &parameters[place::POSITION]);
        // The inputs of the first and second token and of "=".
        let input = |at: usize, row: usize| -> Vec<f64> {
            token[row * d..(row + 1) * d].iter().zip(&position[at * d..(at + 1) * d]).map(|(x, y)| x + y).collect()
        };
        let rows = (0..p).map(|a| input(0, a)).chain((0..p).map(|b| input(1, b))).chain([input(2, p)]);
        let inputs = Matrix { rows: 2 * p + 1, columns: d, data: rows.flatten().collect() };
        let square = |at: usize| Matrix { rows: d, columns: d, data: parameters[at].clone() };
        let times = |at: usize| inputs.times(&square(at)).map_err(Error::from);
        let (queries, keys) = (times(place::QUERY)?, times(place::KEY)?);
        let parts: Vec<Part> =
            (0..heads).into_par_iter().map(|head| part(shape, head, &queries, &keys)).collect::<Result<_, Error>>()?;
        let mut products = 0.0;
        for head in 0..heads {
            // ‖W_Q W_Kᵀ‖² = tr(W_QᵀW_Q W_KᵀW_K).
            let gram = |of: usize| -> Vec<f64> {
                let rows = || parameters[of].chunks_exact(d).map(|row| &row[head * width..(head + 1) * width]);
                let mut sums = vec![0.0; width * width];
                for row in rows() {
                    for (sums, x) in sums.chunks_exact_mut(width).zip(row) {
                        sums.iter_mut().zip(row).for_each(|(sum, y)| *sum += x * y);
                    }
                }
                sums
            };
            products += dot(&gram(place::QUERY), &gram(place::KEY));
        }
        let mean = |of: fn(&Part) -> f64| parts.iter().map(of).sum::<f64>() / heads as f64;
        let pooled = |of: fn(&Part) -> Spread| {
            parts.iter().map(of).fold(Spread::default(), |all, part| all.merged(part)).variance()
        };
        Ok(Self {
            capacity: parts.iter().map(|part| part.capacity).collect(),
            capacity_second: mean(|part| part.second),
            entropy: mean(|part| part.entropy),
            free_energy: mean(|part| part.free),
            pooled_last: pooled(|part| part.last),
            pooled_all: pooled(|part| part.all),
            query_key: (products / heads as f64).sqrt(),
            weights: parameters.iter().flatten().map(|w| w * w).sum::<f64>().sqrt(),
        })
    }
}

/// What a head adds.
struct Part {
    capacity: f64,
    second: f64,
    entropy: f64,
    free: f64,
    last: Spread,
    all: Spread,
}

/// A head over all pairs: rows of queries and keys are those of first tokens, of second ones, and of "=".
fn part(shape: &Shape, head: usize, queries: &Matrix, keys: &Matrix) -> Result<Part, Error> {
    let (p, width) = (shape.modulus, shape.head_width());
    let scale = 1.0 / (width as f64).sqrt();
    let own = head * width..(head + 1) * width;
    let score = |query: usize, key: usize| scale * dot(&queries.row(query)[own.clone()], &keys.row(key)[own.clone()]);
    let (second, equals) = (|b: usize| p + b, 2 * p);
    let itself = score(equals, equals);
    let first: Vec<f64> = (0..p).map(|a| score(equals, a)).collect();
    let then: Vec<f64> = (0..p).map(|b| score(equals, second(b))).collect();
    let within: Vec<f64> = (0..p).map(|b| score(second(b), second(b))).collect();
    let (mut last, mut all, mut sums) = (Spread::default(), Spread::default(), [0.0; 4]);
    // Energies over T at temperature one: C and S are the same.
    let seen =
        |energies: &[f64]| -> Result<_, Error> { Ok(Ensemble::of(energies, 1.0)?.observables().unwrap_or_default()) };
    for a in 0..p {
        for b in 0..p {
            let across = score(second(b), a);
            let of_last = seen(&[-first[a], -then[b], -itself])?;
            let of_second = seen(&[-across, -within[b]])?;
            let found = [of_last.heat_capacity, of_second.heat_capacity, of_last.entropy, of_last.free_energy];
            sums.iter_mut().zip(found).for_each(|(sum, x)| *sum += x);
            all.add(across, 1.0);
            all.add(score(a, second(b)), 1.0);
        }
    }
    let (times, pairs) = (p as f64, (p * p) as f64);
    for x in first.iter().chain(&then) {
        last.add(*x, times);
        all.add(*x, times);
    }
    last.add(itself, pairs);
    all.add(itself, pairs);
    for b in 0..p {
        [within[b], score(b, b), score(b, equals), score(second(b), equals)]
            .into_iter()
            .for_each(|x| all.add(x, times));
    }
    let [capacity, second, entropy, free] = sums.map(|sum| sum / pairs);
    Ok(Part { capacity, second, entropy, free: free / scale, last, all })
}

#[cfg(test)]
mod tests {
    use super::super::model::{Form, Model};
    use super::*;
    use crate::seeds::generator;
    use crate::train::{Device, numbers};

    /// Against attention of three tokens, pair by pair.
    #[test]
    fn tables_say_what_all_pairs_do() {
        let shape = Shape { modulus: 5, width: 12, heads: 3, neurons: 4 };
        let device = Device::Cpu.plain().unwrap();
        let model = Model::new(shape, Form::Lean);
        let starts = model.starts(|name| generator("test", "observe", name, 0), burn::tensor::DType::F64, &device);
        let parameters: Vec<Vec<f64>> = starts.into_iter().map(|p| numbers(p * 4.0).unwrap()).collect();
        let found = Observed::of(&shape, &parameters).unwrap();
        let (p, d, width) = (shape.modulus, shape.width, shape.head_width());
        let (mut all, mut last, mut capacity, mut second, mut entropy) =
            (Vec::new(), Vec::new(), vec![0.0; 3], 0.0, 0.0);
        for pair in 0..p * p {
            let tokens = [pair / p, pair % p, p];
            let x: Vec<Vec<f64>> = (0..3)
                .map(|t| {
                    (0..d)
                        .map(|c| parameters[place::TOKEN][tokens[t] * d + c] + parameters[place::POSITION][t * d + c])
                        .collect()
                })
                .collect();
            let times = |x: &[f64], at: usize, c: usize| (0..d).map(|k| x[k] * parameters[at][k * d + c]).sum::<f64>();
            for head in 0..3 {
                let score = |i: usize, j: usize| {
                    let of = |c: usize| times(&x[i], place::QUERY, c) * times(&x[j], place::KEY, c);
                    (head * width..(head + 1) * width).map(of).sum::<f64>() / (width as f64).sqrt()
                };
                all.extend((0..9).map(|k| score(k / 3, k % 3)));
                let scores = [score(2, 0), score(2, 1), score(2, 2)];
                last.extend(scores);
                let of = |scores: &[f64]| {
                    Ensemble::of(&scores.iter().map(|s| -s).collect::<Vec<_>>(), 1.0).unwrap().observables().unwrap()
                };
                capacity[head] += of(&scores).heat_capacity / 25.0;
                entropy += of(&scores).entropy / 75.0;
                second += of(&[score(1, 0), score(1, 1)]).heat_capacity / 75.0;
            }
        }
        let variance = |x: &[f64]| {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64
        };
        let pairs = [
            (found.pooled_all, variance(&all)),
            (found.pooled_last, variance(&last)),
            (found.capacity_second, second),
            (found.entropy, entropy),
            (found.capacity[1], capacity[1]),
        ];
        assert!(pairs.iter().all(|(a, b)| (a - b).abs() < 1e-12 * (1.0 + b.abs())), "{pairs:?}");
        let squares: f64 = parameters.iter().flatten().map(|w| w * w).sum();
        assert_eq!(found.weights, squares.sqrt());
        let entry = |head: usize, i: usize, j: usize| {
            let of = |c: usize| parameters[place::QUERY][i * d + c] * parameters[place::KEY][j * d + c];
            (head * width..(head + 1) * width).map(of).sum::<f64>()
        };
        let products: f64 = (0..3).map(|head| (0..d * d).map(|k| entry(head, k / d, k % d).powi(2)).sum::<f64>()).sum();
        assert!((found.query_key - (products / 3.0).sqrt()).abs() < 1e-10);
    }
}
