//! States with the table's design beside them: gathered from rows, as bytes, joined and parted.
//!
//! ```text
//! batches ──Gathered::push──▶ Gathered ──TableState::new──▶ TableState ◀──▶ bytes
//! ```
//!
//! The same rows give the same bytes, in whatever order and pieces they came, on whatever machine.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use hattention::codec::States;
use hattention::quartic::MOST_COLUMNS;
use hattention::{Moments, QuarticMoments};
use serde_json::{Value, json};

use crate::design::{ColumnKind, Design, DesignSpec, NaPolicy, StateLayout};
use crate::error::TableError;
use crate::formula::Formula;

/// What a pass over rows finds: everything a fit needs.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// Products of targets (columns `0 .. targets`) and state columns (after them).
    pub moments: Moments,
    /// The same without weights, where orthogonal polynomials need them.
    pub unweighted: Option<Moments>,
    /// Sums of products of four columns, which HC0 and HC1 need, if they are kept.
    pub quartic: Option<QuarticMoments>,
    /// Rows left out.
    pub dropped: u64,
    /// The largest weight.
    pub largest_weight: f64,
}

impl Gathered {
    /// No rows yet, for a design; with `hc` sums of products of four columns are kept too.
    ///
    /// # Errors
    /// [`TableError::TooManyForHc`].
    pub fn new(design: &Design, hc: bool) -> Result<Self, TableError> {
        let targets = design.terms().targets.len();
        let also_unweighted = design.spec().weights.is_some() && design.has_orthogonal_polynomials();
        if hc {
            expect_few(targets)?;
        }
        Ok(Self {
            moments: Moments::new(targets),
            unweighted: also_unweighted.then(|| Moments::new(targets)),
            quartic: hc.then(|| QuarticMoments::new(targets)).transpose()?,
            dropped: 0,
            largest_weight: 0.0,
        })
    }

    /// Adds the rows of a batch whose first is row `first_row`, counted from 0, of the data.
    ///
    /// # Errors
    /// Those of [`Design::encode`]; [`TableError::TooManyForHc`].
    pub fn push(
        &mut self,
        design: &Design,
        batch: &RecordBatch,
        first_row: u64,
        na: NaPolicy,
    ) -> Result<(), TableError> {
        let targets = design.terms().targets.len();
        let encoded = design.encode(batch, first_row, na)?;
        self.dropped += encoded.dropped() as u64;
        let (mut ids, mut block) = encoded.block();
        ids.iter_mut().for_each(|id| *id += targets);
        ids.extend(0..targets);
        self.moments.push_at(&block, &ids)?;
        if let Some(quartic) = &mut self.quartic {
            expect_few(ids.iter().max().map_or(0, |last| last + 1))?;
            quartic.push_at(&block, &ids)?;
        }
        if let Some(weights) = block.weights.take() {
            self.largest_weight = weights.iter().copied().fold(self.largest_weight, f64::max);
            if let Some(unweighted) = &mut self.unweighted {
                unweighted.push_at(&block, &ids)?;
            }
        }
        Ok(())
    }

    /// Adds the rows of another pass over the same design. The result does not depend on the order. It has sums for HC0 and
    /// HC1 if both have them.
    pub fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        if let (Some(mine), Some(theirs)) = (&mut self.unweighted, &other.unweighted) {
            mine.merge(theirs);
        }
        self.quartic = self.quartic.take().zip(other.quartic.as_ref()).map(|(mut mine, theirs)| {
            mine.merge(theirs);
            mine
        });
        self.dropped += other.dropped;
        self.largest_weight = self.largest_weight.max(other.largest_weight);
    }
}

fn expect_few(columns: usize) -> Result<(), TableError> {
    if columns <= MOST_COLUMNS {
        return Ok(());
    }
    Err(TableError::TooManyForHc { got: columns, limit: MOST_COLUMNS })
}

/// The sums of rows as the fit weighs them.
const MOMENTS: &str = "moments";
/// The same without weights, where orthogonal polynomials need them.
const UNWEIGHTED: &str = "unweighted";

