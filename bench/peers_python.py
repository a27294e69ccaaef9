"""The Python package beside its peers, in alternating rounds of one run.

    pip install ./python scikit-learn statsmodels pyfixest polars-ols pandas pyarrow
    python bench/peers_python.py [ROUNDS]

Writes bench/results/python.json and python.md. Two threads each. Every case runs in a process of its own, which also tells
by how much its peak memory grew beyond the data. The package's times include standard errors and stated digits;
scikit-learn's and polars-ols' are of coefficients only.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

THREADS = "2"
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[variable] = THREADS
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

ROOT = Path(__file__).resolve().parent.parent
SIZES = [(1_000_000, 10), (100_000, 100), (10_000, 1000)]
FORMULA = "arr_delay ~ dep_delay + distance + hour + carrier + origin"
PACKAGES = ["hattention", "numpy", "scikit-learn", "statsmodels", "pyfixest", "polars", "polars-ols", "pandas"]


class Peak:
    """By how much the memory of the process grows within, in MB, looked at every millisecond."""

    def __enter__(self):
        self.start, self.most, self.done = resident(), 0, threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        while not self.done.wait(0.001):
            self.most = max(self.most, resident() - self.start)

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.most = max(self.most, resident() - self.start)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def arrays(rows, columns, order):
    """Peers by name, as functions that fit, and give the slopes."""
    import numpy as np
    import polars as pl
    import polars_ols  # noqa: F401  (registers the namespace)
    import statsmodels.api as sm
    from sklearn.linear_model import LinearRegression

    import hattention

    hattention.set_threads(int(THREADS))
    rng = np.random.default_rng(0)
    x = np.asarray(rng.normal(size=(rows, columns)), order=order)
    y = 1 + x @ rng.normal(size=columns) + rng.normal(size=rows)

    def by_polars():
        frame = pl.DataFrame({f"x{at}": x[:, at] for at in range(columns)} | {"y": y})
        names = [pl.col(f"x{at}") for at in range(columns)]
        fit = pl.col("y").least_squares.ols(*names, add_intercept=True, mode="coefficients")

        def run():
            found = frame.select(fit.alias("b")).unnest("b")
            return found.select([f"x{at}" for at in range(columns)]).row(0)

        return run

    def by_statsmodels():
        fit = sm.OLS(y, sm.add_constant(x)).fit()
        fit.bse
        return fit.params[1:]

    return {
        "LeastSquares": lambda: hattention.LeastSquares().fit(x, y).coef_,
        "scikit-learn": lambda: LinearRegression().fit(x, y).coef_,
        "statsmodels": by_statsmodels,
        "polars-ols": by_polars(),
    }


def flights():
    import pandas as pd
    import polars as pl
    import pyfixest
    import statsmodels.formula.api as smf
    from sklearn.linear_model import LinearRegression

    import hattention

    hattention.set_threads(int(THREADS))
    path = str(ROOT / "data/flights.parquet")
    frame, polars = pd.read_parquet(path), pl.read_parquet(path)

    def by_scikit():
        used = frame[["arr_delay", "dep_delay", "distance", "hour", "carrier", "origin"]].dropna()
        x = pd.get_dummies(used.drop(columns="arr_delay"), drop_first=True, dtype=float)
        return LinearRegression().fit(x, used["arr_delay"]).coef_

    def by_statsmodels():
        fit = smf.ols(FORMULA, frame).fit()
        fit.bse
        # Patsy puts factors first.
        names = [name for name in fit.params.index if not name.startswith(("Intercept", "carrier", "origin"))]
        factors = [name for name in fit.params.index if name.startswith(("carrier", "origin"))]
        return fit.params[names + factors]

    def by_pyfixest():
        fit = pyfixest.feols(FORMULA, frame)
        fit.se()
        return fit.coef()[1:]

    return {
        "fit of a path": lambda: hattention.fit(FORMULA, path).params[1:],
        "fit of a polars frame": lambda: hattention.fit(FORMULA, polars).params[1:],
        "fit of a pandas frame": lambda: hattention.fit(FORMULA, frame).params[1:],
        "scikit-learn with get_dummies": by_scikit,
        "statsmodels": by_statsmodels,
        "pyfixest": by_pyfixest,
    }


def measure(case, peer, rounds):
    """Seconds of the rounds of one peer in this process, its slopes, and its growth of memory."""
    peers = flights() if case == "flights" else arrays(*json.loads(case))
    with Peak() as peak:
        slopes = [float(b) for b in peers[peer]()]
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        peers[peer]()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "slopes": slopes, "peak": peak.most}


def names(case):
    if case == "flights":
        return ["fit of a path", "fit of a polars frame", "fit of a pandas frame", "scikit-learn with get_dummies", "statsmodels", "pyfixest"]
    return ["LeastSquares", "scikit-learn", "statsmodels", "polars-ols"]


def compare(case, rounds):
    """Peers in alternating processes."""
    found = {}
    for _ in range(rounds):
        for peer in names(case):
            command = [sys.executable, __file__, "--one", case, peer]
            one = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            entry = found.setdefault(peer, {"seconds": [], "peak": []})
            entry["seconds"] += one["seconds"]
            entry["peak"].append(one["peak"])
            ours = found[names(case)[0]].setdefault("slopes", one["slopes"])
            entry["apart"] = max(abs(b / a - 1) for a, b in zip(ours, one["slopes"], strict=True))
    return {
        peer: {"seconds": statistics.median(entry["seconds"]), "peak_mb": statistics.median(entry["peak"]), "apart": entry["apart"]}
        for peer, entry in found.items()
    }  # fmt: skip


def page(result):
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"The Python package beside its peers: medians of one run, {THREADS} threads each ({result['machine']}). {versions}.",
        "",
        "`LeastSquares().fit` gives coefficients, standard errors and stated digits; scikit-learn's `LinearRegression` and polars-ols "
        "coefficients only; statsmodels' `OLS` with errors. *Beyond the data*: growth of the process's memory in its first fit, "
        "in MB; the data are held before. *Apart*: largest relative difference of a slope from ours.",
        "",
        "| case | | seconds | | beyond the data, MB | apart |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for case, peers in result["cases"].items():
        ours = next(iter(peers.values()))["seconds"]
        for peer, one in peers.items():
            ratio = "" if one["seconds"] == ours else f"{one['seconds'] / ours:.1f}×"
            lines.append(f"| {case} | {peer} | {one['seconds']:.3f} | {ratio} | {one['peak_mb']:.0f} | {one['apart']:.0e} |")
            case = ""
    return "\n".join(lines) + "\n"


def main():
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3], 5)))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    cases = {}
    for rows, columns in SIZES:
        for order in "CF":
            data = rows * columns * 8 / 1e6
            label = f"{rows:.0e} × {columns} ({'by rows' if order == 'C' else 'by columns'}, {data:.0f} MB)".replace("e+0", "e")
            cases[label] = compare(json.dumps([rows, columns, order]), rounds)
            print(label, cases[label], file=sys.stderr)
    cases["flights, 21 coefficients"] = compare("flights", rounds)
    with open("/proc/cpuinfo") as file:
        model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    result = {
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": f"{os.cpu_count()} cores, {model}, Python {platform.python_version()}",
        "cases": cases,
    }
    (ROOT / "bench/results/python.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    (ROOT / "bench/results/python.md").write_text(page(result))


if __name__ == "__main__":
    main()
