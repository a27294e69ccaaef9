//! Sums over particles.

use hattention::matrix::Matrix;

/// `a + s b`.
pub(crate) fn plus(a: &Matrix, s: f64, b: &Matrix) -> Matrix {
    let data = a.data.iter().zip(&b.data).map(|(a, b)| a + s * b).collect();
    Matrix { rows: a.rows, columns: a.columns, data }
}

/// `s a`.
pub(crate) fn scaled(a: &Matrix, s: f64) -> Matrix {
    Matrix { rows: a.rows, columns: a.columns, data: a.data.iter().map(|a| s * a).collect() }
}

/// `a b`, for shapes that fit.
pub(crate) fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let mut product = Matrix::zeros(a.rows, b.columns);
    for i in 0..a.rows {
        let target = product.row_mut(i);
        for (k, factor) in a.row(i).iter().enumerate() {
            target.iter_mut().zip(b.row(k)).for_each(|(t, b)| *t = b.mul_add(*factor, *t));
        }
    }
    product
}

/// `aᵀ b`.
pub(crate) fn across(a: &Matrix, b: &Matrix) -> Matrix {
    let mut product = Matrix::zeros(a.columns, b.columns);
    for i in 0..a.rows {
        for (k, factor) in a.row(i).iter().enumerate() {
            product.row_mut(k).iter_mut().zip(b.row(i)).for_each(|(t, b)| *t = b.mul_add(*factor, *t));
        }
    }
    product
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
