//! Passes over sources: several threads encode and add up, in any order; or one after the other, in order.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::design::{Design, EncodedBlock, FrozenDesign, NaPolicy};
use crate::error::TableError;
use crate::source::{NumberedBatch, ScanOrder, Source};
use crate::state::Gathered;
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::DataType;
use hattention::fit::{Covariance, Fit, Scores, Vcov};

use super::failure::{Failure, Kind};
use super::watch::Pass;

/// Runs `work` on every batch of a scan, on all threads, each with its own state; gives the states back.
///
/// # Errors
/// The first error of reading or of `work`; an error that may lack its row is looked for again in order.
pub fn parallel<State: Send>(
    source: &Source,
    columns: &[String],
    pass: &dyn Pass,
    start: impl Fn() -> State + Sync,
    work: impl Fn(&mut State, &NumberedBatch) -> Result<(), Failure> + Sync,
) -> Result<Vec<State>, Failure> {
    let counted = |state: &mut State, batch: &NumberedBatch| {
        work(state, batch)?;
        pass.add(batch.bytes)
    };
    match source.fold(columns, rayon::current_num_threads(), &start, counted) {
        Ok(states) => Ok(states),
        Err(failure) if failure.kind == Kind::Interrupted => Err(failure),
        Err(failure) => {
            // The same error, but the first in the order of the rows and with its row.
            let mut state = start();
            for batch in source.scan(columns, ScanOrder::File)? {
                work(&mut state, &batch?)?;
            }
            Err(failure)
        }
    }
}

/// The first pass: everything a fit needs; with `hc` also what HC0 and HC1 need.
///
/// # Errors
/// Those of reading, of [`Gathered::new`] and of [`Gathered::push`].
pub fn moments(source: &Source, design: &Design, na: NaPolicy, hc: bool, pass: &dyn Pass) -> Result<Gathered, Failure> {
    let columns = owned(&design.input_columns());
    let nothing = Gathered::new(design, hc)?;
    let start = || nothing.clone();
    let work = |state: &mut Gathered, batch: &NumberedBatch| -> Result<(), Failure> {
        Ok(state.push(design, &batch.batch, batch.first_row.unwrap_or(0), na)?)
    };
    let mut all = start();
    parallel(source, &columns, pass, start, work)?.iter().for_each(|state| all.merge(state));
    Ok(all)
}

/// The second pass: covariances that need residuals, one a fit; and how many rows HC2 and HC3 have no value for.
pub fn covariances(
    source: &Source,
    design: &FrozenDesign,
    whitening: &hattention::Whitening,
    fits: &[Fit],
    kind: &Vcov,
    order: Option<&str>,
    pass: &dyn Pass,
) -> Result<(Vec<Covariance>, u64), Failure> {
    let columns = owned(&design.input_columns());
    let ways = if let Vcov::Cluster { columns } = kind { columns.len() } else { 0 };
    let codes = ClusterCodes::new(ways);
    let empty = || -> Result<Vec<Scores>, Failure> {
        fits.iter().map(|fit| Ok(Scores::new(whitening, fit, kind.clone())?)).collect()
    };
    let push = |scores: &mut [Scores], encoded: &EncodedBlock| -> Result<(), Failure> {
        let (ids, block) = encoded.block();
        let design_columns = ids.len();
        let targets = encoded.targets();
        let block = hattention::Block { columns: block.columns[..design_columns].to_vec(), ..block };
        let groups = codes.of(encoded.extras())?;
        let groups: Vec<&[u32]> = groups.iter().map(Vec::as_slice).collect();
        for ((scores, fit), target) in scores.iter_mut().zip(fits).zip(targets) {
            scores.push(whitening, fit, &block, &ids, target, &groups)?;
        }
        Ok(())
    };
    let mut gathered = empty()?;
    if matches!(kind, Vcov::Hac { .. }) {
        for (first_row, batch) in ordered(source, &columns, order, pass)? {
            push(&mut gathered, &design.encode(&batch, first_row)?)?;
        }
    } else {
        let work = |state: &mut Result<Vec<Scores>, Failure>, batch: &NumberedBatch| -> Result<(), Failure> {
            let encoded = design.encode(&batch.batch, batch.first_row.unwrap_or(0))?;
            match state {
                Ok(scores) => push(scores, &encoded),
                Err(_) => Ok(()),
            }
        };
        for state in parallel(source, &columns, pass, empty, work)? {
            for (mine, theirs) in gathered.iter_mut().zip(state?) {
                mine.merge(theirs);
            }
        }
    }
    let alone = gathered.first().map_or(0, Scores::rows_alone);
    let finished = gathered.into_iter().zip(fits).map(|(scores, fit)| Ok(scores.finish(whitening, fit)?));
    Ok((finished.collect::<Result<_, Failure>>()?, alone))
}

