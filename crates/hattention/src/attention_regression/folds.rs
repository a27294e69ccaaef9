//! Rows that are held out, as the mask asks: at random, in whole blocks, or the later ones.

use super::options::{Mask, Options};
use crate::error::Error;

/// Rows that are fitted, and rows that are predicted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Split {
    pub(super) train: Vec<usize>,
    pub(super) test: Vec<usize>,
}

/// Some rows held out.
pub(super) fn held_out(rows: usize, count: usize, options: &Options) -> Split {
    if options.mask.in_time() {
        return Split { train: (0..rows - count).collect(), test: (rows - count..rows).collect() };
    }
    let mut held = vec![false; rows];
    let mut left = count;
    for unit in shuffled(&units(rows, &options.mask), options.seed) {
        if left == 0 {
            break;
        }
        // (A block is held out as a whole, however large.)
        unit.iter().for_each(|i| held[*i] = true);
        left = left.saturating_sub(unit.len());
    }
    split(&held)
}

/// Folds: every row is predicted once by those of the other folds, or, in time, rows of the later half by those before them.
pub(super) fn folds(rows: &[usize], count: usize, options: &Options) -> Vec<Split> {
    let all = rows.len();
    if options.mask.in_time() {
        let first = all / 2;
        let edge = |k: usize| first + k * (all - first) / count;
        let fold = |k: usize| Split { train: rows[..edge(k)].to_vec(), test: rows[edge(k)..edge(k + 1)].to_vec() };
        return (0..count).map(fold).filter(|split| !split.test.is_empty()).collect();
    }
    let mask = mask(&options.mask, rows);
    let mut of = vec![0; all];
    let mut sizes = vec![0; count];
    for unit in shuffled(&units(all, &mask), options.seed) {
        let smallest = (0..count).min_by_key(|k| sizes[*k]).unwrap_or(0);
        unit.iter().for_each(|i| of[*i] = smallest);
        sizes[smallest] += unit.len();
    }
    let fold = |k: usize| {
        let held: Vec<bool> = of.iter().map(|fold| *fold == k).collect();
        let Split { train, test } = split(&held);
        Split { train: train.iter().map(|i| rows[*i]).collect(), test: test.iter().map(|i| rows[*i]).collect() }
    };
    (0..count).map(fold).filter(|split| !split.test.is_empty()).collect()
}

/// At most so many rows: at random, or the last. Under a mask of blocks of as many blocks as there are, some rows of each.
pub(super) fn sample(rows: usize, most: usize, options: &Options) -> Vec<usize> {
    if rows <= most {
        return (0..rows).collect();
    }
    if options.mask.in_time() {
        return (rows - most..rows).collect();
    }
    let seed = options.seed ^ 0x5eed;
    let units = shuffled(&units(rows, &options.mask), seed);
    if !matches!(options.mask, Mask::Blocks(_)) {
        let mut taken: Vec<usize> = units.into_iter().take(most).flatten().collect();
        taken.sort_unstable();
        return taken;
    }
    let each = (most / units.len()).max(1);
    let singles = |unit: &Vec<usize>| shuffled(&unit.iter().map(|i| vec![*i]).collect::<Vec<_>>(), seed).concat();
    let units: Vec<Vec<usize>> = units.iter().map(singles).collect();
    let mut taken: Vec<usize> = units.iter().flat_map(|unit| unit.iter().take(each)).copied().take(most).collect();
    let rest = units.iter().flat_map(|unit| unit.iter().skip(each)).copied();
    taken.extend(rest.take(most - taken.len()));
    taken.sort_unstable();
    taken
}

/// Refuses a split whose rows of one block would have no others to read.
pub(super) fn check(split: &Split, mask: &Mask, allowed: &'static str) -> Result<(), Error> {
    let Mask::Blocks(blocks) = mask else { return Ok(()) };
    let first = split.train.first().map(|i| blocks[*i]);
    if split.train.iter().any(|i| Some(blocks[*i]) != first) {
        return Ok(());
    }
    let got = usize::from(first.is_some()).to_string();
    Err(Error::Parameter { name: "the number of blocks beside those held out", got, allowed })
}

