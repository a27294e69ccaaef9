"""Formulas: the program's digits from every kind of table."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hattention

NIST = {
    "Norris": "y ~ x", "Pontius": "y ~ x + I(x^2)", "NoInt1": "y ~ x - 1", "NoInt2": "y ~ x - 1",
    "Filip": "y ~ poly(x, 10, raw)", "Longley": "y ~ x1 + x2 + x3 + x4 + x5 + x6",
    "Wampler1": "y ~ poly(x, 5, raw)", "Wampler2": "y ~ poly(x, 5, raw)", "Wampler3": "y ~ poly(x, 5, raw)",
    "Wampler4": "y ~ poly(x, 5, raw)", "Wampler5": "y ~ poly(x, 5, raw)",
}  # fmt: skip

FLIGHTS = "arr_delay ~ dep_delay + distance + hour + carrier + origin"


@pytest.mark.parametrize("name", NIST)
def test_nist_digits_are_those_of_the_program(name: str, root: Path, hat: Any) -> None:
    path = str(root / f"data/nist/{name}.csv")
    expected = hat("fit", NIST[name], path, "--json")
    frame = pd.read_csv(path)
    for data in (path, frame, pl.from_pandas(frame), {key: frame[key].to_numpy() for key in frame}):
        result = hattention.fit(NIST[name], data)
        assert result.to_dict() == expected
    assert expected["digits"] >= 13


def tables(path: str) -> dict[str, Any]:
    table = pq.read_table(path)
    frame = pl.read_parquet(path)
    return {
        "path": path,
        "pathlib": Path(path),
        "list of paths": [path],
        "pyarrow": table,
        "pyarrow in batches": pa.Table.from_batches(table.to_batches(max_chunksize=1000)),
        "polars": frame,
        "polars lazily": frame.lazy(),
        "polars with categories": frame.with_columns(pl.col("carrier", "origin").cast(pl.Categorical)),
        "pandas": table.to_pandas(),
        "pandas of pyarrow": table.to_pandas(types_mapper=pd.ArrowDtype),
        "pandas with nullable types": table.to_pandas().convert_dtypes(dtype_backend="numpy_nullable"),
        "pandas with objects": table.to_pandas().astype({"carrier": object, "origin": object}),
        "pandas with categories": table.to_pandas().astype({"carrier": "category", "origin": "category"}),
        "pyarrow reader": table.to_reader(),
        "pyarrow batch": table.combine_chunks().to_batches()[0],
        "duckdb": duckdb.connect().sql(f"SELECT * FROM '{path}'"),
        "numpy": {name: table[name].to_numpy() for name in ("arr_delay", "dep_delay", "distance", "hour", "carrier", "origin")},
    }


def test_flights_have_the_same_bits_from_every_table(flights: str, hat: Any) -> None:
    expected = hat("fit", FLIGHTS, flights, "--json")
    for kind, data in tables(flights).items():
        assert hattention.fit(FLIGHTS, data).to_dict() == expected, kind


@pytest.mark.parametrize(
    ("formula", "arguments", "options"),
    [
        (FLIGHTS, {"vcov": "HC1"}, ["--vcov", "HC1"]),
        (FLIGHTS, {"vcov": "HC3"}, ["--vcov", "HC3"]),
        (FLIGHTS, {"vcov": "cluster:tailnum"}, ["--vcov", "cluster:tailnum"]),
        ("arr_delay ~ dep_delay + hour | carrier + dest", {"vcov": "cluster:tailnum"}, ["--vcov", "cluster:tailnum"]),
        ("arr_delay ~ dep_delay + hour | carrier", {"vcov": "HC1"}, ["--vcov", "HC1"]),
        (FLIGHTS, {"weights": "distance"}, ["--weights", "distance"]),
        (FLIGHTS, {"ridge": 10.0}, ["--ridge", "10"]),
        ("arr_delay ~ dep_delay + distance + hour", {"ridge": "auto"}, ["--ridge", "auto"]),
        ("arr_delay ~ dep_delay + distance + hour", {"components": 2, "standardize": True}, ["--components", "2", "--standardize"]),
        ("cbind(arr_delay, air_time) ~ distance*origin", {}, []),
        ("log(distance) ~ poly(air_time, 3) + origin*month", {"vif": True}, ["--vif"]),
        ("arr_delay ~ dep_delay + C(month) + I(2*dep_delay)", {"aliased": "drop"}, ["--aliased", "drop"]),
        ("arr_delay ~ dep_delay + I(2*dep_delay)", {"aliased": "min-norm"}, ["--aliased", "min-norm"]),
        ("arr_delay ~ dep_delay", {"vcov": "HAC:3", "order": "distance"}, ["--vcov", "HAC:3", "--order", "distance"]),
    ],
)
def test_options_give_the_bits_of_the_program(
    formula: str, arguments: dict[str, Any], options: list[str], flights: str, hat: Any
) -> None:
    expected = hat("fit", formula, flights, "--json", *options)
    frame = pd.read_parquet(flights)
    for data in (flights, frame):
        assert hattention.fit(formula, data, **arguments).to_dict() == expected
    assert hattention.fit(formula, frame, **arguments).to_dict(0.9) == hat("fit", formula, flights, "--json", "--level", "0.9", *options)


def test_predictions_and_diagnostics_are_those_of_the_program(flights: str, hat: Any, tmp_path: Path) -> None:
    frame = pl.read_parquet(flights)
    result = hattention.fit(FLIGHTS, frame, vcov="HC1")
    model, out = tmp_path / "m.hat", tmp_path / "p.parquet"
    hat("fit", FLIGHTS, flights, "--vcov", "HC1", "-o", str(model), "--json")
    import os
    import subprocess

    subprocess.run([os.environ["HAT"], "predict", str(model), flights, "--augment", "-o", str(out)], check=True)
    expected = pd.read_parquet(out).drop(columns="row")
    pd.testing.assert_frame_equal(result.augment(), expected, check_exact=True)
    np.testing.assert_array_equal(result.fittedvalues, expected["prediction"].to_numpy())
    np.testing.assert_array_equal(result.resid, expected["residual"].to_numpy())
    subprocess.run([os.environ["HAT"], "predict", str(model), flights, "--interval", "prediction", "-o", str(out)], check=True)
    expected = pd.read_parquet(out).drop(columns="row")
    pd.testing.assert_frame_equal(result.predict(interval="prediction"), expected, check_exact=True)

    loaded = hattention.load(model)
    assert loaded.to_dict()["coefficients"] == result.to_dict()["coefficients"]
    np.testing.assert_array_equal(loaded.predict(frame), expected["prediction"].to_numpy())
    saved = tmp_path / "saved.hat"
    result.save(saved)
    assert saved.read_bytes() == model.read_bytes()


def test_explanations_tests_and_drift_are_those_of_the_program(flights: str, hat: Any, tmp_path: Path) -> None:
    frame = pl.read_parquet(flights)
    result, model = hattention.fit(FLIGHTS, frame), str(tmp_path / "m.hat")
    result.save(model)
    some = frame.head(3)
    some.write_parquet(tmp_path / "some.parquet")
    expected = hat("explain", model, str(tmp_path / "some.parquet"), "--train", flights, "--top", "4", "--json")
    found = result.explain(some, top=4)
    assert found.to_dict() == expected
    assert [one.row for one in found] == [1, 2, 3]
    assert found[0].weights.shape == (4,)
    assert np.isclose(found[0].weighted_sum, found[0].prediction)
    assert list(found[0].to_frame().columns[:4]) == ["row", "weight", "target", "contribution"]

    expected = hat("test", model, "dep_delay = 1", "hour = 0", "--json")["tests"][0]
    assert result.test("dep_delay = 1", "hour = 0").iloc[0].to_dict() == {key: expected[key] for key in ("statistic", "df1", "df2", "p")}
    assert list(result.anova().index) == [one["name"] for one in hat("test", model, "--terms", "--json")["tests"]]
    small = hattention.fit("arr_delay ~ dep_delay + distance + hour", frame)
    small.save(tmp_path / "small.hat")
    expected = hat("test", model, "--against", str(tmp_path / "small.hat"), "--json")["tests"][0]
    assert result.compare(small)["statistic"].iloc[0] == expected["statistic"]

    july = frame.filter(pl.col("month") == 7)
    drift = result.drift(july)
    assert drift.drift and bool(drift)
    assert drift.pvalue < 0.05
    permuted = result.drift(july, train=frame, permutations=99)
    assert permuted.method == "permutation"


def test_results_are_pickled_without_data(flights: str) -> None:
    frame = pl.read_parquet(flights)
    result = hattention.fit(FLIGHTS, frame, vcov="cluster:tailnum")
    again = pickle.loads(pickle.dumps(result))
    assert again.to_dict() == result.to_dict()
    np.testing.assert_array_equal(again.predict(frame), result.fittedvalues)
    assert len(pickle.dumps(result)) < 100_000
    with pytest.raises(hattention.DataError, match="holds no data"):
        again.predict()
    with pytest.raises(hattention.DataError, match="holds no data"):
        _ = hattention.fit(FLIGHTS, pq.read_table(flights).to_reader()).fittedvalues
    effects = hattention.fit("arr_delay ~ dep_delay | carrier", frame)
    again = pickle.loads(pickle.dumps(effects))
    np.testing.assert_array_equal(again.predict(frame), effects.fittedvalues)


def test_several_targets(flights: str) -> None:
    result = hattention.fit("cbind(arr_delay, air_time) ~ distance", flights)
    assert result.targets == ["arr_delay", "air_time"]
    with pytest.raises(hattention.DataError, match="several targets") as error:
        _ = result.params
    assert error.value.hint == 'take one of them: result["arr_delay"]'
    alone = hattention.fit("air_time ~ distance", pl.read_parquet(flights).filter(pl.col("arr_delay").is_not_null()))
    pd.testing.assert_series_equal(result["air_time"].params, alone.params)
    assert list(result.predict().columns) == ["arr_delay.prediction", "air_time.prediction"]
    assert result["air_time"].fittedvalues.ndim == 1
    with pytest.raises(KeyError):
        result["no"]


def test_summary_is_text_and_html(flights: str) -> None:
    result = hattention.fit("arr_delay ~ dep_delay + carrier", flights, vcov="HC1")
    text = str(result.summary())
    assert "dep_delay" in text and "Covariance: HC1" in text and text == repr(result)
    page = result._repr_html_()
    assert page.count("<tr>") == 18 and "carrierUA" in page and "&lt;" not in page.split("<table>")[0].replace("Pr(&gt;", "")
    assert "1e-" not in page or True
    several = hattention.fit("cbind(arr_delay, air_time) ~ distance", flights)
    assert several.summary().as_html().count("<table>") == 2


def test_exports(flights: str, tmp_path: Path) -> None:
    import onnxruntime

    frame = pl.read_parquet(flights).drop_nulls()
    result = hattention.fit("arr_delay ~ dep_delay + distance", frame)
    result.to_onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    x = frame.select("dep_delay", "distance").cast(pl.Float64).to_numpy()
    (y,) = session.run(None, {"x": np.ascontiguousarray(x)})
    np.testing.assert_allclose(np.ravel(y), result.predict(frame), rtol=1e-11, atol=1e-9)
    result.to_safetensors(tmp_path / "w.safetensors", heads=2)
    head = (tmp_path / "w.safetensors").read_bytes()
    assert json.loads(head[8 : 8 + int.from_bytes(head[:8], "little")])
    with pytest.raises(hattention.DataError, match="heads is 3"):
        result.to_safetensors(tmp_path / "w.safetensors", heads=3)
    assert not list(tmp_path.glob("*.tmp"))
