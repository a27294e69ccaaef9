"""Attention regression of arrays."""

from __future__ import annotations

import copy
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import hattention
from hattention import AttentionRegressor

# (Heads that are not needed are penalised away.)
pytestmark = pytest.mark.filterwarnings("ignore:.*(same everywhere|rows before|groups are too few):hattention.HattentionWarning")

RNG = np.random.default_rng(11)
X = RNG.uniform(-1, 1, size=(160, 3)) * [1, 10, 0.1] + [0, 5, 2]
NEW = RNG.uniform(-1, 1, size=(40, 3)) * [1, 10, 0.1] + [0, 5, 2]


def truth(x: Any) -> Any:
    return np.sin(4 * x[:, 0]) + 0.1 * x[:, 1]


Y = truth(X) + 0.1 * RNG.normal(size=len(X))
GROUPS = np.repeat([f"g{at}" for at in range(16)], 10)
FAST: dict[str, Any] = {"n_heads": 2, "penalty": 1.0}

CHECKED = [
    AttentionRegressor(),
    AttentionRegressor(n_heads=1, linear=False, penalty=1.0),
    AttentionRegressor(n_heads=2, scores="softmax", mask="self", random_state=None),
]
CHECKS = [(one, check) for one in CHECKED for _, check in estimator_checks_generator(one, legacy=True)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"), CHECKS, ids=lambda one: getattr(getattr(one, "func", one), "__name__", str(one))
)
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(clone(estimator))


@pytest.fixture(scope="module")
def model() -> AttentionRegressor:
    return AttentionRegressor().fit(X, Y)


