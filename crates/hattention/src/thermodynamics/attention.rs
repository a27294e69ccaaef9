//! Attention as it is given: scores, or queries and keys, of heads and batches.

use std::ops::Range;

use super::ensemble::{CHUNK, check};
use crate::dense::kernel::{PANEL, TILE, ZERO_TILE};
use crate::dense::{Panels, multiply_rows};
use crate::error::Error;

/// Queries that are looked at together.
pub(crate) const QUERIES: usize = TILE;
/// Keys that are looked at together.
pub(crate) const KEYS: usize = CHUNK;
/// Energies of some queries and keys; infinite for keys that are not read.
pub(crate) type Tile = [[f64; KEYS]; QUERIES];

/// Where energies come from.
pub(crate) trait Energies: Sync {
    /// Batches, heads, queries and keys.
    fn shape(&self) -> [usize; 4];
    /// The temperature of the weights.
    fn temperature(&self) -> f64;
    /// What its numbers should be.
    fn expected(&self) -> &'static str {
        "finite scores"
    }
    /// Energies of at most [`QUERIES`] queries and [`KEYS`] keys of a batch and head.
    fn fill(&self, of: [usize; 2], queries: Range<usize>, keys: Range<usize>, tile: &mut Tile);
}

/// Numbers as a file has them: the lowest byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// IEEE 754, eight bytes.
    F64,
    /// IEEE 754, four bytes.
    F32,
    /// IEEE 754, two bytes.
    F16,
    /// The first two bytes of [`Number::F32`].
    BF16,
}

impl Number {
    /// Bytes a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    fn read(self, bytes: &[u8]) -> f64 {
        match (self, bytes) {
            (Self::F64, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            (Self::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
            (Self::F16, &[a, b]) => half(u16::from_le_bytes([a, b])),
            (Self::BF16, &[a, b]) => f64::from(f32::from_bits(u32::from(u16::from_le_bytes([a, b])) << 16)),
            _ => f64::NAN,
        }
    }
}

/// A half as a double.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// An array of up to four axes in bytes that lie somewhere.
///
/// # Shapes
/// `[batches, heads, rows, columns]`; fewer axes are the last of these.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a> {
    bytes: &'a [u8],
    number: Number,
    shape: [usize; 4],
    /// Steps from one number to the next along each axis.
    steps: [usize; 4],
}

impl<'a> Numbers<'a> {
    /// An array of so many numbers along each axis; the last axis lies closest, or, in Fortran's order, the first.
    ///
    /// # Errors
    /// [`Error::Parameter`] for no axis or more than four, or for an axis without numbers; [`Error::Shape`] for another number
    /// of bytes.
    pub fn new(bytes: &'a [u8], number: Number, shape: &[usize], fortran: bool) -> Result<Self, Error> {
        let allowed = "one to four axes, none of them empty";
        if shape.is_empty() || shape.len() > 4 || shape.contains(&0) {
            return Err(Error::Parameter { name: "the shape", got: format!("{shape:?}"), allowed });
        }
        let count = shape.iter().try_fold(1usize, |count, n| count.checked_mul(*n));
        let expected = count.and_then(|count| count.checked_mul(number.bytes()));
        if expected != Some(bytes.len()) {
            let expected = expected.unwrap_or(usize::MAX);
            return Err(Error::Shape { what: "the array's memory", expected, got: bytes.len() });
        }
        let mut steps = vec![1; shape.len()];
        if fortran {
            (1..shape.len()).for_each(|axis| steps[axis] = steps[axis - 1] * shape[axis - 1]);
        } else {
            (1..shape.len()).rev().for_each(|axis| steps[axis - 1] = steps[axis] * shape[axis]);
        }
        let missing = 4 - shape.len();
        let filled = |axes: &[usize], fill: usize| -> [usize; 4] {
            std::array::from_fn(|axis| if axis < missing { fill } else { axes[axis - missing] })
        };
        Ok(Self { bytes, number, shape: filled(shape, 1), steps: filled(&steps, 0) })
    }

