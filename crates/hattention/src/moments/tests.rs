//! Whole states by every kernel of this machine, from blocks that look like tables, not like planes.

use super::*;
use crate::attention::Keys;
use crate::{Design, Filter, Fit, Whitening, WhiteningOptions};

/// Levels of the factor.
const LEVELS: u32 = 4;
/// Columns of the block that a design can have: the others are zero or too small for coefficients.
const FITTED: usize = 11;
/// Rows that fill planes and chunks, and rows that leave tails: of a plane (512), of a chunk (1024), and of both.
const ROW_COUNTS: [usize; 10] = [1, 7, 511, 512, 513, 1000, 1024, 1025, 2560, 2637];

/// Numbers of every kind that a table has, in columns that a block can borrow.
struct Table {
    rows: usize,
    dense: Vec<Vec<f64>>,
    /// Products of two doubles, exactly.
    pairs: Vec<(Vec<f64>, Vec<f64>)>,
    codes: Vec<u32>,
    weights: Vec<f64>,
}

impl Table {
    fn new(rows: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        // Marsaglia's xorshift: every bit of a fraction occurs.
        let mut bits = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut column = |make: &dyn Fn(u64) -> f64| -> Vec<f64> { (0..rows).map(|_| make(bits())).collect() };
        let real = |bits: u64| (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        let price = |bits: u64| (bits >> 11) as f64 % 100_000.0 / 100.0;
        let dense = vec![
            column(&real),
            column(&|bits| 1.0 + real(bits).abs()),
            column(&price),
            column(&|bits| (bits >> 40) as f64 % 1441.0 - 60.0),
            column(&|bits| (bits >> 40) as f64 % 4096.0 / 64.0),
            column(&|bits| real(bits) * 2f64.powi((bits % 120) as i32 - 60)),
            column(&|bits| f64::from_bits(bits >> 13)),
            vec![0.0; rows],
        ];
        let exact_product = |a: &[f64], b: &[f64]| -> (Vec<f64>, Vec<f64>) {
            a.iter().zip(b).map(|(x, y)| (x * y, x.mul_add(*y, -(x * y)))).unzip()
        };
        let pairs = vec![exact_product(&dense[2], &dense[2]), exact_product(&dense[0], &dense[1])];
        let codes = column(&|bits| (bits >> 33) as f64 % LEVELS as f64).iter().map(|code| *code as u32).collect();
        // One in seven rows has no weight.
        let weights = column(&|bits| if bits % 7 == 0 { 0.0 } else { (bits >> 40) as f64 % 512.0 / 10.0 });
        Self { rows, dense, pairs, codes, weights }
    }

    /// The target first, then what a design can have, then the rest.
    fn block(&self, weighted: bool) -> Block<'_> {
        let dense = |c: usize| Column::Dense(&self.dense[c]);
        let pair = |p: usize| Column::Pair { hi: &self.pairs[p].0, lo: &self.pairs[p].1 };
        let indicator = |code| Column::Indicator { codes: &self.codes, code };
        let (hi, lo) = &self.pairs[0];
        let mut columns = vec![dense(0), dense(1), dense(2), dense(3), dense(4), pair(0), pair(1)];
        columns.extend((1..LEVELS).map(indicator));
        columns.push(Column::Within { codes: &self.codes, code: 1, hi: &self.dense[4], lo: None });
        columns.push(Column::Within { codes: &self.codes, code: 2, hi, lo: Some(lo) });
        columns.extend([
            dense(5),
            dense(6),
            dense(7),
            Column::Within { codes: &self.codes, code: 9, hi, lo: Some(lo) },
        ]);
        Block { rows: self.rows, columns, weights: weighted.then_some(&self.weights) }
    }
}

fn state(kernel: Kernel, block: &Block<'_>) -> Moments {
    let ids: Vec<usize> = (0..block.columns.len()).collect();
    let mut state = Moments::new(ids.len());
    state.accumulate_by(kernel, block, &ids, false).unwrap();
    state
}

/// Every sum of the state, bit by bit.
fn entries(state: &Moments) -> Vec<(Vec<u64>, i32)> {
    let columns = state.sums.columns();
    (0..columns).flat_map(|j| (0..=j).map(move |i| (i, j))).map(|(i, j)| state.sums.canonical(i, j)).collect()
}

/// Everything that is read from a state, as text that tells all bits of a double.
fn read(state: &Moments, block: &Block<'_>) -> Vec<String> {
    let design = Design {
        names: (1..=FITTED).map(|c| format!("x{c}")).collect(),
        columns: (1..=FITTED).map(Some).collect(),
        intercept: true,
        orthogonal: vec![],
    };
    let filters = [
        Filter::Ols,
        Filter::Ridge { alpha: 0.5, standardize: true },
        Filter::Components { count: 3, standardize: false },
    ];
    let ids: Vec<usize> = (0..block.columns.len()).collect();
    let mut text = Vec::new();
    for filter in filters {
        let whitening = Whitening::of(state, &design, filter, WhiteningOptions::default(), None).unwrap();
        let fit = Fit::of(state, &whitening, 0, "y").unwrap();
        assert!(fit.estimates.iter().all(Option::is_some), "no column depends on others");
        let keys = Keys::of(&whitening, block, &ids).unwrap();
        text.push(format!("{fit:?} {:?} {:?}", fit.coefficients(0.95), keys.leverages(block.weights)));
        text.push(format!("{:?} {:?} {:?}", whitening.means, whitening.key_map, whitening.condition));
    }
    text
}

#[test]
fn every_kernel_makes_the_same_state() {
    let kernels = Kernel::all();
    for rows in ROW_COUNTS {
        let table = Table::new(rows);
        for weighted in [false, true] {
            let block = table.block(weighted);
            let states: Vec<Moments> = kernels.iter().map(|kernel| state(*kernel, &block)).collect();
            let (reference, others) = states.split_last().unwrap();
            for (kernel, other) in kernels.iter().zip(others) {
                let place = format!("{kernel:?}, {rows} rows, weighted: {weighted}");
                assert_eq!(entries(other), entries(reference), "{place}");
                assert_eq!(other, reference, "{place}");
                assert_eq!(other.log_weight_sum().to_bits(), reference.log_weight_sum().to_bits(), "{place}");
            }
        }
    }
}

#[test]
fn every_kernel_gives_the_same_fit() {
    let table = Table::new(2637);
    for weighted in [false, true] {
        let block = table.block(weighted);
        let results: Vec<Vec<String>> =
            Kernel::all().into_iter().map(|kernel| read(&state(kernel, &block), &block)).collect();
        let (reference, others) = results.split_last().unwrap();
        others.iter().for_each(|other| assert_eq!(other, reference));
    }
}

#[test]
fn what_one_kernel_adds_another_takes_out() {
    let table = Table::new(1000);
    let block = table.block(true);
    let ids: Vec<usize> = (0..block.columns.len()).collect();
    for adding in Kernel::all() {
        for removing in Kernel::all() {
            let mut both = state(adding, &block);
            both.accumulate_by(removing, &block, &ids, true).unwrap();
            assert_eq!(both, Moments::new(ids.len()), "{adding:?} and {removing:?}");
        }
    }
}
