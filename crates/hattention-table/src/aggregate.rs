//! `hat_moments`: the state of a regression as an aggregate function of DataFusion.
//!
//! ```sql
//! SELECT hat_moments(y, x1, x2) FROM t                              -- y ~ x1 + x2
//! SELECT g, hat_moments('log(y) ~ poly(x, 2) * h', y, x, h) FROM t GROUP BY g
//! ```
//!
//! The result is the state as bytes: what `hat fit --state-out` writes, so `hat merge` reads it from a file, and
//! [`TableState::from_bytes`] in a program. A first argument of text is the formula; without it the first column is the
//! target and the others are the terms. Columns are called as the query calls them: `AS` is not seen inside a call, so name
//! computed ones in a subquery.
//!
//! The state is exact: partial states merge to the same bytes in whatever order and number, on one machine or many.
//!
//! # Equals
//! In R, `lm` of the same formula; the sums are those of `crossprod(cbind(y, X))`.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;
use hattention::QuarticMoments;
use serde::{Deserialize, Serialize};

use crate::design::{DEFAULT_COLUMN_LIMIT, Design, DesignOptions, DesignSpec, NaPolicy};
use crate::error::TableError;
use crate::formula::Formula;
use crate::source::{conform, leaving_schema, text_type};
use crate::state::{Gathered, TableState};

/// The function's name.
pub const NAME: &str = "hat_moments";

/// The aggregate function, to be registered with a session:
///
/// ```
/// use datafusion::prelude::SessionContext;
///
/// let session = SessionContext::new();
/// session.register_udaf(hattention_table::aggregate::hat_moments());
/// ```
pub fn hat_moments() -> AggregateUDF {
    AggregateUDF::new_from_impl(HatMoments { signature: Signature::user_defined(Volatility::Immutable) })
}

/// What a program asks of the function beyond a formula: its first argument, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The version of this crate that wrote the order. Another one refuses it: its states might differ.
    pub version: String,
    /// The design.
    pub design: DesignSpec,
    /// Whether a missing value is an error.
    pub fail_on_missing: bool,
    /// What the columns behind the order are called.
    pub columns: Vec<String>,
    /// Whether sums for HC0 and HC1 are kept.
    pub with_hc: bool,
    /// Whether a last column says, by [`place`], where the rows of a batch begin.
    pub placed: bool,
}

impl Order {
    /// An order for rows of a design.
    pub fn new(design: &Design, na: NaPolicy, with_hc: bool, placed: bool) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            design: design.spec().clone(),
            fail_on_missing: na == NaPolicy::Fail,
            columns: design.input_columns().into_iter().map(str::to_owned).collect(),
            with_hc,
            placed,
        }
    }

    /// The order as an argument.
    ///
    /// # Errors
    /// If it cannot be written as JSON, which an order of a design can.
    pub fn to_text(&self) -> Result<String, TableError> {
        serde_json::to_string(self)
            .map_err(|error| TableError::Arrow { operation: "writing an order".into(), message: error.to_string() })
    }
}

/// Where a batch begins: a file, and the number of a row within it, from 0.
pub fn place(file: &str, row: u64) -> String {
    format!("{row}\t{file}")
}

/// Why the function refuses. Its text can be found again in a message that went through many hands.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// The way out; empty if there is none to name.
    pub hint: String,
}

impl Refusal {
    /// The refusal that a message holds.
    pub fn within(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("hat_moments: ‹")?;
        let (message, rest) = rest.split_once('›')?;
        let hint = rest.strip_prefix(" hint: ‹").and_then(|rest| rest.split_once('›')).map_or("", |(hint, _)| hint);
        let plain = |text: &str| text.replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\");
        Some(Self { message: plain(message), hint: plain(hint) })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |text: &str| text.replace('‹', "<").replace('›', ">");
        write!(f, "hat_moments: ‹{}› hint: ‹{}›", plain(&self.message), plain(&self.hint))
    }
}

// As it is shown: engines print either.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Refusal {}

impl From<TableError> for Refusal {
    fn from(error: TableError) -> Self {
        Self { message: error.to_string(), hint: error.hint().unwrap_or_default() }
    }
}

