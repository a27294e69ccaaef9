//! Scores by cell, and means over cells.

use std::collections::BTreeMap;

use super::arms::ARMS;
use super::world::{self, DESIGNS, Design};
use super::{few, grid, replications};
use crate::experiment::{Results, Size};
use crate::rows::Row;
use crate::statistics::{Estimate, Interval, LEVEL, t_quantile};

/// A design, a number of training rows, and a signal-to-noise ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Its place among the designs.
    pub place: usize,
    /// Training rows.
    pub rows: usize,
    /// The ratio in hundredths.
    hundredths: usize,
}

impl Cell {
    pub fn new(design: &str, rows: usize, snr: f64) -> Option<Self> {
        let place = DESIGNS.iter().position(|known| known.name == design)?;
        Some(Self { place, rows, hundredths: (100.0 * snr).round() as usize })
    }

    pub fn design(self) -> &'static Design {
        world::design(DESIGNS[self.place].name)
    }

    pub fn snr(self) -> f64 {
        self.hundredths as f64 / 100.0
    }

    pub fn ceiling(self) -> f64 {
        world::ceiling(self.snr())
    }
}

/// The cells of a size, by design, rows and ratio.
pub fn all(size: Size) -> Vec<Cell> {
    let (rows, ratios, designs) = grid(size);
    let of_design = |design: &&'static str| {
        let design = *design;
        rows.iter().flat_map(move |rows| ratios.iter().filter_map(move |snr| Cell::new(design, *rows, *snr)))
    };
    designs.iter().flat_map(of_design).collect()
}

/// R² by arm and cell; each with its replications in order.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    found: BTreeMap<(String, Cell), BTreeMap<usize, f64>>,
}

impl Scores {
    /// Of cells whose replications are all there.
    pub fn of(results: &Results, seeds: usize) -> Self {
        let mut scores = Self::default();
        for row in results.rows() {
            let Some((arm, cell, replication)) = place(row) else { continue };
            let Some(r2) = row.get("R²") else { continue };
            scores.found.entry((arm.to_owned(), cell)).or_default().insert(replication, r2);
        }
        let planned = |arm: &str, rows: usize| if ARMS.contains(&arm) { replications(seeds, rows) } else { few(seeds) };
        scores.found.retain(|(arm, cell), found| found.len() >= planned(arm, cell.rows));
        scores
    }

    /// The scores of an arm in a cell, by replication; none where it was not run.
    pub fn cell(&self, arm: &str, cell: Cell) -> Vec<f64> {
        self.found.get(&(arm.to_owned(), cell)).map(|found| found.values().copied().collect()).unwrap_or_default()
    }

    /// The mean in a cell.
    pub fn mean(&self, arm: &str, cell: Cell) -> Option<f64> {
        Some(pooled(&[self.cell(arm, cell)])?.value)
    }

    /// The mean over cells, if all of them are there.
    pub fn pooled(&self, arm: &str, cells: &[Cell]) -> Option<Estimate> {
        pooled(&cells.iter().map(|cell| self.cell(arm, *cell)).collect::<Vec<_>>())
    }

    /// What an arm is better by than another on the same rows, if both are there in all cells.
    pub fn gain(&self, arm: &str, other: &str, cells: &[Cell]) -> Option<Estimate> {
        let gains = |cell: &Cell| -> Vec<f64> {
            let of = |arm: &str| self.found.get(&(arm.to_owned(), *cell));
            let (Some(own), Some(other)) = (of(arm), of(other)) else { return Vec::new() };
            own.iter().filter_map(|(replication, r2)| Some(r2 - other.get(replication)?)).collect()
        };
        pooled(&cells.iter().map(gains).collect::<Vec<_>>())
    }

    /// Those of these cells in which all arms of all cells are there.
    pub fn whole(&self, cells: &[Cell]) -> Vec<Cell> {
        let there = |cell: &&Cell| ARMS.iter().all(|arm| self.found.contains_key(&((*arm).to_owned(), **cell)));
        cells.iter().filter(there).copied().collect()
    }
}

/// Arm, cell and replication of a row.
pub fn place(row: &Row) -> Option<(&str, Cell, usize)> {
    let cell = Cell::new(row.word("design")?, row.count("N")?, row.number("SNR")?)?;
    Some((row.word("arm")?, cell, row.count("replication")?))
}

/// The variance of values about their mean, over n − 1.
pub fn variance(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)
}

/// The mean of the means of groups, with Student's interval for unequal variances (degrees of freedom of Welch and
/// Satterthwaite); nothing if a group is empty, no interval if one has a single value.
pub fn pooled(groups: &[Vec<f64>]) -> Option<Estimate> {
    if groups.is_empty() || groups.iter().any(Vec::is_empty) {
        return None;
    }
    let count = groups.len() as f64;
    let value = groups.iter().map(|g| g.iter().sum::<f64>() / g.len() as f64).sum::<f64>() / count;
    if groups.iter().any(|group| group.len() < 2) {
        return Some(Estimate { value, interval: None });
    }
    let variances: Vec<f64> = groups.iter().map(|group| variance(group) / group.len() as f64).collect();
    let total: f64 = variances.iter().sum();
    let freedom: f64 = groups.iter().zip(&variances).map(|(g, v)| v * v / (g.len() as f64 - 1.0)).sum();
    let quantile = if total > 0.0 { t_quantile(0.5 + LEVEL / 2.0, total * total / freedom) } else { 0.0 };
    let half = quantile * total.sqrt() / count;
    Some(Estimate { value, interval: Some(Interval::new(value - half, value + half, LEVEL)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::mean;

    #[test]
    fn means_over_groups() {
        let one = vec![1.0, 2.0, 4.0];
        let (found, known) = (pooled(std::slice::from_ref(&one)).unwrap(), mean(&one));
        let (found_i, known_i) = (found.interval.unwrap(), known.interval.unwrap());
        assert!(found.value == known.value && (found_i.low - known_i.low).abs() < 1e-12);
        // R: t.test(c(1, 2, 4), -c(0, 3))$conf.int / 2 gives -2.5098498 to 6.3431831: half of a sum is a pooled mean of two.
        let two = pooled(&[one, vec![0.0, 3.0]]).unwrap();
        let interval = two.interval.unwrap();
        assert!((two.value - (7.0 / 3.0 + 1.5) / 2.0).abs() < 1e-15);
        assert!((interval.low + 2.509_849_8).abs() < 1e-6 && (interval.high - 6.343_183_1).abs() < 1e-6);
        assert_eq!(pooled(&[vec![1.0], vec![]]), None);
        assert_eq!(pooled(&[vec![1.0], vec![3.0, 3.0]]).unwrap(), Estimate { value: 2.0, interval: None });
        assert_eq!(pooled(&[vec![3.0, 3.0]]).unwrap().interval, Some(Interval::new(3.0, 3.0, LEVEL)));
    }

    #[test]
    fn ninety_six_cells() {
        let cells = all(Size::Full);
        assert_eq!((cells.len(), cells[0].snr(), cells[95].rows), (96, 0.5, 5000));
        let ceiling = cells.iter().map(|cell| cell.ceiling()).sum::<f64>() / 96.0;
        assert!((ceiling - 0.5625).abs() < 1e-12);
    }
}
