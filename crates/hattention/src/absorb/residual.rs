//! Sums of products of residuals: exactly for one effect, by solving for several.

use rayon::prelude::*;

use super::state::EffectMoments;
use super::system::{REDUCTION, System, read};
use super::{AbsorbOptions, Absorbed, Solution};
use crate::double_double::DoubleDouble;
use crate::error::Error;
use crate::exact::accumulator::{Accumulator, Range};
use crate::exact::centred::Centred;
use crate::exact::float::Float;
use crate::exact::wide;
use crate::moments::Taken;

/// Rounds of refinement at most; each gains ten digits.
const ROUNDS: usize = 8;
/// How far the last residual is solved for, and in how many steps at most: enough to know its length.
const MEASURED: f64 = 1e-3;
const MEASURED_STEPS: usize = 10_000;
/// Lengths beside a column's own that pairs of doubles cannot reach below.
const FLOOR_BITS: i64 = 90;

/// A column of the table beside its effects.
struct Column {
    /// `Σ w x` within levels.
    sums: Vec<Float<4>>,
    /// Its effects, one a level.
    effects: Vec<DoubleDouble>,
    /// What the effects leave of the sums, and the effects, in units that doubles hold, and the exponents of these.
    rest: (Vec<DoubleDouble>, i64),
    scaled_effects: (Vec<DoubleDouble>, i64),
    /// What its residuals are off by, in length.
    error: Float<4>,
    steps: usize,
    /// The same relative to its length about the mean.
    reached: f64,
}

/// Takes the effects of a state out of its columns.
pub(super) fn absorb(state: &EffectMoments, options: &AbsorbOptions) -> Result<Absorbed, Error> {
    let system = System::of(state, options.seed);
    let (several, count) = (state.effects.len() > 1, state.moments.columns());
    let about_zero = Centred::<4>::new(&state.moments.sums, false);
    let about_mean = Centred::<4>::new(&state.moments.sums, true);
    let lengths: Vec<Float<4>> = (0..=count).map(|c| about_zero.raw(c, c).sqrt()).collect();
    let mut solution = Solution { tolerance: options.tolerance, ..Solution::default() };
    let (products, errors, effects) = if several {
        let solver = Solver { state, system: &system, sums: &about_mean, lengths: &lengths, options };
        let columns: Vec<Column> =
            (1..=count).into_par_iter().map(|c| solver.column(c)).collect::<Result<_, Error>>()?;
        solution.steps = columns.iter().map(|column| column.steps).max().unwrap_or(0);
        solution.reached = columns.iter().fold(0.0, |most, column| f64::max(most, column.reached));
        let products = products_of(&about_zero, &columns).into_iter().map(|p| p.resize()).collect();
        let errors: Vec<_> = columns.iter().map(|column| column.error).collect();
        (products, errors, columns.into_iter().map(|column| column.effects).collect())
    } else {
        let errors: Vec<_> = lengths[1..].iter().map(|length| length.scale(-240)).collect();
        (products_of_one(state), errors, means_of_one(state, &system))
    };
    let errors: Vec<Float<4>> = std::iter::once(Float::ZERO).chain(errors).collect();
    let levels: Vec<usize> = system.starts.windows(2).map(|ends| ends[1] - ends[0]).collect();
    let coefficients = levels.iter().sum::<usize>() - (levels.len() - 1);
    let sums = table(&about_zero, &lengths, &errors, &products, if several { 126 } else { 250 });
    let names = state.effects().map(str::to_owned).collect();
    let totals = (1..=count).map(|c| about_mean.product(c, c).to_f64()).collect();
    let parts = if several { system.parts() } else { levels[0] };
    let residual = state.moments.of_residuals(sums, Taken { names, coefficients, lengths, errors });
    Ok(Absorbed { residual, levels, parts, places: system.places, effects, totals, solution })
}

/// The means of the columns within the levels of the one effect.
fn means_of_one(state: &EffectMoments, system: &System) -> Vec<Vec<DoubleDouble>> {
    let effect = &state.effects[0];
    let codes: Vec<usize> = effect.present().collect();
    let counts: Vec<Float<4>> = codes.iter().map(|code| read::<4>(&effect.sums[0], *code).reciprocal()).collect();
    debug_assert_eq!(codes.len(), system.size());
    let mean = |sums: &crate::exact::within::LevelSums| -> Vec<DoubleDouble> {
        codes.iter().zip(&counts).map(|(code, n)| (read::<4>(sums, *code) * *n).to_double_double()).collect()
    };
    effect.sums[1..].par_iter().map(mean).collect()
}

