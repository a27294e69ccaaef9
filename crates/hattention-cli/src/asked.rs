//! The arguments of `hat fit`, in other words.

use hattention::fit::Vcov;
use hattention_cluster::ClusterError;
use hattention_table::formula::Formula;
use hattention_table::state::TableState;

use crate::amount::Amount;
use crate::args::FitArgs;
use crate::failure::Failure;
use crate::hc;

/// What is asked for, in other words than those of the command line.
pub struct Asked {
    /// The formula; none where a state has it.
    pub formula: Option<Formula>,
    /// Where the rows are.
    pub sources: Vec<String>,
    /// The covariance of the coefficients.
    pub vcov: Vcov,
    /// How much to shrink.
    pub amount: Amount,
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
        if args.order.is_some() && !matches!(vcov, Vcov::Hac { .. }) {
            let message = format!("--order orders the rows for HAC, and --vcov is {vcov}");
            return refuse(message, "leave it out, or use --vcov HAC:lag");
        }
        if args.from.is_some() || !args.remove.is_empty() {
            hc::check(&vcov)?;
        }
        if args.on.is_some() && sources.is_empty() {
            return refuse("--on without a source".to_owned(), "name the files that the cluster is to read");
        }
        if args.on.is_some() && sources.iter().any(|source| source == "-") {
            return Err(ClusterError::NotShared { what: "standard input".into() }.into());
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
        let asked = Self { formula, sources, vcov, amount: Amount::parse(&args.read)? };
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
            return Ok(args.with_hc || (hc::from_sums(&self.vcov) && !args.remove.is_empty()));
        };
        let (has, name) = (state.gathered.quartic.is_some(), path.display().to_string());
        match (has, hc::from_sums(&self.vcov), args.with_hc) {
            (false, true, _) => Err(hc::lacking(&name, &self.vcov)),
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
