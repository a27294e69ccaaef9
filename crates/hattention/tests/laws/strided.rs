//! Laws of tables: the bits of a result do not depend on where the numbers lie.

use hattention::attention::{Keys, leverages_table, predict, predict_table};
use hattention::{Block, Column, Design, Error, Filter, Fit, Method, Moments, Strided, Table, Whitening, in_memory};
use proptest::prelude::*;

use crate::support::Source;
use crate::table::bits;

/// Where the numbers of a table lie: in C's order or Fortran's, with steps between them and gaps between rows (columns).
#[derive(Clone, Copy, Debug)]
struct Layout {
    by_rows: bool,
    step: usize,
    gap: usize,
}

fn any_layout() -> impl Strategy<Value = Layout> {
    (any::<bool>(), prop_oneof![3 => Just(1usize), 1 => 2usize..4], prop_oneof![2 => Just(0usize), 1 => 1usize..6])
        .prop_map(|(by_rows, step, gap)| Layout { by_rows, step, gap })
}

/// A table in memory that ends with its last number. What is not of the table is NaN, so that reading it shows.
struct Laid {
    values: Vec<f64>,
    shape: [usize; 2],
    strides: [usize; 2],
}

impl Laid {
    fn new(columns: &[Vec<f64>], layout: Layout) -> Self {
        let shape = [columns.first().map_or(0, Vec::len), columns.len()];
        let Layout { by_rows, step, gap } = layout;
        let strides = if by_rows { [shape[1] * step + gap, step] } else { [step, shape[0] * step + gap] };
        let empty = shape[0] * shape[1] == 0;
        let last = if empty { 0 } else { (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1] + 1 };
        let mut values = vec![f64::NAN; last];
        for (j, column) in columns.iter().enumerate() {
            for (i, x) in column.iter().enumerate() {
                values[i * strides[0] + j * strides[1]] = *x;
            }
        }
        Self { values, shape, strides }
    }

    fn table(&self) -> Table<'_> {
        Table::new(&self.values, self.shape, self.strides).unwrap()
    }

    /// All columns but the last, and the last.
    fn with_target(&self) -> (Table<'_>, Strided<'_>) {
        let [rows, columns] = self.shape;
        let table = Table::new(&self.values, [rows, columns - 1], self.strides).unwrap();
        (table, self.table().column(columns - 1).unwrap())
    }
}

fn block<'a>(columns: &'a [Vec<f64>], weights: Option<&'a [f64]>) -> Block<'a> {
    let rows = columns.first().map_or(0, Vec::len);
    Block { rows, columns: columns.iter().map(|c| Column::Dense(c)).collect(), weights }
}

/// Columns of reals, of whole numbers, and of numbers of many sizes; the last depends on the others.
fn columns_of(rows: usize, columns: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut source = Source(seed);
    let mut all: Vec<Vec<f64>> = (0..columns)
        .map(|column| match column % 5 {
            3 => source.integers(rows, -9, 9),
            4 => source.reals(rows).iter().enumerate().map(|(i, x)| x * 2f64.powi(i as i32 % 40 - 20)).collect(),
            _ => source.reals(rows).iter().map(|x| x + (column % 3) as f64).collect(),
        })
        .collect();
    let noise = source.reals(rows);
    all.push((0..rows).map(|i| noise[i] + all.iter().map(|c| c[i]).sum::<f64>()).collect());
    all
}

