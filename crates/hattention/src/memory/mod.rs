//! Fast memory: what a stream of rows leaves behind under a slow memory, and what queries read from it.

mod older;
mod state;

use std::hash::{DefaultHasher, Hasher};

use crate::attention::{Keys, Numbers, add_multiple};
use crate::block::{Block, Column};
use crate::double_double::DoubleDouble;
use crate::error::Error;
use crate::exact::centred::Centred;
use crate::exact::float::Float;
use crate::moments::Moments;
use crate::whitening::Whitening;

use older::Older;
pub use state::State;

/// The fast-weight memory `M = Kᵀ W V` of a context: its keys beside its targets, under one slow memory.
///
/// The slow memory (a [`Whitening`]) is learned once; the context is any stream of rows, the training rows among them.
/// A query reads the sum of the context's targets under its attention, without seeing the rows again:
///
/// ```text
/// ŷ(q) = Σᵢ ω(q, kᵢ) yᵢ = (1/Σw) Σᵢ wᵢ yᵢ + ⟨q, M⟩,   ω(q, kᵢ) = wᵢ (1/Σw + ⟨q, kᵢ⟩)
/// ```
/// Keys are centred and `Σw` is counted as the slow memory saw them; without an intercept the mean's part is absent.
///
/// # Laws
/// - Reading the training rows is predicting: equal to [`attention::predict`](crate::attention::predict) with the same
///   filter, and reading with the basis queries gives the coefficients, both to about `20 ε κ`.
/// - Reading is linear: what is read from two contexts merged is the sum of what is read from each. Of any context
///   with sums of products `C*` and coefficients `β*` it reads `X Ω C* β*`, all with the constant. Hence a fresh
///   context of the training rows' law reads as about `s` times their prediction, `s` the ratio of its
///   [`FastMemory::weight_total`] to the slow memory's.
/// - [`FastMemory::merge`] is associative and commutative *in bits*, and equal to one pass in any order and any blocks;
///   an empty memory is its identity; what is removed was never seen.
/// - [`FastMemory::decay`] by one changes nothing; the merged memory decayed is the decayed ones merged. Once something
///   has decayed, merging is still commutative in bits, and associative and free of the order of rows to about `2⁻¹⁰⁴`
///   of the sums of sizes: rows since the last decay are exact sums, older ones doubled arithmetic.
/// - Rotating the keys changes the memory and the queries, and no reading.
///
/// # Numerics
/// Pushing costs `O(n p²)`: the products of the keys among themselves are kept too, for they say whether the context is
/// the world that the slow memory knows (`Σ w k kᵀ = I` for the training rows of least squares). Memory is `O(p²)`
/// whatever the length of the stream, beside one block's keys. Keys are rounded to doubles, and no sum after them: with
/// the training rows `√wᵢ ŷᵢ` is read to `(p + 1)(p + 4) ε κ √(Σ w y²)`, and coefficient k to that times the length of
/// its row of [`Whitening::loading`]. (These hold the targets' offset, so take a large one off first.)
///
/// # Example
/// ```
/// use hattention::{Block, Column, Design, FastMemory, Filter, Moments, Whitening, attention};
/// let (x, y) = ([1.0, 2.0, 4.0, 5.0], [3.0, 5.0, 9.0, 11.0]); // y = 1 + 2x
/// let rows = Block { rows: 4, columns: vec![Column::Dense(&x)], weights: None };
/// let slow = Moments::of(&rows).unwrap();
/// let slow = Whitening::of(&slow, &Design::plain(["x"], true), Filter::Ols, Default::default(), None).unwrap();
///
/// let mut memory = FastMemory::new(&slow, 1);
/// memory.push(&slow, &rows, &[0], &[Column::Dense(&y)]).unwrap();
/// let queries = Block { rows: 1, columns: vec![Column::Dense(&[10.0])], weights: None };
/// let read = memory.read(&attention::Keys::of(&slow, &queries, &[0]).unwrap()).unwrap();
/// assert!((read[0][0] - 21.0).abs() < 1e-13);
/// let coefficients = memory.coefficients(&slow).unwrap();
/// assert!((coefficients[0][1].unwrap() - 2.0).abs() < 1e-14);
/// ```
///
/// # References
/// Schmidhuber (1992), fast weights; Katharopoulos et al. (2020), linear attention; Schlag, Irie & Schmidhuber (2021),
/// that they are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct FastMemory {
    /// Products of the keys and the targets, in this order; their constant holds `Σ w` and `Σ w y` of the context.
    sums: Moments,
    keys: usize,
    targets: usize,
    /// The constant's component of every key.
    constant: f64,
    /// Which slow memory made the keys.
    metric: u64,
    /// What has decayed.
    older: Older,
}

