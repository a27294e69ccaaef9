"""Formulas: `fit`, and what it gives."""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import _hattention
from ._tables import table
from .errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Drift", "Explanation", "Explanations", "Result", "fit"]

Vcov = str
"""`"iid"`, `"HC0"` … `"HC3"`, `"HAC:lag"`, `"cluster:column"` or `"cluster:column+column"`."""


def asked(
    *,
    weights: str | None = None,
    vcov: str = "iid",
    order: str | None = None,
    na: str = "drop",
    hc: bool = False,
    ridge: float | Literal["auto"] | None = None,
    components: int | Literal["auto"] | None = None,
    standardize: bool = False,
    aliased: str = "error",
    vif: bool = False,
) -> dict[str, Any]:
    """The arguments of a fit as the compiled part takes them."""
    if not isinstance(vcov, str):
        raise TypeError(f"vcov is {vcov!r}, expected text such as \"HC1\" or \"cluster:firm\"")
    return {
        "weights": weights, "vcov": vcov, "order": order, "na": na, "hc": hc, "ridge": ridge,
        "components": components, "standardize": standardize, "aliased": aliased, "vif": vif,
    }  # fmt: skip


def used_columns(formula: str, arguments: dict[str, Any]) -> list[str] | None:
    """The columns that a fit reads, where the formula names them all."""
    names = _hattention.formula_columns(formula)
    if names is None:
        return None
    beside = [arguments["weights"], arguments["order"]]
    vcov = arguments["vcov"]
    if vcov.lower().startswith("cluster:"):
        beside += vcov.split(":", 1)[1].split("+")
    return names + [name for name in beside if name is not None]


def fit(
    formula: str,
    data: Any,
    *,
    vcov: Vcov = "iid",
    weights: str | None = None,
    ridge: float | Literal["auto"] | None = None,
    components: int | Literal["auto"] | None = None,
    standardize: bool = False,
    aliased: Literal["error", "drop", "min-norm"] = "error",
    na: Literal["drop", "fail"] = "drop",
    order: str | None = None,
    vif: bool = False,
) -> Result:
    """Fit a formula by least squares.

    Parameters
    ----------
    formula : str
        As in R: ``y ~ a + b*c + poly(x, 3) + C(g)``; several targets as ``cbind(y1, y2)``; effects that are taken out stand
        behind ``|``, as in fixest: ``y ~ x | firm + year``.
    data : table or path
        A table of polars, pandas, pyarrow, DuckDB or anything else that speaks the Arrow PyCapsule protocol, which is not
        copied; a mapping of names to arrays; or a path, glob, folder or address (or a list of them), which is streamed.
    vcov : str
        Covariance of the coefficients: ``"iid"``, ``"HC0"``, ``"HC1"``, ``"HC2"``, ``"HC3"``, ``"HAC:lag"``,
        ``"cluster:firm"`` or ``"cluster:firm+year"``.
    weights : str, optional
        Column of observation weights, as R's and statsmodels' WLS.
    ridge, components : number or "auto", optional
        Penalty on ``XᵀX`` (scikit-learn's alpha), or number of principal components; ``"auto"`` by generalised
        cross-validation.
    standardize : bool
        Let the penalty or the components act on columns divided by their standard deviation.
    aliased : {"error", "drop", "min-norm"}
        What is done about columns that depend on earlier ones: refuse them by name; leave them out, as R does; or take
        the shortest solution, as statsmodels and numpy do.
    na : {"drop", "fail"}
        Rows with missing values: left out, or refused.
    order : str, optional
        Column that orders the rows, for HAC.
    vif : bool
        Add variance inflation factors.

    Returns
    -------
    Result

    Raises
    ------
    DataError
        If the data or the arguments are wrong; a `ValueError`, with ``message``, ``hint`` and ``row``.
    NoAnswerError
        If there is no answer: dependent columns, too few rows, no convergence; a `ValueError` too.

    Notes
    -----
    It equals ``lm`` in R, ``statsmodels.formula.api.ols(...).fit(cov_type=...)``, ``pyfixest.feols``.

    Examples
    --------
    >>> import hattention
    >>> result = hattention.fit("y ~ x", {"x": [1, 2, 3, 4], "y": [2.1, 3.9, 6.2, 7.8]})
    >>> round(float(result.params["x"]), 2)
    1.94
    """
    arguments = asked(
        weights=weights, vcov=vcov, order=order, na=na, ridge=ridge, components=components, standardize=standardize,
        aliased=aliased, vif=vif,
    )  # fmt: skip
    rows = table(data, columns=used_columns(formula, arguments))
    # (A reader gives its batches once.)
    kept = None if hasattr(data, "read_next_batch") else data
    return Result(_hattention.fit_formula(formula, rows, "data", arguments), kept)


def _named(names: Sequence[str], values: Sequence[float | None]) -> Any:
    numbers = [math.nan if value is None else value for value in values]
    try:
        import pandas as pd
    except ImportError:
        return dict(zip(names, numbers, strict=True))
    return pd.Series(numbers, index=list(names), dtype=float)


