//! A query over sources, each a table: the only place where the query engine plans.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Column;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, execute_stream, execute_stream_partitioned};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::StreamExt;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::SourceError;
use super::files::FileSet;
use super::scan::{Scan, ScanOrder};
use super::schema::{conform, expect_distinct, leaving_schema};

/// Batches that wait between the engine and the consumer.
const WAITING: usize = 4;

/// Columns of a table that a hint lists.
const COLUMNS_SHOWN: usize = 30;

/// A source as a table of a query.
pub(crate) struct QueryTable {
    /// What the user wrote.
    pub(crate) spec: String,
    /// The name before characters are mapped.
    pub(crate) name: String,
    pub(crate) set: Arc<FileSet>,
}

/// A planned query.
pub(crate) struct Query {
    runtime: Arc<Runtime>,
    context: SessionContext,
    plan: LogicalPlan,
    tables: Vec<String>,
    pub(crate) schema: SchemaRef,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("tables", &self.tables).finish_non_exhaustive()
    }
}

impl Query {
    /// Plans `sql` over the tables.
    pub(crate) fn plan(
        sql: &str,
        tables: Vec<QueryTable>,
        threads: usize,
        batch_rows: usize,
    ) -> Result<Self, SourceError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("hattention-query")
            .enable_all()
            .build()
            .map_err(|error| SourceError::Io { path: "--sql".into(), message: error.to_string() })?;
        let mut config = SessionConfig::new().with_target_partitions(threads.max(1)).with_batch_size(batch_rows);
        // Column names are as the files spell them, with or without quotes.
        config.options_mut().sql_parser.enable_ident_normalization = false;
        let context = SessionContext::new_with_config(config);
        let listed = register(&context, tables)?;
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = runtime.block_on(context.sql_with_options(sql, read_only));
        let plan = frame.map_err(|error| query_error(&error, &listed))?.into_unoptimized_plan();
        let schema = leaving_schema(plan.schema().as_arrow());
        expect_distinct("the result of --sql", schema.fields().iter().map(|field| field.name().as_str()))?;
        Ok(Self { runtime: Arc::new(runtime), context, plan, tables: listed, schema })
    }

    /// Runs the query for some columns of its result. In file order it runs on one thread, so that two runs give the
    /// rows in the same order.
    pub(crate) fn scan(&self, columns: &[String], order: ScanOrder) -> Result<Scan, SourceError> {
        let mut positions = Vec::with_capacity(columns.len());
        for column in columns {
            let position = self.schema.index_of(column);
            positions.push(position.map_err(|_| super::files::no_column("the result of --sql", column, &self.schema))?);
        }
        let schema = Arc::new(self.schema.project(&positions).map_err(|error| self.error(&error.into()))?);
        let mut state = self.context.state();
        if order == ScanOrder::File {
            state.config_mut().options_mut().execution.target_partitions = 1;
        }
        let fields: Vec<Expr> = positions
            .iter()
            .map(|&position| Expr::Column(Column::from(self.plan.schema().qualified_field(position))))
            .collect();
        let frame = DataFrame::new(state, self.plan.clone());
        let frame = frame.select(fields).map_err(|error| self.error(&error))?;
        let task = Arc::new(frame.task_ctx());
        let plan = self.runtime.block_on(frame.create_physical_plan()).map_err(|error| self.error(&error))?;
        // Starting streams needs the runtime's context.
        let _entered = self.runtime.enter();
        let streams = match order {
            ScanOrder::File => execute_stream(plan, task).map(|stream| vec![stream]),
            ScanOrder::Any => execute_stream_partitioned(plan, task),
        };
        let streams = streams.map_err(|error| self.error(&error))?;
        let query = QueryScan::start(Arc::clone(&self.runtime), streams, &schema, self.tables.clone());
        Ok(Scan::query(query, schema, order))
    }

    fn error(&self, error: &DataFusionError) -> SourceError {
        query_error(error, &self.tables)
    }
}

