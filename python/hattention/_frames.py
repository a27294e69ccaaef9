"""Numbers with names, as pandas has them where it is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

__all__ = ["Column", "Frame", "frame", "framed", "named", "tests"]

Column: TypeAlias = Any
"""Numbers by name: a series of pandas where pandas is installed, a dictionary elsewhere."""

Frame: TypeAlias = Any
"""A table: a frame of pandas where pandas is installed, a dictionary elsewhere."""


def named(names: Sequence[str], values: Sequence[float | None]) -> Column:
    numbers = [math.nan if value is None else value for value in values]
    try:
        import pandas as pd
    except ImportError:
        return dict(zip(names, numbers, strict=True))
    return pd.Series(numbers, index=list(names), dtype=float)


def framed(index: Sequence[str], columns: dict[str, Sequence[float | None]]) -> Frame:
    plain = {
        name: [math.nan if value is None else value for value in values] for name, values in columns.items()
    }
    try:
        import pandas as pd
    except ImportError:
        return {name: {column: plain[column][at] for column in plain} for at, name in enumerate(index)}
    return pd.DataFrame(plain, index=list(index))


def frame(columns: dict[str, Any]) -> Frame:
    try:
        import pandas as pd
    except ImportError:
        return columns
    return pd.DataFrame(columns)


def tests(text: str) -> Frame:
    """Tests, of JSON: one row a test."""
    rows = json.loads(text)
    names = [row["name"] for row in rows]
    return framed(names, {key: [row[key] for row in rows] for key in ("statistic", "df1", "df2", "p")})
