//! The published means of each cell.

use super::cells::Cell;

const FILE: &str = include_str!("published.csv");

/// Published estimators, as the columns of the file are named.
pub const PEERS: [&str; 5] = ["ols", "random_forest", "gradient_boosting", "attention_regression", "mlp"];

/// The published mean of an estimator in a cell, if there is one.
pub fn mean(peer: &str, cell: Cell) -> Option<f64> {
    let mut lines = FILE.lines();
    let place = lines.next()?.split(',').position(|name| name == peer)?;
    let line = lines.map(|line| line.split(',').collect::<Vec<_>>()).find(|fields| {
        let number = |at: usize| fields[at].parse::<f64>().ok();
        fields[0] == cell.design().name && number(1) == Some(cell.rows as f64) && number(2) == Some(cell.snr())
    })?;
    line[place].parse().ok()
}

/// The mean of an estimator over cells, if all are published.
pub fn pooled(peer: &str, cells: &[Cell]) -> Option<f64> {
    let means = cells.iter().map(|cell| mean(peer, *cell)).collect::<Option<Vec<_>>>()?;
    (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::super::cells::all;
    use super::*;
    use crate::experiment::Size;

    #[test]
    fn published_means_of_all_cells() {
        let found = PEERS.map(|peer| pooled(peer, &all(Size::Full)).unwrap());
        let expected = [0.279, 0.454, 0.418, 0.476, 0.529];
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 5e-4), "{found:?}");
        assert_eq!(pooled("ols", &all(Size::Smoke)), None);
    }
}