impl FastMemory {
    /// The memory of no rows under a slow memory, for so many targets.
    pub fn new(whitening: &Whitening, targets: usize) -> Self {
        let keys = whitening.keys();
        let constant = if whitening.design.intercept { 1.0 / whitening.weight_total.sqrt() } else { 0.0 };
        Self {
            sums: Moments::new(keys + targets),
            keys,
            targets,
            constant,
            metric: metric(whitening),
            older: Older::default(),
        }
    }

    /// Rows of the context with positive weight, those that have decayed among them.
    pub fn rows(&self) -> u64 {
        self.sums.rows() + self.older.rows
    }

    /// `Σ wᵢ` of the context, with the weights that the rows have by now.
    pub fn weight_total(&self) -> f64 {
        self.sum(&self.centred(), 0, 0)
    }

    /// Adds the rows of a block. `ids[c]` is the state's column of the block's column `c`, as for [`Keys::of`]; weights
    /// are the block's. On an error nothing is added.
    ///
    /// # Shapes
    /// `targets`: `[targets][rows]`.
    ///
    /// # Errors
    /// - [`Error::IncompatibleStates`]: the slow memory is not the one that this memory was made under.
    /// - [`Error::Shape`]: another number of targets, or a column, a target or the weights not as long as the block.
    /// - [`Error::NonFinite`], [`Error::Weight`]: NaN or infinity, or a weight that is negative or not finite; targets
    ///   are numbered after the block's columns.
    /// - [`Error::Parameter`]: a row so far from the training rows that its key leaves the range of doubles.
    pub fn push(
        &mut self,
        whitening: &Whitening,
        block: &Block<'_>,
        ids: &[usize],
        targets: &[Column<'_>],
    ) -> Result<(), Error> {
        self.accumulate(whitening, block, ids, targets, Moments::push)
    }

    /// Takes out rows that were pushed before, exactly.
    ///
    /// # Errors
    /// As [`FastMemory::push`]; [`Error::RemovedTooMany`]; [`Error::Parameter`] after a decay, when the rows may have
    /// another weight by now: [`FastMemory::remove_decayed`] asks which.
    pub fn remove(
        &mut self,
        whitening: &Whitening,
        block: &Block<'_>,
        ids: &[usize],
        targets: &[Column<'_>],
    ) -> Result<(), Error> {
        if self.older.clock != 0 {
            return Err(Error::Parameter {
                name: "the memory",
                got: "one that has decayed".into(),
                allowed: "one that has not: `remove_decayed` takes out rows with the weight that they have by now",
            });
        }
        self.accumulate(whitening, block, ids, targets, Moments::remove)
    }

    /// Takes out rows whose weight has become `decayed` times what it was when they were pushed: the product of the
    /// factors since. With 1, the rows since the last decay are taken out exactly; older ones to `2⁻¹⁰⁴` of the sums.
    ///
    /// # Errors
    /// As [`FastMemory::push`]; [`Error::RemovedTooMany`]; [`Error::Parameter`] for a factor that is not in `0 ..= 1`.
    pub fn remove_decayed(
        &mut self,
        whitening: &Whitening,
        block: &Block<'_>,
        ids: &[usize],
        targets: &[Column<'_>],
        decayed: f64,
    ) -> Result<(), Error> {
        check_factor(decayed)?;
        if decayed == 1.0 {
            return self.accumulate(whitening, block, ids, targets, Moments::remove);
        }
        let mut rows = Self { sums: Moments::new(self.keys + self.targets), older: Older::default(), ..self.clone() };
        rows.accumulate(whitening, block, ids, targets, Moments::push)?;
        if rows.sums.rows() > self.older.rows {
            return Err(Error::RemovedTooMany { rows: self.older.rows, removed: rows.sums.rows() });
        }
        let columns = 1 + self.keys + self.targets;
        self.older.add(&rows.centred(), columns, DoubleDouble::from(-decayed));
        self.older.rows -= rows.sums.rows();
        Ok(())
    }

    /// Lets everything seen so far fade: the weight of every row is multiplied by `factor`, from 0 to 1.
    ///
    /// Pushing `t` rows with a decay by γ before each is the memory of the rows with weights `γ^(t−i)`: the mesa layer's
    /// forgetting, recursive least squares with a forgetting factor. A factor of one changes nothing, in bits.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a factor that is not in `0 ..= 1`, or sums beyond the range of doubles; then nothing
    /// has decayed.
    ///
    /// # Example
    /// ```
    /// use hattention::{Block, Column, Design, FastMemory, Filter, Moments, Whitening};
    /// let (x, y) = ([1.0, 2.0, 4.0, 5.0], [3.0, 5.0, 9.0, 11.0]);
    /// let rows = Block { rows: 4, columns: vec![Column::Dense(&x)], weights: None };
    /// let moments = Moments::of(&rows).unwrap();
    /// let slow = Whitening::of(&moments, &Design::plain(["x"], true), Filter::Ols, Default::default(), None).unwrap();
    /// let mut memory = FastMemory::new(&slow, 1);
    /// memory.push(&slow, &rows, &[0], &[Column::Dense(&y)]).unwrap();
    /// memory.decay(0.5).unwrap();
    /// assert_eq!((memory.rows(), memory.weight_total()), (4, 2.0));
    /// assert!((memory.coefficients(&slow).unwrap()[0][1].unwrap() - 1.0).abs() < 1e-14); // half of the slope 2
    /// ```
    ///
    /// # References
    /// von Oswald et al. (2023), the mesa layer; Haykin, Adaptive Filter Theory, ch. 10.
    pub fn decay(&mut self, factor: f64) -> Result<(), Error> {
        check_factor(factor)?;
        if factor == 1.0 {
            return Ok(());
        }
        let columns = 1 + self.keys + self.targets;
        let mut older = self.older.clone();
        older.decay(&self.centred(), self.sums.rows(), columns, factor);
        if !older.is_finite() {
            let allowed = "sums within the range of doubles: exact sums have no limit, decayed ones have";
            return Err(Error::Parameter { name: "the memory", got: "one with larger sums".into(), allowed });
        }
        self.sums = Moments::new(columns - 1);
        self.older = older;
        Ok(())
    }

    fn accumulate(
        &mut self,
        whitening: &Whitening,
        block: &Block<'_>,
        ids: &[usize],
        targets: &[Column<'_>],
        change: fn(&mut Moments, &Block<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.check_metric(whitening)?;
        if targets.len() != self.targets {
            return Err(Error::Shape { what: "the list of targets", expected: self.targets, got: targets.len() });
        }
        self.accumulate_keys(&Keys::of(whitening, block, ids)?, block, targets, change)
    }

    /// As [`FastMemory::push`] of a block whose keys are at hand.
    pub(crate) fn push_keys(&mut self, keys: &Keys, block: &Block<'_>, targets: &[Column<'_>]) -> Result<(), Error> {
        self.accumulate_keys(keys, block, targets, Moments::push)
    }

    fn accumulate_keys(
        &mut self,
        keys: &Keys,
        block: &Block<'_>,
        targets: &[Column<'_>],
        change: fn(&mut Moments, &Block<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let columns = keys.components[1..].iter().map(|k| Column::Dense(k)).chain(targets.iter().copied()).collect();
        let pairs = Block { rows: block.rows, columns, weights: block.weights };
        change(&mut self.sums, &pairs).map_err(|error| self.name_place(error, block))
    }

    /// Names the place of a number that is not finite by the caller's columns in place of the keys.
    fn name_place(&self, error: Error, block: &Block<'_>) -> Error {
        let Error::NonFinite { row, column, value } = error else { return error };
        if let Some(target) = column.checked_sub(self.keys) {
            return Error::NonFinite { row, column: block.columns.len() + target, value };
        }
        let mut numbers = block.columns.iter().map(|column| Numbers::of(*column).at(row).to_f64()).enumerate();
        match numbers.find(|(_, number)| !number.is_finite()) {
            Some((column, value)) => Error::NonFinite { row, column, value },
            None => Error::Parameter {
                name: "a key",
                got: format!("{value} in row {row}"),
                allowed: "a row near enough to the training rows for a key within the range of doubles",
            },
        }
    }

    /// Adds the context of another memory made under the same slow memory, which has decayed as this one has, or not yet.
    ///
    /// # Errors
    /// [`Error::IncompatibleStates`] for another slow memory or another number of targets, or if both have decayed, by
    /// other factors: what they hold is then of two ages.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        self.check_like(other)?;
        let clocks = [self.older.clock, other.older.clock];
        if clocks[0] != clocks[1] && !clocks.contains(&0) && self.rows() > 0 && other.rows() > 0 {
            return Err(self.of_another_age(other));
        }
        self.sums.merge(&other.sums);
        self.older.merge(&other.older);
        Ok(())
    }

    /// Takes out the context of another memory made under the same slow memory.
    ///
    /// Both must have decayed alike: a memory that was merged in and is to be taken out again decays beside this one.
    ///
    /// # Errors
    /// As [`FastMemory::merge`]; [`Error::IncompatibleStates`] if they have decayed by other factors;
    /// [`Error::RemovedTooMany`] if the other memory has more rows than this one.
    pub fn subtract(&mut self, other: &Self) -> Result<(), Error> {
        self.check_like(other)?;
        if self.older.clock != other.older.clock {
            return Err(self.of_another_age(other));
        }
        if other.older.rows > self.older.rows {
            return Err(Error::RemovedTooMany { rows: self.older.rows, removed: other.older.rows });
        }
        self.sums.subtract(&other.sums)?;
        self.older.subtract(&other.older);
        Ok(())
    }

    fn of_another_age(&self, other: &Self) -> Error {
        let describe = |memory: &Self| format!("a memory that decayed as {:016x}", memory.older.clock);
        Error::IncompatibleStates { left: describe(self), right: describe(other) }
    }

    /// The memory in numbers: of each target `Σᵢ k̃ᵢ wᵢ yᵢ` with `k̃ = (1/√Σw, k)`, each entry rounded once.
    ///
    /// For the training rows of a least-squares fit these are the mean times `√Σw`, and [`Fit::memory`](crate::Fit).
    ///
    /// # Shapes
    /// `[targets][1 + keys]`.
    pub fn values(&self) -> Vec<Vec<f64>> {
        let sums = self.centred();
        let constant = DoubleDouble::from(self.constant);
        (1 + self.keys..1 + self.keys + self.targets)
            .map(|target| {
                let along_keys = (1..=self.keys).map(|key| self.sum(&sums, key, target));
                let total = match self.older.is_any() {
                    true => ((sums.raw(0, target).to_double_double() + self.older.at(0, target)) * constant).to_f64(),
                    false => (sums.raw(0, target) * Float::from_f64(self.constant)).to_f64(),
                };
                std::iter::once(total).chain(along_keys).collect()
            })
            .collect()
    }

    /// What queries read: `⟨q̃, M⟩` of every query and target.
    ///
    /// # Shapes
    /// `[targets][queries]`.
    ///
    /// # Equals
    /// `(Q Kᵀ) W Y` without the table of scores: linear attention without normalisation, R's `predict(lm(…), newdata)`
    /// where the context is the training rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if the queries have another number of components than the memory has keys.
    pub fn read(&self, queries: &Keys) -> Result<Vec<Vec<f64>>, Error> {
        if queries.components.len() != 1 + self.keys {
            return Err(Error::Shape { what: "a query", expected: 1 + self.keys, got: queries.components.len() });
        }
        let read = |values: &Vec<f64>| {
            let mut sums = vec![0.0f64; queries.rows];
            for (value, component) in values.iter().zip(&queries.components) {
                add_multiple(component, *value, &mut sums);
            }
            sums
        };
        Ok(self.values().iter().map(read).collect())
    }

    /// What the basis queries read: the reported coefficients, the intercept first; `None` for dropped columns.
    ///
    /// # Shapes
    /// `[targets][coefficients]`.
    ///
    /// # Equals
    /// [`Fit::estimates`](crate::Fit) where the context is the training rows, and so `coef(lm(…))` in R; `Fit` has all
    /// their digits.
    ///
    /// # Errors
    /// [`Error::IncompatibleStates`]: the slow memory is not the one that this memory was made under.
    pub fn coefficients(&self, whitening: &Whitening) -> Result<Vec<Vec<Option<f64>>>, Error> {
        self.check_metric(whitening)?;
        let read = |values: Vec<f64>| {
            let along = |query: &Vec<f64>| query.iter().zip(&values).fold(0.0, |sum: f64, (q, m)| q.mul_add(*m, sum));
            whitening.loading.iter().map(|query| (!query.is_empty()).then(|| along(query))).collect()
        };
        Ok(self.values().into_iter().map(read).collect())
    }

    fn centred(&self) -> Centred<'_, 4> {
        Centred::new(&self.sums.sums, false)
    }

    /// `Σ w y²` of the first target.
    pub(crate) fn target_squares(&self) -> f64 {
        self.sum(&self.centred(), 1 + self.keys, 1 + self.keys)
    }

    /// `Σ w aᵢ bᵢ` of a pair of columns, rounded.
    fn sum(&self, recent: &Centred<'_, 4>, a: usize, b: usize) -> f64 {
        let recent = recent.raw(a, b);
        if self.older.is_any() { (recent.to_double_double() + self.older.at(a, b)).to_f64() } else { recent.to_f64() }
    }

    fn check_metric(&self, whitening: &Whitening) -> Result<(), Error> {
        let other = metric(whitening);
        if other == self.metric {
            return Ok(());
        }
        let memory = format!("a memory under slow memory {:016x}", self.metric);
        Err(Error::IncompatibleStates { left: memory, right: format!("slow memory {other:016x}") })
    }

    fn check_like(&self, other: &Self) -> Result<(), Error> {
        if self.metric == other.metric && self.targets == other.targets {
            return Ok(());
        }
        let describe =
            |memory: &Self| format!("a memory of {} targets under slow memory {:016x}", memory.targets, memory.metric);
        Err(Error::IncompatibleStates { left: describe(self), right: describe(other) })
    }
}

fn check_factor(factor: f64) -> Result<(), Error> {
    if (0.0..=1.0).contains(&factor) {
        return Ok(());
    }
    Err(Error::Parameter { name: "the factor of decay", got: factor.to_string(), allowed: "a number from 0 to 1" })
}

/// A number that differs for slow memories that make different keys, and is kept when one is written and read.
fn metric(whitening: &Whitening) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(whitening.design.intercept as u8);
    hasher.write_u64(whitening.weight_total.to_bits());
    hasher.write_usize(whitening.keys());
    for ((&position, mean), factors) in whitening.kept.iter().zip(&whitening.means).zip(&whitening.factors) {
        hasher.write_usize(whitening.design.columns[position].map_or(0, |c| c + 1));
        factors.iter().flat_map(|f| [f.hi, f.lo]).for_each(|f| hasher.write_u64(f.to_bits()));
        hasher.write_u64(mean.hi.to_bits());
        hasher.write_u64(mean.lo.to_bits());
    }
    // Files write the zeros that the factor leaves out, so zeros do not count.
    for (j, map) in whitening.key_map.iter().enumerate() {
        for (c, factor) in map.iter().enumerate().filter(|(_, factor)| **factor != 0.0) {
            hasher.write_usize(j);
            hasher.write_usize(c);
            hasher.write_u64(factor.to_bits());
        }
    }
    hasher.finish()
}
