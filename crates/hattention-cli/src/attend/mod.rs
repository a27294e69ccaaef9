//! `hat attend`: attention regression of files.

pub mod args;

use std::path::Path;

use hattention::attention_regression::{AttentionRegression, Mask, Options, Precision, Ranks, Score};
use hattention_table::design::{NaPolicy, Unseen};
use hattention_table::formula::Formula;
use hattention_table::regression::attend::{self, Asked, AttendModel, AttendOptions, Predictor, Rows};
use hattention_table::regression::explain::ExplainOptions;
use hattention_table::source::Source;

use crate::args::{Na, SourceArgs, UnseenArg};
use crate::failure::Failure;
use crate::fit::{open, open_for};
use crate::model::read_file;
use crate::output;
use crate::predict::{self, Sink};
use crate::progress::Terminal;
use args::{AttendCommand, ExplainArgs, FitArgs, PredictArgs};

/// Runs the command.
pub fn run(command: &AttendCommand, quiet: bool) -> Result<(), Failure> {
    match command {
        AttendCommand::Fit(args) => fit(args, quiet),
        AttendCommand::Predict(args) => predicted(args, quiet),
        AttendCommand::Explain(args) => explain(args, quiet),
    }
}

fn fit(args: &FitArgs, quiet: bool) -> Result<(), Failure> {
    let asked = asked(args)?;
    if let Some(path) = &args.output {
        output::check_apart(path, &args.source.sources)?;
        output::check_writable(path)?;
    }
    let formula = Formula::parse(&args.formula)?;
    let source = open_for(&args.source, &formula, &asked.block.iter().cloned().collect::<Vec<_>>())?;
    let mut trained = attend::fit(&formula, &source, &asked, &Terminal { quiet }).map_err(|f| f.placed(&source))?;
    let text = if args.json { format!("{:#}\n", trained.json()) } else { trained.text() };
    if let Some(path) = &args.output {
        let model = &mut trained.model;
        if !args.store_training {
            model.rows = None;
        }
        output::write(path, &model.to_bytes()?)?;
    }
    output::print(&text)
}

/// What the options mean together.
fn asked(args: &FitArgs) -> Result<AttendOptions, Failure> {
    let score = Score::parse(&args.score).ok_or_else(|| {
        Failure::usage(
            format!("--score is `{}`, expected distance, softmax, polynomial or polynomial:4", args.score),
            "distance is the kernel regression of a learned metric, softmax the inner product of transformers",
        )
    })?;
    let (mask, block) = match args.mask.strip_prefix("block:") {
        Some(column) if !column.is_empty() => (Some(Mask::Blocks(Vec::new())), Some(column.to_owned())),
        _ => (Mask::parse(&args.mask).filter(|mask| !matches!(mask, Mask::Blocks(_))), None),
    };
    let mask = mask.ok_or_else(|| {
        Failure::usage(
            format!("--mask is `{}`, expected loo, self, causal, window:W, decay:H or block:COLUMN", args.mask),
            "loo lets every row read all others",
        )
    })?;
    let default = Options::default();
    let penalty = match args.penalty.as_str() {
        "auto" => None,
        text => Some(text.parse().map_err(|_| {
            let message = format!("--penalty is `{text}`, expected a number, zero or more, or `auto`");
            Failure::usage(message, "auto chooses by cross-validation")
        })?),
    };
    let precision = Precision::parse(&args.precision).ok_or_else(|| {
        Failure::usage(
            format!("--precision is `{}`, expected single or double", args.precision),
            "single takes half the time; what is found is read in doubles either way",
        )
    })?;
    let ranks = Ranks::parse(&args.ranks).ok_or_else(|| {
        Failure::usage(
            format!("--ranks is `{}`, expected auto, yes or no", args.ranks),
            "auto chooses by cross-validation, with the penalties",
        )
    })?;
    let options = Options {
        heads: args.heads,
        ranks,
        score,
        mask,
        linear: !args.no_linear,
        penalty: penalty.unwrap_or(default.penalty),
        mixing: args.mixing,
        precision,
        steps: args.steps,
        restarts: args.restarts,
        hold_out: args.hold_out,
        seed: args.seed,
        ..default
    };
    options.check()?;
    Ok(AttendOptions {
        options,
        folds: penalty.is_none().then_some(args.folds),
        folds_rows: args.folds_rows,
        block,
        order: args.order.clone(),
        sample: args.sample,
        na: if args.na == Na::Fail { NaPolicy::Fail } else { NaPolicy::Drop },
    })
}