fn refused(refusal: impl Into<Refusal>) -> DataFusionError {
    DataFusionError::External(Box::new(refusal.into()))
}

fn usage(message: impl Into<String>, hint: &str) -> DataFusionError {
    refused(Refusal { message: message.into(), hint: hint.into() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct HatMoments {
    signature: Signature,
}

impl AggregateUDFImpl for HatMoments {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> EngineResult<Vec<DataType>> {
        if given.is_empty() {
            return Err(usage("no columns, expected a target", "for example hat_moments(y, x1, x2)"));
        }
        Ok(given.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::LargeBinary)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> EngineResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "state"), DataType::LargeBinary, false))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> EngineResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(usage(
                "DISTINCT changes the rows of a regression",
                "leave it out, or SELECT DISTINCT in a subquery",
            ));
        }
        Ok(Box::new(Gathering::new(&args)?))
    }
}

/// The state of some rows.
struct Gathering {
    design: Design,
    na: NaPolicy,
    /// The columns as they leave a source.
    schema: SchemaRef,
    /// Arguments before the columns.
    skipped: usize,
    placed: bool,
    gathered: Gathered,
    /// States that came as bytes.
    merged: Option<TableState>,
}

impl fmt::Debug for Gathering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gathering").field("formula", &self.design.spec().formula).finish_non_exhaustive()
    }
}

/// The first argument, if it is text.
enum First {
    Order(Box<Order>),
    Formula(Formula),
    Column,
}

impl First {
    fn of(args: &AccumulatorArgs<'_>) -> EngineResult<Self> {
        let literal = args.exprs.first().and_then(|first| (first.as_ref() as &dyn Any).downcast_ref::<Literal>());
        let text = match literal.map(Literal::value) {
            Some(
                ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)),
            ) => text,
            _ => return Ok(Self::Column),
        };
        if text.starts_with('{') {
            let order: Order = serde_json::from_str(text)
                .map_err(|error| usage(format!("an order that this version does not read: {error}"), ONE_VERSION))?;
            let mine = env!("CARGO_PKG_VERSION");
            if order.version != mine {
                return Err(usage(format!("an order of version {}, and this is {mine}", order.version), ONE_VERSION));
            }
            return Ok(Self::Order(Box::new(order)));
        }
        let formula = Formula::parse(text).map_err(refused)?;
        if !formula.effects().is_empty() {
            let hint = "write the effects as factors, `C(g)`, or use hat fit, which takes them out";
            return Err(usage(
                "the formula has absorbed effects, and a state does not hold sums within their levels",
                hint,
            ));
        }
        Ok(Self::Formula(formula))
    }
}

const ONE_VERSION: &str = "run the same version of hat on all machines";

impl Gathering {
    fn new(args: &AccumulatorArgs<'_>) -> EngineResult<Self> {
        let first = First::of(args)?;
        let skipped = usize::from(!matches!(first, First::Column));
        let placed = matches!(&first, First::Order(order) if order.placed);
        let with_hc = matches!(&first, First::Order(order) if order.with_hc);
        let is_place = |field: &FieldRef| field.data_type() == &text_type();
        if placed && !args.expr_fields.last().is_some_and(is_place) {
            return Err(usage("an order with places, and the last column does not hold them", ONE_VERSION));
        }
        let fields = args.expr_fields.get(skipped..args.expr_fields.len() - usize::from(placed)).unwrap_or_default();
        let names: Vec<String> = match &first {
            First::Order(order) => order.columns.clone(),
            _ => fields.iter().map(|field| field.name().clone()).collect(),
        };
        if names.len() != fields.len() {
            return Err(usage(format!("{} columns for {} names", fields.len(), names.len()), ONE_VERSION));
        }
        let named = names.iter().zip(fields).map(|(name, field)| Field::new(name, field.data_type().clone(), true));
        let schema = leaving_schema(&Schema::new(named.collect::<Vec<_>>()));
        let (design, na) = match first {
            First::Order(order) => {
                let na = if order.fail_on_missing { NaPolicy::Fail } else { NaPolicy::Drop };
                (Design::of_spec(&order.design, &schema, DEFAULT_COLUMN_LIMIT), na)
            }
            First::Formula(formula) => (Design::compile(&formula, &schema, &DesignOptions::default()), NaPolicy::Drop),
            First::Column => {
                let formula = plain_formula(&names).map_err(refused)?;
                (Design::compile(&formula, &schema, &DesignOptions::default()), NaPolicy::Drop)
            }
        };
        let design = design.map_err(refused)?;
        let gathered = Gathered::new(&design, with_hc).map_err(refused)?;
        Ok(Self { design, na, schema, skipped, placed, gathered, merged: None })
    }

