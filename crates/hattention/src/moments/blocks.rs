//! Blocks of rows into the table of sums: factors of many levels apart, everything else as planes, chunk by chunk.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::block::{Block, Column};
use crate::exact::accumulator::Accumulator;
use crate::exact::chunk::Chunk;
use crate::exact::kernel::{Kernel, PLANE_ROWS};
use crate::exact::levels::Levels;
use crate::exact::planes::{Digits, integer_and_exponent};
use crate::interrupt::Stop;
use crate::strided::{Strided, gather, runs};

/// Adds (or subtracts) all products of a block's columns, chunks in parallel; `None`, with nothing added, if a number is
/// not finite.
pub(super) fn add_block(
    kernel: Kernel,
    into: &mut Accumulator,
    block: &Block<'_>,
    ids: &[usize],
    negate: bool,
) -> Option<()> {
    let parts = Parts::of(block, ids);
    let size = Size { rows: block.rows, columns: parts.others.len(), factors: !parts.factors.is_empty() };
    add_chunks(into, size, negate, |range, into, negate| parts.chunk(block, range).deposit(kernel, into, negate))
}

/// Adds all products of columns in any layout; `None`, with nothing added, if a number is not finite.
pub(super) fn add_strided(
    kernel: Kernel,
    into: &mut Accumulator,
    columns: &[Strided<'_>],
    rows: usize,
    weights: Option<Strided<'_>>,
) -> Option<()> {
    let size = Size { rows, columns: columns.len(), factors: false };
    let stop = Stop::current();
    add_chunks(into, size, false, |range, into, negate| {
        stop.check();
        strided_chunk(columns, weights, range).deposit(kernel, into, negate)
    })
}

fn strided_chunk<'a>(
    columns: &[Strided<'a>],
    weights: Option<Strided<'a>>,
    range: std::ops::Range<usize>,
) -> Chunk<'a> {
    let slices: Vec<Strided<'a>> = columns.iter().map(|column| column.slice(range.clone())).collect();
    let digits = |column: &Strided<'a>| match column.contiguous() {
        Some(values) => Digits::Dense(Cow::Borrowed(values)),
        None => Digits::Apart(*column),
    };
    let right = weights.map(|weights| {
        let weights: Vec<f64> = weights.slice(range.clone()).iter().collect();
        let mut scratch = Vec::new();
        let mut right = Vec::with_capacity(columns.len() + 1);
        for run in runs(&slices).iter().flat_map(|run| run.parts(WEIGHTED_TOGETHER)) {
            let values = gather(std::slice::from_ref(&run), 0..range.len(), &mut scratch);
            right.extend(values.into_iter().map(|values| weighted(Column::Dense(values), &weights)));
        }
        std::iter::once(Digits::Dense(Cow::Owned(weights))).chain(right).collect()
    });
    Chunk {
        rows: range.len(),
        left: std::iter::once(Digits::Constant).chain(slices.iter().map(digits)).collect(),
        right,
        ids: (0..=columns.len()).collect(),
        factors: Vec::new(),
    }
}

/// Columns that are copied at a time to be weighted.
const WEIGHTED_TOGETHER: usize = 8;

/// What decides how many rows a chunk has.
struct Size {
    rows: usize,
    columns: usize,
    /// Whether there are factors of many levels.
    factors: bool,
}

/// Adds (or subtracts) chunks of rows, in parallel; `None`, with nothing added, if one of them cannot be.
fn add_chunks(
    into: &mut Accumulator,
    Size { rows, columns, factors }: Size,
    negate: bool,
    deposit: impl Fn(std::ops::Range<usize>, &mut Accumulator, bool) -> Option<()> + Sync,
) -> Option<()> {
    // Tables of many columns are large: as few of them as there are threads.
    let large = factors || columns >= WIDE;
    let chunk_rows = if factors { LONGEST_CHUNK } else { chunk_rows(rows, columns) };
    if rows <= chunk_rows {
        return deposit(0..rows, into, negate);
    }
    let chunks = rows.div_ceil(chunk_rows);
    let share = if large { chunks.div_ceil(rayon::current_num_threads()) } else { 1 };
    let size = into.columns();
    let pieces: Vec<usize> = (0..rows).step_by(share * chunk_rows).collect();
    let sums_of = |first: usize| {
        let mut sums = Accumulator::new(size);
        let end = rows.min(first + share * chunk_rows);
        for start in (first..end).step_by(chunk_rows) {
            deposit(start..end.min(start + chunk_rows), &mut sums, false)?;
        }
        Some(sums)
    };
    let delta = pieces.into_par_iter().map(sums_of).reduce_with(|a, b| {
        let mut a = a?;
        a.merge(&b?, false);
        Some(a)
    })??;
    into.merge(&delta, negate);
    Some(())
}

