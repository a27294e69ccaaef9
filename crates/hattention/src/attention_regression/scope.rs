//! Which rows read which.

use std::ops::Range;

use super::pairs::{HELD, LANES};

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

    /// Blocks of eight columns that four rows read: by masks, all of them, by masks again.
    pub(super) fn pieces(&self, first: usize) -> [Range<usize>; 3] {
        let rows = first..first + HELD;
        let some = || rows.clone().filter(|i| self.from[*i] < self.to[*i]);
        let Some(start) = some().map(|i| self.from[i]).min() else { return [0..0, 0..0, 0..0] };
        let end = some().map(|i| self.to[i]).max().unwrap_or(start);
        let (start, end) = (start / LANES, end.div_ceil(LANES));
        // (A row that reads nothing leaves no block to all four.)
        let all_from = rows.clone().map(|i| self.from[i]).max().unwrap_or(0).div_ceil(LANES);
        let all_to = rows.clone().map(|i| self.to[i]).min().unwrap_or(0) / LANES;
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

    /// Pairs that are looked at from four rows on.
    pub(super) fn work(&self, first: usize) -> usize {
        (first..first + HELD).map(|i| LANES + self.to[i] - self.from[i]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                let pieces = scope.pieces(first);
                assert!(pieces[0].end == pieces[1].start && pieces[1].end == pieces[2].start);
                for i in first..first + HELD {
                    let all = LANES * pieces[0].start..LANES * pieces[2].end;
                    assert!((scope.from[i]..scope.to[i]).all(|j| all.contains(&j)));
                    assert!(pieces[1].clone().all(|b| scope.from[i] <= LANES * b && LANES * (b + 1) <= scope.to[i]));
                }
            }
        }
    }
}
