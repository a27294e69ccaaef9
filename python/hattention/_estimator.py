"""Least squares for scikit-learn."""

from __future__ import annotations

import json
import math
import threading
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, TransformerMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from . import _hattention
from ._arrays import matrix, plain, target_names
from ._reports import Explanation
from .errors import DataError, DataTypeError, NotThereError, _warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["LeastSquares"]

Array = Any
"""What scikit-learn takes as an array: of numpy, a frame of pandas or polars, a list of lists."""


class LeastSquares(MultiOutputMixin, RegressorMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Least squares, ridge and principal components, with the rows behind every prediction.

    Arrays of numpy are read where they are, whatever their layout; what is not of 64-bit floats is converted first, and
    frames become arrays.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether there is a constant, which is never penalised.
    ridge : float or "auto", optional
        Penalty on ``XᵀX``, the ``alpha`` of `sklearn.linear_model.Ridge`; ``"auto"`` by generalised cross-validation.
    components : int or "auto", optional
        Number of principal components of the centred columns.
    standardize : bool, default=False
        Let the penalty or the components act on columns divided by their standard deviation.
    aliased : {"min-norm", "drop", "error"}, default="min-norm"
        What is done about columns that depend on earlier ones: the shortest solution, as
        `sklearn.linear_model.LinearRegression` has it; leave them out, as R does; or refuse them by name. The first two
        warn.

    Attributes
    ----------
    coef_ : array of shape (n_features,) or (n_targets, n_features)
        Coefficients; zero where a column was left out.
    intercept_ : float or array of shape (n_targets,)
        The constant.
    coef_se_, intercept_se_ : like ``coef_`` and ``intercept_``
        Standard errors; NaN under a penalty or components.
    sigma_, df_resid_, r_squared_ : float or array of shape (n_targets,)
        Residual standard error, degrees of freedom and R².
    digits_ : float
        Correct decimal digits of the worst coefficient, against the numbers that were given.
    rank_ : int
        Rank of the design, the constant counted.
    condition_ : float
        Condition number of the design with its columns scaled to length 1.
    method_ : str
        The arithmetic that the fit stood on.
    alpha_ : float or None
        The penalty.
    n_components_ : int or None
        Principal components.
    leverage_ : array of shape (n_samples,)
        What each training row weighs in its own prediction. (Of the rows that `fit` was given, while they are there, and
        as they are now.)
    loo_residuals_ : array of shape (n_samples,) or (n_samples, n_targets)
        Residuals of each training row from the fit of all others: exactly, for least squares and a penalty that was given.
        What all rows chose is held: the penalty of ``ridge="auto"``, the scales of ``standardize``, the directions of
        ``components``.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    `partial_fit`, `merge` and `remove` work on the exact sums of the rows: any order and any pieces give the same bits.
    `fit` keeps no such sums, and is faster.

    As a transformer it gives the keys of rows, ``kᵢ = Lᵀ(xᵢ − x̄)`` with ``L Lᵀ = (XᵀWX)⁻¹``: training row i, of weight wᵢ,
    weighs ``wᵢ (1/Σw + ⟨k, kᵢ⟩)`` in the prediction of a row of key k. (Without a constant ``wᵢ ⟨k, kᵢ⟩``, and x̄ is 0.)

    It equals `sklearn.linear_model.LinearRegression`, `sklearn.linear_model.Ridge`, ``lm`` in R, ``pcr`` of R's pls.

    Examples
    --------
    >>> import numpy as np
    >>> from hattention import LeastSquares
    >>> X, y = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([2.1, 3.9, 6.2, 7.8])
    >>> model = LeastSquares().fit(X, y)
    >>> model.coef_.round(2)
    array([1.94])
    >>> model.explain([[5.0]], top=2)[0].rows
    array([3, 0])
    """

    coef_: NDArray[np.float64]
    coef_se_: NDArray[np.float64]
    digits_: float
    rank_: int
    condition_: float
    method_: str
    alpha_: float | None
    n_components_: int | None
    n_features_in_: int
    _fit: _hattention.ArrayFit
    _state: _hattention.ArrayState | None
    _training: tuple[Any, Any, Any] | None

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        ridge: float | Literal["auto"] | None = None,
        components: int | Literal["auto"] | None = None,
        standardize: bool = False,
        aliased: Literal["min-norm", "drop", "error"] = "min-norm",
    ) -> None:
        self.fit_intercept = fit_intercept
        self.ridge = ridge
        self.components = components
        self.standardize = standardize
        self.aliased = aliased

    def fit(self, X: Array, y: Array, sample_weight: Array | None = None) -> LeastSquares:
        """Fit rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), optional
            Observation weights, as R's analytic weights: errors have the variance σ²/w.

        Returns
        -------
        LeastSquares
            The estimator itself.

        Raises
        ------
        DataError
            If parameters are none that there are; `ValueError` of scikit-learn if the arrays are not.
        NoAnswerError
            If columns depend on others and ``aliased="error"``, or there are fewer rows than ``components``.

        Notes
        -----
        ``n p²/2`` operations and one more read of the rows for each target, in doubles; the exact sums, at about ten times
        the cost, for weights, penalties, components, and where doubles fall short.
        """
        with self._undone_if_it_fails():
            rows, target, weights = self._checked(X, y, sample_weight, reset=True, finite=False)
            asked = self._asked(rows.shape[1])
            try:
                fit = _hattention.fit_arrays(rows, matrix(target), weights, target_names(target), asked)
            except ValueError:
                # (The engine finds numbers that are not finite on its way, without a read of all rows before; whoever
                # uses scikit-learn knows them by its words.)
                self._checked(X, y, sample_weight, reset=True)
                raise
            self._state = None
            self._training = (rows, target, weights)
            self._tell(fit, target.ndim)
        return self

    def partial_fit(self, X: Array, y: Array, sample_weight: Array | None = None) -> LeastSquares:
        """Add rows to those of earlier calls, and to those that `fit` was given, exactly; and fit all of them.

        Parameters, errors and result are those of `fit`. Calls of several threads wait for each other. No warning tells of
        columns that depend on each other while there are no more rows than columns.
        """
        with self._undone_if_it_fails():
            first = not hasattr(self, "_fit")
            rows, target, weights = self._checked(X, y, sample_weight, reset=first)
            if first:
                state = _hattention.ArrayState(rows.shape[1] + matrix(target).shape[1])
            else:
                state = self._sums(target)
            self._solved(state.changed(rows, matrix(target), weights, False), target_names(target), target.ndim)
        return self

    def remove(self, X: Array, y: Array, sample_weight: Array | None = None) -> LeastSquares:
        """Take rows of earlier calls of `partial_fit` out: the sums are, in bits, those that never saw them.

        Raises
        ------
        DataError
            If the estimator was not fitted by `partial_fit`, or these rows cannot be among those it saw.
        NoAnswerError
            If no rows are left. The estimator is as before then.
        """
        with self._undone_if_it_fails():
            state = self._need_state("remove")
            rows, target, weights = self._checked(X, y, sample_weight, reset=False)
            self._same_targets(target)
            self._solved(state.changed(rows, matrix(target), weights, True), self._target_names, self._target_dim)
        return self

    def merge(self, other: LeastSquares) -> LeastSquares:
        """Add the rows of another estimator that was fitted by `partial_fit`, exactly, and fit all of them.

        Raises
        ------
        DataError
            If one of both was not fitted by `partial_fit`, or features or targets are not the same.
        """
        if not isinstance(other, LeastSquares):
            raise DataTypeError(f"merge takes a LeastSquares, not {type(other).__name__}")
        with self._undone_if_it_fails():
            own, more = self._need_state("merge"), other._need_state("merge")
            for what, get in _SAME_IN_PARTS.items():
                if get(self) != get(other):
                    raise DataError(f"the other estimator has {get(other)} {what}, expected {get(self)}")
            self._solved(own.merged(more), self._target_names, self._target_dim)
        return self

    def predict(
        self,
        X: Array,
        interval: Literal["confidence", "prediction"] | None = None,
        level: float = 0.95,
    ) -> Any:
        """Predict rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        interval : {"confidence", "prediction"}, optional
            Add an interval for the expected value, or for a new observation.
        level : float
            Its level.

        Returns
        -------
        predictions : array of shape (n_samples,) or (n_samples, n_targets)
            With ``interval`` a tuple of predictions, lower and upper ends: ``ŷ ± t · σ √(w⁻¹ + h)``, without the ``w⁻¹``
            for the expected value, as ``predict.lm`` in R.

        Raises
        ------
        DataError
            If an interval is asked of a fit by ridge or components.
        """
        check_is_fitted(self)
        X = self._inputs(X)
        predictions = self._shaped(self._fit.predict(X))
        if interval is None:
            return predictions
        if interval not in ("confidence", "prediction"):
            raise DataError(f'interval is "{interval}", expected "confidence" or "prediction"')
        half = self._shaped(self._fit.half_widths(X, interval == "prediction", level))
        return predictions, predictions - half, predictions + half

    def transform(self, X: Array) -> NDArray[np.float64]:
        """The keys of rows. Shape: (n_samples, n_keys)."""
        check_is_fitted(self)
        keys: NDArray[np.float64] = self._fit.transform(self._inputs(X)).T
        return keys

    def get_feature_names_out(self, input_features: Array | None = None) -> NDArray[np.object_]:
        """Names of the keys: ``key0``, ``key1``, …"""
        check_is_fitted(self)
        return np.array([f"key{at}" for at in range(self._told["keys"])], dtype=object)

    def leverage(self, X: Array, sample_weight: Array | None = None) -> NDArray[np.float64]:
        """What each row weighs in its own prediction, were it a training row: ``w ‖k‖²``."""
        check_is_fitted(self)
        X = self._inputs(X)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        return np.asarray(self._fit.leverages(X, None if weights is None else plain(weights)))

    @property
    def leverage_(self) -> NDArray[np.float64]:
        """Leverages of the training rows."""
        X, _, weights = self._rows("leverage_")
        return np.asarray(self._fit.leverages(X, weights))

    @property
    def loo_residuals_(self) -> NDArray[np.float64]:
        """Residuals of the training rows, each from the fit of all others: ``eᵢ / (1 − hᵢᵢ)``."""
        X, y, weights = self._rows("loo_residuals_")
        residuals = self._shaped(self._fit.residuals(X, matrix(y)))
        alone = 1.0 - np.asarray(self._fit.leverages(X, weights))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(residuals / (alone if residuals.ndim == 1 else alone[:, None]))

    def explain(
        self,
        X_new: Array,
        top: int = 5,
        *,
        train: tuple[Any, ...] | None = None,
        target: int = 0,
    ) -> list[Explanation]:
        """The training rows behind predictions: a prediction is ``Σ weight · target`` over them.

        Parameters
        ----------
        X_new : array-like of shape (n_samples, n_features)
        top : int
            Training rows to name for each prediction.
        train : tuple (X, y) or (X, y, sample_weight), optional
            The training rows; by default those that `fit` was given. (They are not pickled.)
        target : int
            Which target.

        Returns
        -------
        list of Explanation
            Rows are counted from 0.
        """
        check_is_fitted(self)
        for what, count in (("top", top), ("target", target)):
            if not isinstance(count, Integral) or count < 0:
                raise DataError(f"{what} is {count!r}, expected a whole number of at least 0")
        if target >= len(self._target_names):
            raise DataError(f"target is {target}, and there are {len(self._target_names)}, counted from 0")
        if train is None:
            X, y, weights = self._rows("explain")
        else:
            X, y, weights = self._checked(train[0], train[1], train[2] if len(train) > 2 else None, reset=False)
        found = self._fit.explain(self._inputs(X_new), X, matrix(y), weights, target, top)
        return [Explanation(one, self._target_names[target]) for one in json.loads(found)]

    # How it is done.

    def _asked(self, features: int) -> dict[str, Any]:
        number, whole = isinstance(self.ridge, Real), isinstance(self.components, Integral)
        if not (self.ridge is None or isinstance(self.ridge, str) or number):
            raise DataError(f'ridge is {self.ridge!r}, expected a number, "auto" or None')
        if not (self.components is None or isinstance(self.components, str) or whole and self.components >= 0):
            raise DataError(f'components is {self.components!r}, expected a whole number, "auto" or None')
        if not isinstance(self.aliased, str):
            raise DataError(f'aliased is {self.aliased!r}, expected "min-norm", "drop" or "error"')
        names = getattr(self, "feature_names_in_", None)
        return {
            "intercept": bool(self.fit_intercept),
            "names": [f"x{at}" for at in range(features)] if names is None else [str(name) for name in names],
            "solve": {
                "ridge": float(self.ridge) if number else self.ridge,  # type: ignore[arg-type]
                "components": int(self.components) if whole else self.components,  # type: ignore[arg-type]
                "standardize": bool(self.standardize),
                "aliased": self.aliased,
            },
        }

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, reset: bool, finite: bool = True
    ) -> tuple[Any, Any, Any]:
        X, y = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, reset=reset, order=None, copy=False,
            ensure_all_finite=finite,
        )
        weights = None
        if sample_weight is not None:
            weights = plain(_check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True))
        return plain(X), plain(np.asarray(y, dtype=np.float64)), weights

    def _inputs(self, X: Any) -> Any:
        return plain(validate_data(self, X, dtype=np.float64, reset=False))

    def _solved(self, state: _hattention.ArrayState, targets: list[str], target_dim: int) -> None:
        fit = state.solve(targets, self._asked(self.n_features_in_))
        self._state, self._training = state, None
        # (Of the first few rows of a stream all columns depend on each other.)
        self._tell(fit, target_dim, warn=state.rows > self.n_features_in_)

    @contextmanager
    def _undone_if_it_fails(self) -> Iterator[None]:
        """One change of an estimator at a time, and all of it or nothing."""
        with _CHANGING:
            before = dict(self.__dict__)
            try:
                yield
            except BaseException:
                self.__dict__.clear()
                self.__dict__.update(before)
                raise

    def _sums(self, target: Any) -> _hattention.ArrayState:
        """The sums of all rows so far: those of earlier parts, or of the rows that `fit` was given."""
        self._same_targets(target)
        if self._state is not None:
            return self._state
        X, y, weights = self._rows("partial_fit after fit")
        none = _hattention.ArrayState(X.shape[1] + matrix(y).shape[1])
        return none.changed(X, matrix(y), weights, False)

    def _same_targets(self, target: Any) -> None:
        got, expected = matrix(target).shape[1], len(self._target_names)
        if got != expected or target.ndim != self._target_dim:
            raise DataError(f"y has the shape {target.shape}, expected {expected} {'targets' if expected > 1 else 'target'}")

    def _tell(self, fit: _hattention.ArrayFit, target_dim: int, warn: bool = True) -> None:
        self._fit, self._target_dim = fit, target_dim
        told = self._told = json.loads(fit.json())
        targets = told["targets"]
        self._target_names = [target["name"] for target in targets]
        # (A constant column beside the intercept gets a zero: nothing to know.)
        dependent = [one["column"] for one in told["dependent"] if not one["constant"]]
        if warn and dependent and told["components"] is None and told["alpha"] is None:
            names = ", ".join(f"`{name}`" for name in dependent[:5])
            more = ", …" if len(dependent) > 5 else ""
            done = "the shortest solution is taken" if self.aliased == "min-norm" else "they are left out"
            _warn(f"columns depend on others: {names}{more}; {done}")
        estimates, errors = np.nan_to_num(fit.estimates()), fit.std_errors()
        first = 1 if self.fit_intercept else 0

        def one(values: Any) -> Any:
            return values if target_dim > 1 else values[0]

        def number(key: str) -> Any:
            return one(np.array([math.nan if target[key] is None else target[key] for target in targets]))

        zero = np.zeros(len(targets))
        self.coef_, self.coef_se_ = one(estimates[:, first:]), one(errors[:, first:])
        self.intercept_ = one(estimates[:, 0] if first else zero)
        self.intercept_se_ = one(errors[:, 0] if first else zero)
        self.sigma_, self.df_resid_, self.r_squared_ = number("sigma"), number("df_residual"), number("r_squared")
        self.digits_ = float(min(target["digits"] for target in targets))
        self.rank_, self.condition_, self.method_ = told["rank"], told["condition"], told["method"]
        self.alpha_, self.n_components_ = told["alpha"], told["components"]

    def _shaped(self, by_target: Any) -> Any:
        return by_target[0] if self._target_dim == 1 else np.asarray(by_target).T

    def _rows(self, what: str) -> tuple[Any, Any, Any]:
        check_is_fitted(self)
        if self._training is None:
            raise NotThereError(
                f"{what} needs the training rows, which are not there: `partial_fit` and pickles keep none",
                "give `train=(X, y)` to `explain`, or use `leverage` and `predict` with them",
            )
        return self._training

    def _need_state(self, what: str) -> _hattention.ArrayState:
        check_is_fitted(self)
        if self._state is None:
            raise DataError(f"{what} needs the sums of the rows, and `fit` keeps none", "use `partial_fit` in its place")
        return self._state

    @property
    def _n_features_out(self) -> int:
        return int(self._told["keys"])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fit")

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_training", None)
        for name in ("_fit", "_state"):
            if state.get(name) is not None:
                state[name] = state[name].to_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "_fit" in state:
            state["_fit"] = _hattention.ArrayFit.from_bytes(state["_fit"])
            state["_training"] = None
        if state.get("_state") is not None:
            state["_state"] = _hattention.ArrayState.from_bytes(state["_state"])
        super().__setstate__(state)

    def __copy__(self) -> LeastSquares:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> LeastSquares:
        new = type(self).__new__(type(self))
        # (Fits and states never change.)
        kept: dict[str, Any] = {name: self.__dict__[name] for name in ("_fit", "_state") if name in self.__dict__}
        new.__dict__.update(kept)
        new.__dict__.update({name: deepcopy(value, memo) for name, value in self.__dict__.items() if name not in kept})
        return new


_CHANGING = threading.RLock()
"""Held while an estimator changes: of calls from several threads none is lost."""

_SAME_IN_PARTS: dict[str, Callable[[LeastSquares], Any]] = {
    "features": lambda one: one.n_features_in_,
    "as names of its features": lambda one: list(getattr(one, "feature_names_in_", [])),
    "as targets": lambda one: one._target_names,
}
