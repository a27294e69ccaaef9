//! How fast softmax attention goes to its limits.

use hattention::{Filter, Matrix};
use rand::seq::SliceRandom;

use super::softmax::{SCORES, Score, Whitening, centred, deviation, scores};
use crate::designs::{correlated, fit, graded, normal, predict};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::quarters::Quarters;
use crate::rows::Row;
use crate::seeds::Generator;
use crate::statistics::line;

const QUERIES: usize = 50;
/// Temperatures in quarter decades, and those between which slopes are fitted.
const PLACES: std::ops::RangeInclusive<i32> = 0..=20;
const FIRST: f64 = 99.0;
/// Gaps over temperatures.
const COLD: [f64; 5] = [10.0, 15.0, 20.0, 25.0, 30.0];
const COLDEST: f64 = 40.0;

/// Keys, targets, and queries.
struct World {
    x: Matrix,
    y: Vec<f64>,
    fresh: Matrix,
}

/// For each replicate a row a score with slopes and shares, and a row a temperature with errors.
pub(super) fn rows(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let keys = unit.word("keys")?;
    let mut all = Vec::new();
    for seed in 0..context.plan.seeds {
        let mut generator = context.generator("rows", seed);
        let world =
            if keys == "normal" { drawn(unit.count("rows")?, &mut generator)? } else { quarters(&mut generator)? };
        let found = measured(&world)?;
        all.extend(found.into_iter().map(|row| row.label("keys", keys).label("seed", seed)));
    }
    context.progress(1.0);
    Ok(all)
}

fn drawn(n: usize, generator: &mut Generator) -> Result<World, Error> {
    let all = correlated(n + QUERIES, &graded(5, 10.0), generator);
    let (beta, bent) = (normal(5, 1, generator), normal(5, 1, generator));
    let noise = normal(n, 1, generator);
    let dot = |row: &[f64], b: &Matrix| row.iter().zip(&b.data).map(|(x, b)| x * b).sum::<f64>();
    let y = (0..n).map(|i| dot(all.row(i), &beta) + dot(all.row(i), &bent).powi(2) + noise.at(i, 0)).collect();
    let part = |first: usize, rows: usize| Matrix::from_fn(rows, 5, |i, j| all.at(first + i, j));
    Ok(World { x: part(0, n), y, fresh: part(n, QUERIES) })
}

fn quarters(generator: &mut Generator) -> Result<World, Error> {
    let quarters = Quarters::read()?;
    let mut places: Vec<usize> = (0..quarters.inflation.len()).collect();
    places.shuffle(generator);
    let (fresh, keys) = places.split_at(QUERIES);
    let of = |rows: &[usize]| Matrix::from_fn(rows.len(), quarters.columns.len(), |i, j| quarters.columns[j][rows[i]]);
    Ok(World { x: of(keys), y: keys.iter().map(|i| quarters.inflation[*i]).collect(), fresh: of(fresh) })
}

fn measured(world: &World) -> Result<Vec<Row>, Error> {
    let target = Matrix::new(world.y.len(), 1, world.y.clone())?;
    let (whitening, fits) = fit(&world.x, &target, true, Filter::Ols)?;
    let ols = predict(&whitening, &fits, &world.fresh)?.data;
    let (y, mean) = centred(&world.y);
    let ols: Vec<f64> = ols.iter().map(|p| p - mean).collect();
    let white = Whitening::of(&world.x);
    let mut rows = Vec::new();
    for (score, name) in SCORES {
        let keys = Keys::of(world, &white, score);
        let constant = if score == Score::Distance { keys.constant(&y) } else { 0.0 };
        let (mut hot, mut first) = (Vec::new(), Vec::new());
        for place in PLACES {
            let t = 10f64.powf(f64::from(place) / 4.0);
            let deviations = keys.deviations(&y, t);
            let off = deviations.iter().zip(&ols).map(|(d, o)| t * d - o - constant);
            let (from_mean, from_first) = (root(deviations.iter().copied()), root(off));
            hot.push((t, from_mean));
            first.push((t, from_first));
            rows.push(
                Row::new()
                    .label("kind", "limit")
                    .label("score", name)
                    .label("T", t)
                    .value("distance to the mean", from_mean)
                    .value("distance to least squares", from_first),
            );
        }
        let row = Row::new()
            .label("kind", "slopes")
            .label("score", name)
            .value("slope to the mean", slope(&hot)?)
            .value("slope to least squares", slope(&first)?)
            .value("constant", constant);
        rows.push(keys.cold(&y, row)?);
    }
    let raw = Keys::of(world, &Whitening::none(&world.x), Score::Dot).deviations(&y, 1e5);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let alike = dot(&raw, &ols) / (dot(&raw, &raw) * dot(&ols, &ols)).sqrt();
    rows.push(Row::new().label("kind", "raw").value("distance up to a factor", (1.0 - alike * alike).max(0.0).sqrt()));
    Ok(rows)
}