/// The mask of some of the rows.
pub(super) fn mask(mask: &Mask, rows: &[usize]) -> Mask {
    match mask {
        Mask::Blocks(blocks) => Mask::Blocks(rows.iter().map(|i| blocks[*i]).collect()),
        other => other.clone(),
    }
}

/// Some rows of columns and of a target.
pub(super) fn rows(columns: &[&[f64]], target: &[f64], rows: &[usize]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let of = |column: &[f64]| -> Vec<f64> { rows.iter().map(|i| column[*i]).collect() };
    (columns.iter().map(|column| of(column)).collect(), of(target))
}

/// Rows that must stay together.
fn units(rows: usize, mask: &Mask) -> Vec<Vec<usize>> {
    let Mask::Blocks(blocks) = mask else { return (0..rows).map(|i| vec![i]).collect() };
    let mut by_block: std::collections::BTreeMap<u64, Vec<usize>> = std::collections::BTreeMap::new();
    blocks.iter().enumerate().for_each(|(i, block)| by_block.entry(*block).or_default().push(i));
    by_block.into_values().collect()
}

fn split(held: &[bool]) -> Split {
    let (test, train) = (0..held.len()).partition(|i| held[*i]);
    Split { train, test }
}

/// In an order that depends on the seed alone.
fn shuffled(units: &[Vec<usize>], seed: u64) -> Vec<Vec<usize>> {
    let mut state = seed;
    // (SplitMix64: every place gets its own number, and ties are as good as none.)
    let mut keyed: Vec<(u64, &Vec<usize>)> = units
        .iter()
        .map(|unit| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31), unit)
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, unit)| unit.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_held_out_once_and_blocks_and_time_are_kept() {
        let rows: Vec<usize> = (0..103).collect();
        let blocks: Vec<u64> = (0..103).map(|i| i % 13).collect();
        for mask in [Mask::Others, Mask::Blocks(blocks.clone())] {
            let options = Options { mask: mask.clone(), ..Options::default() };
            let folds = folds(&rows, 5, &options);
            let mut seen: Vec<usize> = folds.iter().flat_map(|split| split.test.clone()).collect();
            seen.sort_unstable();
            assert_eq!(seen, rows);
            for split in &folds {
                assert_eq!(split.train.len() + split.test.len(), 103);
                if mask != Mask::Others {
                    assert!(split.test.iter().all(|i| split.train.iter().all(|j| blocks[*i] != blocks[*j])));
                }
            }
            let held = held_out(103, 10, &options);
            assert!((10..=18).contains(&held.test.len()) && held.train.len() + held.test.len() == 103);
            assert!((50..=58).contains(&sample(103, 50, &options).len()));
        }
        let options = Options { mask: Mask::Before, ..Options::default() };
        for split in folds(&rows, 5, &options).iter().chain([&held_out(103, 10, &options)]) {
            assert_eq!(split.train.len(), split.test[0]);
            assert!(split.test.windows(2).all(|pair| pair[1] == pair[0] + 1));
        }
        assert_eq!(sample(103, 3, &options), [100, 101, 102]);
    }

    #[test]
    fn samples_have_as_many_rows_as_said_and_enough_blocks() {
        let count = |sizes: &[usize], most: usize| {
            let blocks: Vec<u64> = sizes.iter().enumerate().flat_map(|(b, size)| vec![b as u64; *size]).collect();
            let options = Options { mask: Mask::Blocks(blocks.clone()), ..Options::default() };
            let taken = sample(blocks.len(), most, &options);
            assert_eq!(taken.len(), most);
            assert!(taken.windows(2).all(|pair| pair[0] < pair[1]));
            // The same when as many are asked for as were taken.
            assert_eq!(taken, sample(blocks.len(), taken.len(), &options));
            taken.iter().map(|i| blocks[*i]).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(count(&[500, 500, 500], 100), 3);
        assert_eq!(count(&[5000, 3, 3, 3], 100), 4);
        assert_eq!(count(&[20; 60], 200), 60);
        assert_eq!(count(&[250; 100], 1000), 100);
        assert_eq!(count(&[1; 600], 200), 200);
    }
}
