"""Estimators that change: parts added and taken out, copies, failures that leave nothing half done."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest

import hattention
from hattention import DriftDetector, LeastSquares

RNG = np.random.default_rng(11)
X = RNG.normal(size=(200, 3))
Y = X @ [1.0, 2.0, 3.0] + RNG.normal(size=200)
ALL = LeastSquares().partial_fit(X, Y)


def test_parts_add_to_the_rows_of_fit() -> None:
    model = LeastSquares().fit(X[:120], Y[:120]).partial_fit(X[120:], Y[120:])
    np.testing.assert_array_equal(model.coef_, ALL.coef_)
    without_rows = pickle.loads(pickle.dumps(LeastSquares().fit(X, Y)))
    with pytest.raises(hattention.DataError, match="needs the training rows"):
        without_rows.partial_fit(X, Y)
    np.testing.assert_allclose(without_rows.coef_, ALL.coef_, rtol=1e-14)


def test_parts_of_other_columns_are_not_merged() -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    one = LeastSquares().partial_fit(frame[:100], Y[:100])
    other = LeastSquares().partial_fit(frame.loc[100:, ["c", "b", "a"]], Y[100:])
    with pytest.raises(hattention.DataError, match=r"\['c', 'b', 'a'\] as names of its features"):
        one.merge(other)
    with pytest.raises(hattention.DataError, match="as targets"):
        one.merge(LeastSquares().partial_fit(frame, np.c_[Y, Y]))
    with pytest.raises(TypeError, match="merge takes a LeastSquares, not int"):
        one.merge(3)  # type: ignore[arg-type]
    doubled = LeastSquares().partial_fit(X, Y)
    np.testing.assert_allclose(doubled.merge(doubled).coef_, ALL.coef_, rtol=1e-14)
    assert doubled.df_resid_ == 396


@pytest.mark.parametrize("change", ["fit", "partial_fit", "remove", "merge"])
def test_a_failure_leaves_the_estimator_as_it_was(change: str) -> None:
    model = LeastSquares(aliased="error").partial_fit(X, Y)
    before, names = model.predict(X), sorted(model.__dict__)
    twice = np.c_[X[:, 0], X[:, 0]]
    with pytest.raises((hattention.NoAnswerError, ValueError)):
        match change:
            case "fit":
                model.fit(twice, Y)
            case "partial_fit":
                model.partial_fit(twice, Y)
            case "remove":
                model.remove(X, Y)
            case _:
                model.merge(LeastSquares().partial_fit(X[:, :2], Y))
    assert model.n_features_in_ == 3 and sorted(model.__dict__) == names
    np.testing.assert_array_equal(model.predict(X), before)
    np.testing.assert_array_equal(model.coef_, ALL.coef_)


def test_no_rows_of_other_threads_are_lost() -> None:
    model = LeastSquares()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda at: model.partial_fit(X[at::8], Y[at::8]), range(8)))
    np.testing.assert_array_equal(model.coef_, ALL.coef_)


def test_what_needs_rows_is_no_attribute_without_them() -> None:
    model = LeastSquares().partial_fit(X, Y)
    assert not hasattr(model, "leverage_") and not hasattr(model, "loo_residuals_")
    assert "LeastSquares" in model._repr_html_() and inspect.getmembers(model)
    with pytest.raises(hattention.DataError, match="leverage_ needs the training rows"):
        model.leverage_  # noqa: B018
    for copied in (copy.copy(LeastSquares().fit(X, Y)), copy.deepcopy(LeastSquares().fit(X, Y))):
        assert math.isclose(copied.leverage_.sum(), 4.0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ridge": [1]}, r"ridge is \[1\]"),
        ({"ridge": -1.0}, "ridge is -1"),
        ({"components": 2.5}, "components is 2.5"),
        ({"components": -1}, "components is -1"),
        ({"aliased": None}, "aliased is None"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(hattention.DataError, match=message):
        LeastSquares(**parameters).fit(X, Y)


def test_wrong_counts_are_named() -> None:
    model = LeastSquares().fit(X, Y)
    for wanted, message in (({"top": -1}, "top is -1"), ({"target": -1}, "target is -1"), ({"target": 1}, "there are 1")):
        with pytest.raises(hattention.DataError, match=message):
            model.explain(X[:1], **wanted)  # type: ignore[arg-type]
    with pytest.raises(hattention.DataError, match="y has the shape"):
        model.partial_fit(X, np.c_[Y, Y])


def test_leaving_a_row_out_is_a_refit_without_it() -> None:
    for penalty in (None, 3.0):
        model = LeastSquares(ridge=penalty).fit(X, Y)
        for row in (0, 77):
            rest = np.delete(np.arange(200), row)
            alone = LeastSquares(ridge=penalty).fit(X[rest], Y[rest])
            assert math.isclose(model.loo_residuals_[row], Y[row] - alone.predict(X[[row]])[0], rel_tol=1e-9)


def test_keys_weigh_rows() -> None:
    weights = RNG.uniform(0.5, 2, size=200)
    for constant in (True, False):
        model = LeastSquares(fit_intercept=constant).fit(X, Y, sample_weight=weights)
        keys = model.transform(X)
        weigh = weights * (keys @ keys[5] + (1 / weights.sum() if constant else 0))
        assert math.isclose(weigh @ Y, model.predict(X[[5]])[0], rel_tol=1e-11)


def test_wide_and_many_components_take_no_minutes() -> None:
    wide = RNG.normal(size=(40, 300))
    target = RNG.normal(size=40)
    with pytest.warns(hattention.HattentionWarning, match="the shortest solution"):
        model = LeastSquares().fit(wide, target)
    np.testing.assert_allclose(model.predict(wide), target, atol=1e-10)
    shortest = np.linalg.pinv(wide - wide.mean(0), rcond=1e-10) @ (target - target.mean())
    np.testing.assert_allclose(model.coef_, shortest, rtol=1e-9, atol=1e-12)
    many = RNG.normal(size=(400, 150))
    target = RNG.normal(size=400)
    model = LeastSquares(components=10).fit(many, target)
    centred = many - many.mean(0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    expected = vectors[:10].T @ ((vectors[:10] @ (centred.T @ target)) / values[:10] ** 2)
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-9, atol=1e-13)


def test_a_rest_of_rows_joins_the_block_before() -> None:
    detector = DriftDetector(block_rows=50).fit(X)
    assert detector.predict(X[:101]).shape == (101,) and detector.pvalue_.shape == (2,)
    assert math.isclose(detector.pvalue_[1], detector.test(X[50:101]).pvalue)
    with pytest.raises(hattention.DataError, match="takes at least 5 rows"):
        DriftDetector(block_rows=4).fit(X)
    with pytest.raises(hattention.DataError, match="use at least 19"):
        DriftDetector(block_rows=50, permutations=9).fit(X)


def test_detectors_take_any_names() -> None:
    frame = pd.DataFrame(X, columns=["a`b", "c\\d", "(target)"])
    report = DriftDetector(block_rows=None).fit(frame).test(frame + 1)
    assert report.drift and len(report.columns) == 3
    tied = DriftDetector().fit(frame.assign(**{"d`e": frame["a`b"] * 2}))
    assert tied.dependent_ == ["d`e"]


def test_heavy_tails_keep_their_level_by_permutations() -> None:
    rng = np.random.default_rng(5)
    train, same = rng.standard_t(3, size=(600, 3)), rng.standard_t(3, size=(20 * 60, 3))
    alarms = {}
    for permutations in (0, 99):
        detector = DriftDetector(block_rows=60, permutations=permutations).fit(train)
        detector.predict(same)
        alarms[permutations] = (detector.pvalue_ < 0.05).mean()
    assert alarms[99] <= 0.2 < alarms[0], alarms
