"""Formulas: `fit`."""

from __future__ import annotations

from typing import Any, Literal

from . import _hattention
from ._result import Result
from ._tables import table

__all__ = ["fit"]

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
        "weights": weights,
        "vcov": vcov,
        "order": order,
        "na": na,
        "hc": hc,
        "solve": {"ridge": ridge, "components": components, "standardize": standardize, "aliased": aliased},
        "vif": vif,
    }


def used_columns(formula: str, arguments: dict[str, Any]) -> list[str] | None:
    """The columns that a fit reads, where the formula names them all."""
    if not isinstance(formula, str):
        raise TypeError(f'formula is {formula!r}, expected text such as "y ~ x"')
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