/// `Σ w x x′ − Σ_g s_g s′_g / n_g` for every two columns, by rows of the lower triangle without the constant.
///
/// Levels of equal weight share their denominator: their products are added up as integers, and divided once.
fn products_of_one(state: &EffectMoments) -> Vec<Float<8>> {
    let effect = &state.effects[0];
    let weight = |code: usize| effect.sums[0].entry(code).map(|(words, exponent)| wide::canonical(words, exponent));
    let mut levels: Vec<_> = effect.present().map(|code| (weight(code), code)).collect();
    levels.sort_unstable();
    let runs: Vec<(Float<8>, Vec<usize>)> = levels
        .chunk_by(|a, b| a.0 == b.0)
        .map(|run| (read::<8>(&effect.sums[0], run[0].1).reciprocal(), run.iter().map(|(_, code)| *code).collect()))
        .collect();
    let sums = Centred::<8>::new(&state.moments.sums, false);
    let row = |a: usize| -> Vec<Float<8>> {
        let entry = |b: usize| {
            let between =
                runs.iter().fold(Float::ZERO, |sum, (share, codes)| sum + *share * product(effect, a, b, codes));
            sums.raw(a, b) - between
        };
        (1..=a).map(entry).collect()
    };
    let rows: Vec<Vec<Float<8>>> = (1..effect.sums.len()).into_par_iter().map(row).collect();
    rows.concat()
}

/// `Σ_g s_g s′_g` over some levels, exactly before it is read.
fn product(effect: &super::state::Effect, a: usize, b: usize, codes: &[usize]) -> Float<8> {
    let (left, right) = (&effect.sums[a], &effect.sums[b]);
    let both = codes.iter().filter_map(|code| Some((left.entry(*code)?, right.entry(*code)?)));
    let mut both = both.peekable();
    let Some(((first, low), (second, other))) = both.peek().copied() else { return Float::ZERO };
    let length = first.len() + second.len() + 1;
    wide::with_zeros(2 * length, |space| {
        let (sum, product) = space.split_at_mut(length);
        for ((x, _), (y, _)) in both {
            wide::multiply(product, x, y);
            wide::add_shifted(sum, product, 0, false);
        }
        Float::from_wide(sum, (low + other) as i64)
    })
}

/// Products of the residuals of solved columns: `Σ w x x′ − bᵀa′ − aᵀr′`, `b` the sums within levels, `a` the effects and
/// `r′ = b′ − DᵀWD a′`. What is off is `r` times `r′`, in the metric of the system: of second order.
fn products_of(sums: &Centred<'_, 4>, columns: &[Column]) -> Vec<Float<4>> {
    let row = |i: usize| -> Vec<Float<4>> {
        let entry = |j: usize| {
            let effects = exact(&columns[j].effects);
            let between = columns[i].sums.iter().zip(&effects).fold(Float::ZERO, |sum, (b, a)| sum + *b * *a);
            // What is left is so small that pairs of doubles have all its bits that matter.
            let ((effects, unit), (rest, other)) = (&columns[i].scaled_effects, &columns[j].rest);
            let rest = effects.iter().zip(rest).fold(DoubleDouble::ZERO, |sum, (a, r)| sum + *a * *r);
            let rest = Float::from_f64(rest.hi) + Float::from_f64(rest.lo);
            sums.raw(i + 1, j + 1) - between - rest.scale(-unit - other)
        };
        (0..=i).map(entry).collect()
    };
    let rows: Vec<Vec<Float<4>>> = (0..columns.len()).into_par_iter().map(row).collect();
    rows.concat()
}

fn exact(effects: &[DoubleDouble]) -> Vec<Float<4>> {
    effects.iter().map(|a| Float::from_f64(a.hi) + Float::from_f64(a.lo)).collect()
}

