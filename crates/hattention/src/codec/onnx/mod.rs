//! Constructed transformers as ONNX files.

mod graph;
mod layouts;
mod proto;

use serde_json::json;

use crate::error::Error;
use crate::transformer::{Layout, Transformer};
use graph::Graph;
use proto::Message;

/// The operator set of the files. Every operator in them is the same in sets 13 to 20 and more, so that any runtime of
/// the last years takes the file; 17 is the newest that ONNX Runtime 1.12 and later, `onnx.checker` and tract all know.
pub const OPSET: i64 = 17;
/// The version of ONNX's file format that belongs to this operator set.
pub const IR_VERSION: i64 = 8;
/// Most keys of the solve layout: its elimination is written out step by step, seven nodes a key and pass.
pub const MOST_SOLVE_KEYS: usize = 512;
/// Protocol buffers end at two gigabytes; this leaves room for what is not weights.
const MOST_WEIGHTS: usize = (1 << 31) - (1 << 24);

/// The numbers of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Doubles.
    #[default]
    F64,
    /// Singles: inputs, weights and outputs.
    F32,
}

impl Precision {
    /// Its name, as in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
        }
    }

    fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
        }
    }
}

/// The transformer as an ONNX file: attention as it was built, in matrix products and one bias for the intercept.
///
/// Input `x` `[rows, p]`: the columns of the design in the formula's order, without the intercept. Output `y`: `[rows]`
/// for one target, else `[rows, m]`. The solve layout also takes `context` `[context, p]`, rows as `x`, and `targets`
/// `[context, m]`. Properties of the model, one text each: `names` and `targets` (JSON lists), `intercept`, `n`,
/// `convention`, `layout`, `heads`, `precision`, and the caller's own.
///
/// - `self`: `Σ_h Q_h (K_hᵀV_h / rows) (W_FFN W_p)_h`, the division in the covariance convention only;
/// - `cross`: the same with the stored memory in place of `KᵀV / rows`;
/// - `solve`: `Q (KᵀK + αI)⁻¹ KᵀY`. The keys of the context are whitened in the graph, twice: `K₁ = K T₁`, `K₂ = K₁ T₂`
///   with `T = L⁻ᵀ` of the Cholesky factor of `KᵀK` and of `K₁ᵀK₁`, then `y = Q T₁ T₂ K₂ᵀY`. α, as everywhere, is not on the
///   constant's key. In f32 too, sums over the context and the elimination are in doubles.
///
/// # Numerics
/// As [`Layer`](crate::transformer::Layer): about `20 ε κ`. Solving whitens twice as in CholeskyQR2, whose error is `ε κ`
/// of the context's keys (one for the training rows) and not `ε κ²`. A context whose keys depend on each other gives NaN:
/// a pivot below `64 r ε` of its diagonal, as from conditions of about `1e6` on; a graph cannot refuse. Runtimes sum in
/// orders of their own, so the last bits are theirs.
///
/// # Errors
/// - [`Error::Shape`] if the weights do not fit each other.
/// - [`Error::Parameter`] for a weight that is not finite, or beyond this precision, by its tensor; for no columns, more than [`MOST_SOLVE_KEYS`] keys in the solve layout, or more weights than
///   an ONNX file can hold.
///
/// # References
/// ONNX, operator set 17; Yamamoto et al. (2015), CholeskyQR2.
pub fn to_bytes(
    transformer: &Transformer,
    precision: Precision,
    properties: &[(&str, String)],
) -> Result<Vec<u8>, Error> {
    check(transformer, precision)?;
    let mut graph = Graph::new(precision);
    layouts::build(transformer, &mut graph);
    let heads: Vec<[usize; 2]> = transformer.heads.iter().map(|head| [head.start, head.end]).collect();
    let own = [
        ("names", json!(transformer.names).to_string()),
        ("targets", json!(transformer.targets).to_string()),
        ("intercept", transformer.intercept.to_string()),
        ("n", format!("{:?}", transformer.weight_total)),
        ("convention", transformer.convention.name().to_owned()),
        ("layout", transformer.layout.name().to_owned()),
        ("heads", json!(heads).to_string()),
        ("precision", precision.name().to_owned()),
    ];
    // ModelProto: ir_version 1, producer_name 2, producer_version 3, graph 7, opset_import 8 {version 2}, metadata_props 14.
    let model = Message::default()
        .int(1, IR_VERSION)
        .bytes(2, "hattention")
        .bytes(3, env!("CARGO_PKG_VERSION"))
        .message(7, graph.message(&format!("least squares as attention, {}", transformer.layout.name())))
        .message(8, Message::default().bytes(1, "").int(2, OPSET))
        .each(own.iter().chain(properties), |m, (key, value)| m.message(14, proto::property(key, value)));
    Ok(model.0)
}

fn check(transformer: &Transformer, precision: Precision) -> Result<(), Error> {
    transformer.check()?;
    match precision {
        Precision::F64 => transformer.layer::<f64>().map(drop)?,
        Precision::F32 => transformer.layer::<f32>().map(drop)?,
    }
    let (keys, columns) = (transformer.keys(), transformer.names.len());
    if columns == 0 {
        let (name, got) = ("the number of columns", "0".to_owned());
        return Err(Error::Parameter {
            name,
            got,
            allowed: "at least one: without columns there is nothing to attend to",
        });
    }
    if transformer.layout == Layout::Solve && keys > MOST_SOLVE_KEYS {
        return Err(Error::Parameter {
            name: "the number of keys",
            got: keys.to_string(),
            allowed: "at most 512 in the solve layout, whose elimination is written out; use the layout cross",
        });
    }
    // Elimination holds an identity and a mask of r² numbers each; the other layouts three maps, memory and gates.
    let numbers = 3 * keys.saturating_mul(columns + 1).saturating_add(2 * keys * keys.max(transformer.targets.len()));
    if numbers.saturating_mul(precision.size()) > MOST_WEIGHTS {
        return Err(Error::Parameter {
            name: "the size of the weights",
            got: format!("{numbers} numbers in {}", precision.name()),
            allowed: "at most 2 GB, where ONNX files end; use f32, fewer columns, or the safetensors file",
        });
    }
    Ok(())
}
