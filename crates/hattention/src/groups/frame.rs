//! What groups of one design have in common, and their rows in an order that is theirs.

use super::layout::{Layout, NONE};
use super::rows::GroupedRows;
use crate::design::Design;
use crate::lanes::{Promise, Shape};

/// Coefficients are known to this much of themselves before they are rounded to doubles: what the rounding adds leaves
/// 15.9 digits.
const PROMISE: f64 = 1.0 / (1u64 << 56) as f64;
/// Columns up to which groups are factored in a vector.
const MOST_COLUMNS: usize = 64;
/// No field.
const ABSENT: u32 = u32::MAX;

/// A design of some groups.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) design: Design,
    pub(super) names: std::sync::Arc<Vec<String>>,
    pub(super) shape: Shape,
    /// The design and the targets can be worked on in a vector.
    pub(super) vector: bool,
    /// Numbers of the targets' columns.
    pub(super) targets: Vec<usize>,
    /// The field of every column.
    fields: Vec<u32>,
}

impl Frame {
    pub(super) fn new(design: Design, targets: &[usize]) -> Self {
        let known: Option<Vec<usize>> = design.columns.iter().copied().collect();
        let columns: Vec<usize> = known.iter().flatten().chain(targets).copied().collect();
        let most = columns.iter().max().map_or(0, |most| most + 1);
        let mut fields = vec![ABSENT; most];
        let mut twice = false;
        for (field, column) in columns.iter().enumerate() {
            twice |= fields[*column] != ABSENT;
            fields[*column] = field as u32;
        }
        let count = design.names.len();
        let shape = Shape {
            columns: count,
            targets: targets.len(),
            intercept: design.intercept,
            decay: 1.0,
            // Pairs and indicators are known better, but what is as near to dependence as that is judged exactly.
            units: vec![2f64.powi(-53); count],
            full: true,
            promise: Promise::OfThemselves(PROMISE),
        };
        let constant = design.intercept.then(|| crate::INTERCEPT.to_owned());
        let names = std::sync::Arc::new(constant.into_iter().chain(design.names.iter().cloned()).collect());
        let whole = known.is_some() && !twice && design.orthogonal.is_empty();
        let vector = whole && count <= MOST_COLUMNS && shape.coefficients() > 0;
        Self { design, names, shape, vector, targets: targets.to_vec(), fields }
    }

    fn field(&self, column: usize) -> Option<usize> {
        self.fields.get(column).filter(|field| **field != ABSENT).map(|field| *field as usize)
    }
}

/// The rows of a group, dense.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Shape: `[rows][fields]`.
    pub(super) hi: Vec<f64>,
    /// What the doubles round away; of no length if that is nothing. Shape: `[rows][fields]`.
    pub(super) lo: Vec<f64>,
    /// Shape: `[rows]`.
    pub(super) weights: Vec<f64>,
    /// Rows by their numbers, with a hash of these. Shape: `[rows]`.
    pub(super) order: Vec<(u64, u32)>,
}

impl Rows {
    pub(super) fn count(&self) -> usize {
        self.weights.len()
    }

    /// Reads the rows of a group that have a weight, and puts them in an order that depends on their numbers only.
    ///
    /// Sums in doubled arithmetic depend on the order of their terms, and rows come in any. A hash puts them in order
    /// with one multiplication a number; rows of one hash are compared.
    pub(super) fn fill(&mut self, frame: &Frame, parts: &[GroupedRows], group: usize) {
        self.hi.clear();
        self.lo.clear();
        self.weights.clear();
        for (layout, records) in parts.iter().flat_map(|part| part.pages(group)) {
            self.read(frame, layout, records);
        }
        let fields = frame.shape.fields();
        self.order.clear();
        for row in 0..self.count() {
            let mut hash = mixed(0, self.weights[row]);
            for x in &self.hi[row * fields..(row + 1) * fields] {
                hash = mixed(hash, *x);
            }
            self.order.push((hash, row as u32));
        }
        self.order.sort_unstable_by_key(|(hash, _)| *hash);
        let (hi, lo, weights) = (&self.hi, &self.lo, &self.weights);
        let numbers = |row: u32| {
            let range = row as usize * fields..(row as usize + 1) * fields;
            let rest = lo.get(range.clone()).unwrap_or_default();
            hi[range].iter().chain(rest).chain(std::iter::once(&weights[row as usize]))
        };
        for same in self.order.chunk_by_mut(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            same.sort_by(|a, b| {
                let unequal = numbers(a.1).zip(numbers(b.1)).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
                unequal.unwrap_or(std::cmp::Ordering::Equal)
            });
        }
    }

    /// The records of a page. Zeros have one sign: `−0 + 0 = 0`.
    fn read(&mut self, frame: &Frame, layout: &Layout, records: &[f64]) {
        let (fields, width) = (frame.shape.fields(), layout.width().max(1));
        let mut at = 0;
        // Where a number stands in a record, its field, and whether it is a pair.
        let mut dense: Vec<(usize, usize, bool)> = Vec::with_capacity(layout.dense.len());
        for (column, pair) in &layout.dense {
            dense.extend(frame.field(*column).map(|field| (at, field, *pair)));
            at += 1 + usize::from(*pair);
        }
        let families: Vec<(usize, usize)> =
            layout.family_places().zip(&layout.families).map(|(at, family)| (at, family.words())).collect();
        let whole = self.hi.len() + records.len() / width * fields;
        self.hi.resize(whole, 0.0);
        for record in records.chunks_exact(width) {
            let weight = if layout.weighted { record[layout.weight_at()] } else { 1.0 };
            if weight == 0.0 {
                continue;
            }
            let start = self.count() * fields;
            self.weights.push(weight);
            let row = &mut self.hi[start..start + fields];
            for (at, field, pair) in &dense {
                row[*field] = record[*at] + 0.0;
                if *pair && record[at + 1] != 0.0 {
                    set_low(&mut self.lo, start + field, record[at + 1]);
                }
            }
            for (at, words) in families.iter().filter(|(at, _)| record[*at] != NONE) {
                let Some(field) = frame.field(record[*at] as usize) else { continue };
                let numbers = &record[at + 1..at + words];
                row[field] = numbers.first().copied().unwrap_or(1.0) + 0.0;
                if let Some(low) = numbers.get(1).filter(|low| **low != 0.0) {
                    set_low(&mut self.lo, start + field, *low);
                }
            }
        }
        self.hi.truncate(self.count() * fields);
        if !self.lo.is_empty() {
            self.lo.resize(self.hi.len(), 0.0);
        }
    }
}

fn set_low(lo: &mut Vec<f64>, at: usize, low: f64) {
    if at >= lo.len() {
        lo.resize(at + 1, 0.0);
    }
    lo[at] = low;
}

/// A hash with one number more.
#[inline]
fn mixed(hash: u64, x: f64) -> u64 {
    let product = (hash ^ x.to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 29
}
