//! One pass over a source: rows by group.

use hattention::Column;
use hattention::groups::{GroupOptions, GroupedRows};
use hattention_table::design::{DesignOptions, NaPolicy, StateLayout};
use hattention_table::formula::Formula;
use hattention_table::keys::Keys;
use hattention_table::regression::pass::{self, ClusterCodes, owned};
use hattention_table::regression::{Watch, fit};
use hattention_table::source::{NumberedBatch, Source};

use crate::args::{FitArgs, Na};
use crate::failure::Failure;
use crate::progress::Terminal;

/// Where the numbers of columns of cluster codes begin: behind those that a state can have.
const CLUSTERS: usize = 1 << 20;

/// What the pass finds.
pub struct Gathered {
    /// Rows by group, as the threads gathered them: columns `0 .. targets` are the targets, and the state's follow.
    pub parts: Vec<GroupedRows>,
    /// The groups' values.
    pub keys: Keys,
    /// Rows left out, by group.
    pub dropped: Vec<u64>,
    /// What the columns mean.
    pub layout: StateLayout,
    /// The options, with what the design adds.
    pub options: GroupOptions,
}

/// What a thread gathers.
struct Part {
    rows: GroupedRows,
    dropped: Vec<u64>,
}

/// Reads a source.
///
/// # Errors
/// Those of the formula, the columns of groups, and of reading.
pub fn gather(
    args: &FitArgs,
    formula: &Formula,
    source: &Source,
    by: &[String],
    options: GroupOptions,
    quiet: bool,
) -> Result<Gathered, Failure> {
    let keys = Keys::of(&source.schema(), by)?;
    let clusters = fit::extras(&options.vcov, None);
    let design_options = DesignOptions {
        weights: args.weights.clone(),
        extras: clusters.clone(),
        beside: by.to_vec(),
        ..Default::default()
    };
    let terminal = Terminal { quiet };
    let design = fit::compile(formula, source, &design_options, &terminal)?;
    let used = by.iter().find(|name| design.spec().columns.iter().any(|(used, _)| used == *name));
    if let Some(name) = used.filter(|name| args.weights.as_ref() != Some(name)) {
        return Err(Failure::usage(
            format!("`{name}` is in the formula and in --by: within a group it is the same in all rows"),
            "leave it out of one of the two",
        ));
    }
    let targets = design.terms().targets.len();
    let options = GroupOptions {
        unweighted: args.weights.is_some() && design.has_orthogonal_polynomials(),
        clusters: (0..clusters.len()).map(|way| CLUSTERS + way).collect(),
        ..options
    };
    let mut columns = owned(&design.input_columns());
    columns.extend(by.iter().filter(|name| !columns.contains(name)).cloned().collect::<Vec<_>>());
    let na = if args.na == Na::Fail { NaPolicy::Fail } else { NaPolicy::Drop };
    let codes = ClusterCodes::new(clusters.len());
    let start = || Part { rows: GroupedRows::new(options.keep()), dropped: Vec::new() };
    let work = |part: &mut Part, batch: &NumberedBatch| -> Result<(), Failure> {
        let encoded = design.encode(&batch.batch, batch.first_row.unwrap_or(0), na)?;
        let mut groups = keys.numbers(&batch.batch)?;
        if let Some(valid) = encoded.valid() {
            for (group, _) in groups.iter().zip(&valid).filter(|(_, valid)| !**valid) {
                let least = *group as usize + 1;
                part.dropped.resize(part.dropped.len().max(least), 0);
                part.dropped[*group as usize] += 1;
            }
            let mut kept = valid.iter();
            groups.retain(|_| kept.next().is_some_and(|valid| *valid));
        }
        let (mut ids, mut block) = encoded.block();
        let of_design = ids.len();
        ids.iter_mut().for_each(|id| *id += targets);
        ids.extend(0..block.columns.len() - of_design);
        let codes = codes.of(encoded.extras())?;
        let codes: Vec<Vec<f64>> =
            codes.iter().map(|codes| codes.iter().map(|code| f64::from(*code)).collect()).collect();
        block.columns.extend(codes.iter().map(|codes| Column::Dense(codes)));
        ids.extend(&options.clusters);
        Ok(part.rows.push(&block, &ids, &groups)?)
    };
    let watched = terminal.pass("reading", source.bytes_total());
    let found = pass::parallel(source, &columns, &*watched, start, work)?;
    drop(watched);
    let mut dropped = vec![0; keys.len()];
    let mut parts = Vec::with_capacity(found.len());
    for part in found {
        dropped.iter_mut().zip(&part.dropped).for_each(|(all, some)| *all += some);
        parts.push(part.rows);
    }
    Ok(Gathered { parts, keys, dropped, layout: design.layout(), options })
}
