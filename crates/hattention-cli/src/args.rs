//! The words of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hattention::Aliased;
use hattention_table::regression::{Amount, Failure, SolveOptions};

pub use crate::attend::args::AttendCommand;
pub use crate::cluster::ClusterCommand;
pub use crate::probe::args::ProbeArgs;
pub use crate::roll::RollArgs;
pub use crate::transformer::args::TransformerCommand;

/// Least squares as attention: fit, predict, and see which rows made each prediction.
#[derive(Debug, Parser)]
#[command(name = "hat", version, propagate_version = true)]
pub struct Cli {
    /// Threads to compute with (all cores by default).
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// No progress bar.
    #[arg(long, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fit a formula and print its table.
    Fit(FitArgs),
    /// Join states of the same formula, and fit them together.
    Merge(MergeArgs),
    /// Predict every row of a source.
    Predict(PredictArgs),
    /// Show which training rows made each prediction.
    Explain(ExplainArgs),
    /// Fit at every row: rolling, expanding and decayed regressions, with predictions one step ahead.
    ///
    /// A mask says which rows a row sees: the latest W, all up to it, or all with older ones counting less. Rows are
    /// sorted by the order column first, so the source may be in any order; rows of the same value keep the file's order,
    /// which is said. The prediction of a row comes from the window of the row before it, and the recursive residual is
    /// its error over √(1 + h). The CUSUM of these, with the line it crosses with probability 0.05 while coefficients do
    /// not change, is there under --expanding only: elsewhere recursive residuals are not independent. `status` says
    /// what a row's numbers stand on (doubles, doubled or exact arithmetic) or why there are none.
    Roll(RollArgs),
    /// Test whether a batch comes from the world a model was fitted on (exit code 3 if not).
    Drift(DriftArgs),
    /// Test hypotheses about coefficients, terms, or a nested model.
    Test(TestArgs),
    /// Attention as a canonical ensemble: entropies, heat capacities and effective numbers of keys of anyone's attention.
    Probe(ProbeArgs),
    /// Check the digits of this build on this machine against NIST's reference sets.
    Selftest(SelftestArgs),
    /// Attention regression: softmax attention over the training rows by learned metrics, beside a linear head.
    #[command(subcommand)]
    Attend(AttendCommand),
    /// The machines of a cluster, for `hat fit --on`.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Experiments: claims about least squares as attention, measured.
    #[command(subcommand)]
    Lab(LabCommand),
    /// A regression as a transformer: build it, run it, check it, export it.
    #[command(subcommand)]
    Transformer(TransformerCommand),
}

/// Where rows come from.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Paths, globs, directories, addresses (`s3://bucket/folder/`, `https://…`), or `-` for CSV on standard input: CSV, also
    /// gzipped; Parquet; Arrow IPC; JSON lines. Folders `year=2013` are columns.
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// A query over the sources; each is a table named by its file's stem.
    #[arg(long, value_name = "QUERY")]
    pub sql: Option<String>,
    /// Rows a batch at most (never changes a result).
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = batch_rows)]
    pub batch_rows: Option<usize>,
}

/// Rows that a batch can be asked to have: a batch is held in memory.
const MOST_BATCH_ROWS: usize = 1 << 24;

fn batch_rows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rows) if (1..=MOST_BATCH_ROWS).contains(&rows) => Ok(rows),
        _ => Err(format!("expected 1 to {MOST_BATCH_ROWS}")),
    }
}

/// Rows with missing values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Na {
    /// Leave them out and say how many.
    Drop,
    /// Refuse, naming the first.
    Fail,
}

/// Columns that depend on earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AliasedArg {
    /// Refuse, naming them.
    Error,
    /// Leave them out, as R does.
    Drop,
    /// The shortest of all solutions.
    MinNorm,
}

