//! The words of `hat transformer`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::args::{AliasedArg, Na, SourceArgs, UnseenArg};

/// `hat transformer`.
#[derive(Debug, Subcommand)]
pub enum TransformerCommand {
    /// Build the transformer that a regression is, from a formula and data or from a model.
    Build(BuildArgs),
    /// Predict every row of a source by a forward pass.
    Forward(ForwardArgs),
    /// Run the transformer beside the engine and compare what they predict.
    Verify(VerifyArgs),
    /// Write the transformer for other runtimes.
    Export(ExportArgs),
}

/// Who attends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LayoutArg {
    /// The rows at hand attend to each other: exact on the training rows.
    #[value(name = "self")]
    SelfAttention,
    /// The rows at hand attend to the training rows' memory: exact on any rows.
    Cross,
    /// The rows at hand attend to a context that is given with them, which the layer solves.
    Solve,
}

/// The convention of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConventionArg {
    /// Attention is divided by the number of rows.
    Covariance,
    /// It is not: the layout self is then right on the training rows only.
    Gram,
}

/// Which columns the spectrum is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SpectrumArg {
    /// Columns of unit length.
    Scaled,
    /// The columns as they are.
    Unscaled,
}

/// Numbers to compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DtypeArg {
    /// Doubles.
    F64,
    /// Singles.
    F32,
}

/// `hat transformer build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// A formula (then sources follow), or a model written by `hat fit -o`.
    #[arg(value_name = "FORMULA|MODEL", allow_hyphen_values = true)]
    pub from: String,
    /// Where the formula's rows are, as for `hat fit`.
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Write the weights to this file.
    #[arg(short, long, value_name = "WEIGHTS.safetensors")]
    pub output: PathBuf,
    /// Who attends to whom.
    #[arg(long, value_enum, default_value = "cross")]
    pub layout: LayoutArg,
    /// Heads that the keys are split into, largest eigenvalues first.
    #[arg(long, value_name = "H", default_value_t = 1)]
    pub heads: usize,
    /// The convention of the weights.
    #[arg(long, value_enum, default_value = "covariance")]
    pub convention: ConventionArg,
    /// Which columns the spectrum is of (of ridge and components their own).
    #[arg(long, value_enum, default_value = "scaled")]
    pub spectrum: SpectrumArg,
    /// How a formula is fitted.
    #[command(flatten)]
    pub fit: FormulaArgs,
}

/// What only a formula takes: a model was fitted already.
#[derive(Debug, Args)]
pub struct FormulaArgs {
    /// A query over the sources; each is a table named by its file's stem.
    #[arg(long, value_name = "QUERY")]
    pub sql: Option<String>,
    /// Column of observation weights.
    #[arg(long, value_name = "COLUMN")]
    pub weights: Option<String>,
    /// Ridge penalty on XᵀX, or `auto`: gates in W_FFN.
    #[arg(long, value_name = "A|auto", conflicts_with = "components", allow_hyphen_values = true)]
    pub ridge: Option<String>,
    /// Number of principal components, or `auto`.
    #[arg(long, value_name = "K|auto", allow_hyphen_values = true)]
    pub components: Option<String>,
    /// Let the penalty or the components act on columns divided by their standard deviation.
    #[arg(long)]
    pub standardize: bool,
    /// Rows with missing values (by default dropped).
    #[arg(long, value_enum)]
    pub na: Option<Na>,
    /// Columns that depend on earlier ones (by default an error).
    #[arg(long, value_enum)]
    pub aliased: Option<AliasedArg>,
}

/// Rows and their targets that the layout solve learns from.
#[derive(Debug, Args)]
pub struct ContextArgs {
    /// The context of the layout solve: rows with their targets.
    #[arg(long, num_args = 1.., value_name = "SOURCE")]
    pub context: Vec<String>,
    /// A query over the context's sources.
    #[arg(long, value_name = "QUERY", requires = "context")]
    pub context_sql: Option<String>,
}

/// `hat transformer forward`.
#[derive(Debug, Args)]
pub struct ForwardArgs {
    /// Weights written by `hat transformer build`.
    #[arg(value_name = "WEIGHTS")]
    pub weights: PathBuf,
    /// The rows to predict; in the layout self they attend to each other, and all are held in memory.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Write to this file (.parquet or .csv) instead of printing CSV.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Numbers to compute with.
    #[arg(long, value_enum, default_value = "f64")]
    pub dtype: DtypeArg,
    /// The context.
    #[command(flatten)]
    pub context: ContextArgs,
    /// Levels that training did not have.
    #[arg(long, value_enum, default_value = "error")]
    pub unseen: UnseenArg,
    /// Also write the design's columns, the input `x` of the ONNX file, to this file (.parquet or .csv).
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<PathBuf>,
}

/// `hat transformer verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Weights written by `hat transformer build`.
    #[arg(value_name = "WEIGHTS")]
    pub weights: PathBuf,
    /// The rows to compare predictions of.
    #[command(flatten)]
    pub source: SourceArgs,
    /// The context.
    #[command(flatten)]
    pub context: ContextArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `hat transformer export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Weights written by `hat transformer build`.
    #[arg(value_name = "WEIGHTS")]
    pub weights: PathBuf,
    /// Write an ONNX file.
    #[arg(long, value_name = "FILE.onnx")]
    pub onnx: PathBuf,
    /// Its numbers.
    #[arg(long, value_enum, default_value = "f64")]
    pub dtype: DtypeArg,
}
