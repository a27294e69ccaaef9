"""Linear models of data sets that come with statsmodels, by statsmodels.

Makes reference/statsmodels_sets.json and the CSV files of these sets in reference/data. Needs statsmodels. Seconds. Run
from the repository root:

    python reference/statsmodels_sets.py
"""

import platform

import numpy as np
import statsmodels
import statsmodels.api as sm
import statsmodels.formula.api as smf

from common import ROOT, number, numbers, write_json

SETS = ["ccard", "grunfeld", "longley", "macrodata", "stackloss", "statecrime"]

# Formula, data set, weights, covariance as Hattention names it, and as statsmodels does. Student's t everywhere.
MODELS = [
    ("TOTEMP ~ GNPDEFL + GNP + UNEMP + ARMED + POP + YEAR", "longley", None, "iid", {}),
    ("STACKLOSS ~ AIRFLOW + WATERTEMP + ACIDCONC", "stackloss", None, "iid", {}),
    ("STACKLOSS ~ AIRFLOW + WATERTEMP + ACIDCONC", "stackloss", None, "HC0", {"cov_type": "HC0"}),
    ("STACKLOSS ~ AIRFLOW + WATERTEMP + ACIDCONC", "stackloss", None, "HC1", {"cov_type": "HC1"}),
    ("STACKLOSS ~ AIRFLOW + WATERTEMP + ACIDCONC", "stackloss", None, "HC2", {"cov_type": "HC2"}),
    ("STACKLOSS ~ AIRFLOW + WATERTEMP + ACIDCONC", "stackloss", None, "HC3", {"cov_type": "HC3"}),
    ("AVGEXP ~ AGE + INCOME + INCOMESQ + OWNRENT", "ccard", None, "iid", {}),
    ("AVGEXP ~ AGE + INCOME + INCOMESQ + OWNRENT", "ccard", "w", "iid", {}),
    ("AVGEXP ~ AGE + INCOME + INCOMESQ + OWNRENT", "ccard", "w", "HC1", {"cov_type": "HC1"}),
    ("invest ~ value + capital", "grunfeld", None, "iid", {}),
    ("invest ~ value + capital", "grunfeld", None, "cluster:firm", {"cov_type": "cluster", "groups": ["firm"]}),
    (
        "invest ~ value + capital", "grunfeld", None, "cluster:firm+year",
        {"cov_type": "cluster", "groups": ["firm", "year"]},
    ),
    ("invest ~ value + capital + C(firm)", "grunfeld", None, "HC3", {"cov_type": "HC3"}),
    ("realcons ~ realgdp + realinv", "macrodata", None, "HAC:4", {"cov_type": "HAC", "cov_kwds": {"maxlags": 4}}),
    ("murder ~ urban + poverty + hs_grad + single", "statecrime", None, "iid", {}),
    ("murder ~ urban*poverty + hs_grad", "statecrime", None, "HC2", {"cov_type": "HC2"}),
]  # fmt: skip


def load(name):
    frame = getattr(sm.datasets, name).load_pandas().data
    frame = frame.rename(columns=lambda column: str(column).strip())
    if name == "ccard":
        frame["w"] = 1 / frame["INCOME"] ** 2
    if name == "statecrime":
        frame = frame.reset_index(names="state")
    return frame


def describe(formula, name, weights, vcov, how, frame):
    make = smf.ols if weights is None else smf.wls
    model = make(formula, frame) if weights is None else make(formula, frame, weights=frame[weights])
    how = dict(how)
    if "groups" in how:
        codes = np.column_stack([frame[column].astype("category").cat.codes for column in how.pop("groups")])
        how["cov_kwds"] = {"groups": codes if codes.shape[1] > 1 else codes[:, 0]}
    fit = model.fit(use_t=True, **how)
    interval = np.asarray(fit.conf_int(0.1))
    names = [text.replace("Intercept", "(Intercept)").replace("[T.", "").replace("]", "") for text in fit.params.index]
    influence = fit.get_influence() if weights is None else None
    return {
        "formula": formula, "data": name, "weights": weights, "vcov": vcov, "n": int(fit.nobs), "names": names,
        "params": numbers(fit.params), "bse": numbers(fit.bse), "tvalues": numbers(fit.tvalues),
        "pvalues": numbers(fit.pvalues), "low_90": numbers(interval[:, 0]), "high_90": numbers(interval[:, 1]),
        "rsquared": number(fit.rsquared), "rsquared_adj": number(fit.rsquared_adj),
        "fvalue": number(fit.fvalue), "f_pvalue": number(fit.f_pvalue), "df_resid": number(fit.df_resid),
        "df_model": number(fit.df_model), "llf": number(fit.llf), "aic": number(fit.aic), "bic": number(fit.bic),
        "scale": number(fit.scale), "ssr": number(fit.ssr),
        "fittedvalues": numbers(fit.fittedvalues[:5]), "resid": numbers(fit.resid[:5]),
        "leverage": None if influence is None else numbers(influence.hat_matrix_diag[:5]),
        "cooks_distance": None if influence is None else numbers(influence.cooks_distance[0][:5]),
        "cov_params": [numbers(row) for row in np.asarray(fit.cov_params())],
    }  # fmt: skip


def main():
    frames = {name: load(name) for name in SETS}
    for name, frame in frames.items():
        frame.to_csv(ROOT / f"reference/data/{name}.csv", index=False)
    meta = {
        "made by": "reference/statsmodels_sets.py",
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "statsmodels": statsmodels.__version__},
        "conventions": "use_t=True; HAC without correction; cluster with statsmodels' default correction",
    }  # fmt: skip
    models = [describe(*model, frames[model[1]]) for model in MODELS]
    write_json(ROOT / "reference/statsmodels_sets.json", {"meta": meta, "models": models})


if __name__ == "__main__":
    main()