/// How a state is read: what is fitted, and what is written and printed.
#[derive(Clone, Debug, Args)]
pub struct ReadOutArgs {
    /// Write the model to this file.
    #[arg(short, long, value_name = "MODEL")]
    pub output: Option<PathBuf>,
    /// Write the state to this file: what `hat merge` joins and `--from` continues.
    #[arg(long, value_name = "STATE")]
    pub state_out: Option<PathBuf>,
    /// Ridge penalty on XᵀX (scikit-learn's alpha), or `auto` by generalised cross-validation.
    #[arg(long, value_name = "A|auto", conflicts_with = "components", allow_hyphen_values = true)]
    pub ridge: Option<String>,
    /// Number of principal components, or `auto` by generalised cross-validation.
    #[arg(long, value_name = "K|auto", allow_hyphen_values = true)]
    pub components: Option<String>,
    /// Let the penalty or the components act on columns divided by their standard deviation.
    #[arg(long)]
    pub standardize: bool,
    /// Columns that depend on earlier ones.
    #[arg(long, value_enum, default_value = "error")]
    pub aliased: AliasedArg,
    /// Level of the confidence intervals.
    #[arg(long, default_value_t = 0.95, value_name = "LEVEL")]
    pub level: f64,
    /// Add variance inflation factors, 1/(1 − R²) of each column on the others.
    #[arg(long)]
    pub vif: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl ReadOutArgs {
    /// What is fitted, in other words.
    ///
    /// # Errors
    /// If a number is none.
    pub fn solve(&self) -> Result<SolveOptions, Failure> {
        Ok(SolveOptions {
            amount: Amount::parse(self.ridge.as_deref(), self.components.as_deref())?,
            standardize: self.standardize,
            aliased: match self.aliased {
                AliasedArg::Error => Aliased::Error,
                AliasedArg::Drop => Aliased::Drop,
                AliasedArg::MinNorm => Aliased::MinNorm,
            },
            vif: self.vif,
        })
    }
}

/// What `hat fit --help` ends with.
const FIT_HELP: &str = "\
States. A state is every sum of products of the columns, exactly: a few kilobytes, whatever the number of rows.
  hat fit 'y ~ x + g' monday.csv --state-out monday.state     fit, and keep the state
  hat fit --from monday.state tuesday.csv --state-out s.state go on with more rows (the formula is the state's)
  hat fit --from s.state --remove monday.csv                  take rows out again
  hat merge monday.state tuesday.state                        join states
  hat fit 'y ~ x' a.csv --with-hc --state-out a.state         keep what robust errors need too, and then:
  hat merge a.state b.state --vcov HC1
The result has the same bits as one fit of all rows, in any order. Levels of factors are united.
--with-hc keeps the sums of products of four columns: p(p+1)(p+2)(p+3)/24 of them for p columns, targets, the constant and
every level of a factor counted, for at most 50 columns. A state that was built without it has no robust errors, nor has
one joined with such a state, which is said.

Groups. --by COLUMN,… fits the rows of every value of these columns apart, in one pass and any order of rows:
  hat fit 'y ~ x + z' sales.parquet --by store,item -o groups.parquet     or .csv; else a short table, or --json
One row a group, by its key: the columns of --by; status; method; n, dropped_rows, rank, df_residual; b_NAME, se_NAME,
t_NAME, p_NAME of every coefficient; sigma, r_squared, digits (with several targets each name begins with `TARGET.`).
  status  `ok`; `rank 3 of 4: z` (columns that depend on others; with --aliased drop the rest is fitted); `too few rows: 2
          for 4 coefficients`; `no rows` (all miss a value); or what else stands against a fit. Numbers are empty then.
  method  `doubled` or `exact`: the arithmetic. Both give the numbers of `hat fit` of the group's rows alone.
A key that is missing is a key: its rows are a group. Levels and contrasts of factors, and poly(x, k), are those of the
group's rows, as in lm of a subset: coefficients of levels that a group lacks are empty, and its first level is its
reference. Exit code 1 if no group has numbers; the table is written all the same.
Memory: a group's rows up to 128, then exact sums (24 bytes a pair of columns): it grows with groups, not with rows. But
--vcov HC0 … HC3 and cluster hold all rows.";

/// `hat fit`.
#[derive(Debug, Args)]
#[command(after_long_help = FIT_HELP)]
pub struct FitArgs {
    /// The model, as in R: `y ~ a + b*c + poly(x, 3) + C(g, ref="b")`; fixed effects to be absorbed stand behind `|`, as in
    /// fixest: `y ~ a | firm + year`. (With --from it may be left out.)
    #[arg(allow_hyphen_values = true, required_unless_present = "from")]
    pub formula: Option<String>,
    /// Paths, globs, directories, addresses (`s3://bucket/folder/`, `https://…`), or `-` for CSV on standard input: CSV, also
    /// gzipped; Parquet; Arrow IPC; JSON lines. Folders `year=2013` are columns.
    #[arg(value_name = "SOURCE", required_unless_present = "from")]
    pub sources: Vec<String>,
    /// A query over the sources; each is a table named by its file's stem.
    #[arg(long, value_name = "QUERY")]
    pub sql: Option<String>,
    /// Rows a batch at most (never changes a result).
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = batch_rows)]
    pub batch_rows: Option<usize>,
    /// Go on from this state.
    #[arg(long, value_name = "STATE")]
    pub from: Option<PathBuf>,
    /// Fit on a cluster: read the source where its executors are (see `hat cluster`). The result has the same bits.
    #[arg(long, value_name = "df://HOST:PORT")]
    pub on: Option<String>,
    /// Tasks to cut the data into, with --on (by default as their size asks for; never changes a result).
    #[arg(long, value_name = "N", requires = "on", value_parser = clap::value_parser!(u64).range(1..))]
    pub tasks: Option<u64>,
    /// Take the rows of this source out (may be given several times).
    #[arg(long, value_name = "SOURCE")]
    pub remove: Vec<String>,
    /// Column of observation weights, as R's.
    #[arg(long, value_name = "COLUMN")]
    pub weights: Option<String>,
    /// Keep in the state what HC0 and HC1 need: sums of products of four columns, at most 50 columns.
    #[arg(long)]
    pub with_hc: bool,
    /// Covariance of the coefficients: iid, HC0, HC1, HC2, HC3, HAC:lag, cluster:COLUMN[+COLUMN].
    #[arg(long, default_value = "iid", value_name = "KIND")]
    pub vcov: String,
    /// Column that orders the rows, for HAC (by default the order of the source).
    #[arg(long, value_name = "COLUMN")]
    pub order: Option<String>,
    /// Rows with missing values.
    #[arg(long, value_enum, default_value = "drop")]
    pub na: Na,
    /// Fit the rows of every value of these columns apart; -o then names a table (.parquet or .csv). See below.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub by: Vec<String>,
    /// What is fitted, written and printed.
    #[command(flatten)]
    pub read: ReadOutArgs,
}

