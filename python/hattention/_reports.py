"""What is told of predictions and of drift."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from ._frames import Frame, frame

__all__ = ["AttentionExplanation", "Drift", "Explanation", "Explanations"]


class Explanations(Sequence["Explanation"]):
    """Predictions with the training rows behind them, in the order of the rows that were explained."""

    def __init__(self, told: dict[str, Any], text: str) -> None:
        self._told = told
        self._text = text
        self.target: str = told["target"]
        self.training_rows: int = told["training_rows"]
        self._all = [Explanation(one, self.target) for one in told["queries"]]

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, at: int) -> Explanation: ...
    @overload
    def __getitem__(self, at: slice) -> list[Explanation]: ...
    def __getitem__(self, at: int | slice) -> Explanation | list[Explanation]:
        return self._all[at]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``hat explain --json``."""
        return copy.deepcopy(self._told)

    def __repr__(self) -> str:
        return self._text


class _Behind:
    """One prediction, and what is told of the training rows behind it whatever made it."""

    def __init__(self, told: dict[str, Any], target: str) -> None:
        self.target = target
        self.row: int = told["row"]
        self.prediction = _number(told, "prediction")
        self.weighted_sum = _number(told, "weighted_sum")
        top = told["top"]
        self.rows = np.array([one["row"] for one in top], dtype=np.int64)
        self.weights = np.array([one["weight"] for one in top], dtype=float)
        self.targets = np.array([one["target"] for one in top], dtype=float)
        self.columns: list[dict[str, str]] = [one["columns"] for one in top]
        self.concentration = _number(told, "concentration")
        self.short_position = _number(told, "short_position")
        self.gross_leverage = _number(told, "gross_leverage")
        self.leverage_sum = _number(told, "leverage_sum")
        self.effective_rows = _number(told, "effective_rows")
        self.effective_rows_entropy = _number(told, "effective_rows_entropy")

    def to_frame(self) -> Frame:
        """The named training rows as a table: ``row``, ``weight``, ``target``, ``contribution``, and their columns."""
        cells: dict[str, Any] = {
            "row": self.rows, "weight": self.weights, "target": self.targets,
            "contribution": self.weights * self.targets,
        }  # fmt: skip
        for name in self.columns[0] if self.columns else []:
            cells.setdefault(name if name not in cells else f"column {name}", [one.get(name) for one in self.columns])
        return frame(cells)

    def _shown(self, mark: str) -> str:
        kind, made = type(self).__name__, f"{self.target} = {self.prediction:.6g}"
        return f"<{kind} of row {self.row}: {made}, {len(self.rows)} rows named{mark}>"


def _number(told: dict[str, Any], key: str) -> float:
    return math.nan if told[key] is None else float(told[key])


class Explanation(_Behind):
    """One prediction and the training rows behind it.

    Attributes
    ----------
    row : int
        The row that was explained, counted from 1.
    prediction, std_error : float
        Its prediction, and the standard error of the expected value (NaN without one).
    weighted_sum : float
        ``Σ weight · target`` over the training rows.
    rows : array of int
        The named training rows, counted from 1, by the size of their weights.
    weights, targets : array of float
        Their weights and targets.
    columns : list of dict
        What stands in them.
    concentration : float
        Share of the top 5 percent of the weights.
    short_position, gross_leverage, leverage_sum : float
        Sums of the negative weights, of their sizes, and of all.
    effective_rows, effective_rows_entropy : float
        How many rows the prediction rests on, by Rényi and by Shannon.
    query_norm : float
        ``‖q‖²``, the variance of the prediction in units of the residual's.
    extrapolates : bool
        Whether the row lies beyond every training row.
    """

    def __init__(self, told: dict[str, Any], target: str) -> None:
        super().__init__(told, target)
        self.std_error = _number(told, "std_error")
        self.query_norm = _number(told, "query_norm")
        self.extrapolates: bool = told["extrapolates"]

    def __repr__(self) -> str:
        return self._shown(", extrapolates" if self.extrapolates else "")


class AttentionExplanation(_Behind):
    """One prediction of an `AttentionRegressor` and the training rows behind it.

    Attributes
    ----------
    row : int
        The row that was explained, counted from 0.
    prediction : float
        Its prediction: ``ȳ + linear + Σ heads``, with ȳ the mean of the training targets.
    linear : float
        The part of the linear head and the constant.
    heads : array of float
        The parts of the other heads, ``α_m Σ p_mi (y_i − ȳ)``.
    weighted_sum : float
        ``Σ weight · target`` over the training rows.
    constant : float
        What no row gives, ``prediction − weighted_sum``: zero but for rounding.
    rows : array of int
        The named training rows, counted from 0, by the size of their weights.
    weights, targets : array of float
        Their weights and targets.
    concentration : float
        Share of the top 5 percent of the weights.
    short_position, gross_leverage, leverage_sum : float
        Sums of the negative weights, of their sizes, and of all.
    effective_rows, effective_rows_entropy : float
        How many rows the prediction rests on, by Rényi and by Shannon.
    turnover : float
        ``Σ |ω − ω'|`` with the weights of the row before; NaN for the first.
    """

    def __init__(self, told: dict[str, Any], target: str) -> None:
        super().__init__(told, target)
        self.linear = _number(told, "linear")
        self.heads = np.array(told["heads"], dtype=float)
        self.constant = _number(told, "constant")
        self.turnover = _number(told, "turnover")

    def __repr__(self) -> str:
        return self._shown("")


class Drift:
    """Whether rows come from the world of the training rows: true in a condition if they do not.

    Attributes
    ----------
    drift : bool
        Whether the alarm sounds.
    pvalue : float
        The p-value that decides; NaN where levels never seen decide alone.
    method : str
        ``"permutation"`` or ``"likelihood ratio"``.
    """

    def __init__(self, told: dict[str, Any], text: str) -> None:
        self._told = told
        self._text = text
        self.drift: bool = told["drift"]
        self.pvalue = math.nan if told["p"] is None else float(told["p"])
        self.method: str = told["method"]

    def __bool__(self) -> bool:
        return self.drift

    @property
    def columns(self) -> list[dict[str, Any]]:
        """What is told of each column: ``name``, ``moved``, ``mean_shift``, ``scale_ratio`` and their tests."""
        return copy.deepcopy(list(self._told["columns"]))

    @property
    def directions(self) -> list[dict[str, Any]]:
        """Principal axes of the batch in whitened units, by ascending variance."""
        return copy.deepcopy(list(self._told["directions"]))

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``hat drift --json``."""
        return copy.deepcopy(self._told)

    def __repr__(self) -> str:
        return self._text
