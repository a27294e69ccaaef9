"""Linear models of the New York flights by statsmodels, and clusters by pyfixest.

Makes reference/flights_statsmodels.json from data/flights.parquet. Needs numpy, pandas, pyarrow,
statsmodels and pyfixest. Under a minute and 2.2 GB of memory. Run from the repository root:

    python reference/flights.py
"""

import platform
import warnings

import numpy as np
import pandas as pd
import pyarrow
import pyfixest
import statsmodels
import statsmodels.api as sm
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups

from common import ROOT, number, numbers, write_json
from flights_design import CLUSTERS, HAC_LAG, models, read_flights

PYFIXEST = {
    "a": "arr_delay ~ dep_delay + distance + hour + carrier + origin",
    "b": "arr_delay ~ dep_delay + distance + hour + carrier + origin",
    "e.arr_delay": "arr_delay ~ distance + origin",
    "e.dep_delay": "dep_delay ~ distance + origin",
}


def orthogonal(x):
    """R's poly(x, 2): orthonormal, each with a positive leading coefficient."""
    x = x.astype(float)
    first = x - x.mean()
    square = first * first
    second = square - square.mean() - first * (square @ first) / (first @ first)
    return first / np.sqrt(first @ first), second / np.sqrt(second @ second)


def standard_errors(covariance):
    with np.errstate(invalid="ignore"):
        return numbers(np.sqrt(np.diag(covariance)))


def cluster_errors(fit, frame):
    result = {}
    for name, columns in CLUSTERS.items():
        codes = [pd.factorize(frame[column])[0] for column in columns]
        if len(codes) == 1:
            covariance = cov_cluster(fit, codes[0], use_correction=True)
        else:
            covariance = cov_cluster_2groups(fit, codes[0], codes[1], use_correction=True)[0]
        result[f"cluster:{name}"] = standard_errors(covariance)
    return result


def describe(model, frame):
    x = model.x.astype(float)
    if model.poly:
        first, second = model.poly
        x[:, first], x[:, second] = orthogonal(model.x[:, first])
    y = model.y.astype(float)
    fit = sm.OLS(y, x).fit() if model.weights is None else sm.WLS(y, x, weights=model.weights).fit()
    interval = fit.conf_int(0.05)
    errors = {"iid": numbers(fit.bse)}
    for kind in ("HC0", "HC1", "HC2", "HC3"):
        errors[kind] = standard_errors(fit.get_robustcov_results(kind).cov_params())
    hac = fit.get_robustcov_results("HAC", maxlags=HAC_LAG, use_correction=False)
    errors[f"HAC:{HAC_LAG}"] = standard_errors(hac.cov_params())
    return {
        "formula": model.formula,
        "weights": None if model.weights is None else "distance",
        "n": int(fit.nobs),
        "names": model.names,
        "estimate": numbers(fit.params),
        "std_error": numbers(fit.bse),
        "t": numbers(fit.tvalues),
        "p": numbers(fit.pvalues),
        "ci_low": numbers(interval[:, 0]),
        "ci_high": numbers(interval[:, 1]),
        "sigma": number(np.sqrt(fit.mse_resid)),
        "r_squared": number(fit.rsquared),
        "adj_r_squared": number(fit.rsquared_adj),
        "f": {
            "statistic": number(fit.fvalue),
            "df1": int(fit.df_model),
            "df2": int(fit.df_resid),
            "p": number(fit.f_pvalue),
        },
        "df_residual": int(fit.df_resid),
        "residual_ss": number(fit.ssr),
        "log_likelihood": number(fit.llf),
        "aic": number(fit.aic),
        "bic": number(fit.bic),
        "std_errors": errors | cluster_errors(fit, frame),
    }


def r_name(name):
    return "(Intercept)" if name == "Intercept" else name.replace("[T.", "").replace("]", "")


def pyfixest_errors(key, model, frame):
    """CRV1, with the two ways of counting clusters for the factor G/(G-1)."""
    result = {}
    for label, columns in CLUSTERS.items():
        for count in ("conventional", "min"):
            if len(columns) == 1 and count == "min":
                continue
            fit = pyfixest.feols(
                PYFIXEST[key],
                data=frame,
                vcov={"CRV1": " + ".join(columns)},
                weights=None if model.weights is None else "distance",
                ssc=pyfixest.ssc(k_adj=True, G_adj=True, G_df=count),
            )
            errors = {r_name(name): value for name, value in fit.se().items()}
            suffix = "" if len(columns) == 1 else f" G_df={count}"
            result[f"cluster:{label}{suffix}"] = numbers(errors[name] for name in model.names)
    return result


def main():
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    frame = read_flights()
    results = {}
    for key, model in models(frame).items():
        results[key] = describe(model, frame)
        if key in PYFIXEST:
            results[key]["pyfixest_std_errors"] = pyfixest_errors(key, model, frame)
    packages = [np, pd, pyarrow, statsmodels, pyfixest]
    meta = {
        "made_by": "reference/flights.py",
        "data": "data/flights.parquet",
        "versions": {"python": platform.python_version()}
        | {package.__name__: package.__version__ for package in packages},
        "level": 0.95,
        "conventions": {
            "names": "those of R, in R's order",
            "likelihood": "sigma is not counted as a parameter in aic and bic: 2 and log(n) below R's",
            "d": "statsmodels sees that the carriers add up to a constant, so its r_squared, adj_r_squared and f "
            "are about the mean with df1 = 16; R's, without an intercept, are about zero with df1 = 17",
            "HAC": "get_robustcov_results('HAC', maxlags=5, use_correction=False)",
            "cluster": "use_correction=True: times (n-1)/(n-k) and G/(G-1); two-way, each part with its own G",
            "pyfixest": "CRV1, ssc(k_adj=True, G_adj=True): times (n-1)/(n-k) and G/(G-1); two-way, "
            "G_df=conventional takes each part's own G, G_df=min (its default) the smallest; "
            "in model b it agrees with the exact errors to 7 digits, elsewhere to 11 or more",
        },
    }
    write_json(ROOT / "reference" / "flights_statsmodels.json", {"meta": meta, "models": results})


if __name__ == "__main__":
    main()
