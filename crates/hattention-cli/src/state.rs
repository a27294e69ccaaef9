//! States with the table's design beside them: gathered from rows, in files, joined and parted.

use std::path::Path;

use hattention::codec::States;
use hattention::{Moments, QuarticMoments};
use hattention_table::design::{ColumnKind, DesignSpec, StateLayout};
use hattention_table::formula::Formula;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::hc;
use crate::model::read_file;
use crate::output;
use crate::pass::Gathered;

/// The sums of rows as the fit weighs them.
const MOMENTS: &str = "moments";
/// The same without weights, where orthogonal polynomials need them.
const UNWEIGHTED: &str = "unweighted";

/// All that a fit needs to know of its rows.
#[derive(Clone)]
pub struct TableState {
    /// What the columns behind the targets are, in an order that does not depend on how they were found.
    pub layout: StateLayout,
    /// Targets.
    pub targets: Vec<String>,
    /// The sums, and what was counted beside them.
    pub gathered: Gathered,
}

impl TableState {
    /// The state of gathered rows, its columns in canonical order.
    ///
    /// # Errors
    /// Those of a design that does not compile, which a scan does not make.
    pub fn new(layout: &StateLayout, gathered: Gathered) -> Result<Self, Failure> {
        let (_, targets) = layout.names()?;
        let order = layout.canonical_order();
        let mut state = Self { layout: layout.reordered(&order), targets, gathered };
        state.place(&order)?;
        Ok(state)
    }

    /// What the design is made from.
    pub fn spec(&self) -> &DesignSpec {
        self.layout.spec()
    }

    /// The formula.
    ///
    /// # Errors
    /// If it does not parse, which a state's does.
    pub fn formula(&self) -> Result<Formula, Failure> {
        Ok(Formula::parse(&self.spec().formula)?)
    }

    /// Columns that were text: levels such as `7` must not be read as numbers.
    pub fn labels(&self) -> Vec<String> {
        let columns = self.spec().columns.iter();
        columns.filter(|(_, kind)| *kind == ColumnKind::Text).map(|(name, _)| name.clone()).collect()
    }

    /// Brings the columns of the sums, behind the targets, into this order.
    fn place(&mut self, order: &[usize]) -> Result<(), Failure> {
        let targets = self.targets.len();
        let ids: Vec<usize> = (0..targets).chain(order.iter().map(|id| targets + id)).collect();
        let gathered = &mut self.gathered;
        for moments in [Some(&mut gathered.moments), gathered.unweighted.as_mut()].into_iter().flatten() {
            // (The last columns may be zero in all rows.)
            moments.merge(&Moments::new(targets + order.len()));
            *moments = moments.select(&ids)?;
        }
        if let Some(quartic) = &mut gathered.quartic {
            hc::check_columns(ids.len().max(quartic.columns()))?;
            quartic.merge(&QuarticMoments::new(ids.len())?);
            *quartic = quartic.select(&ids)?;
        }
        Ok(())
    }

    /// The layout of both, and the other's sums with their columns where they stand in it.
    fn fitted_to(&self, other: &Self) -> Result<(StateLayout, Self), Failure> {
        let (layout, places) = self.layout.union(&other.layout)?;
        // Where in the union, so: which of the other's columns stands at each place; behind them those it lacks.
        let mut order = vec![usize::MAX; layout.columns().len()];
        places.iter().enumerate().for_each(|(column, &place)| order[place] = column);
        let lacking = order.iter_mut().filter(|column| **column == usize::MAX);
        (places.len()..).zip(lacking).for_each(|(next, column)| *column = next);
        let mut moved = other.clone();
        moved.place(&order)?;
        Ok((layout, moved))
    }

    /// The state of both states' rows. The result does not depend on which comes first. It has sums for robust errors if both
    /// have them.
    ///
    /// # Errors
    /// By name: another formula, type of a column, reference level or column of weights.
    pub fn merge(&mut self, other: &Self) -> Result<(), Failure> {
        let (layout, other) = self.fitted_to(other)?;
        let (mine, theirs) = (&mut self.gathered, &other.gathered);
        mine.moments.merge(&theirs.moments);
        if let (Some(mine), Some(theirs)) = (&mut mine.unweighted, &theirs.unweighted) {
            mine.merge(theirs);
        }
        mine.quartic = mine.quartic.take().zip(theirs.quartic.as_ref()).map(|(mut mine, theirs)| {
            mine.merge(theirs);
            mine
        });
        mine.dropped += theirs.dropped;
        mine.largest_weight = mine.largest_weight.max(theirs.largest_weight);
        let order = layout.canonical_order();
        self.layout = layout.reordered(&order);
        self.place(&order)
    }

