//! Families of designs, from the easiest to the worst there are.

use hattention::double_double::DoubleDouble;

use crate::support::{Case, Source, Values};

/// Twins `x₂ = x₁ + 10⁻ᵏ d` in doubles, and in pairs where doubles cannot tell them apart.
pub fn near_twins() -> Vec<Case> {
    (0..=40)
        .flat_map(|k| {
            let mut source = Source(100 + k);
            let rows = 12;
            let first = source.reals(rows);
            let other = source.reals(rows);
            let gaps: Vec<f64> = source.reals(rows).iter().map(|d| d * 10f64.powi(-(k as i32))).collect();
            let target = source.integers(rows, -1000, 1000);
            let dense = (k <= 15).then(|| {
                let twin = first.iter().zip(&gaps).map(|(x, d)| x + d).collect();
                let columns = vec![first.clone(), twin, other.clone()];
                Case::dense(format!("twins at 1e-{k}"), columns, target.clone(), k % 2 == 0)
            });
            let twin = Values::of_pairs(first.iter().zip(&gaps).map(|(&x, &d)| DoubleDouble::new(x, d)));
            let columns = vec![Values::Dense(first), Values::Dense(other), twin];
            let pairs = Case::new(format!("pairs of twins at 1e-{k}"), columns, target, k % 2 == 1);
            dense.into_iter().chain([pairs])
        })
        .collect()
}

/// `(1, …)` beside `(1, 2⁻ᵏ, …)`: integers times powers of two, whose products are so short that arithmetic of few bits
/// cannot even see a remainder.
pub fn binary_twins(exponents: &[i32]) -> Vec<Case> {
    exponents
        .iter()
        .flat_map(|&k| {
            let gap = 2f64.powi(-k);
            let columns = vec![vec![1.0, 0.0, 0.0], vec![1.0, gap, 0.0]];
            let plain = Case::dense(format!("binary twins at 2^-{k}"), columns, vec![1.0, 2.0, 4.0], false);
            let x = vec![1.0, 2.0, 3.0, 5.0, 8.0, 13.0];
            let lo = [0.0, gap, 0.0, -gap, gap, 0.0].to_vec();
            let columns = vec![Values::Dense(x.clone()), Values::Pair(x, lo)];
            let target = vec![1.0, 0.0, 2.0, -1.0, 5.0, 3.0];
            // A pair's second part is at most half a unit in the last place of the first.
            let pair = (k >= 53).then(|| Case::new(format!("binary pairs at 2^-{k}"), columns, target, k % 2 == 0));
            [Some(plain), pair].into_iter().flatten()
        })
        .collect()
}

/// Combinations of earlier columns, at random distances from their span, in random units.
pub fn combinations() -> Vec<Case> {
    (0..60)
        .map(|seed| {
            let mut source = Source(1100 + seed);
            let (rows, count) = (6 + source.integer(0, 14) as usize, 2 + source.integer(0, 3) as usize);
            let mut columns: Vec<Vec<DoubleDouble>> = Vec::new();
            for _ in 0..count {
                let distance = 10f64.powi(-source.integer(0, 11) as i32);
                let factors: Vec<f64> = (0..columns.len()).map(|_| source.integer(-3, 3) as f64).collect();
                let entry = |row: usize, noise: f64| {
                    let combination = columns
                        .iter()
                        .zip(&factors)
                        .fold(DoubleDouble::ZERO, |sum, (column, &f)| sum + column[row] * DoubleDouble::from(f));
                    combination + DoubleDouble::from(noise * distance)
                };
                let noise = source.reals(rows);
                let column = (0..rows).map(|row| entry(row, noise[row])).collect();
                columns.push(column);
            }
            let columns = columns
                .into_iter()
                .map(|column| {
                    let unit = 2f64.powi(source.integer(-200, 200) as i32);
                    Values::of_pairs(column.into_iter().map(|d| DoubleDouble { hi: d.hi * unit, lo: d.lo * unit }))
                })
                .collect();
            let case = Case::new(format!("combinations {seed}"), columns, source.reals(rows), seed % 2 == 0);
            if seed % 5 == 0 {
                let weights = source.reals(rows).iter().map(|w| w.abs()).collect();
                return case.weighted("weighted", weights);
            }
            case
        })
        .collect()
}

