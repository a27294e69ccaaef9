//! Penalties chosen by cross-validation.

use super::fit::AttentionRegression;
use super::folds;
use super::options::{Coefficients, Mask, Options, Ranks};
use super::prepare::check;
use crate::error::Error;

/// Penalties that were tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// λ.
    pub penalty: f64,
    /// τ.
    pub mixing: f64,
    /// Whether ranks were read.
    pub ranks: bool,
    /// Mean square of the errors of the rows held out, in squares of the target's units.
    pub error: f64,
}

/// What cross-validation chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The options, with the penalties that predicted best and the path to them.
    pub options: Options,
    /// All that were tried, in their order.
    pub tried: Vec<Tried>,
    /// Mean square of the errors of the rows held out under these.
    pub error: f64,
    /// The same where they are predicted by the mean of the rows that are fitted: `1 − error / error_mean` is R² of rows held out.
    pub error_mean: f64,
    /// Rows that it was chosen with.
    pub rows: usize,
}

/// Factors from one λ, and from one τ, to the next.
const FACTORS: [f64; 2] = [2.5, 3.0];
/// The share that an error must fall by for another step: less is chance, and paths would be long.
const GAIN: f64 = 1e-3;
/// How much larger, as a share, the error of inputs or of their ranks may be to be followed: at the start, and once λ is found.
const BEHIND: [f64; 2] = [0.5, 0.1];
/// Steps in one direction at most.
const STEPS: usize = 8;

impl Options {
    /// Penalties about these that predict rows held out best, by cross-validation with so many folds.
    ///
    /// Steps of a factor 2.5 in λ, then of 3 in τ, then in λ again, are taken as long as rows held out are predicted better, every search
    /// from where that of the best penalties so far ended; fits and the rows that they predict are no more than `most` together. Under
    /// the likelihood λ and τ do not depend on the number of rows, so that what is best for some is good for all. Under [`Ranks::Auto`]
    /// inputs and ranks go this way side by side, until one's error is half as large again as the other's at the start, or larger by a
    /// tenth later; ranks are chosen where they are better by a thousandth. Folds are drawn at random; whole blocks under [`Mask::Blocks`](super::Mask::Blocks); where
    /// rows read those before them, rows of the later half are predicted by fits of those before.
    ///
    /// # Errors
    /// As [`AttentionRegression::fit`]; [`Error::Parameter`] for fewer than two folds, or more than rows.
    ///
    /// # Example
    /// ```
    /// use hattention::attention_regression::{AttentionRegression, Options};
    /// let x: Vec<f64> = (0..120).map(|i| i as f64 / 120.0).collect();
    /// let y: Vec<f64> = x.iter().map(|x| (9.0 * x).sin()).collect();
    /// let chosen = Options::default().choose(&[&x], &y, 5, 1000).unwrap();
    /// assert!(chosen.options.penalty < Options::default().penalty);
    /// let model = AttentionRegression::fit(&[&x], &y, chosen.options).unwrap();
    /// ```
    pub fn choose(&self, columns: &[&[f64]], target: &[f64], count: usize, most: usize) -> Result<Chosen, Error> {
        self.check()?;
        check(columns, target.len())?;
        self.mask.check(target.len(), true)?;
        let rows = folds::sample(target.len(), most, self);
        self.check_rows(rows.len(), columns.len())?;
        if count < 2 || count > rows.len() {
            let allowed = "two at least, and no more than rows";
            return Err(Error::Parameter { name: "the number of folds", got: count.to_string(), allowed });
        }
        let splits = folds::folds(&rows, count, self);
        for split in &splits {
            folds::check(split, &self.mask, "two at least: take more folds")?;
        }
        let kinds = match self.ranks {
            Ranks::Auto if self.heads > 0 => vec![Ranks::No, Ranks::Yes],
            Ranks::Auto => vec![Ranks::No],
            given => vec![given],
        };
        let mut searches = Vec::with_capacity(kinds.len());
        for ranks in kinds {
            let folds: Vec<Fold> = splits.iter().map(|split| Fold::of(columns, target, split, self)).collect();
            searches.push(Search::of(folds, Self { ranks, ..self.clone() })?);
        }
        let mut tried = drop_behind(&mut searches, BEHIND[0]);
        for (phase, place) in [0, 1, 0].into_iter().enumerate() {
            for search in &mut searches {
                if phase == 0 {
                    search.upwards()?;
                }
                search.walk(place)?;
            }
            tried.append(&mut drop_behind(&mut searches, BEHIND[1]));
        }
        let error_mean = searches.first().map_or(f64::NAN, Search::error_mean);
        tried.append(&mut drop_behind(&mut searches, 0.0));
        let Some(Search { best, path, tried: mut own, .. }) = searches.into_iter().next() else {
            return Err(Error::NoConvergence { steps: 0, residual: f64::NAN });
        };
        tried.append(&mut own);
        let Tried { penalty, mixing, ranks, error } = best;
        let ranks = if ranks { Ranks::Yes } else { Ranks::No };
        let options = Self { penalty, mixing, path, ranks, ..self.clone() };
        Ok(Chosen { options, tried, error, error_mean, rows: rows.len() })
    }
}

