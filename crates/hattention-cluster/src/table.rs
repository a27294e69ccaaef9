//! A source as a table of the query engine, cut into parts that any machine can read.
//!
//! The engine deals out only leaves that it knows. So the leaf is one of its own, rows in memory: one row a part, which says
//! what the part is. Above it, [`PartsScan`] reads each part that it meets.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use hattention_table::aggregate::{Refusal, place};
use hattention_table::source::{Part, PartBatch, Source};
use tokio::sync::mpsc::Sender;

use crate::error::ClusterError;

/// The column behind a table's own that says where the rows of a batch begin, for messages.
pub const PLACE: &str = "__hattention_place";

/// The one column of the leaf.
const PART: &str = "part";

/// Batches that wait between reading and computing.
const WAITING: usize = 2;

/// The parts of a source as a table. It has the source's columns, and [`PLACE`].
#[derive(Clone, Debug)]
pub struct PartsTable {
    schema: SchemaRef,
    /// Each as JSON.
    pub(crate) parts: Vec<String>,
}

impl PartsTable {
    /// The table of a source, in parts of about so many bytes.
    ///
    /// # Errors
    /// If other machines cannot read the source: a query or standard input; if it has a column [`PLACE`].
    pub fn new(source: &Source, bytes: u64) -> Result<Self, ClusterError> {
        if source.schema().fields().find(PLACE).is_some() {
            return Err(ClusterError::Reserved { column: PLACE.into() });
        }
        let parts = source.parts(bytes).ok_or_else(|| ClusterError::NotShared { what: source.describe() })?;
        let parts = parts.iter().map(serde_json::to_string).collect::<Result<_, _>>();
        let parts = parts.map_err(|error| ClusterError::NotShared { what: error.to_string() })?;
        let mut fields: Vec<Arc<Field>> = source.schema().fields().to_vec();
        fields.push(Arc::new(Field::new(PLACE, place_type(), true)));
        Ok(Self { schema: Arc::new(Schema::new(fields)), parts })
    }

    pub(crate) fn of_parts(schema: SchemaRef, parts: Vec<String>) -> Self {
        Self { schema, parts }
    }

    /// How many parts there are: tasks of the first stage.
    pub fn count(&self) -> usize {
        self.parts.len()
    }
}

fn place_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

#[async_trait]
impl TableProvider for PartsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => Arc::clone(&self.schema),
        };
        let leaf = Arc::new(Schema::new(vec![Field::new(PART, DataType::Utf8, false)]));
        let row = |part: &String| {
            let column: ArrayRef = Arc::new(StringArray::from(vec![part.as_str()]));
            Ok(vec![RecordBatch::try_new(Arc::clone(&leaf), vec![column])?])
        };
        let rows = self.parts.iter().map(row).collect::<EngineResult<Vec<_>>>()?;
        let leaf = MemorySourceConfig::try_new_exec(&rows, leaf, None)?;
        Ok(Arc::new(PartsScan::new(leaf, schema, session.config().batch_size())))
    }
}

/// Reads the parts that its input names.
#[derive(Debug)]
pub struct PartsScan {
    input: Arc<dyn ExecutionPlan>,
    pub(crate) batch_rows: usize,
    properties: Arc<PlanProperties>,
}

impl PartsScan {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, schema: SchemaRef, batch_rows: usize) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.properties().output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, batch_rows, properties: Arc::new(properties) }
    }
}

impl DisplayAs for PartsScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartsScan: columns={}", self.schema().fields().len())
    }
}

impl ExecutionPlan for PartsScan {
    fn name(&self) -> &'static str {
        "PartsScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        // Parts are dealt out as they are.
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("PartsScan without an input".into()))?;
        Ok(Arc::new(Self::new(input, self.schema(), self.batch_rows)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> EngineResult<SendableRecordBatchStream> {
        let mut named = self.input.execute(partition, context)?;
        let (schema, batch_rows) = (self.schema(), self.batch_rows);
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&schema), WAITING);
        let sender = stream.tx();
        stream.spawn(async move {
            while let Some(rows) = named.next().await {
                let rows = rows?;
                let texts = rows.column(0).as_string::<i32>();
                for text in texts.iter().flatten() {
                    let part: Part = serde_json::from_str(text).map_err(|error| {
                        refused(format!("a part that this version does not read: {error}"), ONE_VERSION)
                    })?;
                    let (schema, sender) = (Arc::clone(&schema), sender.clone());
                    let read = tokio::task::spawn_blocking(move || read(&part, &schema, batch_rows, &sender)).await;
                    read.map_err(|error| DataFusionError::External(Box::new(error)))??;
                }
            }
            Ok(())
        });
        Ok(stream.build())
    }
}

const ONE_VERSION: &str = "run the same version of hat on all machines";

fn refused(message: String, hint: &str) -> DataFusionError {
    DataFusionError::External(Box::new(Refusal { message, hint: hint.into() }))
}

/// Reads a part into a channel.
fn read(
    part: &Part,
    schema: &SchemaRef,
    batch_rows: usize,
    sender: &Sender<EngineResult<RecordBatch>>,
) -> EngineResult<()> {
    let own: Vec<usize> = (0..schema.fields().len()).filter(|&at| schema.field(at).name() != PLACE).collect();
    let own = Arc::new(schema.project(&own)?);
    let mut failed = None;
    let outcome = part.read(&own, batch_rows, &mut |rows| match placed(schema, rows) {
        Ok(batch) => sender.blocking_send(Ok(batch)).is_ok(),
        Err(error) => {
            failed = Some(error);
            false
        }
    });
    outcome.map_err(|error| DataFusionError::External(Box::new(Refusal::from(error))))?;
    failed.map_or(Ok(()), Err)
}

/// The batch with its place where the schema wants it.
fn placed(schema: &SchemaRef, rows: PartBatch) -> EngineResult<RecordBatch> {
    let count = rows.batch.num_rows();
    let mut own = rows.batch.columns().iter();
    let column = |field: &Arc<Field>| -> EngineResult<ArrayRef> {
        if field.name() == PLACE {
            let texts: ArrayRef = Arc::new(StringArray::from(vec![place(&rows.file, rows.first_row)]));
            let keys = Int32Array::from(vec![0; count]);
            return Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, texts)?));
        }
        own.next().cloned().ok_or_else(|| DataFusionError::Internal(format!("no column {}", field.name())))
    };
    let columns = schema.fields().iter().map(column).collect::<EngineResult<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