/// All that a fit needs to know of its rows.
#[derive(Clone, Debug)]
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
    pub fn new(layout: &StateLayout, gathered: Gathered) -> Result<Self, TableError> {
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
    pub fn formula(&self) -> Result<Formula, TableError> {
        Formula::parse(&self.spec().formula)
    }

    /// Columns that were text: levels such as `7` must not be read as numbers.
    pub fn labels(&self) -> Vec<String> {
        let columns = self.spec().columns.iter();
        columns.filter(|(_, kind)| *kind == ColumnKind::Text).map(|(name, _)| name.clone()).collect()
    }

    /// Brings the columns of the sums, behind the targets, into this order.
    fn place(&mut self, order: &[usize]) -> Result<(), TableError> {
        let targets = self.targets.len();
        let ids: Vec<usize> = (0..targets).chain(order.iter().map(|id| targets + id)).collect();
        let gathered = &mut self.gathered;
        for moments in [Some(&mut gathered.moments), gathered.unweighted.as_mut()].into_iter().flatten() {
            // (The last columns may be zero in all rows.)
            moments.merge(&Moments::new(targets + order.len()));
            *moments = moments.select(&ids)?;
        }
        if let Some(quartic) = &mut gathered.quartic {
            expect_few(ids.len().max(quartic.columns()))?;
            quartic.merge(&QuarticMoments::new(ids.len())?);
            *quartic = quartic.select(&ids)?;
        }
        Ok(())
    }

    /// The layout of both, and the other's sums with their columns where they stand in it.
    fn fitted_to(&self, other: &Self) -> Result<(StateLayout, Self), TableError> {
        let (layout, places) = self.layout.union(&other.layout)?;
        // Where in the union, so: which of the other's columns stands at each place; behind them those it lacks.
        let mut order = vec![usize::MAX; layout.columns().len()];
        places.iter().enumerate().for_each(|(column, &place)| order[place] = column);
        let lacking = order.iter_mut().filter(|column| **column == usize::MAX);
        (places.len()..).zip(lacking).for_each(|(next, column)| *column = next);
        let mut moved = other.clone();
        if self.gathered.quartic.is_none() {
            // Sums that will be left out must not refuse columns beyond their limit.
            moved.gathered.quartic = None;
        }
        moved.place(&order)?;
        Ok((layout, moved))
    }

    /// The other state, which has no rows, with the columns of this one: where there are no values, types are unknown.
    fn without_rows(&self, other: &Self) -> Result<Self, TableError> {
        let (theirs, columns) = (&other.gathered, self.gathered.moments.columns());
        let gathered = Gathered {
            moments: Moments::new(columns),
            unweighted: theirs.unweighted.is_some().then(|| Moments::new(columns)),
            quartic: theirs.quartic.is_some().then(|| QuarticMoments::new(columns)).transpose()?,
            ..theirs.clone()
        };
        Ok(Self { layout: self.layout.clone(), targets: self.targets.clone(), gathered })
    }

    /// The state of both states' rows. The result does not depend on which comes first. It has sums for robust errors if both
    /// have them.
    ///
    /// # Errors
    /// By name: another formula, type of a column, reference level or column of weights; [`TableError::TooManyForHc`].
    pub fn merge(&mut self, other: &Self) -> Result<(), TableError> {
        if self.layout.differs_in_types(&other.layout) {
            if other.gathered.moments.rows() == 0 {
                return self.merge(&self.without_rows(other)?);
            } else if self.gathered.moments.rows() == 0 {
                *self = other.without_rows(self)?;
            }
        }
        let (layout, other) = self.fitted_to(other)?;
        self.gathered.merge(&other.gathered);
        let order = layout.canonical_order();
        self.layout = layout.reordered(&order);
        self.place(&order)
    }

    /// Takes out the rows of another state. Levels without rows go, as if they had never been seen, and so do those of
    /// which all columns are zero in the rows that are left. The largest weight stays: it is a bound.
    ///
    /// # Errors
    /// As [`merge`](Self::merge); if the rows cannot have been in this state: more rows than it has, a level it does not
    /// have, or sums that no rows can have without them.
    pub fn remove(&mut self, other: &Self) -> Result<(), TableError> {
        let not_in = |why: String| TableError::NotInState { why };
        let (layout, removed) = self.fitted_to(other)?;
        let (names, _) = layout.names()?;
        let known = self.layout.columns().len();
        let of_removed = &removed.gathered.moments;
        let mut unknown = (known..names.len()).filter(|column| !of_removed.is_zero_column(self.targets.len() + column));
        if let Some(unknown) = unknown.next() {
            return Err(not_in(format!("it has none of `{}`", names[unknown])));
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
        let combinations = self.layout.combinations()?;
        let live: HashSet<usize> = (0..known)
            .filter(|column| !self.gathered.moments.is_zero_column(targets + column))
            .filter_map(|column| combinations[column])
            .collect();
        let lives = |column: &usize| combinations[*column].is_none_or(|combination| live.contains(&combination));
        let order: Vec<usize> = (0..known).filter(lives).collect();
        self.layout = self.layout.reordered(&order);
        self.place(&order)
    }

    /// The state as a file of safetensors.
    ///
    /// # Errors
    /// If a level is not finite, which no scan makes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TableError> {
        let gathered = &self.gathered;
        let mut states = vec![(MOMENTS.to_owned(), gathered.moments.clone())];
        states.extend(gathered.unweighted.iter().map(|state| (UNWEIGHTED.to_owned(), state.clone())));
        let extra = json!({
            "layout": self.layout.to_json()?, "dropped_rows": gathered.dropped, "largest_weight": gathered.largest_weight,
        });
        Ok(States { states, quartic: gathered.quartic.clone(), extra }.to_bytes()?)
    }

    /// Reads a state.
    ///
    /// # Errors
    /// If it is not a whole state of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TableError> {
        Self::of(&States::from_bytes(bytes)?)
    }

    fn of(states: &States) -> Result<Self, TableError> {
        let broken = |what: &str| TableError::StoredState { what: what.into() };
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