def test_curves_are_found_and_everything_is_told(model: AttentionRegressor) -> None:
    assert model.score(NEW, truth(NEW)) > 0.95 > LinearRegression().fit(X, Y).score(NEW, truth(NEW))
    assert model.coef_.shape == (3,) and model.head_coef_.shape == (5,) and model.metrics_.shape == (5, 3, 3)
    np.testing.assert_allclose(model.metrics_, model.metrics_.transpose(0, 2, 1), rtol=1e-12)
    assert np.linalg.eigvalsh(model.metrics_).min() > -1e-12
    assert model.shares_.shape == (6,) and np.isclose(model.shares_.sum(), 1)
    assert model.cv_results_ is not None
    best = min(model.cv_results_, key=lambda one: one["error"])
    assert (best["penalty"], best["mixing"]) == (model.penalty_, model.mixing_)
    assert model.loo_residuals_ is not None and model.loo_residuals_.shape == (160,)
    assert np.isclose(model.r2_loo_, 1 - (model.loo_residuals_**2).sum() / ((Y - Y.mean()) ** 2).sum())
    assert 0.9 < model.r2_loo_ < model.score(X, Y)
    assert model.converged_ and model.n_iter_ > 0 and np.isfinite(model.loss_)
    assert model.isolated_rows_ == 0 and model.sampled_ is None
    # Powers of two change units and nothing else.
    scaled = AttentionRegressor(**FAST).fit(X * [4, 1, 0.5], 2 * Y)
    plain = AttentionRegressor(**FAST).fit(X, Y)
    np.testing.assert_array_equal(scaled.coef_, plain.coef_ * [0.5, 2, 4])
    np.testing.assert_array_equal(scaled.metrics_, plain.metrics_)
    given = AttentionRegressor(penalty=model.penalty_, mixing=model.mixing_).fit(X, Y)
    assert given.cv_results_ is None and given.penalty_ == model.penalty_


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"linear": False},
        {"n_heads": 0},
        {"scores": "softmax", "mask": "self"},
        {"scores": "polynomial"},
        {"scores": "polynomial:4", "mask": "window:40"},
        {"mask": "causal"},
        {"mask": "decay:20"},
        {"mask": "block"},
        {"hold_out": 0.2, "restarts": 2},
    ],
)
def test_predictions_are_sums_of_targets(options: dict[str, Any]) -> None:
    groups = GROUPS if options.get("mask") == "block" else None
    model = AttentionRegressor(**{**FAST, **options}).fit(X, Y, groups)
    predictions, weights = model.predict(NEW), model.weights(NEW)
    assert weights.shape == (40, 160)
    np.testing.assert_allclose(weights @ Y, predictions, rtol=0, atol=1e-9)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-9)
    if options.get("linear") is False:
        np.testing.assert_array_equal(model.coef_, 0)
    again = AttentionRegressor(**{**FAST, **options}).fit(X, Y, groups)
    np.testing.assert_array_equal(again.predict(NEW), predictions)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict(NEW), predictions)
        np.testing.assert_array_equal(other.weights(NEW), weights)
        for found, expected in zip(other.predict(NEW, "prediction"), model.predict(NEW, "prediction"), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_one_head_of_distances_is_kernel_regression() -> None:
    model = AttentionRegressor(n_heads=1, linear=False, penalty=1.0).fit(X, Y)
    deviations = NEW[:, None, :] - X[None, :, :]
    deviations /= X.std(axis=0)
    scores = -0.5 * np.einsum("qip,pr,qir->qi", deviations, model.metrics_[0], deviations)
    kernel = np.exp(scores - scores.max(axis=1, keepdims=True))
    kernel /= kernel.sum(axis=1, keepdims=True)
    read = kernel @ (Y - Y.mean()) * model.head_coef_[0]
    predictions = model.predict(NEW)
    np.testing.assert_allclose(predictions - predictions.mean(), read - read.mean(), atol=1e-9)


def test_explanations_add_up(model: AttentionRegressor) -> None:
    found, weights = model.explain(NEW[:4], top=160), model.weights(NEW[:4])
    for at, one in enumerate(found):
        assert one.row == at and sorted(one.rows) == list(range(160))
        np.testing.assert_array_equal(one.weights, weights[at, one.rows])
        np.testing.assert_allclose(one.targets, Y[one.rows], rtol=1e-12)
        assert (np.diff(np.abs(one.weights)) <= 0).all()
        assert np.isclose(one.weights @ one.targets, one.weighted_sum, rtol=0, atol=1e-9)
        assert np.isclose(one.prediction, model.predict(NEW[[at]])[0], rtol=1e-12)
        assert np.isclose(one.prediction, Y.mean() + one.linear + one.heads.sum(), rtol=1e-12)
        assert abs(one.constant) < 1e-9 and np.isclose(one.leverage_sum, 1)
        size = np.abs(weights[at])
        assert np.isclose(one.gross_leverage, size.sum())
        assert np.isclose(one.short_position, weights[at][weights[at] < 0].sum())
        assert np.isclose(one.concentration, np.sort(size)[-8:].sum() / size.sum())
        assert np.isclose(one.effective_rows, weights[at].sum() ** 2 / (size**2).sum())
        shares = size[size > 0] / size.sum()
        assert np.isclose(one.effective_rows_entropy, np.exp(-(shares * np.log(shares)).sum()))
        if at:
            assert np.isclose(one.turnover, np.abs(weights[at] - weights[at - 1]).sum())
        else:
            assert np.isnan(one.turnover)
    short = model.explain(NEW[:1])[0]
    np.testing.assert_array_equal(short.rows, found[0].rows[:5])
    assert list(short.to_frame().columns) == ["row", "weight", "target", "contribution"]
    assert repr(short).startswith("<AttentionExplanation of row 0: y = ") and "5 rows named" in repr(short)
    assert model.explain(NEW[:1], top=0)[0].rows.size == 0
    axes = hattention.plots.attention(short)
    assert len(axes.patches) == 5 and axes.get_title().startswith("row 0: y = ")


def test_constants_of_many_rows_have_no_slopes() -> None:
    x = np.column_stack([np.linspace(0, 1, 1000), np.full(1000, 0.1)])
    model = AttentionRegressor(n_heads=1, penalty=1.0).fit(x, np.sin(3 * x[:, 0]))
    assert abs(model.coef_[1]) < 1e-6 and abs(model.predict([[0.5, 0.2]])[0]) < 2


def test_rows_are_left_out_as_said() -> None:
    # (Of one head and its constant, metrics and the reads of other rows held.)
    model = AttentionRegressor(n_heads=0, penalty=1.0).fit(X, Y)
    least_squares = hattention.LeastSquares().fit(X, Y)
    np.testing.assert_allclose(model.coef_, least_squares.coef_, rtol=1e-9)
    np.testing.assert_allclose(model.loo_residuals_, least_squares.loo_residuals_, rtol=1e-8, atol=1e-10)


def test_masks_of_time_read_no_later_rows() -> None:
    # What the heads alone read of rows beyond a window is nothing, and of rows that are older by half-lives a share.
    alone = {**FAST, "linear": False, "n_heads": 1, "scores": "softmax"}
    by_mask = {}
    for mask in ("causal", "window:50", "decay:20"):
        model = AttentionRegressor(**{**alone, "mask": mask}).fit(X, Y)
        # (The constant is a mean of all rows' residuals: the same for every query.)
        weights = model.weights(NEW)
        by_mask[mask] = weights - weights.mean(axis=0)
    assert np.abs(by_mask["window:50"][:, :-50]).max() < 1e-12 < 1e-4 < np.abs(by_mask["window:50"][:, -50:]).max()
    old, new = (np.abs(by_mask["decay:20"][:, part]).mean() for part in (slice(0, 60), slice(-60, None)))
    assert new > 2 ** 4 * old > 0, (new, old)
    assert np.abs(by_mask["causal"][:, :60]).mean() > 0.2 * np.abs(by_mask["causal"][:, -60:]).mean()
    chosen = AttentionRegressor(n_heads=1, mask="causal").fit(X, Y)
    assert chosen.cv_results_ is not None and len(chosen.cv_results_) > 1


def test_rows_of_a_group_do_not_read_each_other() -> None:
    # Within a group every row is there twice: without groups each reads its twin.
    x, y = np.repeat(X[::2], 2, axis=0), np.repeat(Y[::2], 2)
    twins = np.repeat(np.arange(80), 2)
    apart = AttentionRegressor(**FAST, mask="block").fit(x, y, groups=twins)
    together = AttentionRegressor(**FAST).fit(x, y)
    assert apart.metrics_.max() < together.metrics_.max()
    assert apart.r2_loo_ < together.r2_loo_
    expected = apart.predict(NEW)
    for labels in (twins.astype(str), pd.Series(twins, dtype="category"), pl.Series(twins), [(at, "x") for at in twins], -twins / 2):
        again = AttentionRegressor(**FAST, mask="block").fit(x, y, groups=labels)
        np.testing.assert_array_equal(again.predict(NEW), expected)
    refused = [
        (None, "needs the group of each row"),
        (twins[:-1], "groups are 159, expected one label"),
        (np.zeros(160), "all rows are of one group"),
        (np.where(twins == 3, np.nan, twins), "row 7 has no group"),
    ]
    for labels, words in refused:
        with pytest.raises(hattention.DataError, match=words):
            AttentionRegressor(**FAST, mask="block").fit(x, y, groups=labels)
    with pytest.raises(hattention.DataError, match="leave them out"):
        AttentionRegressor(**FAST).fit(x, y, groups=twins)
    with pytest.raises(hattention.DataError, match="within cross-validation: the number of blocks is 2, expected three"):
        AttentionRegressor(mask="block").fit(x, y, groups=twins > 40)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_heads": -1}, "n_heads is -1, expected a whole number of at least 0"),
        ({"n_heads": 1.5}, "n_heads is 1.5"),
        ({"scores": "dot"}, 'scores is "dot", expected "distance", "softmax", "polynomial" or "polynomial:4"'),
        ({"scores": "polynomial:3"}, "scores: the degree of polynomial scores is 3, expected 2 or 4"),
        ({"scores": None}, "scores is None"),
        ({"mask": "future"}, 'mask is "future", expected "loo"'),
        ({"mask": "window:0"}, "mask: the window is 0"),
        ({"mask": "window:many"}, 'mask is "window:many"'),
        ({"mask": "decay:-1"}, "mask: the rows in which a weight halves is -1"),
        ({"mask": "decay:9", "scores": "polynomial"}, "mask: the mask of polynomial scores is decay"),
        ({"penalty": -1.0}, 'penalty is -1.0, expected a finite number of at least 0 or "auto"'),
        ({"penalty": "no"}, "penalty is 'no'"),
        ({"mixing": float("nan")}, "mixing is nan"),
        ({"penalty": "auto", "folds": 1}, "folds is 1, expected a whole number of at least 2"),
        ({"penalty": "auto", "folds": 161}, "within cross-validation: the number of folds is 161"),
        ({"penalty": "auto", "folds_rows": 0}, "folds_rows is 0"),
        ({"sample": 0}, "sample is 0"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"restarts": 0}, "restarts is 0"),
        ({"hold_out": 0.7}, "hold_out is 0.7, expected a number from 0 to 0.5"),
        ({"linear": "no"}, "linear is 'no', expected True or False"),
        ({"precision": "half"}, 'precision is "half", expected "single" or "double"'),
        ({"random_state": "x"}, "random_state is 'x'"),
        ({"random_state": -3}, "random_state is -3"),
    ],
)
def test_parameters_that_are_none(options: dict[str, Any], words: str) -> None:
    with pytest.raises(hattention.DataError, match=words):
        AttentionRegressor(**{**FAST, **options}).fit(X, Y)


