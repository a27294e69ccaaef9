//! The sets, and their splits.

use std::io::Read;
use std::path::Path;

use crate::error::Error;
use crate::experiment::Context;
use crate::scored::Sample;

/// A set of rows.
pub struct Set {
    /// Its name, which is that of its file.
    pub name: &'static str,
    /// As the published table has it; empty for the two more.
    pub published: &'static str,
    /// Rows.
    pub rows: usize,
    /// Columns besides the target.
    pub columns: usize,
    /// Its text, where it is part of this repository.
    pub file: Option<&'static str>,
}

const fn uci(name: &'static str, published: &'static str, rows: usize, columns: usize) -> Set {
    Set { name, published, rows, columns, file: None }
}

const fn own(name: &'static str, rows: usize, columns: usize, file: &'static str) -> Set {
    Set { name, published: "", rows, columns, file: Some(file) }
}

/// Rows of a set that are used, at most.
pub const MOST: usize = 5000;

/// All sets, the published ones first.
pub static SETS: [Set; 10] = [
    uci("california", "California", 20_433, 8),
    uci("yacht", "Yacht", 308, 6),
    uci("energy", "Energy", 768, 8),
    uci("concrete", "Concrete", 1030, 8),
    uci("airfoil", "Airfoil", 1503, 5),
    uci("abalone", "Abalone", 4177, 7),
    uci("kin8nm", "Kin8nm", 8192, 8),
    uci("protein", "Protein", 45_730, 9),
    own("flights", 3000, 6, include_str!("../../../../../reference/data/attreg_flights.csv")),
    own("randhie", 3000, 9, include_str!("../../../../../reference/data/attreg_randhie.csv")),
];

/// A set by its name.
///
/// # Errors
/// [`Error::Parameter`] for another name.
pub fn find(name: &str) -> Result<&'static Set, Error> {
    let unknown = || Error::Parameter { name: "the set", got: name.to_owned(), allowed: "one of the ten" };
    SETS.iter().find(|set| set.name == name).ok_or_else(unknown)
}

/// The largest table that is read, in bytes.
const LIMIT: u64 = 64 << 20;

impl Set {
    /// Its rows, the target last. Shape: `[rows][columns + 1]`.
    ///
    /// # Errors
    /// [`Error::Parameter`] without a data folder where the set is not part of this repository; [`Error::File`] for a file
    /// that is not there or is another table.
    pub fn read(&self, context: &Context<'_>) -> Result<Vec<Vec<f64>>, Error> {
        let (text, path) = match self.file {
            Some(text) => (text.to_owned(), self.name.to_owned()),
            None => {
                let path = context.data(&format!("{}.csv.gz", self.name))?;
                (unpacked(&path)?, path.display().to_string())
            }
        };
        let wrong = |why: String| Error::File { path: path.clone(), why };
        let table = parsed(&text).map_err(wrong)?;
        let shape = (table.len(), table.first().map_or(0, Vec::len));
        if shape != (self.rows, self.columns + 1) {
            let expected = format!("expected {} rows of {} columns", self.rows, self.columns + 1);
            return Err(wrong(format!("{expected}, got {} of {}", shape.0, shape.1)));
        }
        Ok(table)
    }
}

fn unpacked(path: &Path) -> Result<String, Error> {
    let why = |e: std::io::Error| Error::File { path: path.display().to_string(), why: e.to_string() };
    let file = std::fs::File::open(path).map_err(why)?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).take(LIMIT).read_to_string(&mut text).map_err(why)?;
    Ok(text)
}

/// Numbers below a line of names.
fn parsed(text: &str) -> Result<Vec<Vec<f64>>, String> {
    let mut lines = text.lines();
    let width = lines.next().map_or(0, |head| head.split(',').count());
    let row = |(place, line): (usize, &str)| -> Result<Vec<f64>, String> {
        let number = |cell: &str| match cell.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(format!("line {}: expected a number, got `{cell}`", place + 2)),
        };
        let row = line.split(',').map(number).collect::<Result<Vec<f64>, String>>()?;
        if row.len() == width {
            return Ok(row);
        }
        Err(format!("line {}: expected {width} numbers, got {}", place + 2, row.len()))
    };
    lines.enumerate().map(row).collect()
}

