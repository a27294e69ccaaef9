//! What stands for queries in a build without the query engine: there are none.

use std::convert::Infallible;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::error::SourceError;
use super::files::FileSet;
use super::scan::{Scan, ScanOrder};

/// A source as a table of a query.
#[allow(dead_code)]
pub(crate) struct QueryTable {
    pub(crate) spec: String,
    pub(crate) name: String,
    pub(crate) set: Arc<FileSet>,
}

/// There is none.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) schema: SchemaRef,
    never: Infallible,
}

impl Query {
    pub(crate) fn plan(
        _sql: &str,
        _tables: Vec<QueryTable>,
        _threads: usize,
        _rows: usize,
    ) -> Result<Self, SourceError> {
        Err(SourceError::NoSql)
    }

    pub(crate) fn scan(&self, _columns: &[String], _order: ScanOrder) -> Result<Scan, SourceError> {
        match self.never {}
    }
}

/// There is none.
pub(crate) struct QueryScan(Infallible);

impl QueryScan {
    pub(crate) fn next(&mut self) -> Option<Result<RecordBatch, SourceError>> {
        match self.0 {}
    }
}
