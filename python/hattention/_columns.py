"""Columns as the compiled part takes them: arrays of numpy and Arrow, and pairs of them."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np

from .errors import DataError, DataTypeError

__all__ = ["column_of", "named", "package_of"]

_EXPECTED = "numbers, truth values, text or times"
_NUMBERS = (int, float, np.integer, np.floating, decimal.Decimal)


def named(value: Any) -> str:
    """What a message calls an object: `a Series`, `an int`."""
    kind = type(value).__name__
    return f"an {kind}" if kind[:1].lower() in "aeiou" or kind == "ndarray" else f"a {kind}"


def package_of(value: Any) -> str:
    """The package that made an object."""
    return type(value).__module__.split(".")[0].lstrip("_")


def column_of(name: str, values: Any) -> Any:
    """One column, in one of the forms that the compiled part knows.

    - an array of numpy: doubles, 64-bit integers, truth values, days, times or durations from seconds to nanoseconds,
      or objects that are text or None
    - an array of Arrow
    - ``(codes, categories)``: 32-bit integers, negative where a value is missing, and a column
    - ``(missing, values)``: truth values, and a column
    """
    package = package_of(values)
    if package == "pandas":
        return _of_pandas(name, values)
    if package == "polars" and str(getattr(values, "dtype", "")) == "Null":
        return len(values)
    if not isinstance(values, np.ndarray) and any(hasattr(values, f"__arrow_c_{one}__") for one in ("stream", "array")):
        return values
    return _of_numpy(name, values)


def _of_pandas(name: str, values: Any) -> Any:
    """A series, index or array of pandas: what numpy holds is not copied."""
    import pandas as pd

    series: Any = values if isinstance(values, pd.Series) else pd.Series(values)
    if isinstance(series.dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    kind = series.dtype
    if isinstance(kind, np.dtype):
        return _of_numpy(name, series.to_numpy())
    if isinstance(kind, pd.CategoricalDtype):
        return series.cat.codes.to_numpy(dtype=np.int32), _categories(name, series.cat.categories)
    if isinstance(kind, pd.DatetimeTZDtype):
        return _of_numpy(name, series.dt.tz_convert(None).to_numpy())
    if isinstance(kind, (pd.ArrowDtype, pd.StringDtype)):
        try:
            import pyarrow as pa

            return pa.array(series.array) if isinstance(kind, pd.StringDtype) else series.array.__arrow_array__()
        except ImportError:
            return _of_numpy(name, series.to_numpy(dtype=object))
    if pd.api.types.is_bool_dtype(kind) or pd.api.types.is_integer_dtype(kind):
        missing = series.isna().to_numpy(dtype=bool)
        truths = pd.api.types.is_bool_dtype(kind)
        held = series.to_numpy(dtype="bool" if truths else kind.name.lower(), na_value=False if truths else 0)
        return (missing, _of_numpy(name, held)) if missing.any() else _of_numpy(name, held)
    if pd.api.types.is_numeric_dtype(kind):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return _of_numpy(name, series.to_numpy(dtype=object))


def _categories(name: str, categories: Any) -> Any:
    """The values of categories; as text what is no number, truth value, text or time, such as intervals."""
    try:
        return column_of(name, categories)
    except DataTypeError:
        return np.array([str(one) for one in categories], dtype=object)


def _of_numpy(name: str, values: Any) -> Any:
    masked = isinstance(values, np.ma.MaskedArray)
    array: Any = np.ma.getdata(values) if masked else np.asarray(values)
    if array.ndim != 1:
        raise DataError(f"{name} has {array.ndim} dimensions, expected one number or label a row")
    if masked and array.dtype.kind in "OUTS":
        return _objects(name, np.where(np.ma.getmaskarray(values), None, array.astype(object)))
    held = _plain(name, array)
    if masked and np.ma.getmaskarray(values).any():
        return np.array(np.ma.getmaskarray(values)), held
    return held


def _plain(name: str, array: Any) -> Any:
    """An array of numpy as one of the types that the compiled part knows."""
    kind = array.dtype.kind
    if kind == "f":
        return np.asarray(array, dtype=np.float64)
    if kind == "i":
        return np.asarray(array, dtype=np.int64)
    if kind == "u":
        wide = array.size and array.max() > np.iinfo(np.int64).max
        return np.asarray(array, dtype=np.uint64 if wide else np.int64)
    if kind == "b":
        return np.asarray(array, dtype=np.bool_)
    if kind in "Mm":
        return _times(name, array)
    if kind in "UTSO":
        return _objects(name, np.asarray(array, dtype=object))
    raise DataTypeError(f"{name} is of type {array.dtype}, expected {_EXPECTED}")


def _times(name: str, array: Any) -> Any:
    """Days as days, and other times and durations in seconds or parts of them.

    Raises
    ------
    DataError
        If a time does not fit: it would be another one.
    """
    kind, (unit, _) = array.dtype.kind, np.datetime_data(array.dtype)
    days = kind == "M" and unit in ("Y", "M", "W", "D")
    if unit == "generic" or (unit in ("Y", "M") and not days):
        raise DataTypeError(f"{name} is of type {array.dtype}, expected a unit of one length", "convert it to seconds")
    if days:
        to = "D"
    elif unit in ("W", "D", "h", "m"):
        to = "s"
    else:
        to = unit if unit in ("s", "ms", "us", "ns") else "ns"
    try:
        held = np.asarray(array, dtype=f"{kind}8[{to}]")
        fits = held.astype(array.dtype) == array
        if days:
            fits &= np.abs(held.view(np.int64)) < 2**31
        fits |= np.isnat(array)
    except OverflowError:
        # (numpy says so from 2.5 on, and wraps round before.)
        held, fits = array, np.array([_converts(one, f"{kind}8[{to}]") for one in array])
    if not fits.all():
        row = int(np.argmin(fits)) + 1
        got = f"{array[row - 1]!s}, which is out of range in units of {to}"
        raise DataError(f"row {row}: {_column(name)} is {got}", row=row)
    return held


def _converts(one: Any, dtype: str) -> bool:
    try:
        one.astype(dtype)
    except OverflowError:
        return False
    return True


def _is_missing(one: Any) -> bool:
    if one is None or type(one).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(one, (float, np.floating)) and bool(np.isnan(one))


def _objects(name: str, array: Any) -> Any:
    """A column of objects: truth values, numbers, dates, times or durations if all of them are; otherwise text."""
    if set(map(type, array)) <= {str, type(None)}:
        return array
    missing = np.fromiter((_is_missing(one) for one in array), dtype=bool, count=len(array))
    given = array[~missing]
    held_kinds = set(map(type, given))

    def all_are(*kinds: type) -> bool:
        return len(held_kinds) > 0 and all(issubclass(kind, kinds) for kind in held_kinds)

    def filled(values: Any) -> Any:
        held = np.zeros(len(array), dtype=values.dtype)
        held[~missing] = values
        return (missing, held) if missing.any() else held

    if all_are(bool, np.bool_):
        return filled(given.astype(np.bool_))
    if all_are(*_NUMBERS) and bool not in held_kinds:
        held = np.full(len(array), np.nan)
        held[~missing] = [float(one) for one in given]
        return held
    if all_are(datetime.datetime):
        return filled(_times(name, np.array([_moment(one) for one in given])))
    if all_are(datetime.date) and not any(issubclass(kind, datetime.datetime) for kind in held_kinds):
        return filled(np.array(given, dtype="datetime64[D]"))
    if all_are(np.datetime64):
        return filled(_times(name, np.array(list(given))))
    if all_are(datetime.timedelta, np.timedelta64):
        return filled(_times(name, np.array([getattr(one, "asm8", np.timedelta64(one)) for one in given])))
    labels = np.empty(len(array), dtype=object)
    for at in np.flatnonzero(~missing):
        labels[at] = _text(name, int(at) + 1, array[at])
    return labels


def _column(name: str) -> str:
    """The column without its table, as messages that begin with a row have it."""
    return name.rpartition(": ")[2]


def _moment(one: Any) -> np.datetime64:
    """A moment without its zone: that of Greenwich."""
    if one.tzinfo is not None:
        one = one.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    # (Moments of pandas may have nanoseconds.)
    return one.to_datetime64() if getattr(one, "nanosecond", 0) else np.datetime64(one, "us")


def _text(name: str, row: int, one: Any) -> str:
    if isinstance(one, str):
        return one
    if isinstance(one, bytes):
        try:
            return one.decode()
        except UnicodeDecodeError as error:
            message = f"row {row}: {_column(name)} is {one!r}, which is no UTF-8"
            raise DataError(message, "decode the column", row) from error
    raise DataTypeError(
        f"row {row}: {_column(name)} holds an object of type {type(one).__name__}, expected text",
        "convert the column to numbers, text or times: all its values need one type",
        row,
    )
