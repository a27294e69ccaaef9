//! Record batches to encoded blocks.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::block::{EncodedBlock, Storage};
use super::evaluate::{evaluate, powers};
use super::factor::{CodesError, UNSEEN, codes};
use super::levels::{Level, LevelDictionary};
use super::numbers::Numbers;
use super::plan::{CompiledTerm, CompiledVariable, Input, Place, Plan, unknown_column};
use super::read::{ColumnKind, TooWide, Unreadable, mark_missing, numbers, wrong_type};
use super::{NaPolicy, Unseen};
use crate::error::{TableError, nearest};

/// Columns and their levels that the dictionary does not know.
type UnseenLevels = Vec<(String, String)>;

/// The level of every kept row, shared by the columns that indicate levels.
type SharedCodes = Arc<Vec<u32>>;

/// How levels that a dictionary does not know are met.
#[derive(Clone, Copy)]
pub(crate) enum Mode<'a> {
    /// They are discovered.
    Discover,
    /// They are errors or null rows; `emit` gives the coefficient of a state column.
    Frozen { unseen: Unseen, emit: &'a [Option<usize>] },
}

/// What to encode of a batch.
pub(crate) struct Encoder<'a> {
    pub plan: &'a Plan,
    pub dictionary: &'a LevelDictionary,
    pub mode: Mode<'a>,
    pub na: NaPolicy,
    pub targets: bool,
}

/// A batch on its way: the arrays of the inputs that are read, and the rows that are kept.
struct Reading<'a> {
    encoder: &'a Encoder<'a>,
    arrays: Vec<Option<ArrayRef>>,
    rows: usize,
    first_row: u64,
    keep: Option<Vec<u32>>,
}

impl Encoder<'_> {
    /// Whether an input is read at all.
    pub(crate) fn reads(&self, input: &Input) -> bool {
        let role = input.role;
        role.term || role.weight || role.extra || (role.target && self.targets)
    }

    pub(crate) fn encode(&self, batch: &RecordBatch, first_row: u64) -> Result<EncodedBlock, TableError> {
        let arrays = self.arrays(batch)?;
        let mut reading = Reading { encoder: self, arrays, rows: batch.num_rows(), first_row, keep: None };
        let missing = reading.drop_missing()?;
        let (factor_codes, unseen, unseen_levels) = reading.factor_codes()?;
        let inputs = reading.numeric_inputs()?;
        let rows = reading.kept_rows();
        let targets = if self.targets { reading.targets(&inputs)? } else { Vec::new() };
        let weights = reading.weights(&inputs)?;
        let values = reading.variables(&inputs)?;
        let columns = Columns { encoder: self, values: &values, factor_codes: &factor_codes, rows };
        let mut columns = reading.checked(columns.all()?)?;
        columns.sort_by_key(|(id, _)| *id);
        let extras = reading.extras()?;
        let Reading { keep, .. } = reading;
        Ok(EncodedBlock {
            input_rows: batch.num_rows(),
            first_row,
            kept: keep,
            missing,
            unseen,
            unseen_levels,
            columns,
            targets,
            weights,
            extras,
        })
    }

    /// The arrays of the inputs by name, with their types checked.
    fn arrays(&self, batch: &RecordBatch) -> Result<Vec<Option<ArrayRef>>, TableError> {
        let schema = batch.schema_ref();
        let array = |input: &Input| {
            if !self.reads(input) {
                return Ok(None);
            }
            let Some((at, field)) = schema.column_with_name(&input.name) else {
                return Err(unknown_column(&input.name, schema.fields().iter().map(|field| field.name().as_str())));
            };
            // An extra column is handed on as it is, so any type will do; a column of nulls fits every kind.
            let used = input.role.term || input.role.weight || input.role.target;
            let fits = || ColumnKind::of(field.data_type()).is_some_and(|kind| input.kind.takes(kind));
            if used && field.data_type() != &DataType::Null && !fits() {
                return Err(wrong_type(&input.name, input.kind.name(), field.data_type()));
            }
            Ok(Some(Arc::clone(batch.column(at))))
        };
        self.plan.inputs.iter().map(array).collect()
    }
}

