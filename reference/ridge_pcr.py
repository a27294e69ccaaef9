"""Ridge and principal-component regression on mtcars, in 50-digit arithmetic.

Makes reference/ridge_pcr.json from reference/data/mtcars.csv (made by classics.R). Needs mpmath, and numpy and
scikit-learn, whose Ridge(solver="svd"), StandardScaler and PCA must agree. Run from the repository root:

    python reference/ridge_pcr.py

Ridge minimises Σ wᵢ (yᵢ - a - xᵢ'b)² + α |b|² on the columns as they are; a is not penalised.
Principal components are those of the centred, unscaled columns (of XᵀWX about weighted means, with weights).
Standardised, each column is first divided by its standard deviation over n; coefficients are of the original columns.
The data are the f64 nearest the printed figures. Strings carry 25 correct digits.
"""

import csv
import platform

import mpmath
import numpy as np
import sklearn
from mpmath import mp, mpf
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import ROOT, write_json

mp.dps = 50
ALPHAS = [0.0, 0.0078125, 1.0, 64.0, 10000.0]
# formula: the columns; "cyl=6" is the indicator of a level, named as R would
FORMULAS = {
    "mpg ~ disp + hp + drat + wt + qsec": ["disp", "hp", "drat", "wt", "qsec"],
    "mpg ~ wt + hp + C(cyl)": ["wt", "hp", "cyl=6", "cyl=8"],
}
WEIGHTS = [None, "carb"]


def read():
    with open(ROOT / "reference" / "data" / "mtcars.csv", newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name):
    if "=" in name:
        name, level = name.split("=")
        return [float(row[name] == level) for row in rows]
    return [float(row[name]) for row in rows]


def coefficient_name(name):
    return "C({}){}".format(*name.split("=")) if "=" in name else name


def text(value):
    return mpmath.nstr(value, 25, min_fixed=0, max_fixed=0, strip_zeros=False)


class Problem:
    """Centred data: x [n, p], y [n, 1], weights w, and the spectrum of XᵀWX, largest first."""

    def __init__(self, rows, columns, weights, standardize):
        self.columns = [[mpf(v) for v in column(rows, name)] for name in columns]
        self.y_raw = [mpf(v) for v in column(rows, "mpg")]
        self.n, self.p = len(rows), len(columns)
        self.w = [mpf(v) for v in column(rows, weights)] if weights else [mpf(1)] * self.n
        self.w_sum = sum(self.w)
        mean = lambda values: sum(a * b for a, b in zip(self.w, values)) / self.w_sum
        self.means, self.y_mean = [mean(values) for values in self.columns], mean(self.y_raw)
        self.scales = [
            mpmath.sqrt(sum((v - m) ** 2 for v in values) / self.n) if standardize else mpf(1)
            for values, m in zip(self.columns, self.means)
        ]
        self.x = mpmath.matrix(self.n, self.p)
        for j, values in enumerate(self.columns):
            for i, value in enumerate(values):
                self.x[i, j] = (value - self.means[j]) / self.scales[j]
        self.y = mpmath.matrix([v - self.y_mean for v in self.y_raw])
        self.wx = mpmath.matrix(self.n, self.p)
        for i in range(self.n):
            self.wx[i, :] = self.x[i, :] * self.w[i]
        self.gram, self.cross = self.x.T * self.wx, self.wx.T * self.y
        values, vectors = mpmath.eigsy(self.gram)
        order = sorted(range(self.p), key=lambda k: -values[k])
        self.eigenvalues = [values[k] for k in order]
        self.eigenvectors = [vectors[:, k] for k in order]

    def solve(self, filters):
        """Σₖ fₖ vₖ vₖ': the metric, with what follows from it."""
        metric = mpmath.matrix(self.p, self.p)
        for f, v in zip(filters, self.eigenvectors):
            metric += f * v * v.T
        scaled = metric * self.cross
        residual = self.y - self.x * scaled
        slopes = [scaled[j] / self.scales[j] for j in range(self.p)]
        intercept = self.y_mean - sum(b * m for b, m in zip(slopes, self.means))
        rss = sum(w * residual[i] ** 2 for i, w in enumerate(self.w))
        tss = sum(w * self.y[i] ** 2 for i, w in enumerate(self.w))
        leverage = [
            w / self.w_sum + w * (self.x[i, :] * metric * self.x[i, :].T)[0] for i, w in enumerate(self.w)
        ]
        press = sum(w * (residual[i] / (1 - leverage[i])) ** 2 for i, w in enumerate(self.w))
        return {
            "estimate": [text(value) for value in [intercept, *slopes]],
            "effective_df": text(1 + sum(f * value for f, value in zip(filters, self.eigenvalues))),
            "residual_ss": text(rss),
            "r_squared": text(1 - rss / tss),
            "fitted": [text(self.y_raw[i] - residual[i]) for i in range(3)],
            "leverage": [text(leverage[i]) for i in range(3)],
            "press": text(press),
        }