/// Several collinearities at several pivots: `x_{j+1} = x_j + 10⁻ᵏ d_j`.
pub fn chains_of_twins() -> Vec<Case> {
    (1..=18)
        .map(|k| {
            let mut source = Source(200 + k);
            let (rows, columns) = (14, 5);
            let mut last: Vec<DoubleDouble> = source.reals(rows).into_iter().map(DoubleDouble::from).collect();
            let mut all = Vec::new();
            for _ in 0..columns {
                all.push(Values::of_pairs(last.clone()));
                let gaps = source.reals(rows);
                let step = |(x, d): (&DoubleDouble, &f64)| *x + DoubleDouble::from(d * 10f64.powi(-(k as i32)));
                last = last.iter().zip(&gaps).map(step).collect();
            }
            Case::new(format!("chain of twins at 1e-{k}"), all, source.integers(rows, -99, 99), k % 2 == 0)
        })
        .collect()
}

pub fn powers(x: impl Fn(usize) -> f64, rows: usize, degree: u32) -> Vec<Values> {
    (1..=degree).map(|k| Values::of_pairs((0..rows).map(|i| DoubleDouble::from(x(i)).powi(k)))).collect()
}

/// Raw powers on intervals ever farther from zero.
pub fn far_polynomials() -> Vec<Case> {
    let mut cases = Vec::new();
    for (degree, starts) in [
        (2, vec![0.0, 1e2, 1e4, 1e6, 1e9]),
        (3, vec![0.0, 1e2, 1e3, 1e5, 1e7, 1e9]),
        (5, vec![-30.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6]),
        (7, vec![-30.0, 1e1, 1e2, 1e3, 3e3, 1e4, 1e5, 1e6]),
        (8, vec![0.0, 1e2, 1e3, 1e5, 1e6]),
    ] {
        for start in starts {
            let mut source = Source(300 + degree as u64);
            let rows = 40;
            let columns = powers(|i| start + i as f64, rows, degree);
            let target = source.reals(rows).iter().enumerate().map(|(i, e)| (i as f64 * 0.3).sin() + 0.1 * e).collect();
            cases.push(Case::new(format!("degree {degree} from {start}"), columns, target, true));
        }
    }
    cases
}

/// `1 / (i + j − 1)`, rounded to doubles and to pairs.
pub fn hilbert(rows: usize, columns: usize, pairs: bool) -> Vec<Values> {
    (0..columns)
        .map(|j| {
            let entry = |i: usize| DoubleDouble::ONE / DoubleDouble::from((i + j + 1) as f64);
            if pairs {
                Values::of_pairs((0..rows).map(entry))
            } else {
                Values::Dense((0..rows).map(|i| entry(i).hi).collect())
            }
        })
        .collect()
}

pub fn hilberts() -> Vec<Case> {
    (2..=12)
        .flat_map(|size| {
            [false, true].map(|pairs| {
                let rows = size + size % 3;
                let kind = if pairs { "pairs" } else { "doubles" };
                let target = Source(400 + size as u64).integers(rows, -50, 50);
                Case::new(format!("Hilbert {size} in {kind}"), hilbert(rows, size, pairs), target, false)
            })
        })
        .collect()
}

/// Columns and rows of all sizes.
pub fn graded() -> Vec<Case> {
    let mut cases = Vec::new();
    for step in [1, 5, 20, 60, 75] {
        let mut source = Source(500 + step as u64);
        let rows = 15;
        let columns =
            (0..5).map(|j| source.reals(rows).iter().map(|x| x * 10f64.powi(step * (j - 2))).collect()).collect();
        cases.push(Case::dense(format!("columns graded by 1e{step}"), columns, source.reals(rows), step % 2 == 0));
    }
    for step in [1, 3, 10, 20] {
        let mut source = Source(550 + step as u64);
        let rows = 10;
        let mut column = || -> Vec<f64> { (0..rows).map(|i| source.real() * 10f64.powi(-step * i)).collect() };
        let columns = vec![column(), column(), column()];
        cases.push(Case::dense(format!("rows graded by 1e{step}"), columns, column(), step % 2 == 1));
    }
    for step in [1, 4, 15] {
        let mut source = Source(580 + step as u64);
        let rows = 16;
        let columns = (0..3).map(|_| source.reals(rows)).collect();
        let weights = (0..rows as i32).map(|i| (1.5 + source.real()) * 10f64.powi(step * (i - 8))).collect();
        let target = source.reals(rows);
        cases.push(
            Case::dense("random", columns, target, true).weighted(&format!("weights graded by 1e{step}"), weights),
        );
    }
    cases
}

