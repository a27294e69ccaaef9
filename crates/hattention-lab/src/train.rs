//! Tensors and gradients, through [Burn](https://burn.dev).
//!
//! A tensor's device decides where it lives and whether gradients are recorded: [`Device::autodiff`] for training,
//! [`Device::plain`] for everything else. Experiments on regressions want doubles, so [`tensor`] makes them; Burn's own
//! default is single precision. On the CPU Burn's `flex` backend computes (with AVX-512 where there is any, and rayon for
//! products of matrices); the order of its sums does not depend on the number of threads in the shapes tested here.
//! The gradient of a division by a number is rounded to single precision in Burn, whatever the tensor: multiply by the
//! reciprocal instead.
//!
//! # Example
//! ```
//! use hattention_lab::train::{Device, numbers, tensor};
//! # fn main() -> Result<(), hattention_lab::Error> {
//! let device = Device::Cpu.autodiff()?;
//! let x = tensor(&[1.0, 2.0, 3.0], [3], &device).require_grad();
//! let gradients = (x.clone() * x.clone()).sum().backward();
//! assert_eq!(numbers(x.grad(&gradients).unwrap())?, [2.0, 4.0, 6.0]);
//! # Ok(())
//! # }
//! ```

use burn::tensor::{DType, Tensor, TensorData};

use crate::error::Error;

/// Where tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The first NVIDIA card; only in builds with the feature `cuda`.
    Cuda,
}