impl Reading<'_> {
    fn kept_rows(&self) -> usize {
        self.keep.as_ref().map_or(self.rows, Vec::len)
    }

    fn keep(&self) -> Option<&[u32]> {
        self.keep.as_deref()
    }

    /// The number in the data, from 1, of a kept row.
    fn row_number(&self, position: usize) -> u64 {
        let row = self.keep.as_ref().map_or(position, |keep| keep[position] as usize);
        self.first_row + row as u64 + 1
    }

    /// Finds the rows without missing values, and counts the missing ones of every column.
    fn drop_missing(&mut self) -> Result<Vec<(String, usize)>, TableError> {
        let inputs = &self.encoder.plan.inputs;
        let mut valid: Option<Vec<bool>> = None;
        let mut counts = Vec::new();
        for (input, array) in inputs.iter().zip(&self.arrays) {
            let Some(array) = array else { continue };
            let missing = mark_missing(array, &mut valid);
            if missing > 0 {
                counts.push((input.name.clone(), missing));
            }
        }
        let Some(valid) = valid else { return Ok(counts) };
        if self.encoder.na == NaPolicy::Fail {
            return Err(self.first_missing(&valid));
        }
        self.keep = Some((0..self.rows as u32).filter(|&row| valid[row as usize]).collect());
        Ok(counts)
    }

    /// The error for the first row that is not valid: its first missing column.
    fn first_missing(&self, valid: &[bool]) -> TableError {
        let row = valid.iter().position(|valid| !valid).unwrap_or(0);
        let inputs = self.encoder.plan.inputs.iter().zip(&self.arrays);
        let column = inputs.filter_map(|(input, array)| {
            let one_row = array.as_ref()?.slice(row, 1);
            (mark_missing(&one_row, &mut None) > 0).then(|| input.name.clone())
        });
        TableError::MissingValue {
            row: self.first_row + row as u64 + 1,
            column: column.into_iter().next().unwrap_or_default(),
        }
    }

    /// The level codes of every factor in every kept row; rows of unseen levels are dropped where that is asked for,
    /// and counted, and the levels named.
    fn factor_codes(&mut self) -> Result<(Vec<SharedCodes>, usize, UnseenLevels), TableError> {
        let factors = self.encoder.plan.factors.len();
        let mut names = UnseenLevels::new();
        let mut all = (0..factors).map(|factor| self.codes_of(factor, &mut names)).collect::<Result<Vec<_>, _>>()?;
        let rows = self.kept_rows();
        let unseen = |row: &usize| all.iter().any(|codes| codes[*row] == UNSEEN);
        let null_rows_possible = matches!(self.encoder.mode, Mode::Frozen { unseen: Unseen::Null, .. });
        if !null_rows_possible || !(0..rows).any(|row| unseen(&row)) {
            return Ok((all.into_iter().map(Arc::new).collect(), 0, names));
        }
        let seen: Vec<usize> = (0..rows).filter(|row| !unseen(row)).collect();
        self.keep = Some(seen.iter().map(|&row| self.keep.as_ref().map_or(row as u32, |keep| keep[row])).collect());
        all.iter_mut().for_each(|codes| *codes = seen.iter().map(|&row| codes[row]).collect());
        Ok((all.into_iter().map(Arc::new).collect(), rows - seen.len(), names))
    }

    fn codes_of(&self, factor: usize, names: &mut UnseenLevels) -> Result<Vec<u32>, TableError> {
        let Encoder { plan, dictionary, mode, .. } = self.encoder;
        let input = plan.factors[factor].input;
        let name = &plan.inputs[input].name;
        let Some(array) = &self.arrays[input] else { return Ok(Vec::new()) };
        let mut lookup = |level: &Level| match mode {
            Mode::Discover => dictionary.discover_level(factor, level).map_err(Some),
            Mode::Frozen { unseen, .. } => match (dictionary.read(|inner| inner.code(factor, level)), unseen) {
                (Some(code), _) => Ok(code),
                (None, Unseen::Null) => {
                    names.push((name.clone(), level.to_string()));
                    Ok(UNSEEN)
                }
                (None, Unseen::Error) => Err(None),
            },
        };
        codes(array, self.keep(), &mut lookup).map_err(|error| match error {
            CodesError::Type => wrong_type(name, "a factor", array.data_type()),
            CodesError::NotFinite { position, value } => TableError::NonFinite {
                row: self.row_number(position),
                expression: name.clone(),
                value: value.to_string(),
            },
            CodesError::Level { error: Some(error), .. } => error,
            CodesError::Level { position, level, error: None } => {
                let names: Vec<String> =
                    dictionary.read(|inner| inner.levels(factor).iter().map(Level::to_string).collect());
                let level = level.to_string();
                TableError::UnseenLevel {
                    row: self.row_number(position),
                    column: name.clone(),
                    known: names.len(),
                    nearest: nearest(&level, names.iter().map(String::as_str)),
                    level,
                }
            }
        })
    }

    /// The numbers of every input that an expression needs.
    fn numeric_inputs(&self) -> Result<Vec<Option<Numbers>>, TableError> {
        let inputs = self.encoder.plan.inputs.iter().zip(&self.arrays);
        let read = inputs.map(|(input, array)| match array {
            Some(array) if input.numeric => {
                let read = numbers(array, self.keep()).map_err(|error| match error {
                    Unreadable::Type => wrong_type(&input.name, "a number", array.data_type()),
                    Unreadable::TooWide(TooWide { position, value }) => {
                        TableError::NumberTooWide { row: self.row_number(position), column: input.name.clone(), value }
                    }
                })?;
                self.finite(&read, &input.name)?;
                Ok(Some(read))
            }
            _ => Ok(None),
        });
        read.collect()
    }

    fn finite(&self, numbers: &Numbers, expression: &str) -> Result<(), TableError> {
        match numbers.first_not_finite() {
            None => Ok(()),
            Some((position, value)) => Err(TableError::NonFinite {
                row: self.row_number(position),
                expression: expression.to_owned(),
                value: value.to_string(),
            }),
        }
    }

    fn targets(&self, inputs: &[Option<Numbers>]) -> Result<Vec<Numbers>, TableError> {
        let plan = self.encoder.plan;
        let targets = plan.targets.iter().zip(&plan.terms.targets).map(|(node, target)| {
            let values = evaluate(node, inputs, self.kept_rows());
            self.finite(&values, target.label()).map(|()| values)
        });
        targets.collect()
    }

    fn weights(&self, inputs: &[Option<Numbers>]) -> Result<Option<arrow::buffer::ScalarBuffer<f64>>, TableError> {
        let Some(input) = self.encoder.plan.weights else { return Ok(None) };
        let Some(weights) = &inputs[input] else { return Ok(None) };
        match weights.hi.iter().position(|&weight| weight < 0.0) {
            None => Ok(Some(weights.hi.clone())),
            Some(position) => Err(TableError::NegativeWeight {
                row: self.row_number(position),
                column: self.encoder.plan.inputs[input].name.clone(),
                value: weights.hi[position],
            }),
        }
    }

    /// The columns of every numeric variable: one, or the powers of a polynomial. Factors have none.
    fn variables(&self, inputs: &[Option<Numbers>]) -> Result<Vec<Vec<Numbers>>, TableError> {
        let plan = self.encoder.plan;
        let columns = plan.variables.iter().zip(&plan.terms.variables).map(|(variable, named)| {
            let columns = match variable {
                CompiledVariable::Factor(_) => Vec::new(),
                CompiledVariable::Numeric(node) => vec![evaluate(node, inputs, self.kept_rows())],
                CompiledVariable::Polynomial { of, degree, .. } => {
                    powers(&evaluate(of, inputs, self.kept_rows()), *degree)
                }
            };
            columns.iter().try_for_each(|column| self.finite(column, named.label()))?;
            Ok(columns)
        });
        columns.collect()
    }

    /// Products may overflow where their factors do not.
    fn checked(&self, columns: Vec<(usize, usize, Storage)>) -> Result<Vec<(usize, Storage)>, TableError> {
        let plan = self.encoder.plan;
        let mut last_checked: Option<*const f64> = None;
        for (_, term, storage) in &columns {
            let (Storage::Numeric(values) | Storage::Within { values, .. }) = storage else { continue };
            // The levels of a term share one column of numbers.
            if plan.compiled[*term].numeric.len() > 1 && last_checked != Some(values.hi.as_ptr()) {
                self.finite(values, &plan.compiled[*term].label)?;
                last_checked = Some(values.hi.as_ptr());
            }
        }
        Ok(columns.into_iter().map(|(id, _, storage)| (id, storage)).collect())
    }

    fn extras(&self) -> Result<Vec<ArrayRef>, TableError> {
        let rows = self.keep.clone().map(UInt32Array::from);
        let extras = self.encoder.plan.extras.iter().filter_map(|&input| self.arrays[input].as_ref());
        let kept = extras.map(|array| match &rows {
            None => Ok(Arc::clone(array)),
            Some(rows) => take(array, rows, None)
                .map_err(|error| TableError::Arrow { operation: "selecting rows".into(), message: error.to_string() }),
        });
        kept.collect()
    }
}

