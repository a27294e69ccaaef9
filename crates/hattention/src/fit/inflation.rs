//! Variance inflation: what each coefficient pays for the company of the others.

use crate::design::{Filter, RankTolerance};
use crate::error::Error;
use crate::exact::centred::{Centred, FORMED};
use crate::exact::float::Float;
use crate::moments::Moments;
use crate::whitening::{Placed, Whitening};

/// Orthogonal polynomials are read in all the bits there are: few of them are, and much may cancel in their sums.
const WORDS: usize = 32;

/// Variance inflation factors `VIFⱼ = Cⱼⱼ Ωⱼⱼ = 1 / (1 − Rⱼ²)`, `C` the centred sums of products (uncentred without
/// intercept), `Rⱼ²` that of column `j` regressed on the others.
///
/// Columns are those that coefficients are reported for: of an orthogonal polynomial the polynomials, whose `Cⱼⱼ` is
/// one unless there are weights. `moments` is the state that was factored.
///
/// # Shapes
/// `[coefficients without the intercept]`; `None` for dropped columns, the others being those of the columns kept.
///
/// # Equals
/// `car::vif(lm(…))` in R, weighted or not, for terms of one column (for factors and `poly` it reports one generalised
/// factor a term); `variance_inflation_factor(exog, j)` in statsmodels for every column but the constant.
///
/// # Numerics
/// Right to `(p + 8) ε/2` whatever the condition, for `Ω` is read off the loading and `C` off the exact sums; NaN for a
/// column whose loading leaves the range of normal doubles (of length below 1e-308 or above 1e307, as a rule), infinite
/// beyond 1e308. Cost `O(p²)`.
///
/// # Errors
/// - [`Error::Parameter`]: a filter other than least squares; coefficients of smallest norm for dependent columns; or
///   orthogonal polynomials in a whitening read from a file, which does not say how they were formed.
/// - [`Error::Shape`]: a state with too few columns.
/// - [`Error::IncompatibleStates`]: a state with another number of rows than were factored.
///
/// # Example
/// ```
/// use hattention::{Block, Column, Design, Filter, Moments, Whitening, fit::variance_inflation};
/// // The second column is the first, (−1, 0, 0, 1), and a part orthogonal to it of the same length: R² = 1/2.
/// let (a, b) = ([-1.0, 0.0, 0.0, 1.0], [-1.0, 1.0, -1.0, 1.0]);
/// let block = Block { rows: 4, columns: vec![Column::Dense(&a), Column::Dense(&b)], weights: None };
/// let moments = Moments::of(&block).unwrap();
/// let design = Design::plain(["a", "b"], true);
/// let whitening = Whitening::of(&moments, &design, Filter::Ols, Default::default(), None).unwrap();
/// let factors = variance_inflation(&moments, &whitening).unwrap();
/// assert!(factors.iter().all(|f| (f.unwrap() - 2.0).abs() < 1e-14));
/// ```
///
/// # References
/// Marquardt (1970); Belsley, Kuh & Welsch (1980), chapter 3.
pub fn variance_inflation(moments: &Moments, whitening: &Whitening) -> Result<Vec<Option<f64>>, Error> {
    check(moments, whitening)?;
    let design = &whitening.design;
    let sums = Centred::<4>::new(&moments.sums, design.intercept);
    let loading = &whitening.loading[design.intercept as usize..];
    let forming = whitening.unweighted.as_deref().unwrap_or(moments);
    let placed = Placed::<WORDS>::new(design, forming, RankTolerance::Exact)?;
    let formed_sums = Centred::<WORDS>::new(&moments.sums, design.intercept).with_formed(&placed.formed);
    let factor = |(column, row): (&Option<usize>, &Vec<f64>)| {
        let column = column.filter(|_| !row.is_empty())?;
        Some(if column >= FORMED {
            inflation(formed_sums.product(column, column), row)
        } else {
            inflation(sums.product(column, column), row)
        })
    };
    Ok(placed.table.iter().zip(loading).map(factor).collect())
}

fn check(moments: &Moments, whitening: &Whitening) -> Result<(), Error> {
    let design = &whitening.design;
    let refuse = |name, got: &str, allowed| Err(Error::Parameter { name, got: got.into(), allowed });
    if whitening.filter != Filter::Ols {
        return refuse("the filter", "ridge or components", "least squares");
    }
    let reported = whitening.loading.iter().filter(|row| !row.is_empty()).count();
    if reported > whitening.rank {
        return refuse("the treatment of dependent columns", "smallest norm", "columns that are dropped or refused");
    }
    if !design.orthogonal.is_empty() && whitening.solver.is_none() {
        return refuse(
            "the whitening",
            "one read from a file, with orthogonal polynomials",
            "one factored from moments",
        );
    }
    let columns = design.state_columns().max().map_or(0, |c| c + 1);
    if columns > moments.columns() {
        return Err(Error::Shape { what: "the state", expected: columns, got: moments.columns() });
    }
    if moments.rows() != whitening.rows {
        let right = format!("a design factored from {} rows", whitening.rows);
        return Err(Error::IncompatibleStates { left: format!("a state of {} rows", moments.rows()), right });
    }
    Ok(())
}

/// `C ‖l‖²` for the loading `l` of a coefficient, whose covariance over σ² is `Ω = l lᵀ`.
fn inflation<const N: usize>(square: Float<N>, loading: &[f64]) -> f64 {
    let largest = loading.iter().fold(0.0f64, |m, l| m.max(l.abs()));
    if !largest.is_normal() || loading.iter().any(|l| l.is_nan()) {
        return f64::NAN;
    }
    let sum: f64 = loading.iter().map(|l| (l / largest) * (l / largest)).sum();
    let largest = Float::from_f64(largest);
    (square * largest * largest * Float::from_f64(sum)).to_f64()
}