    /// `[batches, heads, rows, columns]`.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Numbers along the last axis from a column on.
    fn row(&self, [batch, head]: [usize; 2], row: usize, columns: Range<usize>, into: &mut [f64]) {
        let [b, h, r, c] = self.steps;
        let size = self.number.bytes();
        let first = batch * b + head * h + row * r;
        if c == 1 {
            let bytes = &self.bytes[size * (first + columns.start)..size * (first + columns.end)];
            into.iter_mut().zip(bytes.chunks_exact(size)).for_each(|(x, bytes)| *x = self.number.read(bytes));
            return;
        }
        for (x, column) in into.iter_mut().zip(columns) {
            let at = size * (first + column * c);
            *x = self.number.read(&self.bytes[at..at + size]);
        }
    }
}

/// Scores that have been computed: of masks, of softmax's argument, of anything.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    numbers: Numbers<'a>,
    masked: f64,
}

impl<'a> Logits<'a> {
    /// Scores `[batches, heads, queries, keys]`. Those of `−∞`, and all that are at most `masked`, are of keys that are not read.
    pub fn new(numbers: Numbers<'a>, masked: f64) -> Self {
        Self { numbers, masked }
    }
}

/// Queries and keys; scores are their inner products.
#[derive(Clone, Debug)]
pub struct QueriesAndKeys<'a> {
    queries: Numbers<'a>,
    /// Of every batch and head of keys.
    keys: Vec<Panels>,
    /// Heads of queries that share a head of keys.
    shared: usize,
    key_heads: usize,
    count: usize,
    causal: bool,
}

impl<'a> QueriesAndKeys<'a> {
    /// Queries `[batches, heads, queries, width]` and keys `[batches, key heads, keys, width]`; every head of keys serves as
    /// many heads of queries as the next (grouped queries). *Causal*: the last query reads all keys, those before it one fewer each.
    ///
    /// # Errors
    /// [`Error::Shape`] for other widths, batches, or heads that are no multiple, and, if causal, for more queries than keys.
    pub fn new(queries: Numbers<'a>, keys: Numbers<'a>, causal: bool) -> Result<Self, Error> {
        let ([batches, heads, rows, width], [key_batches, key_heads, count, key_width]) = (queries.shape, keys.shape);
        if width != key_width {
            return Err(Error::Shape { what: "a key", expected: width, got: key_width });
        }
        if batches != key_batches {
            return Err(Error::Shape { what: "the batch of keys", expected: batches, got: key_batches });
        }
        if !heads.is_multiple_of(key_heads) {
            return Err(Error::Shape { what: "the axis of key heads", expected: heads, got: key_heads });
        }
        if causal && rows > count {
            return Err(Error::Shape { what: "the axis of causal queries", expected: count, got: rows });
        }
        let mut panels = Vec::with_capacity(batches * key_heads);
        let mut row = vec![0.0; width];
        for of in (0..batches).flat_map(|batch| (0..key_heads).map(move |head| [batch, head])) {
            let mut panel = Panels::zero(count, width);
            for key in 0..count {
                keys.row(of, key, 0..width, &mut row);
                row.iter().enumerate().for_each(|(c, x)| panel.set(key, c, *x));
            }
            panels.push(panel);
        }
        Ok(Self { queries, keys: panels, shared: heads / key_heads, key_heads, count, causal })
    }

    /// The numbers along a query and a key.
    pub fn width(&self) -> usize {
        self.queries.shape[3]
    }
}

