"""Writes the pages of the package's functions and classes, from their docstrings.

    python python/docs/api.py > docs/python-api.md
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import hattention

HEAD = """# Reference of the Python package

Made from the docstrings by `python python/docs/api.py > docs/python-api.md`. For an introduction see [the Python
package](python.md).
"""

ORDER = [
    "fit", "Result", "load", "State", "load_state", "LeastSquares", "AttentionRegressor", "DriftDetector",
    "plots", "Drift", "Explanations", "Explanation", "AttentionExplanation", "HattentionError", "DataError",
    "DataTypeError", "NotThereError", "NoAnswerError", "HattentionWarning", "set_threads", "get_threads",
]  # fmt: skip


GIVEN = (
    hattention.Result, hattention.Drift, hattention.Explanations, hattention.Explanation,
    hattention.AttentionExplanation,
)  # fmt: skip
"""Classes that are given, and not made by users."""


def page() -> str:
    """The whole reference."""
    missing = set(hattention.__all__) - set(ORDER) - {"__version__"}
    if missing:
        raise SystemExit(f"add to the order: {', '.join(sorted(missing))}")
    parts = [HEAD]
    for name in ORDER:
        parts += entry(f"hattention.{name}", getattr(hattention, name), 2)
    return "\n".join(parts).rstrip() + "\n"


def entry(path: str, thing: Any, level: int) -> Iterator[str]:
    """A function, or a class or module and what it holds."""
    name = path if level == 2 else path.split(".")[-1]
    yield f"{'#' * level} `{name}{signature(thing)}`\n"
    yield body(inspect.getdoc(thing) or "")
    if isinstance(thing, ModuleType):
        for member in thing.__all__:
            yield from entry(f"{path}.{member}", getattr(thing, member), level + 1)
    elif inspect.isclass(thing):
        for member, value in own(thing):
            if isinstance(value, property):
                yield f"{'#' * (level + 1)} `{member}` (attribute)\n"
                yield body(inspect.getdoc(value) or "")
            else:
                yield from entry(f"{path}.{member}", getattr(thing, member), level + 1)


def own(thing: type) -> Iterator[tuple[str, Any]]:
    """Documented members that the class, and what it is made of within the package, define, in their order."""
    hidden = re.compile(r"hattention\._\w+\._")
    parts = [part for part in thing.__mro__ if part is thing or hidden.match(f"{part.__module__}.{part.__name__}")]
    for member, value in (one for part in parts for one in vars(part).items()):
        function = isinstance(value, FunctionType | classmethod | property)
        if not member.startswith("_") and function and inspect.getdoc(value):
            yield member, value


def signature(thing: Any) -> str:
    """As one writes a call; nothing for what is not called."""
    if isinstance(thing, ModuleType) or inspect.isclass(thing) and (issubclass(thing, Exception) or thing in GIVEN):
        return ""
    try:
        found = inspect.signature(thing)
    except ValueError:
        return "()"
    bare = [
        one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values() if one.name != "self"
    ]
    return str(inspect.Signature(bare))


def body(text: str) -> str:
    """A docstring as Markdown: its sections as bold lines, its names as lists, its examples as code."""
    lines, out, section = text.splitlines(), [], ""
    code = False
    for at, line in enumerate(lines):
        ruled = at + 1 < len(lines) and re.fullmatch("-{3,}", lines[at + 1]) is not None
        if re.fullmatch("-{3,}", line):
            continue
        if ruled:
            section = line
            out += [f"**{line}**", ""]
            continue
        if (line.startswith((">>>", "...")) or code and line.strip()) and not code:
            out.append("```python")
            code = True
        elif code and not line.strip():
            out.append("```")
            code = False
        if section in ("Parameters", "Attributes", "Returns", "Raises") and not code and line.strip():
            out.append(f"  {line.strip()}" if line.startswith(" ") else f"- {defined(line)}")
        else:
            out.append(line)
    if code:
        out.append("```")
    return re.sub("(?<!`)``(?!`)", "`", "\n".join(out)) + "\n"


def defined(line: str) -> str:
    """Names and what they are, of a section's list."""
    names, colon, what = line.partition(" : ")
    return f"`{names}`: {what}" if colon else f"`{names}`"


if __name__ == "__main__":
    sys.stdout.write(page())
