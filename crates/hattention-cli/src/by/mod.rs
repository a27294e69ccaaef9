//! `hat fit --by`: one regression for every value of some columns.

mod gather;
mod show;
mod table;

use std::collections::{HashMap, HashSet};

use hattention::fit::Vcov;
use hattention::groups::{GroupFit, GroupOptions, Groups, Status};
use hattention::{Design as Columns, Filter, Orthogonal};
use hattention_table::design::StateLayout;
use hattention_table::formula::Formula;
use hattention_table::regression::{Amount, Number, SolveOptions, fit, hc};
use hattention_table::source::Source;

use crate::args::{FitArgs, SourceArgs};
use crate::failure::Failure;
use crate::output;
use crate::sink;
use gather::Gathered;
use table::Table;

/// Groups that are fitted and written at a time.
const SLICE: usize = 1 << 14;

/// Runs the command.
///
/// # Errors
/// Those of the options, of reading and of writing; and if no group has numbers.
pub fn run(args: &FitArgs, quiet: bool) -> Result<(), Failure> {
    refuse(args)?;
    let text = args.formula.as_deref().unwrap_or_default();
    let formula = Formula::parse(text)?;
    if !formula.effects().is_empty() {
        return Err(Failure::usage(
            "--by with absorbed effects: each group would have levels of its own to take out",
            "write them as factors, `C(g)`",
        ));
    }
    let options = options(args)?;
    if let Some(path) = &args.read.output {
        sink::check_format(path).map_err(|failure| Failure {
            hint: Some("with --by it is a table, one row a group: end the name in .parquet or .csv".into()),
            ..failure
        })?;
        output::check_apart(path, &args.sources)?;
        output::check_writable(path)?;
    }
    let mut by: Vec<String> = Vec::new();
    args.by.iter().for_each(|name| {
        if !by.contains(name) {
            by.push(name.clone());
        }
    });
    let sources = SourceArgs { sources: args.sources.clone(), sql: args.sql.clone(), batch_rows: args.batch_rows };
    let source = crate::fit::open_for(&sources, &formula, &by)?;
    fitted(args, &formula, &source, &by, options, quiet).map_err(|failure| failure.placed(&source))
}

/// Refuses before any work what does not go with groups, by name.
fn refuse(args: &FitArgs) -> Result<(), Failure> {
    let with = |what: &str, hint: &str| Err(Failure::usage(format!("{what} with --by"), hint));
    if args.from.is_some() || !args.remove.is_empty() {
        let what = if args.from.is_some() { "--from" } else { "--remove" };
        return with(what, "name all sources in one command: a state holds one regression");
    }
    if args.sources.is_empty() {
        return Err(Failure::usage("a formula without a source", "name the files of its rows"));
    }
    if args.read.state_out.is_some() {
        return with("--state-out", "leave it out: a state holds one regression; -o writes the groups' table");
    }
    if args.on.is_some() {
        return with("--on", "leave out --on: groups are fitted on this machine, in one pass");
    }
    if args.with_hc {
        return with("--with-hc", "leave it out: robust errors of groups need no states, --vcov HC1 gives them");
    }
    if args.read.vif {
        return with("--vif", "leave it out, or fit one group: --sql \"SELECT * FROM t WHERE g = 'a'\"");
    }
    if args.read.level != 0.95 {
        return with("--level", "leave it out: the table has standard errors and t tests, and no intervals");
    }
    if args.order.is_some() {
        return with("--order", "leave it out: rows are read in any order");
    }
    Ok(())
}

fn options(args: &FitArgs) -> Result<GroupOptions, Failure> {
    let vcov = hc::parse(&args.vcov)?;
    if let Vcov::Hac { .. } = vcov {
        return Err(Failure::usage(
            format!("--vcov {vcov} with --by: it needs the rows of every group in order"),
            "use iid, HC0, HC1, HC2, HC3 or cluster:COLUMN",
        ));
    }
    let SolveOptions { amount, standardize, aliased, .. } = args.read.solve()?;
    let auto = |what: &str| {
        let message = format!("{what} auto with --by: each group would choose for itself");
        Err(Failure::usage(message, "name the amount"))
    };
    let filter = match amount {
        Amount::Ols => Filter::Ols,
        Amount::Ridge(Number::Given(alpha)) => Filter::Ridge { alpha, standardize },
        Amount::Components(Number::Given(count)) => Filter::Components { count, standardize },
        Amount::Ridge(Number::Auto) => return auto("--ridge"),
        Amount::Components(Number::Auto) => return auto("--components"),
    };
    if filter != Filter::Ols && vcov != Vcov::Iid {
        return Err(Failure::usage(
            format!("--vcov {vcov} with --ridge or --components: shrunk coefficients have no standard errors"),
            "leave out --vcov",
        ));
    }
    Ok(GroupOptions { filter, aliased, vcov, ..GroupOptions::default() })
}