/// What attention is made of.
#[derive(Clone, Debug)]
pub enum Form<'a> {
    /// Scores.
    Logits(Logits<'a>),
    /// Queries and keys.
    Keys(QueriesAndKeys<'a>),
    /// Weights after the softmax. Scores are their logarithms, up to a number a query: F is zero. A key of weight zero counts as not read.
    Weights(Numbers<'a>),
}

/// Attention at a temperature.
///
/// # Formula
/// Of logits ℓ the energies are `E = −T ℓ`: they have been divided by the temperature. Of queries and keys, `E = −q·k`. Weights are
/// `softmax(−E/T)` either way.
#[derive(Clone, Debug)]
pub struct Attention<'a> {
    form: Form<'a>,
    temperature: f64,
}

impl<'a> Attention<'a> {
    /// Attention of a form at a temperature; 1 for logits leaves them as they are, `√width` is that of transformers.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a temperature that is not positive and finite.
    pub fn new(form: Form<'a>, temperature: f64) -> Result<Self, Error> {
        check(temperature)?;
        Ok(Self { form, temperature })
    }

    /// Batches, heads, queries and keys.
    pub fn shape(&self) -> [usize; 4] {
        match &self.form {
            Form::Logits(logits) => logits.numbers.shape,
            Form::Weights(numbers) => numbers.shape,
            Form::Keys(form) => {
                let [batches, heads, rows, _] = form.queries.shape;
                [batches, heads, rows, form.count]
            }
        }
    }

    /// The temperature of the weights.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// Whether it is of queries and keys.
    pub fn has_keys(&self) -> bool {
        matches!(self.form, Form::Keys(_))
    }
}

impl Energies for Attention<'_> {
    fn shape(&self) -> [usize; 4] {
        self.shape()
    }

    fn temperature(&self) -> f64 {
        self.temperature
    }

    fn expected(&self) -> &'static str {
        match self.form {
            Form::Weights(_) => "weights that are zero or more",
            Form::Keys(_) => "queries and keys whose products are finite",
            Form::Logits(_) => "scores that are finite, or −∞ for keys that are not read",
        }
    }

    fn fill(&self, of: [usize; 2], queries: Range<usize>, keys: Range<usize>, tile: &mut Tile) {
        match &self.form {
            Form::Logits(logits) => {
                for (query, row) in queries.zip(tile) {
                    let row = &mut row[..keys.len()];
                    logits.numbers.row(of, query, keys.clone(), row);
                    for x in row {
                        // (NaN stays, and is found.)
                        *x = if *x <= logits.masked { f64::INFINITY } else { -self.temperature * *x };
                    }
                }
            }
            Form::Weights(numbers) => {
                for (query, row) in queries.zip(tile) {
                    let row = &mut row[..keys.len()];
                    numbers.row(of, query, keys.clone(), row);
                    // (The logarithm of a negative weight is NaN, and found.)
                    row.iter_mut().for_each(|p| *p = -self.temperature * libm::log(*p));
                }
            }
            Form::Keys(form) => form.fill(of, queries, keys, tile),
        }
    }
}

impl QueriesAndKeys<'_> {
    fn fill(&self, [batch, head]: [usize; 2], queries: Range<usize>, keys: Range<usize>, tile: &mut Tile) {
        let width = self.width();
        let mut rows = vec![0.0; QUERIES * width];
        for (query, row) in queries.clone().zip(rows.chunks_exact_mut(width)) {
            self.queries.row([batch, head], query, 0..width, row);
        }
        let rows: [&[f64]; QUERIES] = std::array::from_fn(|j| &rows[j * width..(j + 1) * width]);
        let panels = &self.keys[batch * self.key_heads + head / self.shared];
        for first in keys.clone().step_by(PANEL) {
            let mut products = ZERO_TILE;
            let count = PANEL.min(keys.end - first);
            multiply_rows(panels.panel(first / PANEL), rows, count, &mut products);
            let at = first - keys.start;
            for (row, products) in tile.iter_mut().zip(&products) {
                row[at..at + count].iter_mut().zip(products).for_each(|(e, product)| *e = -product);
            }
        }
        if self.causal {
            let [_, _, all, _] = self.queries.shape;
            for (query, row) in queries.zip(tile) {
                let read = (query + self.count + 1 - all).clamp(keys.start, keys.end) - keys.start;
                row[read..keys.len()].fill(f64::INFINITY);
            }
        }
    }
}
