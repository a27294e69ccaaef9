//! The groups as a table: one row a group.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use hattention::Error;
use hattention::error::Dependence;
use hattention::fit::distribution::t_two_sided;
use hattention::groups::{GroupFit, Rung, Status, TargetFit};
use hattention_table::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use hattention_table::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use hattention_table::keys::Keys;
use rayon::prelude::*;

use super::{Tally, by_name};
use crate::failure::Failure;
use crate::sink::{Sink, unwritable};

/// Batches that wait for the writing thread.
const WAITING: usize = 2;

/// Fits of some groups.
pub type Slice<'a> = (&'a [u32], Vec<GroupFit>);

/// What the table is made of.
pub struct Table<'a> {
    /// The formula.
    pub formula: &'a str,
    /// The columns of groups.
    pub by: &'a [String],
    /// Names of all coefficients.
    pub names: &'a [String],
    /// Names of the targets.
    pub targets: &'a [String],
    /// Rows left out, by group.
    pub dropped: &'a [u64],
    /// The values of groups.
    pub keys: &'a Keys,
}

impl Table<'_> {
    /// Writes the table of all groups, and prints it as JSON too if asked; another thread writes while the next are fitted.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write<'s>(
        &self,
        path: &Path,
        json: bool,
        fits: &mut dyn Iterator<Item = Slice<'s>>,
    ) -> Result<Tally, Failure> {
        let schema = self.schema()?;
        let mut tally = Tally::default();
        let mut sink = Sink::open(Some(path), &schema)?;
        if json {
            self.json_head()?;
        }
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<RecordBatch>(WAITING);
            let writer = scope.spawn(move || {
                receiver.iter().try_for_each(|batch| sink.write(&batch))?;
                sink.finish()
            });
            for (numbers, some) in fits {
                if json {
                    self.json_rows(tally.groups == 0, numbers, &some)?;
                }
                some.iter().for_each(|fit| tally.count(fit));
                // A writer that has failed says why below.
                if sender.send(self.batch(&schema, numbers, &some)?).is_err() {
                    break;
                }
            }
            drop(sender);
            writer.join().unwrap_or_else(|_| Err(Failure::usage("the writing thread failed", "")))
        })?;
        if json {
            Self::json_tail()?;
        }
        Ok(tally)
    }

    fn schema(&self) -> Result<SchemaRef, Failure> {
        let keys = self.keys.values(&[])?;
        let mut fields: Vec<Field> =
            self.by.iter().zip(keys).map(|(name, key)| Field::new(name, key.data_type().clone(), true)).collect();
        fields.push(Field::new("status", DataType::Utf8, false));
        fields.push(Field::new("method", DataType::Utf8, true));
        fields.push(Field::new("n", DataType::UInt64, false));
        fields.push(Field::new("dropped_rows", DataType::UInt64, false));
        fields.push(Field::new("rank", DataType::UInt64, true));
        fields.push(Field::new("df_residual", DataType::Float64, true));
        for target in self.targets {
            let prefix = if self.targets.len() > 1 { format!("{target}.") } else { String::new() };
            for what in ["b", "se", "t", "p"] {
                let named =
                    self.names.iter().map(|name| Field::new(format!("{prefix}{what}_{name}"), DataType::Float64, true));
                fields.extend(named);
            }
            let rest = ["sigma", "r_squared", "digits"];
            fields.extend(rest.map(|name| Field::new(format!("{prefix}{name}"), DataType::Float64, true)));
        }
        let (keys, rest) = fields.split_at(self.by.len());
        if let Some(twice) = keys.iter().find(|key| rest.iter().any(|field| field.name() == key.name())) {
            let message = format!("`{}` is also the name of a column of the result", twice.name());
            return Err(Failure::usage(message, "rename it, for example with --sql"));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Some groups as rows.
    fn batch(&self, schema: &SchemaRef, numbers: &[u32], fits: &[GroupFit]) -> Result<RecordBatch, Failure> {
        let mut arrays = self.keys.values(numbers)?;
        arrays.push(Arc::new(StringArray::from_iter_values(fits.iter().map(status))));
        arrays.push(Arc::new(fits.iter().map(method).collect::<StringArray>()));
        arrays.push(Arc::new(UInt64Array::from_iter_values(fits.iter().map(|fit| fit.rows))));
        let dropped = numbers.iter().map(|number| self.dropped[*number as usize]);
        arrays.push(Arc::new(UInt64Array::from_iter_values(dropped)));
        arrays.push(Arc::new(fits.iter().map(|fit| fit.rank.map(|rank| rank as u64)).collect::<UInt64Array>()));
        arrays.push(column(fits.iter().map(|fit| fit.df_residual)));
        let places = by_name(self.names);
        // Where each coefficient of all stands among those of a group.
        let place = |fit: &GroupFit| -> Option<Vec<usize>> {
            let own = || fit.names.iter().zip(self.names).all(|(own, all)| own == all);
            if fit.names.len() == self.names.len() && own() {
                return None;
            }
            let mut of_all = vec![usize::MAX; self.names.len()];
            for (place, name) in fit.names.iter().enumerate() {
                if let Some(all) = places.get(name.as_str()) {
                    of_all[*all] = place;
                }
            }
            Some(of_all)
        };
        let placed: Vec<Option<Vec<usize>>> = fits.par_iter().map(place).collect();
        for target in 0..self.targets.len() {
            arrays.extend(self.numbers(fits, &placed, target));
        }
        RecordBatch::try_new(Arc::clone(schema), arrays).map_err(|e| unwritable(&e))
    }

    /// The columns of a target.
    fn numbers(&self, fits: &[GroupFit], placed: &[Option<Vec<usize>>], target: usize) -> Vec<ArrayRef> {
        let count = self.names.len();
        let at = |(fit, placed): (&GroupFit, &Option<Vec<usize>>), k: usize, what: usize| -> f64 {
            let Some(numbers) = fit.targets.get(target) else { return f64::NAN };
            let place = placed.as_ref().map_or(k, |placed| placed[k]);
            let number = |of: &[f64]| of.get(place).copied().unwrap_or(f64::NAN);
            let (b, se) = (number(&numbers.estimates), number(&numbers.std_errors));
            match what {
                0 => b,
                1 => se,
                2 => t(b, se),
                _ => t_two_sided(t(b, se), numbers.df),
            }
        };
        let all = (0..4 * count).into_par_iter();
        let coefficients = all.map(|i| column(fits.iter().zip(placed).map(|pair| at(pair, i % count, i / count))));
        let mut arrays: Vec<ArrayRef> = coefficients.collect();
        let rest: [fn(&TargetFit) -> f64; 3] = [|fit| fit.sigma, |fit| fit.r_squared, |fit| fit.digits];
        arrays.extend(rest.map(|of| column(fits.iter().map(|fit| fit.targets.get(target).map_or(f64::NAN, of)))));
        arrays
    }
}

/// `b/se`, where it is a number.
pub fn t(b: f64, se: f64) -> f64 {
    if se > 0.0 { b / se } else { f64::NAN }
}

/// Numbers, with nulls for what is none.
fn column(numbers: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(numbers.map(|x| x.is_finite().then_some(x)).collect::<Float64Array>())
}

/// The arithmetic of a group's numbers.
pub fn method(fit: &GroupFit) -> Option<&'static str> {
    match fit.status {
        Status::Fitted(Rung::Doubles) => Some("doubles"),
        Status::Fitted(Rung::Doubled) => Some("doubled"),
        Status::Fitted(Rung::Exact) => Some("exact"),
        _ => None,
    }
}

/// Whether a group has numbers, and else why not.
pub fn status(fit: &GroupFit) -> String {
    let named = |dependent: &[Dependence]| dependent.iter().map(|d| d.column.as_str()).collect::<Vec<_>>().join(", ");
    match &fit.status {
        Status::Fitted(_) if fit.dependent.is_empty() => "ok".into(),
        Status::Fitted(_) => {
            format!("rank {} of {}: {}", fit.rank.unwrap_or(0), fit.names.len(), named(&fit.dependent))
        }
        Status::Refused(Error::NoRows) => "no rows".into(),
        Status::Refused(Error::TooFewRows { rows, coefficients }) => {
            format!("too few rows: {rows} for {coefficients} coefficients")
        }
        Status::Refused(Error::RankDeficient { rank, columns, dependent }) => {
            format!("rank {rank} of {columns}: {}", named(dependent))
        }
        Status::Refused(error) => error.to_string(),
        Status::NoDesign(why) => why.clone(),
    }
}
