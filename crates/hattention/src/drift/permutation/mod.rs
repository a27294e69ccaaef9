//! The permutation test: the pooled rows split anew at random, in one pass that keeps no rows.

mod pooled;

use rayon::prelude::*;

use super::random::Generator;
use crate::attention::Keys;
use crate::dense::kernel::{PANEL, Row, TILE, Tile, multiply};
use crate::error::Error;
use crate::interrupt::{Stop, checked};

use pooled::{Pooled, Statistics};

/// The permutation test of two samples as a stream: first every training row, then every row of the batch.
///
/// Each of `B` permutations draws as many of the pooled rows as the smaller sample has, by selection sampling (a row is
/// taken with probability *still needed / still to come*), and adds up its rows' products; the other group is the rest.
/// Nothing is held but the `B + 2` tables of sums and a block of rows.
///
/// Three statistics are ranked among their values over all splits, and the best rank is ranked again (min-p; the sum
/// of the ranks decides between equals), so that the p-value is exact whatever the law of the rows:
/// - the state's: every mean and every product of the columns, about the pooled means, squared in units of its spread
///   over the splits, added up: for normal rows this is the likelihood ratio in large samples;
/// - the means': the squared length of their difference in the pooled metric;
/// - a single column's: the largest of the columns' means and squares in units of its spread.
///
/// The likelihood ratio itself is ranked for comparison and does not count: a level of a few rows decides it alone, as a
/// split that happens to lack the level is singular (each group is given one more row's worth of the pooled covariance,
/// so that it is a number). The means' statistic and the likelihood ratio do not change under invertible maps of the
/// rows; the others do, but no such map makes them unsound, so that keys of any filter serve.
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
    basis: Option<Vec<Vec<f64>>>,
}

/// A statistic and its place among its values over all splits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// The statistic of the samples as they are.
    pub statistic: f64,
    /// `(1 + #{≥})/(B + 1)`.
    pub p: f64,
}

/// What a permutation test finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PermutationTest {
    /// Permutations.
    pub permutations: usize,
    /// All means and products together, a sum of squares of standard units.
    pub state: Ranked,
    /// `(n n*/N) δᵀ Σ̂⁻¹ δ`, the difference of means in the pooled metric.
    pub means: Ranked,
    /// The largest mean or square of a single column, in standard units.
    pub column: Ranked,
    /// That column, from 0, and whether it is its square.
    pub largest: (usize, bool),
    /// The likelihood ratio of normal laws, each group with one more row of the pooled covariance. It is not part of `p`.
    pub likelihood_ratio: Ranked,
    /// The p-value of the test: that of the best of the first three. Where the samples are beyond every split by one of
    /// them it is at most `3/(B + 1)`, since other splits may be first by the others.
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
        Ok(Self { columns, training_rows, rows, seen: 0, block, waiting: 0, groups, basis: None })
    }

    /// Names the combinations of the columns that are looked at one by one: those of [`column_basis`](super::column_basis)
    /// for keys. Without, the columns themselves are.
    ///
    /// # Shapes
    /// `basis`: `[combinations][columns]`.
    ///
    /// # Errors
    /// [`Error::Shape`]: a combination of another number of columns.
    pub fn with_basis(mut self, basis: Vec<Vec<f64>>) -> Result<Self, Error> {
        if let Some(row) = basis.iter().find(|row| row.len() != self.columns) {
            return Err(Error::Shape { what: "a combination", expected: self.columns, got: row.len() });
        }
        self.basis = Some(basis);
        Ok(self)
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
        let stop = Stop::current();
        self.groups.par_iter_mut().for_each_init(
            || (Vec::with_capacity(rows), vec![Vec::with_capacity(rows); block.len()]),
            |(taken, packed), group| {
                stop.check();
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
        let smaller = self.rows.min(self.training_rows) as f64;
        let basis = self.basis.as_deref();
        let pooled = Pooled::new(&self.groups[0].sums, self.columns + 1, announced as f64, smaller, basis);
        if !pooled.varies() {
            return Err(Error::Parameter {
                name: "the pooled sample",
                got: "one without variation".into(),
                allowed: "at least one column that varies",
            });
        }
        let splits: Vec<&[Tile]> = self.groups[1..].iter().map(|group| group.sums.as_slice()).collect();
        let spreads = pooled.spreads(&splits);
        Ok(rank(
            &splits.par_iter().map(checked(|sums: &&[Tile]| pooled.statistics(sums, &spreads))).collect::<Vec<_>>(),
        ))
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

/// How many of the values, itself among them, are as large as each.
fn ranks(values: &[f64]) -> Vec<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let least = |x: f64| x - TIE * (1.0 + x.abs());
    values.iter().map(|&x| values.len() - sorted.partition_point(|y| *y < least(x))).collect()
}

/// The first split's place among all, by the best of its ranks.
fn rank(statistics: &[Statistics]) -> PermutationTest {
    let count = statistics.len() as f64;
    let of = |value: fn(&Statistics) -> f64| ranks(&statistics.iter().map(value).collect::<Vec<f64>>());
    let first = &statistics[0];
    let (state, means, column) = (of(|s| s.state), of(|s| s.means), of(|s| s.column));
    let likelihood_ratio = of(|s| s.likelihood_ratio);
    // Of splits with equal best ranks, the one that is also high by the others is the more extreme.
    let place = |b: usize| (state[b].min(means[b]).min(column[b]), state[b] + means[b] + column[b]);
    let as_good = (0..statistics.len()).filter(|b| place(*b) <= place(0)).count();
    let ranked = |statistic: f64, ranks: &[usize]| Ranked { statistic, p: ranks[0] as f64 / count };
    PermutationTest {
        permutations: statistics.len() - 1,
        state: ranked(first.state, &state),
        means: ranked(first.means, &means),
        column: ranked(first.column, &column),
        largest: (first.largest / 2, first.largest % 2 == 1),
        likelihood_ratio: ranked(first.likelihood_ratio, &likelihood_ratio),
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
/// assert!(p(&same) > 0.05 && p(&wider) <= 0.015);
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