def _framed(index: Sequence[str], columns: dict[str, Sequence[float | None]]) -> Any:
    plain = {
        name: [math.nan if value is None else value for value in values] for name, values in columns.items()
    }
    try:
        import pandas as pd
    except ImportError:
        return {name: {column: plain[column][at] for column in plain} for at, name in enumerate(index)}
    return pd.DataFrame(plain, index=list(index))


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
        return _named([one["name"] for one in coefficients], [one[key] for one in coefficients])

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
        frame = _framed(names, {"0": low, "1": high})
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
        return columns["prediction"] if list(columns) == ["prediction"] else _frame(columns)

    def augment(self, data: Any = None) -> Any:
        """Prediction, standard error, residual, leverage, leave-one-out residual and Cook's distance of training rows.

        Equals ``broom::augment`` in R, and ``get_influence()`` in statsmodels.
        """
        return _frame(self._columns(data, None, 0.95, "error", augment=True))

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
        _write(path, self._model.to_bytes())

    def to_onnx(self, path: str | os.PathLike[str], *, dtype: Literal["f64", "f32"] = "f64") -> None:
        """Write the regression as a graph of ONNX: input ``x`` (rows by design columns without the intercept), output ``y``."""
        if dtype not in ("f64", "f32"):
            raise DataError(f'dtype is "{dtype}", expected "f64" or "f32"')
        _write(path, self._model.to_onnx(dtype == "f32"))

    def to_safetensors(
        self,
        path: str | os.PathLike[str],
        *,
        layout: Literal["self", "cross", "solve"] = "cross",
        heads: int = 1,
    ) -> None:
        """Write the regression as a transformer, as ``hat transformer build`` does."""
        _write(path, self._model.to_safetensors(layout, heads))

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
    with open(path, "rb") as file:
        return Result(_hattention.Model.from_bytes(file.read()))


def _write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that is whole or absent."""
    path = os.fspath(path)
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.remove(beside)
        raise


def _frame(columns: dict[str, Any]) -> Any:
    try:
        import pandas as pd
    except ImportError:
        return columns
    return pd.DataFrame(columns)


def _tests(text: str) -> Any:
    rows = json.loads(text)
    names = [row["name"] for row in rows]
    return _framed(names, {key: [row[key] for row in rows] for key in ("statistic", "df1", "df2", "p")})


class Summary:
    """The table of a fit: text, and HTML in a notebook."""

    def __init__(self, text: str, told: dict[str, Any]) -> None:
        self._text = text
        self._told = told

    def as_text(self) -> str:
        """The table as text."""
        return self._text

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return self._text

    def as_html(self) -> str:
        """The table as HTML."""
        told = self._told
        parts = [f"<p><code>{html.escape(told['formula'])}</code></p>"]
        for one in told.get("targets", [told]):
            parts.append(_html_of(told, one))
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        return self.as_html()


def _shown(value: float | None, digits: int = 5) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def _html_of(told: dict[str, Any], one: dict[str, Any]) -> str:
    heads = ["", "Estimate", "Std. Error", "t value", "Pr(&gt;|t|)", "CI low", "CI high"]
    keys = ["estimate", "std_error", "t", "p", "ci_low", "ci_high"]
    head = "".join(f"<th>{text}</th>" for text in heads)
    rows = []
    for coefficient in one["coefficients"]:
        cells = "".join(f"<td>{_shown(coefficient[key])}</td>" for key in keys)
        rows.append(f"<tr><th style='text-align:left'>{html.escape(coefficient['name'])}</th>{cells}</tr>")
    facts = [
        f"{told['n']} rows",
        f"{told['dropped_rows']} dropped" if told["dropped_rows"] else "",
        f"residual standard error {_shown(one['sigma'])} on {_shown(one['df_residual'], 10)} degrees of freedom",
        f"R² {_shown(one['r_squared'])}, adjusted {_shown(one['adj_r_squared'])}",
        f"F {_shown(one['f']['statistic'])}, p {_shown(one['f']['p'])}" if one["f"] else "",
        f"covariance {html.escape(one['vcov'])}",
        f"{one['digits']:.1f} correct digits",
    ]
    name = f"<p>{html.escape(one['name'])}</p>" if "name" in one else ""
    caption = "; ".join(fact for fact in facts if fact)
    return f"{name}<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table><p>{caption}</p>"


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

    def __getitem__(self, at: Any) -> Any:
        return self._all[at]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``hat explain --json``."""
        return self._told

    def __repr__(self) -> str:
        return self._text


class Explanation:
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
        def number(key: str) -> float:
            return math.nan if told[key] is None else float(told[key])

        self.target = target
        self.row: int = told["row"]
        self.prediction = number("prediction")
        self.std_error = number("std_error")
        self.weighted_sum = number("weighted_sum")
        top = told["top"]
        self.rows = np.array([one["row"] for one in top], dtype=np.int64)
        self.weights = np.array([one["weight"] for one in top], dtype=float)
        self.targets = np.array([one["target"] for one in top], dtype=float)
        self.columns: list[dict[str, str]] = [one["columns"] for one in top]
        self.concentration = number("concentration")
        self.short_position = number("short_position")
        self.gross_leverage = number("gross_leverage")
        self.leverage_sum = number("leverage_sum")
        self.effective_rows = number("effective_rows")
        self.effective_rows_entropy = number("effective_rows_entropy")
        self.query_norm = number("query_norm")
        self.extrapolates: bool = told["extrapolates"]

    def to_frame(self) -> Any:
        """The named training rows as a table: ``row``, ``weight``, ``target``, ``contribution``, and their columns."""
        cells: dict[str, Any] = {
            "row": self.rows, "weight": self.weights, "target": self.targets,
            "contribution": self.weights * self.targets,
        }  # fmt: skip
        for name in self.columns[0] if self.columns else []:
            cells.setdefault(name if name not in cells else f"column {name}", [one.get(name) for one in self.columns])
        return _frame(cells)

    def __repr__(self) -> str:
        mark = ", extrapolates" if self.extrapolates else ""
        return f"<Explanation of row {self.row}: {self.target} = {self.prediction:.6g}, {len(self.rows)} rows named{mark}>"


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
        return list(self._told["columns"])

    @property
    def directions(self) -> list[dict[str, Any]]:
        """Principal axes of the batch in whitened units, by ascending variance."""
        return list(self._told["directions"])

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``hat drift --json``."""
        return self._told

    def __repr__(self) -> str:
        return self._text
