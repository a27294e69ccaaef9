"""Intervals of attention regression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hattention
from hattention import AttentionRegressor

pytestmark = pytest.mark.filterwarnings("ignore:.*same everywhere:hattention.HattentionWarning")

FAST: dict[str, Any] = {"n_heads": 2, "penalty": 1.0}


def test_intervals_cover() -> None:
    rng = np.random.default_rng(5)
    x, noise = rng.uniform(size=(900, 1)), rng.normal(size=900)
    y = np.sin(6 * x[:, 0]) + 0.4 * noise
    model = AttentionRegressor(**FAST).fit(x[:300], y[:300])
    for level in (0.5, 0.9):
        predictions, low, high = model.predict(x[300:], interval="prediction", level=level)
        np.testing.assert_array_equal(predictions, model.predict(x[300:]))
        inside = ((low <= y[300:]) & (y[300:] <= high)).mean()
        assert abs(inside - level) < 0.07, inside
    small = AttentionRegressor(n_heads=1, penalty=1.0).fit(x[:15], y[:15])
    with pytest.warns(hattention.HattentionWarning, match="15 rows are too few for intervals of level 0.99"):
        few = small.predict(x[:2], "prediction", level=0.99)
    assert np.isneginf(few[1]).all() and np.isposinf(few[2]).all()
    with pytest.raises(hattention.DataError, match="folds is 1, expected 0 or two at least"):
        small.predict(x[:2], "prediction", folds=1)
    two = AttentionRegressor(n_heads=1, penalty=1.0, linear=False).fit(x[:2], y[:2])
    with pytest.raises(hattention.NoAnswerError, match="intervals: 1 row for 1 coefficient") as without:
        two.predict(x[:2], "prediction")
    assert without.value.hint is not None and without.value.hint.startswith("hold metrics with `folds=0`")


def test_intervals_of_metrics_that_know_the_rows_by_heart_cover_by_folds() -> None:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(1100, 20))
    y = x[:, 0] + rng.normal(size=1100)
    model = AttentionRegressor(penalty=0.1, max_iter=3000).fit(x[:100], y[:100])
    covers = {}
    for folds in (0, 10):
        _, low, high = model.predict(x[100:], interval="prediction", level=0.9, folds=folds)
        covers[folds] = ((low <= y[100:]) & (y[100:] <= high)).mean()
    assert covers[0] < 0.6 and 0.85 < covers[10] < 0.99, covers
