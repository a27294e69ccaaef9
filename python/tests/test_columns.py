"""Columns of every kind: what they are in a formula does not depend on the table that holds them."""

from __future__ import annotations

import datetime
import pickle
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import hattention
from hattention import DataError, DataTypeError, State

RNG = np.random.default_rng(5)
X = RNG.normal(size=60)
Y = 1 + 2 * X + RNG.normal(size=60)


def told(x: Any, formula: str = "y ~ x") -> dict[str, Any]:
    return hattention.fit(formula, {"y": Y, "x": x}).to_dict()


def names(x: Any, formula: str = "y ~ x") -> list[str]:
    return [one["name"] for one in told(x, formula)["coefficients"]]


def repeated(*values: Any) -> list[Any]:
    return list(values) * (60 // len(values))


OLD = repeated("1500-01-01", "1600-01-01", "2000-01-02")


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_times_of_any_year_are_seconds(unit: str) -> None:
    times = np.array(OLD, dtype=f"datetime64[{unit}]")
    expected = told(np.array(OLD, dtype="datetime64[s]").astype(np.int64))
    assert told(times) == expected
    assert told(pd.Series(times)) == expected
    zoned = pd.DataFrame({"y": Y, "x": pd.Series(times).dt.tz_localize("UTC")})
    assert hattention.fit("y ~ x", zoned).to_dict() == expected
    assert told(np.array(OLD, dtype="datetime64[h]")) == expected
    assert told(np.where(np.arange(60) == 3, np.datetime64("NaT", unit), times))["dropped_rows"] == 1


def test_dates_are_days() -> None:
    days = np.array(OLD, dtype="datetime64[D]")
    expected = told(days.astype(np.int64))
    assert told(days) == expected
    assert told(days.tolist()) == expected
    assert told(pl.Series([datetime.date.fromisoformat(day) for day in OLD])) == expected
    assert told(np.array(repeated("2000", "2001", "2002"), dtype="datetime64[Y]")) == told(repeated(10957, 11323, 11688))
    assert told([*days.tolist()[:59], None])["dropped_rows"] == 1


def test_times_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="row 3: column `x` is .* out of range") as error:
        told(np.array([0, 1, 10**12] * 20).astype("datetime64[D]"))
    assert error.value.row == 3
    with pytest.raises(DataError, match="row 1"):
        told(np.full(60, 10**17).astype("datetime64[h]"))
    with pytest.raises(DataTypeError, match="one length"):
        told(np.ones(60).astype("timedelta64[M]"))


def test_durations_are_seconds() -> None:
    hours = repeated(1, 2, 5)
    expected = told([3600 * hour for hour in hours])
    for durations in (
        np.array(hours, dtype="timedelta64[h]"),
        np.array(hours, dtype="timedelta64[h]").astype("timedelta64[ns]"),
        pd.to_timedelta(hours, unit="h"),
        [datetime.timedelta(hours=hour) for hour in hours],
        pl.Series([datetime.timedelta(hours=hour) for hour in hours]),
    ):
        assert told(durations) == expected


def test_objects_are_what_all_of_them_are() -> None:
    holes = told([1.0, 2.0, np.nan] * 20)
    for missing in (pd.NA, None, float("nan"), pd.NaT):
        assert told(np.array([1, 2, missing] * 20, dtype=object)) == holes
    text = repeated("a", "b", "c")
    assert told([one.encode() for one in text]) == told(text) == told(np.array(text).astype("S1"))
    zone = datetime.timezone(datetime.timedelta(hours=2))
    moments = repeated(*(datetime.datetime(2020, 1, day, tzinfo=zone) for day in (1, 2, 7)))
    expected = told([moment.timestamp() for moment in moments])
    series = pd.Series(pd.to_datetime(moments))
    assert told(moments) == told(series) == told(pd.DatetimeIndex(series)) == told(series.astype(object).to_numpy()) == expected
    assert told(np.array([np.datetime64("2020-01-01"), None, np.datetime64("2020-01-05")] * 20, dtype=object)) == told([18262, None, 18266] * 20)
    with pytest.raises(DataError, match="row 2: column `x`") as error:
        told(np.array([b"a", b"\xff"] * 30, dtype=object))
    assert error.value.row == 2