/// Registers the tables; for hints, each with its columns.
fn register(context: &SessionContext, tables: Vec<QueryTable>) -> Result<Vec<String>, SourceError> {
    let mut listed = Vec::with_capacity(tables.len());
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for QueryTable { spec, name, set } in tables {
        let table = identifier(&name);
        if let Some(left) = names.insert(table.clone(), spec.clone()) {
            return Err(SourceError::SameTable { table, left, right: spec });
        }
        let columns: Vec<&str> = set.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let more = if columns.len() > COLUMNS_SHOWN { ", …" } else { "" };
        let mapped = if table == name { String::new() } else { format!(" (from {name})") };
        let shown: Vec<&str> = columns.into_iter().take(COLUMNS_SHOWN).collect();
        listed.push(format!("{table}{mapped}: {}{more}", shown.join(", ")));
        // A bare reference: the name holds no dots after mapping, and is not to be parsed.
        let reference = datafusion::common::TableReference::bare(table);
        context.register_table(reference, Arc::new(FileTable { set })).map_err(|error| query_error(&error, &listed))?;
    }
    Ok(listed)
}

/// The name as an identifier that needs no quotes.
fn identifier(name: &str) -> String {
    let mapped: String = name.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' }).collect();
    match mapped.chars().next() {
        Some(first) if first.is_alphabetic() || first == '_' => mapped,
        _ => format!("_{mapped}"),
    }
}

/// The engine's message in one line, or the source's own error where it comes from a file.
fn query_error(error: &DataFusionError, tables: &[String]) -> SourceError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(own) = current.downcast_ref::<SourceError>() {
            return own.clone();
        }
        cause = current.source();
    }
    let message = error.strip_backtrace().replace("datafusion.public.", "");
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    SourceError::Query { message: message.trim_end_matches('.').into(), tables: tables.to_vec() }
}

/// A running query.
pub(crate) struct QueryScan {
    runtime: Arc<Runtime>,
    batches: mpsc::Receiver<Result<RecordBatch, SourceError>>,
    tasks: Vec<JoinHandle<()>>,
}

impl QueryScan {
    fn start(
        runtime: Arc<Runtime>,
        streams: Vec<SendableRecordBatchStream>,
        schema: &SchemaRef,
        tables: Vec<String>,
    ) -> Self {
        let (sender, batches) = mpsc::channel(WAITING);
        let tasks = streams
            .into_iter()
            .map(|mut stream| {
                let (sender, schema, tables) = (sender.clone(), Arc::clone(schema), tables.clone());
                runtime.spawn(async move {
                    while let Some(batch) = stream.next().await {
                        let batch = batch.map_err(|error| query_error(&error, &tables)).and_then(|batch| {
                            let tables = tables.clone();
                            conform(&batch, &schema).map_err(|message| SourceError::Query { message, tables })
                        });
                        let failed = batch.is_err();
                        if sender.send(batch).await.is_err() || failed {
                            return;
                        }
                    }
                })
            })
            .collect();
        Self { runtime, batches, tasks }
    }

    pub(crate) fn next(&mut self) -> Option<Result<RecordBatch, SourceError>> {
        if let Some(batch) = self.batches.blocking_recv() {
            return Some(batch);
        }
        // A task that panicked has lost rows.
        let ended: Vec<_> = self.tasks.drain(..).map(|task| self.runtime.block_on(task)).collect();
        let lost = ended.into_iter().any(|task| task.is_err());
        lost.then(|| Err(SourceError::Stopped { path: "--sql".into(), what: "a thread of the query".into() }))
    }
}

impl Drop for QueryScan {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Files as a table of the query engine; only the columns that the query needs are read.
#[derive(Debug)]
struct FileTable {
    set: Arc<FileSet>,
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.set.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => Arc::new(self.set.schema.project(projection)?),
            None => Arc::clone(&self.set.schema),
        };
        let order = if session.config().target_partitions() == 1 { ScanOrder::File } else { ScanOrder::Any };
        let rows = Arc::new(FileRows { set: Arc::clone(&self.set), schema: Arc::clone(&schema), order });
        let plan = StreamingTableExec::try_new(schema, vec![rows as Arc<dyn PartitionStream>], None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// The rows of files, as a stream.
#[derive(Debug)]
struct FileRows {
    set: Arc<FileSet>,
    schema: SchemaRef,
    order: ScanOrder,
}

impl PartitionStream for FileRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _task: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), WAITING);
        let (set, schema, order, sender) = (Arc::clone(&self.set), Arc::clone(&self.schema), self.order, stream.tx());
        stream.spawn_blocking(move || {
            let external = |error: SourceError| DataFusionError::External(Box::new(error));
            let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
            let plan = set.plan(&columns, "--sql").map_err(external)?;
            let mut scan = Scan::files(set, plan, order).map_err(external)?;
            while let Some(batch) = scan.next_item() {
                let batch = batch.map(|numbered| numbered.batch).map_err(external);
                if sender.blocking_send(batch).is_err() {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}
