"""What statsmodels tells of its own data sets (reference/statsmodels_sets.py and statsmodels_tests.py made the numbers)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import hattention

ROOT = Path(__file__).resolve().parents[2]
MODELS = json.loads((ROOT / "reference/statsmodels_sets.json").read_text())["models"]
TESTED = json.loads((ROOT / "reference/statsmodels_tests.json").read_text())["models"]


@pytest.mark.parametrize("model", MODELS, ids=lambda one: f"{one['data']}-{one['vcov']}-{one['weights']}")
def test_numbers_of_statsmodels(model: dict[str, Any]) -> None:
    frame = pd.read_csv(ROOT / f"reference/data/{model['data']}.csv")
    result = hattention.fit(model["formula"], frame, weights=model["weights"], vcov=model["vcov"])
    assert sorted(result.params.index) == sorted(model["names"])
    order = model["names"]
    # (statsmodels loses as many digits as the condition number has; on Longley that is ten.)
    tolerance = 1e-13 * max(result.condition, 1e3)

    def close(found: Any, expected: Any, times: float = 1.0) -> None:
        np.testing.assert_allclose(np.asarray(found, dtype=float), np.asarray(expected, dtype=float), rtol=times * tolerance, atol=1e-12)

    close(result.params[order], model["params"])
    close(result.bse[order], model["bse"])
    close(result.tvalues[order], model["tvalues"])
    # (The logarithm of a p-value is off by t times what t is off by.)
    close(result.pvalues[order], model["pvalues"], 100)
    interval = result.conf_int(alpha=0.1).loc[order]
    close(interval[0], model["low_90"], 100)
    close(interval[1], model["high_90"], 100)
    close(result.cov_params().loc[order, order], model["cov_params"], 10)
    for name in ("rsquared", "rsquared_adj", "df_model", "llf"):
        close(getattr(result, name), model[name])
    # After clustering statsmodels keeps n − k for the model, and counts clusters for its tests.
    clustered = model["vcov"].startswith("cluster")
    if not clustered:
        close(result.df_resid, model["df_resid"])
        close(result.fvalue, model["fvalue"], 100)
        close(result.f_pvalue, model["f_pvalue"], 1000)
        close(result.scale, model["scale"])
        close(result.ssr, model["ssr"])
    # R counts the variance among the parameters.
    n = model["n"]
    close(result.aic - 2, model["aic"])
    close(result.bic - np.log(n), model["bic"])
    assert result.nobs == n
    told = result.augment()
    close(told["prediction"][:5], model["fittedvalues"])
    close(told["residual"][:5], model["resid"], 1e3)
    if model["leverage"] is not None:
        close(told["leverage"][:5], model["leverage"])
        close(told["cooks_distance"][:5], model["cooks_distance"], 1e3)


def fitted(model: dict[str, Any]) -> tuple[hattention.Result, pd.DataFrame]:
    frame = pd.read_csv(ROOT / f"reference/data/{model['data']}.csv")
    frame = frame.assign(part=np.array(["a", "b", "c"])[np.arange(len(frame)) % 3])
    return hattention.fit(model["formula"], frame, vcov=model["vcov"]), frame


@pytest.mark.parametrize("model", TESTED, ids=lambda one: f"{one['data']}-{one['vcov']}")
def test_hypotheses_are_those_of_statsmodels(model: dict[str, Any]) -> None:
    result, _ = fitted(model)
    names = [name.replace("Intercept", "(Intercept)").replace("[T.", "").replace("]", "") for name in model["names"]]
    for test in model["tests"]:
        given = test["hypothesis"]
        if not isinstance(given, str):
            matrix = pd.DataFrame(np.array(given), columns=names)[list(result.params.index)]
            given = (matrix.to_numpy(), np.array([1.0, 0.5]))
        found = result.test(given).iloc[0]
        np.testing.assert_allclose(found["statistic"], test["f"], rtol=1e-9, err_msg=str(given))
        # (The logarithm of a p-value is off by more where it is large.)
        np.testing.assert_allclose(found["p"], test["p"], rtol=1e-7, err_msg=str(given))
        assert (found["df1"], found["df2"]) == (test["df1"], test["df2"])
    # The same as mappings, and as hypotheses side by side.
    a, b = model["names"][-2:]
    joint = result.test(f"{a} = 0, {b} = 2")["statistic"].iloc[0]
    assert joint == result.test({a: 0, b: 2})["statistic"].iloc[0]
    assert joint == result.test(f"{a} = 0", f"{b} = 2")["statistic"].iloc[0]
    assert result.test({"C(part)[T.b]": 0})["statistic"].iloc[0] == result.test("C(part)b")["statistic"].iloc[0]


@pytest.mark.parametrize("model", TESTED, ids=lambda one: f"{one['data']}-{one['vcov']}")
def test_intervals_are_those_of_statsmodels_but_for_clusters(model: dict[str, Any]) -> None:
    from scipy import stats

    result, frame = fitted(model)
    # As in fixest the quantile is that of clusters less one; statsmodels has n - k here.
    clusters = frame["firm"].nunique() if model["vcov"] == "cluster:firm" else None
    df = result.nobs - 5
    wider = 1.0 if clusters is None else stats.t.ppf(0.975, clusters - 1) / stats.t.ppf(0.975, df)
    for kind, what in (("confidence", "mean"), ("prediction", "obs")):
        found = result.predict(frame.head(3), interval=kind)  # type: ignore[arg-type]
        for end in ("low", "high"):
            expected = np.array(model["predictions"][f"{what}_ci_{'lower' if end == 'low' else 'upper'}"])
            half = (expected - found["prediction"]) * wider
            np.testing.assert_allclose(found[end], found["prediction"] + half, rtol=1e-9, atol=1e-9)
