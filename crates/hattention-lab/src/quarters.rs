//! The quarters of `data/macro.csv`, and next quarter's inflation from what was known before.

use crate::error::Error;

const TEXT: &str = include_str!("../../../data/macro.csv");
/// Quarters before the first that can be predicted: inflation has its first number in the second, and four are averaged.
const BEFORE: usize = 5;

/// The columns that inflation is predicted from.
pub const COLUMNS: [&str; 4] = [
    "inflation a quarter ago",
    "mean inflation of four quarters",
    "unemployment a quarter ago",
    "growth a quarter ago",
];

/// Inflation with what was known a quarter before, in the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarters {
    /// Names, as `1960Q2`. Shape: `[rows]`.
    pub names: Vec<String>,
    /// The columns of [`COLUMNS`]. Shape: `[4][rows]`.
    pub columns: Vec<Vec<f64>>,
    /// Inflation, per cent a year. Shape: `[rows]`.
    pub inflation: Vec<f64>,
}

impl Quarters {
    /// All of them.
    ///
    /// # Errors
    /// [`Error::Format`] for a line that is not a quarter's.
    pub fn read() -> Result<Self, Error> {
        let (mut names, mut rows) = (Vec::new(), Vec::new());
        for line in TEXT.lines().skip(1) {
            let (name, numbers) = line.split_once(',').unwrap_or((line, ""));
            let numbers: Vec<f64> = numbers.split(',').filter_map(|x| x.parse().ok()).collect();
            let [product, inflation, unemployment, _] = numbers[..] else {
                let (path, expected) = ("data/macro.csv".to_owned(), "a quarter and four numbers".to_owned());
                return Err(Error::Format { path, expected, got: line.to_owned() });
            };
            names.push(name.to_owned());
            rows.push((product, inflation, unemployment));
        }
        let column = |of: &dyn Fn(usize) -> f64| (BEFORE..rows.len()).map(of).collect::<Vec<f64>>();
        let growth = |t: usize| 400.0 * (rows[t].0 / rows[t - 1].0).ln();
        let columns = vec![
            column(&|t| rows[t - 1].1),
            column(&|t| (1..=4).map(|lag| rows[t - lag].1).sum::<f64>() / 4.0),
            column(&|t| rows[t - 1].2),
            column(&|t| growth(t - 1)),
        ];
        Ok(Self { inflation: column(&|t| rows[t].1), names: names.split_off(BEFORE), columns })
    }

    /// The row of a quarter.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// The columns of some rows.
    pub fn rows(&self, range: std::ops::Range<usize>) -> Vec<&[f64]> {
        self.columns.iter().map(|column| &column[range.clone()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_file() {
        let quarters = Quarters::read().unwrap();
        assert_eq!((quarters.names.len(), quarters.columns.len()), (198, COLUMNS.len()));
        let at = quarters.place("2008Q4").unwrap();
        // 2008Q3 and 2008Q4 in the file: infl −3.16 and −8.79, unemp 6.0, realgdp 13,324.6 after 13,415.266.
        assert_eq!((quarters.inflation[at], quarters.columns[0][at]), (-8.79, -3.16));
        assert_eq!(quarters.columns[2][at], 6.0);
        assert!((quarters.columns[3][at] - 400.0 * (13_324.6f64 / 13_415.266).ln()).abs() < 1e-9);
        assert_eq!(quarters.names[0], "1960Q2");
    }
}
