//! `y ~ x | g + h`: effects that are taken out of all columns.

use crate::design::{
    ColumnKind, Design, DesignOptions, EncodedBlock, Frozen, FrozenDesign, FrozenOptions, Level, LevelCodes, NaPolicy,
    Unseen,
};
use crate::formula::Formula;
use crate::source::{NumberedBatch, Source};
use hattention::absorb::{AbsorbOptions, Absorbed, EffectMoments, Nesting, Solution};
use hattention::codec::Model;
use hattention::fit::{Covariance, Fit, Scores, Vcov};
use hattention::{Aliased, Block, Column, Design as Columns, Whitening};
use serde_json::{Value, json};

use super::amount::Amount;
use super::failure::Failure;
use super::fit::{self, FitOptions, Trained, columns};
use super::hc;
use super::model::TableModel;
use super::pass::{self, ClusterCodes};
use super::watch::{Pass, Watch};

/// The levels of an effect, by their codes.
#[derive(Clone, Debug)]
pub struct EffectLevels {
    /// Its column.
    pub column: String,
    /// Whether the column is text: `7` is not a number then.
    pub text: bool,
    /// The levels.
    pub levels: Vec<Level>,
}

impl EffectLevels {
    /// As a model file has it.
    ///
    /// # Errors
    /// If a level cannot be written.
    pub fn to_json(&self) -> Result<Value, Failure> {
        let levels = serde_json::to_value(&self.levels);
        let levels = levels.map_err(|e| Failure::usage(format!("cannot write the levels of an effect: {e}"), ""))?;
        Ok(json!({"column": self.column, "text": self.text, "levels": levels}))
    }

    /// Reads what [`EffectLevels::to_json`] wrote.
    pub fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            column: value["column"].as_str()?.to_owned(),
            text: value["text"].as_bool()?,
            levels: serde_json::from_value(value["levels"].clone()).ok()?,
        })
    }
}

/// What a fit says of the effects that were taken out.
#[derive(Clone, Debug)]
pub struct Absorption {
    /// By effect, its name, its levels, and whether it is nested in the clusters.
    pub effects: Vec<(String, usize, bool)>,
    /// Coefficients they count for.
    pub coefficients: usize,
    /// Parts that the first two effects fall into.
    pub parts: usize,
    /// What solving took.
    pub solution: Solution,
}

impl Absorption {
    /// The effects, for JSON.
    pub fn effects_json(&self) -> Value {
        let effect =
            |(name, levels, nested): &(String, usize, bool)| json!({"name": name, "levels": levels, "nested": nested});
        self.effects.iter().map(effect).collect()
    }

    /// How they were taken out, for JSON.
    pub fn solution_json(&self) -> Value {
        let Solution { tolerance, reached, steps } = self.solution;
        let exact = self.effects.len() == 1;
        let when = |x: Value| if exact { Value::Null } else { x };
        json!({
            "coefficients": self.coefficients, "parts": when(self.parts.into()), "steps": when(steps.into()),
            "tolerance": when(tolerance.into()), "reached": when(reached.into()),
        })
    }

    /// Lines of the table.
    pub fn text(&self) -> String {
        let effect = |(name, levels, nested): &(String, usize, bool)| {
            format!("{name} ({levels} levels{})", if *nested { ", nested in the clusters" } else { "" })
        };
        let effects: Vec<String> = self.effects.iter().map(effect).collect();
        let mut text = format!("Effects taken out: {}; {} coefficients\n", effects.join(", "), self.coefficients);
        if self.effects.len() > 1 {
            let Solution { tolerance, reached, steps } = self.solution;
            text.push_str(&format!(
                "Solved in {steps} steps to {reached:.0e} of a column's length (tolerance {tolerance:.0e})\n"
            ));
        }
        text
    }
}

/// Refuses what does not go with effects, by name.
fn refuse(options: &FitOptions, design: &Design) -> Result<(), Failure> {
    let with = |what: &str, hint: &str| Err(Failure::usage(format!("{what} with absorbed effects"), hint));
    let FitOptions { vcov, solve, .. } = options;
    if solve.amount != Amount::Ols {
        let what = if let Amount::Ridge(_) = solve.amount { "--ridge" } else { "--components" };
        return with(what, "write the effects as factors among the terms: y ~ x + C(g)");
    }
    if solve.standardize {
        return with("--standardize", "leave it out: it acts on a penalty or on components");
    }
    if solve.aliased == Aliased::MinNorm {
        return with("--aliased min-norm", "use --aliased drop");
    }
    if matches!(vcov, Vcov::Hc2 | Vcov::Hc3 | Vcov::Hac { .. }) {
        return with(
            &format!("--vcov {vcov}"),
            "use iid, HC0, HC1 or cluster:COLUMN, or write the effects as factors among the terms: y ~ x + C(g)",
        );
    }
    if design.has_orthogonal_polynomials() {
        return with("poly(x, k)", "write poly(x, k, raw): the fit is the same, and so are tests of the whole term");
    }
    Ok(())
}

/// What the first pass finds.
struct Gathered {
    state: EffectMoments,
    dropped: u64,
    largest_weight: f64,
}

