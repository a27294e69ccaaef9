//! The layouts as graphs.

use std::ops::Range;

use super::Precision;
use super::graph::{Graph, Name};
use super::proto::{Attribute, Kind, Size};
use crate::matrix::Matrix;
use crate::transformer::{Convention, Layout, Transformer};

/// A pivot of the elimination must be above so many roundings a key of its diagonal.
const DEPENDENT: f64 = 64.0;

/// Writes the layout of a transformer whose weights fit each other.
pub(super) fn build(model: &Transformer, graph: &mut Graph) {
    let (columns, targets) = (model.names.len(), model.targets.len());
    let x = graph.input("x", &[Size::Named("rows"), Size::Fixed(columns)]);
    let mean = model.intercept.then(|| graph.constant("x_mean", &[columns], &model.x_mean));
    let tokens = centred(graph, &x, mean.as_ref(), "tokens");
    let y = match model.layout {
        Layout::Solve => {
            let context = graph.input("context", &[Size::Named("context"), Size::Fixed(columns)]);
            let values = graph.input("targets", &[Size::Named("context"), Size::Fixed(targets)]);
            let rows = centred(graph, &context, mean.as_ref(), "context_tokens");
            solve(model, graph, &tokens, &rows, &values)
        }
        layout => heads(model, graph, &x, &tokens, layout),
    };
    if targets == 1 {
        let axis = graph.integers("column", &[1], &[1]);
        graph.apply("Squeeze", &[&y, &axis], "y");
        graph.output("y", &[Size::Named("rows")]);
    } else {
        graph.apply("Identity", &[&y], "y");
        graph.output("y", &[Size::Named("rows"), Size::Fixed(targets)]);
    }
}

fn centred(graph: &mut Graph, x: &Name, mean: Option<&Name>, name: &str) -> Name {
    match mean {
        Some(mean) => graph.apply("Sub", &[x, mean], name),
        None => x.clone(),
    }
}

/// Columns of a weight for one head: rows of the centred columns, and the constant's row as a bias.
struct Map {
    weight: Name,
    bias: Option<Name>,
}

impl Map {
    fn of(graph: &mut Graph, name: &str, w: &Matrix, intercept: bool, head: &Range<usize>) -> Self {
        let skip = intercept as usize;
        let weight = Matrix::from_fn(w.rows - skip, head.len(), |i, j| w.at(skip + i, head.start + j));
        Self {
            weight: graph.matrix(name, &weight),
            bias: intercept.then(|| {
                let row: Vec<f64> = head.clone().map(|j| w.at(0, j)).collect();
                graph.constant(format!("{name}.constant"), &[head.len()], &row)
            }),
        }
    }

    fn apply(&self, graph: &mut Graph, tokens: &Name, name: &str) -> Name {
        match &self.bias {
            None => graph.apply("MatMul", &[tokens, &self.weight], name),
            Some(bias) => {
                let product = graph.apply("MatMul", &[tokens, &self.weight], format!("{name}.product"));
                graph.apply("Add", &[&product, bias], name)
            }
        }
    }
}

