"""Hypotheses as users of statsmodels give them: texts, mappings, matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .errors import DataError, DataTypeError

__all__ = ["Hypothesis", "matrix", "texts"]

Hypothesis: TypeAlias = Any
"""A text, a sequence of texts, a mapping of coefficients to values, a matrix, or a matrix and its values."""


def texts(hypotheses: Sequence[Hypothesis], names: Sequence[str]) -> list[str] | None:
    """The hypotheses as texts; None if they are no texts and no mappings."""
    found: list[str] = []
    for one in hypotheses:
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, Mapping):
            found += [f"{_written(name, names)} = {_number(name, value)}" for name, value in one.items()]
        elif isinstance(one, (list, tuple)) and all(isinstance(text, str) for text in one):
            found += one
        else:
            return None
    return found


def _written(name: Any, names: Sequence[str]) -> str:
    """A coefficient as hypotheses write it."""
    if not isinstance(name, str):
        raise DataTypeError(f"{name!r} names no coefficient, expected text such as {names[-1]!r}")
    return f"`{name}`" if name not in names and f"`{name}`" in names else name


def _number(name: str, value: Any) -> str:
    """A number as text that reads back to the same bits."""
    try:
        return repr(float(value)).removesuffix(".0")
    except (TypeError, ValueError):
        raise DataTypeError(f"the value of {name!r} is {value!r}, expected a number") from None


def matrix(hypotheses: Sequence[Hypothesis], names: Sequence[str]) -> tuple[list[list[float]], list[float]]:
    """A matrix of restrictions, one a row over the coefficients, and their values: zeros if none are given."""
    expected = "expected text, a mapping of coefficients to values, a matrix R with one column a coefficient, or a tuple (R, q)"
    if len(hypotheses) != 1:
        raise DataTypeError(f"{len(hypotheses)} hypotheses that are not all texts, {expected}")
    (given,) = hypotheses
    try:
        pair = isinstance(given, tuple) and len(given) == 2 and np.ndim(given[0]) == np.ndim(given[1]) + 1
        rows = np.atleast_2d(np.asarray(given[0] if pair else given, dtype=float))
        right = np.atleast_1d(np.asarray(given[1], dtype=float)) if pair else np.zeros(len(rows))
    except (TypeError, ValueError):
        raise DataTypeError(f"the hypothesis is of type {type(given).__name__}, {expected}") from None
    if rows.ndim != 2 or rows.shape[1] != len(names):
        got = f"R is of shape {rows.shape}"
        raise DataError(f"{got}, expected {len(names)} columns: one a coefficient", f"they are {', '.join(names)}")
    if right.shape != (len(rows),):
        raise DataError(f"q has {right.size} values, and R {len(rows)} rows")
    return rows.tolist(), right.tolist()
