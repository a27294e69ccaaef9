//! `hat explain`: the training rows behind each prediction.

use hattention_table::regression::explain::{ExplainOptions, explain};
use hattention_table::source::{Source, SourceOptions};

use crate::args::ExplainArgs;
use crate::failure::Failure;
use crate::progress::Terminal;
use crate::{model, output};

/// Runs the command.
pub fn run(args: &ExplainArgs, quiet: bool) -> Result<(), Failure> {
    let model = model::load(&args.model)?.without_effects("`hat explain`")?;
    if args.queries == "-" && args.train.iter().any(|source| source == "-") {
        return Err(Failure::usage("standard input is both the queries and --train", "name a file for one of them"));
    }
    let mut options = SourceOptions {
        partitions: rayon::current_num_threads(),
        csv_text: model.labels(),
        ..SourceOptions::default()
    };
    let queries = Source::open(std::slice::from_ref(&args.queries), &options)?;
    options.sql = args.sql.clone();
    let train = Source::open(&args.train, &options)?;
    let asked = ExplainOptions { top: args.top, limit: args.limit };
    let explained = explain(&model, &queries, &train, asked, &Terminal { quiet })?;
    if explained.more && args.limit == ExplainOptions::default().limit && !quiet {
        eprintln!("note: the first {} queries are explained, and there are more; --limit N explains N", args.limit);
    }
    output::print(&if args.json { format!("{:#}\n", explained.json()) } else { explained.text() })
}
