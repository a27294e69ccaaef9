//! How an attention regression is fitted.

use std::fmt;

use crate::error::Error;

/// What a head's weights are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Negative half squared distances `−½ (x_i − x_j)ᵀ Ω (x_i − x_j)`: the kernel regression of a learned metric.
    Distance,
    /// Inner products `x_iᵀ Ω x_j`, as in transformers: they favour rows far from the centre.
    Dot,
    /// Weights `(1 + x_iᵀ Ω x_j)^degree` over their sum; 2 or 4, for the weights of odd powers may be negative.
    Polynomial {
        /// The power.
        degree: u32,
    },
}

impl Score {
    /// The score of a word: `distance`, `softmax`, `polynomial` or `polynomial:D`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "distance" => Some(Self::Distance),
            "softmax" => Some(Self::Dot),
            "polynomial" => Some(Self::Polynomial { degree: 2 }),
            _ => text.strip_prefix("polynomial:")?.parse().ok().map(|degree| Self::Polynomial { degree }),
        }
    }

    /// The power of polynomial scores, or zero.
    pub(super) fn power(self) -> u32 {
        if let Self::Polynomial { degree } = self { degree } else { 0 }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Distance => write!(f, "distance"),
            Self::Dot => write!(f, "softmax"),
            Self::Polynomial { degree } => write!(f, "polynomial:{degree}"),
        }
    }
}

/// Which rows a training row reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    /// All others.
    Others,
    /// All, itself included.
    All,
    /// Those before it: rows are in the order of time.
    Before,
    /// So many before it.
    Window(usize),
    /// Those before it, each counting half of what it would so many rows later.
    Decay(f64),
    /// Those of other blocks; one number a row says which it is in.
    Blocks(Vec<u64>),
}

impl Mask {
    /// The mask of a word: `loo`, `self`, `causal`, `window:W`, `decay:H` or `block`, whose blocks are none yet.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "loo" => Some(Self::Others),
            None if text == "self" => Some(Self::All),
            None if text == "causal" => Some(Self::Before),
            None if text == "block" => Some(Self::Blocks(Vec::new())),
            Some(("window", rows)) => rows.parse().ok().map(Self::Window),
            Some(("decay", rows)) => rows.parse().ok().map(Self::Decay),
            _ => None,
        }
    }

    /// Whether rows are in the order of time.
    pub fn in_time(&self) -> bool {
        matches!(self, Self::Before | Self::Window(_) | Self::Decay(_))
    }

    /// Refuses blocks that are not one a row, or too few to read each other; in cross-validation those of one are held out.
    pub(super) fn check(&self, rows: usize, held_out: bool) -> Result<(), Error> {
        let Self::Blocks(blocks) = self else { return Ok(()) };
        if blocks.len() != rows {
            return Err(Error::Shape { what: "the blocks", expected: rows, got: blocks.len() });
        }
        let count = blocks.iter().collect::<std::collections::BTreeSet<_>>().len();
        let refuse = |allowed| Err(Error::Parameter { name: "the number of blocks", got: count.to_string(), allowed });
        match (count, held_out) {
            (0 | 1, false) => refuse("two at least: a row reads those of other blocks"),
            (0..=2, true) => {
                refuse("three at least where penalties are chosen: one is held out, and the others read each other")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Others => write!(f, "loo"),
            Self::All => write!(f, "self"),
            Self::Before => write!(f, "causal"),
            Self::Window(rows) => write!(f, "window:{rows}"),
            Self::Decay(rows) => write!(f, "decay:{rows:?}"),
            Self::Blocks(_) => write!(f, "block"),
        }
    }
}

/// What is minimised over metrics; `S = mean e² + τ Σ α²` in units of the target's variance, n rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// `ln S + λ/n Σ ‖L‖²`: the likelihood of normal errors of unknown variance under the prior that entries of a factor
    /// are normal with variance `1/λ`. The less noise there is, the less the penalty weighs.
    Likelihood,
    /// `S + λ Σ ‖L‖²`, as published.
    Squares,
}

/// Where heads' coefficients come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coefficients {
    /// Least squares within every evaluation of the loss, together with a constant and the linear head.
    Solved,
    /// Searched with the metrics, from `1/M`, without a constant and a linear head, as published.
    Searched,
}

/// Metrics that a search starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Multiples of the identity, of widths about that of Scott's rule.
    Widths,
    /// `√n chol((XᵀX + 10⁻⁶ I)⁻¹)` and noise of deviation 0.05 on every entry, as published.
    Whitened,
}

/// The numbers that sums over pairs of rows are made in while metrics are searched.
///
/// What a search ends with is read in doubles once more: coefficients, residuals, predictions and weights are those of doubles,
/// for the metrics that were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 64 bits.
    Double,
    /// 32 bits, in half the time: losses and their slopes are right to about six digits. A head with a row too far from all
    /// others for such numbers is read in doubles.
    Single,
}

impl Precision {
    /// The precision of a word: `single` or `double`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "single" => Some(Self::Single),
            "double" => Some(Self::Double),
            _ => None,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Single { "single" } else { "double" })
    }
}

/// Whether heads, the linear one too, read the ranks of inputs in their stead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranks {
    /// They read the inputs.
    No,
    /// They read normal scores: what a normal number of the same rank would be, by broken lines through 64 quantiles. What is near in
    /// an input's crowds is then apart, and what is far in its long tails together.
    Yes,
    /// What [`Options::choose`] finds to predict rows held out better; in a fit [`Ranks::No`].
    Auto,
}

impl Ranks {
    /// That of a word: `auto`, `yes` or `no`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "yes" => Some(Self::Yes),
            "no" => Some(Self::No),
            _ => None,
        }
    }
}

impl fmt::Display for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Auto => "auto",
        })
    }
}