    /// Takes out the rows of another state. Levels without rows go, as if they had never been seen.
    ///
    /// # Errors
    /// As [`merge`](Self::merge); if the rows cannot have been in this state: more rows than it has, a level it does not
    /// have, or sums that no rows can have without them.
    pub fn remove(&mut self, other: &Self) -> Result<(), Failure> {
        let not_in = |why: String| {
            let hint = "remove only rows that are in the state: the same values in the same columns, each once";
            Failure::usage(format!("these rows are not all in the state: {why}"), hint)
        };
        let (layout, removed) = self.fitted_to(other)?;
        let (names, _) = layout.names()?;
        if let Some(unknown) = names.get(self.layout.columns().len()) {
            return Err(not_in(format!("it has none of `{unknown}`")));
        }
        let (mine, theirs) = (&mut self.gathered, &removed.gathered);
        let pairs =
            [Some((&mut mine.moments, &theirs.moments)), mine.unweighted.as_mut().zip(theirs.unweighted.as_ref())];
        let targets = self.targets.len();
        for (moments, theirs) in pairs.into_iter().flatten() {
            let had = moments.rows();
            moments.subtract(theirs).map_err(|_| not_in(format!("it has {had}, and {} are to go", theirs.rows())))?;
            if let Some(column) = moments.impossible_column() {
                let name = match column.checked_sub(1) {
                    None => "the constant".to_owned(),
                    Some(target) if target < targets => format!("`{}`", self.targets[target]),
                    Some(column) => format!("`{}`", names[column - targets]),
                };
                return Err(not_in(format!("without them no values of {name} have the sums that are left")));
            }
        }
        mine.quartic = match (mine.quartic.take(), &theirs.quartic) {
            (Some(mut quartic), Some(theirs)) => {
                quartic.subtract(theirs)?;
                if quartic.impossible_column().is_some() {
                    return Err(not_in(
                        "without them no values have the sums of four columns that are left".to_owned(),
                    ));
                }
                Some(quartic)
            }
            _ => None,
        };
        mine.dropped = mine.dropped.saturating_sub(theirs.dropped);
        let lives = |column: &usize| {
            let id = targets + column;
            !self.layout.is_discovered(*column) || !self.gathered.moments.is_zero_column(id)
        };
        let order: Vec<usize> = (0..self.layout.columns().len()).filter(lives).collect();
        self.layout = self.layout.reordered(&order);
        self.place(&order)
    }

    /// Writes the state.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let gathered = &self.gathered;
        let mut states = vec![(MOMENTS.to_owned(), gathered.moments.clone())];
        states.extend(gathered.unweighted.iter().map(|state| (UNWEIGHTED.to_owned(), state.clone())));
        let extra = json!({
            "layout": self.layout.to_json()?, "dropped_rows": gathered.dropped, "largest_weight": gathered.largest_weight,
        });
        output::write(path, &States { states, quartic: gathered.quartic.clone(), extra }.to_bytes()?)
    }

    /// Reads a state.
    ///
    /// # Errors
    /// If the file is missing or is not a whole state of this version.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let hint = "name a file written by `hat fit … --state-out FILE`";
        let bytes =
            read_file(path).map_err(|why| Failure::usage(format!("cannot read the state {name}: {why}"), hint))?;
        let unusable =
            |why: &dyn std::fmt::Display| Failure::usage(format!("{name} is not a usable state: {why}"), hint);
        let states = States::from_bytes(&bytes).map_err(|e| unusable(&e))?;
        Self::of(&states).map_err(|failure| unusable(&failure.message))
    }

    fn of(states: &States) -> Result<Self, Failure> {
        let broken = |what: &str| Failure::usage(format!("{what} does not fit the rest of it"), "");
        let layout = StateLayout::from_json(&states.extra["layout"])?;
        let (names, targets) = layout.names()?;
        let moments = states.get(MOMENTS).ok_or_else(|| broken("its list of states"))?.clone();
        let unweighted = states.get(UNWEIGHTED).cloned();
        let columns = names.len() + targets.len();
        let fits = |state: &Moments| state.columns() == columns;
        if !fits(&moments) || !unweighted.as_ref().is_none_or(fits) {
            return Err(broken("its table of sums"));
        }
        let quartic = states.quartic.clone();
        if quartic.as_ref().is_some_and(|quartic| quartic.columns() != columns || quartic.rows() != moments.rows()) {
            return Err(broken("its table of sums of four columns"));
        }
        if layout.canonical_order() != (0..names.len()).collect::<Vec<_>>() {
            return Err(broken("the order of its columns"));
        }
        let dropped = states.extra["dropped_rows"].as_u64().ok_or_else(|| broken("its number of dropped rows"))?;
        let largest_weight = states.extra.get("largest_weight").and_then(Value::as_f64).unwrap_or(0.0);
        Ok(Self { layout, targets, gathered: Gathered { moments, unweighted, quartic, dropped, largest_weight } })
    }
}
