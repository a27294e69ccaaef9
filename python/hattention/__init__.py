"""Least squares as attention: exact, fast, and every prediction explained by the rows behind it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from . import plots
from ._formula import fit
from ._hattention import __version__, get_threads, set_threads
from ._reports import AttentionExplanation, Drift, Explanation, Explanations
from ._result import Result, load
from ._states import State, load_state
from .errors import DataError, DataTypeError, HattentionError, HattentionWarning, NoAnswerError, NotThereError

if TYPE_CHECKING:
    from ._attention import AttentionRegressor
    from ._drift import DriftDetector
    from ._estimator import LeastSquares

__all__ = [
    "AttentionExplanation",
    "AttentionRegressor",
    "DataError",
    "DataTypeError",
    "Drift",
    "DriftDetector",
    "Explanation",
    "Explanations",
    "HattentionError",
    "HattentionWarning",
    "LeastSquares",
    "NoAnswerError",
    "NotThereError",
    "Result",
    "State",
    "__version__",
    "fit",
    "get_threads",
    "load",
    "load_state",
    "plots",
    "set_threads",
]

_ESTIMATORS = {"AttentionRegressor": "_attention", "DriftDetector": "_drift", "LeastSquares": "_estimator"}


def _has_scikit_learn() -> bool:
    try:
        return find_spec("sklearn") is not None
    except (ImportError, ValueError):
        return False


if not _has_scikit_learn():
    # (A star import takes all names of the list.)
    for _name in _ESTIMATORS:
        __all__.remove(_name)


def __getattr__(name: str) -> Any:
    # (Estimators need scikit-learn, and its import takes a while.)
    if name in _ESTIMATORS:
        from importlib import import_module

        try:
            return getattr(import_module(f".{_ESTIMATORS[name]}", __name__), name)
        except ModuleNotFoundError as error:
            raise ImportError(f"{name} needs scikit-learn: pip install scikit-learn ({error})") from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