/// Fits a formula with effects.
///
/// # Errors
/// Those of the options, of reading, and of the fit.
pub fn train(formula: &Formula, source: &Source, asked: &FitOptions, watch: &dyn Watch) -> Result<Trained, Failure> {
    let (na, vcov) = (asked.na, asked.vcov.clone());
    let effects = formula.effects();
    let clusters = fit::extras(&vcov, None);
    let extras: Vec<String> = effects.iter().chain(&clusters).cloned().collect();
    let options = DesignOptions { weights: asked.weights.clone(), extras: extras.clone(), ..DesignOptions::default() };
    let design = fit::compile(formula, source, &options, watch)?;
    refuse(asked, &design)?;
    let codes = LevelCodes::new(effects);
    let Gathered { state, dropped, largest_weight } = {
        let pass = watch.pass("reading", source.bytes_total());
        gather(source, &design, &codes, effects, na, &*pass)?
    };
    fit::check_rows(asked.weights.is_some(), state.rows(), dropped)?;
    // In the order of the levels, whoever read them first.
    let sorted = codes.sorted();
    let places: Vec<Vec<u32>> = sorted.iter().map(|column| column.places.clone()).collect();
    let absorbed = Absorbed::of(&state.relabelled(&places)?, &AbsorbOptions::default()).map_err(beside_effects)?;
    drop(state);
    let layout = design.layout();
    let frozen = Frozen::new(&layout)?;
    let targets: Vec<String> = design.terms().targets.iter().map(|t| t.label().to_owned()).collect();
    let state_columns = columns(&layout.coding()?, targets.len());
    let mut whitening = absorbed.whitening(&state_columns, asked.solve.whitening()).map_err(beside_effects)?;
    let fits = targets.iter().enumerate().map(|(t, name)| absorbed.fit(&whitening, t, name));
    let mut fits = fits.collect::<Result<Vec<Fit>, _>>()?;
    let inflation = if asked.solve.vif { Some(absorbed.variance_inflation(&whitening)?) } else { None };
    // From here on rows come through the frozen design, which numbers columns by coefficient.
    whitening.design = Columns { intercept: false, ..columns(frozen.coding(), 0) };
    let known = effects.iter().zip(sorted).map(|(name, sorted)| (name.clone(), sorted.levels));
    let known: Vec<(String, Vec<Level>)> = known.collect();
    let mut nested = vec![false; effects.len()];
    if vcov != Vcov::Iid {
        let options =
            FrozenOptions { targets: true, weights: asked.weights.is_some(), extras, unseen: Unseen::Error, na };
        let second = Second {
            source,
            design: frozen.encoder(&source.schema(), &options)?,
            whitening: &whitening,
            fits: &fits,
            absorbed: &absorbed,
            state_columns: &state_columns,
            levels: LevelCodes::of_levels(known.clone()),
            kind: &vcov,
            clusters: ClusterCodes::new(clusters.len()),
        };
        hc::note_digits(&whitening, &vcov, watch);
        watch.second_pass(&format!("{vcov} needs every residual: the rows are read a second time"));
        let (covariances, nesting) = second.run(&*watch.pass("second pass", source.bytes_total()))?;
        nested = nesting.nested().into_iter().map(|nested| nested && !clusters.is_empty()).collect();
        for (fit, covariance) in fits.iter_mut().zip(covariances) {
            fit.covariance = Some(covariance);
        }
    }
    let absorption = Absorption {
        effects: effects
            .iter()
            .zip(absorbed.levels())
            .zip(nested)
            .map(|((n, l), nested)| (n.clone(), *l, nested))
            .collect(),
        coefficients: absorbed.coefficients(),
        parts: absorbed.parts(),
        solution: absorbed.solution(),
    };
    let schema = source.schema();
    let effect_levels = |(column, levels): (String, Vec<Level>)| {
        let kind = schema.column_with_name(&column).and_then(|(_, field)| ColumnKind::of(field.data_type()));
        EffectLevels { text: kind == Some(ColumnKind::Text), column, levels }
    };
    let model = TableModel {
        model: Model { whitening, fits, extra: Value::Null },
        frozen,
        dropped_rows: dropped,
        largest_weight,
        effects: known.into_iter().map(effect_levels).collect(),
    };
    Ok(Trained { model, inflation, vcov, absorption: Some(absorption) })
}

/// What went wrong, with a way out that effects leave open.
fn beside_effects(error: hattention::Error) -> Failure {
    use hattention::Error;
    let hint = match error {
        Error::NoConvergence { .. } => {
            "write the effect of fewest levels as a factor among the terms: y ~ x + C(h) | g"
        }
        Error::RankDeficient { .. } => "drop them from the formula, or use `--aliased drop` (as fixest does)",
        Error::TooFewRows { .. } => "use fewer terms or effects of fewer levels, or more rows",
        error => return error.into(),
    };
    let failed = matches!(error, Error::NoConvergence { .. });
    let failure = Failure { hint: Some(hint.into()), ..Failure::from(error) };
    match failed {
        true => Failure { message: format!("the effects could not be solved for: {}", failure.message), ..failure },
        false => failure,
    }
}

