"""Linear models of the New York flights in far more digits than f64.

Makes reference/flights_exact.json from data/flights.parquet. Needs numpy (with an 80-bit long double),
pandas, pyarrow and mpmath. About a minute and 2 GB of memory. Run from the repository root:

    python reference/flights_exact.py

The columns are whole numbers (the logarithm in model c is an f64, so a whole number of 2^-51), so every
sum of products is formed exactly in integers; the normal equations are then solved to 60 digits.
Strings carry 25 correct digits. Leverages, robust covariances and PRESS are summed in 80-bit floats
from there and carry about 17 digits, printed as f64.
"""

import platform

import mpmath
import numpy as np
import pandas as pd
import pyarrow
from mpmath import mp, mpf

from common import ROOT, write_json
from flights_design import CLUSTERS, HAC_LAG, groups, models, read_flights

mp.dps = 60
LOG_UNIT = 51  # logarithms of 17 to 4983 miles lie in [2, 16), hence are multiples of 2^-51
LONG = np.longdouble
assert np.finfo(LONG).eps < 2e-19, "needs an 80-bit long double"


def exact_dot(a, b):
    """Σ aᵢ bᵢ of whole numbers, in 64 bits when it fits there, in big integers when not."""
    if int(np.abs(a).max()) * int(np.abs(b).max()) * len(a) < 2**62:
        return int(np.dot(a, b))
    return int(np.dot(a.astype(object), b.astype(object)))


def whole_target(y):
    """The target as whole numbers times 2^-k, and k."""
    if y.dtype.kind == "i":
        return y, 0
    scaled = y * 2.0**LOG_UNIT
    assert (scaled == np.floor(scaled)).all()
    return scaled.astype(np.int64), LOG_UNIT


def text(value):
    return mpmath.nstr(value, 25, min_fixed=0, max_fixed=0, strip_zeros=False)


def to_long(value):
    """A long double from its leading and trailing f64."""
    high = float(value)
    return LONG(high) + LONG(float(value - mpf(high)))


def long_array(matrix):
    return np.array([[to_long(matrix[i, j]) for j in range(matrix.cols)] for i in range(matrix.rows)])


def mp_matrix(array):
    """An mp matrix from long doubles, exactly."""
    high = array.astype(float)
    low = (array - high).astype(float)
    rows, columns = array.shape
    return mpmath.matrix(
        [[mpf(float(high[i, j])) + mpf(float(low[i, j])) for j in range(columns)] for i in range(rows)]
    )


def orthogonal_transform(model, gram, weights_total):
    """T with X_R = X T, where X holds raw powers and X_R R's orthonormal poly(x, 2)."""
    p = gram.rows
    transform = mpmath.eye(p)
    if not model.poly:
        return transform
    n = mpf(weights_total)
    i, j = model.poly
    s1, s2, s3, s4 = gram[0, i], gram[0, j], gram[i, j], gram[j, j]
    mean = s1 / n
    norm1 = s2 - n * mean**2
    # x² less its projection on 1 and x - mean
    slope = (s3 - mean * s2) / norm1
    shift = s2 / n - slope * mean
    norm2 = s4 - s2**2 / n - slope**2 * norm1
    transform[i, i] = 1 / mpmath.sqrt(norm1)
    transform[0, i] = -mean / mpmath.sqrt(norm1)
    transform[j, j] = 1 / mpmath.sqrt(norm2)
    transform[i, j] = -slope / mpmath.sqrt(norm2)
    transform[0, j] = -shift / mpmath.sqrt(norm2)
    return transform


def meats(scores, leverage, frame):
    """Σ of outer products of the scores, each in its own way; scores [n, p], leverage [n]."""
    n, p = scores.shape

    def outer(a, b=None):
        return np.einsum("ni,nj->ij", a, a if b is None else b)

    result = {"HC0": outer(scores)}
    result["HC1"] = result["HC0"] * (LONG(n) / LONG(n - p))
    result["HC2"] = outer(scores / np.sqrt(1 - leverage)[:, None])
    result["HC3"] = outer(scores / (1 - leverage)[:, None])
    hac = result["HC0"].copy()
    for lag in range(1, HAC_LAG + 1):
        cross = outer(scores[:-lag], scores[lag:])
        hac += (1 - LONG(lag) / LONG(HAC_LAG + 1)) * (cross + cross.T)
    result[f"HAC:{HAC_LAG}"] = hac
    for name in CLUSTERS:
        total = np.zeros((p, p), LONG)
        for sign, codes in groups(frame, name):
            count = codes.max() + 1
            sums = np.zeros((count, p), LONG)
            np.add.at(sums, codes, scores)
            total += sign * (LONG(count) / LONG(count - 1)) * outer(sums)
        result[f"cluster:{name}"] = total * (LONG(n - 1) / LONG(n - p))
    return result


def t_quantile(probability, df):
    """The quantile of Student's t, from its distribution function in mpmath."""

    def upper(t):
        return mpmath.betainc(mpf(df) / 2, mpf(1) / 2, 0, df / (df + t * t), regularized=True) / 2

    with mpmath.workdps(30):
        return mpmath.findroot(lambda t: upper(t) - (1 - probability), mpf(2))


def wald_terms(model, beta, covariances):
    """b' V⁻¹ b / q of the q coefficients of each term of model a."""
    terms = {"dep_delay": [1], "distance": [2], "hour": [3]}
    for name in ("carrier", "origin"):
        terms[name] = [i for i, column in enumerate(model.names) if column.startswith(name)]
    result = {}
    for term, index in terms.items():
        b = mpmath.matrix([beta[i] for i in index])
        f = {}
        for name, covariance in covariances.items():
            part = mpmath.matrix([[covariance[i, j] for j in index] for i in index])
            f[name] = float((b.T * part**-1 * b)[0] / len(index))
        result[term] = {"df": len(index), "f": f}
    return result


