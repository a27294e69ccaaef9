//! The windows of all groups of chunks: which arithmetic each stands on, and what has to be judged exactly.

use std::cmp::Ordering;
use std::ops::Range;

use rayon::prelude::*;

use super::plan::{Gathered, Plan, Ready};
use super::series::Series;
use super::{Rung, Status};
use crate::double_double::DoubleDouble;
use crate::lanes::{LANES, Shape, Windows, windows};

/// What is known of all rows.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) status: Vec<Status>,
    /// Shape: `[targets · values][rows]`.
    pub(super) values: Vec<Vec<f64>>,
    /// Sets of constant columns, the dependences of [`Status::Dependent`].
    pub(super) constant: Vec<Vec<usize>>,
    /// Rows whose window is to be judged exactly.
    pub(super) open: Vec<usize>,
    /// Rows whose prediction waits for the exact window of the row before.
    pub(super) open_predictions: Vec<usize>,
}

/// What the groups share.
pub(super) struct Job<'a> {
    pub(super) series: &'a Series<'a>,
    pub(super) shape: &'a Shape,
    pub(super) plan: &'a Plan,
    /// Rows that a window needs.
    pub(super) needed: usize,
}

impl Job<'_> {
    pub(super) fn run(&self) -> Found {
        let ready = Ready::of(self.series, self.shape, self.plan);
        let columns = self.shape.targets * self.shape.values();
        let mut status = vec![Status::TooFewRows; self.plan.rows];
        // Zeros are pages that nobody has touched yet: they are written by the threads that compute them.
        let mut values: Vec<Vec<f64>> = (0..columns).map(|_| vec![0.0; self.plan.rows]).collect();
        let mut rest: Vec<&mut [f64]> = values.iter_mut().map(|column| &mut column[..]).collect();
        let mut rest_status = &mut status[..];
        let mut sinks = Vec::with_capacity(self.plan.groups());
        for group in 0..self.plan.groups() {
            let rows = self.plan.group(group);
            let mut taken = Vec::with_capacity(columns);
            for column in &mut rest {
                let (head, tail) = std::mem::take(column).split_at_mut(rows.len());
                taken.push(head);
                *column = tail;
            }
            let (head, tail) = rest_status.split_at_mut(rows.len());
            rest_status = tail;
            sinks.push(Sink { values: taken, status: head, start: rows.start, ..Sink::default() });
        }
        let judged = sinks.into_par_iter().enumerate().map_init(Scratch::default, |scratch, (group, mut sink)| {
            self.group(&ready, group, &mut sink, scratch);
            (sink.start..sink.start + sink.status.len(), sink.constant, sink.open, sink.open_predictions)
        });
        let judged: Vec<_> = judged.collect();
        let mut found = Found { status, values, constant: vec![], open: vec![], open_predictions: vec![] };
        for (rows, constant, open, open_predictions) in judged {
            found.open.extend(open);
            found.open_predictions.extend(open_predictions);
            if constant.is_empty() {
                continue;
            }
            let places: Vec<usize> = constant.into_iter().map(|set| place_of(&mut found.constant, set)).collect();
            for status in &mut found.status[rows] {
                if let Status::Dependent(local) = status {
                    *local = places[*local];
                }
            }
        }
        found
    }

    /// One group of chunks.
    fn group(&self, ready: &Ready, group: usize, sink: &mut Sink<'_>, scratch: &mut Scratch) {
        let chunks: Vec<Range<usize>> =
            (LANES * group..(LANES * (group + 1)).min(self.plan.chunks)).map(|chunk| self.plan.chunk(chunk)).collect();
        // The last chunk may be shorter than the one that leaves as it enters.
        let full = |lane: usize| self.plan.back(LANES * group + lane).map_or(0, |back| self.plan.chunk(back).len());
        let longest = chunks.iter().enumerate().map(|(lane, rows)| rows.len().max(full(lane))).max();
        let count = longest.unwrap_or(0);
        self.prepare(ready, group, &chunks, count, scratch);
        let size = (count + 1) * self.shape.output() * LANES;
        scratch.plain.resize(size, 0.0);
        self.compute(scratch, false);
        let unchanged = Unchanged { job: self, rows: chunks[0].start..sink.start + sink.status.len(), since: None };
        let mut judge = Judge { job: self, unchanged, chunks: &chunks };
        let plain = std::mem::take(&mut scratch.plain);
        let doubtful = judge.doubtful(&plain);
        if doubtful {
            scratch.doubled.resize(size, 0.0);
            self.compute(scratch, true);
        }
        let doubled = doubtful.then_some(&scratch.doubled[..]);
        judge.write(&plain, doubled, sink);
        scratch.plain = plain;
    }

    /// Rows, shifts and states of a group.
    fn prepare(&self, ready: &Ready, group: usize, chunks: &[Range<usize>], count: usize, scratch: &mut Scratch) {
        let (shape, size) = (self.shape, self.shape.state());
        scratch.shifts.clear();
        scratch.shifts.resize(shape.fields() * LANES, 0.0);
        scratch.base.clear();
        scratch.base.resize(size * 2 * LANES, 0.0);
        let back: Vec<Option<usize>> = (0..chunks.len()).map(|lane| self.plan.back(LANES * group + lane)).collect();
        for lane in 0..chunks.len() {
            let chunk = LANES * group + lane;
            let state = |of: &'_ [DoubleDouble], chunk: usize| of[chunk * size..][..2 + shape.fields()].to_vec();
            let mut near = vec![state(&ready.beside, chunk), state(&ready.own, chunk)];
            near.extend(back[lane].map(|back| state(&ready.own, back)));
            let total: f64 = near.iter().map(|state| state[1].hi).sum();
            for field in 0..shape.fields() {
                let sum: f64 = near.iter().map(|state| state[1].hi / total * state[2 + field].hi).sum();
                let shift = if shape.intercept && sum.is_finite() { sum } else { 0.0 };
                scratch.shifts[field * LANES + lane] = shift;
            }
            let beside = &ready.beside[chunk * size..(chunk + 1) * size];
            let empty = beside[1].hi == 0.0;
            for (i, number) in beside.iter().enumerate() {
                let field = i.checked_sub(2).filter(|field| *field < shape.fields() && !empty);
                let shift = field.map_or(0.0, |field| scratch.shifts[field * LANES + lane]);
                let number = *number - DoubleDouble::from(shift);
                (scratch.base[2 * i * LANES + lane], scratch.base[(2 * i + 1) * LANES + lane]) = (number.hi, number.lo);
            }
        }
        scratch.front.fill(self.series, shape, count, chunks, &scratch.shifts);
        if self.plan.has_back() {
            let rows = |back: Option<usize>| back.map_or(0..0, |back| self.plan.chunk(back));
            let leaving: Vec<Range<usize>> = back.into_iter().map(rows).collect();
            scratch.back.fill(self.series, shape, count, &leaving, &scratch.shifts);
        }
    }

    fn compute(&self, scratch: &mut Scratch, doubled: bool) {
        let out = if doubled { &mut scratch.doubled } else { &mut scratch.plain };
        windows(Windows {
            shape: self.shape,
            front: scratch.front.rows(),
            back: self.plan.has_back().then(|| scratch.back.rows()),
            shifts: &scratch.shifts,
            base: &scratch.base,
            doubled,
            memory: &mut scratch.memory,
            out,
        });
    }

    /// Residual degrees of freedom of the window that ends in a row.
    pub(super) fn freedom(&self, row: usize) -> f64 {
        let (first, decay) = (self.plan.first(row), self.shape.decay);
        let rows = self.series.count(first..row + 1) as f64;
        let seen = if decay == 1.0 {
            rows
        } else if self.series.weights.is_none() {
            -libm::expm1(rows * libm::log(decay)) / (1.0 - decay)
        } else {
            (first..=row).fold(0.0, |sum, i| decay * sum + self.series.count(i..i + 1) as f64)
        };
        seen - self.shape.coefficients() as f64
    }

    /// Whether a row's window has the rows it needs.
    fn enough(&self, row: usize) -> bool {
        self.series.count(self.plan.first(row)..row + 1) >= self.needed
    }
}

