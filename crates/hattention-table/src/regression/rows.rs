//! Whether rows are those of a fit.

use hattention::attention;

use super::failure::{Failure, counted};
use super::fit::explain_text;
use super::model::{TableModel, numbers};
use super::pass;
use super::predict::effects_of;
use super::watch::Watch;
use crate::design::{FrozenDesign, FrozenOptions, LevelCodes, NaPolicy, Unseen};
use crate::source::{NumberedBatch, Source};

/// Residual sums of squares agree that differ by no more than this, of themselves in roots.
const TOLERANCE: f64 = 1e-6;
/// Roundings of residuals, in units of the target's length: all there is of a fit without residuals.
const ROUNDING: f64 = 1e-12;

/// What is found of rows.
#[derive(Clone)]
struct Found {
    used: u64,
    dropped: u64,
    /// By target, the lengths `√Σ w e²` and `√Σ w y²`.
    lengths: Vec<[f64; 2]>,
}

/// Refuses rows that are not those the model was fitted on: their number, those left out and the residual sums of squares
/// must be the fit's. (Rows in another order are the same rows.) `extras` are columns that were read beside the formula's.
///
/// # Numerics
/// One pass, in any order of the rows; residuals as [`attention::residuals`].
///
/// # Errors
/// If they are others, and those of reading.
pub fn check(model: &TableModel, source: &Source, extras: &[String], watch: &dyn Watch) -> Result<(), Failure> {
    let effects = model.effects.iter().map(|effect| effect.column.clone());
    let options = FrozenOptions {
        targets: true,
        weights: model.frozen.spec().weights.is_some(),
        extras: effects.chain(extras.iter().cloned()).collect(),
        unseen: Unseen::Error,
        na: NaPolicy::Drop,
    };
    let design = model.frozen.encoder(&source.schema(), &options).map_err(|error| explain_text(source, error))?;
    let levels = LevelCodes::of_levels(model.effects.iter().map(|e| (e.column.clone(), e.levels.clone())));
    let places = model.target_places();
    let start = || Found { used: 0, dropped: 0, lengths: vec![[0.0; 2]; places.len()] };
    let work = |found: &mut Found, batch: &NumberedBatch| add(found, model, &design, &levels, &places, batch);
    let mut all = start();
    let columns = pass::owned(&design.input_columns());
    let passing = watch.pass("comparing", source.bytes_total());
    let found = pass::parallel(source, &columns, &*passing, start, work).map_err(|failure| match failure.row {
        Some(_) => changed(&failure.message),
        None => failure,
    })?;
    for found in found {
        all.used += found.used;
        all.dropped += found.dropped;
        for (mine, theirs) in all.lengths.iter_mut().zip(found.lengths) {
            *mine = [mine[0].hypot(theirs[0]), mine[1].hypot(theirs[1])];
        }
    }
    same(model, &all)
}

fn add(
    found: &mut Found,
    model: &TableModel,
    design: &FrozenDesign,
    levels: &LevelCodes,
    places: &[usize],
    batch: &NumberedBatch,
) -> Result<(), Failure> {
    let encoded = design.encode(&batch.batch, batch.first_row.unwrap_or(0))?;
    let (ids, mut block) = encoded.block();
    block.columns.truncate(ids.len());
    let weight = |row: usize| block.weights.map_or(1.0, |weights| weights[row]);
    found.dropped += encoded.dropped() as u64;
    found.used += (0..block.rows).filter(|&row| weight(row) > 0.0).count() as u64;
    let targets = encoded.targets();
    for ((fit, &place), lengths) in model.model.fits.iter().zip(places).zip(&mut found.lengths) {
        let residuals = attention::residuals(&model.model.whitening, fit, &block, &ids, targets[place])?;
        let effects = effects_of(fit, levels, &encoded, Unseen::Null)?;
        for (row, (residual, y)) in residuals.iter().zip(numbers(targets[place])).enumerate() {
            if weight(row) > 0.0 {
                let effect = effects.as_ref().map_or(0.0, |effects| effects[row]);
                let root = weight(row).sqrt();
                *lengths = [lengths[0].hypot(root * (residual - effect)), lengths[1].hypot(root * y)];
            }
        }
    }
    Ok(())
}

fn same(model: &TableModel, found: &Found) -> Result<(), Failure> {
    let (rows, dropped) = (model.model.whitening.rows, model.dropped_rows);
    if (found.used, found.dropped) != (rows, dropped) {
        let told = |used, dropped| match dropped {
            0 => counted(used, "row"),
            _ => format!("{} and {dropped} left out", counted(used, "row")),
        };
        return Err(changed(&format!("{} then, {} now", told(rows, dropped), told(found.used, found.dropped))));
    }
    for (fit, [residual, target]) in model.model.fits.iter().zip(&found.lengths) {
        // (Not `>`: a length that is no number is another.)
        let alike = (residual - fit.residual_root).abs() <= TOLERANCE * fit.residual_root + ROUNDING * target;
        if !alike {
            let (then, now) = (fit.residual_sum, residual * residual);
            return Err(changed(&format!("the residual sum of squares was {then:.6e}, and is {now:.6e}")));
        }
    }
    Ok(())
}

fn changed(why: &str) -> Failure {
    Failure::usage(
        format!("the rows have changed since the fit: {why}"),
        "give the rows, or fit a copy of them, before they are changed",
    )
}
