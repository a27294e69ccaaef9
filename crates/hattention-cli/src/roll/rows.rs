//! The rows of a roll: read, numbered, sorted and grouped.

use std::ops::Range;

use hattention::double_double::DoubleDouble;
use hattention::{Aliased, Block, Column, Filter, Moments, Whitening, WhiteningOptions, attention};
use hattention_table::arrow::array::{Array, ArrayRef, Float16Array, Float32Array, Float64Array, RecordBatch};
use hattention_table::arrow::compute::concat_batches;
use hattention_table::arrow::row::{RowConverter, SortField};
use hattention_table::design::{Design, DesignOptions, EncodedBlock, NaPolicy};
use hattention_table::error::TableError;
use hattention_table::formula::Formula;
use hattention_table::source::{ScanOrder, Source};

use super::args::RollArgs;
use crate::args::Na;
use crate::failure::{Failure, counted};
use crate::progress::{Progress, Terminal};
use hattention_table::regression::fit;
use hattention_table::regression::pass::owned;

/// A column of the design or a target: doubles, and what these round away.
pub struct Values {
    hi: Vec<f64>,
    lo: Option<Vec<f64>>,
}

impl Values {
    /// The values of some rows.
    pub fn slice(&self, rows: Range<usize>) -> Column<'_> {
        match &self.lo {
            None => Column::Dense(&self.hi[rows]),
            Some(lo) => Column::Pair { hi: &self.hi[rows.clone()], lo: &lo[rows] },
        }
    }

    fn sorted(column: Column<'_>, order: &[usize]) -> Self {
        let dense = |values: &[f64]| -> Vec<f64> { order.iter().map(|&row| values[row]).collect() };
        let within = |values: &[f64], codes: &[u32], code: u32| -> Vec<f64> {
            order.iter().map(|&row| if codes[row] == code { values[row] } else { 0.0 }).collect()
        };
        match column {
            Column::Dense(values) => Self { hi: dense(values), lo: None },
            Column::Pair { hi, lo } => Self { hi: dense(hi), lo: Some(dense(lo)) },
            Column::Indicator { codes, code } => {
                Self { hi: order.iter().map(|&row| f64::from(u8::from(codes[row] == code))).collect(), lo: None }
            }
            Column::Within { codes, code, hi, lo } => {
                Self { hi: within(hi, codes, code), lo: lo.map(|lo| within(lo, codes, code)) }
            }
        }
    }

    fn of_pairs(pairs: &[DoubleDouble], order: &[usize]) -> Self {
        let part = |of: fn(&DoubleDouble) -> f64| order.iter().map(|&row| of(&pairs[row])).collect();
        Self { hi: part(|pair| pair.hi), lo: Some(part(|pair| pair.lo)) }
    }
}

/// What is rolled: rows in order, group after group.
pub struct Rows {
    /// Names of the design's columns.
    pub names: Vec<String>,
    pub intercept: bool,
    pub columns: Vec<Values>,
    pub targets: Vec<(String, Values)>,
    /// The row of the source, from 0. Shape: `[rows]`.
    pub numbers: Vec<u64>,
    pub groups: Vec<Range<usize>>,
    /// The order column and the columns of the groups, in order.
    pub labels: Vec<(String, ArrayRef)>,
}

impl Rows {
    /// Reads and sorts the rows.
    ///
    /// # Errors
    /// Those of reading and of the formula; a missing value in the order or group columns; no rows.
    pub fn read(args: &RollArgs, source: &Source, formula: &Formula, quiet: bool) -> Result<Self, Failure> {
        let mut extras = vec![args.order.clone()];
        for name in &args.by {
            if !extras.contains(name) {
                extras.push(name.clone());
            }
        }
        let options = DesignOptions { extras: extras.clone(), ..DesignOptions::default() };
        let design = fit::compile(formula, source, &options, &Terminal { quiet })?;
        let table = read(source, &owned(&design.input_columns()), quiet)?;
        let labels: Vec<(String, ArrayRef)> =
            extras.iter().filter_map(|name| Some((name.clone(), table.column_by_name(name)?.clone()))).collect();
        for (name, array) in &labels {
            let option = if *name == args.order { "--order" } else { "--by" };
            if let Some(row) = first_missing(array) {
                let row = row as u64 + 1;
                let message = format!("row {row}: `{name}` is missing, and {option} sorts by it");
                let failure = Failure::usage(message, "leave such rows out, for example with --sql");
                return Err(Failure { row: Some(row), ..failure });
            }
        }
        let na = if args.na == Na::Fail { NaPolicy::Fail } else { NaPolicy::Drop };
        let encoded = design.encode(&table, 0, na)?;
        let places = encoded.kept().map_or_else(
            || (0..table.num_rows()).collect::<Vec<usize>>(),
            |kept| kept.iter().map(|row| *row as usize).collect(),
        );
        let dropped = counted(encoded.dropped() as u64, "row");
        if places.is_empty() {
            let message = format!("no rows to roll: {dropped} with missing values left out");
            return Err(Failure::no_answer(message, "check the source and its missing values"));
        }
        if encoded.dropped() > 0 {
            eprintln!("note: {dropped} with missing values left out");
        }
        let Sorted { order, groups, ties } = sort(&labels, args, &places)?;
        if ties > 0 {
            let (share, keep) = if ties == 1 { ("shares", "it keeps") } else { ("share", "they keep") };
            let rows = counted(ties as u64, "row");
            eprintln!("note: {rows} {share} `{}` with the row before; {keep} the file's order", args.order);
        }
        let target_names = design.terms().targets.iter().map(|target| target.label().to_owned());
        let targets = target_names.zip(encoded.targets()).map(|(name, column)| (name, Values::sorted(column, &order)));
        let targets = targets.collect();
        let (names, intercept, columns) = columns(&design, &encoded, &order)?;
        let numbers: Vec<u64> = order.iter().map(|&row| places[row] as u64).collect();
        let labels = labels
            .into_iter()
            .map(|(name, array)| {
                let indices = hattention_table::arrow::array::UInt64Array::from(numbers.clone());
                let sorted = hattention_table::arrow::compute::take(&array, &indices, None);
                sorted.map(|array| (name, array)).map_err(|e| arrow("sorting rows", &e))
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self { names, intercept, columns, targets, numbers, groups, labels })
    }

    /// The design and the targets of a group.
    pub fn block(&self, rows: Range<usize>) -> Block<'_> {
        let targets = self.targets.iter().map(|(_, values)| values);
        let columns = self.columns.iter().chain(targets).map(|values| values.slice(rows.clone())).collect();
        Block { rows: rows.len(), columns, weights: None }
    }
}