fn gather(
    source: &Source,
    design: &Design,
    codes: &LevelCodes,
    effects: &[String],
    na: NaPolicy,
    progress: &dyn Pass,
) -> Result<Gathered, Failure> {
    let targets = design.terms().targets.len();
    let columns = pass::owned(&design.input_columns());
    let start = || Gathered { state: EffectMoments::new(targets, effects), dropped: 0, largest_weight: 0.0 };
    let work = |gathered: &mut Gathered, batch: &NumberedBatch| -> Result<(), Failure> {
        let encoded = design.encode(&batch.batch, batch.first_row.unwrap_or(0), na)?;
        gathered.dropped += encoded.dropped() as u64;
        let (mut ids, block) = encoded.block();
        ids.iter_mut().for_each(|id| *id += targets);
        ids.extend(0..targets);
        let codes = codes.discover(&encoded)?;
        gathered.state.push_at(&block, &ids, &borrowed(&codes))?;
        let weights = block.weights.unwrap_or_default();
        gathered.largest_weight = weights.iter().copied().fold(gathered.largest_weight, f64::max);
        Ok(())
    };
    let mut all = start();
    for gathered in pass::parallel(source, &columns, progress, start, work)? {
        all.state.merge(&gathered.state)?;
        all.dropped += gathered.dropped;
        all.largest_weight = all.largest_weight.max(gathered.largest_weight);
    }
    Ok(all)
}

fn borrowed(codes: &[Vec<u32>]) -> Vec<&[u32]> {
    codes.iter().map(Vec::as_slice).collect()
}

/// The second pass: covariances that need residuals, and which effects are nested.
struct Second<'a> {
    source: &'a Source,
    design: FrozenDesign,
    whitening: &'a Whitening,
    fits: &'a [Fit],
    absorbed: &'a Absorbed,
    /// The design's columns in the state.
    state_columns: &'a Columns,
    levels: LevelCodes,
    kind: &'a Vcov,
    clusters: ClusterCodes,
}

/// What the second pass gathers.
struct Residuals {
    scores: Vec<Scores>,
    nesting: Nesting,
}

impl Second<'_> {
    fn run(&self, progress: &dyn Pass) -> Result<(Vec<Covariance>, Nesting), Failure> {
        let columns = pass::owned(&self.design.input_columns());
        let start = || self.start();
        let work = |state: &mut Result<Residuals, Failure>, batch: &NumberedBatch| -> Result<(), Failure> {
            let encoded = self.design.encode(&batch.batch, batch.first_row.unwrap_or(0))?;
            state.as_mut().map_or(Ok(()), |state| self.push(state, &encoded))
        };
        let mut all = self.start()?;
        for state in pass::parallel(self.source, &columns, progress, start, work)? {
            let state = state?;
            all.scores.iter_mut().zip(state.scores).for_each(|(mine, theirs)| mine.merge(theirs));
            all.nesting.merge(&state.nesting);
        }
        let finish = |(scores, fit): (Scores, &Fit)| scores.finish_nested(self.whitening, fit, &all.nesting);
        let covariances = all.scores.into_iter().zip(self.fits).map(finish).collect::<Result<_, _>>()?;
        Ok((covariances, all.nesting))
    }

    fn start(&self) -> Result<Residuals, Failure> {
        let scores = self.fits.iter().map(|fit| Scores::new(self.whitening, fit, self.kind.clone()));
        let ways = if let Vcov::Cluster { columns } = self.kind { columns.len() } else { 0 };
        let nesting = Nesting::new(self.absorbed.levels().len(), ways);
        Ok(Residuals { scores: scores.collect::<Result<_, _>>()?, nesting })
    }

    fn push(&self, state: &mut Residuals, encoded: &EncodedBlock) -> Result<(), Failure> {
        let codes = self.levels.find(encoded, Unseen::Error)?;
        let codes = borrowed(&codes);
        let groups = self.clusters.of(&encoded.extras()[codes.len()..])?;
        let groups = borrowed(&groups);
        let (_, block) = encoded.block();
        let present = encoded.columns();
        let in_block = |position: usize| present.iter().find(|(id, _)| *id == position).map(|(_, column)| *column);
        let kept = self.whitening.kept.iter().filter_map(|&position| {
            self.state_columns.columns[position].map(|column| (position, (column, in_block(position))))
        });
        let (ids, mut columns): (Vec<usize>, Vec<(usize, Option<Column<'_>>)>) = kept.unzip();
        columns.extend(encoded.targets().into_iter().enumerate().map(|(t, target)| (t, Some(target))));
        let residuals = self.absorbed.residuals(block.rows, &columns, &codes)?;
        let mut columns = residuals.columns();
        let targets = columns.split_off(ids.len());
        let block = Block { rows: block.rows, columns, weights: block.weights };
        for ((scores, fit), target) in state.scores.iter_mut().zip(self.fits).zip(targets) {
            scores.push(self.whitening, fit, &block, &ids, target, &groups)?;
        }
        Ok(state.nesting.push(&codes, &groups)?)
    }
}
