"""Tables as the compiled part takes them: paths, Arrow's tables, columns of numpy."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

__all__ = ["table"]


def table(data: Any, name: str = "data", columns: Collection[str] | None = None) -> Any:
    """What the compiled part reads rows from; of frames of pandas and mappings only these columns, where they are known.

    - a path, or a list of paths, globs, folders and addresses: they are streamed, never held in memory
    - anything with ``__arrow_c_stream__`` or ``__arrow_c_array__`` (polars, pandas, pyarrow, DuckDB): not copied
    - a mapping of names to one-dimensional arrays
    - a frame of pandas where pyarrow is not installed
    """
    if isinstance(data, (str, os.PathLike)):
        return [os.fspath(data)]
    if isinstance(data, (list, tuple)) and data and all(isinstance(one, (str, os.PathLike)) for one in data):
        return [os.fspath(one) for one in data]
    package = type(data).__module__.split(".")[0].lstrip("_")
    if package == "polars" and hasattr(data, "collect"):
        names = data.collect_schema().names()
        return data.select(_wanted(names, columns)).collect()
    if package == "duckdb" and hasattr(data, "project"):
        return data.project(", ".join('"' + one.replace('"', '""') + '"' for one in _wanted(data.columns, columns)))
    if package == "pandas" and hasattr(data, "columns"):
        return _pandas(data, name, columns)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return data
    if isinstance(data, Mapping):
        wanted = _wanted([str(column) for column in data], columns)
        return {
            str(column): _column(f"{name}: column `{column}`", values)
            for column, values in data.items()
            if str(column) in wanted
        }
    raise TypeError(
        f"{name} is {_a(type(data).__name__)}, expected a table (polars, pandas, pyarrow, DuckDB, or anything with "
        "__arrow_c_stream__), a mapping of names to arrays, or a path"
    )


def _wanted(names: list[str], columns: Collection[str] | None) -> list[str]:
    """The columns that are read, of those there are; all, if one is missing: what was meant may be among them."""
    if columns is None or not set(columns) <= set(names):
        return list(names)
    return [name for name in names if name in set(columns)]


def _a(kind: str) -> str:
    return f"an {kind}" if kind[:1].lower() in "aeiou" else f"a {kind}"


def _pandas(frame: Any, name: str, columns: Collection[str] | None) -> Any:
    names = [str(column) for column in frame.columns]
    wanted = _wanted(names, columns)
    places = [at for at, column in enumerate(names) if column in wanted]
    kept = [names[at] for at in places]
    twice = {column for column in kept if kept.count(column) > 1}
    if twice:
        raise ValueError(f"{name}: two columns are called `{sorted(twice)[0]}`; rename one of them")
    # (By itself a frame would copy what numpy holds, and refuse columns of mixed objects whether they are used or not.)
    return {names[at]: _series(f"{name}: column `{names[at]}`", frame.iloc[:, at]) for at in places}


def _series(name: str, series: Any) -> Any:
    """A column of pandas: what numpy holds is not copied."""
    kind = series.dtype
    if isinstance(kind, np.dtype):
        return _column(name, series.to_numpy())
    import pandas as pd

    if isinstance(kind, pd.CategoricalDtype):
        categories = series.cat.categories
        if categories.dtype.kind in "iuf":
            return _column(name, series.astype(categories.dtype if not series.hasnans else float).to_numpy())
        return series.cat.codes.to_numpy(dtype=np.int32), [str(one) for one in categories]
    if isinstance(kind, pd.DatetimeTZDtype):
        return _column(name, series.dt.tz_convert(None).to_numpy())
    if isinstance(kind, (pd.ArrowDtype, pd.StringDtype)):
        try:
            import pyarrow as pa

            return pa.array(series.array) if isinstance(kind, pd.StringDtype) else series.array.__arrow_array__()
        except ImportError:
            return series.to_numpy(dtype=object)
    if pd.api.types.is_bool_dtype(kind):
        if series.hasnans:
            labels = series.astype(object).where(series.notna(), None)
            return np.array([None if one is None else str(bool(one)) for one in labels], dtype=object)
        return series.to_numpy(dtype=bool)
    if pd.api.types.is_integer_dtype(kind) and not series.hasnans:
        return _column(name, series.to_numpy(dtype=f"{'u' if 'u' in kind.name.lower()[:1] else ''}int64"))
    if pd.api.types.is_numeric_dtype(kind):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return series.to_numpy(dtype=object)


def _column(name: str, values: Any) -> np.ndarray[Any, Any]:
    """A column as one of the types that the compiled part knows."""
    array: Any = np.ma.asanyarray(values) if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} has {array.ndim} dimensions, expected one number or label a row")
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(float), np.nan)
    kind = array.dtype.kind
    if kind == "f":
        return np.asarray(array, dtype=np.float64)
    if kind == "i":
        return np.asarray(array, dtype=np.int64)
    if kind == "u":
        if array.size and array.max() > np.iinfo(np.int64).max:
            return np.asarray(array, dtype=np.float64)
        return np.asarray(array, dtype=np.int64)
    if kind == "b":
        return np.asarray(array, dtype=np.bool_)
    if kind == "M":
        return np.ascontiguousarray(array.astype("datetime64[ns]"))
    if kind in "UTS":
        return np.asarray(array, dtype=object)
    if kind == "O":
        return _objects(array)
    raise TypeError(f"{name} is of type {array.dtype}, expected numbers, truth values, text or times")


def _objects(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A column of objects: numbers if all of them are, otherwise as it is."""
    given = [one for one in array if one is not None]
    if given and all(isinstance(one, (bool, np.bool_)) for one in given) and len(given) == len(array):
        return array.astype(np.bool_)
    numbers = (int, float, np.integer, np.floating)
    if given and all(isinstance(one, numbers) and not isinstance(one, (bool, np.bool_)) for one in given):
        return np.array([np.nan if one is None else float(one) for one in array], dtype=np.float64)
    try:
        from decimal import Decimal

        if given and all(isinstance(one, (*numbers, Decimal)) for one in given):
            return np.array([np.nan if one is None else float(one) for one in array], dtype=np.float64)
    except (TypeError, ValueError):
        pass
    return array