/// Rows that are fitted, and rows that are predicted.
struct Fold {
    train: Vec<Vec<f64>>,
    train_target: Vec<f64>,
    test: Vec<Vec<f64>>,
    test_target: Vec<f64>,
    mask: Mask,
    /// The last fit, and that of the best penalties so far.
    last: Option<AttentionRegression>,
    best: Option<AttentionRegression>,
}

impl Fold {
    fn of(columns: &[&[f64]], target: &[f64], split: &folds::Split, options: &Options) -> Self {
        let (train, train_target) = folds::rows(columns, target, &split.train);
        let (test, test_target) = folds::rows(columns, target, &split.test);
        let mask = folds::mask(&options.mask, &split.train);
        Self { train, train_target, test, test_target, mask, last: None, best: None }
    }

    /// The sum of the squares of what the rows held out are away from the mean of the others.
    fn error_mean(&self) -> f64 {
        let mean = self.train_target.iter().sum::<f64>() / self.train_target.len() as f64;
        self.test_target.iter().map(|y| (y - mean) * (y - mean)).sum()
    }

    /// The sum of the squares of the errors of the rows held out.
    fn error(&mut self, options: &Options) -> Result<f64, Error> {
        let train: Vec<&[f64]> = self.train.iter().map(|column| &column[..]).collect();
        let test: Vec<&[f64]> = self.test.iter().map(|column| &column[..]).collect();
        let options = Options { mask: self.mask.clone(), ..options.clone() };
        let model = match options.hold_out > 0.0 || options.restarts > 1 {
            true => AttentionRegression::fit(&train, &self.train_target, options)?,
            false => AttentionRegression::fit_from(&train, &self.train_target, options, self.best.as_ref())?,
        };
        let predictions = model.predict(&test)?;
        self.last = Some(model);
        Ok(predictions.iter().zip(&self.test_target).map(|(p, y)| (y - p) * (y - p)).sum())
    }
}

/// Folds, and what was found so far.
struct Search {
    options: Options,
    folds: Vec<Fold>,
    tried: Vec<Tried>,
    rows: f64,
    best: Tried,
    /// Penalties that led to the best.
    path: Vec<(f64, f64)>,
}

/// Leaves the searches whose error is at most so much above the least (the first of equals, where it is nothing); what the others tried.
fn drop_behind(searches: &mut Vec<Search>, behind: f64) -> Vec<Tried> {
    let least = searches.iter().map(|search| search.best.error).fold(f64::INFINITY, f64::min);
    let first = searches.iter().position(|search| search.best.error <= (1.0 + GAIN) * least).unwrap_or(0);
    let (mut at, mut tried) = (0, Vec::new());
    searches.retain_mut(|search| {
        let kept = at == first || behind > 0.0 && search.best.error <= (1.0 + behind) * least;
        at += 1;
        if !kept {
            tried.append(&mut search.tried);
        }
        kept
    });
    tried
}

impl Search {
    /// At the penalties of the options.
    fn of(folds: Vec<Fold>, options: Options) -> Result<Self, Error> {
        let rows = folds.iter().map(|fold| fold.test_target.len() as f64).sum();
        let Options { penalty, mixing, ranks, ref path, .. } = options;
        let best = Tried { penalty, mixing, ranks: ranks == Ranks::Yes, error: f64::INFINITY };
        let mut search = Self { path: path.clone(), options, folds, tried: Vec::new(), rows, best };
        search.best = search.at(penalty, mixing)?;
        search.keep();
        Ok(search)
    }

