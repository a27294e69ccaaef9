"""Models of the New York flights with absorbed fixed effects, by pyfixest.

Makes reference/absorbed.json from data/flights.parquet. Needs pandas, pyarrow and pyfixest. Half a minute. Run from
the repository root:

    python reference/absorbed.py

Effects are solved for by LSMR at a tolerance of 1e-12: at pyfixest's default (alternating projections to 1e-6) standard
errors have eight to ten digits. Singletons are kept (`fixef_rm="none"`; by default pyfixest leaves them out, as fixest does
since 0.13), weights are analytic ones, and small-sample corrections are pyfixest's defaults, which are fixest's.
"""

import platform

import pandas as pd
import pyarrow
import pyfixest
from pyfixest.demeaners import LsmrDemeaner

from common import ROOT, number, numbers, write_json

VCOV = {
    "iid": "iid",
    "HC1": "hetero",
    "cluster:tailnum": {"CRV1": "tailnum"},
    "cluster:dest": {"CRV1": "dest"},
    "cluster:tailnum+dest": {"CRV1": "tailnum + dest"},
}
MODELS = {
    "one": ("arr_delay ~ dep_delay + distance + hour | dest", None, list(VCOV)),
    "two": ("arr_delay ~ dep_delay + distance + hour | carrier + dest", None, list(VCOV)),
    "three": ("arr_delay ~ dep_delay + distance + hour | carrier + dest + tailnum", None, list(VCOV)),
    "weighted": ("arr_delay ~ dep_delay + hour | carrier + dest", "distance", list(VCOV)),
    "factor": ("arr_delay ~ dep_delay + C(month) | origin + dest", None, ["iid", "cluster:dest"]),
}
ROWS = [0, 1, 17, 1000, 50000, 300000]


def describe(formula, weights, kinds, frame):
    demeaner = LsmrDemeaner(fixef_atol=1e-12, fixef_btol=1e-12)
    fit = pyfixest.feols(formula, frame, fixef_rm="none", weights=weights, weights_type="aweights", demeaner=demeaner)
    errors, degrees = {}, {}
    for kind in kinds:
        fit.vcov(VCOV[kind])
        errors[kind] = numbers(fit.se())
        degrees[kind] = {"K": int(fit._df_k), "t": int(fit._df_t)}
    return {
        "formula": formula,
        "weights": weights,
        "n": int(fit._N),
        "levels": [int(levels) for levels in fit._k_fe],
        "names": list(fit._coefnames),
        "estimate": numbers(fit.coef()),
        "std_errors": errors,
        "degrees": degrees,
        "r_squared": number(fit._r2),
        "adj_r_squared": number(fit._adj_r2),
        "within_r_squared": number(fit._r2_within),
        "fitted": numbers(fit.predict()[ROWS]),
    }


def main():
    frame = pd.read_parquet(ROOT / "data/flights.parquet")
    columns = ["arr_delay", "dep_delay", "distance", "hour", "carrier", "dest", "origin", "month", "tailnum"]
    frame = frame[columns].dropna().reset_index(drop=True)
    # Of weights in 16 bits numpy takes square roots in 32: eight digits would be left of the weighted fits.
    frame["distance"] = frame["distance"].astype(float)
    meta = {
        "source": "data/flights.parquet, rows with arr_delay",
        "python": platform.python_version(),
        "pandas": pd.__version__,
        "pyarrow": pyarrow.__version__,
        "pyfixest": pyfixest.__version__,
        "fitted": f"of rows {ROWS} among those with arr_delay, from 0",
        "degrees": "K: coefficients in (n - 1)/(n - K); t: degrees of freedom of the t distribution",
    }
    models = {name: describe(*model, frame) for name, model in MODELS.items()}
    write_json(ROOT / "reference" / "absorbed.json", {"meta": meta, "models": models})


if __name__ == "__main__":
    main()