def row_figures(model, frame, residual, leverage, variance, df2):
    """The first 20 rows of the file: all have an arrival delay."""
    rows = slice(0, 20)
    assert list(frame.index[rows]) == list(range(20))
    e, h = residual[rows], leverage[rows]
    fitted = model.y[rows] - e
    s2 = to_long(variance)
    t = t_quantile(mpf("0.975"), df2)
    confidence = to_long(t) * np.sqrt(s2 * h)
    prediction = to_long(t) * np.sqrt(s2 * (1 + h))
    columns = {
        "fitted": fitted,
        "residual": e,
        "leverage": h,
        "leave_one_out_residual": e / (1 - h),
        "cooks_distance": e * e * h / (model.x.shape[1] * s2 * (1 - h) ** 2),
        "confidence_low": fitted - confidence,
        "confidence_high": fitted + confidence,
        "prediction_low": fitted - prediction,
        "prediction_high": fitted + prediction,
    }
    return {"t_quantile": text(t)} | {name: values.astype(float).tolist() for name, values in columns.items()}


def describe(model, frame, with_rows):
    n, p = model.x.shape
    x, weights = model.x, model.weights
    y, shift = whole_target(model.y)
    unit = mpf(2) ** -shift
    w = np.ones(n, np.int64) if weights is None else weights
    wx = x * w[:, None]
    gram = mpmath.matrix(p, p)
    for i in range(p):
        for j in range(i, p):
            gram[i, j] = gram[j, i] = exact_dot(wx[:, i], x[:, j])
    cross = mpmath.matrix([exact_dot(wx[:, i], y) for i in range(p)]) * unit
    square = exact_dot(w * y if shift == 0 else y, y) * unit**2
    total_w, total_y = int(w.sum()), exact_dot(w, y) * unit

    unscaled = gram**-1
    beta = unscaled * cross
    rss = square - (beta.T * cross)[0]
    tss = square - total_y**2 / total_w if model.intercept else square
    df1, df2 = p - model.intercept, n - p
    variance = rss / df2
    transform = orthogonal_transform(model, gram, total_w)
    back = transform**-1
    shown = back * unscaled * back.T
    estimate = back * beta
    error = [mpmath.sqrt(variance * shown[i, i]) for i in range(p)]
    log_w = mpf(0) if weights is None else sum(
        int(count) * mpmath.log(int(value)) for value, count in zip(*np.unique(weights, return_counts=True))
    )
    log_likelihood = (log_w - n * (mpmath.log(2 * mp.pi) + 1 - mpmath.log(n) + mpmath.log(rss))) / 2
    f = (tss - rss) / df1 / variance

    x_long = x.astype(LONG)
    residual = model.y.astype(LONG) - x_long @ long_array(beta)[:, 0]
    key = x_long @ long_array(mpmath.cholesky(unscaled))  # (XᵀX)⁻¹ = L Lᵀ, kᵢ = Lᵀ xᵢ
    leverage = np.einsum("ni,ni->n", key, key) * w
    scores = x_long * (residual * w)[:, None]
    covariances = {"iid": variance * shown}
    for name, meat in meats(scores, leverage, frame).items():
        covariances[name] = back * unscaled * mp_matrix(meat) * unscaled * back.T
    variances = {name: [float(v[i, i]) for i in range(p)] for name, v in covariances.items()}
    highest = int(np.argmax(leverage))
    loo = residual / (1 - leverage)
    result = {
        "formula": model.formula,
        "weights": None if weights is None else "distance",
        "n": n,
        "names": model.names,
        "estimate": [text(value) for value in estimate],
        "std_error": [text(value) for value in error],
        "sigma": text(mpmath.sqrt(variance)),
        "r_squared": text(1 - rss / tss),
        "adj_r_squared": text(1 - variance / (tss / (n - model.intercept))),
        "f": {"statistic": text(f), "df1": df1, "df2": df2},
        "df_residual": df2,
        "residual_ss": text(rss),
        "log_likelihood": text(log_likelihood),
        "aic": text(2 * (p + 1) - 2 * log_likelihood),
        "bic": text(mpmath.log(n) * (p + 1) - 2 * log_likelihood),
        "std_errors": {
            name: [value**0.5 if value >= 0 else None for value in values] for name, values in variances.items()
        },
        "variances": {name: values for name, values in variances.items() if min(values) < 0},
        "max_leverage": float(leverage[highest]),
        "max_leverage_row_from_1": int(frame.index[highest]) + 1,
        "press": float(np.sum(w * loo * loo)),
    }
    if with_rows:
        result["wald_terms"] = wald_terms(model, beta, covariances)
        result["first_rows"] = row_figures(model, frame, residual, leverage, variance, df2)
    return result


def main():
    frame = read_flights()
    results = {key: describe(model, frame, key == "a") for key, model in models(frame).items()}
    versions = {package.__name__: package.__version__ for package in (np, pd, pyarrow, mpmath)}
    meta = {
        "made_by": "reference/flights_exact.py",
        "data": "data/flights.parquet",
        "versions": {"python": platform.python_version()} | versions,
        "conventions": {
            "all": "those of flights_r.json",
            "precision": "strings: 25 digits; numbers: computed in 80-bit floats, rounded to f64",
            "variances": "of the covariances with a negative variance, whose standard error is null",
            "wald_terms": "b' V^-1 b / q of the term's q coefficients",
            "first_rows": "the first 20 rows of the file; intervals at 95 %",
            "press": "sum of w (e/(1-h))^2",
        },
    }
    write_json(ROOT / "reference" / "flights_exact.json", {"meta": meta, "models": results})


if __name__ == "__main__":
    main()
