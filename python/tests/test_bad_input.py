"""Bad input: the program's messages, as exceptions with their parts."""

from __future__ import annotations

import datetime
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import hattention
from hattention import DataError, DataTypeError, HattentionError, NoAnswerError

GOOD = {"y": [1.0, 2.0, 4.0, 3.0], "x": [1.0, 2.0, 3.0, 4.0], "g": ["a", "b", "a", "b"]}


def message(error: HattentionError) -> str:
    return error.message


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("y ~ z", []),
        ("y ~", []),
        ("y ~ x + I(2*x)", []),
        ("y ~ x*g + I(x^2) + I(x^3)", []),
        ("y ~ x", ["--vcov", "HC9"]),
        ("y ~ x", ["--vcov", "HC1", "--ridge", "1"]),
        ("y ~ x | g", ["--ridge", "1"]),
        ("y ~ poly(x, 2) | g", []),
        ("y ~ x | g", ["--vcov", "HC3"]),
        ("y ~ log(x - 1)", []),
        ("g ~ x", []),
        ("y ~ x + y", []),
        ("y ~ x", ["--weights", "g"]),
        ("y ~ x", ["--weights", "no"]),
        ("y ~ x", ["--vcov", "cluster:no"]),
        ("y ~ x", ["--order", "x"]),
        ("cbind(y, x) ~ g", ["--ridge", "auto"]),
        ("y ~ x", ["--components", "2"]),
    ],
)
def test_messages_are_those_of_the_program(formula: str, options: list[str], tmp_path: Path, hat: Any) -> None:
    path = tmp_path / "data.csv"
    pd.DataFrame(GOOD).to_csv(path, index=False)
    said = hat("fit", formula, str(path), *options, fails=True).strip().partition("error: ")[2]
    expected, _, hint = said.partition("\nhint: ")
    arguments = {options[at][2:]: options[at + 1] for at in range(0, len(options), 2)}
    for number in ("ridge", "components"):
        if arguments.get(number, "auto") != "auto":
            arguments[number] = float(arguments[number])
    with pytest.raises(HattentionError) as raised:
        hattention.fit(formula, str(path), **arguments)
    error = raised.value
    assert isinstance(error, ValueError)

    def words(text: str) -> str:
        return re.sub(r"`--([a-z]+) ([^`]+)`", r'`\1="\2"`', text).replace("--", "")

    assert error.message == words(expected)
    assert error.hint == (words(hint) or None)
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, again.hint, again.row) == (error.message, error.hint, error.row)
    # The same from a table in memory, but for the name of the file.
    with pytest.raises(HattentionError) as raised:
        hattention.fit(formula, pl.DataFrame(GOOD), **arguments)
    assert type(raised.value) is type(error)


def test_kinds_of_failure() -> None:
    with pytest.raises(NoAnswerError) as error:
        hattention.fit("y ~ x + I(2*x)", GOOD)
    assert error.value.hint is not None and "aliased" in error.value.hint
    with pytest.raises(DataError) as data_error:
        hattention.fit("y ~ x", {**GOOD, "x": [1.0, 2.0, np.inf, 4.0]})
    assert data_error.value.row == 3
    with pytest.raises(TypeError, match="data is an int, expected a table"):
        hattention.fit("y ~ x", 3)
    with pytest.raises(TypeError, match="vcov is"):
        hattention.fit("y ~ x", GOOD, vcov={"CRV1": "g"})  # type: ignore[arg-type]
    with pytest.raises(DataError, match='na is "no", expected "drop" or "fail"'):
        hattention.fit("y ~ x", GOOD, na="no")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="ridge is -1"):
        hattention.fit("y ~ x", GOOD, ridge=-1)
    with pytest.raises(DataError, match="not_there.csv"):
        hattention.fit("y ~ x", "not_there.csv")
    result = hattention.fit("y ~ x", GOOD)
    with pytest.raises(DataError, match="alpha is 2"):
        result.conf_int(2)
    with pytest.raises(DataError, match="level"):
        result.predict(interval="confidence", level=1.5)
    with pytest.raises(DataError, match="cannot read"):
        result.test("z = 1")
    with pytest.raises(DataError, match="no hypothesis"):
        result.test()


