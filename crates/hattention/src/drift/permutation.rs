//! The permutation test: the pooled rows split anew at random, in one pass that keeps no rows.

use rayon::prelude::*;

use super::axes::substitute;
use super::random::Generator;
use crate::attention::Keys;
use crate::dense::kernel::{PANEL, Row, TILE, Tile, multiply};
use crate::error::Error;

/// The permutation test of two samples as a stream: first every training row, then every row of the batch.
///
/// Each of `B` permutations draws as many of the pooled rows as the smaller sample has, by selection sampling (a row is
/// taken with probability *still needed / still to come*), and adds up its rows' products; the other group is the rest.
/// Nothing is held but the `B + 2` tables of sums and a block of rows.
///
/// Two statistics are ranked among their permuted values, and the smaller rank is ranked again (min-p), so that the
/// p-value is exact whatever the law of the rows:
/// - the likelihood ratio of the two groups' means and covariances, each group with one more row's worth of the pooled
///   covariance, so that no group is singular;
/// - the squared length of the difference of means in the pooled metric. A rare level has a variance ratio that says
///   little and weighs much in the likelihood; its mean is sane.
///
/// Neither changes under invertible maps of the rows, so keys of any filter serve.
///
/// # Numerics
/// `O(B min(n, n*) d²)` operations near the speed of a matrix product, and `B (n + n*)` random numbers; 4.6 kB a
/// permutation up to 23 columns, `4.6 ⌈d/24⌉ (⌈d/24⌉ + 1)/2` kB in general. Threads and blocks do not change a bit; the
/// order of the rows does, as the seed does.
///
/// # References
/// Fan, Muller & Rezucha (1962), selection sampling; Phipson & Smyth (2010), `(1 + #{≥})/(B + 1)`; Tippett (1931), min-p.
#[derive(Clone, Debug)]
pub struct Permutations {
    columns: usize,
    training_rows: u64,
    rows: u64,
    seen: u64,
    /// Rows that wait for a block to be full: `[panels][BLOCK]`.
    block: Vec<Vec<Row>>,
    waiting: usize,
    groups: Vec<Group>,
}

/// What a permutation test finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PermutationTest {
    /// Permutations.
    pub permutations: usize,
    /// The likelihood ratio of the samples as they are, each with one more row of the pooled covariance.
    pub statistic: f64,
    /// Its p-value, `(1 + #{≥})/(B + 1)`.
    pub statistic_p: f64,
    /// `(n n*/N) δᵀ Σ̂⁻¹ δ`, the difference of means in the pooled metric.
    pub mean_statistic: f64,
    /// Its p-value.
    pub mean_p: f64,
    /// The p-value of the test: that of the smaller of the two.
    pub p: f64,
}

/// One split of the pooled rows: the group that is added up.
#[derive(Clone, Debug)]
struct Group {
    pick: Pick,
    /// Products of the group's rows: of panels `q ≥ j`, `sums[pair][24 part + k][i]`.
    sums: Vec<Tile>,
}

/// Which rows a group takes.
#[derive(Clone, Debug)]
enum Pick {
    All,
    /// The rows before this one, or from it on.
    Before(u64),
    From(u64),
    Random {
        generator: Generator,
        needed: u64,
    },
}

/// Rows that are drawn from at once.
const BLOCK: usize = 1024;
/// The largest tables of sums together, in bytes.
const LARGEST_BYTES: usize = 2 << 30;
/// Relative difference of statistics that rounding makes: such are ties.
const TIE: f64 = 1e-9;

impl Permutations {
    /// A test of `rows` rows beside `training_rows`, of so many columns (the constant is added).
    ///
    /// # Errors
    /// - [`Error::NoRows`]: a sample without rows.
    /// - [`Error::Parameter`]: no permutations, or so many that their sums would take more than 2 GiB.
    pub fn new(columns: usize, training_rows: u64, rows: u64, permutations: usize, seed: u64) -> Result<Self, Error> {
        if training_rows == 0 || rows == 0 {
            return Err(Error::NoRows);
        }
        let panels = (columns + 1).div_ceil(PANEL);
        let tiles = panels * (panels + 1) / 2 * (PANEL / TILE);
        let bytes = tiles * size_of::<Tile>();
        if permutations == 0 || permutations > LARGEST_BYTES / bytes {
            return Err(Error::Parameter {
                name: "the number of permutations",
                got: format!("{permutations} for {columns} columns, {bytes} bytes each"),
                allowed: "at least one, and at most 2 GiB of sums: ask for fewer",
            });
        }
        let needed = rows.min(training_rows);
        let smaller = if rows <= training_rows { Pick::From(training_rows) } else { Pick::Before(training_rows) };
        let drawn =
            (0..permutations as u64).map(|number| Pick::Random { generator: Generator::stream(seed, number), needed });
        let groups = [Pick::All, smaller].into_iter().chain(drawn);
        let groups = groups.map(|pick| Group { pick, sums: vec![[[0.0; PANEL]; TILE]; tiles] }).collect();
        let block = vec![vec![[0.0; PANEL]; BLOCK]; panels];
        Ok(Self { columns, training_rows, rows, seen: 0, block, waiting: 0, groups })
    }

