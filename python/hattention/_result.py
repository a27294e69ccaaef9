"""Fitted formulas."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import _hattention
from ._files import read, write
from ._frames import Column, Frame, frame, framed, named, tests
from ._reports import Drift, Explanations
from ._restrictions import Hypothesis, matrix, texts
from ._summary import Summary
from ._tables import table
from .errors import DataError, NotThereError, _warn, between, expect

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Result", "load"]

_LIMIT = 1000  # rows that `explain` explains unless it is asked for more


class Result:
    """A fitted formula.

    Names are those of statsmodels' results. ``params``, ``bse``, ``tvalues`` and ``pvalues`` are series of pandas where
    pandas is installed, and dictionaries elsewhere. With several targets, ``result["y1"]`` is the result of one of them.

    It knows the rows it was fitted on, does not copy them, and looks whether they are still the same when it uses them. A
    copy, deep or not, has the same rows. A pickle has none, and all else; `save` writes what the program ``hat`` reads, and
    the other way round: a file keeps neither rows nor variance inflation nor what is told of effects that were taken out.
    """

    def __init__(self, model: _hattention.Model, data: Any = None) -> None:
        self._model = model
        self._data = data
        self._cached: dict[float, dict[str, Any]] = {}

    # What is told of a fit.

    def _all(self, level: float = 0.95) -> dict[str, Any]:
        if level not in self._cached:
            self._cached[level] = json.loads(self._model.json(level))
        return self._cached[level]

    def _one(self, level: float = 0.95) -> dict[str, Any]:
        found = self._all(level)
        if "targets" not in found:
            return found
        names = ", ".join(f'"{name}"' for name in self.targets)
        raise NotThereError(f"the result has several targets: {names}", f'take one of them: result["{self.targets[0]}"]')

    def __getitem__(self, target: str) -> Result:
        names = self.targets
        model = self._model.of_target(names.index(target)) if target in names else None
        if model is None:
            raise KeyError(f"no target {target!r}; there are {names}")
        return Result(model, self._data)

    def __contains__(self, target: object) -> bool:
        return target in self.targets

    def __iter__(self) -> Iterator[str]:
        """The names of the targets."""
        return iter(self.targets)

    @property
    def targets(self) -> list[str]:
        """Names of the targets."""
        return list(self._model.targets)

    @property
    def formula(self) -> str:
        """The formula."""
        return str(self._model.formula)

    def to_dict(self, level: float = 0.95) -> dict[str, Any]:
        """Everything that is told of the fit: the JSON of ``hat fit --json``, with intervals of this level."""
        return copy.deepcopy(self._all(between("level", level)))

    def _column(self, key: str) -> Column:
        coefficients = self._one()["coefficients"]
        return named([one["name"] for one in coefficients], [one[key] for one in coefficients])

    @property
    def params(self) -> Column:
        """Coefficients. NaN where a column was left out."""
        return self._column("estimate")

    @property
    def bse(self) -> Column:
        """Standard errors, by the covariance that was asked for."""
        return self._column("std_error")

    @property
    def tvalues(self) -> Column:
        """Coefficients in units of their standard errors."""
        return self._column("t")

    @property
    def pvalues(self) -> Column:
        """Two-sided p-values of t tests."""
        return self._column("p")

    @property
    def digits(self) -> Column:
        """Correct decimal digits of each coefficient, against the numbers that were given."""
        return self._column("digits")

    @property
    def vif(self) -> Column:
        """Variance inflation factors, if they were asked for."""
        if "vif" not in self._one()["coefficients"][0]:
            raise NotThereError(
                "the result has no variance inflation factors", "fit with vif=True (files of models do not keep them)"
            )
        return self._column("vif")

    def conf_int(self, alpha: float = 0.05) -> Frame:
        """Confidence intervals of level ``1 - alpha``, one row a coefficient; columns 0 and 1, as in statsmodels."""
        alpha = between("alpha", alpha)
        coefficients = self._one(1 - alpha)["coefficients"]
        low, high = ([one[key] for one in coefficients] for key in ("ci_low", "ci_high"))
        names = [one["name"] for one in coefficients]
        frame = framed(names, {"0": low, "1": high})
        if not isinstance(frame, dict):
            frame.columns = [0, 1]
        return frame

    def cov_params(self) -> Frame:
        """Covariance of the coefficients, an array where pandas is not installed. Shape: ``(coefficients, coefficients)``."""
        names = [one["name"] for one in self._one()["coefficients"]]
        covariance = self._model.covariance(0)
        try:
            import pandas as pd
        except ImportError:
            return covariance
        return pd.DataFrame(covariance, index=names, columns=names)

    def _number(self, key: str) -> float:
        value = self._one()[key]
        return math.nan if value is None else float(value)

    @property
    def nobs(self) -> float:
        """Rows of the fit."""
        return float(self._one()["n"])

    @property
    def dropped_rows(self) -> int:
        """Rows left out for missing values."""
        return int(self._one()["dropped_rows"])

    @property
    def df_resid(self) -> float:
        """Residual degrees of freedom."""
        return self._number("df_residual")

    @property
    def df_model(self) -> float:
        """Coefficients less the constant."""
        has_constant = any(one["name"] == "(Intercept)" for one in self._one()["coefficients"])
        return float(self._one()["rank"] - (1 if has_constant else 0))

    @property
    def rsquared(self) -> float:
        """R²; with effects taken out, of them too."""
        return self._number("r_squared")

    @property
    def rsquared_adj(self) -> float:
        """R² adjusted for the degrees of freedom."""
        return self._number("adj_r_squared")

    @property
    def rsquared_within(self) -> float:
        """R² beside the effects that were taken out."""
        return self._number("within_r_squared") if "within_r_squared" in self._one() else self.rsquared

    @property
    def sigma(self) -> float:
        """Residual standard error."""
        return self._number("sigma")

    @property
    def scale(self) -> float:
        """Residual variance, as statsmodels calls it."""
        return self.sigma**2

    @property
    def mse_resid(self) -> float:
        """Residual variance."""
        return self.scale

    @property
    def ssr(self) -> float:
        """Residual sum of squares."""
        return self.scale * self.df_resid

    @property
    def llf(self) -> float:
        """Log-likelihood of normal errors."""
        return self._number("log_likelihood")

    @property
    def aic(self) -> float:
        """Akaike's criterion as R counts it: the variance is a parameter (statsmodels counts one less, so 2 less)."""
        return self._number("aic")

    @property
    def bic(self) -> float:
        """Schwarz's criterion as R counts it: the variance is a parameter."""
        return self._number("bic")

    def _f(self, key: str) -> float:
        test = self._one()["f"]
        return math.nan if test is None else float(test[key])

    @property
    def fvalue(self) -> float:
        """F statistic of all coefficients but the constant."""
        return self._f("statistic")

    @property
    def f_pvalue(self) -> float:
        """Its p-value."""
        return self._f("p")

    @property
    def condition(self) -> float:
        """Condition number of the design with its columns scaled to length 1."""
        return self._number("condition")

    @property
    def method(self) -> str:
        """The arithmetic that the fit stood on."""
        return str(self._one()["method"])

    # What is shown.

    def summary(self, alpha: float | None = None) -> Summary:
        """The table of the fit, as ``summary(lm)`` in R prints it; a notebook shows it as a table.

        With ``alpha``, the text has confidence intervals of level ``1 - alpha`` too; the notebook's table has always, by
        default of 95 percent.
        """
        used = 0.05 if alpha is None else between("alpha", alpha)
        return Summary(self._model.text(1 - used), self._all(1 - used), used, intervals=alpha is not None)

    def __repr__(self) -> str:
        return self._model.text(0.95)

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    # What is done with it.

    def predict(
        self,
        data: Any = None,
        *,
        interval: Literal["confidence", "prediction"] | None = None,
        level: float = 0.95,
        unseen: Literal["error", "null"] = "error",
    ) -> Any:
        """Predict rows, by default those of the fit.

        Parameters
        ----------
        data : table or path, optional
            As in `fit`.
        interval : {"confidence", "prediction"}, optional
            Add an interval for the expected value, or for a new observation.
        level : float
            Its level.
        unseen : {"error", "null"}
            Levels that training did not have: refused, or predicted as NaN.

        Returns
        -------
        array, or mapping of names to arrays
            One number a row, NaN where a value is missing. With an interval or several targets, ``prediction``, ``low``
            and ``high`` by name: a frame of pandas where pandas is installed.

        Raises
        ------
        DataError
            If a column is missing or of another type, a level is new, the level of the interval is none, the fit has no
            errors for an interval (ridge, components, effects behind ``|``), or the rows of the fit have changed.

        Notes
        -----
        It equals ``predict(fit, new, interval=...)`` in R, and ``predict`` and ``get_prediction(...).summary_frame()`` in
        statsmodels. Intervals have the covariance of the fit. After clustering their quantile is Student's with as many
        degrees of freedom as there are clusters less one, as in fixest; statsmodels takes the residual degrees of freedom.
        """
        columns = self._columns(data, interval, level, unseen, augment=False)
        return columns["prediction"] if list(columns) == ["prediction"] else frame(columns)

    def augment(self, data: Any = None) -> Frame:
        """Rows of the fit by ``prediction, std_error, residual, leverage, loo_residual, cooks_distance``, one row a row.

        With effects behind ``|`` there are ``prediction`` and ``residual`` only. Values are NaN where one is missing.

        Equals ``broom::augment`` in R, and in statsmodels ``get_influence()``, whose ``resid_press`` are the leave-one-out
        residuals.

        Raises
        ------
        DataError
            As `predict`.
        """
        return frame(self._columns(data, None, 0.95, "error", augment=True))

    def _columns(self, data: Any, interval: str | None, level: float, unseen: str, augment: bool) -> dict[str, Any]:
        rows = self._fitted_rows("data") if data is None else self._rows(data, "data", trained=augment)
        return dict(self._model.predict(rows, "data", interval, level, unseen, augment))

    def _of_fit(self, name: str) -> NDArray[np.float64]:
        self._one()
        try:
            return np.asarray(self._columns(None, None, 0.95, "error", augment=name == "residual")[name])
        except DataError as error:
            raise NotThereError(error.message, error.hint, error.row) from None

    @property
    def fittedvalues(self) -> NDArray[np.float64]:
        """Predictions of the rows of the fit, in their order; NaN for rows that were left out. Shape: ``(rows,)``."""
        return self._of_fit("prediction")

    @property
    def resid(self) -> NDArray[np.float64]:
        """Residuals of the rows of the fit, in their order; NaN for rows that were left out. Shape: ``(rows,)``."""
        return self._of_fit("residual")

    def explain(self, data: Any, *, train: Any = None, top: int = 5, limit: int | None = _LIMIT) -> Explanations:
        """The training rows behind predictions: their weights, and what these say of the prediction.

        A prediction is ``Σ weight · target`` over the training rows. Every row that is explained meets every training row.

        Parameters
        ----------
        data : table or path
            The rows to explain.
        train : table or path, optional
            The rows of the fit; by default those that `fit` was given.
        top : int
            Training rows to name for each prediction.
        limit : int or None
            Rows to explain, from the first; None for all. By default 1000, with a warning if there are more.

        Raises
        ------
        DataError
            If the fit has several targets (``result["y"].explain(...)`` explains one) or effects behind ``|``, the rows of
            the fit are not there or have changed, or an argument cannot be.
        NoAnswerError
            If there is no row to explain.
        """
        rows = self._rows(data, "the queries")
        name = "the training rows"
        training = self._fitted_rows(name) if train is None else self._rows(train, name, trained=True)
        found, text, more = self._model.explain(rows, training, top, limit)
        if more and limit == _LIMIT:
            _warn(f"the first {limit} rows are explained, and there are more; limit=None explains all")
        return Explanations(json.loads(found), text)

    def test(self, *hypotheses: Hypothesis) -> Frame:
        """Test hypotheses together: an F test, of one hypothesis the square of a t test.

        Parameters
        ----------
        *hypotheses
            Texts such as ``"x = 1"``, ``"a - 2*b = 0"``, ``"x = z = 0"`` or ``"x = 1, z"``, where ``Intercept`` is
            ``(Intercept)`` and ``g[T.b]`` is ``gb``; or mappings of coefficients to values, ``{"x": 1}``; or a matrix ``R``
            with a row a restriction and a column a coefficient, or a tuple ``(R, q)``, for ``R params = q``.

        Returns
        -------
        frame
            ``statistic, df1, df2, p``; one row, or one a target.

        Raises
        ------
        DataError
            If a hypothesis cannot be read, restrictions depend on each other, or the fit has no tests (ridge, components).

        Notes
        -----
        It equals ``linearHypothesis`` of R's car, and ``f_test`` (``t_test`` squared) in statsmodels with ``use_t=True``.
        """
        told = self._all()
        names = [one["name"] for one in told.get("targets", [told])[0]["coefficients"]]
        written = texts(hypotheses, names)
        if written is None:
            return tests(self._model.test_rows(*matrix(hypotheses, names)))
        if not written:
            raise DataError("no hypothesis", 'for example: result.test("x = 1")')
        return tests(self._model.test(written))

    def anova(self) -> Frame:
        """One F test a term of the formula, each given all others, by the covariance of the fit.

        Equals ``anova_lm(fit, typ=3)`` in statsmodels with treatment contrasts: a term is tested beside the interactions that
        contain it. (``drop1`` in R does not test such terms.)
        """
        return tests(self._model.test_terms())

    def compare(self, other: Result) -> Frame:
        """The F test of a nested model, whichever of the two is the larger, by residual sums of squares.

        Equals ``anova(small, large)`` in R, ``anova_lm(small, large)`` in statsmodels. It is the classical test whatever the
        covariance of the fits, and warns where that is another; `test` uses the covariance.

        Raises
        ------
        DataError
            If targets, rows or weights differ, or neither model is larger.
        """
        expect("other", other, Result)
        return tests(self._model.test_against(other._model))

    def drift(
        self, data: Any, *, train: Any = None, level: float = 0.05, permutations: int = 999, seed: int = 1
    ) -> Drift:
        """Whether rows come from the world of the training rows, and what moved.

        Without ``train`` by the likelihood ratio of normal laws, which needs the model only; with ``train`` (the rows of the
        fit) by permutation.
        """
        rows = self._rows(data, "the batch")
        training = None if train is None else self._rows(train, "the training rows")
        found, text = self._model.drift(rows, training, level, permutations, seed)
        return Drift(json.loads(found), text)

    # What is kept of it.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as ``hat fit -o`` does: a file of safetensors, which ``hat`` and `load` read.

        It keeps all that predictions and tests need, and neither rows, nor variance inflation, nor what is told of effects
        that were taken out (``absorbed`` and ``absorption`` of `to_dict`).
        """
        write(path, self._model.to_bytes())

    def to_onnx(self, path: str | os.PathLike[str], *, dtype: Literal["f64", "f32"] = "f64") -> None:
        """Write the regression as a graph of ONNX: input ``x`` (rows by design columns without the intercept), output ``y``."""
        if dtype not in ("f64", "f32"):
            raise DataError(f'dtype is "{dtype}", expected "f64" or "f32"')
        write(path, self._model.to_onnx(dtype == "f32"))

    def to_safetensors(
        self,
        path: str | os.PathLike[str],
        *,
        layout: Literal["self", "cross", "solve"] = "cross",
        heads: int = 1,
    ) -> None:
        """Write the regression as a transformer, as ``hat transformer build`` does."""
        write(path, self._model.to_safetensors(layout, heads))

    def __copy__(self) -> Result:
        return Result(self._model, self._data)

    def __deepcopy__(self, memo: dict[int, Any]) -> Result:
        # (The model cannot be changed, and rows that are told to be those of the fit stay so.)
        return Result(self._model, self._data)

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self._model.to_bytes(), "beside": self._model.beside()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(_hattention.Model.from_bytes(state["model"], state["beside"]))  # type: ignore[misc]

    def _rows(self, data: Any, name: str, trained: bool = False) -> Any:
        return table(data, name, columns=self._model.columns(trained))

    def _fitted_rows(self, name: str) -> Any:
        """The rows that `fit` was given, if they still are those of the fit."""
        if self._data is None:
            what = f"{name} are not there: a result that was loaded or unpickled, or is of a state or a reader, holds no data"
            raise DataError(what, "give the rows")
        rows = self._rows(self._data, name, trained=True)
        self._model.check_rows(rows, name)
        return rows


def load(path: str | os.PathLike[str]) -> Result:
    """Read a model that `Result.save` or ``hat fit -o`` wrote. See `Result.save` for what it keeps."""
    return Result(_hattention.Model.from_bytes(read(path)))
