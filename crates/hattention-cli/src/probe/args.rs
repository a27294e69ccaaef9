//! The words of `hat probe`.

use std::path::PathBuf;

use clap::Args;

/// What `hat probe --help` ends with.
const HELP: &str = "\
FILE is a .npy or .safetensors file, or an attention regression of `hat attend fit -o`. Arrays are [batches, heads, queries, keys],
or the last of these axes, in doubles, singles, halves or bfloat16.
  logits      what softmax is applied to. A file of one array, and one whose arrays are in no pairs, has logits; --logits NAME
              takes one of them. −∞, and all that is at most --masked, are keys that are not read.
  queries and keys   --queries NAME --keys NAME of one .safetensors file, or FILE.npy --keys OTHER.npy; pairs whose names end in q
              and k, query and key, or queries and keys are found without (also q_proj and k_proj, query_states and key_states, in
              any case). [batches, heads, rows, width]; fewer heads of keys than of queries are shared by as many. --causal: the
              last query reads all keys, those before it one fewer each.
  weights     --probabilities: what softmax gave, as models print attention. Energies are then known up to a number a query
              (F = 0), and the variance of scores is not known.
For every query, with E = −q·k (of logits: −T × logit) and p = softmax(−E/T):
  energy U        Σ p E                       entropy S    −Σ p ln p, in nats
  free energy F   −T ln Σ e^(−E/T) = U − TS   capacity C   Var_p(E)/T² = dU/dT, the variance of ln p under p
  e^S and 1/Σp²   two effective numbers of keys
and of a head Var(E/T), the variance of all scores whatever their weights, which some call a specific heat. The table has
means over queries.
--json: file, kind, temperature, attention[{name, batches, heads, queries, keys, unread_queries, head[{head, keys, log_partition,
internal_energy, entropy, entropy_share, free_energy, heat_capacity, effective_keys, participation, pooled{count, mean, variance,
least, largest}, positions[{first, last, entropy, entropy_share, heat_capacity, effective_keys}], curve[{temperature, …}],
histogram{edges, keys, weights}}]}]. Curves and histograms are of at most 256 queries a head and batch.";

/// `hat probe`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub struct ProbeArgs {
    /// Logits, queries and keys, or weights (.npy, .safetensors), or an attention regression.
    pub file: PathBuf,
    /// The array of logits (or weights) to probe, of several.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["queries", "keys"])]
    pub logits: Option<String>,
    /// The array of queries.
    #[arg(long, value_name = "NAME", requires = "keys")]
    pub queries: Option<String>,
    /// The array of keys; beside a .npy file of queries, the .npy file of keys.
    #[arg(long, value_name = "NAME|FILE")]
    pub keys: Option<String>,
    /// The array has weights after the softmax.
    #[arg(long, conflicts_with_all = ["queries", "keys"])]
    pub probabilities: bool,
    /// The temperature: by default √width for queries and keys, and 1 for logits, weights and regressions.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub temperature: Option<f64>,
    /// Queries read no later keys.
    #[arg(long)]
    pub causal: bool,
    /// Logits that are at most this are of keys that are not read.
    #[arg(long, default_value_t = -5e3, value_name = "X", allow_hyphen_values = true)]
    pub masked: f64,
    /// The rows that an attention regression was fitted on, unless it keeps them. They are its queries, too.
    #[arg(long, num_args = 1.., value_name = "SOURCE")]
    pub train: Vec<String>,
    /// Write a page with heat maps, histograms and temperature sweeps (.html).
    #[arg(short, long, value_name = "PAGE")]
    pub output: Option<PathBuf>,
    /// Write what every query says (.csv or .parquet).
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
