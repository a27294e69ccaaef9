"""Tests of hypotheses and intervals of predictions, by statsmodels.

Makes reference/statsmodels_tests.json of CSV files in reference/data. Needs statsmodels. Seconds. Run from the repository
root:

    python reference/statsmodels_tests.py
"""

import platform

import numpy as np
import pandas as pd
import statsmodels
import statsmodels.formula.api as smf

from common import ROOT, number, numbers, write_json

# Formula, data set, covariance as Hattention names it, and as statsmodels does. Student's t everywhere.
MODELS = [
    ("murder ~ urban + poverty + C(part)", "statecrime", "iid", {}),
    ("murder ~ urban + poverty + C(part)", "statecrime", "HC1", {"cov_type": "HC1"}),
    ("murder ~ urban + poverty + C(part)", "statecrime", "HC3", {"cov_type": "HC3"}),
    ("invest ~ value + capital + C(part)", "grunfeld", "iid", {}),
    ("invest ~ value + capital + C(part)", "grunfeld", "cluster:firm", {"cov_type": "cluster", "groups": "firm"}),
    ("invest ~ value + capital + C(part)", "grunfeld", "HAC:3", {"cov_type": "HAC", "cov_kwds": {"maxlags": 3}}),
]


def load(name):
    """A third of the rows in turn are `a`, `b` and `c`."""
    frame = pd.read_csv(ROOT / f"reference/data/{name}.csv")
    return frame.assign(part=np.array(["a", "b", "c"])[np.arange(len(frame)) % 3])


def hypotheses(a, b):
    """As statsmodels reads them; a matrix is over the constant, the levels b and c, `a` and `b`, in this order."""
    return [
        "Intercept = 0", "C(part)[T.b] = 0", f"{a} = 1", f"{a}, {b}", f"{a} = 0, {b} = 2", f"{a} = {b} = 0",
        f"2*{a} + {b}/3 = 1/4", f"C(part)[T.b] - C(part)[T.c] = {a}", [[0, 0, 0, 1, 0], [0, 0, 0, 1, -2]],
    ]  # fmt: skip


def describe(formula, name, vcov, how):
    frame, how = load(name), dict(how)
    if "groups" in how:
        how["cov_kwds"] = {"groups": frame[how.pop("groups")].astype("category").cat.codes}
    fit = smf.ols(formula, frame).fit(use_t=True, **how)
    tests = []
    for hypothesis in hypotheses(*fit.params.index[-2:]):
        given = hypothesis if isinstance(hypothesis, str) else (np.array(hypothesis, dtype=float), np.array([1.0, 0.5]))
        test = fit.f_test(given)
        told = {"f": test.fvalue, "df1": test.df_num, "df2": test.df_denom, "p": test.pvalue}
        tests.append({"hypothesis": hypothesis, **{key: number(float(np.squeeze(x))) for key, x in told.items()}})
    predicted = fit.get_prediction(frame.head(3)).summary_frame()
    ends = ["mean_ci_lower", "mean_ci_upper", "obs_ci_lower", "obs_ci_upper"]
    return {
        "formula": formula, "data": name, "vcov": vcov, "names": list(fit.params.index), "tests": tests,
        "predictions": {end: numbers(predicted[end]) for end in ends},
    }  # fmt: skip


def main():
    meta = {
        "made by": "reference/statsmodels_tests.py",
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "statsmodels": statsmodels.__version__},
        "conventions": "use_t=True; HAC without correction; cluster with statsmodels' default correction",
    }  # fmt: skip
    models = [describe(*model) for model in MODELS]
    write_json(ROOT / "reference/statsmodels_tests.json", {"meta": meta, "models": models})


if __name__ == "__main__":
    main()