    /// Steps in λ (the first place) or τ as long as rows held out are predicted better.
    fn walk(&mut self, place: usize) -> Result<(), Error> {
        for down in [true, false] {
            let before = self.best;
            for _ in 0..STEPS {
                let factor = if down { 1.0 / FACTORS[place] } else { FACTORS[place] };
                let Tried { mut penalty, mut mixing, .. } = self.best;
                *[&mut penalty, &mut mixing][place] *= factor;
                let next = self.at(penalty, mixing)?;
                let better = next.error < (1.0 - GAIN) * self.best.error;
                if !better {
                    break;
                }
                self.path.push((self.best.penalty, self.best.mixing));
                self.best = next;
                self.keep();
            }
            if self.best != before {
                break;
            }
        }
        Ok(())
    }

    /// What it is where they are predicted by the mean of the rows that are fitted.
    fn error_mean(&self) -> f64 {
        self.folds.iter().map(Fold::error_mean).sum::<f64>() / self.rows
    }

    /// The last penalties are the best so far.
    fn keep(&mut self) {
        self.folds.iter_mut().for_each(|fold| fold.best = fold.last.take());
    }

    /// Where rows held out are predicted better without any head, the best λ above, as far as it takes for heads to be as good as
    /// none. Small steps up may find nothing on their way, and metrics that know the rows by heart keep to that under any
    /// penalty: each λ starts anew.
    fn upwards(&mut self) -> Result<(), Error> {
        if self.options.coefficients == Coefficients::Searched {
            return Ok(());
        }
        let before: Vec<Option<AttentionRegression>> = self.folds.iter_mut().map(|fold| fold.best.take()).collect();
        let none = Options { heads: 0, ..self.options.clone() };
        let mut alone = 0.0;
        for fold in &mut self.folds {
            alone += fold.error(&none)?;
        }
        alone /= self.rows;
        let (mut models, mut penalty) = (before, self.best.penalty);
        for _ in 0..STEPS {
            if alone >= (1.0 - GAIN) * self.best.error {
                break;
            }
            penalty *= FACTORS[0];
            let next = self.at(penalty, self.best.mixing)?;
            if next.error < (1.0 - GAIN) * self.best.error {
                models = self.folds.iter_mut().map(|fold| fold.last.take()).collect();
                self.best = next;
            }
        }
        self.folds.iter_mut().zip(models).for_each(|(fold, model)| fold.best = model);
        Ok(())
    }