/// `hat merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// States written by `--state-out`, of the same formula.
    #[arg(required = true, value_name = "STATE")]
    pub states: Vec<PathBuf>,
    /// Covariance of the coefficients: iid, or HC0 or HC1 of states built --with-hc.
    #[arg(long, default_value = "iid", value_name = "KIND")]
    pub vcov: String,
    /// What is fitted, written and printed.
    #[command(flatten)]
    pub read: ReadOutArgs,
}

/// Which interval goes with a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IntervalArg {
    /// For the expected value.
    Confidence,
    /// For a new observation.
    Prediction,
}

/// Levels that training did not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UnseenArg {
    /// Refuse, naming the level.
    Error,
    /// Predict nothing for the row.
    Null,
}

/// `hat predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// A model written by `hat fit -o`.
    pub model: PathBuf,
    /// The rows to predict.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Write to this file (.parquet or .csv) instead of printing CSV.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Add an interval.
    #[arg(long, value_enum, value_name = "KIND")]
    pub interval: Option<IntervalArg>,
    /// Its level.
    #[arg(long, default_value_t = 0.95)]
    pub level: f64,
    /// Levels that training did not have.
    #[arg(long, value_enum, default_value = "error")]
    pub unseen: UnseenArg,
    /// Add standard error, residual, leverage, leave-one-out residual and Cook's distance (for training rows; with absorbed
    /// effects the residual alone).
    #[arg(long)]
    pub augment: bool,
}

/// `hat explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A model written by `hat fit -o`.
    pub model: PathBuf,
    /// The rows to explain.
    pub queries: String,
    /// The rows the model was fitted on.
    #[arg(long, required = true, num_args = 1.., value_name = "SOURCE")]
    pub train: Vec<String>,
    /// A query over the training sources.
    #[arg(long, value_name = "QUERY")]
    pub sql: Option<String>,
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

/// What `hat drift --help` ends with: the contract of `--json`.
const DRIFT_HELP: &str = "\
Exit codes: 0 no drift, 3 drift, 1 no answer, 2 usage or data.

