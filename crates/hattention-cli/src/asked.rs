//! The arguments of `hat fit`, in other words.

use hattention::fit::Vcov;
use hattention_cluster::ClusterError;
use hattention_table::design::NaPolicy;
use hattention_table::formula::Formula;
use hattention_table::regression::fit::{FitOptions, check_order};
use hattention_table::regression::hc;
use hattention_table::state::TableState;

use crate::args::{FitArgs, Na};
use crate::failure::{Failure, of_cluster};

/// What is asked for, in other words than those of the command line.
pub struct Asked {
    /// The formula; none where a state has it.
    pub formula: Option<Formula>,
    /// Where the rows are.
    pub sources: Vec<String>,
    /// How they are fitted.
    pub options: FitOptions,
}

impl Asked {
    /// Reads the arguments, and refuses what does not go together.
    ///
    /// # Errors
    /// By the names of the options.
    pub fn of(args: &FitArgs) -> Result<Self, Failure> {
        // Beside --from the formula may be left out: then the first word is a source.
        let (formula, sources) = match &args.formula {
            Some(first) if args.from.is_some() && !first.contains('~') => {
                (None, std::iter::once(first.clone()).chain(args.sources.iter().cloned()).collect())
            }
            first => (first.as_deref().map(Formula::parse).transpose()?, args.sources.clone()),
        };
        let vcov = hc::parse(&args.vcov)?;
        let refuse = |message: String, hint: &str| Err(Failure::usage(message, hint));
        let options = FitOptions {
            weights: args.weights.clone(),
            vcov: vcov.clone(),
            order: args.order.clone(),
            na: if args.na == Na::Fail { NaPolicy::Fail } else { NaPolicy::Drop },
            hc: args.with_hc,
            solve: args.read.solve()?,
        };
        check_order(&options)?;
        if args.from.is_some() || !args.remove.is_empty() {
            hc::check(&vcov)?;
        }
        if args.on.is_some() && sources.is_empty() {
            return refuse("--on without a source".to_owned(), "name the files that the cluster is to read");
        }
        if args.on.is_some() && sources.iter().any(|source| source == "-") {
            return Err(of_cluster(ClusterError::NotShared { what: "standard input".into() }));
        }
        if args.on.is_some() && vcov != Vcov::Iid && !(args.with_hc && hc::from_sums(&vcov)) {
            let message = format!("--vcov {vcov} reads all rows a second time, and --on brings back their state only");
            return refuse(
                message,
                "use HC0 or HC1 with --with-hc, which keeps what they need, or leave out --vcov or --on",
            );
        }
        if sources.is_empty() && (formula.is_some() || args.sql.is_some()) {
            let what = if formula.is_some() { "a formula" } else { "--sql" };
            return refuse(format!("{what} without a source"), "name the files of its rows");
        }
        let asked = Self { formula, sources, options };
        let states = [
            (args.from.is_some(), "--from"),
            (!args.remove.is_empty(), "--remove"),
            (args.read.state_out.is_some(), "--state-out"),
            (args.with_hc, "--with-hc"),
            (args.on.is_some(), "--on"),
        ];
        match (asked.with_effects(), states.iter().find(|(given, _)| *given)) {
            (Some(_), Some((_, what))) => refuse(
                format!("{what} with absorbed effects: states in files do not hold sums within their levels"),
                "fit all the rows in one command, or write the effects as factors, `C(g)`",
            ),
            _ => Ok(asked),
        }
    }

    /// Whether sums of four columns are kept: as asked for, or as the state that is gone on with does.
    ///
    /// # Errors
    /// If they are asked for of a state without them.
    pub fn with_hc(&self, args: &FitArgs, earlier: Option<&TableState>) -> Result<bool, Failure> {
        let Some((state, path)) = earlier.zip(args.from.as_ref()) else {
            // Rows that are taken out cannot be read a second time.
            return Ok(args.with_hc || (hc::from_sums(&self.options.vcov) && !args.remove.is_empty()));
        };
        let (has, name) = (state.gathered.quartic.is_some(), path.display().to_string());
        match (has, hc::from_sums(&self.options.vcov), args.with_hc) {
            (false, true, _) => Err(hc::lacking(&name, &self.options.vcov)),
            (false, false, true) => Err(Failure::usage(
                format!("--with-hc of {name}, which was built without it: its rows are gone"),
                "leave out --with-hc, or build the state again from its rows",
            )),
            _ => Ok(has),
        }
    }

    /// The formula, if it has effects to be absorbed.
    pub fn with_effects(&self) -> Option<&Formula> {
        self.formula.as_ref().filter(|formula| !formula.effects().is_empty())
    }
}