/// How an attention regression is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Softmax heads M.
    pub heads: usize,
    /// Their scores.
    pub score: Score,
    /// Which rows a training row reads.
    pub mask: Mask,
    /// Whether a linear head stands beside them.
    pub linear: bool,
    /// What is minimised.
    pub objective: Objective,
    /// λ: penalty on the squares of the metrics' factors.
    pub penalty: f64,
    /// τ: penalty on the squares of the heads' coefficients.
    pub mixing: f64,
    /// Penalties λ and τ that a search goes through before these, each from the metrics that the one before led to: the minimum
    /// that is found depends on the way. Cross-validation gives the way that it took.
    pub path: Vec<(f64, f64)>,
    /// Where these coefficients come from.
    pub coefficients: Coefficients,
    /// Where metrics start.
    pub start: Start,
    /// Whether inputs are centred and scaled to variance one.
    pub standardize: bool,
    /// Whether normal scores of the inputs' ranks are read in their stead.
    pub ranks: Ranks,
    /// The numbers of the search.
    pub precision: Precision,
    /// Steps of the minimisation at most.
    pub steps: usize,
    /// The relative fall of the loss over ten steps below which it ends.
    pub tolerance: f64,
    /// Searches from different starts, of which the lowest loss is kept.
    pub restarts: usize,
    /// The share of rows that are held out of a search, which ends once they are predicted no better for ten steps and goes
    /// back to where they were predicted best; zero for none. Rows before each other hold out the last.
    pub hold_out: f64,
    /// Seed of the start, and of the rows that are held out.
    pub seed: u64,
}

/// Penalties and tolerances at most.
const LARGEST: f64 = 1e12;

impl Default for Options {
    fn default() -> Self {
        Self {
            heads: 5,
            score: Score::Distance,
            mask: Mask::Others,
            linear: true,
            objective: Objective::Likelihood,
            penalty: 2.0,
            mixing: 3e-2,
            path: Vec::new(),
            coefficients: Coefficients::Solved,
            start: Start::Widths,
            standardize: true,
            ranks: Ranks::Auto,
            precision: Precision::Single,
            steps: 300,
            tolerance: 1e-5,
            restarts: 1,
            hold_out: 0.0,
            seed: 1,
        }
    }
}

impl Options {
    /// The recipe of Goulet Coulombe (2025): five heads of inner products that read all rows, squares penalised by 10⁻³,
    /// coefficients searched from 1/5, up to 6,000 steps, in single precision.
    pub fn published() -> Self {
        Self {
            heads: 5,
            score: Score::Dot,
            mask: Mask::All,
            linear: false,
            objective: Objective::Squares,
            penalty: 1e-3,
            mixing: 0.0,
            path: Vec::new(),
            coefficients: Coefficients::Searched,
            start: Start::Whitened,
            standardize: false,
            ranks: Ranks::No,
            precision: Precision::Single,
            steps: 6000,
            tolerance: 1e-7,
            restarts: 1,
            hold_out: 0.0,
            seed: 1,
        }
    }

    /// Refuses rows that are no more than the mixture's coefficients for so many columns. (A penalty holds those of the heads,
    /// however many.)
    pub(super) fn check_rows(&self, rows: usize, columns: usize) -> Result<(), Error> {
        let heads = if self.mixing > 0.0 { 0 } else { self.heads };
        let coefficients = 1 + heads + if self.linear { columns } else { 0 };
        if rows > coefficients {
            return Ok(());
        }
        Err(Error::TooFewRows { rows: rows as u64, coefficients: coefficients + 1 })
    }

    /// Refuses options that mean nothing, alone or together.
    ///
    /// # Errors
    /// [`Error::Parameter`] with what is allowed.
    pub fn check(&self) -> Result<(), Error> {
        let path = self
            .path
            .iter()
            .flat_map(|(penalty, mixing)| [("a penalty of the path", *penalty), ("a penalty of the path", *mixing)]);
        let own = [
            ("the penalty on metrics", self.penalty),
            ("the penalty on heads", self.mixing),
            ("the tolerance", self.tolerance),
        ];
        for (name, value) in own.into_iter().chain(path) {
            if !(0.0..=LARGEST).contains(&value) {
                let allowed = "a number from 0 to 10¹²";
                return Err(Error::Parameter { name, got: value.to_string(), allowed });
            }
        }
        let refuse = |name, got: String, allowed| Err(Error::Parameter { name, got, allowed });
        match (self.score, &self.mask) {
            (Score::Polynomial { degree }, _) if degree != 2 && degree != 4 => {
                refuse("the degree of polynomial scores", degree.to_string(), "2 or 4")
            }
            (Score::Polynomial { .. }, Mask::Decay(_)) => {
                refuse("the mask of polynomial scores", "decay".to_owned(), "any other: decay is part of an exponent")
            }
            (_, Mask::Window(0)) => refuse("the window", "0".to_owned(), "at least one row"),
            (_, Mask::Decay(half)) if half.is_nan() || *half <= 0.0 => {
                refuse("the rows in which a weight halves", half.to_string(), "a positive number")
            }
            _ if self.restarts == 0 => refuse("the number of restarts", "0".to_owned(), "at least one"),
            _ if !(0.0..=0.5).contains(&self.hold_out) => {
                refuse("the share of rows held out", self.hold_out.to_string(), "0 to 0.5")
            }
            _ if self.linear && self.coefficients == Coefficients::Searched => {
                refuse("the linear head", "on".to_owned(), "off, where coefficients are searched")
            }
            _ if self.heads == 0 && self.coefficients == Coefficients::Searched => {
                refuse("the number of heads", "0".to_owned(), "at least one, where coefficients are searched")
            }
            _ => Ok(()),
        }
    }
}