    /// The next rows: the training rows first, then the batch, each in its order.
    ///
    /// # Shapes
    /// `columns`: `[columns][rows]`, without the constant, near to mean 0 and variance 1 over the training rows.
    ///
    /// # Errors
    /// - [`Error::Shape`]: another number of columns, or of rows than announced.
    /// - [`Error::NonFinite`]: NaN or infinity.
    pub fn push(&mut self, columns: &[&[f64]]) -> Result<(), Error> {
        if columns.len() != self.columns {
            return Err(Error::Shape { what: "a row", expected: self.columns, got: columns.len() });
        }
        let rows = columns.first().map_or(0, |column| column.len());
        for (index, column) in columns.iter().enumerate() {
            if column.len() != rows {
                return Err(Error::Shape { what: "a column", expected: rows, got: column.len() });
            }
            if let Some(row) = column.iter().position(|x| !x.is_finite()) {
                return Err(Error::NonFinite { row, column: index, value: column[row] });
            }
        }
        let (announced, got) = (self.training_rows + self.rows, self.seen + (self.waiting + rows) as u64);
        if got > announced {
            return Err(Error::Shape { what: "the pooled sample", expected: announced as usize, got: got as usize });
        }
        let mut start = 0;
        while start < rows {
            let length = (BLOCK - self.waiting).min(rows - start);
            for row in &mut self.block[0][self.waiting..self.waiting + length] {
                row[0] = 1.0;
            }
            for (c, column) in columns.iter().enumerate() {
                let panel = &mut self.block[(c + 1) / PANEL][self.waiting..self.waiting + length];
                panel.iter_mut().zip(&column[start..]).for_each(|(row, x)| row[(c + 1) % PANEL] = *x);
            }
            self.waiting += length;
            start += length;
            if self.waiting == BLOCK {
                self.work();
            }
        }
        Ok(())
    }

