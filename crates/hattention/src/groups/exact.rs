//! Groups one by one, by their exact sums: what doubled arithmetic does not settle.

use std::collections::HashMap;

use super::folded::{Columns, Folded};
use super::frame::Frame;
use super::rows::GroupedRows;
use super::{GroupFit, GroupOptions, Rung, Status, TargetFit};
use crate::design::{Design, Orthogonal};
use crate::error::Error;
use crate::fit::{Fit, Scores, Vcov};
use crate::whitening::{Whitening, WhiteningOptions};

/// The exact sums of a group.
///
/// # Errors
/// None for rows that were let in.
pub(super) fn sums(parts: &[GroupedRows], options: &GroupOptions, group: usize) -> Result<Folded, Error> {
    let mut known = parts.iter().filter_map(|part| part.folded(group));
    let mut sums = known.next().cloned().unwrap_or_else(|| Folded::new(options.unweighted));
    known.try_for_each(|more| sums.merge(more))?;
    sums.add(parts.iter().flat_map(|part| part.pages(group)), &options.clusters)?;
    Ok(sums)
}

/// The fit of a group by its exact sums.
pub(super) fn fit(
    frame: &Frame,
    parts: &[GroupedRows],
    options: &GroupOptions,
    group: usize,
    sums: &Folded,
) -> GroupFit {
    let rows = sums.moments.rows();
    match solve(frame, parts, options, group, sums) {
        Ok(fit) => fit,
        Err(error) => GroupFit::without(rows, Some(frame), Status::Refused(error)),
    }
}

fn solve(
    frame: &Frame,
    parts: &[GroupedRows],
    options: &GroupOptions,
    group: usize,
    sums: &Folded,
) -> Result<GroupFit, Error> {
    let places = sums.places();
    let design = placed(&frame.design, &places)?;
    let (moments, unweighted) = (&sums.moments, sums.unweighted.as_ref());
    let whitening_options = WhiteningOptions { aliased: options.aliased, ..WhiteningOptions::default() };
    let whitening = Whitening::of(moments, &design, options.filter, whitening_options, unweighted)?;
    let fits = frame.targets.iter().map(|target| Fit::of(moments, &whitening, place(&places, *target)?, ""));
    let mut fits = fits.collect::<Result<Vec<Fit>, _>>()?;
    if options.vcov != Vcov::Iid {
        let covariances = robust(frame, parts, options, group, &whitening, &fits, &places)?;
        fits.iter_mut().zip(covariances).for_each(|(fit, covariance)| fit.covariance = Some(covariance));
    }
    let target = |fit: &Fit| TargetFit {
        estimates: fit.estimates.iter().map(|b| b.map_or(f64::NAN, |b| b.to_f64())).collect(),
        std_errors: (0..fit.names.len())
            .map(|k| match &fit.covariance {
                Some(covariance) if fit.estimates[k].is_some() => Some(covariance.std_error(k)),
                _ => None,
            })
            .map(|error| error.filter(|error| error.is_finite()).unwrap_or(f64::NAN))
            .collect(),
        df: fit.covariance.as_ref().map_or(fit.df_residual, |covariance| covariance.df),
        sigma: fit.sigma(),
        r_squared: fit.r_squared(),
        digits: fit.digits(),
    };
    Ok(GroupFit {
        rows: moments.rows(),
        status: Status::Fitted(Rung::Exact),
        names: frame.names.clone(),
        rank: Some(whitening.rank),
        df_residual: moments.rows() as f64 - whitening.effective_df,
        targets: fits.iter().map(target).collect(),
        dependent: whitening.dependent,
    })
}

/// Sandwiches, from the rows: they are all kept where one is asked for.
fn robust(
    frame: &Frame,
    parts: &[GroupedRows],
    options: &GroupOptions,
    group: usize,
    whitening: &Whitening,
    fits: &[Fit],
    places: &HashMap<usize, usize>,
) -> Result<Vec<crate::fit::Covariance>, Error> {
    let scores = fits.iter().map(|fit| Scores::new(whitening, fit, options.vcov.clone()));
    let mut scores = scores.collect::<Result<Vec<Scores>, _>>()?;
    for columns in Columns::of(parts.iter().flat_map(|part| part.pages(group))) {
        let (ids, block) = columns.block(&options.clusters);
        let whole: Vec<(usize, _)> = ids.iter().copied().zip(block.columns.iter().copied()).collect();
        let of_design: Vec<_> = whole.iter().filter(|(id, _)| !frame.targets.contains(id)).collect();
        let design = crate::Block { columns: of_design.iter().map(|(_, column)| *column).collect(), ..block };
        let ids = of_design.iter().map(|(id, _)| place(places, *id)).collect::<Result<Vec<_>, _>>()?;
        let codes = options.clusters.iter().filter_map(|id| columns.numbers(*id));
        let codes: Vec<Vec<u32>> = codes.map(|codes| codes.iter().map(|code| *code as u32).collect()).collect();
        let codes: Vec<&[u32]> = codes.iter().map(Vec::as_slice).collect();
        for ((scores, fit), target) in scores.iter_mut().zip(fits).zip(&frame.targets) {
            if let Some((_, target)) = whole.iter().find(|(id, _)| id == target) {
                scores.push(whitening, fit, &design, &ids, *target, &codes)?;
            }
        }
    }
    scores.into_iter().zip(fits).map(|(scores, fit)| scores.finish(whitening, fit)).collect()
}

fn place(places: &HashMap<usize, usize>, column: usize) -> Result<usize, Error> {
    let missing = Error::Shape { what: "the rows of a group", expected: column + 1, got: places.len() };
    places.get(&column).copied().ok_or(missing)
}

/// The design over the columns of a group's state; a column that is not there is zero.
fn placed(design: &Design, places: &HashMap<usize, usize>) -> Result<Design, Error> {
    let all = |columns: &[usize]| columns.iter().map(|column| place(places, *column)).collect::<Result<Vec<_>, _>>();
    let orthogonal = |of: &Orthogonal| -> Result<Orthogonal, Error> {
        let product = |column: &Option<usize>| column.map(|column| place(places, column)).transpose();
        Ok(Orthogonal {
            powers: of.powers.iter().map(|powers| all(powers)).collect::<Result<_, _>>()?,
            positions: of.positions.clone(),
            products: of.products.iter().map(product).collect::<Result<_, _>>()?,
        })
    };
    Ok(Design {
        names: design.names.clone(),
        columns: design.columns.iter().map(|column| places.get(&(*column)?).copied()).collect(),
        intercept: design.intercept,
        orthogonal: design.orthogonal.iter().map(orthogonal).collect::<Result<_, _>>()?,
    })
}
