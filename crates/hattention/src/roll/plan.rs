//! How rows are cut into chunks, and the states that windows find ready beside their own rows.

use std::ops::Range;

use rayon::prelude::*;

use super::Mask;
use super::series::Series;
use crate::double_double::DoubleDouble;
use crate::lanes::{LANES, Rows, Shape, Sums, sums};

/// Rows of a chunk at most. It bounds the roundings of a window: everything outside its chunks is summed in doubled
/// arithmetic.
const CHUNK: usize = 128;

/// The cut of a series. It depends on the mask and the number of rows only.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) rows: usize,
    /// The window, if there is one: no longer than the series.
    window: Option<usize>,
    /// Rows of an interval: the window's, or a chunk's.
    interval: usize,
    /// Chunks of an interval.
    parts: usize,
    pub(super) chunks: usize,
}

impl Plan {
    pub(super) fn of(rows: usize, mask: Mask) -> Self {
        let window = match mask {
            Mask::Window(window) => Some(window.min(rows.max(1))),
            Mask::Expanding | Mask::Decay(_) => None,
        };
        let interval = window.unwrap_or(CHUNK);
        let parts = interval.div_ceil(CHUNK);
        let rest = rows % interval;
        let of_rest = (0..parts).filter(|part| part * interval / parts < rest).count();
        Self { rows, window, interval, parts, chunks: rows / interval * parts + of_rest }
    }

    /// The rows of a chunk.
    pub(super) fn chunk(&self, chunk: usize) -> Range<usize> {
        let (start, part) = (chunk / self.parts * self.interval, chunk % self.parts);
        let at = |part: usize| (start + part * self.interval / self.parts).min(self.rows);
        at(part)..at(part + 1)
    }

    /// The chunk whose rows leave the window as those of this one enter.
    pub(super) fn back(&self, chunk: usize) -> Option<usize> {
        self.window.and_then(|_| chunk.checked_sub(self.parts))
    }

    pub(super) fn has_back(&self) -> bool {
        self.window.is_some()
    }

    /// The first row that the window of a row sees.
    pub(super) fn first(&self, row: usize) -> usize {
        self.window.map_or(0, |window| (row + 1).saturating_sub(window))
    }

    pub(super) fn groups(&self) -> usize {
        self.chunks.div_ceil(LANES)
    }

    /// The rows of a group of chunks.
    pub(super) fn group(&self, group: usize) -> Range<usize> {
        let last = (LANES * (group + 1)).min(self.chunks) - 1;
        self.chunk(LANES * group).start..self.chunk(last).end
    }
}

/// Rows of eight chunks, ready for the kernel.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    hi: Vec<f64>,
    lo: Option<Vec<f64>>,
    count: usize,
}

impl Gathered {
    /// Gathers the rows of chunks; where there are none, rows without weight at the shifts.
    pub(super) fn fill(
        &mut self,
        series: &Series<'_>,
        shape: &Shape,
        count: usize,
        chunks: &[Range<usize>],
        shifts: &[f64],
    ) {
        let (fields, width) = (shape.fields(), shape.width());
        self.count = count;
        self.hi.clear();
        self.hi.resize(count * width * LANES, 0.0);
        self.lo = series.has_low().then(|| vec![0.0; count * fields * LANES]);
        for (field, values) in series.fields.iter().enumerate() {
            for lane in 0..LANES {
                let rows = chunks.get(lane).cloned().unwrap_or(0..0);
                let into = self.hi[field * LANES + lane..].iter_mut().step_by(width * LANES);
                let padding = std::iter::repeat(&shifts[field * LANES + lane]);
                into.zip(values.hi[rows.clone()].iter().chain(padding)).for_each(|(to, x)| *to = *x);
                if let Some((low, to)) = values.lo.as_ref().zip(self.lo.as_mut()) {
                    let to = to[field * LANES + lane..].iter_mut().step_by(fields * LANES);
                    to.zip(&low[rows]).for_each(|(to, x)| *to = *x);
                }
            }
        }
        for (lane, rows) in chunks.iter().enumerate().take(LANES) {
            for (k, row) in rows.clone().enumerate() {
                let weight = series.weight(row);
                let at = (k * width + fields) * LANES + lane;
                self.hi[at] = weight;
                self.hi[at + LANES] = (weight > 0.0) as u8 as f64;
            }
        }
    }

    pub(super) fn rows(&self) -> Rows<'_> {
        Rows { hi: &self.hi, lo: self.lo.as_deref(), count: self.count }
    }
}

/// States of chunks, and of what the windows in each see beside its rows and those that leave. Shape: `[chunks][state]`.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) own: Vec<DoubleDouble>,
    pub(super) beside: Vec<DoubleDouble>,
}

impl Ready {
    pub(super) fn of(series: &Series<'_>, shape: &Shape, plan: &Plan) -> Self {
        let size = shape.state();
        let mut own = vec![DoubleDouble::ZERO; plan.chunks * size];
        own.par_chunks_mut(LANES * size).enumerate().for_each_init(Default::default, |scratch, (group, states)| {
            chunk_states(series, shape, plan, group, states, scratch);
        });
        let beside = match plan.window {
            Some(_) => beside_windows(shape, plan, &own),
            None => before(shape, plan, &own),
        };
        Self { own, beside }
    }
}

