"""States: everything a fit needs to know of its rows, in sums that merge exactly."""

from __future__ import annotations

import os
from typing import Any, Literal

from . import _hattention
from ._files import read, write
from ._formula import asked, used_columns
from ._result import Result
from ._tables import table

__all__ = ["State", "load_state"]


class State:
    """The exact sums of some rows for a formula.

    States of pieces of the data, made anywhere, add up to the state of all rows: in any order, with the same bits as one
    fit of all. They can be pickled, so any framework for distributed work carries them:

    >>> import hattention
    >>> pieces = [{"x": [1.0, 2.0], "y": [1.0, 2.5]}, {"x": [3.0, 4.0], "y": [3.5, 3.0]}]
    >>> state = sum(hattention.State("y ~ x", piece) for piece in pieces)
    >>> state.rows
    4
    >>> round(float(state.fit().params["x"]), 2)
    0.7

    Parameters
    ----------
    formula : str
        As in `hattention.fit`, without effects behind ``|``.
    data : table or path
        As in `hattention.fit`.
    weights : str, optional
        Column of observation weights.
    hc : bool
        Keep what HC0 and HC1 need too: sums of products of four columns, for at most 50 columns.
    na : {"drop", "fail"}
        Rows with missing values: left out, or refused.

    Raises
    ------
    DataError
        If the data or the arguments are wrong, the formula has effects behind ``|``, or ``hc`` would keep more than 50
        columns.

    Notes
    -----
    Its size grows with the square of the columns and not with the rows. It equals ``biglm`` in R, but for rows that are taken
    out again; statsmodels has ``DistributedModel``, whose joined estimates are approximations.
    """

    def __init__(
        self,
        formula: str,
        data: Any,
        *,
        weights: str | None = None,
        hc: bool = False,
        na: Literal["drop", "fail"] = "drop",
    ) -> None:
        arguments = asked(weights=weights, hc=hc, na=na)
        rows = table(data, columns=used_columns(formula, arguments))
        self._state = _hattention.gather_state(formula, rows, "data", arguments)

    @classmethod
    def _of(cls, state: _hattention.State) -> State:
        new = cls.__new__(cls)
        new._state = state
        return new

    @property
    def rows(self) -> int:
        """Rows with positive weight."""
        return int(self._state.rows)

    @property
    def dropped_rows(self) -> int:
        """Rows left out for missing values."""
        return int(self._state.dropped_rows)

    @property
    def formula(self) -> str:
        """The formula."""
        return str(self._state.formula)

    def update(self, data: Any, *, na: Literal["drop", "fail"] = "drop") -> State:
        """The state with further rows. Raises `DataError` if their columns are others."""
        return self + State._of(self._more(data, na))

    def remove(self, data: Any, *, na: Literal["drop", "fail"] = "drop") -> State:
        """The state without rows that are in it: in bits one that never saw them.

        Raises `DataError` if it can be seen that they are not all in it."""
        return self - State._of(self._more(data, na))

    def _more(self, data: Any, na: str) -> _hattention.State:
        rows = table(data, columns=self._state.columns())
        return self._state.more(rows, "data", asked(na=na))

    def __add__(self, other: State) -> State:
        if not isinstance(other, State):
            return NotImplemented
        return State._of(self._state.merged(other._state))

    def __radd__(self, other: object) -> State:
        # (`sum` begins with 0.)
        if other == 0:
            return self
        return NotImplemented

    def __sub__(self, other: State) -> State:
        if not isinstance(other, State):
            return NotImplemented
        return State._of(self._state.without(other._state))

    def fit(
        self,
        *,
        vcov: str = "iid",
        ridge: float | Literal["auto"] | None = None,
        components: int | Literal["auto"] | None = None,
        standardize: bool = False,
        aliased: Literal["error", "drop", "min-norm"] = "error",
        vif: bool = False,
    ) -> Result:
        """The fit of the rows: the same bits as `hattention.fit` of all of them, without their rows.

        ``vcov`` is ``"iid"``, or ``"HC0"`` or ``"HC1"`` of states made with ``hc=True``; the rest is as in `hattention.fit`.

        Raises
        ------
        DataError
            If the covariance needs rows, or sums that the state does not have.
        NoAnswerError
            If there are no rows, too few, or columns that depend on each other.
        """
        arguments = asked(
            vcov=vcov, ridge=ridge, components=components, standardize=standardize, aliased=aliased, vif=vif
        )
        return Result(self._state.solve(arguments))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state as ``hat fit --state-out`` does."""
        write(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The state as a file has it. The same rows give the same bytes, in whatever order and pieces they came."""
        return bytes(self._state.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """A state of `to_bytes`."""
        return cls._of(_hattention.State.from_bytes(data))

    def __getstate__(self) -> bytes:
        return self.to_bytes()

    def __setstate__(self, state: bytes) -> None:
        self._state = _hattention.State.from_bytes(state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return f"<State of {self.rows} rows: {self.formula}>"


def load_state(path: str | os.PathLike[str]) -> State:
    """Read a state that `State.save` or ``hat fit --state-out`` wrote."""
    return State.from_bytes(read(path))
