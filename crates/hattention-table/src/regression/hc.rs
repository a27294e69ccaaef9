//! Robust errors of states: the sums of products of four columns that `--with-hc` keeps.

use hattention::Filter;
use hattention::fit::{Fit, Vcov};
use hattention::quartic::QuarticMoments;
use hattention::whitening::Whitening;

use super::failure::Failure;
use super::watch::Watch;

/// Whether the covariance can be had from sums.
pub fn from_sums(vcov: &Vcov) -> bool {
    matches!(vcov, Vcov::Hc0 | Vcov::Hc1)
}

/// The covariance of `hat merge`, and of `hat fit` without rows to read again.
///
/// # Errors
/// For a covariance that needs rows.
pub fn check(vcov: &Vcov) -> Result<(), Failure> {
    if *vcov == Vcov::Iid || from_sums(vcov) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("--vcov {vcov} reads all rows a second time, and a state's rows are gone"),
        "use HC0 or HC1 with states built --with-hc, leave out --vcov, or fit all the rows in one command",
    ))
}

/// Reads `--vcov`. (`nonrobust` is what statsmodels calls `iid`.)
///
/// # Errors
/// For an unknown word.
pub fn parse(text: &str) -> Result<Vcov, Failure> {
    if text == "nonrobust" {
        return Ok(Vcov::Iid);
    }
    Vcov::parse(text).ok_or_else(|| {
        Failure::usage(
            format!("unknown covariance `{text}`"),
            "use iid, HC0, HC1, HC2, HC3, HAC:lag, cluster:COLUMN or cluster:COLUMN+COLUMN",
        )
    })
}

/// The refusal of a state without the sums.
pub fn lacking(state: &str, vcov: &Vcov) -> Failure {
    Failure::usage(
        format!("--vcov {vcov} of {state}, which was built without --with-hc: the sums it needs are not there"),
        "build every state with `hat fit … --with-hc --state-out`, or leave out --vcov",
    )
}

/// Gives the fits of a state their covariances; targets are its first columns.
///
/// # Errors
/// Under a filter; for a covariance that needs rows.
pub fn cover(
    quartic: &QuarticMoments,
    whitening: &Whitening,
    fits: &mut [Fit],
    vcov: &Vcov,
    watch: &dyn Watch,
) -> Result<(), Failure> {
    check_filter(whitening.filter, vcov)?;
    note_digits(whitening, vcov, watch);
    for (target, fit) in fits.iter_mut().enumerate() {
        fit.covariance = Some(quartic.covariance(whitening, fit, target, vcov)?);
    }
    Ok(())
}

/// Robust errors that may have fewer digits than this are said to.
const DIGITS_SAID: f64 = 6.0;

/// Says that few digits of robust errors are sure: they stand on keys in doubles, which lose those of the condition, unlike
/// coefficients and classical errors.
pub fn note_digits(whitening: &Whitening, vcov: &Vcov, watch: &dyn Watch) {
    let sure = -(whitening.condition * f64::EPSILON).log10();
    if sure < DIGITS_SAID {
        watch.note(&format!(
            "{vcov} stands on keys in doubles: {:.0} digits of its errors are sure at this condition (centre or scale \
             the columns, or use poly(x, k), for more)",
            sure.max(0.0).floor()
        ));
    }
}

/// Says that HC2 or HC3 has no value, since so many rows have leverage 1: each has a coefficient to itself and no residual, and
/// the correction is 0/0. (`car::hccm` in R refuses, `sandwich::vcovHC` is NaN, statsmodels divides rounding by rounding.)
pub fn note_alone(rows: u64, vcov: &Vcov, watch: &dyn Watch) {
    if rows > 0 {
        let (have, what) = if rows == 1 { ("row has", "it has") } else { ("rows have", "each of them has") };
        watch.note(&format!(
            "{vcov} has no value: {rows} {have} leverage 1 ({what} a coefficient to itself, so that nothing is known of its \
             error), and there are no standard errors; use --vcov HC1, or leave such rows out"
        ));
    }
}

/// Refuses robust errors of shrunk coefficients.
///
/// # Errors
/// Under a filter.
pub fn check_filter(filter: Filter, vcov: &Vcov) -> Result<(), Failure> {
    if filter == Filter::Ols {
        return Ok(());
    }
    Err(Failure::usage(
        format!("--vcov {vcov} with --ridge or --components: shrunk coefficients have no standard errors"),
        "leave out --vcov",
    ))
}