def test_missing_values() -> None:
    holes = {"y": [1.0, np.nan, 4.0, 3.0, 5.0], "x": [1, 2, 3, 4, 6], "g": ["a", "b", None, "b", "a"]}
    for data in (holes, pd.DataFrame(holes), pl.DataFrame(holes, strict=False)):
        assert hattention.fit("y ~ x", data).dropped_rows == 1
        result = hattention.fit("y ~ x + g", data)
        assert result.dropped_rows == 2
        assert np.isnan(result.fittedvalues).tolist() == [False, False, True, False, False]
        assert np.isnan(result.resid).tolist() == [False, True, True, False, False]
        with pytest.raises(DataError) as error:
            hattention.fit("y ~ x", data, na="fail")
        assert error.value.row == 2
    with pytest.raises(NoAnswerError, match="all 2 have missing values"):
        hattention.fit("y ~ x", {"y": [np.nan, 1.0], "x": [1.0, np.nan]})


def test_no_rows_and_no_columns() -> None:
    for data in (pl.DataFrame({"y": [], "x": []}, schema={"y": pl.Float64, "x": pl.Float64}), {"y": [], "x": []}):
        with pytest.raises(NoAnswerError, match="no rows left to fit"):
            hattention.fit("y ~ x", data)
    with pytest.raises(DataError, match="`y`"):
        hattention.fit("y ~ x", pd.DataFrame())
    with pytest.raises(ValueError, match="`x` has 2 rows"):
        hattention.fit("y ~ x", {"y": [1.0, 2.0, 3.0], "x": [1.0, 2.0]})
    with pytest.raises(ValueError, match="2 dimensions"):
        hattention.fit("y ~ x", {"y": [1.0, 2.0], "x": [[1.0], [2.0]]})
    twice = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["y", "x", "x"])
    with pytest.raises(ValueError, match="two columns are called `x`"):
        hattention.fit("y ~ x", twice)


def test_types_of_columns() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=40)
    y = 1 + 2 * x + rng.normal(size=40)
    g = np.array(["a", "b", "c", "d"] * 10)
    expected = hattention.fit("y ~ x + g", {"y": y, "x": x, "g": g}).to_dict()
    same: list[Any] = [
        {"y": y, "x": x[::-1][::-1], "g": g},
        {"y": np.repeat(y, 2)[::2], "x": np.column_stack([x, x])[:, 0], "g": g.astype(object)},
        pd.DataFrame({"y": y, "x": x, "g": pd.Categorical(g)}),
        pd.DataFrame({"y": pd.array(y), "x": pd.array(x, dtype="Float64"), "g": pd.array(g, dtype="string")}),
        pd.DataFrame({"y": y, "x": x, "g": g}, index=range(100, 140)),
        pl.DataFrame({"y": y, "x": x, "g": g}).with_columns(pl.col("g").cast(pl.Enum(["a", "b", "c", "d"]))),
    ]
    readonly = x.copy()
    readonly.flags.writeable = False
    same.append({"y": y, "x": readonly, "g": g})
    for data in same:
        assert hattention.fit("y ~ x + g", data).to_dict() == expected
    masked = np.ma.masked_array(x, mask=np.arange(40) == 3)
    holes = np.where(np.arange(40) == 3, np.nan, x)
    assert hattention.fit("y ~ x", {"y": y, "x": masked}).to_dict() == hattention.fit("y ~ x", {"y": y, "x": holes}).to_dict()
    # Whole numbers, truth values and singles are the numbers they are.
    k = np.arange(40) % 7
    for column in (k, k.astype(np.int8), k.astype(np.uint64), pd.array(k, dtype="Int32"), list(map(int, k))):
        assert hattention.fit("y ~ k", pd.DataFrame({"y": y, "k": column})).to_dict() == hattention.fit("y ~ k", {"y": y, "k": k.astype(float)}).to_dict()
    single = x.astype(np.float32)
    assert hattention.fit("y ~ x", {"y": y, "x": single}).to_dict() == hattention.fit("y ~ x", {"y": y, "x": single.astype(float)}).to_dict()
    truth = x > 0
    assert list(hattention.fit("y ~ t", {"y": y, "t": truth}).params.index) == ["(Intercept)", "tTRUE"]
    assert list(hattention.fit("y ~ t", pd.DataFrame({"y": y, "t": pd.array(truth, dtype="boolean")})).params.index) == ["(Intercept)", "tTRUE"]


