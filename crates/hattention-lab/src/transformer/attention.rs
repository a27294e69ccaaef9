//! Causal attention by heads.

use burn::tensor::activation::softmax;
use burn::tensor::module::layer_norm;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::Kernel;
use super::weights::Layer;

/// The bound of exponents where rows of scores may not be shifted.
const GUARD: f64 = 10.0;
const EPSILON: f64 = 1e-5;

/// What all layers share.
pub(super) struct Mask {
    kernel: Kernel,
    /// Zero up to the diagonal, −∞ above. Shape: `[1, 1, T, T]`.
    added: Tensor<4>,
    /// `1/i` up to the diagonal, zero above. Shape: `[1, 1, T, T]`.
    means: Tensor<4>,
}

impl Mask {
    pub(super) fn new(kernel: Kernel, length: usize, dtype: DType, device: &Device) -> Self {
        let of = |entry: &dyn Fn(usize, usize) -> f64| {
            let numbers: Vec<f64> = (0..length * length).map(|k| entry(k / length, k % length)).collect();
            Tensor::from_data(TensorData::new(numbers, [1, 1, length, length]), (device, dtype))
        };
        Self {
            kernel,
            added: of(&|i, j| if j <= i { 0.0 } else { f64::NEG_INFINITY }),
            means: of(&|i, j| if j <= i { 1.0 / (i as f64 + 1.0) } else { 0.0 }),
        }
    }

    pub(super) fn kernel(&self) -> Kernel {
        self.kernel
    }
}

/// Rows of mean zero and variance one, scaled.
pub(super) fn normed(x: Tensor<3>, scale: Tensor<2>) -> Tensor<3> {
    let d = scale.dims()[1];
    layer_norm(x, scale.reshape([d]), None, EPSILON)
}

/// Tokens through a matrix.
pub(super) fn through(x: &Tensor<3>, matrix: Tensor<2>) -> Tensor<3> {
    let [b, t, d] = x.dims();
    let wide = matrix.dims()[1];
    x.clone().reshape([b * t, d]).matmul(matrix).reshape([b, t, wide])
}

/// Tokens parted by heads. Shape: `[B, R, T, d_h]`.
pub(super) fn parted(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [b, t, d] = x.dims();
    x.reshape([b, t, heads, d / heads]).swap_dims(1, 2)
}

/// Heads put together again. Shape: `[B, T, d]`.
pub(super) fn joined(x: Tensor<4>) -> Tensor<3> {
    let [b, heads, t, wide] = x.dims();
    x.swap_dims(1, 2).reshape([b, t, heads * wide])
}

/// Queries, keys, values and scores of tokens. Shapes: `[B, R, T, d_h]`; scores `[B, R, T, T]`.
pub(super) struct Looked {
    pub(super) queries: Tensor<4>,
    pub(super) keys: Tensor<4>,
    pub(super) values: Tensor<4>,
    /// Divided by √d_h, for all pairs.
    pub(super) scores: Tensor<4>,
}

/// `1/√d_h`.
pub(super) fn scale(x: &Tensor<4>) -> f64 {
    (x.dims()[3] as f64).sqrt().recip()
}

impl Looked {
    /// Looks at layer-normed tokens: an oracle call.
    pub(super) fn at(z: &Tensor<3>, layer: Layer<'_>, heads: usize) -> Self {
        let of = |name: &str| parted(through(z, layer.of(name)), heads);
        let (queries, keys, values) = (of("query"), of("key"), of("value"));
        // (Queries are fewer than scores.)
        let factor = scale(&queries);
        let scores = (queries.clone() * factor).matmul(keys.clone().swap_dims(2, 3));
        Self { queries, keys, values, scores }
    }

    /// Weights P of the keys, by rows.
    pub(super) fn weights(&self, mask: &Mask) -> Tensor<4> {
        match mask.kernel {
            Kernel::Softmax => softmax(self.scores.clone() + mask.added.clone(), 3),
            Kernel::Linear => self.means(mask),
        }
    }

    /// `s_ij/i`.
    pub(super) fn means(&self, mask: &Mask) -> Tensor<4> {
        self.scores.clone() * mask.means.clone()
    }

    /// `M_ij/i`.
    pub(super) fn kernel(&self, mask: &Mask) -> Tensor<4> {
        let guarded = (self.scores.clone() * (1.0 / GUARD)).tanh() * GUARD;
        guarded.exp() * mask.means.clone()
    }
}

/// `(1/i) Σ_(j≤i) (y_i·y_j) k_j/√d_h`.
pub(super) fn turned(y: &Tensor<4>, keys: &Tensor<4>, mask: &Mask) -> Tensor<4> {
    let factor = scale(y);
    let products = (y.clone() * factor).matmul(y.clone().swap_dims(2, 3)) * mask.means.clone();
    products.matmul(keys.clone())
}
