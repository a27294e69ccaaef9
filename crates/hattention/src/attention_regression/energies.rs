//! Scores as energies: attention regression as a canonical ensemble.

use std::ops::Range;

use super::fit::AttentionRegression;
use super::options::Score;
use super::predict::{Memory, query};
use crate::error::Error;
use crate::thermodynamics::{Energies, Head, Look, Pooled, Tile, heads, look};

/// Scores of rows with the training rows, head by head, as energies at temperature 1.
///
/// # Formula
/// `E = ½ (x − xᵢ)ᵀ Ω (x − xᵢ)` for distances, `−xᵀ Ω xᵢ` for inner products, `−D ln|1 + xᵀ Ω xᵢ|` for polynomials; in masks of decay more by
/// age. Weights are `e^(−E)/Z`.
#[derive(Clone, Debug)]
pub struct Scores<'a> {
    model: &'a AttentionRegression,
    memories: Vec<Memory>,
    /// Rows, standardised.
    inputs: Vec<Vec<f64>>,
    /// Queries by head.
    queries: Vec<Vec<Vec<f64>>>,
    /// Where training rows stand among themselves, if it is they.
    places: Option<Vec<usize>>,
    oldest: usize,
    decay: f64,
}

impl AttentionRegression {
    /// Scores of the training rows themselves, under the mask of the fit, in their own order.
    pub fn own_scores(&self) -> Scores<'_> {
        let rows = self.inputs.rows;
        let mut places = vec![0; rows];
        self.order.iter().enumerate().for_each(|(place, row)| places[*row] = place);
        let input = |place: &usize| (0..self.inputs.columns).map(|c| self.inputs.column(c)[*place]).collect();
        Scores { places: Some(places.clone()), ..self.scores_of(places.iter().map(input).collect()) }
    }

    /// Scores of new rows.
    ///
    /// # Errors
    /// As [`AttentionRegression::predict`].
    pub fn scores(&self, columns: &[&[f64]]) -> Result<Scores<'_>, Error> {
        let rows = self.check(columns)?;
        Ok(self.scores_of((0..rows).map(|row| self.input(columns, row)).collect()))
    }

    fn scores_of(&self, inputs: Vec<Vec<f64>>) -> Scores<'_> {
        let of_head = |factor: &Vec<Vec<f64>>| inputs.iter().map(|x| query(factor, x)).collect();
        let queries = self.parameters.factors.iter().map(of_head).collect();
        let decay = super::prepare::decay(&self.options.mask);
        Scores { model: self, memories: self.memories(), inputs, queries, places: None, oldest: self.oldest(), decay }
    }
}

impl Scores<'_> {
    /// One batch, heads, queries and keys.
    pub fn shape(&self) -> [usize; 4] {
        [1, self.memories.len(), self.inputs.len(), self.model.inputs.rows]
    }

    /// What every head says.
    ///
    /// # Errors
    /// [`Error::Format`] for scores that overflow.
    pub fn heads(&self) -> Result<Vec<Head>, Error> {
        heads(self)
    }

    /// A closer look, as [`Attention::look`](crate::thermodynamics::Attention::look).
    ///
    /// # Errors
    /// As there.
    pub fn look(&self, most: usize, temperatures: &[f64], ranges: &[Pooled], bins: usize) -> Result<Vec<Look>, Error> {
        look(self, most, temperatures, ranges, bins)
    }

    /// Whether a query reads a key, and how much older the key is.
    fn read(&self, row: usize, key: usize) -> Option<f64> {
        let rows = self.model.inputs.rows;
        match &self.places {
            Some(places) => {
                let place = places[row];
                self.model.scope.reads(place, key).then(|| self.decay * (place as f64 - key as f64).abs())
            }
            None => (key >= self.oldest).then(|| self.decay * (rows - key) as f64),
        }
    }
}