def ridge(problem, alpha):
    result = problem.solve([1 / (value + mpf(alpha)) for value in problem.eigenvalues])
    return {"alpha": alpha} | result


def components(problem, count):
    result = problem.solve([1 / v if k < count else mpf(0) for k, v in enumerate(problem.eigenvalues)])
    del result["press"]  # the components change when a row leaves
    return {"components": count} | result


def check(estimate, model, scaler=None):
    """scikit-learn's coefficients, in f64, must agree."""
    slopes = model.coef_ / (scaler.scale_ if scaler is not None else 1.0)
    intercept = model.intercept_ - (slopes @ scaler.mean_ if scaler is not None else 0.0)
    expected = np.array([float(value) for value in estimate])
    assert np.allclose(np.r_[intercept, slopes], expected, rtol=1e-9, atol=1e-11), (expected, intercept, slopes)


def check_case(case, x, y, w):
    scaler = StandardScaler().fit(x) if case["standardize"] else None
    x = scaler.transform(x) if case["standardize"] else x
    for entry in case["ridge"]:
        check(entry["estimate"], Ridge(alpha=entry["alpha"], solver="svd").fit(x, y, sample_weight=w), scaler)
    for entry in case["pcr"] if w is None else []:
        pipeline = make_pipeline(PCA(entry["components"], svd_solver="full"), LinearRegression()).fit(x, y)
        pca, line = pipeline[0], pipeline[1]
        line.coef_ = pca.components_.T @ line.coef_
        line.intercept_ -= line.coef_ @ pca.mean_
        check(entry["estimate"], line, scaler)


def case(rows, formula, columns, weights, standardize):
    problem = Problem(rows, columns, weights, standardize)
    result = {
        "formula": formula,
        "weights": weights,
        "standardize": standardize,
        "names": ["(Intercept)", *map(coefficient_name, columns)],
        "eigenvalues": [text(value) for value in problem.eigenvalues],
        "ridge": [ridge(problem, alpha) for alpha in ALPHAS],
        "pcr": [components(problem, count) for count in range(1, len(columns) + 1)],
    }
    x = np.column_stack([column(rows, name) for name in columns])
    check_case(result, x, np.array(column(rows, "mpg")), column(rows, weights) if weights else None)
    return result


def main():
    rows = read()
    cases = []
    for formula, columns in FORMULAS.items():
        cases += [case(rows, formula, columns, weights, False) for weights in WEIGHTS]
        cases.append(case(rows, formula, columns, None, True))
    versions = {package.__name__: package.__version__ for package in (mpmath, np, sklearn)}
    meta = {
        "made_by": "reference/ridge_pcr.py",
        "data": "reference/data/mtcars.csv, its f64 values",
        "versions": {"python": platform.python_version()} | versions,
        "conventions": {
            "ridge": "sum w (y - a - x'b)^2 + alpha |b|^2, a free: scikit-learn's Ridge(alpha, solver='svd')",
            "pcr": "components of the centred columns, largest eigenvalue first; with weights, of X'WX about weighted means",
            "standardize": "columns divided by their standard deviation over n (StandardScaler); coefficients of the original columns",
            "eigenvalues": "of the centred (and standardised, weighted) X'WX, not divided by n",
            "effective_df": "trace of the hat matrix, the intercept's 1 included",
            "leverage": "diagonal of the hat matrix, first three rows",
            "press": "sum of w (e/(1-h))^2, exact leave-one-out for ridge",
        },
    }
    write_json(ROOT / "reference" / "ridge_pcr.json", {"meta": meta, "cases": cases})


if __name__ == "__main__":
    main()