    /// The keys of the next rows, in the units of [`State`](crate::State): `√Σw k`.
    ///
    /// # Errors
    /// As [`Permutations::push`].
    pub fn push_keys(&mut self, weight_total: f64, keys: &Keys) -> Result<(), Error> {
        let scale = weight_total.sqrt();
        let scaled: Vec<Vec<f64>> =
            keys.components[1..].iter().map(|component| component.iter().map(|k| k * scale).collect()).collect();
        self.push(&scaled.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Lets every group draw from the block.
    fn work(&mut self) {
        let (first, rows) = (self.seen, self.waiting);
        let total = self.training_rows + self.rows;
        let block = &self.block;
        self.groups.par_iter_mut().for_each_init(
            || (Vec::with_capacity(rows), vec![Vec::with_capacity(rows); block.len()]),
            |(taken, packed), group| {
                group.pick.draw(first..first + rows as u64, total, taken);
                group.add(block, taken, packed);
            },
        );
        self.seen += rows as u64;
        self.waiting = 0;
    }

    /// The test, once every row was pushed.
    ///
    /// # Errors
    /// - [`Error::Shape`]: fewer rows than announced.
    /// - [`Error::Parameter`]: no column varies over the pooled rows.
    pub fn finish(mut self) -> Result<PermutationTest, Error> {
        if self.waiting > 0 {
            self.work();
        }
        let (announced, got) = (self.training_rows + self.rows, self.seen);
        if got != announced {
            return Err(Error::Shape { what: "the pooled sample", expected: announced as usize, got: got as usize });
        }
        let pooled = Pooled::new(&self.groups[0].sums, self.columns + 1, announced as f64);
        if pooled.kept.len() < 2 {
            return Err(Error::Parameter {
                name: "the pooled sample",
                got: "one without variation".into(),
                allowed: "at least one column that varies",
            });
        }
        let smaller = self.rows.min(self.training_rows) as f64;
        let statistics: Vec<[f64; 2]> =
            self.groups[1..].par_iter().map(|group| pooled.statistics(&group.sums, smaller)).collect();
        Ok(rank(&statistics))
    }
}

impl Pick {
    /// The places within the block of the rows that are taken.
    fn draw(&mut self, range: std::ops::Range<u64>, total: u64, taken: &mut Vec<u32>) {
        taken.clear();
        let rows = (range.end - range.start) as u32;
        match self {
            Self::All => taken.extend(0..rows),
            Self::Before(end) => taken.extend((0..rows).filter(|row| range.start + (*row as u64) < *end)),
            Self::From(start) => taken.extend((0..rows).filter(|row| range.start + *row as u64 >= *start)),
            Self::Random { generator, needed } => {
                // Without a branch that would be guessed wrongly: every place is written, and only some are kept.
                taken.resize(rows as usize, 0);
                let mut count = 0;
                for row in 0..rows {
                    let taken_now = generator.happens(*needed, total - range.start - row as u64);
                    taken[count] = row;
                    count += taken_now as usize;
                    *needed -= taken_now as u64;
                }
                taken.truncate(count);
            }
        }
    }
}

impl Group {
    /// Adds the products of the rows taken, each entry a chain in the order of the rows.
    fn add(&mut self, block: &[Vec<Row>], taken: &[u32], packed: &mut [Vec<Row>]) {
        for (source, target) in block.iter().zip(packed.iter_mut()) {
            target.clear();
            target.extend(taken.iter().map(|row| source[*row as usize]));
        }
        let mut tiles = self.sums.iter_mut();
        for q in 0..packed.len() {
            for j in 0..=q {
                for (part, tile) in tiles.by_ref().take(PANEL / TILE).enumerate() {
                    multiply(&packed[q], &packed[j], part, tile);
                }
            }
        }
    }
}

/// Entry `(i, j)`, `i ≥ j`, of a group's table.
fn entry(sums: &[Tile], i: usize, j: usize) -> f64 {
    let (q, p) = (i / PANEL, j / PANEL);
    let tile = (q * (q + 1) / 2 + p) * (PANEL / TILE) + j % PANEL / TILE;
    sums[tile][j % TILE][i % PANEL]
}

/// All rows: the metric that every split is seen in.
struct Pooled {
    total: f64,
    /// The constant and the columns that are clear of dependence, in order.
    kept: Vec<usize>,
    /// Second moments of the kept columns, row-major, and their Cholesky factor.
    moments: Vec<f64>,
    factor: Vec<f64>,
}

/// What is left of a column beside earlier ones, relative to it, that may be rounding of its sums.
const DEPENDENT: f64 = 1e-10;

impl Pooled {
    fn new(sums: &[Tile], size: usize, total: f64) -> Self {
        let mut pooled = Self { total, kept: Vec::new(), moments: Vec::new(), factor: Vec::new() };
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for column in 0..size {
            let mut row: Vec<f64> =
                pooled.kept.iter().chain([&column]).map(|&j| entry(sums, column, j) / total).collect();
            let square = row[rows.len()];
            for i in 0..rows.len() {
                let sum = (0..i).fold(row[i], |s, k| s - row[k] * rows[i][k]);
                row[i] = sum / rows[i][i];
            }
            let place = rows.len();
            let rest = row[..place].iter().fold(square, |s, x| s - x * x);
            if rest > DEPENDENT * square {
                row[place] = rest.sqrt();
                rows.push(row);
                pooled.kept.push(column);
            }
        }
        let size = rows.len();
        pooled.factor =
            rows.into_iter().flat_map(|row| (0..size).map(move |j| row.get(j).copied().unwrap_or(0.0))).collect();
        pooled.moments = pooled.table(sums).iter().map(|sum| sum / total).collect();
        pooled
    }

    /// A group's sums over the kept columns, the lower triangle of a row-major matrix.
    fn table(&self, sums: &[Tile]) -> Vec<f64> {
        let size = self.kept.len();
        let mut table = vec![0.0; size * size];
        for (i, &a) in self.kept.iter().enumerate() {
            for (j, &b) in self.kept[..=i].iter().enumerate() {
                table[i * size + j] = entry(sums, a, b);
            }
        }
        table
    }

    /// The likelihood ratio and the mean's statistic of a group of so many rows beside all others.
    fn statistics(&self, sums: &[Tile], rows: f64) -> [f64; 2] {
        let size = self.kept.len();
        let group = self.table(sums);
        let others = self.total - rows;
        // One more row's worth of the pooled moments in each group.
        let own: Vec<f64> = group.iter().zip(&self.moments).map(|(g, t)| (g + t) / (rows + 1.0)).collect();
        let rest = group.iter().zip(&self.moments);
        let rest: Vec<f64> = rest.map(|(g, t)| (self.total * t - g + t) / (others + 1.0)).collect();
        let pooled = log_determinant_of(&self.factor, size);
        let ratio = rows * (pooled - log_determinant(own, size)) + others * (pooled - log_determinant(rest, size));
        let mut difference: Vec<f64> = (0..size).map(|i| group[i * size] / rows - self.moments[i * size]).collect();
        substitute(&self.factor, size, &mut difference);
        // The group's mean less the pooled mean is (n/N) of the difference of means.
        let length: f64 = difference.iter().map(|x| x * x).sum();
        [ratio, length * rows * self.total / others]
    }
}

/// `log det` of a positive matrix; one that rounding has made indefinite counts as singular.
fn log_determinant(mut a: Vec<f64>, size: usize) -> f64 {
    let mut sum = 0.0;
    for i in 0..size {
        let (above, rest) = a.split_at_mut(i * size);
        let row = &mut rest[..=i];
        for j in 0..i {
            let other = &above[j * size..=j * size + j];
            let value = row[..j].iter().zip(other).fold(row[j], |s, (x, y)| s - x * y);
            row[j] = value / other[j];
        }
        let pivot = row[..i].iter().fold(row[i], |s, x| s - x * x);
        let pivot = pivot.max(f64::EPSILON * f64::EPSILON);
        sum += pivot.ln();
        row[i] = pivot.sqrt();
    }
    sum
}

fn log_determinant_of(factor: &[f64], size: usize) -> f64 {
    (0..size).map(|i| 2.0 * factor[i * size + i].ln()).sum()
}

/// How many of the values, itself among them, are as large as each.
fn ranks(values: &[f64]) -> Vec<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let least = |x: f64| x - TIE * (1.0 + x.abs());
    values.iter().map(|&x| values.len() - sorted.partition_point(|y| *y < least(x))).collect()
}

/// The first pair's place among all, by the better of its two ranks.
fn rank(statistics: &[[f64; 2]]) -> PermutationTest {
    let count = statistics.len() as f64;
    let [ratios, means] = [0, 1].map(|k| ranks(&statistics.iter().map(|pair| pair[k]).collect::<Vec<f64>>()));
    let better: Vec<usize> = ratios.iter().zip(&means).map(|(a, b)| *a.min(b)).collect();
    let as_good = better.iter().filter(|rank| **rank <= better[0]).count();
    PermutationTest {
        permutations: statistics.len() - 1,
        statistic: statistics[0][0],
        statistic_p: ratios[0] as f64 / count,
        mean_statistic: statistics[0][1],
        mean_p: means[0] as f64 / count,
        p: as_good as f64 / count,
    }
}

/// The permutation test of rows in memory.
///
/// # Shapes
/// `training` and `batch`: `[columns][rows]`.
///
/// # Numerics
/// Columns are shifted by the training rows' means and divided by their standard deviations first.
///
/// # Errors
/// As [`Permutations::new`], [`Permutations::push`] and [`Permutations::finish`].
///
/// # Example
/// ```
/// use hattention::drift::{Generator, permutation_test};
/// let mut generator = Generator::new(1);
/// let mut draw = |rows: usize, sd: f64| -> Vec<f64> { (0..rows).map(|_| sd * generator.student(3.0)).collect() };
/// let (training, same, wider) = (draw(400, 1.0), draw(200, 1.0), draw(200, 3.0));
/// let p = |batch: &[f64]| permutation_test(&[&training], &[batch], 199, 7).unwrap().p;
/// assert!(p(&same) > 0.05 && p(&wider) == 1.0 / 200.0);
/// ```
pub fn permutation_test(
    training: &[&[f64]],
    batch: &[&[f64]],
    permutations: usize,
    seed: u64,
) -> Result<PermutationTest, Error> {
    let rows = |columns: &[&[f64]]| columns.first().map_or(0, |column| column.len()) as u64;
    let mut test = Permutations::new(training.len(), rows(training), rows(batch), permutations, seed)?;
    let units: Vec<(f64, f64)> = training.iter().map(|column| units(column)).collect();
    for columns in [training, batch] {
        if columns.len() != units.len() {
            return Err(Error::Shape { what: "a row", expected: units.len(), got: columns.len() });
        }
        let scaled = columns.iter().zip(&units);
        let scaled: Vec<Vec<f64>> =
            scaled.map(|(column, (mean, sd))| column.iter().map(|x| (x - mean) / sd).collect()).collect();
        test.push(&scaled.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    }
    test.finish()
}

fn units(column: &[f64]) -> (f64, f64) {
    let count = column.len() as f64;
    let mean = column.iter().sum::<f64>() / count;
    let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (mean, if variance > 0.0 { variance.sqrt() } else { 1.0 })
}