def test_what_cannot_be_answered(model: AttentionRegressor) -> None:
    with pytest.raises(hattention.NoAnswerError, match="4 rows for 4 coefficients") as few:
        AttentionRegressor(penalty=1.0).fit(X[:4], Y[:4])
    assert few.value.hint == "use `linear=False`, `mixing` above zero or more rows"
    with pytest.raises(hattention.NoAnswerError, match="9 rows for 9 coefficients"):
        AttentionRegressor(penalty=1.0, mixing=0.0).fit(X[:9], Y[:9])
    with pytest.raises(hattention.NoAnswerError, match="within cross-validation: 4 rows for 4") as few:
        AttentionRegressor().fit(X[:5], Y[:5])
    assert few.value.hint is not None and "give `penalty` a number" in few.value.hint
    with pytest.raises(hattention.DataError, match="expected \"prediction\""):
        model.predict(NEW, interval="confidence")  # type: ignore[arg-type]
    for level in (0.0, 1.0, "0.9", None):
        with pytest.raises(hattention.DataError, match="level is"):
            model.predict(NEW, interval="prediction", level=level)  # type: ignore[arg-type]
    with pytest.raises(hattention.DataError, match="top is -1"):
        model.explain(NEW, top=-1)
    with pytest.raises(ValueError, match="2 features"):
        model.weights(NEW[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.where(X > 5, np.nan, X), Y)
    # What fails leaves the fit before.
    assert model.n_features_in_ == 3 and model.predict(NEW).shape == (40,)
    constant = AttentionRegressor(**FAST)
    with pytest.warns(hattention.HattentionWarning, match="all heads read the same everywhere.*the linear head"):
        constant.fit(X, np.full(160, 2.5))
    np.testing.assert_allclose(constant.predict(NEW), 2.5, rtol=1e-12)
    assert np.isnan(constant.r2_loo_) and list(constant.collapsed_heads_) == [0, 1]


def test_warnings() -> None:
    with pytest.warns(hattention.HattentionWarning, match="still falling after 2 steps; .* `max_iter`"):
        short = AttentionRegressor(**FAST, max_iter=2).fit(X, Y)
    assert not short.converged_ and short.n_iter_ == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AttentionRegressor(**FAST).fit(X, Y)


def test_many_rows_take_a_sample() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(size=(20_001, 2))
    y = np.sin(8 * x[:, 0]) * x[:, 1] + 0.1 * rng.normal(size=20_001)
    with pytest.raises(hattention.DataError, match="20001 rows, more than 20000") as many:
        AttentionRegressor(**FAST).fit(x, y)
    assert "sample=20000" in many.value.hint
    x, y = x[:3000], y[:3000]
    model = AttentionRegressor(**FAST, sample=300).fit(x, y)
    assert model.sampled_ is not None
    assert (model.sampled_["rows"], model.sampled_["queries"]) == (300, 2000)
    assert model.sampled_["error"] < model.sampled_["error_sample"]
    weights = model.weights(x[:2])
    np.testing.assert_allclose(weights @ y, model.predict(x[:2]), rtol=0, atol=1e-8)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-8)
    assert model.loo_residuals_ is None and np.isclose(model.r2_loo_, 1 - model.sampled_["error"])
    # Errors are of rows that metrics have not seen.
    new = rng.uniform(size=(1000, 2))
    truth = np.sin(8 * new[:, 0]) * new[:, 1] + 0.1 * rng.normal(size=1000)
    _, low, high = model.predict(new, interval="prediction", level=0.9)
    assert abs(((low <= truth) & (truth <= high)).mean() - 0.9) < 0.04
    np.testing.assert_allclose(high - low, (high - low)[0], rtol=1e-12)
    ordered = AttentionRegressor(**{**FAST, "mask": "causal"}, sample=300).fit(x, y)
    with pytest.raises(hattention.DataError, match="intervals: the mask is causal") as in_time:
        ordered.predict(x[:2], interval="prediction")
    assert in_time.value.hint == "hold metrics with `folds=0`, or fit some of the rows alone, without `sample`"
    one = model.explain(x[:1], top=3000)[0]
    assert np.isclose(one.weighted_sum + one.constant, one.prediction, rtol=1e-12) and abs(one.constant) < 1e-8
    assert np.isclose(one.weights @ one.targets, one.weighted_sum, rtol=1e-9)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(x[:50]), model.predict(x[:50]))
    np.testing.assert_array_equal(again.weights(x[:2]), model.weights(x[:2]))
    assert AttentionRegressor(**FAST, sample=500).fit(X, Y).sampled_ is None


