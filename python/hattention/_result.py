"""Fitted formulas."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import _hattention
from ._files import read, write
from ._frames import frame, framed, named
from ._reports import Drift, Explanations
from ._summary import Summary
from ._tables import table
from .errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Result", "load"]


class Result:
    """A fitted formula.

    Names are those of statsmodels' results. ``params``, ``bse``, ``tvalues`` and ``pvalues`` are series of pandas where
    pandas is installed, and dictionaries elsewhere. With several targets, ``result["y1"]`` is the result of one of them.

    A result can be pickled, and holds no data then; `save` writes what the program ``hat`` reads, and the other way round.
    """

    def __init__(self, model: _hattention.Model, data: Any = None, target: int | None = None) -> None:
        self._model = model
        self._data = data
        self._target = target
        self._cached: dict[float, dict[str, Any]] = {}

    # What is told of a fit.

    def _all(self, level: float = 0.95) -> dict[str, Any]:
        if level not in self._cached:
            self._cached[level] = json.loads(self._model.json(level))
        return self._cached[level]

    def _one(self, level: float = 0.95) -> dict[str, Any]:
        found = self._all(level)
        targets = found.get("targets")
        if targets is None:
            return found
        if self._target is None:
            names = ", ".join(f'"{target["name"]}"' for target in targets)
            raise DataError(f"the result has several targets: {names}", f'take one of them: result["{targets[0]["name"]}"]')
        return {**{key: value for key, value in found.items() if key != "targets"}, **targets[self._target]}

    def __getitem__(self, target: str) -> Result:
        names = self._model.targets
        if target not in names:
            raise KeyError(f"no target {target!r}; there are {names}")
        return Result(self._model, self._data, names.index(target))

    @property
    def targets(self) -> list[str]:
        """Names of the targets."""
        return list(self._model.targets)

    @property
    def formula(self) -> str:
        """The formula."""
        return str(self._model.formula)

    def to_dict(self, level: float = 0.95) -> dict[str, Any]:
        """Everything that is told of the fit: the JSON of ``hat fit --json``."""
        return self._all(level)

    def _column(self, key: str) -> Any:
        coefficients = self._one()["coefficients"]
        return named([one["name"] for one in coefficients], [one[key] for one in coefficients])

    @property
    def params(self) -> Any:
        """Coefficients. NaN where a column was left out."""
        return self._column("estimate")

    @property
    def bse(self) -> Any:
        """Standard errors, by the covariance that was asked for."""
        return self._column("std_error")

    @property
    def tvalues(self) -> Any:
        """Coefficients in units of their standard errors."""
        return self._column("t")

    @property
    def pvalues(self) -> Any:
        """Two-sided p-values of t tests."""
        return self._column("p")

    @property
    def digits(self) -> Any:
        """Correct decimal digits of each coefficient, against the numbers that were given."""
        return self._column("digits")

    @property
    def vif(self) -> Any:
        """Variance inflation factors, if they were asked for."""
        if "vif" not in self._one()["coefficients"][0]:
            raise DataError("the fit has no variance inflation factors", "fit with vif=True")
        return self._column("vif")

    def conf_int(self, alpha: float = 0.05) -> Any:
        """Confidence intervals, columns 0 and 1 as in statsmodels."""
        if not 0 < alpha < 1:
            raise DataError(f"alpha is {alpha}, expected a number between 0 and 1")
        coefficients = self._one(1 - alpha)["coefficients"]
        low, high = ([one[key] for one in coefficients] for key in ("ci_low", "ci_high"))
        names = [one["name"] for one in coefficients]
        frame = framed(names, {"0": low, "1": high})
        if not isinstance(frame, dict):
            frame.columns = [0, 1]
        return frame

    def cov_params(self) -> Any:
        """Covariance of the coefficients."""
        matrix = self._model.covariance(self._target or 0)
        names = [one["name"] for one in self._one()["coefficients"]]
        try:
            import pandas as pd
        except ImportError:
            return matrix
        return pd.DataFrame(matrix, index=names, columns=names)

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

    def summary(self, alpha: float = 0.05) -> Summary:
        """The table of the fit, as ``summary(lm)`` in R prints it; a notebook shows it as a table."""
        return Summary(self._model.text(1 - alpha), self._all(1 - alpha))

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

        Notes
        -----
        It equals ``predict(fit, new, interval=...)`` in R.
        """
        columns = self._columns(data, interval, level, unseen, augment=False)
        return columns["prediction"] if list(columns) == ["prediction"] else frame(columns)

    def augment(self, data: Any = None) -> Any:
        """Prediction, standard error, residual, leverage, leave-one-out residual and Cook's distance of training rows.

        Equals ``broom::augment`` in R, and ``get_influence()`` in statsmodels.
        """
        return frame(self._columns(data, None, 0.95, "error", augment=True))

    def _columns(self, data: Any, interval: str | None, level: float, unseen: str, augment: bool) -> dict[str, Any]:
        rows = self._rows(data, "data", trained=augment)
        found = dict(self._model.predict(rows, "data", interval, level, unseen, augment))
        if self._target is not None:
            prefix = f"{self._model.targets[self._target]}."
            found = {name.removeprefix(prefix): values for name, values in found.items() if name.startswith(prefix)}
        return found

    @property
    def fittedvalues(self) -> NDArray[np.float64]:
        """Predictions of the rows of the fit, in their order; NaN for rows that were left out."""
        return np.asarray(self._columns(None, None, 0.95, "error", augment=False)["prediction"])

    @property
    def resid(self) -> NDArray[np.float64]:
        """Residuals of the rows of the fit, in their order; NaN for rows that were left out."""
        return np.asarray(self._columns(None, None, 0.95, "error", augment=True)["residual"])

    def explain(self, data: Any, *, train: Any = None, top: int = 5, limit: int = 1000) -> Explanations:
        """The training rows behind predictions: their weights, and what these say of the prediction.

        A prediction is ``Σ weight · target`` over the training rows.

        Parameters
        ----------
        data : table or path
            The rows to explain.
        train : table or path, optional
            The rows of the fit; by default those that `fit` was given.
        top : int
            Training rows to name for each prediction.
        limit : int
            Rows to explain, from the first.
        """
        rows, training = self._rows(data, "the queries"), self._rows(train, "the training rows", trained=True)
        found, text = self._model.explain(rows, training, top, limit)
        return Explanations(json.loads(found), text)

    def test(self, *hypotheses: str) -> Any:
        """Test hypotheses together, such as ``"x = 1"`` or ``"a - 2*b = 0"``: an F test.

        Equals ``linearHypothesis`` of R's car, and ``f_test`` in statsmodels.
        """
        texts = [text for one in hypotheses for text in ([one] if isinstance(one, str) else one)]
        if not texts:
            raise DataError("no hypothesis", 'for example: result.test("x = 1")')
        return _tests(self._model.test(texts))

    def anova(self) -> Any:
        """One F test a term of the formula, each given all others."""
        return _tests(self._model.test_terms())

    def compare(self, other: Result) -> Any:
        """The F test of a nested model, whichever of the two is the larger. Equals ``anova(small, large)`` in R."""
        return _tests(self._model.test_against(other._model))

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
        """Write the model as ``hat fit -o`` does: a file of safetensors, which ``hat`` and `load` read."""
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

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self._model.to_bytes(), "told": self._all(), "target": self._target}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(_hattention.Model.from_bytes(state["model"]), None, state["target"])  # type: ignore[misc]
        self._cached[0.95] = state["told"]

    def _rows(self, data: Any, name: str, trained: bool = False) -> Any:
        if data is None:
            data = self._data
        if data is None:
            raise DataError(f"{name} are not there: a result that was loaded, or is of a reader, holds no data", "give the rows")
        return table(data, name, columns=self._model.columns(trained))


def load(path: str | os.PathLike[str]) -> Result:
    """Read a model that `Result.save` or ``hat fit -o`` wrote."""
    return Result(_hattention.Model.from_bytes(read(path)))


def _tests(text: str) -> Any:
    rows = json.loads(text)
    names = [row["name"] for row in rows]
    return framed(names, {key: [row[key] for row in rows] for key in ("statistic", "df1", "df2", "p")})