/// `self` and `cross`: every head attends by itself, and what they give is added up.
fn heads(model: &Transformer, graph: &mut Graph, x: &Name, tokens: &Name, layout: Layout) -> Name {
    let gates = graph.matrix("w_ffn", &model.w_ffn);
    let w_p = graph.matrix("w_p", &model.w_p);
    let readout = graph.apply("MatMul", &[&gates, &w_p], "readout");
    let rows = (layout == Layout::SelfAttention && model.convention == Convention::Covariance).then(|| {
        let shape = graph.apply("Shape", &[x], "shape");
        let first = graph.integers("first", &[], &[0]);
        let rows = graph.apply_with("Gather", &[&shape, &first], "count", &[Attribute::Int("axis", 0)]);
        let kind = graph.kind();
        cast(graph, &rows, kind, "rows")
    });
    let mut sum: Option<Name> = None;
    for (h, head) in model.heads.iter().enumerate() {
        let named = |name: &str| if model.heads.len() == 1 { name.to_owned() } else { format!("head{h}.{name}") };
        let map = |graph: &mut Graph, name: &str, w: &Matrix| Map::of(graph, &named(name), w, model.intercept, head);
        let w_q = map(graph, "w_q", &model.w_q);
        let queries = w_q.apply(graph, tokens, &named("queries"));
        let state = match layout {
            Layout::SelfAttention => {
                let keys = if model.w_k == model.w_q {
                    queries.clone()
                } else {
                    map(graph, "w_k", &model.w_k).apply(graph, tokens, &named("keys"))
                };
                let values = if model.w_v == model.w_k {
                    keys.clone()
                } else {
                    map(graph, "w_v", &model.w_v).apply(graph, tokens, &named("values"))
                };
                let state = gram(graph, &keys, &values, &named("sums"));
                match &rows {
                    Some(rows) => graph.apply("Div", &[&state, rows], named("state")),
                    None => state,
                }
            }
            _ => {
                let at = |i, j| model.memory.at(head.start + i, head.start + j);
                let memory = Matrix::from_fn(head.len(), head.len(), at);
                graph.matrix(named("memory"), &memory)
            }
        };
        let part = if model.heads.len() == 1 {
            readout.clone()
        } else {
            let bound = |at: usize| [at as i64];
            let start = graph.integers(named("first_key"), &[1], &bound(head.start));
            let end = graph.integers(named("end_key"), &[1], &bound(head.end));
            let axis = graph.integers(named("axis"), &[1], &[0]);
            graph.apply("Slice", &[&readout, &start, &end, &axis], named("readout"))
        };
        // Linear scores may be summed before they are read: (Q Kᵀ) V = Q (Kᵀ V).
        let read = graph.apply("MatMul", &[&state, &part], named("read"));
        let output = graph.apply("MatMul", &[&queries, &read], named("output"));
        sum = Some(match sum {
            None => output,
            Some(sum) => graph.apply("Add", &[&sum, &output], named("sum")),
        });
    }
    sum.unwrap_or(readout)
}

/// `leftᵀ · right`.
fn gram(graph: &mut Graph, left: &Name, right: &Name, name: &str) -> Name {
    let transposed = transpose(graph, left, &format!("{name}.transposed"));
    graph.apply("MatMul", &[&transposed, right], name)
}

fn transpose(graph: &mut Graph, matrix: &Name, name: &str) -> Name {
    graph.apply_with("Transpose", &[matrix], name, &[Attribute::Ints("perm", vec![1, 0])])
}

/// `solve`: the context's keys whitened twice, its targets read along them.
fn solve(model: &Transformer, graph: &mut Graph, tokens: &Name, context: &Name, values: &Name) -> Name {
    let (all, skip, size) = (0..model.keys(), model.intercept as usize, model.keys());
    let w_q = Map::of(graph, "w_q", &model.w_q, model.intercept, &all);
    let queries = w_q.apply(graph, tokens, "queries");
    let mut keys = if model.w_k == model.w_q {
        w_q.apply(graph, context, "keys")
    } else {
        Map::of(graph, "w_k", &model.w_k, model.intercept, &all).apply(graph, context, "keys")
    };
    let mut values = values.clone();
    if model.alpha > 0.0 {
        // KᵀK + αI is the Gram matrix of the keys with √α I below them, where the targets are zero.
        let root = model.alpha.sqrt();
        let penalty = Matrix::from_fn(size - skip, size, |i, j| if j == skip + i { root } else { 0.0 });
        let penalty = graph.matrix("penalty", &penalty);
        let nothing = graph.matrix("nothing", &Matrix::zeros(size - skip, model.targets.len()));
        let rows = [Attribute::Int("axis", 0)];
        keys = graph.apply_with("Concat", &[&keys, &penalty], "penalised_keys", &rows);
        values = graph.apply_with("Concat", &[&values, &nothing], "penalised_targets", &rows);
    }
    // Sums over the context are in doubles, as everywhere in this library.
    let single = graph.precision() == Precision::F32;
    if single {
        keys = cast(graph, &keys, Kind::Double, "keys.doubles");
        values = cast(graph, &values, Kind::Double, "targets.doubles");
    }
    let whitening = Elimination::of(graph, size);
    let first = whitening.apply(graph, &keys, "first");
    let keys = graph.apply("MatMul", &[&keys, &first], "keys.first");
    let second = whitening.apply(graph, &keys, "second");
    let keys = graph.apply("MatMul", &[&keys, &second], "keys.second");
    let memory = gram(graph, &keys, &values, "memory");
    let memory = graph.apply("MatMul", &[&second, &memory], "memory.second");
    let mut memory = graph.apply("MatMul", &[&first, &memory], "memory.first");
    if single {
        memory = cast(graph, &memory, Kind::Float, "memory.singles");
    }
    graph.apply("MatMul", &[&queries, &memory], "output")
}