def test_columns_that_are_no_numbers() -> None:
    y = [1.0, 2.0, 4.0, 3.0]
    with pytest.raises(TypeError, match=r"row 2: column `x` holds an object of type dict") as error:
        hattention.fit("y ~ x", {"y": y, "x": np.array(["a", {}, 1, 2], dtype=object)})
    assert isinstance(error.value, DataTypeError) and isinstance(error.value, ValueError)
    assert (error.value.row, error.value.message.count("\n")) == (2, 0) and error.value.hint is not None
    # A column that is not used does no harm.
    assert hattention.fit("y ~ z", pd.DataFrame({"y": y, "z": [1, 2, 3, 5], "x": [{}, [], 1, 2]})).nobs == 4
    with pytest.raises(TypeError, match="complex"):
        hattention.fit("y ~ x", {"y": y, "x": np.ones(4, dtype=complex)})


def test_times_are_seconds() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5))
    times = [datetime.datetime(2020, 1, 1, tzinfo=zone) + datetime.timedelta(hours=7 * at * at) for at in range(4)]
    y = [1.0, 2.0, 4.0, 3.0]
    expected = hattention.fit("y ~ d", {"y": y, "d": [time.timestamp() for time in times]}).to_dict()
    naive = [time.astimezone(datetime.timezone.utc).replace(tzinfo=None) for time in times]
    for days in (times, naive):
        for frame in (pd.DataFrame({"y": y, "d": days}), pl.DataFrame({"y": y, "d": days})):
            assert hattention.fit("y ~ d", frame).to_dict() == expected
    assert hattention.fit("y ~ d", {"y": y, "d": np.array(naive, dtype="datetime64[s]")}).to_dict() == expected


def test_no_such_column_names_the_closest() -> None:
    with pytest.raises(DataError) as error:
        hattention.fit("y ~ wieght", {"y": [1.0, 2.0], "weight": [1.0, 2.0]})
    assert error.value.hint == "did you mean `weight`?"


def test_a_missing_column_is_told_before_the_type_of_another() -> None:
    result = hattention.fit("y ~ x", GOOD)
    for data in (pd.DataFrame({"X": [1.0], "meta": [{}]}), {"X": [1.0], "meta": [{}]}, {"X": [1.0], "meta": 3}):
        with pytest.raises(DataError, match="unknown column `x`") as error:
            result.predict(data)
        assert error.value.hint == "did you mean `X`?"


def test_columns_are_named_and_not_handed_over() -> None:
    frame = pd.DataFrame({**GOOD, "w": [1.0, 2.0, 1.0, 2.0]})
    for given, kind in ((frame.w, "a Series"), (frame.w.to_numpy(), "an ndarray"), ([1.0, 2.0], "a list")):
        for fitted in (hattention.fit, hattention.State):
            with pytest.raises(TypeError, match=f"weights is {kind}, expected the name of a column") as error:
                fitted("y ~ x", frame, weights=given)
            assert "name" in error.value.hint
    with pytest.raises(TypeError, match="order is a Series"):
        hattention.fit("y ~ x", frame, vcov="HAC:1", order=frame.x)
    with pytest.raises(TypeError, match="the formula is a DataFrame"):
        hattention.fit(frame, "y ~ x")


def test_objects_that_are_no_tables() -> None:
    frame = pd.DataFrame(GOOD)
    result = hattention.fit("y ~ x", frame)
    for row in (frame.iloc[0], frame["x"], pl.from_pandas(frame)["x"]):
        with pytest.raises(DataTypeError, match="data is a Series, expected a table") as error:
            result.predict(row)
        assert error.value.hint is not None
    for array in (pa.array([1.0]), pa.chunked_array([[1.0]])):
        with pytest.raises(DataTypeError, match="as a table"):
            result.predict(array)
    with pytest.raises(DataTypeError, match="column `x`"):
        result.predict({"x": pl.Series([1], dtype=pl.Int128)})

    def lost() -> Any:
        yield pa.record_batch({"y": [1.0], "x": [1.0]})
        raise RuntimeError("lost")

    reader = pa.RecordBatchReader.from_batches(pa.schema({"y": pa.float64(), "x": pa.float64()}), lost())
    with pytest.raises(DataError, match="lost"):
        hattention.fit("y ~ x", reader)


