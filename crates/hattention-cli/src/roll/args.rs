//! Arguments of `hat roll`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::args::{Na, SourceArgs};

/// `hat roll`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("mask").required(true).args(["window", "expanding", "decay"])))]
pub struct RollArgs {
    /// The formula, as for `hat fit`; levels of factors and orthogonal polynomials are those of all rows read.
    pub formula: String,
    /// The rows. All of them are held in memory.
    #[command(flatten)]
    pub source: SourceArgs,
    /// See the latest W rows.
    #[arg(long, value_name = "W")]
    pub window: Option<usize>,
    /// See all rows so far; adds the CUSUM test of constant coefficients.
    #[arg(long)]
    pub expanding: bool,
    /// See all rows so far, one k rows back with weight G^k.
    #[arg(long, value_name = "G")]
    pub decay: Option<f64>,
    /// The column that orders the rows; the source need not be sorted by it.
    #[arg(long, value_name = "COLUMN")]
    pub order: String,
    /// Roll the rows of every value of these columns apart.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub by: Vec<String>,
    /// Rows that a window needs for numbers [default: a whole window; else as many as coefficients].
    #[arg(long, value_name = "N")]
    pub min_rows: Option<usize>,
    /// Rows with missing values in the formula's columns.
    #[arg(long, value_enum, default_value = "drop")]
    pub na: Na,
    /// Write to this file (.parquet or .csv) instead of printing CSV.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