    /// All rows so far.
    fn all(&mut self) -> EngineResult<TableState> {
        let mut state = TableState::new(&self.design.layout(), self.gathered.clone()).map_err(refused)?;
        if let Some(merged) = &self.merged {
            state.merge(merged).map_err(refused)?;
        }
        Ok(state)
    }

    fn push(&mut self, batch: &RecordBatch, place: Option<&str>) -> EngineResult<()> {
        let (row, file) = place.and_then(|place| place.split_once('\t')).unwrap_or(("0", ""));
        let pushed = self.gathered.push(&self.design, batch, row.parse().unwrap_or(0), self.na);
        pushed.map_err(|error| {
            let row = error.row();
            let mut refusal = Refusal::from(error);
            if let (Some(row), Some(what)) = (row, refusal.message.split_once(": ").map(|(_, what)| what)) {
                // Without a place the number says nothing: the engine deals the rows out.
                let place = if file.is_empty() { String::new() } else { format!("row {row} of {file}: ") };
                refusal.message = format!("{place}{what}");
            }
            refused(refusal)
        })
    }
}

/// `y ~ a + b` for these names.
fn plain_formula(names: &[String]) -> Result<Formula, TableError> {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let terms = if quoted.len() > 1 { quoted[1..].join(" + ") } else { "1".to_owned() };
    Formula::parse(&format!("{} ~ {terms}", quoted[0]))
}

impl Accumulator for Gathering {
    fn update_batch(&mut self, values: &[ArrayRef]) -> EngineResult<()> {
        let rows = values.first().map_or(0, |first| first.len());
        let columns = &values[self.skipped..values.len() - usize::from(self.placed)];
        let named = columns.iter().zip(self.schema.fields());
        let given: Vec<Field> =
            named.map(|(column, field)| Field::new(field.name(), column.data_type().clone(), true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(given)), columns.to_vec(), &options)?;
        let batch = conform(&batch, &self.schema).map_err(|message| usage(message, "CAST the column in the query"))?;
        if !self.placed {
            return self.push(&batch, None);
        }
        let places = values[values.len() - 1].as_dictionary::<Int32Type>();
        let (keys, texts) = (places.keys(), places.values().as_string::<i32>());
        let mut start = 0;
        while start < rows {
            let key = keys.value(start);
            let length = keys.values()[start..].iter().take_while(|&&other| other == key).count();
            self.push(&batch.slice(start, length), Some(texts.value(key as usize)))?;
            start += length;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> EngineResult<()> {
        let states = states[0].as_binary::<i64>();
        for bytes in states.iter().flatten() {
            let state = TableState::from_bytes(bytes).map_err(refused)?;
            match &mut self.merged {
                Some(merged) => merged.merge(&state).map_err(refused)?,
                None => self.merged = Some(state),
            }
        }
        Ok(())
    }

    fn state(&mut self) -> EngineResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> EngineResult<ScalarValue> {
        Ok(ScalarValue::LargeBinary(Some(self.all()?.to_bytes().map_err(refused)?)))
    }

    fn size(&self) -> usize {
        let columns =
            self.gathered.moments.columns() + self.merged.as_ref().map_or(0, |m| m.gathered.moments.columns());
        let states = std::iter::once(&self.gathered).chain(self.merged.as_ref().map(|merged| &merged.gathered));
        let fours: usize = states.filter_map(|gathered| gathered.quartic.as_ref()).map(QuarticMoments::bytes).sum();
        size_of::<Self>() + columns * (columns + 3) / 2 * BYTES_PER_PAIR + fours
    }
}

/// Memory of the sum of products of two columns, about.
const BYTES_PER_PAIR: usize = 64;
