//! The words of `hat attend`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::{Na, SourceArgs, UnseenArg};

/// What `hat attend fit --help` ends with.
const FIT_HELP: &str = "\
A prediction is ŷ(x) = β₀ + xᵀβ + Σ_m α_m Σ_i p_mi(x) y_i: a linear head, and softmax heads that read the training rows'
targets by metrics which are learned. Constant, β and α are least squares within every evaluation of the loss.
  --score distance    p_mi ∝ exp(−½ (x − xᵢ)ᵀ Ω (x − xᵢ)); softmax: ∝ exp(xᵀ Ω xᵢ); polynomial: ∝ (1 + xᵀ Ω xᵢ)²
  --mask loo          a training row reads all others (the default: what is minimised is about what new rows are off by)
         self         itself included, as published; it learns noise by heart unless penalties are large
         causal, window:W, decay:H   the rows before it, the last W of them, or all with weights that halve every H rows; new
                      rows read as the row after the last one would. The metric is of all rows: a causal mask alone does not
                      make old predictions honest
         block:COL    the rows of other values of COL, such as other firms or days
Penalties. λ on the metrics and τ on α are chosen by 5-fold cross-validation (in time: of later rows by earlier ones) unless
--penalty is given. No test data, and nothing but the training rows, enters any choice.
Ranks. Heads read the inputs, or normal scores of their ranks, to which long tails and crowds are nothing; --ranks auto takes
what rows held out are predicted better by. By ranks the linear head is of normal scores too.
Weights sum to one. They are convex only with --heads 1 --no-linear and α = 1: several heads subtract from each other.
Files. The model keeps metrics and coefficients, a few kilobytes, but no rows: they may be secret, or large. Predictions are
sums of training targets, so `hat attend predict` wants them back by --train; --store-training puts them into the file.
--json: formula, target, n, dropped_rows, inputs, means, scales, score, mask, ranks, normal_scores, precision, penalty, mixing,
cross_validation{rows, error, error_mean, tried[]}, intercept, linear{share, slopes}, heads[{coefficient, share, metric,
collapsed}], r_squared_loo, r_squared_folds, r_squared_loo_least_squares,
rmse_loo, loss, steps, evaluations, converged, isolated_rows, sample, seed.";

/// `hat attend`.
#[derive(Debug, Subcommand)]
pub enum AttendCommand {
    /// Fit a formula by attention regression.
    Fit(Box<FitArgs>),
    /// Predict every row of a source.
    Predict(PredictArgs),
    /// Show which training rows made each prediction.
    Explain(ExplainArgs),
}

/// `hat attend fit`.
#[derive(Debug, Args)]
#[command(after_long_help = FIT_HELP)]
pub struct FitArgs {
    /// The formula, as in `hat fit`; its columns without the constant are what rows attend by.
    #[arg(value_name = "FORMULA", allow_hyphen_values = true)]
    pub formula: String,
    /// The rows to fit.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Write the model to this file.
    #[arg(short, long, value_name = "MODEL")]
    pub output: Option<PathBuf>,
    /// Keep the training rows in the model: anybody who has it can read them.
    #[arg(long, requires = "output")]
    pub store_training: bool,
    /// Softmax heads.
    #[arg(long, default_value_t = 5, value_name = "M")]
    pub heads: usize,
    /// What weights are made of: distance, softmax, polynomial or polynomial:4.
    #[arg(long, default_value = "distance")]
    pub score: String,
    /// Which rows a row reads: loo, self, causal, window:W, decay:H or block:COLUMN.
    #[arg(long, default_value = "loo")]
    pub mask: String,
    /// The column that orders the rows, for masks of time.
    #[arg(long, value_name = "COLUMN")]
    pub order: Option<String>,
    /// No linear head.
    #[arg(long)]
    pub no_linear: bool,
    /// Penalty λ on the metrics, or `auto` by cross-validation (then --mixing is where τ starts).
    #[arg(long, default_value = "auto", value_name = "L|auto")]
    pub penalty: String,
    /// Whether heads read ranks of the inputs in their stead: yes, no, or auto by cross-validation (no, where --penalty is given).
    #[arg(long, default_value = "auto", value_name = "auto|yes|no")]
    pub ranks: String,
    /// Penalty τ on the heads' coefficients.
    #[arg(long, default_value_t = 0.03, value_name = "T")]
    pub mixing: f64,
    /// Folds of the cross-validation.
    #[arg(long, default_value_t = 5, value_name = "K")]
    pub folds: usize,
    /// Rows that it takes at most.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub folds_rows: usize,
    /// Rows to fit metrics with, of more than 20,000: all are read by predictions.
    #[arg(long, value_name = "N")]
    pub sample: Option<usize>,
    /// Steps of the search at most.
    #[arg(long, default_value_t = 300, value_name = "N")]
    pub steps: usize,
    /// The numbers that metrics are searched in, single or double; what is found is read in doubles either way.
    #[arg(long, default_value = "single")]
    pub precision: String,
    /// Searches from different starts, of which the best is kept.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub restarts: usize,
    /// Share of the rows held out of the search, which ends when they are predicted no better.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub hold_out: f64,
    /// Seed of starts and folds: the same seed and rows give the same bits.
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub seed: u64,
    /// Rows with missing values.
    #[arg(long, value_enum, default_value = "drop")]
    pub na: Na,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `hat attend predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// A model written by `hat attend fit -o`.
    pub model: PathBuf,
    /// The rows to predict.
    #[command(flatten)]
    pub source: SourceArgs,
    /// The rows the model was fitted on, unless it keeps them; or others, to be read by its metrics.
    #[arg(long, num_args = 1.., value_name = "SOURCE")]
    pub train: Vec<String>,
    /// Write to this file (.parquet or .csv) instead of printing CSV.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Add the prediction interval, CV+: metrics are fitted anew without each fold, when it is asked for.
    #[arg(long)]
    pub interval: bool,
    /// Its level.
    #[arg(long, default_value_t = 0.95, requires = "interval")]
    pub level: f64,
    /// Its folds, each a fit; 0 holds metrics (jackknife+ without a fit, too short where metrics know the rows by heart). After --sample,
    /// and for rows that share none with the fit's, no fit is needed and folds do not count.
    #[arg(long, default_value_t = 10, value_name = "K", requires = "interval")]
    pub interval_folds: usize,
    /// Levels that training did not have.
    #[arg(long, value_enum, default_value = "error")]
    pub unseen: UnseenArg,
}

/// `hat attend explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A model written by `hat attend fit -o`.
    pub model: PathBuf,
    /// The rows to explain.
    pub queries: String,
    /// The rows the model was fitted on, unless it keeps them; or others, to be read by its metrics.
    #[arg(long, num_args = 1.., value_name = "SOURCE")]
    pub train: Vec<String>,
    /// Training rows to name for each query.
    #[arg(long, default_value_t = 5, value_name = "K")]
    pub top: usize,
    /// Queries to explain, from the first.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub limit: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
