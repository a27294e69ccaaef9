"""Attention regression for scikit-learn."""

from __future__ import annotations

import json
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _hattention
from ._arrays import plain
from ._estimator import Array
from ._reports import AttentionExplanation
from .errors import DataError, DataTypeError, _warn, between

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["AttentionRegressor"]

#: Errors of rows held out over those of rows left out, metrics held, from which on a user is warned.
LEARNED_BY_HEART = 2.0



class AttentionRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Softmax attention over the training rows with learned metrics, beside a linear head.

    ``ŷ(x) = β₀ + xᵀβ + Σ_m α_m Σ_i p_mi(x) y_i``, where the weights ``p_mi`` of head m are positive and sum to one. What is
    minimised over the metrics ``Ω_m = L_m L_mᵀ`` is ``ln(mean e² + τ Σ α²) + λ/n Σ ‖L‖²`` of the training rows' residuals
    e; each row reads the others, about their mean, and not itself. ``β₀``, β and α are least squares within every
    evaluation. Inputs and target are centred and scaled to deviation one before.

    Parameters
    ----------
    n_heads : int, default=5
        Heads M; 0 leaves the linear one.
    scores : {"distance", "softmax", "polynomial"}, default="distance"
        What weights are made of: ``p ∝ exp(−½ (x − xᵢ)ᵀ Ω (x − xᵢ))``, ``∝ exp(xᵀ Ω xᵢ)`` as in transformers, or
        ``∝ (1 + xᵀ Ω xᵢ)²``; ``"polynomial:4"`` is of the fourth power. (``score`` is a method.)
    mask : {"loo", "self", "causal", "window:W", "decay:H", "block"}, default="loo"
        Which rows a training row reads: all others; itself too; those before it; the last W before it; those before it,
        with weights that halve every H rows; or those of other ``groups``. (In the three of time rows are in their order,
        and new rows read as the row after the last one would.)
    linear : bool, default=True
        Whether there is a linear head.
    penalty : float or "auto", default="auto"
        λ; ``"auto"`` chooses λ and τ by cross-validation: of later rows by earlier ones under a mask of time, of whole
        groups under ``"block"``.
    ranks : bool or "auto", default="auto"
        Whether heads, the linear one too, read normal scores of the inputs' ranks in their stead, to which long tails and crowds are
        nothing; ``"auto"`` chooses with the penalties, and is False where ``penalty`` is given.
    mixing : float, default=0.03
        τ; where it starts, if ``penalty="auto"``.
    folds : int, default=5
        Folds of this cross-validation.
    folds_rows : int, default=1000
        Rows that it takes at most.
    sample : int, optional
        Rows that metrics are fitted with at most; predictions read all rows. It must be given for more than 20,000 rows,
        as the work of a fit grows with their square.
    precision : {"single", "double"}, default="single"
        The numbers that metrics are searched in: losses of single ones are right to about six digits and take half the
        time. What is found is read in doubles either way.
    max_iter : int, default=300
        Steps of a search at most.
    restarts : int, default=1
        Searches from different starts, of which the best is kept.
    hold_out : float, default=0.0
        Share of the rows, at most a half, held out of the search, which ends when they are predicted no better.
    random_state : int, RandomState instance or None, default=1
        Seed of starts, folds and samples: the same seed and rows give the same bits. None is 1.

    Attributes
    ----------
    intercept_ : float
        β₀, in the units of the target.
    coef_ : array of shape (n_features,)
        Slopes β of the linear head, in the units of the data, or of normal scores; zero without one.
    head_coef_ : array of shape (n_heads,)
        Coefficients α of the heads.
    metrics_ : array of shape (n_heads, n_features, n_features)
        Metrics Ω of the heads, in units of the inputs' deviations, or of normal scores.
    normal_scores_ : list of (array, array) or None
        Where ranks are read, of every feature some values, rising, and their normal scores; between them scores go by
        straight lines, and beyond the outermost they stay.
    shares_ : array of shape (1 + n_heads,)
        Shares of the fitted values' variance, of the linear head and then of the others; they sum to one. (One may be
        negative.)
    penalty_, mixing_ : float
        λ and τ of the fit.
    cv_results_ : list of dict or None
        What cross-validation tried: ``penalty``, ``mixing``, ``ranks``, and ``error``, the mean square of the errors of rows held out.
    loo_residuals_ : array of shape (n_samples,) or None
        What each training row is off by when it is left out, metrics held; None after ``sample``.
    r2_loo_ : float
        ``1 − Σ e² / Σ (y − ȳ)²`` of these; after ``sample`` of the errors at some of the rows. Metrics have seen these rows: where
        there are many columns for few rows it flatters.
    r2_cv_ : float
        ``1 − Σ e² / Σ (y − ȳ)²`` of the rows that cross-validation held out under these penalties, ȳ the mean of the rows that were
        fitted, metrics fitted anew: what new rows see. NaN if ``penalty`` was given.
    loss_ : float
        What was minimised, at the end.
    n_iter_ : int
        Steps that the search took, along all penalties that cross-validation went through: ``max_iter`` is for each.
    converged_ : bool
        Whether it came to an end by itself; a warning tells if not.
    collapsed_heads_ : array of int
        Heads, counted from 0, that read the same everywhere and add nothing, or under masks of time the mean of the rows before,
        whatever their inputs; a warning tells of them.
    isolated_rows_ : int
        Training rows so far from all others, or for inner products so much nearer to the centre, that a head's kernel underflows:
        they are read one by one, which takes longer.
    sampled_ : dict or None
        What ``sample`` came to: ``rows`` that metrics were fitted with, ``queries`` that errors were measured at, ``width`` by
        which the metrics' roots were multiplied then, and mean squares, in units of the target's variance: ``error`` with
        all rows to read, ``error_sample`` with those of the sample.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    A loss and its slope cost ``M n² P`` multiplications and ``M n²/2`` exponentials, memory ``O(n P)``; a prediction reads
    all rows, ``M n P``. Neither threads nor the rows beside it change a bit of a prediction.

    The estimator holds a copy of the training rows, since predictions are sums of their targets; and so do its pickles:
    anybody who has one can read the rows.

    The model is that of Goulet Coulombe (2025), arXiv 2504.09663, whose published recipe lets rows read themselves
    (``scores="softmax", mask="self", linear=False``) and searches α with the metrics. A single head of distances without a
    linear head, ``n_heads=1, linear=False``, is the kernel regression of Weinberger & Tesauro (2007), times a coefficient
    and with a constant.

    Examples
    --------
    >>> import numpy as np
    >>> from hattention import AttentionRegressor
    >>> X = np.linspace(0, 1, 80)[:, None]
    >>> y = np.sin(9 * X[:, 0])
    >>> model = AttentionRegressor(n_heads=1, penalty=0.02).fit(X, y)
    >>> bool(abs(model.predict([[0.305]])[0] - np.sin(9 * 0.305)) < 0.02)
    True
    >>> weights = model.weights([[0.305]])
    >>> bool(abs((weights @ y)[0] - model.predict([[0.305]])[0]) < 1e-9)
    True
    """

    coef_: NDArray[np.float64]
    intercept_: float
    head_coef_: NDArray[np.float64]
    metrics_: NDArray[np.float64]
    shares_: NDArray[np.float64]
    normal_scores_: list[tuple[NDArray[np.float64], NDArray[np.float64]]] | None
    penalty_: float
    mixing_: float
    cv_results_: list[dict[str, float]] | None
    loo_residuals_: NDArray[np.float64] | None
    r2_loo_: float
    r2_cv_: float
    loss_: float
    n_iter_: int
    converged_: bool
    collapsed_heads_: NDArray[np.int64]
    isolated_rows_: int
    sampled_: dict[str, Any] | None
    n_features_in_: int
    _fit: _hattention.AttentionFit

    def __init__(
        self,
        *,
        n_heads: int = 5,
        scores: str = "distance",
        mask: str = "loo",
        linear: bool = True,
        penalty: float | Literal["auto"] = "auto",
        ranks: bool | Literal["auto"] = "auto",
        mixing: float = 0.03,
        folds: int = 5,
        folds_rows: int = 1000,
        sample: int | None = None,
        precision: str = "single",
        max_iter: int = 300,
        restarts: int = 1,
        hold_out: float = 0.0,
        random_state: int | np.random.RandomState | None = 1,
    ) -> None:
        self.n_heads = n_heads
        self.scores = scores
        self.mask = mask
        self.linear = linear
        self.penalty = penalty
        self.ranks = ranks
        self.mixing = mixing
        self.folds = folds
        self.folds_rows = folds_rows
        self.sample = sample
        self.precision = precision
        self.max_iter = max_iter
        self.restarts = restarts
        self.hold_out = hold_out
        self.random_state = random_state

    def fit(self, X: Array, y: Array, groups: Array | None = None) -> AttentionRegressor:
        """Fit rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        groups : array-like of shape (n_samples,), optional
            Under ``mask="block"``, and only there, the group of each row: numbers, texts, or whatever else has a hash.

        Returns
        -------
        AttentionRegressor
            The estimator itself.

        Raises
        ------
        DataError
            If parameters are none that there are, there are more than 20,000 rows and no ``sample``, or ``groups`` do not
            fit the mask; `ValueError` of scikit-learn if the arrays are none.
        NoAnswerError
            If there are no more rows than coefficients that no penalty holds, here or in the folds: the constant, those of
            the linear head, and with ``mixing=0`` those of the others.
        """
        with self._undone_if_it_fails():
            rows, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
            asked = self._asked()
            blocks = self._blocks(groups, len(rows))
            target = np.asarray(target, dtype=np.float64)
            fit, told, left_out = _hattention.fit_attention(plain(rows), plain(target), blocks, asked)
            self._tell(fit, json.loads(told), left_out, target)
        return self

    def predict(
        self, X: Array, interval: Literal["prediction"] | None = None, level: float = 0.95, folds: int = 10
    ) -> Any:
        """Predict rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        interval : {"prediction"}, optional
            Add an interval for a new observation.
        level : float
            Its level.
        folds : int, default=10
            Folds that metrics are fitted anew without, each a fit, when an interval is first asked for; 0 holds metrics.

        Returns
        -------
        predictions : array of shape (n_samples,)
            With ``interval`` a tuple of predictions, lower and upper ends, CV+: with ``R_i`` what training row i is off by, and
            ``μ_i(x)`` the prediction, by the fit without its fold, from the ``⌊(1 − level)(n + 1)⌋``-th smallest
            ``μ_i(x) − |R_i|`` to the ``⌈level (n + 1)⌉``-th smallest ``μ_i(x) + |R_i|``. Ends are infinite where there are too
            few rows for the level.

        Raises
        ------
        DataError
            If the interval or its level is none that there is, or metrics are those of a ``sample`` under a mask of time.
        NoAnswerError
            If there are too few rows without a fold.

        Notes
        -----
        Coverage is at least ``1 − 2α − √(2/n)``, ``α = 1 − level``, whatever the model, for rows that come as the n training rows did, each
        by itself (but for penalties that were chosen with them), and mostly about ``1 − α``. Under ``mask="block"`` folds are of
        whole groups and intervals for rows of new ones; with few groups nothing is promised. Under a mask of time rows of the
        later half are predicted by fits of the rows before their fold, which they read, and ends are the prediction and a
        quantile of these errors: they are of rows up to a fold's length ahead. After ``sample`` errors are of up to 2,000 rows
        beside it, without a fit, and under ``"block"`` by samples without each fold. With ``folds=0``, the jackknife+ with metrics
        held, intervals are too short where metrics know the rows by heart (``r2_loo_`` far above ``r2_cv_``).

        The intervals are those of Barber, Candès, Ramdas & Tibshirani (2021), Predictive inference with the jackknife+.
        """
        check_is_fitted(self)
        X = self._inputs(X)
        predictions = self._fit.predict(X)
        if interval is None:
            return predictions
        if interval != "prediction":
            raise DataError(
                f'interval is {interval!r}, expected "prediction"',
                "rows that are left out tell of new observations, and not of expected values",
            )
        folds = _whole("folds", folds, 0)
        if folds == 1:
            raise DataError("folds is 1, expected 0 or two at least", "0 holds metrics, without a fit")
        low, high = self._fit.intervals(X, between("level", level), folds)
        return predictions, low, high

    def weights(self, X: Array) -> NDArray[np.float64]:
        """Weights of the training rows in predictions: ``predict(X)`` is ``weights(X) @ y``, and they sum to one.

        ``ω(x) = Σ_m α_m (p_m(x) − 1/n) + (1, x)ᵀ (X̃ᵀX̃)⁻¹ X̃ᵀ (I − Σ_m α_m P_m)`` with X̃ the training inputs beside ones and
        ``P_m`` what training rows read of each other, about the mean of what they may read. (Under masks of time and
        ``"self"`` neither about that mean nor with ``1/n``.) Some are negative: heads take from each other.

        After ``sample`` X̃ and ``I − Σ_m α_m P_m`` have the rows that the coefficients were solved at.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)

        Returns
        -------
        array of shape (n_queries, n_samples)
        """
        check_is_fitted(self)
        return self._fit.weights(self._inputs(X))

    def explain(self, X_new: Array, top: int = 5) -> list[AttentionExplanation]:
        """The training rows behind predictions.

        Parameters
        ----------
        X_new : array-like of shape (n_queries, n_features)
        top : int
            Training rows to name for each prediction.

        Returns
        -------
        list of AttentionExplanation
            Rows are counted from 0.
        """
        check_is_fitted(self)
        found = self._fit.explain(self._inputs(X_new), _whole("top", top, 0))
        return [AttentionExplanation(one, "y") for one in json.loads(found)]

    # How it is done.

    @contextmanager
    def _undone_if_it_fails(self) -> Iterator[None]:
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _asked(self) -> dict[str, Any]:
        for name in ("scores", "mask", "precision"):
            if not isinstance(getattr(self, name), str):
                raise DataTypeError(f"{name} is {getattr(self, name)!r}, expected a text")
        if not isinstance(self.linear, (bool, np.bool_)):
            raise DataError(f"linear is {self.linear!r}, expected True or False")
        ranks = "auto" if isinstance(self.ranks, str) and self.ranks == "auto" else self.ranks
        if not (ranks == "auto" or isinstance(ranks, (bool, np.bool_))):
            raise DataError(f'ranks is {self.ranks!r}, expected True, False or "auto"')
        auto = isinstance(self.penalty, str) and self.penalty == "auto"
        return {
            "n_heads": _whole("n_heads", self.n_heads, 0),
            "scores": self.scores,
            "mask": self.mask,
            "linear": bool(self.linear),
            "penalty": None if auto else _number("penalty", self.penalty, ' or "auto"'),
            "ranks": "auto" if ranks == "auto" else ("yes" if ranks else "no"),
            "mixing": _number("mixing", self.mixing),
            "folds": _whole("folds", self.folds, 2),
            "folds_rows": _whole("folds_rows", self.folds_rows, 2),
            "sample": None if self.sample is None else _whole("sample", self.sample, 2),
            "precision": self.precision,
            "max_iter": _whole("max_iter", self.max_iter, 1),
            "restarts": _whole("restarts", self.restarts, 1),
            "hold_out": _number("hold_out", self.hold_out, most=0.5),
            "seed": _seed(self.random_state),
        }

    def _blocks(self, groups: Any, rows: int) -> list[int] | None:
        """Groups as numbers, in the order in which they appear."""
        if self.mask != "block":
            if groups is not None:
                raise DataError(f'groups are the blocks of mask="block", and mask is "{self.mask}"', "leave them out")
            return None
        if groups is None:
            raise DataError('mask="block" needs the group of each row', "give `groups` to `fit`")
        # (Labels of numpy are those of Python; tuples stay whole.)
        labels = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)
        if len(labels) != rows:
            raise DataError(f"groups are {len(labels)}, expected one label for each of {rows} rows")
        numbers: dict[Any, int] = {}
        blocks = []
        for row, label in enumerate(labels):
            if label is None or label != label:  # noqa: PLR0124
                raise DataError(f"row {row + 1} has no group", "give it one of its own, or leave the row out", row + 1)
            try:
                blocks.append(numbers.setdefault(label, len(numbers)))
            except TypeError:
                hint = "give one column of numbers, texts or tuples"
                raise DataError(f"row {row + 1} has the group {label!r}, which has no hash", hint, row + 1) from None
        if len(numbers) < 2:
            raise DataError("all rows are of one group, and a row reads those of others", 'use mask="loo"')
        return blocks

    def _tell(self, fit: _hattention.AttentionFit, told: dict[str, Any], left_out: Any, target: Any) -> None:
        self._fit = fit
        self.intercept_ = fit.intercept()
        slopes = fit.slopes()
        self.coef_ = slopes if len(slopes) else np.zeros(self.n_features_in_)
        self.head_coef_, self.metrics_ = fit.head_coefficients(), fit.metrics()
        self.shares_ = np.array(told["shares"], dtype=float)
        scores = told["normal_scores"]
        self.normal_scores_ = None if scores is None else [(np.array(x), np.array(z)) for x, z in scores]
        self.penalty_, self.mixing_, self.cv_results_ = told["penalty"], told["mixing"], told["tried"]
        self.loo_residuals_ = left_out
        variance = float(np.square(target - target.mean()).mean())
        # (What rounding leaves of a constant is no variance.)
        varies = variance > 1e-28 * float(target.mean()) ** 2
        self.r2_loo_ = self.r2_cv_ = float("nan")
        if varies and left_out is not None:
            self.r2_loo_ = 1 - float(np.square(left_out).mean()) / variance
        elif varies:
            self.r2_loo_ = 1 - told["sampled"]["error"]
        if varies and told["r2_cv"] is not None:
            self.r2_cv_ = told["r2_cv"]
        self.loss_, self.n_iter_, self.converged_ = told["loss"], told["steps"], told["converged"]
        self.collapsed_heads_ = np.array(told["collapsed"], dtype=np.int64)
        self.isolated_rows_, self.sampled_ = told["isolated"], told["sampled"]
        if not self.converged_:
            _warn(f"the search was still falling after {self.n_iter_} steps; go on with a larger `max_iter`")
        if told["collapsed"]:
            alone = len(told["collapsed"]) == self.n_heads
            left = (": what is predicted is " + ("the linear head" if self.linear else "the mean")) if alone else ""
            which = "all heads read" if alone else f"of the heads {told['collapsed']} read"
            in_time = self.mask.split(":")[0] in ("causal", "window", "decay")
            what = "the mean of the rows before, whatever their inputs" if in_time else f"the same everywhere and add nothing{left}"
            _warn(f"{which} {what}")
        if 1 - self.r2_cv_ > LEARNED_BY_HEART * (1 - self.r2_loo_):
            _warn(
                f"rows held out by cross-validation are predicted far worse than rows left out with metrics held (R² {self.r2_cv_:.3f}, "
                f"{self.r2_loo_:.3f}): metrics know the rows by heart; take fewer `n_heads` or a larger `penalty`"
            )

    def _inputs(self, X: Any) -> Any:
        return plain(validate_data(self, X, dtype=np.float64, reset=False))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fit")

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_fit" in state:
            state["_fit"] = state["_fit"].to_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "_fit" in state:
            state["_fit"] = _hattention.AttentionFit.from_bytes(state["_fit"])
        super().__setstate__(state)


def _whole(name: str, value: object, least: int) -> int:
    """The whole number, which must not be less."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least or int(value) >= 1 << 63:
        raise DataError(f"{name} is {value!r}, expected a whole number of at least {least}")
    return int(value)


def _number(name: str, value: object, more: str = "", most: float = np.inf) -> float:
    """The number, which must be finite, not negative and no more than ``most``."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) <= most or np.isinf(float(value)):
        allowed = f"a number from 0 to {most}" if most < np.inf else "a finite number of at least 0"
        raise DataError(f"{name} is {value!r}, expected {allowed}{more}")
    return float(value)


def _seed(random_state: object) -> int:
    if random_state is None:
        return 1
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(np.iinfo(np.int32).max))
    if isinstance(random_state, Integral) and not isinstance(random_state, bool) and 0 <= int(random_state) < 1 << 63:
        return int(random_state)
    raise DataError(f"random_state is {random_state!r}, expected a whole number of at least 0, a RandomState or None")
