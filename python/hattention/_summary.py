"""The table of a fit, for people."""

from __future__ import annotations

import html
from typing import Any

__all__ = ["Summary"]


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