/// Numbers at and beside the sizes where kernels change: tiles, planes, chains, spans, chunks.
fn near(sizes: &'static [usize]) -> impl Strategy<Value = usize> {
    (prop::sample::select(sizes), 0usize..3).prop_map(|(size, more)| (size + more).saturating_sub(1).max(1))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        max_shrink_iters: 100,
        rng_seed: proptest::test_runner::RngSeed::Fixed(23),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_table_is_read_where_it_lies(
        layout in any_layout(),
        rows in near(&[1, 4, 8, 64, 520]),
        columns in near(&[1, 4, 8, 24, 40]),
        cut in 0.0..1.0f64,
        seed: u64,
    ) {
        let expected = columns_of(rows, columns, seed);
        let laid = Laid::new(&expected, layout);
        let first = (cut * rows as f64) as usize;
        let (mut scratch, mut of_column) = (vec![f64::NAN; 3], Vec::new());
        for range in [0..rows, first..rows, 0..first, first..first] {
            let got = laid.table().block(range.clone(), &mut scratch).unwrap();
            prop_assert_eq!((got.rows, got.columns.len()), (range.len(), expected.len()));
            for (place, (got, wanted)) in got.columns.iter().zip(&expected).enumerate() {
                let Column::Dense(got) = got else { panic!("columns of tables are plain") };
                prop_assert_eq!(got, &&wanted[range.clone()]);
                let column = laid.table().column(place).unwrap();
                prop_assert_eq!(column.read(range.clone(), &mut of_column).unwrap(), &wanted[range.clone()]);
            }
        }
    }

    #[test]
    fn states_of_tables_are_those_of_blocks(
        layout in any_layout(),
        rows in near(&[1, 64, 513, 1024, 8192, 9001]),
        columns in near(&[1, 8, 24, 33, 65]),
        weighted in 0usize..3,
        seed: u64,
    ) {
        let all = columns_of(rows, columns, seed);
        let laid = Laid::new(&all, layout);
        let weights = match weighted {
            0 => None,
            1 => Some(Source(seed ^ 1).integers(rows, 0, 4)),
            _ => Some(Source(seed ^ 1).reals(rows).iter().map(|w| w.abs()).collect()),
        };
        let laid_weights = Laid::new(weights.as_slice(), Layout { by_rows: true, ..layout });
        let (table, target) = laid.with_target();
        let of_weights = weights.as_ref().and_then(|_| laid_weights.table().column(0));
        let got = Moments::of_table(&table, &[target], of_weights).unwrap();
        let expected = Moments::of(&block(&all, weights.as_deref())).unwrap();
        prop_assert!(got == expected);
        prop_assert_eq!(got.rows(), expected.rows());
        prop_assert_eq!(got.log_weight_sum().to_bits(), expected.log_weight_sum().to_bits());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        max_shrink_iters: 50,
        rng_seed: proptest::test_runner::RngSeed::Fixed(29),
        ..ProptestConfig::default()
    })]

    #[test]
    fn fits_and_reads_of_tables_are_those_of_blocks(
        layout in any_layout(),
        rows in near(&[260, 512, 1024, 2048, 4097, 8193]),
        columns in near(&[1, 8, 23, 24, 48, 193]),
        intercept: bool,
        seed: u64,
    ) {
        let all = columns_of(rows, columns, seed);
        let laid = Laid::new(&all, layout);
        let design = Design::plain((0..columns).map(|c| format!("x{c}")), intercept);
        let options = hattention::WhiteningOptions::default();
        let (whitening, fits) =
            in_memory::fit(&block(&all, None), &design, &[(columns, "y")], options).unwrap();
        let (table, target) = laid.with_target();
        let (of_table, fits_of_table) =
            in_memory::fit_table(&table, &design, &[(target, "y")], None, options).unwrap();
        prop_assert_eq!(of_table.method, whitening.method);
        prop_assert_eq!(bits(&of_table, &fits_of_table[0]), bits(&whitening, &fits[0]));

        let ids: Vec<usize> = (0..columns).collect();
        let rows_of = block(&all[..columns], None);
        let mut into = vec![f64::NAN; rows];
        predict_table(&of_table, &fits_of_table[0], &table, &ids, &mut into).unwrap();
        prop_assert!(into.iter().zip(predict(&whitening, &fits[0], &rows_of, &ids).unwrap())
            .all(|(got, wanted)| got.to_bits() == wanted.to_bits()));
        let weights = (seed % 2 == 1).then_some(target);
        leverages_table(&of_table, &table, &ids, weights, &mut into).unwrap();
        let expected = Keys::of(&whitening, &rows_of, &ids).unwrap().leverages(weights.map(|_| &all[columns][..]));
        prop_assert!(into.iter().zip(expected).all(|(got, wanted)| got.to_bits() == wanted.to_bits()));
    }
}

