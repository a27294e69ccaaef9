//! `hat drift`: whether a batch comes from the world that a model was fitted on, and what moved.

use hattention_table::regression::drift::{self, DriftOptions};
use hattention_table::source::{Source, SourceOptions};

use crate::args::DriftArgs;
use crate::failure::Failure;
use crate::progress::Terminal;
use crate::{model, output};

/// Runs the command; whether the alarm sounds.
pub fn run(args: &DriftArgs, quiet: bool) -> Result<bool, Failure> {
    let asked = DriftOptions { level: args.level, permutations: args.permutations, seed: args.seed };
    drift::check(asked, !args.train.is_empty())?;
    let stdin = |sources: &[String]| sources.iter().any(|source| *source == "-");
    if stdin(&args.source.sources) && stdin(&args.train) {
        return Err(Failure::usage("standard input is both the batch and --train", "name a file for one of them"));
    }
    let model = model::load(&args.model)?.without_effects("`hat drift`")?;
    let labels = model.labels();
    let batch = crate::fit::open(&args.source, &labels)?;
    let train = match args.train.as_slice() {
        [] => None,
        train => {
            let (partitions, sql) = (rayon::current_num_threads(), args.train_sql.clone());
            let options = SourceOptions { partitions, csv_text: labels, sql, ..SourceOptions::default() };
            Some(Source::open(train, &options)?)
        }
    };
    let found = drift::drift(&model, &batch, train.as_ref(), asked, &Terminal { quiet })?;
    output::print(&if args.json { format!("{:#}\n", found.json()) } else { found.text() })?;
    Ok(found.is_drift())
}