/// Buffers of [`chunk_states`].
#[derive(Debug, Default)]
struct Scratch {
    rows: Gathered,
    memory: Vec<f64>,
    states: Vec<f64>,
}

/// States of the chunks of a group.
fn chunk_states(
    series: &Series<'_>,
    shape: &Shape,
    plan: &Plan,
    group: usize,
    states: &mut [DoubleDouble],
    scratch: &mut Scratch,
) {
    let size = shape.state();
    let lanes = states.len() / size;
    let chunks: Vec<Range<usize>> = (0..lanes).map(|lane| plan.chunk(LANES * group + lane)).collect();
    // A row of the chunk is as good a shift as its mean: sums are Welford's, in doubled arithmetic.
    let mut shifts = vec![0.0; shape.fields() * LANES];
    if shape.intercept {
        for (lane, rows) in chunks.iter().enumerate() {
            for (field, values) in series.fields.iter().enumerate() {
                shifts[field * LANES + lane] = values.hi[rows.start];
            }
        }
    }
    let count = chunks.iter().map(Range::len).max().unwrap_or(0);
    scratch.rows.fill(series, shape, count, &chunks, &shifts);
    scratch.states.clear();
    scratch.states.resize(size * 2 * LANES, 0.0);
    let (rows, memory, found) = (scratch.rows.rows(), &mut scratch.memory, &mut scratch.states);
    sums(Sums { shape, rows, shifts: &shifts, memory, states: found });
    for (lane, state) in states.chunks_mut(size).enumerate() {
        for (i, number) in state.iter_mut().enumerate() {
            let at = 2 * i * LANES + lane;
            *number = DoubleDouble { hi: found[at], lo: found[at + LANES] };
            if let Some(field) = i.checked_sub(2).filter(|field| *field < shape.fields()) {
                *number = *number + DoubleDouble::from(shifts[field * LANES + lane]);
            }
        }
    }
}

/// For each chunk, the chunks after it in the interval before and those before it in its own.
fn beside_windows(shape: &Shape, plan: &Plan, own: &[DoubleDouble]) -> Vec<DoubleDouble> {
    let size = shape.state();
    let mut beside = vec![DoubleDouble::ZERO; own.len()];
    if plan.parts == 1 {
        return beside;
    }
    beside.par_chunks_mut(plan.parts * size).enumerate().for_each(|(interval, states)| {
        if interval > 0 {
            let earlier = &own[(interval - 1) * plan.parts * size..interval * plan.parts * size];
            let mut after = vec![DoubleDouble::ZERO; size];
            for part in (0..plan.parts).rev() {
                if let Some(state) = states.get_mut(part * size..(part + 1) * size) {
                    state.copy_from_slice(&after);
                }
                join(shape, &mut after, &earlier[part * size..(part + 1) * size]);
            }
        }
        let mut before = vec![DoubleDouble::ZERO; size];
        for (part, state) in states.chunks_mut(size).enumerate() {
            join(shape, state, &before);
            join(shape, &mut before, &own[(interval * plan.parts + part) * size..][..size]);
        }
    });
    beside
}

/// For each chunk, all before it, decayed.
fn before(shape: &Shape, plan: &Plan, own: &[DoubleDouble]) -> Vec<DoubleDouble> {
    let size = shape.state();
    let mut beside = Vec::with_capacity(own.len());
    let mut total = vec![DoubleDouble::ZERO; size];
    for (chunk, state) in own.chunks(size).enumerate() {
        beside.extend_from_slice(&total);
        if shape.decay != 1.0 {
            let factor = DoubleDouble::from(shape.decay).powi(plan.chunk(chunk).len() as u32);
            let sums = (0..2).chain(2 + shape.fields()..size);
            sums.for_each(|i| total[i] = total[i] * factor);
        }
        join(shape, &mut total, state);
    }
    beside
}

/// `left ← left ∪ right`, in doubled arithmetic.
fn join(shape: &Shape, left: &mut [DoubleDouble], right: &[DoubleDouble]) {
    let (mine, theirs) = (left[1], right[1]);
    if theirs.hi == 0.0 {
        return;
    }
    if mine.hi == 0.0 {
        left.copy_from_slice(right);
        return;
    }
    let total = mine + theirs;
    let share = theirs / total;
    left[0] = left[0] + right[0];
    left[1] = total;
    let factor = if shape.intercept { mine * share } else { DoubleDouble::ZERO };
    let delta: Vec<DoubleDouble> = (2..2 + shape.fields()).map(|i| right[i] - left[i]).collect();
    let mut at = 2 + shape.fields();
    for (field, own) in delta.iter().enumerate() {
        let scaled = factor * *own;
        for other in delta[..field.min(shape.columns)].iter().chain([own]) {
            left[at] = left[at] + right[at] + scaled * *other;
            at += 1;
        }
    }
    for (mean, delta) in left[2..].iter_mut().zip(&delta) {
        *mean = *mean + *delta * share;
    }
}