/// `offset + i · small`: what the intercept does to columns far from zero.
pub fn offsets() -> Vec<Case> {
    (0..=15)
        .flat_map(|k| {
            let mut source = Source(600 + k as u64);
            let (rows, offset) = (25, 10f64.powi(k));
            let steps = (0..rows).map(|i| offset + i as f64).collect();
            let noise = source.reals(rows).iter().map(|e| -offset + e).collect();
            let target: Vec<f64> = source.reals(rows).iter().enumerate().map(|(i, e)| offset + i as f64 + e).collect();
            let one = Case::dense(format!("steps from 1e{k}"), vec![steps], target.clone(), true);
            let other = source.reals(rows);
            [one, Case::dense(format!("noise about -1e{k}"), vec![noise, other], target, true)]
        })
        .collect()
}

/// Powers of points of the unit interval, rounded to doubles and as pairs.
pub fn vandermondes() -> Vec<Case> {
    let mut cases = Vec::new();
    for degree in 2..=11u32 {
        let rows = 2 * degree as usize + 3;
        let point = |i: usize| (i as f64 + 0.5) / rows as f64;
        let target = Source(700 + degree as u64).integers(rows, -9, 9);
        let rounded = (1..=degree).map(|k| (0..rows).map(|i| point(i).powi(k as i32)).collect()).collect();
        cases.push(Case::dense(format!("Vandermonde {degree}, rounded"), rounded, target.clone(), true));
        cases.push(Case::new(format!("Vandermonde {degree}, pairs"), powers(point, rows, degree), target, true));
    }
    cases
}

/// Unimodular integer matrices with large entries: determinant one, condition up to the product of their sizes.
pub fn unimodular() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in 2..=6usize {
        for growth in [1, 2, 4, 8] {
            let mut source = Source(800 + 10 * size as u64 + growth);
            let mut matrix: Vec<Vec<i64>> = (0..size).map(|i| (0..size).map(|j| (i == j) as i64).collect()).collect();
            // Row and column operations keep the determinant; they stop before entries leave 53 bits.
            for _ in 0..growth * size as u64 * 4 {
                let (i, mut j) =
                    (source.integer(0, size as i64 - 1) as usize, source.integer(0, size as i64 - 2) as usize);
                j += (j >= i) as usize;
                let factor = source.integer(-3, 3);
                let mut next = matrix.clone();
                for k in 0..size {
                    if source.0.is_multiple_of(2) {
                        next[k][i] += factor * matrix[k][j];
                    } else {
                        next[i][k] += factor * matrix[j][k];
                    }
                }
                if next.iter().flatten().all(|x| x.abs() < 1 << 50) {
                    matrix = next;
                }
            }
            let columns = |extra: &mut dyn FnMut() -> Vec<f64>| -> Vec<Vec<f64>> {
                (0..size).map(|j| matrix.iter().map(|row| row[j] as f64).chain(extra()).collect()).collect()
            };
            let square = columns(&mut Vec::new);
            let target = source.integers(size, -20, 20);
            cases.push(Case::dense(format!("unimodular {size}, growth {growth}"), square, target, false));
            // A copy of some rows keeps the condition and leaves residuals.
            let tall: Vec<Vec<f64>> = columns(&mut Vec::new).iter().map(|c| [&c[..], &c[..]].concat()).collect();
            let target = source.integers(2 * size, -20, 20);
            cases.push(Case::dense(format!("doubled unimodular {size}, growth {growth}"), tall, target, false));
        }
    }
    cases
}

/// Coefficients that are exactly zero, or far smaller than the others.
pub fn small_effects() -> Vec<Case> {
    let mut cases = Vec::new();
    for k in [5, 12, 16, 25, 40, 60, 90, 140] {
        let tiny = 10f64.powi(-k);
        // Orthogonal columns: the coefficient of the second is the target's second entry alone.
        let columns = vec![vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0]];
        cases.push(Case::dense(format!("an effect of 1e-{k}"), columns, vec![1.0, tiny, 0.5], false));
        let mut source = Source(900 + k as u64);
        let rows = 8;
        let columns: Vec<Vec<f64>> = (0..2).map(|_| source.integers(rows, -9, 9)).collect();
        let hi: Vec<f64> = columns[0].iter().map(|x| 3.0 * x).collect();
        let lo: Vec<f64> = columns[1].iter().map(|x| x * tiny).collect();
        let pairs: Vec<DoubleDouble> = hi.iter().zip(&lo).map(|(&h, &l)| DoubleDouble::new(h, l)).collect();
        let mut case = Case::dense(format!("an effect of 1e-{k} in a pair"), columns, hi, k % 2 == 0);
        case.target = Values::of_pairs(pairs);
        cases.push(case);
    }
    for seed in 0..12 {
        let mut source = Source(950 + seed);
        let rows = 10;
        let columns: Vec<Vec<f64>> = (0..4).map(|_| source.integers(rows, -30, 30)).collect();
        let target = (0..rows).map(|i| 2.0 * columns[1][i] - 7.0 * columns[3][i]).collect();
        cases.push(Case::dense(format!("zero effects {seed}"), columns, target, seed % 2 == 0));
    }
    cases
}