/// The products as a table of sums, to so many bits of the columns' lengths before. A column that is not longer than
/// its error is zero.
fn table(
    sums: &Centred<'_, 4>,
    lengths: &[Float<4>],
    errors: &[Float<4>],
    products: &[Float<8>],
    bits: i64,
) -> Accumulator {
    let ends: Vec<i64> = lengths.iter().map(|length| length.exponent().max(-1100)).collect();
    let place = |i: usize, j: usize| (i - 1) * i / 2 + j - 1;
    let is_left = |c: usize| {
        let square = products[place(c, c)];
        let error = errors[c].resize::<8>().scale(1);
        !square.is_negative() && !(square - error * error).is_negative() && !square.is_zero()
    };
    let left: Vec<usize> = (1..lengths.len()).filter(|c| is_left(*c)).collect();
    let mut table = Accumulator::new(lengths.len());
    let range = |c: usize| (c, Range { low: (ends[c] - bits) as i32, top: ends[c] as i32 + 1 });
    table.reserve(lengths.len(), std::iter::once(0).chain(left.iter().copied()).map(range));
    let mut deposit = |i: usize, j: usize, value: Float<8>| {
        let unit = ends[i] + ends[j] - 2 * bits;
        table.deposit(j, i, &value.to_wide(unit), unit as i32, value.is_negative());
    };
    deposit(0, 0, sums.total().resize());
    for (at, i) in left.iter().enumerate() {
        left[..=at].iter().for_each(|j| deposit(*i, *j, products[place(*i, *j)]));
    }
    table
}

/// What solving for the effects of a column needs.
struct Solver<'a> {
    state: &'a EffectMoments,
    system: &'a System,
    sums: &'a Centred<'a, 4>,
    lengths: &'a [Float<4>],
    options: &'a AbsorbOptions,
}

impl Solver<'_> {
    /// The effects of one column of the table, in units in which its length about the mean is near one.
    fn column(&self, c: usize) -> Result<Column, Error> {
        let system = self.system;
        let own = self.lengths[c];
        let length = self.sums.product(c, c).abs().sqrt();
        let unit = -(if length.is_zero() { own } else { length }).exponent().max(-1100);
        let scale = unit + system.scale;
        let within = |length: Float<4>| length.scale(unit + system.scale / 2).to_f64();
        let sums = self.within_levels(c);
        let right: Vec<DoubleDouble> = sums.iter().map(|b| b.scale(scale).to_double_double()).collect();
        let mut effects = vec![DoubleDouble::ZERO; system.size()];
        effects[..system.starts[1]].fill(self.sums.mean(c).scale(unit).to_double_double());
        let goal = (0.1 * self.options.tolerance * within(length)).max(within(own.scale(-FLOOR_BITS - 6)));
        let (mut steps, mut before) = (0, f64::INFINITY);
        for _ in 0..ROUNDS {
            let rest: Vec<f64> = system.residual(&right, &effects).iter().map(|r| r.hi).collect();
            let about = system.about(&rest);
            // (A round that gains nothing is the last.)
            if about <= goal || about > 0.5 * before || steps >= self.options.steps {
                break;
            }
            before = about;
            let reduction = (0.3 * goal / about).max(REDUCTION);
            let run = system.run(&rest, reduction, self.options.steps - steps);
            steps += run.steps;
            effects.iter_mut().zip(&run.solution).for_each(|(a, z)| *a = *a + DoubleDouble::from(*z));
        }
        let scaled_effects = (effects, unit);
        let scaled_back = |a: &DoubleDouble| {
            let value = Float::<4>::from_f64(a.hi) + Float::from_f64(a.lo);
            value.scale(-unit).to_double_double()
        };
        let effects: Vec<DoubleDouble> = scaled_effects.0.iter().map(scaled_back).collect();
        let rest = system.exact_residual(&sums, &exact(&effects));
        // Of what is left the length is measured by solving for it.
        let left: Vec<f64> = rest.iter().map(|r| r.scale(scale).to_f64()).collect();
        let last = system.run(&left, MEASURED, MEASURED_STEPS);
        if !last.reached {
            return Err(Error::NoConvergence { steps: steps + last.steps, residual: f64::NAN });
        }
        let error = Float::from_f64(2.0 * last.length).scale(-unit - system.scale / 2);
        let relative = if length.is_zero() { 0.0 } else { (error * length.reciprocal()).to_f64() };
        let floor = own.scale(-FLOOR_BITS);
        if relative > self.options.tolerance && !(error - floor).is_negative() {
            return Err(Error::NoConvergence { steps, residual: relative });
        }
        let error = error + own.scale(-118);
        let rest = (rest.iter().map(|r| r.scale(scale).to_double_double()).collect(), scale);
        Ok(Column { sums, effects, rest, scaled_effects, error, steps, reached: relative })
    }

    /// The column's sums within all levels.
    fn within_levels(&self, c: usize) -> Vec<Float<4>> {
        let effects = self.state.effects.iter();
        effects.flat_map(|effect| effect.present().map(|code| read::<4>(&effect.sums[c], code))).collect()
    }
}
