"""The estimators of scikit-learn."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import hattention
from hattention import DriftDetector, LeastSquares

RNG = np.random.default_rng(7)
X = RNG.normal(size=(300, 5)) + [0, 10, -3, 100, 1]
BETA = np.array([1.0, -2.0, 0.5, 3.0, 0.0])
Y = X @ BETA + 4 + RNG.normal(size=300)
W = RNG.uniform(0.5, 3, size=300)

ESTIMATORS = [
    LeastSquares(),
    LeastSquares(ridge=1.0),
    LeastSquares(ridge=2.0, standardize=True),
    LeastSquares(fit_intercept=False, aliased="drop"),
    DriftDetector(),
]
CHECKS = [(one, check) for one in ESTIMATORS for _, check in estimator_checks_generator(one, legacy=True)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"), CHECKS, ids=lambda one: getattr(getattr(one, "func", one), "__name__", str(one))
)
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(clone(estimator))


def test_numbers_are_those_of_the_formula() -> None:
    frame = {f"x{at}": X[:, at] for at in range(5)} | {"y": Y, "w": W}
    for weights in (None, "w"):
        result = hattention.fit("y ~ x0 + x1 + x2 + x3 + x4", frame, weights=weights)
        model = LeastSquares().fit(X, Y, sample_weight=None if weights is None else W)
        np.testing.assert_array_equal(np.r_[model.intercept_, model.coef_], result.params)
        np.testing.assert_allclose(np.r_[model.intercept_se_, model.coef_se_], result.bse, rtol=1e-12)
        assert np.isclose(model.sigma_, result.sigma, rtol=1e-13)
        told = result.augment()
        np.testing.assert_array_equal(model.predict(X), told["prediction"])
        np.testing.assert_allclose(model.leverage_, told["leverage"], rtol=1e-11)
        np.testing.assert_allclose(model.loo_residuals_, told["loo_residual"], rtol=1e-11)
        for interval in ("confidence", "prediction"):
            expected = result.predict(interval=interval, level=0.9)
            found = model.predict(X, interval=interval, level=0.9)
            np.testing.assert_allclose(np.column_stack(found), expected, rtol=1e-12)


@pytest.mark.parametrize("ridge", [0.0, 3.0, 1e4])
def test_numbers_are_those_of_scikit_learn(ridge: float) -> None:
    ours = LeastSquares(ridge=ridge or None).fit(X, Y, sample_weight=W)
    theirs = (Ridge(alpha=ridge) if ridge else LinearRegression()).fit(X, Y, sample_weight=W)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)
    assert ours.alpha_ == (ridge or None)


def test_leave_one_out_is_what_it_says() -> None:
    model = LeastSquares().fit(X, Y)
    for row in (0, 17, 299):
        others = np.delete(np.arange(300), row)
        alone = Y[row] - LeastSquares().fit(X[others], Y[others]).predict(X[[row]])[0]
        assert np.isclose(model.loo_residuals_[row], alone, rtol=1e-10)


def layouts(values: Any) -> list[Any]:
    readonly = values.copy()
    readonly.flags.writeable = False
    spread = np.zeros((2 * len(values), 3 * values.shape[1]))
    spread[::2, ::3] = values
    return [
        np.asfortranarray(values), readonly, spread[::2, ::3], values[::-1].copy()[::-1], values[:, ::-1].copy()[:, ::-1],
        values.astype(">f8"), np.asarray(values, dtype=object), values.tolist(),
    ]  # fmt: skip


def test_layouts_have_the_same_bits() -> None:
    expected = LeastSquares().fit(X, Y)
    for values in layouts(X):
        for y in (Y, np.repeat(Y, 3)[::3], Y[::-1].copy()[::-1]):
            model = LeastSquares().fit(values, y)
            np.testing.assert_array_equal(model.coef_, expected.coef_)
            np.testing.assert_array_equal(model.predict(values), expected.predict(X))
    single = X.astype(np.float32)
    np.testing.assert_array_equal(LeastSquares().fit(single, Y).coef_, LeastSquares().fit(single.astype(float), Y).coef_)


def test_rows_in_pieces_are_exact() -> None:
    whole = LeastSquares().partial_fit(X, Y, W)
    pieces = LeastSquares()
    for piece in np.array_split(RNG.permutation(300), 7):
        pieces.partial_fit(X[piece], Y[piece], W[piece])
    np.testing.assert_array_equal(pieces.coef_, whole.coef_)
    np.testing.assert_array_equal(whole.coef_, LeastSquares().fit(X, Y, W).coef_)
    left = LeastSquares().partial_fit(X[:100], Y[:100], W[:100])
    right = pickle.loads(pickle.dumps(LeastSquares().partial_fit(X[100:], Y[100:], W[100:])))
    np.testing.assert_array_equal(left.merge(right).coef_, whole.coef_)
    left.remove(X[100:], Y[100:], W[100:])
    np.testing.assert_array_equal(left.coef_, LeastSquares().partial_fit(X[:100], Y[:100], W[:100]).coef_)
    with pytest.raises(hattention.DataError, match="rows are to go"):
        left.remove(X, Y)
    with pytest.raises(hattention.DataError, match="`fit` keeps none"):
        LeastSquares().fit(X, Y).merge(left)
    with pytest.raises(hattention.DataError, match="needs the training rows"):
        left.explain(X[:1])
    assert len(left.explain(X[:1], train=(X[:100], Y[:100], W[:100]))) == 1


def test_explanations_add_up() -> None:
    for weights in (None, W):
        model = LeastSquares().fit(X, Y, weights)
        found = model.explain(X[:3], top=300)
        for at, one in enumerate(found):
            assert np.isclose(one.weights @ one.targets, one.prediction) and np.isclose(one.weighted_sum, one.prediction)
            assert np.isclose(one.weights.sum(), 1)
            np.testing.assert_array_equal(one.targets, Y[one.rows])
            assert np.isclose(one.std_error, (model.predict(X[[at]], "confidence")[2] - one.prediction)[0] / 1.9680, rtol=1e-3)
        keys = model.transform(X)
        scale = (np.ones(300) if weights is None else W)
        expected = (keys[:3] @ keys.T + 1 / scale.sum()) * scale
        order = np.argsort(found[0].rows)
        np.testing.assert_allclose(found[0].weights[order], expected[0], rtol=1e-9, atol=1e-13)
    far = LeastSquares().fit(X, Y).explain(X[:1] + 100)
    assert far[0].extrapolates and not found[0].extrapolates
    many = LeastSquares().fit(X, np.column_stack([Y, 2 * Y]))
    assert np.isclose(many.explain(X[:1], target=1)[0].prediction, 2 * many.explain(X[:1])[0].prediction)
    with pytest.raises(hattention.DataError, match="target is 2"):
        many.explain(X[:1], target=2)


def test_several_targets() -> None:
    both = np.column_stack([Y, -Y + X[:, 0]])
    model = LeastSquares().fit(X, both)
    assert (model.coef_.shape, model.intercept_.shape, model.predict(X).shape) == ((2, 5), (2,), (300, 2))
    np.testing.assert_array_equal(model.coef_[0], LeastSquares().fit(X, Y).coef_)
    assert model.loo_residuals_.shape == (300, 2)
    assert LeastSquares().fit(X, Y[:, None]).predict(X).shape == (300, 1)


def test_columns_that_depend_on_others() -> None:
    more = np.column_stack([X, X[:, 0] - X[:, 1]])
    with pytest.warns(hattention.HattentionWarning, match="`x5`; the shortest solution is taken"):
        shortest = LeastSquares().fit(more, Y)
    np.testing.assert_allclose(shortest.coef_, LinearRegression().fit(more, Y).coef_, rtol=1e-9)
    with pytest.warns(hattention.HattentionWarning, match="`x5`; they are left out"):
        dropped = LeastSquares(aliased="drop").fit(more, Y)
    assert dropped.coef_[5] == 0 and dropped.rank_ == 6
    np.testing.assert_array_equal(dropped.coef_[:5], LeastSquares().fit(X, Y).coef_)
    with pytest.raises(hattention.NoAnswerError, match="x5"):
        LeastSquares(aliased="error").fit(more, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LeastSquares(ridge=1.0).fit(more, Y)


def test_pipelines_searches_and_frames() -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = LeastSquares().fit(frame, Y)
    assert list(model.feature_names_in_) == list("abcde")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"a": "z"}))
    np.testing.assert_array_equal(model.predict(pl.from_pandas(frame)), model.predict(frame))
    search = GridSearchCV(LeastSquares(), {"ridge": [None, 1e-3, 1e6, "auto"]}, cv=4).fit(frame, Y)
    assert search.best_params_["ridge"] != 1e6
    assert len(cross_val_score(make_pipeline(StandardScaler(), PolynomialFeatures(2), LeastSquares()), X, Y)) == 5
    parallel = GridSearchCV(LeastSquares(), {"ridge": [1.0, 2.0]}, n_jobs=2).fit(X, Y)
    assert parallel.best_score_ > 0.9
    for library, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        keys = LeastSquares().set_output(transform=library).fit(frame, Y).transform(frame)
        assert isinstance(keys, kind) and list(keys.columns) == [f"key{at}" for at in range(5)]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    assert len(pickle.dumps(model)) < 20_000
    assert clone(model).get_params() == model.get_params()
    assert "LeastSquares" in model._repr_html_()


def test_components_and_automatic_penalties() -> None:
    assert LeastSquares(components=2).fit(X, Y).n_components_ == 2
    full = LeastSquares(components=5).fit(X, Y)
    np.testing.assert_allclose(full.coef_, LeastSquares().fit(X, Y).coef_, rtol=1e-10)
    chosen = LeastSquares(ridge="auto", standardize=True).fit(X, Y)
    assert chosen.alpha_ is not None and chosen.alpha_ >= 0 and np.isnan(chosen.coef_se_).all()
    with pytest.raises(hattention.DataError, match="no intervals"):
        chosen.predict(X, "confidence")
    with pytest.raises(hattention.DataError, match="ridge and components"):
        LeastSquares(ridge=1.0, components=1).fit(X, Y)
    with pytest.raises(hattention.DataError, match="ridge is .no."):
        LeastSquares(ridge="no").fit(X, Y)  # type: ignore[arg-type]
    with pytest.raises(hattention.DataError, match="interval is"):
        LeastSquares().fit(X, Y).predict(X, "no")  # type: ignore[arg-type]


def test_drift() -> None:
    rng = np.random.default_rng(3)
    train = rng.normal(size=(2000, 4)) @ rng.normal(size=(4, 4)) + 5
    detector = DriftDetector(block_rows=100).fit(train)
    same, moved = rng.permutation(train)[:1000], train[:300] + [0, 0, 0, 2.0]
    assert (detector.predict(same) == 1).mean() > 0.7
    assert detector.pvalue_.shape == (10,)
    assert (detector.predict(moved) == -1).all()
    assert detector.score(same) > 0.01 > detector.score(moved)
    report = detector.test(moved)
    assert report.drift and report.columns[3]["moved"]
    rows = DriftDetector().fit(train)
    alarms = (rows.predict(rng.permutation(train)) == -1).mean()
    assert 0.02 < alarms < 0.09
    permuted = DriftDetector(block_rows=None, permutations=199).fit(train)
    assert permuted.test(moved).method == "permutation"
    assert set(permuted.predict(moved)) == {-1}
    again = pickle.loads(pickle.dumps(permuted))
    assert again.test(moved).pvalue == permuted.test(moved).pvalue
    tied = np.column_stack([train, train[:, 0] * 2, np.full(len(train), 3.0)])
    detector = DriftDetector().fit(tied)
    assert detector.dependent_ == ["x4", "x5"]
    new = tied[:2].copy()
    new[1, 5] = 4
    assert detector.score_samples(new)[1] == 0 < detector.score_samples(new)[0]
    assert detector.test(new).drift
    with pytest.raises(hattention.DataError, match="level is 2"):
        DriftDetector(level=2).fit(train)