/// Rows of a chunk at most.
const LONGEST_CHUNK: usize = 64 * PLANE_ROWS;
/// Levels from which on sums within them are faster than planes of zeros and ones.
const MANY_LEVELS: usize = 24;

/// Indicators that read the same codes, and so are of one factor: `(code, place in the block)`.
struct Indicators<'a> {
    codes: &'a [u32],
    columns: Vec<(u32, usize)>,
}

/// The columns of a block: factors of many levels, and all others.
struct Parts<'a> {
    factors: Vec<Levels<'a>>,
    /// Places in the block, and columns of the table.
    others: Vec<(usize, usize)>,
}

impl<'a> Parts<'a> {
    fn of(block: &Block<'a>, ids: &[usize]) -> Self {
        let mut factors: Vec<Indicators<'a>> = Vec::new();
        for (place, column) in block.columns.iter().enumerate() {
            let Column::Indicator { codes, code } = *column else { continue };
            match factors.iter_mut().find(|factor| factor.codes.as_ptr() == codes.as_ptr()) {
                Some(factor) => factor.columns.push((code, place)),
                None => factors.push(Indicators { codes, columns: vec![(code, place)] }),
            }
        }
        let mut taken = vec![false; block.columns.len()];
        let mut many = Vec::new();
        for Indicators { codes, columns } in &factors {
            let mut distinct: Vec<u32> = columns.iter().map(|(code, _)| *code).collect();
            distinct.sort_unstable();
            distinct.dedup();
            // (Codes far beyond their number would make long tables of places.)
            let compact = distinct.last().is_none_or(|last| (*last as usize) < 64 * LONGEST_CHUNK);
            if columns.len() < MANY_LEVELS || distinct.len() < columns.len() || !compact {
                continue;
            }
            columns.iter().for_each(|(_, place)| taken[*place] = true);
            let columns: Vec<(u32, usize)> = columns.iter().map(|&(code, place)| (code, ids[place] + 1)).collect();
            many.push(Levels::new(codes, &columns));
        }
        let others = (0..block.columns.len()).filter(|&place| !taken[place]).map(|place| (place, ids[place] + 1));
        Self { factors: many, others: others.collect() }
    }