fn cast(graph: &mut Graph, x: &Name, kind: Kind, name: &str) -> Name {
    graph.apply_with("Cast", &[x], name, &[Attribute::Int("to", kind as i64)])
}

/// What both whitenings share.
struct Elimination {
    identity: Name,
    /// Index `j` as a list, and what is below entry `j` of a column.
    steps: Vec<(Name, Name)>,
    columns: Name,
    left: (Name, Name),
    right: (Name, Name),
    least: Name,
    none: Name,
}

impl Elimination {
    fn of(graph: &mut Graph, size: usize) -> Self {
        let step = |graph: &mut Graph, j: usize| {
            let below: Vec<f64> = (0..size).map(|i| (i > j) as u8 as f64).collect();
            let index = graph.integers(format!("key{j}"), &[1], &[j as i64]);
            (index, graph.doubles(format!("below{j}"), &[size, 1], &below))
        };
        let bounds = |graph: &mut Graph, name: &str, from: usize, to: usize| {
            let start = graph.integers(format!("{name}.start"), &[1], &[from as i64]);
            (start, graph.integers(format!("{name}.end"), &[1], &[to as i64]))
        };
        let least = DEPENDENT * size as f64 * f64::EPSILON;
        Self {
            identity: graph.doubles("identity", &[size, size], &Matrix::<f64>::identity(size).data),
            steps: (0..size.saturating_sub(1)).map(|j| step(graph, j)).collect(),
            columns: graph.integers("columns", &[1], &[1]),
            left: bounds(graph, "left", 0, size),
            right: bounds(graph, "right", size, 2 * size),
            least: graph.doubles("least", &[1], &[least]),
            none: graph.doubles("none", &[1], &[f64::NAN]),
        }
    }

    /// `T = L⁻ᵀ` with `L Lᵀ = KᵀK`: `[KᵀK | I]` is eliminated column by column to `[D Uᵀ | U⁻¹]`, U of unit diagonal,
    /// and `L⁻¹ = D^(−1/2) U⁻¹`. NaN if the keys depend on each other.
    fn apply(&self, graph: &mut Graph, keys: &Name, name: &str) -> Name {
        let named = |what: &str| format!("{name}.{what}");
        let sums = gram(graph, keys, keys, &named("gram"));
        let along_columns = [Attribute::Int("axis", 1)];
        let mut table = graph.apply_with("Concat", &[&sums, &self.identity], named("table"), &along_columns);
        for (j, (index, below)) in self.steps.iter().enumerate() {
            let at = |what: &str| format!("{name}.{what}{j}");
            let row = graph.apply_with("Gather", &[&table, index], at("row"), &[Attribute::Int("axis", 0)]);
            let column = graph.apply_with("Gather", &[&table, index], at("column"), &along_columns);
            let pivot = graph.apply_with("Gather", &[&row, index], at("pivot"), &along_columns);
            let column = graph.apply("Mul", &[&column, below], at("below"));
            let factors = graph.apply("Div", &[&column, &pivot], at("factors"));
            let update = graph.apply("MatMul", &[&factors, &row], at("update"));
            table = graph.apply("Sub", &[&table, &update], at("table"));
        }
        let diagonal = |graph: &mut Graph, matrix: &Name, what: &str| {
            let only = graph.apply("Mul", &[matrix, &self.identity], named(&format!("{what}.only")));
            graph.apply_with("ReduceSum", &[&only, &self.columns], named(what), &[Attribute::Int("keepdims", 1)])
        };
        let left = graph.apply("Slice", &[&table, &self.left.0, &self.left.1, &self.columns], named("left"));
        let right = graph.apply("Slice", &[&table, &self.right.0, &self.right.1, &self.columns], named("right"));
        let (pivots, lengths) = (diagonal(graph, &left, "pivots"), diagonal(graph, &sums, "lengths"));
        let least = graph.apply("Mul", &[&lengths, &self.least], named("least"));
        let clear = graph.apply("Greater", &[&pivots, &least], named("clear"));
        let pivots = graph.apply("Where", &[&clear, &pivots, &self.none], named("clear_pivots"));
        let roots = graph.apply("Sqrt", &[&pivots], named("roots"));
        let inverse = graph.apply("Div", &[&right, &roots], named("inverse"));
        transpose(graph, &inverse, &named("whitening"))
    }
}