def test_pickles_are_the_same_far_from_zero() -> None:
    for offset in (1e6, 1e9):
        model = AttentionRegressor(**FAST).fit(X + offset, Y + offset)
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict(NEW + offset), model.predict(NEW + offset))
        np.testing.assert_array_equal(again.weights(NEW + offset), model.weights(NEW + offset))


@pytest.mark.filterwarnings("ignore:.*(same everywhere|rows before|still falling):hattention.HattentionWarning")
@pytest.mark.parametrize("mask", ["loo", "self", "causal", "window:1", "decay:0.01", "block"])
@pytest.mark.parametrize("scores", ["distance", "softmax"])
def test_few_rows_are_fitted(mask: str, scores: str) -> None:
    for rows in (2, 3, 7):
        groups = np.arange(rows) if mask == "block" else None
        model = AttentionRegressor(penalty=1.0, linear=False, mask=mask, scores=scores).fit(X[:rows], Y[:rows], groups)
        folds = 10 if rows == 7 else 0
        predictions, low, high = model.predict(NEW, interval="prediction", level=0.6, folds=folds)
        assert np.isfinite(predictions).all() and (low <= high).all()
        np.testing.assert_allclose(model.weights(NEW) @ Y[:rows], predictions, rtol=0, atol=1e-9)