/// Scores of all queries, and which row is nearest.
struct Keys {
    scores: Vec<Vec<f64>>,
    nearest: Vec<usize>,
    lengths: Vec<f64>,
}

impl Keys {
    fn of(world: &World, whitening: &Whitening, score: Score) -> Self {
        let keys: Vec<Vec<f64>> = (0..world.x.rows).map(|i| whitening.key(world.x.row(i))).collect();
        let queries: Vec<Vec<f64>> = (0..world.fresh.rows).map(|i| whitening.key(world.fresh.row(i))).collect();
        let nearest = queries.iter().map(|q| top(&scores(Score::Distance, q, &keys)).0).collect();
        let lengths = keys.iter().map(|k| k.iter().map(|k| k * k).sum()).collect();
        Self { scores: queries.iter().map(|q| scores(score, q, &keys)).collect(), nearest, lengths }
    }

    fn deviations(&self, centred: &[f64], temperature: f64) -> Vec<f64> {
        self.scores.iter().map(|s| deviation(s, centred, temperature)).collect()
    }

    /// `−½ cov(‖k‖², y)`.
    fn constant(&self, centred: &[f64]) -> f64 {
        -0.5 * self.lengths.iter().zip(centred).map(|(l, y)| l * y).sum::<f64>() / centred.len() as f64
    }

    /// What is left of other rows as T falls, and whether the top row is the nearest.
    fn cold(&self, centred: &[f64], row: Row) -> Result<Row, Error> {
        let range = centred.iter().fold(f64::MIN, |m, y| m.max(*y)) - centred.iter().fold(f64::MAX, |m, y| m.min(*y));
        let (mut worst, mut slopes, mut nearest) = (0.0f64, Vec::new(), 0);
        for (scores, near) in self.scores.iter().zip(&self.nearest) {
            let (best, gap) = top(scores);
            nearest += usize::from(best == *near);
            let off = |over: f64| (deviation(scores, centred, gap / over) - centred[best]).abs();
            worst = worst.max(off(COLDEST) / range);
            // (Rows of one target leave nothing to measure.)
            let errors: Vec<f64> = COLD.iter().map(|over| off(*over).ln()).collect();
            if errors.iter().all(|e| e.is_finite()) {
                slopes.push(line(&COLD, &errors)?.slope.value);
            }
        }
        slopes.sort_by(f64::total_cmp);
        Ok(row
            .value("coldest, off over the range", worst)
            .value("cold rate", crate::statistics::quantile(&slopes, 0.5))
            .value("share of queries whose top row is the nearest", nearest as f64 / self.scores.len() as f64))
    }
}

/// The place of the largest score, and its gap to the next.
fn top(scores: &[f64]) -> (usize, f64) {
    let larger = |best: usize, i: usize| if scores[i] > scores[best] { i } else { best };
    let best = (0..scores.len()).fold(0, larger);
    let next = scores.iter().enumerate().filter(|(i, _)| *i != best).fold(f64::MIN, |m, (_, s)| m.max(*s));
    (best, scores[best] - next)
}

fn root(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(s, n), v| (s + v * v, n + 1.0));
    (sum / count).sqrt()
}

/// Of logarithms, where T is large.
fn slope(points: &[(f64, f64)]) -> Result<f64, Error> {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().filter(|(t, _)| *t > FIRST).map(|(t, e)| (t.ln(), e.ln())).unzip();
    Ok(line(&x, &y)?.slope.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tops_and_slopes() {
        assert_eq!(top(&[1.0, 4.0, 2.5]), (1, 1.5));
        let points: Vec<(f64, f64)> = [10.0, 100.0, 1e3, 1e4].iter().map(|t| (*t, 3.0 / t)).collect();
        assert!((slope(&points).unwrap() + 1.0).abs() < 1e-12);
    }
}