impl Device {
    /// `cpu` or `cuda`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    /// The device that a word means.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Cpu, Self::Cuda].into_iter().find(|device| device.word() == word)
    }

    /// The device as Burn knows it, without gradients.
    ///
    /// # Errors
    /// [`Error::Device`] for CUDA in a build without it.
    pub fn plain(self) -> Result<burn::tensor::Device, Error> {
        self.check()?;
        Ok(match self {
            Self::Cpu => burn::tensor::Device::flex(),
            #[cfg(feature = "cuda")]
            Self::Cuda => burn::tensor::Device::cuda(0),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda => burn::tensor::Device::flex(),
        })
    }

    /// The device with gradients.
    ///
    /// # Errors
    /// [`Error::Device`] for CUDA in a build without it.
    pub fn autodiff(self) -> Result<burn::tensor::Device, Error> {
        Ok(self.plain()?.autodiff())
    }

    /// Whether this build has the device.
    ///
    /// # Errors
    /// [`Error::Device`] if not.
    pub fn check(self) -> Result<(), Error> {
        match self {
            Self::Cuda if cfg!(not(feature = "cuda")) => {
                Err(Error::Device { device: "cuda", why: "this program was built without it".to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// A tensor of doubles from numbers, row by row.
///
/// # Panics
/// If the numbers are not as many as the shape says: a mistake of the program, not of data.
pub fn tensor<const D: usize>(numbers: &[f64], shape: [usize; D], device: &burn::tensor::Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), shape), (device, DType::F64))
}

/// The numbers of a tensor, row by row.
///
/// # Errors
/// [`Error::Tensor`] if the device does not give them back.
pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>, Error> {
    tensor.try_into_vec_as::<f64>().map_err(|e| Error::Tensor(e.to_string()))
}

/// The number of a tensor of one, as a loss.
///
/// # Errors
/// [`Error::Tensor`] if it has not exactly one number, or the device does not give it back.
pub fn number(tensor: Tensor<1>) -> Result<f64, Error> {
    match numbers(tensor)?[..] {
        [one] => Ok(one),
        ref many => Err(Error::Tensor(format!("{} numbers, expected one", many.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;
    use rand::RngExt;

    /// One layer of linear self-attention, `Ŷ = (1/n)(XL)(XL)ᵀ(XL)P`, and half its mean squared error.
    fn loss(x: Tensor<2>, y: Tensor<2>, l: Tensor<2>, p: Tensor<2>) -> Tensor<1> {
        let n = x.dims()[0] as f64;
        let keys = x.matmul(l); // [n, d]
        let state = keys.clone().transpose().matmul(keys.clone()) / n; // [d, d]
        let residual = keys.matmul(state).matmul(p) - y; // [n, m]
        (residual.clone() * residual).sum() * (0.5 / n)
    }

    /// `∂/∂P = (1/n) Sᵀ(XL)ᵀE`, and central differences for L and P.
    #[test]
    fn gradients_of_linear_attention() {
        let (n, d, m) = (12, 3, 2);
        let mut random = generator("test", "train", "numbers", 0);
        let mut draw = |count: usize| -> Vec<f64> { (0..count).map(|_| random.random_range(-1.0..1.0)).collect() };
        let (x, y, l, p) = (draw(n * d), draw(n * m), draw(d * d), draw(d * m));
        let device = Device::Cpu.autodiff().unwrap();
        let of = |l: &[f64], p: &[f64]| {
            let (l, p) = (tensor(l, [d, d], &device).require_grad(), tensor(p, [d, m], &device).require_grad());
            (loss(tensor(&x, [n, d], &device), tensor(&y, [n, m], &device), l.clone(), p.clone()), l, p)
        };
        let (value, l_leaf, p_leaf) = of(&l, &p);
        let gradients = value.backward();
        let found_l = numbers(l_leaf.grad(&gradients).unwrap()).unwrap();
        let found_p = numbers(p_leaf.grad(&gradients).unwrap()).unwrap();

        let keys = product(&x, &l, [n, d, d]);
        let state: Vec<f64> =
            product(&transposed(&keys, n, d), &keys, [d, n, d]).iter().map(|s| s / n as f64).collect();
        let attended = product(&keys, &state, [n, d, d]);
        let residual: Vec<f64> = product(&attended, &p, [n, d, m]).iter().zip(&y).map(|(a, b)| a - b).collect();
        let by_hand = product(&transposed(&attended, n, d), &residual, [d, n, m]);
        // Sums of n·d terms of order one.
        let rounding = 4.0 * (n * d) as f64 * f64::EPSILON;
        for (found, exact) in found_p.iter().zip(&by_hand) {
            assert!((found - exact / n as f64).abs() <= rounding, "{found} {exact}");
        }
        // Central differences err by h²|f‴|/6 + ε|f|/h: about 1e-9 for h = 1e-5 and derivatives of order ten.
        let h = 1e-5;
        for k in 0..d * d {
            let at = |sign: f64| {
                let mut moved = l.clone();
                moved[k] += sign * h;
                number(of(&moved, &p).0).unwrap()
            };
            let difference = (at(1.0) - at(-1.0)) / (2.0 * h);
            assert!((difference - found_l[k]).abs() < 1e-8, "{k}: {difference} {}", found_l[k]);
        }
    }

    fn product(a: &[f64], b: &[f64], [rows, inner, columns]: [usize; 3]) -> Vec<f64> {
        let at = |i: usize, j: usize| (0..inner).map(|k| a[i * inner + k] * b[k * columns + j]).sum();
        (0..rows * columns).map(|k| at(k / columns, k % columns)).collect()
    }

    fn transposed(a: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        (0..rows * columns).map(|k| a[(k % rows) * columns + k / rows]).collect()
    }

    #[test]
    fn products_do_not_depend_on_threads() {
        let n = 200;
        let mut random = generator("test", "train", "threads", 0);
        let x: Vec<f64> = (0..n * n).map(|_| random.random_range(-1.0..1.0)).collect();
        let product = || {
            let device = Device::Cpu.plain().unwrap();
            let x = tensor(&x, [n, n], &device);
            numbers(x.clone().matmul(x)).unwrap()
        };
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(product);
        let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap().install(product);
        assert_eq!(alone, three);
    }

    #[test]
    fn cuda_is_refused_where_it_is_not_built_in() {
        assert_eq!(Device::Cuda.check().is_err(), cfg!(not(feature = "cuda")));
        assert!(Device::Cpu.check().is_ok());
    }
}