/// The place of a set in a list of sets, added if it is new.
pub(super) fn place_of<T: PartialEq>(sets: &mut Vec<T>, set: T) -> usize {
    sets.iter().position(|known| *known == set).unwrap_or_else(|| {
        sets.push(set);
        sets.len() - 1
    })
}

/// Buffers of a group.
#[derive(Debug, Default)]
struct Scratch {
    front: Gathered,
    back: Gathered,
    shifts: Vec<f64>,
    base: Vec<f64>,
    memory: Vec<f64>,
    plain: Vec<f64>,
    doubled: Vec<f64>,
}

/// Where the results of a group go.
#[derive(Debug, Default)]
struct Sink<'a> {
    values: Vec<&'a mut [f64]>,
    status: &'a mut [Status],
    start: usize,
    constant: Vec<Vec<usize>>,
    open: Vec<usize>,
    open_predictions: Vec<usize>,
}

/// Since when the fields have not changed, for the rows of a group and the one before; found when first asked for.
struct Unchanged<'a> {
    job: &'a Job<'a>,
    rows: Range<usize>,
    since: Option<Vec<Vec<usize>>>,
}

impl Unchanged<'_> {
    /// Whether a field is the same in all rows of a row's window.
    fn is_constant(&mut self, field: usize, row: usize) -> bool {
        let (series, plan) = (self.job.series, self.job.plan);
        let start = self.rows.start.saturating_sub(1);
        let since = self.since.get_or_insert_with(|| {
            let of_field = |field: usize| {
                let mut since = Vec::with_capacity(self.rows.end - start);
                since.push(series.unchanged_since(field, start, plan.first(start)));
                for row in start + 1..self.rows.end {
                    let before = since[row - 1 - start];
                    let same = series.unchanged_since(field, row, row - 1) < row;
                    since.push(if same { before } else { row });
                }
                since
            };
            (0..series.fields.len()).map(of_field).collect()
        });
        since[field][row - start] <= plan.first(row)
    }
}