/// The terms' columns from the values of their variables.
struct Columns<'a> {
    encoder: &'a Encoder<'a>,
    /// Columns of every variable.
    values: &'a [Vec<Numbers>],
    factor_codes: &'a [SharedCodes],
    rows: usize,
}

/// The combinations of levels that occur in a block: codes local to the block, and what each stands for.
struct LocalGroup {
    codes: SharedCodes,
    /// The local code and the first state column of every combination that occurs.
    present: Vec<(u32, Option<usize>)>,
}

impl Columns<'_> {
    /// Every column with its identity and its term.
    fn all(&self) -> Result<Vec<(usize, usize, Storage)>, TableError> {
        let plan = self.encoder.plan;
        let groups = (0..plan.groups.len()).map(|group| self.local_group(group)).collect::<Result<Vec<_>, _>>()?;
        let mut columns = Vec::new();
        for (position, term) in plan.compiled.iter().enumerate() {
            let products = self.products(term);
            match term.place {
                Place::Fixed { first_column } => {
                    for (multiplier, values) in products.into_iter().enumerate() {
                        if let Some(id) = self.identity(first_column + multiplier) {
                            columns.push((id, position, Storage::Numeric(values)));
                        }
                    }
                }
                Place::Grouped { group, offset } => {
                    let LocalGroup { codes, present } = &groups[group];
                    for (code, first) in present.iter().filter_map(|&(code, first)| Some((code, first? + offset))) {
                        let codes = || Arc::clone(codes);
                        if products.is_empty() {
                            let id = self.identity(first);
                            columns.extend(id.map(|id| (id, position, Storage::Indicator { codes: codes(), code })));
                        }
                        for (multiplier, values) in products.iter().enumerate() {
                            let within = || Storage::Within { codes: codes(), code, values: values.clone() };
                            columns.extend(self.identity(first + multiplier).map(|id| (id, position, within())));
                        }
                    }
                }
            }
        }
        Ok(columns)
    }

    /// The identity a state column has in the block; `None` where the block leaves it out.
    fn identity(&self, state_column: usize) -> Option<usize> {
        match self.encoder.mode {
            Mode::Discover => Some(state_column),
            Mode::Frozen { emit, .. } => emit.get(state_column).copied().flatten(),
        }
    }

    /// The products of a term's numeric variables, the first variable's columns running fastest. Empty without any.
    fn products(&self, term: &CompiledTerm) -> Vec<Numbers> {
        let mut products: Vec<Numbers> = Vec::new();
        for (i, &variable) in term.numeric.iter().enumerate() {
            let columns = &self.values[variable];
            products = if i == 0 {
                columns.clone()
            } else {
                columns.iter().flat_map(|column| products.iter().map(|product| product.multiply(column))).collect()
            };
        }
        products
    }

    /// The combinations of a group that occur in the block.
    fn local_group(&self, group: usize) -> Result<LocalGroup, TableError> {
        let factors = &self.encoder.plan.groups[group].factors;
        let (codes, mut combinations) = match factors.as_slice() {
            [factor] => {
                let codes = Arc::clone(&self.factor_codes[*factor]);
                let present = present_codes(&codes);
                (codes, present.into_iter().map(|code| (code, vec![code])).collect::<Vec<_>>())
            }
            several => {
                let parts: Vec<&[u32]> = several.iter().map(|&factor| self.factor_codes[factor].as_slice()).collect();
                let (codes, combinations) = combine(&parts, self.rows);
                (Arc::new(codes), (0..).zip(combinations).collect())
            }
        };
        let present = combinations.drain(..).map(|(code, levels)| {
            let first = match self.encoder.mode {
                Mode::Discover => Some(self.encoder.dictionary.discover_combination(group, &levels)?),
                Mode::Frozen { .. } => self.encoder.dictionary.known_combination(group, &levels),
            };
            Ok((code, first))
        });
        Ok(LocalGroup { present: present.collect::<Result<_, TableError>>()?, codes })
    }
}

