//! `hat merge`.

use crate::amount::Amount;
use crate::args::MergeArgs;
use crate::failure::Failure;
use crate::fit::solve;
use crate::read_out;
use crate::state::TableState;

/// Runs the command.
pub fn run(args: &MergeArgs) -> Result<(), Failure> {
    read_out::check(&args.read)?;
    let amount = Amount::parse(&args.read)?;
    let mut paths = args.states.iter();
    let Some(first) = paths.next() else {
        return Err(Failure::usage("no state", "name files written by `hat fit … --state-out FILE`"));
    };
    let mut state = TableState::load(first)?;
    for path in paths {
        state.merge(&TableState::load(path)?).map_err(|failure| Failure {
            message: format!("{} and {}: {}", first.display(), path.display(), failure.message),
            ..failure
        })?;
    }
    read_out::finish(&args.read, &state, |state| solve(&args.read, &amount, state))
}