/// Reads the kernel's output of a group.
struct Judge<'a> {
    job: &'a Job<'a>,
    unchanged: Unchanged<'a>,
    chunks: &'a [Range<usize>],
}

/// What an output says of a window.
#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Good,
    /// A column of the design is the same in all rows (without intercept: zero).
    Constant,
    Doubtful,
}

impl Judge<'_> {
    /// Whether the window that ends in a row is as exact as promised.
    fn verdict(&mut self, slot: &[f64], lane: usize, row: usize) -> Verdict {
        let shape = self.job.shape;
        let gaps = (0..shape.targets).map(|target| slot[(1 + target * shape.of_target()) * LANES + lane]);
        if slot[lane] <= 1.0 && gaps.clone().all(|gap| gap <= 1.0) {
            return Verdict::Good;
        }
        if (0..shape.columns).any(|column| self.adds_nothing(column, row)) {
            return Verdict::Constant;
        }
        let design = slot[lane] <= 1.0;
        let targets: Vec<f64> = gaps.collect();
        let known = design && (0..shape.targets).all(|t| targets[t] <= 1.0 || self.target_is_constant(t, row));
        if known { Verdict::Good } else { Verdict::Doubtful }
    }

    /// Whether a column is constant beside an intercept, or zero without one.
    fn adds_nothing(&mut self, column: usize, row: usize) -> bool {
        self.unchanged.is_constant(column, row)
            && (self.job.shape.intercept || self.job.series.fields[column].hi[row] == 0.0)
    }

    /// Whether a target is its own coefficient of the constant, to the last bit.
    fn target_is_constant(&mut self, target: usize, row: usize) -> bool {
        let field = self.job.shape.columns + target;
        let values = &self.job.series.fields[field];
        let low = values.lo.as_ref().is_some_and(|lo| lo[row] != 0.0);
        !low && self.unchanged.is_constant(field, row) && (self.job.shape.intercept || values.hi[row] == 0.0)
    }

    /// Whether a window of the group has to climb.
    fn doubtful(&mut self, out: &[f64]) -> bool {
        let step = self.job.shape.output() * LANES;
        for (lane, rows) in self.chunks.iter().enumerate() {
            for slot in 0..=rows.len() {
                let Some(row) = (rows.start + slot).checked_sub(1) else { continue };
                if self.job.enough(row)
                    && self.verdict(&out[slot * step..(slot + 1) * step], lane, row) == Verdict::Doubtful
                {
                    return true;
                }
            }
        }
        false
    }

    /// Writes the group's rows.
    fn write(&mut self, plain: &[f64], doubled: Option<&[f64]>, sink: &mut Sink<'_>) {
        let step = self.job.shape.output() * LANES;
        for (lane, rows) in self.chunks.iter().enumerate() {
            // The output that the window before stands on.
            let mut before = None;
            let mut waits = false;
            for slot in 0..=rows.len() {
                let range = slot * step..(slot + 1) * step;
                let window = (rows.start + slot).checked_sub(1);
                let mut chosen = None;
                let mut status = Status::TooFewRows;
                let mut open = false;
                if let Some(row) = window.filter(|row| self.job.enough(*row)) {
                    match self.verdict(&plain[range.clone()], lane, row) {
                        Verdict::Good => (chosen, status) = (Some(plain), Status::Fitted(Rung::Doubles)),
                        Verdict::Constant => status = Status::Dependent(usize::MAX),
                        Verdict::Doubtful => {
                            let higher =
                                doubled.filter(|d| self.verdict(&d[range.clone()], lane, row) == Verdict::Good);
                            open = higher.is_none();
                            chosen = higher;
                            status = Status::Fitted(if open { Rung::Exact } else { Rung::Doubled });
                        }
                    }
                }
                if let Some(row) = window.filter(|_| slot > 0) {
                    if status == Status::Dependent(usize::MAX) {
                        let set = (0..self.job.shape.columns).filter(|c| self.adds_nothing(*c, row)).collect();
                        status = Status::Dependent(place_of(&mut sink.constant, set));
                    }
                    if open {
                        sink.open.push(row);
                    }
                    if waits && self.job.shape.full {
                        sink.open_predictions.push(row);
                    }
                    sink.status[row - sink.start] = status;
                    self.copy(row, slot, [chosen, before], lane, sink);
                }
                (before, waits) = (chosen, open);
            }
        }
    }

    /// Writes one row: coefficients from the output of its own window, its prediction from that of the window before.
    fn copy(&self, row: usize, slot: usize, [own, before]: [Option<&[f64]>; 2], lane: usize, sink: &mut Sink<'_>) {
        let (shape, place) = (self.job.shape, row - sink.start);
        let (count, values) = (shape.coefficients(), shape.values());
        let at = |out: &[f64], slot: usize, i: usize| out[(slot * shape.output() + i) * LANES + lane];
        let predictions = [2 * count + 1, 2 * count + 2, 2 * count + 4];
        for target in 0..shape.targets {
            let columns = &mut sink.values[target * values..(target + 1) * values];
            let gap_at = 1 + target * shape.of_target();
            for (value, column) in columns.iter_mut().enumerate() {
                let source = if predictions.contains(&value) { before } else { own };
                let number = source.map_or(f64::NAN, |out| at(out, slot, gap_at + 1 + value));
                column[place] = if number.is_finite() { number } else { f64::NAN };
            }
            // Only a constant target passes with a gap that is not small: it is known without arithmetic.
            let is_constant = |out: Option<&[f64]>, slot: usize| {
                out.is_some_and(|out| at(out, slot, gap_at).partial_cmp(&1.0).is_none_or(Ordering::is_gt))
            };
            let known = |row: usize| self.job.series.fields[shape.columns + target].hi[row];
            let zero = |row: usize| if self.job.freedom(row) > 0.0 { 0.0 } else { f64::NAN };
            if is_constant(own, slot) {
                columns[..count].iter_mut().for_each(|column| column[place] = 0.0);
                if shape.intercept {
                    columns[0][place] = known(row);
                }
                if shape.full {
                    columns[count..=2 * count].iter_mut().for_each(|column| column[place] = zero(row));
                    columns[2 * count + 3][place] = 0.0;
                }
            }
            if shape.full && is_constant(before, slot - 1) {
                columns[2 * count + 1][place] = known(row - 1);
                columns[2 * count + 2][place] = zero(row - 1);
            }
        }
    }
}