def test_the_formula_makes_the_predictions() -> None:
    model = AttentionRegressor(**FAST).fit(X, Y)
    unit = lambda rows: (rows - X.mean(axis=0)) / X.std(axis=0)  # noqa: E731
    expected = model.intercept_ + NEW @ model.coef_
    for alpha, metric in zip(model.head_coef_, model.metrics_):
        away = unit(NEW)[:, None] - unit(X)[None]
        kernel = np.exp(-0.5 * np.einsum("qip,pr,qir->qi", away, metric, away))
        expected = expected + alpha * (kernel @ Y) / kernel.sum(axis=1)
    np.testing.assert_allclose(model.predict(NEW), expected, rtol=1e-9)


def test_ranks_are_chosen_for_long_tails_and_their_scores_make_the_predictions() -> None:
    rng = np.random.default_rng(7)
    even = rng.uniform(size=(160, 2))
    y = np.sin(6 * even[:, 0]) + even[:, 1] + 0.1 * rng.normal(size=160)
    x, new = np.exp(9 * even), np.exp(9 * rng.uniform(-0.1, 1.1, size=(20, 2)))
    model = AttentionRegressor(n_heads=2, linear=False, max_iter=60).fit(x, y)
    assert model.normal_scores_ is not None and {one["ranks"] for one in model.cv_results_ or []} == {True, False}
    scored = lambda rows: np.column_stack([np.interp(rows[:, c], *model.normal_scores_[c]) for c in range(2)])  # noqa: E731
    np.testing.assert_allclose(scored(x).std(axis=0), 1, rtol=1e-9)
    expected = np.full(20, model.intercept_)
    for alpha, metric in zip(model.head_coef_, model.metrics_):
        away = scored(new)[:, None] - scored(x)[None]
        kernel = np.exp(-0.5 * np.einsum("qip,pr,qir->qi", away, metric, away))
        expected = expected + alpha * (kernel @ y) / kernel.sum(axis=1)
    np.testing.assert_allclose(model.predict(new), expected, rtol=1e-9)
    plain = AttentionRegressor(n_heads=2, linear=False, max_iter=60, ranks=False).fit(x, y)
    assert plain.normal_scores_ is None and plain.r2_cv_ < model.r2_cv_
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(new), model.predict(new))
    with pytest.raises(hattention.DataError, match="ranks is 'yes'"):
        AttentionRegressor(ranks="yes").fit(x, y)  # type: ignore[arg-type]