pub fn well_conditioned() -> Vec<Case> {
    (0..12)
        .map(|seed| {
            let mut source = Source(1000 + seed);
            let (rows, count) = (10 + 4 * seed as usize, 1 + seed as usize % 8);
            let columns = (0..count).map(|_| source.reals(rows)).collect();
            let case = Case::dense(format!("random {count} columns"), columns, source.reals(rows), seed % 2 == 0);
            if seed % 3 == 0 {
                let weights = source.reals(rows).iter().map(|w| w.abs()).collect();
                return case.weighted("weighted", weights);
            }
            case
        })
        .collect()
}

pub fn designs() -> Vec<Case> {
    [
        near_twins(),
        binary_twins(&[1, 10, 30, 60, 80, 100, 120, 126, 127, 128, 129, 131, 133]),
        combinations(),
        chains_of_twins(),
        far_polynomials(),
        hilberts(),
        graded(),
        offsets(),
        vandermondes(),
        unimodular(),
        well_conditioned(),
    ]
    .concat()
}

/// Designs of 24 to 60 columns: independent ones, ones in very different units, chains where each column is near the
/// last, and some near dependence.
pub fn wide() -> Vec<Case> {
    (0..18)
        .map(|seed| {
            let mut source = Source(1300 + seed);
            let count = [24, 25, 31, 47, 48, 60][seed as usize % 6];
            let rows = count + 5 + source.integer(0, 30) as usize;
            // How far each column is from the one before it, and from the first for the last third of the cases.
            let step = 10f64.powi(-[0, 1, 2, 4, 7, 10][seed as usize / 3]);
            let mut columns: Vec<Vec<f64>> = vec![source.reals(rows)];
            for k in 1..count {
                let noise = source.reals(rows);
                let near = if seed % 3 == 0 { &columns[0] } else { &columns[k - 1] };
                let column = near.iter().zip(&noise).map(|(x, e)| (1.0 - step) * x + step * e).collect();
                columns.push(column);
            }
            if seed % 2 == 1 {
                for column in &mut columns {
                    let (unit, offset) = (2f64.powi(source.integer(-60, 60) as i32), source.integer(-9, 9) as f64);
                    column.iter_mut().for_each(|x| *x = (*x + offset) * unit);
                }
            }
            let case = Case::dense(format!("wide {seed}"), columns, source.reals(rows), seed % 4 != 3);
            if seed % 5 == 4 { case.weighted("weights", source.integers(rows, 1, 9)) } else { case }
        })
        .collect()
}

/// Designs of hundreds to thousands of rows: noise, trends, offsets, sorted and short decimals, effects of all sizes.
pub fn long() -> Vec<Case> {
    (0..12)
        .map(|seed| {
            let mut source = Source(1400 + seed);
            let (rows, count) = [(255, 3), (513, 25), (2049, 7), (2600, 2), (4100, 3), (700, 50)][seed as usize % 6];
            let columns: Vec<Vec<f64>> = (0..count)
                .map(|k| {
                    let noise = source.reals(rows);
                    let offset = 10f64.powi(k % 6);
                    match k % 4 {
                        _ if k == 2 => (0..rows).map(|i| i as f64 + noise[i]).collect(),
                        0 => noise,
                        1 => noise.iter().map(|e| offset + e).collect(),
                        _ => noise.iter().map(|e| (1e4 * (e + offset)).round() / 1e4).collect(),
                    }
                })
                .collect();
            let noise = source.reals(rows);
            let target = (0..rows)
                .map(|i| {
                    noise[i] + columns.iter().enumerate().map(|(k, c)| c[i] * 10f64.powi(-(k as i32 % 9))).sum::<f64>()
                })
                .collect();
            Case::dense(format!("long {seed}"), columns, target, seed % 5 != 4)
        })
        .collect()
}
