//! Orthogonal polynomials, formed from the moments of powers when a state is read.

use std::collections::HashMap;

use super::job::{scale_of, spare_bits, tolerance, unit};
use crate::design::{Design, Orthogonal, RankTolerance};
use crate::error::{Dependence, Error, LOWER_POWERS};
use crate::exact::centred::{Centred, Combination, FORMED};
use crate::exact::float::Float;
use crate::moments::Moments;

/// Polynomials are formed in all the bits there are: their tables are small, and what is formed of them then carries
/// the rounding of its own arithmetic only.
const WORDS: usize = 32;

/// Polynomials of one column by degree, from 0: the factors of its powers, from 0.
type Polynomials = Vec<Vec<Float<WORDS>>>;

/// Where the columns of a design are found in a [`Centred`] reader.
#[derive(Debug)]
pub(crate) struct Placed<const N: usize> {
    /// By position in the design; `None` for columns that were never observed.
    pub(crate) table: Vec<Option<usize>>,
    /// The columns that are formed, for [`Centred::with_formed`]: the highest powers come last.
    pub(crate) formed: Vec<Combination<N>>,
}

impl<const N: usize> Placed<N> {
    /// Forms the polynomials of a design by the moments of `source`.
    ///
    /// # Errors
    /// [`Error::RankDeficient`] where powers depend on lower ones.
    pub(crate) fn new(design: &Design, source: &Moments, rank_tolerance: RankTolerance) -> Result<Self, Error> {
        let mut placed = Self { table: design.columns.iter().map(|c| c.map(|c| c + 1)).collect(), formed: Vec::new() };
        let mut known: HashMap<&[usize], Polynomials> = HashMap::new();
        for group in &design.orthogonal {
            for (which, powers) in group.powers.iter().enumerate() {
                if !known.contains_key(powers.as_slice()) {
                    let made = polynomials(source, powers, rank_tolerance);
                    known.insert(powers, made.map_err(|degree| dependent(design, group, which, degree))?);
                }
            }
            for (place, &position) in group.positions.iter().enumerate() {
                let degrees = group.degrees(place);
                let factor = |powers: &[usize]| {
                    let each = powers.iter().zip(&degrees).zip(&group.powers);
                    let each = each.map(|((&power, &degree), of)| known[&of[..]][degree][power]);
                    each.reduce(|product, factor| product * factor).unwrap_or(Float::ZERO)
                };
                let terms = group.terms(&degrees).into_iter();
                let terms = terms.map(|term| (term.column.map_or(0, |c| c + 1), factor(&term.powers).resize()));
                placed.table[position] = Some(FORMED + placed.formed.len());
                placed.formed.push(terms.collect());
            }
        }
        Ok(placed)
    }
}

/// The orthonormal polynomials of a column, from the unweighted moments of its powers `x, x², …, xᵏ`, by Gram and
/// Schmidt; or the degree from which on powers depend on lower ones.
fn polynomials(source: &Moments, powers: &[usize], rank_tolerance: RankTolerance) -> Result<Polynomials, usize> {
    let sums = Centred::<WORDS>::new(&source.sums, true);
    let table: Vec<usize> = powers.iter().map(|c| c + 1).collect();
    let gram: Vec<Vec<Float<WORDS>>> =
        table.iter().map(|&a| table.iter().map(|&b| sums.product(a, b)).collect()).collect();
    // Scaled by powers of two, so that doubles can hold the lengths.
    let scales: Vec<i64> = (0..table.len()).map(|k| scale_of(gram[k][k])).collect();
    let units: Vec<f64> = table.iter().map(|&c| unit(rank_tolerance, source.precision(c))).collect();
    let norms: Vec<f64> =
        table.iter().zip(&scales).map(|(&c, s)| sums.raw(c, c).scale(2 * s).sqrt().to_f64()).collect();
    // Over the centred powers, from the first.
    let mut rows: Polynomials = Vec::with_capacity(table.len());
    for k in 0..table.len() {
        let along = |row: &[Float<WORDS>]| row.iter().zip(&gram[k]).fold(Float::ZERO, |sum, (f, c)| sum + *f * *c);
        let mut row = vec![Float::ZERO; k + 1];
        row[k] = Float::from_f64(1.0);
        for earlier in &rows {
            let part = along(earlier);
            row.iter_mut().zip(earlier).for_each(|(r, e)| *r = *r - part * *e);
        }
        let square = along(&row);
        let lost = gram[k][k].exponent() - square.exponent();
        if square.is_zero() || square.is_negative() || lost > spare_bits(WORDS) {
            return Err(k + 1);
        }
        let distance = square.scale(2 * scales[k]).sqrt().to_f64();
        let on_earlier: Vec<f64> = (0..k).map(|j| row[j].scale(scales[k] - scales[j]).to_f64()).collect();
        if distance <= tolerance(&units, &norms, k, &on_earlier) {
            return Err(k + 1);
        }
        let length = square.sqrt().reciprocal();
        rows.push(row.into_iter().map(|f| f * length).collect());
    }
    let means: Vec<Float<WORDS>> = table.iter().map(|&c| sums.mean(c)).collect();
    let with_constant = rows.into_iter().map(|row| {
        let mean = row.iter().zip(&means).fold(Float::ZERO, |sum, (f, m)| sum + *f * *m);
        std::iter::once(-mean).chain(row).collect()
    });
    Ok(std::iter::once(vec![Float::from_f64(1.0)]).chain(with_constant).collect())
}

/// The error for a polynomial whose powers depend on each other from `degree` on.
fn dependent(design: &Design, group: &Orthogonal, which: usize, degree: usize) -> Error {
    let places = (0..group.positions.len()).filter(|&place| group.degrees(place)[which] >= degree);
    let dependent: Vec<Dependence> = places
        .map(|place| Dependence {
            column: design.names[group.positions[place]].clone(),
            on: vec![LOWER_POWERS.to_owned()],
            distance_relative: 0.0,
        })
        .collect();
    let columns = design.names.len() + design.intercept as usize;
    Error::RankDeficient { rank: columns - dependent.len(), columns, dependent }
}