def test_metrics_that_know_the_rows_by_heart_are_told() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(100, 20))
    y = x[:, 0] + rng.normal(size=100)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = AttentionRegressor().fit(x, y)
    alone = AttentionRegressor(n_heads=0).fit(x, y)
    assert model.r2_cv_ > alone.r2_cv_ - 0.02
    assert (1 - model.r2_cv_ > 2 * (1 - model.r2_loo_)) == any("by heart" in str(one.message) for one in told)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_heart = AttentionRegressor(penalty=1e-3, max_iter=200).fit(x, y)
    assert by_heart.r2_loo_ > 0.99 and np.isnan(by_heart.r2_cv_)


def test_single_numbers_find_what_doubles_find() -> None:
    single, double = (AttentionRegressor(**FAST, precision=precision).fit(X, Y) for precision in ("single", "double"))
    assert single.loss_ != double.loss_
    np.testing.assert_allclose(single.predict(NEW), double.predict(NEW), rtol=0, atol=0.02 * Y.std())
    # Both are read in doubles.
    for model in (single, double):
        np.testing.assert_allclose(model.weights(NEW) @ Y, model.predict(NEW), rtol=0, atol=1e-9)


def test_seeds() -> None:
    def fitted(seed: Any) -> Any:
        return AttentionRegressor(**FAST, random_state=seed).fit(X, Y).predict(NEW)

    np.testing.assert_array_equal(fitted(None), fitted(1))
    np.testing.assert_array_equal(fitted(np.random.RandomState(3)), fitted(np.random.RandomState(3)))
    assert (fitted(2) != fitted(1)).any()
    source = np.random.RandomState(3)
    assert (fitted(source) != fitted(source)).any()


