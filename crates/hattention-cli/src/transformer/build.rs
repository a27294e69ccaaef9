//! `hat transformer build`.

use std::path::Path;

use hattention::Filter;
use hattention::codec::Weights;
use hattention::transformer::{Convention, Layout, Options, Spectrum, Transformer};
use serde_json::json;

use super::args::{BuildArgs, ConventionArg, LayoutArg, SpectrumArg};
use crate::args::{AliasedArg, FitArgs, Na, ReadOutArgs};
use crate::failure::Failure;
use crate::output;
use hattention_table::regression::TableModel;

/// Runs the command.
pub fn run(args: &BuildArgs, quiet: bool) -> Result<(), Failure> {
    output::check_writable(&args.output)?;
    let mut model = if Path::new(&args.from).is_file() || !args.from.contains('~') {
        fitted(args)?
    } else {
        crate::fit::model(&fit_args(args)?, quiet)?
    }
    .without_effects("a transformer")?;
    let options = Options {
        layout: match args.layout {
            LayoutArg::SelfAttention => Layout::SelfAttention,
            LayoutArg::Cross => Layout::Cross,
            LayoutArg::Solve => Layout::Solve,
        },
        convention: match args.convention {
            ConventionArg::Covariance => Convention::Covariance,
            ConventionArg::Gram => Convention::Gram,
        },
        spectrum: match args.spectrum {
            SpectrumArg::Scaled => Spectrum::Scaled,
            SpectrumArg::Unscaled => Spectrum::Unscaled,
        },
    };
    if options.layout == Layout::Solve {
        check_solvable(&model)?;
        if args.heads != 1 {
            return Err(Failure::usage(
                format!("--heads {} with --layout solve: what the layer solves has no heads", args.heads),
                "leave --heads out, or use --layout cross",
            ));
        }
    }
    let transformer = Transformer::of(&model.model.whitening, &model.model.fits, &options)?;
    let eigenvectors = transformer.eigenvectors();
    let transformer = transformer.with_heads(args.heads).map_err(|_| {
        let most = eigenvectors.max(1);
        Failure::usage(format!("--heads is {}, expected 1 to {most}, the number of eigenvectors", args.heads), "")
    })?;
    model.describe()?;
    let text = summary(&transformer, &args.output);
    let extra = json!({"formula": model.frozen.spec().formula});
    let weights = Weights { transformer, model: Some(model.model), extra };
    output::write(&args.output, &weights.to_bytes()?)?;
    output::print(&text)
}

/// The model of a file.
fn fitted(args: &BuildArgs) -> Result<TableModel, Failure> {
    let model = crate::model::load(Path::new(&args.from)).map_err(|failure| {
        let hint = "name a formula (`y ~ x`) and its sources, or a model written by `hat fit … -o FILE`";
        Failure { hint: Some(hint.to_owned()), ..failure }
    })?;
    let fit = &args.fit;
    let given = [
        (!args.sources.is_empty(), "sources"),
        (fit.sql.is_some(), "--sql"),
        (fit.weights.is_some(), "--weights"),
        (fit.ridge.is_some(), "--ridge"),
        (fit.components.is_some(), "--components"),
        (fit.standardize, "--standardize"),
        (fit.na.is_some(), "--na"),
        (fit.aliased.is_some(), "--aliased"),
    ];
    match given.iter().find(|(given, _)| *given) {
        None => Ok(model),
        Some((_, what)) => Err(Failure::usage(
            format!("{what} beside a model: {} is fitted already", args.from),
            "leave it out, or give a formula in place of the model",
        )),
    }
}

fn fit_args(args: &BuildArgs) -> Result<FitArgs, Failure> {
    if args.sources.is_empty() {
        return Err(Failure::usage("a formula without a source", "name the files of its rows"));
    }
    let fit = &args.fit;
    Ok(FitArgs {
        formula: Some(args.from.clone()),
        sources: args.sources.clone(),
        sql: fit.sql.clone(),
        batch_rows: None,
        on: None,
        tasks: None,
        from: None,
        remove: Vec::new(),
        weights: fit.weights.clone(),
        with_hc: false,
        vcov: "iid".to_owned(),
        order: None,
        na: fit.na.unwrap_or(Na::Drop),
        by: Vec::new(),
        read: ReadOutArgs {
            output: None,
            state_out: None,
            ridge: fit.ridge.clone(),
            components: fit.components.clone(),
            standardize: fit.standardize,
            aliased: fit.aliased.unwrap_or(AliasedArg::Error),
            level: 0.95,
            vif: false,
            json: false,
        },
    })
}

/// The layout solve is least squares on the context's columns, each row counting the same.
fn check_solvable(model: &TableModel) -> Result<(), Failure> {
    let whitening = &model.model.whitening;
    let what = match whitening.filter {
        Filter::Ridge { alpha, .. } if alpha > 0.0 => "a ridge fit",
        Filter::Components { .. } => "a fit of components",
        _ if model.frozen.spec().weights.is_some() => "a weighted fit",
        _ if whitening.keys() < whitening.kept.len() => "a shortest solution",
        _ => return Ok(()),
    };
    Err(Failure::usage(
        format!("--layout solve of {what}: the layer solves for least squares"),
        "use --layout cross, or fit by least squares without weights",
    ))
}

fn summary(transformer: &Transformer, path: &Path) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "{}: layout {}, {} convention, {} of {}, {}, {}\n",
        path.display(),
        transformer.layout.name(),
        transformer.convention.name(),
        count(transformer.heads.len(), "head"),
        count(transformer.keys(), "key"),
        count(transformer.names.len(), "column"),
        count(transformer.targets.len(), "target"),
    )
}
