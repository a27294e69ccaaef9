"""Numbers with names, as pandas has them where it is installed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["frame", "framed", "named"]


def named(names: Sequence[str], values: Sequence[float | None]) -> Any:
    numbers = [math.nan if value is None else value for value in values]
    try:
        import pandas as pd
    except ImportError:
        return dict(zip(names, numbers, strict=True))
    return pd.Series(numbers, index=list(names), dtype=float)


def framed(index: Sequence[str], columns: dict[str, Sequence[float | None]]) -> Any:
    plain = {
        name: [math.nan if value is None else value for value in values] for name, values in columns.items()
    }
    try:
        import pandas as pd
    except ImportError:
        return {name: {column: plain[column][at] for column in plain} for at, name in enumerate(index)}
    return pd.DataFrame(plain, index=list(index))


def frame(columns: dict[str, Any]) -> Any:
    try:
        import pandas as pd
    except ImportError:
        return columns
    return pd.DataFrame(columns)
