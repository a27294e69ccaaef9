"""Drift of inputs for scikit-learn."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _hattention
from ._arrays import plain
from ._estimator import Array, LeastSquares
from ._formula import fit
from ._reports import Drift
from .errors import DataError, HattentionWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DriftDetector"]

_TARGET = "(target)"


class DriftDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Tells rows, or batches of rows, that do not come from the world of the training rows.

    `predict` gives 1 for rows that could be training rows and −1 for those that could not, as detectors of outliers do: row
    by row, or, with ``block_rows``, one answer for each block of so many rows in their order. `test` compares all rows
    at once and says what moved.

    Parameters
    ----------
    level : float, default=0.05
        Level of each test: the share of false alarms, if columns are normal or there are permutations.
    block_rows : int or None, default=1
        Rows that are tested together: 1 tests each alone, None all rows that a method is given. A rest of fewer rows is
        tested with the block before it.
    permutations : int, default=0
        Permutations of the test of a block, which keeps its level for columns of any law; 0 for the likelihood ratio of
        normal laws, which gives many false alarms where tails are heavy. Permutations need the training rows, which the
        detector then keeps.
    seed : int, default=1
        Seed of the permutations.

    Attributes
    ----------
    offset_ : float
        The level: `decision_function` is `score_samples` less it.
    pvalue_ : array
        p-values of the rows or blocks of the last call of `predict`, `decision_function`, `score_samples` or `score`.
    dependent_ : list of str
        Columns that depend on others in the training rows; a row in which they do not is none of them.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    A row alone is tested by Hotelling's ``T² = n (n−d) / ((n+1) d) ‖k‖²`` against ``F(d, n−d)``, ``k`` its key in the
    training rows' memory; a block by the likelihood ratio of one normal law against two, means and covariances.

    Examples
    --------
    >>> import numpy as np
    >>> from hattention import DriftDetector
    >>> rng = np.random.default_rng(0)
    >>> detector = DriftDetector(block_rows=None).fit(rng.normal(size=(500, 3)))
    >>> bool(detector.test(rng.normal(size=(200, 3))))
    False
    >>> bool(detector.test(rng.normal(size=(200, 3)) + [0, 0, 1]))
    True
    """

    def __init__(
        self, *, level: float = 0.05, block_rows: int | None = 1, permutations: int = 0, seed: int = 1
    ) -> None:
        self.level = level
        self.block_rows = block_rows
        self.permutations = permutations
        self.seed = seed

    def fit(self, X: Array, y: object = None) -> DriftDetector:
        """Learn what rows are like. ``y`` is not read."""
        rows: Any = plain(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        if not 0 < self.level < 1:
            raise DataError(f"level is {self.level}, expected a number between 0 and 1")
        if self.block_rows is not None and self.block_rows < 1:
            raise DataError(f"block_rows is {self.block_rows}, expected at least 1, or None for all rows")
        if self.permutations and self.permutations < 1 / self.level - 1:
            raise DataError(
                f"permutations is {self.permutations}, and no p-value of so few is below the level {self.level}",
                f"use at least {math.ceil(1 / self.level - 1)}",
            )
        self.offset_ = float(self.level)
        names = [str(name) for name in getattr(self, "feature_names_in_", [f"x{at}" for at in range(rows.shape[1])])]
        self._names = _in_formulas(names)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HattentionWarning)
            self._memory = LeastSquares(aliased="drop").fit(rows, np.zeros(len(rows)))
        self.dependent_: list[str] = []
        self._ties: tuple[Any, Any] | None = None
        kept = ~np.isnan(self._memory._fit.estimates()[0, 1:])
        self._size = int(kept.sum())
        if not kept.all():
            self.dependent_ = [name for name, keep in zip(names, kept, strict=True) if not keep]
            if self._size:
                self._ties = (kept, LeastSquares().fit(rows[:, kept], rows[:, ~kept]))
            else:
                self._ties = (kept, rows[0].copy())
        if self.block_rows is not None and 1 < self.block_rows < self._size + 2:
            raise DataError(
                f"block_rows is {self.block_rows}, and a block of {self._size} columns takes at least {self._size + 2} rows",
                "use larger blocks, or 1 to test each row alone",
            )
        self._rows = len(rows)
        self._training = self._table(rows) if self.permutations else None
        self._model = None
        if self._size:
            columns = self._table(rows)
            formula = " + ".join(f"`{name}`" for name, keep in zip(self._names, kept, strict=True) if keep)
            target = {_TARGET: np.zeros(len(rows))}
            self._model = fit(f"`{_TARGET}` ~ {formula}", {**columns, **target})
            self._model._data = None
        self._memory._training = None
        self._last = _Last()
        return self

    def score_samples(self, X: Array) -> NDArray[np.float64]:
        """The p-value of each row: of its own test, or of its block's."""
        check_is_fitted(self)
        rows = self._inputs(X)
        if self.block_rows == 1:
            p = self._alone(rows)
            self._last.pvalue = p
            return p
        size = len(rows) if self.block_rows is None else self.block_rows
        starts = [size * at for at in range(max(1, len(rows) // size))]
        blocks = [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]
        of_blocks = np.array([self._block(block).pvalue for block in blocks])
        self._last.pvalue = of_blocks
        return np.repeat(of_blocks, [len(block) for block in blocks])

    def decision_function(self, X: Array) -> NDArray[np.float64]:
        """The p-value of each row less the level: negative for rows that are none of the training rows' world."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Array) -> NDArray[np.int64]:
        """1 for rows that could be training rows, and −1 for those that could not."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def score(self, X: Array, y: object = None) -> float:
        """The p-value of all rows as one batch: the larger, the more alike."""
        p = self.test(X).pvalue
        self._last.pvalue = np.array([p])
        return p

    def test(self, X: Array) -> Drift:
        """Compare all rows, as one batch, with the training rows."""
        check_is_fitted(self)
        return self._block(self._inputs(X))

    @property
    def pvalue_(self) -> NDArray[np.float64]:
        """p-values of the last rows or blocks."""
        check_is_fitted(self)
        if self._last.pvalue is None:
            raise AttributeError("pvalue_ is there after predict, decision_function, score_samples or score")
        return self._last.pvalue

    # How it is done.

    def _inputs(self, X: Any) -> Any:
        return plain(validate_data(self, X, dtype=np.float64, reset=False))

    def _table(self, X: Any) -> dict[str, Any]:
        return {name: X[:, at] for at, name in enumerate(self._names)}

    def _alone(self, X: Any) -> NDArray[np.float64]:
        from scipy.stats import f

        rows, size = self._rows, self._size
        p = np.ones(len(X))
        if size:
            squares = np.maximum(self._memory.leverage(X) - 1 / rows, 0)
            p = np.asarray(f.sf(rows * (rows - size) / ((rows + 1) * size) * squares, size, rows - size))
        p[self._untied(X)] = 0.0
        return p

    def _untied(self, X: Any) -> NDArray[np.bool_]:
        """Rows in which columns do not depend on each other as they do in the training rows."""
        if self._ties is None:
            return np.zeros(len(X), dtype=bool)
        kept, tie = self._ties
        others = X[:, ~kept]
        if isinstance(tie, LeastSquares):
            expected = tie.predict(X[:, kept]).reshape(others.shape)
            scale = np.abs(others) + np.abs(X[:, kept]) @ np.abs(tie.coef_.reshape(others.shape[1], -1)).T
        else:
            expected, scale = tie[~kept][None, :], np.abs(others)
        return np.asarray((np.abs(others - expected) > 1e-9 * scale).any(axis=1))

    def _block(self, X: Any) -> Drift:
        untied = int(self._untied(X).sum())
        if untied or self._model is None:
            what = ", ".join(f"`{name}`" for name in self.dependent_[:5])
            text = f"DRIFT ({untied} rows in which {what} do not depend on the other columns as in the training rows)\n"
            text = text if untied else "no drift (all columns are constant, and are so still)\n"
            told = {"drift": untied > 0, "p": 0.0 if untied else 1.0, "method": "dependence", "columns": [], "directions": []}
            return Drift(told, text)
        permutations = self.permutations or 999
        return self._model.drift(
            self._table(X), train=self._training, level=self.level, permutations=permutations, seed=self.seed
        )


def _in_formulas(names: list[str]) -> list[str]:
    """Names as a formula can quote them, each once."""
    taken, quotable = {_TARGET}, []
    for name in names:
        own = name = name.replace("`", "'").replace("\\", "/").replace("\n", " ") or " "
        count = 2
        while own in taken:
            own, count = f"{name} ({count})", count + 1
        taken.add(own)
        quotable.append(own)
    return quotable


class _Last:
    """What the last call found: no part of what was fitted."""

    def __init__(self) -> None:
        self.pvalue: NDArray[np.float64] | None = None
