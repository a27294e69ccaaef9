//! Blocks of rows: the columns every other part reads.

/// One column of a [`Block`], borrowed from the caller.
///
/// Every variant stands for `rows` real numbers; they differ only in how these are stored.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    /// Plain numbers. Shape: `[rows]`.
    Dense(&'a [f64]),
    /// Unevaluated sums `hi + lo` of two doubles, `|lo| ≤ ulp(hi)/2`: products and powers of columns kept beyond 53 bits.
    /// Shape: `[rows]` each.
    Pair {
        /// The leading part.
        hi: &'a [f64],
        /// What the leading part rounds away.
        lo: &'a [f64],
    },
    /// The indicator of a factor level: 1 where `codes[i] == code`, 0 elsewhere. Shape of `codes`: `[rows]`.
    Indicator {
        /// The level of every row.
        codes: &'a [u32],
        /// The level this column indicates.
        code: u32,
    },
    /// A column that acts within one factor level: `hi + lo` where `codes[i] == code`, 0 elsewhere. Shape: `[rows]` each.
    Within {
        /// The level of every row.
        codes: &'a [u32],
        /// The level this column belongs to.
        code: u32,
        /// The leading part.
        hi: &'a [f64],
        /// What the leading part rounds away, if anything.
        lo: Option<&'a [f64]>,
    },
}

/// Rows of a design (and targets), stored by column.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    /// The number of rows.
    pub rows: usize,
    /// The columns, each of `rows` numbers. The intercept is never among them.
    pub columns: Vec<Column<'a>>,
    /// Observation weights `wᵢ ≥ 0`, as R's analytic weights; `None` means one each. Shape: `[rows]`.
    pub weights: Option<&'a [f64]>,
}

impl<'a> Column<'a> {
    /// The rows of a range.
    ///
    /// # Panics
    /// Never for a range within the column; callers have checked lengths.
    pub(crate) fn slice(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Self::Dense(values) => Self::Dense(&values[range]),
            Self::Pair { hi, lo } => Self::Pair { hi: &hi[range.clone()], lo: &lo[range] },
            Self::Indicator { codes, code } => Self::Indicator { codes: &codes[range], code },
            Self::Within { codes, code, hi, lo } => {
                Self::Within { codes: &codes[range.clone()], code, hi: &hi[range.clone()], lo: lo.map(|lo| &lo[range]) }
            }
        }
    }
}