const C_ORDER: Layout = Layout { by_rows: true, step: 1, gap: 0 };

#[test]
fn threads_change_no_bit_of_a_table() {
    let all = columns_of(5000, 30, 7);
    let laid = Laid::new(&all, C_ORDER);
    let (table, target) = laid.with_target();
    let design = Design::plain((0..30).map(|c| format!("x{c}")), true);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let fit = in_memory::fit_table(&table, &design, &[(target, "y")], None, Default::default());
            let (whitening, fits) = fit.unwrap();
            assert_eq!(whitening.method, Method::InMemory);
            (bits(&whitening, &fits[0]), Moments::of_table(&table, &[target], None).unwrap())
        })
    };
    let first = run(1);
    assert!((2..5).all(|threads| run(threads) == first));
}

#[test]
fn what_doubles_cannot_hold_goes_to_the_state_of_the_table() {
    let mut all = columns_of(700, 3, 11);
    all[1] = all[0].iter().zip(&all[1]).map(|(x, e)| x + 1e-9 * e).collect();
    let laid = Laid::new(&all, C_ORDER);
    let (table, target) = laid.with_target();
    let design = Design::plain(["x", "near x", "z"], true);
    let weights = Source(12).integers(700, 1, 5);
    for weights in [None, Some(&weights[..])] {
        let block = block(&all, weights);
        let (expected, fits) = in_memory::fit(&block, &design, &[(3, "y")], Default::default()).unwrap();
        let weights = weights.map(Strided::from);
        let (got, fits_of_table) =
            in_memory::fit_table(&table, &design, &[(target, "y")], weights, Default::default()).unwrap();
        assert_eq!(got.method, Method::Extended);
        assert_eq!(bits(&got, &fits_of_table[0]), bits(&expected, &fits[0]));
    }
}

#[test]
fn columns_of_a_table_may_overlap_and_repeat() {
    // Lags as a view of a series, and one row or column over and over.
    let series = Source(5).reals(1200);
    let lags = Table::new(&series, [1195, 6], [1, 1]).unwrap();
    let columns: Vec<Vec<f64>> = (0..6).map(|lag| series[lag..lag + 1195].to_vec()).collect();
    assert!(Moments::of_table(&lags, &[], None).unwrap() == Moments::of(&block(&columns, None)).unwrap());
    let windows = Table::new(&series, [599, 4], [2, 1]).unwrap();
    let columns: Vec<Vec<f64>> = (0..4).map(|lag| (0..599).map(|i| series[2 * i + lag]).collect()).collect();
    assert!(Moments::of_table(&windows, &[], None).unwrap() == Moments::of(&block(&columns, None)).unwrap());
    for strides in [[0, 1], [3, 0], [0, 0]] {
        let table = Table::new(&series, [5, 3], strides).unwrap();
        let columns: Vec<Vec<f64>> =
            (0..3).map(|j| (0..5).map(|i| series[i * strides[0] + j * strides[1]]).collect()).collect();
        assert!(Moments::of_table(&table, &[], None).unwrap() == Moments::of(&block(&columns, None)).unwrap());
    }
}

#[test]
fn the_first_row_that_is_not_finite_is_named() {
    let mut all = columns_of(9000, 4, 3);
    all[3][4100] = f64::NAN;
    all[1][8000] = f64::INFINITY;
    all[2][4100] = f64::NEG_INFINITY;
    all[4][8999] = f64::NAN;
    let mut place = |row: usize, column: usize| {
        let laid = Laid::new(&all, C_ORDER);
        let (table, target) = laid.with_target();
        let design = Design::plain(["a", "b", "c", "d"], true);
        for error in [
            Moments::of_table(&table, &[target], None).unwrap_err(),
            in_memory::fit_table(&table, &design, &[(target, "y")], None, Default::default()).unwrap_err(),
        ] {
            let Error::NonFinite { row: r, column: c, value } = error else { panic!("{error}") };
            assert_eq!((r, c), (row, column));
            assert!(value.to_bits() == all[column][row].to_bits());
        }
        all[column][row] = 0.0;
    };
    place(4100, 2);
    place(4100, 3);
    place(8000, 1);
    place(8999, 4);
}

