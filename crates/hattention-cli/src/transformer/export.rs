//! `hat transformer export`.

use hattention::codec::onnx::{self, Precision};
use hattention::transformer::Layout;

use super::args::{DtypeArg, ExportArgs};
use super::weights::{TableWeights, beyond};
use crate::failure::Failure;
use crate::output;

/// Runs the command.
pub fn run(args: &ExportArgs) -> Result<(), Failure> {
    output::check_writable(&args.onnx)?;
    let weights = TableWeights::load(&args.weights)?;
    if weights.weighted() && weights.transformer.layout == Layout::SelfAttention {
        return Err(Failure::usage(
            "the layout self of a weighted fit: the graph has no input for weights",
            "build it with --layout cross",
        ));
    }
    let precision = match args.dtype {
        DtypeArg::F64 => Precision::F64,
        DtypeArg::F32 => Precision::F32,
    };
    let properties = [("formula", weights.formula().to_owned())];
    let bytes = onnx::to_bytes(&weights.transformer, precision, &properties).map_err(beyond)?;
    output::write(&args.onnx, &bytes)?;
    output::print(&format!(
        "{}: {}, layout {}, opset {}, {} bytes\n",
        args.onnx.display(),
        precision.name(),
        weights.transformer.layout.name(),
        onnx::OPSET,
        bytes.len()
    ))
}