def test_masked_arrays_have_missing_values() -> None:
    mask = np.arange(60) % 3 == 2
    assert told(np.ma.masked_array(repeated("a", "b", "c"), mask=mask)) == told(repeated("a", "b", None))
    assert told(np.ma.masked_array(repeated(1, 2, 3), mask=mask)) == told([1.0, 2.0, np.nan] * 20)
    assert names(np.ma.masked_array(repeated(True, False, True), mask=mask)) == ["(Intercept)", "xTRUE"]


def test_whole_numbers_with_missing_values_keep_all_their_digits() -> None:
    wide = repeated(2**60 + 1, 2**60 + 2, None)
    expected = hattention.fit("y ~ x", pl.DataFrame({"y": Y, "x": wide})).to_dict()
    assert told(pd.array(wide, dtype="Int64")) == expected
    assert told(pd.Series(pd.arrays.SparseArray(repeated(0, 0, 1)))) == told(repeated(0, 0, 1))


@pytest.mark.parametrize(
    "truths",
    [
        pd.array(repeated(True, False, None), dtype="boolean"),
        pd.Series(repeated(True, False, None), dtype="bool[pyarrow]"),
        pl.Series(repeated(True, False, None)),
        np.array(repeated(True, False, None), dtype=object),
        np.array(repeated(True, False, pd.NA), dtype=object),
    ],
    ids=["pandas", "pandas of pyarrow", "polars", "objects", "objects and NA"],
)
def test_truth_values_with_holes_are_truth_values(truths: Any) -> None:
    assert names(truths) == ["(Intercept)", "xTRUE"]
    whole = hattention.fit("y ~ x", {"y": Y, "x": X > 0})
    assert np.isnan(whole.predict({"x": truths})[:3]).tolist() == [False, False, True]
    holes, full = State("y ~ x", {"y": Y, "x": truths}), State("y ~ x", {"y": Y, "x": X > 0})
    assert (holes + full).rows == 100
    assert pickle.loads(pickle.dumps(holes + full)) == full + holes


NUMBERS = repeated(1, 2, 10)


@pytest.mark.parametrize(
    "categories",
    [
        pd.Categorical(NUMBERS),
        pd.Categorical(pd.array(NUMBERS, dtype="Int64")),
        pd.Categorical([float(one) for one in NUMBERS]),
        pd.Series(NUMBERS, dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.int32()))),
        pa.array(NUMBERS).dictionary_encode(),
        pa.chunked_array([pa.array(NUMBERS[:9]).dictionary_encode(), pa.array(NUMBERS[9:]).dictionary_encode()]),
    ],
    ids=["pandas", "Int64", "doubles", "pandas of pyarrow", "pyarrow", "chunks"],
)
def test_categories_of_numbers_are_a_factor(categories: Any) -> None:
    assert names(categories) == ["(Intercept)", "x2", "x10"]
    as_factor = hattention.fit("y ~ C(x)", {"y": Y, "x": NUMBERS})
    result = hattention.fit("y ~ x", {"y": Y, "x": categories})
    np.testing.assert_array_equal(result.params, as_factor.params)
    # At predict time their values count, whatever holds them.
    for new in ({"x": [10, 1]}, pd.DataFrame({"x": pd.Categorical([10, 1])})):
        np.testing.assert_array_equal(result.predict(new), as_factor.predict({"x": [10, 1]}))
    with pytest.raises(DataError, match='`x` is "4"'):
        result.predict({"x": pd.Categorical([4])})
    with pytest.raises(DataError, match="expected category"):
        result.predict({"x": ["1"]})
    # In arithmetic they are numbers.
    assert told(categories, "y ~ I(x^2)") == told(NUMBERS, "y ~ I(x^2)")
    state = State("y ~ x", {"y": Y, "x": categories})
    assert state.fit().to_dict() == result.to_dict()
    assert State.from_bytes(state.to_bytes()) == state
    with pytest.raises(DataError, match="`category` and `number`"):
        _ = state + State("y ~ x", {"y": Y, "x": NUMBERS})