#[test]
fn what_does_not_fit_a_table_is_refused() {
    let values = [1.0; 12];
    let of = |shape, strides| Table::new(&values, shape, strides).map(|_| ());
    assert_eq!(of([4, 3], [3, 1]), Ok(()));
    assert_eq!(of([0, 3], [usize::MAX, usize::MAX]), Ok(()));
    assert!(matches!(of([4, 3], [3, 2]), Err(Error::Shape { expected: 14, got: 12, .. })));
    assert!(matches!(of([3, 3], [usize::MAX, 1]), Err(Error::Shape { expected: usize::MAX, .. })));
    assert!(matches!(of([0, 1 << 20], [0, 0]), Err(Error::Parameter { .. })));
    assert!(matches!(Strided::new(&values, 3, 0), Err(Error::Parameter { .. })));
    assert!(matches!(Strided::new(&values, 3, 6), Err(Error::Shape { expected: 13, got: 12, .. })));
    assert!(Strided::new(&[], 0, 1).unwrap().is_empty());
    assert!(Strided::new(&values, 1, usize::MAX).is_ok());

    let table = Table::new(&values, [4, 3], [3, 1]).unwrap();
    let (short, mut scratch) = (Strided::from(&values[..3]), Vec::new());
    assert!(table.column(3).is_none());
    assert!(matches!(table.block(2..5, &mut scratch), Err(Error::Shape { expected: 4, got: 5, .. })));
    assert!(matches!(short.read(4..4, &mut scratch), Err(Error::Shape { expected: 3, got: 4, .. })));
    assert!(matches!(Moments::of_table(&table, &[short], None), Err(Error::Shape { expected: 4, got: 3, .. })));
    assert!(matches!(Moments::of_table(&table, &[], Some(short)), Err(Error::Shape { expected: 4, got: 3, .. })));
    let weights = [1.0, 2.0, -1.0, f64::NAN];
    let weighted = Moments::of_table(&table, &[], Some(Strided::from(&weights[..])));
    assert_eq!(weighted.unwrap_err(), Error::Weight { row: 2, value: -1.0 });
    let empty = Table::new(&[], [0, 3], [3, 1]).unwrap();
    assert!(Moments::of_table(&empty, &[], None).unwrap() == Moments::new(3));

    let columns = columns_of(20, 2, 1);
    let moments = Moments::of(&block(&columns, None)).unwrap();
    let design = Design::plain(["x", "z"], true);
    let whitening = Whitening::of(&moments, &design, Filter::Ols, Default::default(), None).unwrap();
    let fit = Fit::of(&moments, &whitening, 2, "y").unwrap();
    let mut into = [0.0; 4];
    let mut refused = |ids: &[usize], rows: usize| {
        let predicted = predict_table(&whitening, &fit, &table, ids, &mut into[..rows]);
        assert!(matches!(predicted, Err(Error::Shape { .. })));
        let read = leverages_table(&whitening, &table, ids, None, &mut into[..rows]);
        assert!(matches!(read, Err(Error::Shape { .. })));
    };
    refused(&[0, 1], 4);
    refused(&[0, 1, 2], 3);
    assert!(leverages_table(&whitening, &table, &[0, 1, 2], Some(short), &mut into).is_err());
    let target = (short, "y");
    let fit = in_memory::fit_table(&table, &Design::plain(["x"], true), &[target], None, Default::default());
    assert!(matches!(fit, Err(Error::Shape { expected: 4, got: 3, .. })));
}
