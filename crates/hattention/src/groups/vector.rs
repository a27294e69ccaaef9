//! Eight groups of one design at once, in doubled arithmetic.

use super::frame::{Frame, Rows};
use super::{TargetFit, rows::GroupedRows};
use crate::double_double::DoubleDouble;
use crate::exact::centred::Centred;
use crate::lanes::{self, LANES, Sums, Windows};
use crate::moments::Moments;

/// Buffers.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    rows: [Rows; LANES],
    hi: Vec<f64>,
    lo: Vec<f64>,
    shifts: Vec<f64>,
    memory: Vec<f64>,
    states: Vec<f64>,
    out: Vec<f64>,
}

/// Where the sums of a lane come from.
pub(super) enum Lane<'a> {
    /// The rows that are kept.
    Kept(usize),
    /// Exact sums, the design's columns and the targets in order.
    Summed(&'a Moments, Vec<usize>),
}

impl Scratch {
    /// Rows with a weight, and the numbers of every target, of each group; no numbers where they are not as good as
    /// promised.
    pub(super) fn fit(
        &mut self,
        frame: &Frame,
        parts: &[GroupedRows],
        lanes: &[Lane<'_>],
    ) -> Vec<(u64, Option<Vec<TargetFit>>)> {
        let shape = &frame.shape;
        self.gather(frame, parts, lanes);
        self.states.clear();
        self.states.resize(shape.state() * 2 * LANES, 0.0);
        let count = self.hi.len() / (shape.width() * LANES);
        let rows = lanes::Rows { hi: &self.hi, lo: (!self.lo.is_empty()).then_some(&self.lo[..]), count };
        let (memory, states) = (&mut self.memory, &mut self.states);
        if count > 0 {
            lanes::sums(Sums { shape, rows, shifts: &self.shifts, memory, states });
        }
        for (lane, source) in lanes.iter().enumerate() {
            if let Lane::Summed(moments, columns) = source {
                self.read_sums(frame, lane, moments, columns);
            }
        }
        self.out.clear();
        self.out.resize(shape.output() * LANES, 0.0);
        lanes::windows(Windows {
            shape,
            front: lanes::Rows { hi: &[], lo: None, count: 0 },
            back: None,
            shifts: &self.shifts,
            base: &self.states,
            doubled: true,
            memory: &mut self.memory,
            out: &mut self.out,
        });
        (0..lanes.len()).map(|lane| (self.states[lane] as u64, self.read(frame, lane))).collect()
    }

    /// The rows of all lanes, side by side; behind the end of a lane rows without weight at its shifts.
    fn gather(&mut self, frame: &Frame, parts: &[GroupedRows], lanes: &[Lane<'_>]) {
        let shape = &frame.shape;
        let (fields, width) = (shape.fields(), shape.width());
        self.shifts.clear();
        self.shifts.resize(fields * LANES, 0.0);
        let mut count = 0;
        for (source, rows) in lanes.iter().zip(&mut self.rows) {
            if let Lane::Kept(group) = source {
                rows.fill(frame, parts, *group);
                count = count.max(rows.count());
            }
        }
        let low = lanes.iter().zip(&self.rows).any(|(lane, rows)| matches!(lane, Lane::Kept(_)) && !rows.lo.is_empty());
        self.hi.clear();
        self.hi.resize(count * width * LANES, 0.0);
        self.lo.clear();
        self.lo.resize(if low { count * fields * LANES } else { 0 }, 0.0);
        for (lane, (source, rows)) in lanes.iter().zip(&self.rows).enumerate() {
            if !matches!(source, Lane::Kept(_)) || rows.count() == 0 {
                continue;
            }
            let first = rows.order[0].1 as usize * fields;
            for field in 0..fields {
                let shift = if shape.intercept { rows.hi[first + field] } else { 0.0 };
                self.shifts[field * LANES + lane] = shift;
                for k in rows.count()..count {
                    self.hi[(k * width + field) * LANES + lane] = shift;
                }
            }
            for (k, (_, row)) in rows.order.iter().enumerate() {
                let (row, start) = (*row as usize, k * width * LANES + lane);
                let numbers = rows.hi[row * fields..(row + 1) * fields].iter();
                for (x, to) in numbers.zip(self.hi[start..].iter_mut().step_by(LANES)) {
                    *to = *x;
                }
                self.hi[start + fields * LANES] = rows.weights[row];
                self.hi[start + (fields + 1) * LANES] = 1.0;
                let numbers = rows.lo.get(row * fields..(row + 1) * fields).unwrap_or_default();
                for (field, x) in numbers.iter().enumerate() {
                    self.lo[(k * fields + field) * LANES + lane] = *x;
                }
            }
        }
    }

    /// The state of a lane from exact sums.
    fn read_sums(&mut self, frame: &Frame, lane: usize, moments: &Moments, columns: &[usize]) {
        let shape = &frame.shape;
        let sums = Centred::<4>::new(&moments.sums, shape.intercept);
        let mut put = |at: usize, x: DoubleDouble| {
            self.states[2 * at * LANES + lane] = x.hi;
            self.states[(2 * at + 1) * LANES + lane] = x.lo;
        };
        put(0, DoubleDouble::from(moments.rows() as f64));
        put(1, sums.total().to_double_double());
        for (field, column) in columns.iter().enumerate() {
            let mean = sums.mean(column + 1).to_double_double();
            self.shifts[field * LANES + lane] = mean.hi;
            put(2 + field, DoubleDouble::from(mean.lo));
            let start = shape.products(field);
            let others = columns[..field.min(shape.columns)].iter().chain([column]);
            for (k, other) in others.enumerate() {
                put(start + k, sums.product(column + 1, other + 1).to_double_double());
            }
        }
    }

    /// What the lanes say of a group.
    fn read(&self, frame: &Frame, lane: usize) -> Option<Vec<TargetFit>> {
        let shape = &frame.shape;
        let count = shape.coefficients();
        let df = self.states[lane] - count as f64;
        let at = |i: usize| self.out[i * LANES + lane];
        let good = |gap: f64| gap <= 1.0;
        if df <= 0.0 || !good(at(0)) {
            return None;
        }
        let target = |target: usize| {
            let gap = 1 + target * shape.of_target();
            let start = gap + 1;
            let total = self.states[2 * (shape.products(shape.columns + target) + shape.columns) * LANES + lane];
            let sigma = at(start + 2 * count);
            let fit = TargetFit {
                estimates: (start..start + count).map(at).collect(),
                std_errors: (start + count..start + 2 * count).map(at).collect(),
                df,
                sigma,
                r_squared: 1.0 - sigma * sigma * df / total,
                digits: 15.9,
            };
            let finite = [&fit.estimates[..], &fit.std_errors, &[fit.sigma, fit.r_squared]]
                .iter()
                .all(|numbers| numbers.iter().all(|x| x.is_finite()));
            (finite && good(at(gap))).then_some(fit)
        };
        (0..shape.targets).map(target).collect()
    }
}
