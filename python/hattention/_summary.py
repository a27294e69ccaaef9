"""The table of a fit, for people."""

from __future__ import annotations

import html
from typing import Any

__all__ = ["Summary"]


class Summary:
    """The table of a fit: text, and HTML in a notebook."""

    def __init__(self, text: str, told: dict[str, Any], alpha: float = 0.05, intervals: bool = False) -> None:
        self._told = told
        self._ends = [f"{100 * at:.6g} %" for at in (alpha / 2, 1 - alpha / 2)]
        self._text = text + (self._intervals() if intervals else "")

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
            parts.append(_html_of(told, one, self._ends))
        return "\n".join(parts)

    def _intervals(self) -> str:
        """Confidence intervals as text, as ``confint`` in R prints them."""
        text = ""
        for one in self._told.get("targets", [self._told]):
            of = f" of {one['name']}" if "name" in one else ""
            rows = [["", *self._ends]]
            rows += [[c["name"], _shown(c["ci_low"], 7), _shown(c["ci_high"], 7)] for c in one["coefficients"]]
            width = [max(len(row[at]) for row in rows) for at in range(3)]
            lines = [f"{name:{width[0]}}  {low:>{width[1]}}  {high:>{width[2]}}" for name, low, high in rows]
            text += f"\nConfidence intervals{of}:\n" + "\n".join(line.rstrip() for line in lines) + "\n"
        return text

    def _repr_html_(self) -> str:
        return self.as_html()


def _shown(value: float | None, digits: int = 5) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def _html_of(told: dict[str, Any], one: dict[str, Any], ends: list[str]) -> str:
    heads = ["", "Estimate", "Std. Error", "t value", "Pr(&gt;|t|)", *ends]
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
