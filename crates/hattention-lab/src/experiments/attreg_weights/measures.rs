//! What weights say, quarter by quarter.

use hattention::attention::{Diagnostics, turnover};

use super::NAMED;
use crate::quarters::Quarters;
use crate::rows::Row;

/// Rows that are told of a named quarter.
const TOP: usize = 5;

/// The measures of one prediction's weights, as the rows have them.
pub(super) const MEASURES: [&str; 6] =
    ["concentration", "short position", "leverage", "gross leverage", "effective rows", "turnover"];

/// Follows the weights of one scheme along the quarters.
pub(super) struct Follower<'a> {
    quarters: &'a Quarters,
    scheme: &'a str,
    before: Option<Vec<f64>>,
    pub(super) rows: Vec<Row>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(quarters: &'a Quarters, scheme: &'a str) -> Self {
        Self { quarters, scheme, before: None, rows: Vec::new() }
    }

    /// The weights of all earlier rows in the prediction of row `t`, and what else is known of it.
    pub(super) fn push(&mut self, t: usize, weights: Vec<f64>, prediction: f64, more: &[(&str, f64)]) {
        let (name, inflation) = (&self.quarters.names[t], &self.quarters.inflation);
        let found = Diagnostics::of(&weights);
        let turned = self.before.as_ref().map_or(f64::NAN, |before| {
            let mut before = before.clone();
            before.resize(weights.len(), 0.0);
            turnover(&weights, &before)
        });
        let read: f64 = weights.iter().zip(inflation).map(|(w, y)| w * y).sum();
        let numbers = [found.concentration, found.short, found.leverage_sum, found.gross, found.effective_rows, turned];
        let mut row = Row::new()
            .label("kind", "quarter")
            .label("scheme", self.scheme)
            .label("quarter", name.as_str())
            .label("year", year(name))
            .value("inflation", inflation[t])
            .value("prediction", prediction)
            .value("weighted targets", read);
        for (measure, number) in MEASURES.iter().zip(numbers) {
            row = row.value(measure, number);
        }
        self.rows.push(more.iter().fold(row, |row, (name, value)| row.value(name, *value)));
        if NAMED.contains(&name.as_str()) {
            self.tell(t, &weights);
        }
        self.before = Some(weights);
    }

    /// The rows that are read most.
    fn tell(&mut self, t: usize, weights: &[f64]) {
        let mut places: Vec<usize> = (0..weights.len()).collect();
        places.sort_by(|a, b| weights[*b].abs().total_cmp(&weights[*a].abs()));
        for (rank, place) in places.into_iter().take(TOP).enumerate() {
            self.rows.push(
                Row::new()
                    .label("kind", "top")
                    .label("scheme", self.scheme)
                    .label("quarter", self.quarters.names[t].as_str())
                    .label("rank", rank + 1)
                    .label("row", self.quarters.names[place].as_str())
                    .value("weight", weights[place])
                    .value("inflation", self.quarters.inflation[place]),
            );
        }
    }
}

/// A quarter as a number: 1985.25 for 1985Q2.
pub(super) fn year(name: &str) -> f64 {
    let part = name.split_once('Q').and_then(|(y, q)| Some((y.parse::<f64>().ok()?, q.parse::<f64>().ok()?)));
    part.map_or(f64::NAN, |(year, quarter)| year + (quarter - 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_followed_from_quarter_to_quarter() {
        let quarters = Quarters::read().unwrap();
        let t = quarters.place("2008Q4").unwrap();
        let mut follower = Follower::new(&quarters, "mean");
        follower.push(t - 1, vec![0.25; 4], 1.0, &[]);
        follower.push(t, vec![0.2; 5], 1.0, &[("more", 7.0)]);
        assert!(follower.rows[0].get("turnover").unwrap().is_nan());
        assert!((follower.rows[1].get("turnover").unwrap() - 0.4).abs() < 1e-12);
        assert_eq!((follower.rows[1].get("more"), follower.rows.len()), (Some(7.0), 2 + TOP));
        assert_eq!(follower.rows[2].word("row"), Some("1960Q2"));
        assert_eq!((year("1985Q2"), year("2009Q1")), (1985.25, 2009.0));
    }
}
