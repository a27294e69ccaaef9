//! Which rows read which.

use std::ops::Range;

use super::pairs::HELD;

/// Pieces of the pairs that are summed apart: so many that threads have enough to do, whatever their number.
const BANDS: usize = 32;
/// Pairs that are worth a piece.
const PIECE: usize = 1 << 17;

/// What rows read of the rows before them, and whether those read back.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// Row `i` reads rows `from[i] .. to[i]`, which end before it; padded to whole groups of rows with empty ranges.
    pub(super) from: Vec<usize>,
    pub(super) to: Vec<usize>,
    /// Whether row `j` reads row `i` too.
    pub(super) both: bool,
    /// Whether a row reads itself.
    pub(super) itself: bool,
}

impl Scope {
    /// Of ranges, one a row.
    pub(super) fn of(rows: usize, both: bool, itself: bool, range: impl Fn(usize) -> Range<usize>) -> Self {
        let padded = rows.next_multiple_of(HELD);
        let ranges = (0..padded).map(|i| if i < rows { range(i) } else { 0..0 });
        let (from, to) = ranges.map(|range| (range.start, range.end.max(range.start))).unzip();
        Self { from, to, both, itself }
    }

    /// Blocks of so many columns that four rows read: by masks, all of them, by masks again.
    pub(super) fn pieces(&self, first: usize, lanes: usize) -> [Range<usize>; 3] {
        let rows = first..first + HELD;
        let some = || rows.clone().filter(|i| self.from[*i] < self.to[*i]);
        let Some(start) = some().map(|i| self.from[i]).min() else { return [0..0, 0..0, 0..0] };
        let end = some().map(|i| self.to[i]).max().unwrap_or(start);
        let (start, end) = (start / lanes, end.div_ceil(lanes));
        // (A row that reads nothing leaves no block to all four.)
        let all_from = rows.clone().map(|i| self.from[i]).max().unwrap_or(0).div_ceil(lanes);
        let all_to = rows.clone().map(|i| self.to[i]).min().unwrap_or(0) / lanes;
        let from = all_from.clamp(start, end);
        let to = all_to.clamp(from, end);
        [start..from, from..to, to..end]
    }

    /// Whether row `i` reads row `j`.
    pub(super) fn reads(&self, i: usize, j: usize) -> bool {
        match i.cmp(&j) {
            std::cmp::Ordering::Greater => (self.from[i]..self.to[i]).contains(&j),
            std::cmp::Ordering::Equal => self.itself,
            std::cmp::Ordering::Less => self.both && (self.from[j]..self.to[j]).contains(&i),
        }
    }

    /// Whether row `i` reads any (where rows read each other, all but a lone one do).
    pub(super) fn any(&self, i: usize) -> bool {
        self.both || self.itself || self.from[i] < self.to[i]
    }

    /// The rows that row `i` does not read; itself too.
    pub(super) fn hidden(&self, i: usize, rows: usize) -> [Range<usize>; 2] {
        if self.both { [self.to[i]..self.after(i, rows), 0..0] } else { [0..self.from[i], self.to[i]..rows] }
    }

    /// The first of the later rows that read row `i`, where rows read each other. (Ranges begin at the first row and never end
    /// earlier than those of rows before.)
    fn after(&self, i: usize, rows: usize) -> usize {
        self.to[..rows].partition_point(|to| *to <= i).max(i + 1)
    }

    /// Whether what is read is taken about the mean of what may be read: where a row reads later ones too but not itself, that mean
    /// alone tells its own target.
    pub(super) fn centred(&self) -> bool {
        self.both && !self.itself
    }

    /// Sums of a number over the rows that each row reads, where rows read each other.
    pub(super) fn gather(&self, values: &[f64]) -> Vec<f64> {
        let rows = values.len();
        let mut before = vec![0.0; rows + 1];
        (0..rows).for_each(|i| before[i + 1] = before[i] + values[i]);
        (0..rows).map(|i| before[self.to[i]] + before[rows] - before[self.after(i, rows)]).collect()
    }

    /// Means of the targets of the rows that each row may read; zero where that does not matter.
    pub(super) fn means(&self, targets: &[f64]) -> Vec<f64> {
        if !self.centred() {
            return vec![0.0; targets.len()];
        }
        let counts = self.gather(&vec![1.0; targets.len()]);
        self.gather(targets)
            .iter()
            .zip(counts)
            .map(|(sum, count)| if count > 0.0 { sum / count } else { 0.0 })
            .collect()
    }

    /// Pairs that are looked at from four rows on.
    pub(super) fn work(&self, first: usize) -> usize {
        (first..first + HELD).map(|i| HELD + self.to[i] - self.from[i]).sum()
    }

    /// Bands of groups of four rows with about as many pairs.
    pub(super) fn bands(&self, rows: usize) -> Vec<Range<usize>> {
        let groups = rows.div_ceil(HELD);
        let all: usize = (0..groups).map(|group| self.work(HELD * group)).sum();
        let count = (all / PIECE).clamp(1, BANDS);
        let mut edges = vec![0];
        let mut sum = 0;
        for group in 0..groups {
            sum += self.work(HELD * group);
            if sum * count >= edges.len() * all && edges.len() < count {
                edges.push(group + 1);
            }
        }
        edges.push(groups);
        edges.windows(2).map(|edge| edge[0]..edge[1]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANES: usize = 8;

    #[test]
    fn means_are_those_of_the_rows_that_are_read() {
        let rows = 23;
        let targets: Vec<f64> = (0..rows).map(|i| (i as f64).sin()).collect();
        let blocks: Vec<usize> = (0..rows).map(|i| i / 5 * 5).collect();
        for scope in [Scope::of(rows, true, false, |i| 0..i), Scope::of(rows, true, false, |i| 0..blocks[i])] {
            for (i, mean) in scope.means(&targets).into_iter().enumerate() {
                let read: Vec<f64> = (0..rows).filter(|j| scope.reads(i, *j)).map(|j| targets[j]).collect();
                assert!((mean - read.iter().sum::<f64>() / read.len() as f64).abs() < 1e-14);
            }
        }
        assert_eq!(Scope::of(rows, false, false, |i| 0..i).means(&targets), vec![0.0; rows]);
    }

    #[test]
    fn pieces_hold_what_is_read_and_the_middle_no_more() {
        let rows = 61;
        let blocks: Vec<usize> = (0..rows).map(|i| i / 7 * 7).collect();
        let scopes = [
            Scope::of(rows, true, false, |i| 0..i),
            Scope::of(rows, false, false, |i| i.saturating_sub(11)..i),
            Scope::of(rows, false, false, |i| i.saturating_sub(3)..i),
            Scope::of(rows, true, false, |i| 0..blocks[i]),
        ];
        for scope in scopes {
            for first in (0..rows).step_by(HELD) {
                let pieces = scope.pieces(first, LANES);
                assert!(pieces[0].end == pieces[1].start && pieces[1].end == pieces[2].start);
                for i in first..first + HELD {
                    let all = LANES * pieces[0].start..LANES * pieces[2].end;
                    assert!((scope.from[i]..scope.to[i]).all(|j| all.contains(&j)));
                    assert!(pieces[1].clone().all(|b| scope.from[i] <= LANES * b && LANES * (b + 1) <= scope.to[i]));
                }
            }
        }
    }

    #[test]
    fn bands_hold_every_group_once() {
        for rows in [1, 4, 5, 63, 1000, 20_000] {
            let all = Scope::of(rows, true, false, |i| 0..i).bands(rows);
            assert_eq!((all[0].start, all[all.len() - 1].end), (0, rows.div_ceil(HELD)));
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }
}
