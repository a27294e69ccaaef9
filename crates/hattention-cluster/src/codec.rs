//! How our table and our plan travel, beside all that the engine can send by itself.

use std::any::Any;
use std::sync::Arc;

use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, Extension, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf;
use hattention_table::aggregate::{NAME, hat_moments};
use serde::{Deserialize, Serialize};

use crate::table::{PartsScan, PartsTable};

/// What our bytes begin with.
const MARK: &[u8] = b"hattention/parts/1\n";

/// A [`PartsScan`] but for its input.
#[derive(Serialize, Deserialize)]
struct Scan {
    batch_rows: usize,
    /// A schema of the engine's, encoded.
    schema: Vec<u8>,
}

fn internal(error: impl std::fmt::Display) -> DataFusionError {
    DataFusionError::Internal(error.to_string())
}

/// The function, if that is what the name says: an executor need not have registered it.
fn function(name: &str) -> Option<Arc<AggregateUDF>> {
    (name == NAME).then(|| Arc::new(hat_moments()))
}

/// Logical plans.
#[derive(Debug, Default)]
pub(crate) struct Logical {
    engine: BallistaLogicalExtensionCodec,
}

impl LogicalExtensionCodec for Logical {
    fn try_decode(&self, buf: &[u8], inputs: &[LogicalPlan], ctx: &TaskContext) -> Result<Extension> {
        self.engine.try_decode(buf, inputs, ctx)
    }

    fn try_encode(&self, node: &Extension, buf: &mut Vec<u8>) -> Result<()> {
        self.engine.try_encode(node, buf)
    }

    fn try_decode_table_provider(
        &self,
        buf: &[u8],
        table_ref: &TableReference,
        schema: SchemaRef,
        ctx: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        let Some(parts) = buf.strip_prefix(MARK) else {
            return self.engine.try_decode_table_provider(buf, table_ref, schema, ctx);
        };
        let parts: Vec<String> = serde_json::from_slice(parts).map_err(internal)?;
        Ok(Arc::new(PartsTable::of_parts(schema, parts)))
    }

    fn try_encode_table_provider(
        &self,
        table_ref: &TableReference,
        node: Arc<dyn TableProvider>,
        buf: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(table) = (node.as_ref() as &dyn Any).downcast_ref::<PartsTable>() else {
            return self.engine.try_encode_table_provider(table_ref, node, buf);
        };
        buf.extend_from_slice(MARK);
        serde_json::to_writer(buf, &table.parts).map_err(internal)
    }

    fn try_decode_file_format(&self, buf: &[u8], ctx: &TaskContext) -> Result<Arc<dyn FileFormatFactory>> {
        self.engine.try_decode_file_format(buf, ctx)
    }

    fn try_encode_file_format(&self, buf: &mut Vec<u8>, node: Arc<dyn FileFormatFactory>) -> Result<()> {
        self.engine.try_encode_file_format(buf, node)
    }

    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        function(name).map_or_else(|| self.engine.try_decode_udaf(name, buf), Ok)
    }
}

/// Physical plans.
#[derive(Debug, Default)]
pub(crate) struct Physical {
    engine: BallistaPhysicalExtensionCodec,
}

impl PhysicalExtensionCodec for Physical {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(scan) = buf.strip_prefix(MARK) else {
            return self.engine.try_decode(buf, inputs, ctx, converter);
        };
        let Scan { batch_rows, schema } = serde_json::from_slice(scan).map_err(internal)?;
        let schema = <protobuf::Schema as prost::Message>::decode(schema.as_slice()).map_err(internal)?;
        let schema: SchemaRef = Arc::new((&schema).try_into()?);
        let input = inputs.first().ok_or_else(|| internal("a scan of parts without an input"))?;
        Ok(Arc::new(PartsScan::new(Arc::clone(input), schema, batch_rows)))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(scan) = (node.as_ref() as &dyn Any).downcast_ref::<PartsScan>() else {
            return self.engine.try_encode(node, buf, converter);
        };
        let schema: protobuf::Schema = node.schema().as_ref().try_into()?;
        let scan = Scan { batch_rows: scan.batch_rows, schema: prost::Message::encode_to_vec(&schema) };
        buf.extend_from_slice(MARK);
        serde_json::to_writer(buf, &scan).map_err(internal)
    }

    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        function(name).map_or_else(|| self.engine.try_decode_udaf(name, buf), Ok)
    }
}
