"""What goes wrong, as exceptions with their parts as attributes."""

from __future__ import annotations

import warnings
from typing import SupportsFloat

__all__ = [
    "DataError",
    "DataTypeError",
    "HattentionError",
    "HattentionWarning",
    "NoAnswerError",
    "NotThereError",
    "between",
    "expect",
]


class HattentionError(Exception):
    """A computation without a result.

    Attributes
    ----------
    message : str
        What happened.
    hint : str or None
        The way out.
    row : int or None
        The row that is wrong, counted from 1.
    """

    def __init__(self, message: str, hint: str | None = None, row: int | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\nhint: {hint}")
        self.message = message
        self.hint = hint
        self.row = row

    def __reduce__(self) -> tuple[type[HattentionError], tuple[str, str | None, int | None]]:
        return type(self), (self.message, self.hint, self.row)


class DataError(HattentionError, ValueError):
    """The data, or what was asked for, are wrong."""


class DataTypeError(DataError, TypeError):
    """An object, an argument or a column is of a type that cannot be read."""


class NotThereError(DataError, AttributeError):
    """An attribute has no value; an `AttributeError` too, so that ``hasattr`` is false."""


class NoAnswerError(HattentionError, ValueError):
    """The computation has no answer: dependent columns, too few rows, no convergence."""


class HattentionWarning(UserWarning):
    """Something that should be known, and that is no error."""


def expect(name: str, value: object, kind: type, hint: str = "") -> None:
    """Raise `DataTypeError` if an argument is of another kind."""
    if not isinstance(value, kind):
        got = "None" if value is None else f"of type {type(value).__name__}"
        raise DataTypeError(f"{name} is {got}, expected {kind.__name__}{hint and ': ' + hint}")


def between(name: str, value: object) -> float:
    """The number, which must be between 0 and 1."""
    if not isinstance(value, SupportsFloat) or isinstance(value, bool) or hasattr(value, "__len__"):
        raise DataTypeError(f"{name} is {value!r}, expected a number between 0 and 1")
    if not 0 < float(value) < 1:
        raise DataError(f"{name} is {value}, expected a number between 0 and 1")
    return float(value)


def _warn(text: str) -> None:
    """Warn at the line that called the package."""
    import sys

    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "hattention":
        frame, level = frame.f_back, level + 1  # type: ignore[assignment]
    warnings.warn(text, HattentionWarning, stacklevel=level)