impl Energies for Scores<'_> {
    fn shape(&self) -> [usize; 4] {
        self.shape()
    }

    fn temperature(&self) -> f64 {
        1.0
    }

    fn fill(&self, [_, head]: [usize; 2], queries: Range<usize>, keys: Range<usize>, tile: &mut Tile) {
        let memory = &self.memories[head];
        for (row, tile) in queries.zip(tile) {
            let query = &self.queries[head][row];
            let half = 0.5 * query.iter().map(|q| q * q).sum::<f64>();
            let products = &mut tile[..keys.len()];
            products.fill(0.0);
            for (c, q) in query.iter().enumerate() {
                products.iter_mut().zip(&memory.keys.column(c)[keys.clone()]).for_each(|(sum, k)| *sum += q * k);
            }
            for (key, energy) in keys.clone().zip(products) {
                let product = *energy;
                let own = match self.model.options.score {
                    // (Rounding may leave a little less than nothing.)
                    Score::Distance => {
                        let distance = half - product - memory.keys.half_norms[key];
                        if distance < 0.0 { 0.0 } else { distance }
                    }
                    Score::Dot => -product,
                    Score::Polynomial { degree } => -f64::from(degree) * (1.0 + product).abs().ln(),
                };
                *energy = self.read(row, key).map_or(f64::INFINITY, |age| own + age);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::super::options::{Mask, Options};
    use super::*;

    /// Entropies are those of the weights that predictions are made of.
    #[test]
    fn ensembles_are_those_of_the_weights() {
        let rows = 70;
        let columns: Vec<Vec<f64>> = (0..2).map(|c| wave(rows, 50.0 * c as f64)).collect();
        let train: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let y: Vec<f64> = columns[0].iter().zip(&columns[1]).map(|(a, b)| (5.0 * a).sin() + b).collect();
        let queries: Vec<Vec<f64>> = (0..2).map(|c| wave(11, 1000.0 + c as f64)).collect();
        let new: Vec<&[f64]> = queries.iter().map(|c| &c[..]).collect();
        for score in [Score::Distance, Score::Dot, Score::Polynomial { degree: 2 }] {
            let blocks = (0..rows as u64).map(|i| i % 5).collect();
            for mask in
                [Mask::Others, Mask::Window(20), Mask::Before, Mask::All, Mask::Decay(15.0), Mask::Blocks(blocks)]
            {
                if score.power() > 0 && matches!(mask, Mask::Decay(_)) {
                    continue;
                }
                let options = Options { heads: 2, steps: 4, score, mask: mask.clone(), ..Options::default() };
                let model = AttentionRegression::fit(&train, &y, options).unwrap();
                let heads = model.scores(&new).unwrap().heads().unwrap();
                for (memory, (factor, head)) in model.memories().iter().zip(model.parameters.factors.iter().zip(&heads))
                {
                    for (row, found) in head.queries.iter().enumerate() {
                        let weights = memory.softmax(&query(factor, &model.input(&new, row)));
                        let entropy: f64 = weights.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
                        assert!((found.unwrap().entropy - entropy).abs() < 1e-10, "{score:?} {mask:?}");
                    }
                }
                let own = model.own_scores().heads().unwrap();
                let keys = |row: usize| own[0].queries[row].map_or(0.0, |o| o.keys);
                let expected = match mask {
                    Mask::Others => [69.0; 3],
                    Mask::All => [70.0; 3],
                    Mask::Window(_) => [0.0, 10.0, 20.0],
                    Mask::Blocks(_) => [56.0; 3],
                    _ => [0.0, 10.0, 69.0],
                };
                assert_eq!([keys(0), keys(10), keys(69)], expected, "{mask:?}");
                let look = model.own_scores().look(16, &[0.5, 1.0], &[own[0].pooled, own[1].pooled], 8).unwrap();
                assert!((look[1].keys.iter().sum::<f64>() - 1.0).abs() < 1e-12 && look[0].curve.len() == 2);
            }
        }
    }
}
