"""Pictures of fits, as axes of Matplotlib (which has to be installed).

Every function takes the axes to draw on, and makes new ones where it is given none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._reports import AttentionExplanation, Drift, Explanation
from ._result import Result
from .errors import DataError, expect

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["attention", "coefficients", "directions", "leverage", "residuals"]

_BLUE, _RED, _GREY = "#2b6cb0", "#c05621", "#a0aec0"

# Shifts of means in standard deviations: of none but rounding, and of little.
_NO_SHIFT, _LITTLE_SHIFT = 1e-12, 0.1


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure  # noqa: F401
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plots need Matplotlib: pip install matplotlib") from error
    # (Names of rows are long: the axes give way.)
    made: Axes = pyplot.subplots(layout="constrained")[1]
    return made


def _only_target(result: Result) -> None:
    expect("result", result, Result)
    result._one()


def coefficients(result: Result, *, level: float = 0.95, intercept: bool = False, ax: Axes | None = None) -> Axes:
    """Coefficients with their confidence intervals, in the order of the formula, from the top.

    Parameters
    ----------
    result : Result
    level : float
        Level of the intervals.
    intercept : bool
        Whether the intercept is drawn too.
    ax : matplotlib.axes.Axes, optional
    """
    _only_target(result)
    told = [
        one
        for one in result._one(level)["coefficients"]
        if one["estimate"] is not None and (intercept or one["name"] != "(Intercept)")
    ]
    if not told:
        raise DataError("the fit has no coefficients to draw", "intercept=True draws the intercept")
    ax = _axes(ax)
    places = np.arange(len(told))[::-1]
    estimates = np.array([one["estimate"] for one in told])
    low = np.array([np.nan if one["ci_low"] is None else one["ci_low"] for one in told])
    high = np.array([np.nan if one["ci_high"] is None else one["ci_high"] for one in told])
    ax.axvline(0, color=_GREY, linewidth=1, zorder=0)
    if not np.isnan(low).all():
        ax.hlines(places, low, high, color=_BLUE, linewidth=1.5)
    ax.plot(estimates, places, "o", color=_BLUE, markersize=4)
    ax.set_yticks(places, [one["name"] for one in told])
    ax.set_xlabel(f"coefficient, {100 * level:g} % interval")
    ax.set_title(result.formula)
    return ax


def residuals(result: Result, data: Any = None, *, ax: Axes | None = None) -> Axes:
    """Residuals against predictions, of the rows of the fit by default; many rows as a density."""
    _only_target(result)
    columns = result._columns(data, None, 0.95, "error", augment=True)
    ax = _axes(ax)
    there = ~np.isnan(columns["residual"])
    _points(ax, columns["prediction"][there], columns["residual"][there])
    ax.axhline(0, color=_RED, linewidth=1)
    ax.set_xlabel("prediction")
    ax.set_ylabel("residual")
    return ax


def leverage(result: Result, data: Any = None, *, ax: Axes | None = None) -> Axes:
    """Leave-one-out residuals, in units of the residual standard error, against leverages, of the rows of the fit by default.

    The broken line is twice the mean leverage.
    """
    _only_target(result)
    columns = result._columns(data, None, 0.95, "error", augment=True)
    if "leverage" not in columns:
        raise DataError(
            "leverages of a model with absorbed effects", "fit it with the effects as factors among the terms: y ~ x + C(g)"
        )
    there = ~np.isnan(columns["loo_residual"])
    if not there.any():
        raise DataError("there are no leave-one-out residuals to draw", "give rows with their targets")
    ax = _axes(ax)
    leverages, sigma = columns["leverage"][there], result.sigma
    # (A perfect fit has no residual standard error to divide by.)
    scaled = sigma > 0
    _points(ax, leverages, columns["loo_residual"][there] / (sigma if scaled else 1.0))
    ax.axhline(0, color=_RED, linewidth=1)
    ax.axvline(2 * leverages.mean(), color=_GREY, linewidth=1, linestyle="--")
    ax.set_xlabel("leverage: a row's attention to itself")
    ax.set_ylabel("leave-one-out residual" + (" / residual standard error" if scaled else ""))
    return ax


def attention(explanation: Explanation | AttentionExplanation, *, ax: Axes | None = None) -> Axes:
    """The training rows behind a prediction: their weights, the largest at the top."""
    hint = "one of them: explanations[0]" if isinstance(explanation, Sequence) else ""
    if not isinstance(explanation, AttentionExplanation):
        expect("explanation", explanation, Explanation, hint)
    ax = _axes(ax)
    places = np.arange(len(explanation.weights))[::-1]
    colors = [_BLUE if weight >= 0 else _RED for weight in explanation.weights]
    ax.barh(places, explanation.weights, color=colors, height=0.7)
    ax.axvline(0, color=_GREY, linewidth=1)
    names = zip(explanation.rows, explanation.targets, strict=True)
    ax.set_yticks(places, [f"row {row} ({explanation.target} = {target:.4g})" for row, target in names])
    ax.set_xlabel("weight in the prediction")
    mark = ", EXTRAPOLATES" if isinstance(explanation, Explanation) and explanation.extrapolates else ""
    ax.set_title(f"row {explanation.row}: {explanation.target} = {explanation.prediction:.5g}{mark}")
    return ax


def directions(drift: Drift, *, most: int = 10, ax: Axes | None = None) -> Axes:
    """What moved: shifts of columns in training standard deviations, those that moved most at the top; marked ones are
    beyond chance."""
    expect("drift", drift, Drift)
    told = sorted(drift.columns, key=lambda one: -abs(one["mean_shift"] or 0.0))[:most]
    if not told:
        raise DataError("there are no columns to draw: the rows could not be compared")
    ax = _axes(ax)
    places = np.arange(len(told))[::-1]
    shifts = [one["mean_shift"] or 0.0 for one in told]
    # Shifts that are roundings, or little and by chance, do not fill the axes.
    shifts = [shift if abs(shift) > _NO_SHIFT else 0.0 for shift in shifts]
    if not any(one["moved"] for one in told) and max(map(abs, shifts)) < _LITTLE_SHIFT:
        ax.set_xlim(-_LITTLE_SHIFT, _LITTLE_SHIFT)
    ax.barh(places, shifts, color=[_RED if one["moved"] else _BLUE for one in told], height=0.7)
    ax.axvline(0, color=_GREY, linewidth=1)
    ax.set_yticks(places, [one["name"] for one in told])
    ax.set_xlabel("shift of the mean, in training standard deviations")
    p = "p < 2.2e-16" if drift.pvalue < 2.2e-16 else f"p = {drift.pvalue:.3g}"
    ax.set_title(f"{'DRIFT' if drift.drift else 'no drift'}, {p}")
    return ax


def _points(ax: Any, x: Any, y: Any) -> None:
    """Points, or a density where they would cover each other."""
    if len(x) > 5000:
        ax.hexbin(x, y, gridsize=60, bins="log", cmap="Blues", mincnt=1, linewidths=0)
    else:
        ax.plot(x, y, ".", color=_BLUE, markersize=3, alpha=0.6)