/// The distinct codes of a column, ascending.
fn present_codes(codes: &[u32]) -> Vec<u32> {
    let Some(&largest) = codes.iter().max() else { return Vec::new() };
    let mut seen = vec![false; largest as usize + 1];
    codes.iter().for_each(|&code| seen[code as usize] = true);
    (0..=largest).filter(|&code| seen[code as usize]).collect()
}

/// One code a row for the combination of several columns of codes, in the order of appearance, and the combinations.
fn combine(parts: &[&[u32]], rows: usize) -> (Vec<u32>, Vec<Vec<u32>>) {
    const TABLE_LIMIT: usize = 1 << 20;
    const NONE: u32 = u32::MAX;
    let mut combined: Vec<u32> = parts[0].to_vec();
    let mut combinations: Vec<Vec<u32>> = Vec::new();
    // Codes so far are dense enough for a table: levels of a factor, then combinations in order of appearance.
    let mut known: Vec<Vec<u32>> = (0..=parts[0].iter().copied().max().unwrap_or(0)).map(|code| vec![code]).collect();
    for part in &parts[1..] {
        let width = part.iter().copied().max().map_or(1, |code| code as usize + 1);
        let mut table = vec![NONE; if known.len() * width <= TABLE_LIMIT { known.len() * width } else { 0 }];
        let mut sparse: HashMap<usize, u32> = HashMap::new();
        combinations = Vec::new();
        for row in 0..rows {
            let key = combined[row] as usize * width + part[row] as usize;
            let slot = if table.is_empty() { sparse.entry(key).or_insert(NONE) } else { &mut table[key] };
            if *slot == NONE {
                *slot = combinations.len() as u32;
                combinations.push([known[combined[row] as usize].as_slice(), &[part[row]]].concat());
            }
            combined[row] = *slot;
        }
        known = combinations.clone();
    }
    (combined, combinations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_numbered_as_they_appear() {
        let (codes, combinations) = combine(&[&[1, 0, 1, 1], &[0, 0, 2, 0], &[5, 5, 5, 5]], 4);
        assert_eq!(codes, [0, 1, 2, 0]);
        assert_eq!(combinations, [[1, 0, 5], [0, 0, 5], [1, 2, 5]]);
        assert_eq!(combine(&[&[], &[]], 0), (Vec::new(), Vec::new()));
    }

    #[test]
    fn only_codes_that_occur_are_present() {
        assert_eq!(present_codes(&[4, 1, 4]), [1, 4]);
        assert!(present_codes(&[]).is_empty());
    }
}
