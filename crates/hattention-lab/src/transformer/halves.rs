//! Halves of layers.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, sigmoid, softplus};

use super::attention::{Looked, Mask, joined, normed, parted, scale, through, turned};
use super::weights::Layer;
use super::{Block, Kernel};

/// Tokens on their way. Shapes: `[B, T, d]`.
pub(super) struct State {
    pub(super) x: Tensor<3>,
    /// Momenta, where the block has them.
    pub(super) v: Option<Tensor<3>>,
}

/// A layer.
pub(super) struct Half<'a> {
    pub(super) block: Block,
    pub(super) heads: usize,
    pub(super) mask: &'a Mask,
    pub(super) layer: Layer<'a>,
    /// The second embedding, where it is added to every half.
    pub(super) injected: Option<&'a Tensor<3>>,
}

fn network(x: &Tensor<3>, layer: Layer<'_>) -> Tensor<3> {
    let z = normed(x.clone(), layer.of("network.norm"));
    through(&gelu(through(&z, layer.of("network.up"))), layer.of("network.down"))
}

/// Sums of squares of rows. Shape: `[.., 1]`.
fn squares<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    (x.clone() * x.clone()).sum_dim(D - 1)
}

/// What moves tokens, as a function of momenta.
type Drift = Box<dyn Fn(&Tensor<4>) -> Tensor<4>>;