    fn chunk(&self, block: &Block<'a>, range: std::ops::Range<usize>) -> Chunk<'a> {
        let columns: Vec<Column<'a>> =
            self.others.iter().map(|&(place, _)| block.columns[place].slice(range.clone())).collect();
        let left = std::iter::once(Digits::Constant).chain(columns.iter().map(|c| digits(*c))).collect();
        let right = block.weights.map(|weights| {
            let weights = &weights[range.clone()];
            std::iter::once(Digits::Dense(Cow::Borrowed(weights)))
                .chain(columns.iter().map(|column| weighted(*column, weights)))
                .collect()
        });
        let ids = std::iter::once(0).chain(self.others.iter().map(|(_, id)| *id)).collect();
        let factors = self.factors.iter().map(|factor| factor.slice(range.clone())).collect();
        Chunk { rows: range.len(), left, right, ids, factors }
    }
}

/// Rows a chunk: enough to pay for gathering, few enough to stay in the second-level cache, and a few chunks a thread.
fn chunk_rows(rows: usize, columns: usize) -> usize {
    let little = rows <= STREAMED_ROWS && rows * (columns + 1) * (columns + 2) / 2 <= LITTLE_PRODUCTS;
    let threads = if little { 1 } else { rayon::current_num_threads() };
    let wanted = if columns < WIDE {
        let cached = (1usize << 16) / columns.max(1);
        let pieces = if threads == 1 { 1 } else { 4 * threads };
        rows.div_ceil(pieces).min(cached.max(STREAMED_ROWS))
    } else {
        // Gathering a pair of columns costs as much as multiplying some hundred rows of it.
        let parts = (rows / (8 * PLANE_ROWS)).clamp(1, 4 * threads);
        let parts = if rows >= 4 * PLANE_ROWS * threads { parts.next_multiple_of(threads) } else { parts };
        rows.div_ceil(parts)
    };
    (wanted.div_ceil(PLANE_ROWS) * PLANE_ROWS).clamp(2 * PLANE_ROWS, LONGEST_CHUNK)
}

/// Rows and products of a block that is not worth sharing out, a millisecond or two: such blocks come in streams, which
/// have threads of their own.
const STREAMED_ROWS: usize = 16 * PLANE_ROWS;
const LITTLE_PRODUCTS: usize = 1 << 21;

/// Columns from which on gathering is what chunks must pay for.
const WIDE: usize = 64;

fn digits(column: Column<'_>) -> Digits<'_> {
    match column {
        Column::Dense(values) => Digits::Dense(Cow::Borrowed(values)),
        Column::Indicator { codes, code } => Digits::Indicator { codes, code },
        Column::Pair { hi, lo } if lo.iter().all(|x| *x == 0.0) => Digits::Dense(Cow::Borrowed(hi)),
        Column::Pair { hi, lo } => Digits::Sum(vec![integers(hi), integers(lo)]),
        Column::Within { codes, code, hi, lo } => {
            let masked = |values: &[f64]| -> Vec<f64> {
                values.iter().zip(codes).map(|(x, c)| if *c == code { *x } else { 0.0 }).collect()
            };
            match lo.map(masked) {
                Some(lo) if lo.iter().any(|x| *x != 0.0) => Digits::Sum(vec![integers(&masked(hi)), integers(&lo)]),
                _ => Digits::Dense(Cow::Owned(masked(hi))),
            }
        }
    }
}

fn integers(values: &[f64]) -> Vec<(i64, i32)> {
    values.iter().map(|&x| integer_and_exponent(x)).collect()
}

/// The column times the weights. A product of doubles is two integers of at most 53 bits.
fn weighted(column: Column<'_>, weights: &[f64]) -> Digits<'static> {
    let times = |values: &[(i64, i32)]| -> [Vec<(i64, i32)>; 2] {
        let products = values.iter().zip(weights).map(|(&(m, e), &w)| {
            let (weight, exponent) = integer_and_exponent(w);
            (m as i128 * weight as i128, e + exponent)
        });
        products
            .map(|(product, exponent)| {
                let high = (product >> 53) as i64;
                let low = (product - ((high as i128) << 53)) as i64;
                ((high, exponent + 53), (low, exponent))
            })
            .unzip::<_, _, Vec<_>, Vec<_>>()
            .into()
    };
    let times_double = |values: &[f64]| -> Digits<'static> {
        // Weights and data of few digits have products that are doubles: those take the fast way.
        let products: Vec<f64> = values.iter().zip(weights).map(|(x, w)| x * w).collect();
        let exact = products.iter().zip(values.iter().zip(weights)).all(|(p, (x, w))| {
            x.mul_add(*w, -p) == 0.0 && ((p.abs() > 1e-250 && p.abs() < 1e300) || *x == 0.0 || *w == 0.0)
        });
        if exact { Digits::Dense(Cow::Owned(products)) } else { Digits::Sum(times(&integers(values)).into()) }
    };
    match digits(column) {
        Digits::Constant => Digits::Dense(Cow::Owned(weights.to_vec())),
        Digits::Dense(values) => times_double(&values),
        Digits::Apart(values) => times_double(&values.iter().collect::<Vec<f64>>()),
        Digits::Indicator { codes, code } => {
            let chosen = codes.iter().zip(weights).map(|(c, w)| if *c == code { *w } else { 0.0 });
            Digits::Dense(Cow::Owned(chosen.collect()))
        }
        Digits::Sum(terms) => Digits::Sum(terms.iter().flat_map(|term| times(term)).collect()),
    }
}