The test. Without --train: the likelihood ratio of one normal law against two, means and covariances, of the design's
columns; it needs the model only (least squares with an intercept, no weights), and columns near a normal law: the report
says where they are not. With --train: the pooled rows are split anew at random; sound for any columns and any model. The
statistics are all means and products together, the difference of means, and the largest single column, in units of their
spread over the splits; p is that of the best of the three. Weights are not read.
A level that training never saw is drift whatever the test says; its rows are left out of the test. A batch that holds
constant what is a measure in training is drift for certain; one that lacks a level is judged by the chance of that.

JSON (numbers that do not exist are null):
  drift, p, level, method (\"permutation\" or \"likelihood ratio\"), rows, training_rows, size (columns compared)
  permutation        permutations, seed, p; state, means, column, likelihood_ratio (each statistic, p; the last one is
                     not part of p); largest (that column); null without --train
  likelihood_ratio   statistic, df, p
  divergence         the same for (n n*/(n+n*)) (tr S - log det S - d) against its limit
  normal             whether p-values of normal laws hold; kurtosis_ratio, not_normal[] (columns)
  dependent[]        variance (0), columns: directions in which the training rows have none; only permutations see them
  flat               directions[], levels, p: what the batch holds constant; null if nothing
  mean_length        of the mean's shift in whitened units
  directions[]       variance, columns[{name, weight}]: principal axes in whitened units, ascending
  columns[]          name, moved, training_mean, training_sd, mean_shift (in sd), mean_z, mean_p, scale_ratio, scale_z,
                     scale_p, kurtosis, indicator, constant
  predictions[]      target, training_mean, training_sd, batch_mean, batch_sd, effect_mean, effect_rms,
                     effect_largest{row, effect}
  missing            rows, share, training_share
  unseen             rows, levels[{column, level}]";

/// `hat drift`.
#[derive(Debug, Args)]
#[command(after_long_help = DRIFT_HELP)]
pub struct DriftArgs {
    /// A model written by `hat fit -o`.
    pub model: PathBuf,
    /// The batch.
    #[command(flatten)]
    pub source: SourceArgs,
    /// The rows the model was fitted on, for a permutation test.
    #[arg(long, num_args = 1.., value_name = "SOURCE")]
    pub train: Vec<String>,
    /// A query over the training sources, as --sql is over the batch's.
    #[arg(long, value_name = "QUERY", requires = "train")]
    pub train_sql: Option<String>,
    /// Level of the test and of the marks of columns.
    #[arg(long, default_value_t = 0.05, value_name = "LEVEL")]
    pub level: f64,
    /// Permutations.
    #[arg(long, default_value_t = 999, value_name = "B")]
    pub permutations: usize,
    /// Seed of the permutations.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    pub seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `hat test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// A model written by `hat fit -o`.
    pub model: PathBuf,
    /// Hypotheses tested together, such as `dep_delay = 1`, `carrierAA = carrierUA` or `hour = distance = 0`.
    pub hypotheses: Vec<String>,
    /// One F test a term of the formula.
    #[arg(long)]
    pub terms: bool,
    /// A model nested in (or around) this one.
    #[arg(long, value_name = "MODEL")]
    pub against: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `hat selftest`.
#[derive(Debug, Args)]
pub struct SelftestArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `hat lab`.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Show the experiments.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run an experiment: what was run before is kept, and the report written anew.
    Run(LabRunArgs),
    /// Judge and report what was run, without running anything.
    Report {
        /// The folder of an experiment, as `results/hopfield-capacity`.
        folder: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Where tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceArg {
    /// The processor.
    Cpu,
    /// An NVIDIA card (in builds with the feature `cuda`).
    Cuda,
}

/// `hat lab run`.
#[derive(Debug, Args)]
pub struct LabRunArgs {
    /// The experiment, as `hat lab list` names it.
    pub name: String,
    /// Only show that everything works, in seconds.
    #[arg(long)]
    pub smoke: bool,
    /// Replicates of every random setting (by default the experiment's own number).
    #[arg(long, value_name = "N")]
    pub seeds: Option<usize>,
    /// Write to this folder, in a folder named after the experiment (`results`, or `results/smoke`, by default).
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Where tensors live.
    #[arg(long, value_enum, default_value = "cpu")]
    pub device: DeviceArg,
    /// The folder of the files that some experiments read, or the text that others do.
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Other values for parameters of the experiment's units, as `--set width=256` for a larger model.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}