impl Half<'_> {
    fn look(&self, x: Tensor<3>) -> Looked {
        Looked::at(&normed(x, self.layer.of("norm")), self.layer, self.heads)
    }

    fn out(&self, heads: Tensor<4>) -> Tensor<3> {
        through(&joined(heads), self.layer.of("output"))
    }

    /// The half with attention.
    pub(super) fn attention(&self, State { x, v }: State) -> State {
        match v {
            Some(v) if self.block.is_stepped() => {
                let (x, v) = self.stepped(x, v);
                State { x, v: Some(v) }
            }
            Some(v) => {
                let (x, v) = self.pushed(x, v);
                State { x, v: Some(v) }
            }
            None => {
                let looked = self.look(x.clone());
                let moved = self.out(looked.weights(self.mask).matmul(looked.values));
                State { x: self.inject(x + moved, "injected"), v: None }
            }
        }
    }

    /// The half with the network.
    pub(super) fn network(&self, State { x, v }: State) -> State {
        match v {
            Some(v) if self.block.is_normed() => {
                let ahead = sigmoid(self.layer.number("network.momentum.ahead"));
                let pushed = network(&(x.clone() + v.clone() * ahead), self.layer);
                let v = self.momentum(self.kept(v, pushed, "network."));
                State { x: x + v.clone(), v: Some(v) }
            }
            v => {
                let moved = network(&x, self.layer);
                State { x: self.inject(x + moved, "network.injected"), v }
            }
        }
    }

    fn inject(&self, x: Tensor<3>, name: &str) -> Tensor<3> {
        match self.injected {
            Some(second) => x + second.clone() * self.layer.number(name),
            None => x,
        }
    }

    /// `W = βV + γF`.
    fn kept(&self, v: Tensor<3>, force: Tensor<3>, half: &str) -> Tensor<3> {
        let kept = sigmoid(self.layer.number(&format!("{half}momentum.kept")));
        v * kept + force * self.layer.number(&format!("{half}momentum.pushed"))
    }

    fn momentum(&self, w: Tensor<3>) -> Tensor<3> {
        normed(w, self.layer.of("momentum.norm"))
    }

    /// Y, H0, H1 and R2.
    fn pushed(&self, x: Tensor<3>, v: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let from = match self.block {
            Block::YuriiFormer => x.clone() + v.clone() * sigmoid(self.layer.number("momentum.ahead")),
            _ => x.clone(),
        };
        let looked = self.look(from);
        let weights = looked.weights(self.mask);
        let force = self.out(weights.clone().matmul(looked.values.clone()));
        let w = self.kept(v.clone(), force.clone(), "");
        match self.block {
            Block::H1 => {
                let v = self.momentum(w - self.correction(&v, &looked, &weights, force));
                (x + v.clone(), v)
            }
            Block::R2 => {
                let correction = self.correction(&w, &looked, &weights, force);
                let moved = self.momentum(w.clone() - correction.clone() * 0.5);
                (x + moved, self.momentum(w - correction))
            }
            _ => {
                let v = self.momentum(w);
                (x + v.clone(), v)
            }
        }
    }

    /// The geometric correction `C(u)`.
    fn correction(&self, u: &Tensor<3>, looked: &Looked, weights: &Tensor<4>, force: Tensor<3>) -> Tensor<3> {
        let of = |name: &str| parted(through(u, self.layer.of(name)), self.heads);
        let wide = looked.keys.dims()[3];
        let square = squares(u); // [B, T, 1]
        let [b, t, _] = square.dims();
        let moved = looked.values.clone() * square.clone().reshape([b, 1, t, 1]);
        let seen = weights.clone().matmul(Tensor::cat(vec![looked.keys.clone(), of("key"), moved], 3));
        let part = |place: usize| seen.clone().narrow(3, place * wide, wide);
        let turn = of("query") * part(0) + looked.queries.clone() * part(1);
        let turn = turn.sum_dim(3).mean_dim(1).reshape([b, t, 1]) * scale(&looked.keys);
        u.clone() * turn - (force * square + self.out(part(2))) * 0.5
    }

    /// Momenta of heads: Euler, exponential Euler, kick–drift.
    fn stepped(&self, x: Tensor<3>, y: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let looked = self.look(x.clone());
        let y = parted(y, self.heads);
        let step = softplus(self.layer.number("step"), 1.0).reshape([1, 1, 1, 1]);
        // η over the step, by the odds of what is kept.
        let odds = self.layer.number("damping").reshape([1, 1, 1, 1]);
        let kept = sigmoid(odds.clone());
        let (force, drift) = self.flow(&looked, &y);
        match self.block {
            Block::Euler | Block::ExponentialEuler => {
                let moved = drift(&y);
                let push = match self.block {
                    Block::Euler => step.clone(),
                    _ => step.clone() * sigmoid(-odds.clone()) / softplus(-odds, 1.0),
                };
                (x + self.out(moved * step), joined(y * kept + force * push))
            }
            _ => {
                let y = (y + force * step.clone()) * kept;
                (x + self.out(drift(&y) * step), joined(y))
            }
        }
    }

    /// Force at momenta, and drift as a function of them.
    fn flow(&self, looked: &Looked, y: &Tensor<4>) -> (Tensor<4>, Drift) {
        if self.mask.kernel() == Kernel::Linear {
            let force = looked.values.clone() - turned(y, &looked.keys, self.mask);
            let weights = looked.means(self.mask);
            return (force, Box::new(move |y| weights.clone().matmul(y.clone())));
        }
        let kernel = looked.kernel(self.mask); // M_ij/i
        let means = kernel.clone().sum_dim(3); // z, [B, R, T, 1]
        let kappa = squares(y) / (means.clone() * means.clone());
        let force = if self.block == Block::Leaking {
            let excess = (kappa + 1.0) * 0.5;
            let rows = kernel.clone().matmul(looked.values.clone()) * excess.clone();
            rows + kernel.swap_dims(2, 3).matmul(looked.values.clone() * excess)
        } else {
            let wide = looked.values.dims()[3];
            let both = Tensor::cat(vec![looked.values.clone(), looked.values.clone() * kappa.clone()], 3);
            let seen = kernel.matmul(both);
            (seen.clone().narrow(3, 0, wide) * (kappa + 2.0) + seen.narrow(3, wide, wide)) * 0.5
        };
        (force, Box::new(move |y| y.clone() / means.clone()))
    }
}
