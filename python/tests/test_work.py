"""Threads, signals, forks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import hattention


def test_threads_can_be_set_and_change_nothing(flights: str) -> None:
    before = hattention.get_threads()
    try:
        results = []
        for count in (1, 2, 3):
            hattention.set_threads(count)
            assert hattention.get_threads() == count
            results.append(hattention.fit("arr_delay ~ dep_delay*origin", flights).to_dict())
        assert results[0] == results[1] == results[2]
        with pytest.raises(ValueError, match="threads is 0"):
            hattention.set_threads(0)
    finally:
        hattention.set_threads(None)
    assert hattention.get_threads() == (os.cpu_count() or 1) or before


def test_other_threads_run_during_work() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200_000, 40)), rng.normal(size=200_000)
    table = {f"x{at}": X[:, at] for at in range(40)} | {"y": y}
    ticks, done = [0], threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        hattention.fit("y ~ .", table)
    finally:
        done.set()
        thread.join()
    assert ticks[0] > 3


def test_several_threads_fit_at_once(flights: str) -> None:
    expected = hattention.fit("arr_delay ~ dep_delay", flights).to_dict()
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(hattention.fit("arr_delay ~ dep_delay", flights).to_dict())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6


def test_interrupts_stop_work(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, numpy as np, hattention
        rng = np.random.default_rng(0)
        table = {f"x{at}": rng.normal(size=400_000) for at in range(150)}
        table["y"] = rng.normal(size=400_000)
        print("ready", flush=True)
        try:
            while True:
                hattention.fit("y ~ .", table)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - start < 10
        assert process.wait(20) == 0


def test_interrupts_stop_within_a_solution() -> None:
    # (3,000 columns by ridge: some seconds of exact sums and factors, in which no rows are read.)
    script = textwrap.dedent(
        """
        import numpy as np, hattention
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(3500, 3000)), rng.normal(size=3500)
        hattention.LeastSquares().fit(x[:, :3], y)
        print("ready", flush=True)
        try:
            hattention.LeastSquares(ridge=1.0).fit(x, y)
            print("done", flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert hattention.LeastSquares().fit(x[:, :3], y).rank_ == 4
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(2.0)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert process.wait(30) == 0


def test_numpy_is_all_that_formulas_need(flights: str) -> None:
    script = textwrap.dedent(
        """
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {"pandas", "polars", "pyarrow", "sklearn", "scipy", "matplotlib"}:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
        import numpy as np, hattention
        from hattention import *
        result = hattention.fit("arr_delay ~ dep_delay + carrier", sys.argv[1], vcov="HC1")
        assert isinstance(result.params, dict) and result.params["dep_delay"] > 1
        assert result.conf_int()["dep_delay"]["0"] < result.params["dep_delay"]
        assert result.cov_params().shape == (17, 17)
        assert result.anova()["carrier"]["df1"] == 15
        table = {"x": np.arange(5.0), "g": np.array(list("ababa")), "y": np.array([1.0, 2, 2, 4, 5])}
        result = hattention.fit("y ~ x + g", table)
        assert set(result.predict(interval="confidence")) == {"prediction", "low", "high"}
        assert "<table>" in result._repr_html_() and len(result.explain(table)) == 5
        assert hattention.State("y ~ x + g", table).rows == 5
        for name in ("LeastSquares", "AttentionRegressor", "DriftDetector"):
            try:
                getattr(hattention, name)
            except ImportError as error:
                assert f"{name} needs scikit-learn" in str(error)
            else:
                raise AssertionError("no estimators without scikit-learn")
        try:
            hattention.plots.coefficients(result)
        except ImportError as error:
            assert "pip install" in str(error)
        else:
            raise AssertionError("no pictures without Matplotlib")
        """
    )
    subprocess.run([sys.executable, "-c", script, flights], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children_have_threads_of_their_own(flights: str) -> None:
    expected = hattention.fit("arr_delay ~ dep_delay", flights).params["dep_delay"]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue, flights))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(60)
    assert child.exitcode == 0


def _child(queue: multiprocessing.Queue[float], flights: str) -> None:
    queue.put(hattention.fit("arr_delay ~ dep_delay", flights).params["dep_delay"])