def test_a_reader_is_read_once() -> None:
    reader = pa.table(GOOD).to_reader()
    result = hattention.fit("y ~ x", reader)
    for again in (lambda: hattention.fit("y ~ x", reader), lambda: result.predict(reader)):
        with pytest.raises(DataError, match="a reader gives its rows once") as error:
            again()
        assert error.value.hint is not None


def test_series_of_other_indexes_are_not_paired_by_position() -> None:
    frame = pd.DataFrame(GOOD)
    other = frame["x"][::-1]
    with pytest.raises(DataError, match="`y` and `x` have different indexes"):
        hattention.fit("y ~ x", {"y": frame["y"], "x": other})
    expected = hattention.fit("y ~ x", frame).to_dict()
    assert hattention.fit("y ~ x", {"y": frame["y"], "x": frame["x"], "other": other}).to_dict() == expected
    assert hattention.fit("y ~ x", {"y": frame["y"], "x": other.to_numpy()[::-1]}).to_dict() == expected


@pytest.mark.parametrize(
    ("formula", "hint"),
    [
        ("y ~ np.log(x)", "write log(…)"),
        ("y ~ I(numpy.sqrt(x) + 1)", "write sqrt(…)"),
        ("y ~ Q('odd name')", "write `odd name`"),
        ('y ~ relevel(g, ref="b")', 'C(g, ref = "level")'),
    ],
)
def test_what_other_formulas_say_is_told_in_this_language(formula: str, hint: str) -> None:
    with pytest.raises(DataError) as error:
        hattention.fit(formula, GOOD)
    assert error.value.hint is not None and hint in error.value.hint


def test_paths_in_the_words_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pd.DataFrame(GOOD).to_csv(tmp_path / "d.csv", index=False)
    result = hattention.fit("y ~ x", "~/d.csv")
    assert result.to_dict() == hattention.fit("y ~ x", ["~/d.csv"]).to_dict() == hattention.fit("y ~ x", Path("~/d.csv")).to_dict()
    result.save("~/m.hat")
    assert hattention.load("~/m.hat").to_dict() == result.to_dict()
    state = hattention.State("y ~ x", "~/d.csv")
    state.save("~/s.state")
    assert hattention.load_state("~/s.state") == state and (tmp_path / "s.state").exists()
    with pytest.raises(DataError) as error:
        hattention.fit("y ~ x", str(tmp_path / "no*.csv"))
    assert error.value.hint is not None and "shell" not in error.value.hint


def test_levels_never_seen() -> None:
    result = hattention.fit("y ~ g", GOOD)
    new = {"g": ["a", "z"]}
    with pytest.raises(DataError) as error:
        result.predict(new)
    assert error.value.row == 2 and "expected one of the 2 levels" in error.value.message
    assert np.isnan(result.predict(new, unseen="null")).tolist() == [False, True]


def test_files_that_are_none(tmp_path: Path) -> None:
    bad = tmp_path / "m.hat"
    bad.write_bytes(b"no model")
    with pytest.raises(DataError):
        hattention.load(bad)
    with pytest.raises(DataError):
        hattention.load_state(bad)
    with pytest.raises(FileNotFoundError):
        hattention.load(tmp_path / "none.hat")
    good = hattention.fit("y ~ x", GOOD)
    with pytest.raises(OSError):
        good.save(tmp_path / "no" / "folder.hat")
    good.save(bad)
    data = bad.read_bytes()
    for at in range(0, len(data), 97):
        broken = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        bad.write_bytes(broken)
        try:
            hattention.load(bad)
        except ValueError:
            pass
    bad.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError):
        hattention.load(bad)