/// Batches in the order of the rows, or sorted by a column (then all in memory).
#[allow(clippy::type_complexity)]
fn ordered(
    source: &Source,
    columns: &[String],
    order: Option<&str>,
    pass: &dyn Pass,
) -> Result<Box<dyn Iterator<Item = (u64, RecordBatch)>>, Failure> {
    let mut batches = Vec::new();
    for batch in source.scan(columns, ScanOrder::File)? {
        let batch = batch?;
        pass.add(batch.bytes)?;
        batches.push((batch.first_row.unwrap_or(0), batch.batch));
    }
    let (Some(order), Some((_, first))) = (order, batches.first()) else {
        return Ok(Box::new(batches.into_iter()));
    };
    let schema = first.schema();
    let arrow = |operation: &str, error: &dyn std::fmt::Display| {
        Failure::from(TableError::Arrow { operation: operation.into(), message: error.to_string() })
    };
    let all =
        concat_batches(&schema, batches.iter().map(|(_, batch)| batch)).map_err(|e| arrow("joining batches", &e))?;
    let key = all
        .column_by_name(order)
        .ok_or_else(|| Failure::usage(format!("unknown column `{order}` in --order"), "name a column of the source"))?;
    let indices = sort_to_indices(key, None, None).map_err(|e| arrow("sorting rows", &e))?;
    let sorted = take_record_batch(&all, &indices).map_err(|e| arrow("sorting rows", &e))?;
    Ok(Box::new(std::iter::once((0, sorted))))
}

/// Codes of cluster columns, shared by all threads: equal values have equal codes.
pub struct ClusterCodes {
    known: Vec<Mutex<HashMap<String, u32>>>,
}

impl ClusterCodes {
    /// No codes yet, of so many columns.
    pub fn new(ways: usize) -> Self {
        Self { known: (0..ways).map(|_| Mutex::new(HashMap::new())).collect() }
    }

    /// Codes of the rows of such columns. Shape: `[columns][rows]`.
    ///
    /// # Errors
    /// If a column cannot be read as text.
    pub fn of(&self, columns: &[ArrayRef]) -> Result<Vec<Vec<u32>>, Failure> {
        self.known.iter().zip(columns).map(|(known, array)| codes(known, array)).collect()
    }
}

fn codes(known: &Mutex<HashMap<String, u32>>, array: &ArrayRef) -> Result<Vec<u32>, Failure> {
    let text = cast(array, &DataType::Utf8)
        .map_err(|e| TableError::Arrow { operation: "reading a cluster column".into(), message: e.to_string() })?;
    let text = text.as_any().downcast_ref::<StringArray>().ok_or_else(|| {
        Failure::usage("a cluster column cannot be read as text", "use a column of text or whole numbers")
    })?;
    let mut known = known.lock().map_err(|_| Failure::usage("a computing thread failed", ""))?;
    Ok((0..text.len())
        .map(|row| {
            let value = text.value(row);
            if let Some(&code) = known.get(value) {
                return code;
            }
            let code = known.len() as u32;
            known.insert(value.to_owned(), code);
            code
        })
        .collect())
}

/// Names as a scan takes them.
pub fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