/// A shuffle of so many rows by SplitMix64 (Steele, Lea & Flood 2014) and Fisher and Yates, from the end; a place below k is the
/// upper half of the product of a number and k. `reference/attreg_real_data.py` has the same.
pub fn permutation(count: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        let place = (u128::from(next()) * (last as u128 + 1)) >> 64;
        order.swap(last, place as usize);
    }
    order
}

/// Training and test rows of a split.
pub fn split(rows: usize, split: usize, most: usize) -> (Vec<usize>, Vec<usize>) {
    let mut train = permutation(rows, 42 + 1000 * split as u64);
    train.truncate(most);
    let test = train.split_off(train.len() * 4 / 5);
    (train, test)
}

/// The rows of a split, all columns standardised on the training rows.
pub fn sample(table: &[Vec<f64>], place: usize, most: usize) -> Sample {
    let (train, test) = split(table.len(), place, most);
    let width = table.first().map_or(0, Vec::len);
    let count = train.len() as f64;
    let scaled = |column: usize| -> [Vec<f64>; 2] {
        let values = |rows: &[usize]| rows.iter().map(|i| table[*i][column]).collect::<Vec<f64>>();
        let own = values(&train);
        let mean = own.iter().sum::<f64>() / count;
        let deviation = (own.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        let scale = if deviation > 0.0 { deviation } else { 1.0 };
        [own, values(&test)].map(|values| values.iter().map(|x| (x - mean) / scale).collect())
    };
    let (mut train, mut test): (Vec<_>, Vec<_>) = (0..width).map(scaled).map(|[a, b]| (a, b)).unzip();
    let (train_target, test_target) = (train.pop().unwrap_or_default(), test.pop().unwrap_or_default());
    Sample { train, train_target, test, test_target }
}

#[cfg(test)]
mod tests {
    use super::super::peers;
    use super::*;

    #[test]
    fn shuffles_are_those_of_the_script() {
        let script = peers::file()["meta"]["permutation_of_12_seed_42"].as_array().unwrap().clone();
        let here: Vec<serde_json::Value> = permutation(12, 42).into_iter().map(Into::into).collect();
        assert_eq!(here, script);
        for set in SETS.iter().filter(|set| peers::file()["sets"].get(set.name).is_some()) {
            for place in 0..5 {
                let (train, test) = split(set.rows, place, MOST);
                let known = &peers::file()["sets"][set.name]["splits"][place];
                assert_eq!(
                    (known["train"].as_u64(), known["test"].as_u64()),
                    (Some(train.len() as u64), Some(test.len() as u64))
                );
                let first: Vec<serde_json::Value> = test[..3].iter().map(|i| (*i).into()).collect();
                assert_eq!(known["first_test_rows"].as_array(), Some(&first), "{}", set.name);
            }
        }
    }

    #[test]
    fn columns_are_standardised_on_training_rows() {
        let table: Vec<Vec<f64>> = (0..50).map(|i| vec![f64::from(i * i), 7.0, f64::from(i)]).collect();
        let sample = sample(&table, 0, 40);
        assert_eq!((sample.train.len(), sample.train_target.len(), sample.test_target.len()), (2, 32, 8));
        let mean = sample.train[0].iter().sum::<f64>() / 32.0;
        let square = sample.train[0].iter().map(|x| x * x).sum::<f64>() / 32.0;
        assert!(mean.abs() < 1e-14 && (square - 1.0).abs() < 1e-14);
        assert!(sample.train[1].iter().chain(&sample.test[1]).all(|x| *x == 0.0));
    }

    #[test]
    fn tables_that_are_none_are_refused() {
        assert_eq!(parsed("a,b\n1,2\n3,4e1\n").unwrap(), [[1.0, 2.0], [3.0, 40.0]]);
        for (text, said) in [("a,b\n1,2\n3\n", "line 3"), ("a\nx\n", "`x`"), ("a\nNaN\n", "`NaN`")] {
            let why = parsed(text).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }
}