/// A model, the rows that it reads, and both as one.
pub struct Loaded {
    model: AttendModel,
    train: Option<Rows>,
}

impl Loaded {
    /// Reads a model, and the rows that it was fitted on if they are named; no two of the sources may be standard input.
    ///
    /// # Errors
    /// If either cannot be read.
    pub fn of(path: &Path, train: &[String], others: &[String], quiet: bool) -> Result<Self, Failure> {
        let name = path.display();
        let again = "fit it with `hat attend fit … -o FILE`";
        let bytes =
            read_file(path).map_err(|why| Failure::usage(format!("cannot read the model {name}: {why}"), again))?;
        let model = AttendModel::from_bytes(&bytes).map_err(|f| {
            Failure::usage(format!("{name} is not a usable attention regression: {}", f.message), again)
        })?;
        if others.iter().chain(train).filter(|source| *source == "-").count() > 1 {
            let hint = "name a file for one of them";
            return Err(Failure::usage("standard input is both the queries and --train", hint));
        }
        let train = match train {
            [] => None,
            sources => {
                let args = SourceArgs { sources: sources.to_vec(), sql: None, batch_rows: None };
                let source = open(&args, &model.table.labels())?;
                Some(model.train(&source, &Terminal { quiet })?)
            }
        };
        Ok(Self { model, train })
    }

    fn memory(&self) -> Result<&Rows, Failure> {
        self.model.memory(self.train.as_ref())
    }

    /// The model.
    pub fn model(&self) -> &AttendModel {
        &self.model
    }

    /// Both as one.
    ///
    /// # Errors
    /// If the model keeps no rows and none are named.
    pub fn regression(&self) -> Result<AttentionRegression, Failure> {
        self.model.reading(self.memory()?)
    }

    fn open(&self, args: &SourceArgs) -> Result<Source, Failure> {
        Ok(open(args, &self.model.table.labels())?)
    }
}

fn predicted(args: &PredictArgs, quiet: bool) -> Result<(), Failure> {
    if let Some(path) = &args.output {
        output::check_apart(path, &args.source.sources)?;
        output::check_apart(path, &args.train)?;
        output::check_writable(path)?;
    }
    let loaded = Loaded::of(&args.model, &args.train, &args.source.sources, quiet)?;
    let regression = loaded.regression()?;
    let source = loaded.open(&args.source)?;
    let unseen = if args.unseen == UnseenArg::Null { Unseen::Null } else { Unseen::Error };
    let folds = (args.interval_folds > 0).then_some(args.interval_folds);
    let asked = args.interval.then_some(Asked { level: args.level, folds });
    let watch = Terminal { quiet };
    let predictor = Predictor::new(&loaded.model, &regression, &source, asked, unseen, &watch)?;
    let sink = Sink::open(args.output.as_deref(), &predictor.names())?;
    predict::write(&source, &predictor.columns(), sink, quiet, |batch, first_row| {
        predictor.predict(batch, first_row).map_err(|failure| failure.placed(&source))
    })
}

fn explain(args: &ExplainArgs, quiet: bool) -> Result<(), Failure> {
    let sources = [args.queries.clone()];
    let loaded = Loaded::of(&args.model, &args.train, &sources, quiet)?;
    let queries = loaded.open(&SourceArgs { sources: sources.to_vec(), sql: None, batch_rows: None })?;
    let options = ExplainOptions { top: args.top, limit: args.limit };
    let regression = loaded.regression()?;
    let watch = Terminal { quiet };
    let explained = attend::explain(&loaded.model, &regression, loaded.memory()?, &queries, options, &watch)?;
    if explained.more && args.limit == ExplainOptions::default().limit && !quiet {
        eprintln!("note: the first {} queries are explained, and there are more; --limit N explains N", args.limit);
    }
    output::print(&if args.json { format!("{:#}\n", explained.json()) } else { explained.text() })
}