    /// What some penalties are worth.
    fn at(&mut self, penalty: f64, mixing: f64) -> Result<Tried, Error> {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b;
        if let Some(known) = self.tried.iter().find(|t| near(t.penalty, penalty) && near(t.mixing, mixing)) {
            return Ok(*known);
        }
        let options = Options { penalty, mixing, ..self.options.clone() };
        let mut squares = 0.0;
        for fold in &mut self.folds {
            squares += fold.error(&options)?;
        }
        let ranks = options.ranks == Ranks::Yes;
        let tried = Tried { penalty, mixing, ranks, error: squares / self.rows };
        self.tried.push(tried);
        Ok(tried)
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::*;

    #[test]
    fn noise_alone_is_penalised_more_and_a_curve_less() {
        let x: Vec<Vec<f64>> = (0..2).map(|c| wave(200, 300.0 * c as f64)).collect();
        let columns: Vec<&[f64]> = x.iter().map(|c| &c[..]).collect();
        let curve: Vec<f64> = x[0].iter().map(|x| (20.0 * x).sin()).collect();
        let noise: Vec<f64> = curve.iter().zip(wave(200, 9999.0)).map(|(y, e)| y + 6.0 * e).collect();
        let of = |target: &[f64]| Options::default().choose(&columns, target, 5, 150).unwrap();
        let (for_noise, for_curve) = (of(&noise), of(&curve));
        assert!(for_curve.options.penalty < for_noise.options.penalty, "{:?} {:?}", for_curve.tried, for_noise.tried);
        for chosen in [&for_noise, &for_curve] {
            let least = chosen.tried.iter().map(|tried| tried.error).fold(f64::INFINITY, f64::min);
            let Options { penalty, mixing, ranks, .. } = chosen.options;
            let own = |t: &&Tried| (t.penalty, t.mixing, t.ranks) == (penalty, mixing, ranks == Ranks::Yes);
            assert!(chosen.tried.iter().find(own).unwrap().error <= least / (1.0 - GAIN));
            assert_eq!(chosen.rows, 150);
            assert!(chosen.tried.iter().any(|tried| tried.error == chosen.error) && chosen.error_mean > 0.0);
        }
        assert_eq!(of(&curve), for_curve);
        let wrong = |count: usize| Options::default().choose(&columns, &noise, count, 150);
        assert!(wrong(1).is_err() && wrong(151).is_err());
        let short = Options { mask: Mask::Blocks(vec![1; 9]), ..Options::default() };
        assert!(matches!(short.choose(&columns, &noise, 5, 150), Err(Error::Shape { .. })));
    }

    #[test]
    fn ranks_are_taken_where_they_predict_better() {
        let x: Vec<Vec<f64>> = (0..2).map(|c| wave(300, 300.0 * c as f64)).collect();
        let noise = wave(300, 9999.0);
        let y: Vec<f64> = (0..300).map(|i| (6.0 * x[0][i]).sin() + x[1][i] + 0.2 * noise[i]).collect();
        // The same inputs with a long tail.
        let long: Vec<Vec<f64>> = x.iter().map(|column| column.iter().map(|x| (9.0 * x).exp()).collect()).collect();
        let of = |columns: &[Vec<f64>], ranks| {
            let columns: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
            Options { ranks, ..Options::default() }.choose(&columns, &y, 5, 300).unwrap()
        };
        let (plain, by_rank) = (of(&long, Ranks::No), of(&long, Ranks::Yes));
        assert!(by_rank.error < 0.7 * plain.error, "{by_rank:?} {plain:?}");
        let chosen = of(&long, Ranks::Auto);
        assert_eq!((chosen.options.ranks, chosen.error), (Ranks::Yes, by_rank.error));
        assert!(chosen.tried.iter().any(|tried| !tried.ranks));
        // Even inputs are as good as they are.
        let even = of(&x, Ranks::Auto);
        assert!(even.error <= 1.01 * of(&x, Ranks::No).error.min(of(&x, Ranks::Yes).error));
    }

    #[test]
    fn what_is_chosen_is_no_worse_than_the_linear_head_alone() {
        let x: Vec<Vec<f64>> = (0..20).map(|c| wave(100, 300.0 * c as f64)).collect();
        let columns: Vec<&[f64]> = x.iter().map(|c| &c[..]).collect();
        let y: Vec<f64> = x[0].iter().zip(wave(100, 9999.0)).map(|(x, e)| x + e).collect();
        let chosen = Options::default().choose(&columns, &y, 5, 1000).unwrap();
        let alone = Options { heads: 0, ..Options::default() }.choose(&columns, &y, 5, 1000).unwrap();
        let error = |chosen: &Chosen| chosen.tried.iter().map(|tried| tried.error).fold(f64::INFINITY, f64::min);
        assert!(error(&chosen) <= 1.01 * error(&alone), "{:?} {:?}", chosen.tried, alone.tried);
    }

    #[test]
    fn rows_held_out_end_a_search_early() {
        let x: Vec<Vec<f64>> = (0..3).map(|c| wave(120, 300.0 * c as f64)).collect();
        let columns: Vec<&[f64]> = x.iter().map(|c| &c[..]).collect();
        let y: Vec<f64> = x[0].iter().zip(wave(120, 9999.0)).map(|(x, e)| x + 2.0 * e).collect();
        // As published a row reads itself, and noise is learned by heart.
        let published = Options { standardize: true, ..Options::published() };
        let early = Options { hold_out: 0.3, ..published.clone() };
        let fit = |options: Options| AttentionRegression::fit(&columns, &y, options).unwrap();
        let (whole, early) = (fit(published), fit(early));
        assert!(early.report.converged && early.report.steps < whole.report.steps);
        assert!(early.report.residual > whole.report.residual);
        for mask in [Mask::Before, Mask::Blocks((0..120).map(|i| i / 10).collect())] {
            let options = Options { hold_out: 0.2, mask, ..Options::default() };
            assert!(fit(options).report.residual < 1.2);
        }
        let thrice = Options { restarts: 3, ..Options::default() };
        assert!(fit(thrice).report.loss <= fit(Options::default()).report.loss);
    }
}
