//! `hat merge`.

use crate::args::MergeArgs;
use crate::failure::Failure;
use crate::fit::{Amount, solve};
use crate::read_out;
use crate::state_file;

/// Runs the command.
pub fn run(args: &MergeArgs) -> Result<(), Failure> {
    read_out::check(&args.read)?;
    let amount = Amount::parse(&args.read)?;
    let mut paths = args.states.iter();
    let Some(first) = paths.next() else {
        return Err(Failure::usage("no state", "name files written by `hat fit … --state-out FILE`"));
    };
    let mut state = state_file::load(first)?;
    for path in paths {
        let both = || format!("{} and {}", first.display(), path.display());
        state.merge(&state_file::load(path)?).map_err(|error| Failure::from(error).about(both()))?;
    }
    read_out::finish(&args.read, &state, |state| solve(&args.read, &amount, state))
}