/// All rows of a source, in its order.
fn read(source: &Source, columns: &[String], quiet: bool) -> Result<RecordBatch, Failure> {
    let progress = Progress::new(source.bytes_total(), "reading", quiet);
    let mut batches = Vec::new();
    for batch in source.scan(columns, ScanOrder::File)? {
        let batch = batch?;
        progress.add(batch.bytes);
        batches.push(batch.batch);
    }
    let Some(first) = batches.first() else {
        return Err(Failure::no_answer("no rows to roll", "check the source"));
    };
    concat_batches(&first.schema(), &batches).map_err(|e| arrow("joining batches", &e))
}

/// The design's columns in order, orthogonal polynomials formed over all rows.
fn columns(
    design: &Design,
    encoded: &EncodedBlock,
    order: &[usize],
) -> Result<(Vec<String>, bool, Vec<Values>), Failure> {
    let coded = fit::columns(&design.coding()?, 0);
    let (ids, mut block) = encoded.block();
    block.columns.truncate(ids.len());
    let formed = if coded.orthogonal.is_empty() {
        None
    } else {
        let mut moments = Moments::new(0);
        moments.push_at(&block, &ids)?;
        let options = WhiteningOptions { aliased: Aliased::Error, ..WhiteningOptions::default() };
        let whitening = Whitening::of(&moments, &coded, Filter::Ols, options, None)?;
        Some(attention::columns(&whitening, &block, &ids)?)
    };
    let zero = vec![0.0; block.rows];
    let plain = |position: usize| {
        let place = coded.columns[position].and_then(|id| ids.iter().position(|known| *known == id));
        Values::sorted(place.map_or(Column::Dense(&zero), |place| block.columns[place]), order)
    };
    let values = (0..coded.names.len()).map(|position| {
        let is_formed = coded.orthogonal.iter().any(|group| group.positions.contains(&position));
        match formed.as_ref().filter(|_| is_formed) {
            Some(formed) => Values::of_pairs(&formed[position], order),
            None => plain(position),
        }
    });
    let values = values.collect();
    Ok((coded.names, coded.intercept, values))
}

/// Rows by groups and order.
struct Sorted {
    /// Places among the kept rows.
    order: Vec<usize>,
    groups: Vec<Range<usize>>,
    /// Rows whose order is that of the row before in their group.
    ties: usize,
}

fn sort(labels: &[(String, ArrayRef)], args: &RollArgs, places: &[usize]) -> Result<Sorted, Failure> {
    let rows = |names: &[String]| {
        let arrays: Vec<ArrayRef> = names
            .iter()
            .filter_map(|name| labels.iter().find(|(known, _)| known == name))
            .map(|(_, array)| array.clone())
            .collect();
        let fields = arrays.iter().map(|array| SortField::new(array.data_type().clone())).collect();
        let converter = RowConverter::new(fields).and_then(|converter| converter.convert_columns(&arrays));
        converter.map_err(|e| arrow("sorting rows", &e))
    };
    let by = if args.by.is_empty() { None } else { Some(rows(&args.by)?) };
    let key = rows(std::slice::from_ref(&args.order))?;
    let group = |place: &usize| by.as_ref().map(|by| by.row(places[*place]));
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| {
        let groups = group(a).cmp(&group(b));
        groups.then_with(|| key.row(places[*a]).cmp(&key.row(places[*b])))
    });
    let (mut groups, mut ties, mut start) = (Vec::new(), 0, 0);
    for end in 1..=order.len() {
        if end == order.len() || group(&order[end]) != group(&order[end - 1]) {
            groups.push(start..end);
            start = end;
        } else if key.row(places[order[end]]) == key.row(places[order[end - 1]]) {
            ties += 1;
        }
    }
    Ok(Sorted { order, groups, ties })
}

/// The first row that is null or NaN.
fn first_missing(array: &ArrayRef) -> Option<usize> {
    let any = array.as_any();
    let nan = |row: usize| {
        any.downcast_ref::<Float64Array>().is_some_and(|a| a.value(row).is_nan())
            || any.downcast_ref::<Float32Array>().is_some_and(|a| a.value(row).is_nan())
            || any.downcast_ref::<Float16Array>().is_some_and(|a| a.value(row).is_nan())
    };
    let nulls = array.logical_nulls();
    (0..array.len()).find(|&row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) || nan(row))
}

fn arrow(operation: &str, error: &dyn std::fmt::Display) -> Failure {
    TableError::Arrow { operation: operation.into(), message: error.to_string() }.into()
}