fn fitted(
    args: &FitArgs,
    formula: &Formula,
    source: &Source,
    by: &[String],
    options: GroupOptions,
    quiet: bool,
) -> Result<(), Failure> {
    let Gathered { parts, keys, dropped, layout, options } = gather::gather(args, formula, source, by, options, quiet)?;
    let order = keys.sorted();
    let counted = |number: &u32| parts.iter().map(|part| part.rows(*number as usize)).sum::<u64>();
    fit::check_rows(false, order.iter().map(counted).sum(), dropped.iter().sum())?;
    let (_, targets) = layout.names()?;
    // The names of all groups together. Where a factor has one level in all, no group has a design.
    let names = layout.coding()?.names().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let designer = |levels: &[usize]| design(&layout, levels, targets.len());
    let numbers: Vec<usize> = (0..targets.len()).collect();
    let groups = Groups::new(parts, &designer, &numbers, options.clone());
    let table = Table { formula: formula.text(), by, names: &names, targets: &targets, dropped: &dropped, keys: &keys };
    let mut fits = order.chunks(SLICE).map(|some| (some, groups.fit(some)));
    let tally = match (&args.read.output, args.read.json) {
        (Some(path), json) => table.write(path, json, &mut fits),
        (None, true) => table.json(&mut fits),
        (None, false) => table.print(&mut fits, order.len()),
    }?;
    conclude(args, &tally)
}

/// How many groups there are of every status.
#[derive(Default)]
pub struct Tally {
    groups: u64,
    fitted: u64,
    /// Without the names and numbers of each.
    others: Vec<(String, u64)>,
}

impl Tally {
    fn count(&mut self, fit: &GroupFit) {
        self.groups += 1;
        if matches!(fit.status, Status::Fitted(_)) {
            self.fitted += 1;
            return;
        }
        let status = table::status(fit);
        let kind =
            if status.starts_with("rank ") { "dependent columns" } else { status.split(": ").next().unwrap_or("") };
        match self.others.iter_mut().find(|(known, _)| known == kind) {
            Some((_, count)) => *count += 1,
            None => self.others.push((kind.to_owned(), 1)),
        }
    }

    /// `16 groups: 14 with numbers, 2 too few rows`.
    fn text(&self) -> String {
        let mut others = self.others.clone();
        others.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let others: String = others.iter().map(|(kind, count)| format!(", {count} {kind}")).collect();
        format!("{}: {} with numbers{others}", crate::failure::counted(self.groups, "group"), self.fitted)
    }
}

/// Says what was found, and fails if that is nothing.
fn conclude(args: &FitArgs, tally: &Tally) -> Result<(), Failure> {
    if let Some(path) = &args.read.output {
        eprintln!("note: {}; written to {}", tally.text(), path.display());
    }
    if tally.fitted > 0 {
        return Ok(());
    }
    let message = format!("no group has numbers ({})", tally.text());
    Err(Failure::no_answer(message, "use fewer terms or coarser groups; --aliased drop leaves dependent columns out"))
}

/// The design of the rows that have these levels: what the formula makes of them alone.
fn design(layout: &StateLayout, levels: &[usize], targets: usize) -> Result<Columns, String> {
    let present: HashSet<usize> = levels.iter().filter_map(|column| column.checked_sub(targets)).collect();
    let there = |column: &usize| !layout.is_discovered(*column) || present.contains(column);
    let order: Vec<usize> = (0..layout.columns().len()).filter(there).collect();
    let coding = layout.reordered(&order).coding().map_err(|error| error.to_string())?;
    let design = fit::columns(&coding, 0);
    let column = |place: usize| order[place] + targets;
    let of = |group: &Orthogonal| Orthogonal {
        powers: group.powers.iter().map(|powers| powers.iter().map(|place| column(*place)).collect()).collect(),
        positions: group.positions.clone(),
        products: group.products.iter().map(|place| place.map(column)).collect(),
    };
    Ok(Columns {
        columns: design.columns.iter().map(|place| place.map(column)).collect(),
        orthogonal: design.orthogonal.iter().map(of).collect(),
        ..design
    })
}

/// Numbers by name.
fn by_name(names: &[String]) -> HashMap<&str, usize> {
    names.iter().map(String::as_str).zip(0..).collect()
}
