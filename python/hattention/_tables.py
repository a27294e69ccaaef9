"""Tables as the compiled part takes them: paths, Arrow's tables, columns by name."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ._columns import column_of, named, package_of
from .errors import DataError, DataTypeError

__all__ = ["named", "table"]

_EXPECTED = (
    "a table (polars, pandas, pyarrow, DuckDB, or anything with __arrow_c_stream__), a mapping of names to arrays, "
    "or a path"
)


def table(data: Any, name: str = "data", columns: Collection[str] | None = None) -> Any:
    """What the compiled part reads rows from; only these columns, where they are known.

    - a path, or a list of paths, globs, folders and addresses: they are streamed, never held in memory
    - anything with ``__arrow_c_stream__`` or ``__arrow_c_array__`` (polars, pyarrow, DuckDB): not copied
    - a mapping of names to one-dimensional arrays, or a frame of pandas: a dictionary of columns

    If one of the columns is missing, the others are handed over beside them: what was meant may be among them.
    """
    if isinstance(data, (str, os.PathLike)):
        return [_path(data)]
    if isinstance(data, (list, tuple)) and data and all(isinstance(one, (str, os.PathLike)) for one in data):
        return [_path(one) for one in data]
    package = package_of(data)
    if package in ("pandas", "polars") and type(data).__name__ == "Series":
        raise DataTypeError(
            f"{name} is a Series, expected {_EXPECTED}",
            "a row of a frame is a frame as frame[at : at + 1], and a column as frame[[name]]",
        )
    if package == "polars" and hasattr(data, "collect_schema"):
        return _polars(data, name, columns)
    if package == "duckdb" and hasattr(data, "project"):
        return _duckdb(data, columns)
    if package == "pandas" and hasattr(data, "columns"):
        names = [str(column) for column in data.columns]
        return _by_name(name, names, [data.iloc[:, at] for at in range(len(names))], columns, len(data))
    if package == "pyarrow" and hasattr(data, "num_rows") and hasattr(data, "select"):
        return _pyarrow(data, name, columns)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return data
    if isinstance(data, Mapping):
        values = list(data.values())
        _expect_one_index(name, data, columns)
        rows = len(values[0]) if values and hasattr(values[0], "__len__") else 0
        return _by_name(name, [str(column) for column in data], values, columns, rows)
    raise DataTypeError(f"{name} is {named(data)}, expected {_EXPECTED}")


def _path(path: str | os.PathLike[str]) -> str:
    return os.path.expanduser(os.fspath(path))


def _rows_alone(rows: int) -> dict[str, Any]:
    """A table that is read for the number of its rows."""
    return {"rows": rows}


def _wanted(name: str, names: Sequence[str], columns: Collection[str] | None) -> list[int]:
    """The places of the columns that are read, of those there are; all, if one is missing.

    Raises
    ------
    DataError
        If two of those that are to be read have one name.
    """
    known = set(columns) if columns is not None else set(names)
    places = [at for at, one in enumerate(names) if one in known]
    seen: set[str] = set()
    for at in places:
        if names[at] in seen:
            raise DataError(f"{name}: two columns are called `{names[at]}`", "rename one of them")
        seen.add(names[at])
    if not known <= seen:
        for at, one in enumerate(names):
            if one not in seen:
                seen.add(one)
                places.append(at)
    return places


def _by_name(
    name: str, names: Sequence[str], values: Sequence[Any], columns: Collection[str] | None, rows: int
) -> dict[str, Any]:
    """Columns by name. Those that nobody asked for come without their values if these cannot be read."""
    wanted = _wanted(name, names, columns)
    if not wanted and columns is not None:
        return _rows_alone(rows)
    taken: dict[str, Any] = {}
    for at in wanted:
        try:
            taken[names[at]] = column_of(f"{name}: column `{names[at]}`", values[at])
        except (TypeError, ValueError):
            if columns is None or names[at] in columns:
                raise
            taken[names[at]] = rows
    return taken


def _expect_one_index(name: str, data: Mapping[Any, Any], columns: Collection[str] | None) -> None:
    """Refuses series of pandas whose rows have other labels: by position they would be paired at random."""
    first: tuple[str, Any] | None = None
    for column, values in data.items():
        if package_of(values) != "pandas" or type(values).__name__ != "Series":
            continue
        if columns is not None and str(column) not in columns:
            continue
        if first is None:
            first = (str(column), values.index)
        elif not (first[1] is values.index or first[1].equals(values.index)):
            raise DataError(
                f"{name}: the series `{first[0]}` and `{column}` have different indexes",
                "make a pandas.DataFrame of them, which pairs rows by index, or take .to_numpy() of each",
            )


def _polars(data: Any, name: str, columns: Collection[str] | None) -> Any:
    """A frame of polars, lazy or not, as polars hands it to Arrow."""
    import polars as pl

    schema = data.collect_schema()
    names = schema.names()
    wanted = [names[at] for at in _wanted(name, names, columns)]
    if not wanted and columns is not None:
        return _rows_alone(_collected(data.select(pl.len())).item())
    # (Arrow's crate and polars lay out columns without values in different ways.)
    empty = [one for one in wanted if schema[one] == pl.Null]
    unknown = [one for one in wanted if schema[one] == pl.Object or str(schema[one]) in ("Int128", "UInt128")]
    for one in unknown:
        if columns is None or one in columns:
            raise DataTypeError(
                f"{name}: column `{one}` is of type {schema[one]}, expected numbers, truth values, text or times",
                "cast it to a type of at most 64 bits" if schema[one] != pl.Object else "convert it to numbers or text",
            )
    kept = data.select([one for one in wanted if one not in unknown])
    return _collected(kept.with_columns([pl.col(one).cast(pl.Float64) for one in empty]))


def _collected(frame: Any) -> Any:
    return frame.collect() if hasattr(frame, "collect") else frame


def _duckdb(data: Any, columns: Collection[str] | None) -> Any:
    names = [str(one) for one in data.columns]
    wanted = [names[at] for at in _wanted("data", names, columns)]
    if not wanted and columns is not None:
        return _rows_alone(int(data.aggregate("count(*)").fetchall()[0][0]))
    return data.project(", ".join('"' + one.replace('"', '""') + '"' for one in wanted))


def _pyarrow(data: Any, name: str, columns: Collection[str] | None) -> Any:
    wanted = _wanted(name, data.schema.names, columns)
    if not wanted and columns is not None:
        return _rows_alone(data.num_rows)
    return data.select(wanted)