def test_frames_pipelines_and_searches() -> None:
    frame = pd.DataFrame(X, columns=list("abc"))
    model = AttentionRegressor(**FAST).fit(frame, pd.Series(Y))
    assert list(model.feature_names_in_) == list("abc") and model.n_features_in_ == 3
    expected = AttentionRegressor(**FAST).fit(X, Y).predict(NEW)
    new = pd.DataFrame(NEW, columns=list("abc"))
    np.testing.assert_array_equal(model.predict(new), expected)
    np.testing.assert_array_equal(AttentionRegressor(**FAST).fit(pl.from_pandas(frame), Y).predict(pl.from_pandas(new)), expected)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(new.rename(columns={"a": "z"}))
    for values in (np.asfortranarray(X), X[::-1].copy()[::-1], np.repeat(X, 2, axis=0)[::2], X.tolist(), X.astype(object)):
        np.testing.assert_array_equal(AttentionRegressor(**FAST).fit(values, Y).predict(NEW), expected)
    search = GridSearchCV(AttentionRegressor(penalty=1.0), {"n_heads": [0, 2]}, cv=3).fit(frame, Y)
    assert search.best_params_ == {"n_heads": 2}
    np.testing.assert_array_equal(search.predict(new), expected)
    parallel = GridSearchCV(AttentionRegressor(**FAST), {"mask": ["loo", "self"]}, cv=2, n_jobs=2).fit(X, Y)
    assert parallel.best_score_ > 0.5
    scores = cross_val_score(make_pipeline(StandardScaler(), AttentionRegressor(**FAST)), X, Y, cv=3)
    assert scores.min() > 0.8
    assert clone(model).get_params() == model.get_params()
    assert "AttentionRegressor" in model._repr_html_()


def test_threads_change_no_bit() -> None:
    expected = AttentionRegressor(**FAST).fit(X, Y)
    try:
        for count in (1, 3):
            hattention.set_threads(count)
            found = AttentionRegressor(**FAST).fit(X, Y)
            np.testing.assert_array_equal(found.weights(NEW), expected.weights(NEW))
            np.testing.assert_array_equal(found.loo_residuals_, expected.loo_residuals_)
    finally:
        hattention.set_threads(None)


def test_numbers_are_those_of_the_program(hat: Any, tmp_path: Any) -> None:
    table = pd.DataFrame(X, columns=list("abc")).assign(y=Y)
    table.to_parquet(tmp_path / "rows.parquet")
    told = hat("attend", "fit", "y ~ a + b + c", str(tmp_path / "rows.parquet"), "--heads", "2", "--json")
    model = AttentionRegressor(n_heads=2).fit(X, Y)
    assert (told["penalty"], told["mixing"], told["loss"]) == (model.penalty_, model.mixing_, model.loss_)
    assert [one["coefficient"] for one in told["heads"]] == list(model.head_coef_)
    assert np.isclose(told["r_squared_loo"], model.r2_loo_, rtol=1e-12)


def test_interrupts_stop_within_a_fit() -> None:
    script = textwrap.dedent(
        """
        import numpy as np, hattention
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(12_000, 8)), rng.normal(size=12_000)
        model = hattention.AttentionRegressor(n_heads=1, penalty=1.0).fit(x[:40, :2], y[:40])
        before = model.predict(x[:3, :2])
        print("ready", flush=True)
        try:
            model.set_params(n_heads=8).fit(x, y)
            print("done", flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert (model.predict(x[:3, :2]) == before).all()
        """
    )
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        # (The fit is of minutes.)
        assert process.communicate(timeout=60) == ("interrupted\n", None)
        assert process.returncode == 0
