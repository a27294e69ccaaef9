//! `hat merge`.

use hattention_table::regression::fit::solve;
use hattention_table::regression::hc;
use hattention_table::state::TableState;

use crate::args::MergeArgs;
use crate::failure::Failure;
use crate::progress::Terminal;
use crate::read_out;
use crate::state_file;

/// Runs the command.
pub fn run(args: &MergeArgs) -> Result<(), Failure> {
    read_out::check(&args.read)?;
    let options = args.read.solve()?;
    let vcov = hc::parse(&args.vcov)?;
    hc::check(&vcov)?;
    let mut paths = args.states.iter();
    let Some(first) = paths.next() else {
        return Err(Failure::usage("no state", "name files written by `hat fit … --state-out FILE`"));
    };
    let mut state = state_file::load(first)?;
    let has_hc = |state: &TableState| state.gathered.quartic.is_some();
    let mut with_hc = vec![has_hc(&state)];
    for path in paths {
        let other = state_file::load(path)?;
        with_hc.push(has_hc(&other));
        let both = || format!("{} and {}", first.display(), path.display());
        state.merge(&other).map_err(|error| Failure::from(error).about(both()))?;
    }
    if let Some(without) = with_hc.iter().position(|has| !has) {
        let name = args.states[without].display();
        if hc::from_sums(&vcov) {
            return Err(hc::lacking(&name.to_string(), &vcov));
        }
        if with_hc.contains(&true) {
            eprintln!("note: {name} was built without --with-hc, so the merged state has no robust errors");
        }
    }
    read_out::finish(&args.read, &state, |state| solve(&options, state, &vcov, &Terminal { quiet: false }))
}