def test_categories_of_numbers_in_pieces_and_files(tmp_path: Path) -> None:
    frame = pd.DataFrame({"y": Y, "x": pd.Categorical([*NUMBERS[:59], None])})
    expected = hattention.fit("y ~ x", frame).to_dict()
    assert expected["dropped_rows"] == 1
    assert sum(State("y ~ x", frame[at::4]) for at in range(4)).fit().to_dict() == expected
    frame.to_parquet(tmp_path / "x.parquet")
    table = pa.Table.from_pandas(frame)
    with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as file:
        file.write_table(table)
    for path in (tmp_path / "x.parquet", tmp_path / "x.arrow"):
        assert hattention.fit("y ~ x", path).to_dict() == expected
    # A file says so by its schema alone, and not by how it packs numbers.
    pl.DataFrame({"y": Y, "x": NUMBERS}).write_parquet(tmp_path / "plain.parquet")
    assert names(pl.read_parquet(tmp_path / "plain.parquet")["x"]) == ["(Intercept)", "x"]
    assert list(hattention.fit("y ~ x", tmp_path / "plain.parquet").params.index) == ["(Intercept)", "x"]


def test_categories_of_other_things() -> None:
    assert names(pd.Categorical(repeated(True, False))) == ["(Intercept)", "xTRUE"]
    assert names(pd.Categorical(repeated(1, "a", 3))) == ["(Intercept)", "x3", "xa"]
    days = pd.to_datetime(repeated("2020-01-01", "2020-01-02", "2020-02-02"))
    assert names(pd.Categorical(days)) == ["(Intercept)", "x2020-01-02T00:00:00", "x2020-02-02T00:00:00"]
    assert names(pd.cut(pd.Series(X), 3)) == ["(Intercept)", *(f"x{one}" for one in sorted(str(one) for one in pd.cut(X, 3).categories)[1:])]


def test_the_reference_is_chosen_in_the_formula() -> None:
    g = repeated("a", "b", "c")
    assert names(g, 'y ~ C(x, ref="b")') == ["(Intercept)", 'C(x, ref = "b")a', 'C(x, ref = "b")c']
    means = {level: np.mean(Y[np.array(g) == level]) for level in "abc"}
    result = hattention.fit('y ~ C(x, ref="b")', {"y": Y, "x": pd.Categorical(g, categories=["b", "a", "c"], ordered=True)})
    np.testing.assert_allclose(result.params, [means["b"], means["a"] - means["b"], means["c"] - means["b"]], rtol=1e-12)
    assert names(pd.Categorical(NUMBERS), "y ~ C(x, ref=10)") == ["(Intercept)", 'C(x, ref = "10")1', 'C(x, ref = "10")2']


def test_a_formula_without_columns_predicts_every_row() -> None:
    frame = pd.DataFrame({"odd": [{}, [], 1], "y": [1.0, 2.0, 6.0], "x": [1.0, 2.0, 4.0]})
    plain = frame[["y", "x"]]
    tables: list[Any] = [
        frame, plain, {"y": [1.0, 2.0, 6.0]}, pl.from_pandas(plain), pl.from_pandas(plain).lazy(), pa.table(plain),
        duckdb.sql("SELECT * FROM plain"),
    ]  # fmt: skip
    for data in tables:
        result = hattention.fit("y ~ 1", data)
        np.testing.assert_allclose(result.fittedvalues, [3.0, 3.0, 3.0], rtol=1e-15)
        assert len(result.predict(data, interval="confidence")) == 3
        np.testing.assert_allclose(State("y ~ 1", data).fit().predict(data), [3.0, 3.0, 3.0], rtol=1e-15)


def test_columns_that_are_not_used_do_no_harm() -> None:
    frame = pl.DataFrame({"y": Y, "x": X}).with_columns(none=pl.lit(None), big=pl.lit(1, pl.Int128), odd=pl.lit({1}, pl.Object))
    expected = told(X)
    for data in (frame, frame.drop("odd").lazy()):
        assert hattention.fit("y ~ x", data).to_dict() == expected
        with pytest.raises(DataError, match="unknown column `X`"):
            hattention.fit("y ~ X", data)
    twice = pa.table([Y, X, X, X], names=["y", "x", "z", "z"])
    for data in (twice, twice.to_batches()[0]):
        assert hattention.fit("y ~ x", data).to_dict() == expected
        with pytest.raises(DataError, match="two columns are called `z`"):
            hattention.fit("y ~ z", data)
    with pytest.raises(hattention.NoAnswerError, match="all 60 have missing values"):
        hattention.fit("y ~ none", frame)
    for column in ("big", "odd"):
        with pytest.raises(DataTypeError, match=f"column `{column}` is of type"):
            hattention.fit(f"y ~ {column}", frame)
