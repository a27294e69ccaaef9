"""Pictures are axes that show what they should."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

import hattention
from hattention import plots


@pytest.fixture
def result(flights: str) -> hattention.Result:
    return hattention.fit("arr_delay ~ dep_delay + distance + carrier", pl.read_parquet(flights).head(20_000))


def test_coefficients(result: hattention.Result) -> None:
    ax = plots.coefficients(result)
    assert isinstance(ax, Axes)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == [name for name in result.params.index if name != "(Intercept)"]
    (points,) = [line for line in ax.lines if len(line.get_xdata()) == len(labels)]
    np.testing.assert_array_equal(points.get_xdata(), result.params[labels])
    # The first coefficient stands at the top.
    assert points.get_ydata()[0] == len(labels) - 1
    assert "(Intercept)" in [text.get_text() for text in plots.coefficients(result, intercept=True).get_yticklabels()]
    pyplot.close("all")


def test_residuals_and_leverages(result: hattention.Result) -> None:
    given = pyplot.subplots()[1]
    assert plots.residuals(result, ax=given) is given
    assert given.get_xlabel() == "prediction"
    few = hattention.fit("y ~ x", {"x": [1.0, 2, 3, 4], "y": [1.0, 3, 2, 5]})
    ax = plots.residuals(few)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), few.resid)
    ax = plots.leverage(few)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), few.augment()["leverage"])
    pyplot.close("all")


def test_attention_and_directions(result: hattention.Result, flights: str) -> None:
    frame = pl.read_parquet(flights)
    one = result.explain(frame.head(1), top=7)[0]
    ax = plots.attention(one)
    assert [bar.get_width() for bar in ax.patches] == list(one.weights)
    assert ax.get_yticklabels()[0].get_text().startswith(f"row {one.rows[0]} (arr_delay = ")
    drift = result.drift(frame.filter(pl.col("month") == 7))
    ax = plots.directions(drift, most=5)
    assert len(ax.patches) == 5 and ax.get_title().startswith("DRIFT")
    pyplot.close("all")


def test_what_cannot_be_drawn(flights: str) -> None:
    constant = hattention.fit("arr_delay ~ 1", flights)
    with pytest.raises(hattention.DataError, match="no coefficients to draw"):
        plots.coefficients(constant)
    ridge = hattention.fit("arr_delay ~ distance", flights, ridge=1.0)
    assert len(plots.coefficients(ridge).get_yticklabels()) == 1
    with pytest.raises(hattention.DataError, match="several targets"):
        plots.residuals(hattention.fit("cbind(arr_delay, air_time) ~ distance", flights))
    pyplot.close("all")


def test_effects_perfect_fits_and_no_drift() -> None:
    rng = np.random.default_rng(2)
    rows = {"x": rng.normal(size=50), "y": rng.normal(size=50), "g": np.arange(50) % 5}
    effects = hattention.fit("y ~ x | g", rows)
    np.testing.assert_array_equal(plots.residuals(effects).lines[0].get_ydata(), effects.resid)
    with pytest.raises(hattention.DataError, match="leverages of a model with absorbed effects"):
        plots.leverage(effects)
    # (A warning would be an error here.)
    perfect = hattention.fit("y ~ x", {"x": [1.0, 2, 3, 4], "y": [2.0, 4, 6, 8]})
    assert plots.leverage(perfect).get_ylabel() == "leave-one-out residual"
    plain = hattention.fit("y ~ x", rows)
    ax = plots.directions(plain.drift(rows))
    assert ax.get_title().startswith("no drift") and [bar.get_width() for bar in ax.patches] == [0.0]
    assert ax.get_xlim() == (-0.1, 0.1)
    pyplot.close("all")


def test_what_is_no_result() -> None:
    result = hattention.fit("y ~ x", {"x": [1.0, 2, 3, 4], "y": [1.0, 3, 2, 5]})
    for draw in (plots.coefficients, plots.residuals, plots.leverage):
        with pytest.raises(TypeError, match="result is of type type, expected Result"):
            draw(hattention.LeastSquares)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"expected Explanation: one of them: explanations\[0\]"):
        plots.attention(result.explain({"x": [1.0]}))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="drift is of type Result, expected Drift"):
        plots.directions(result)  # type: ignore[arg-type]
    pyplot.close("all")
