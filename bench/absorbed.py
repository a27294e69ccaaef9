"""Absorbed fixed effects: the program beside pyfixest, in alternating rounds of one run.

Writes bench/results/absorbed.json and absorbed.md. Needs numpy, pandas, pyarrow and pyfixest, and the built program. Run
from the repository root, on a machine that does nothing else:

    python bench/absorbed.py target/release/hat

The program's times are of the whole process, reading Parquet included; pyfixest's are of `feols` on a frame in memory,
import and compilation apart. Both have two threads.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THREADS = "2"
for variable in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[variable] = THREADS

import numpy as np
import pandas as pd
import pyfixest
from pyfixest.demeaners import LsmrDemeaner, MapDemeaner

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
PEERS = {
    "pyfixest, projections to 1e-6 (default)": MapDemeaner(),
    "pyfixest, LSMR to 1e-8": LsmrDemeaner(),
    "pyfixest, LSMR to 1e-12": LsmrDemeaner(fixef_atol=1e-12, fixef_btol=1e-12),
}


def panel(path):
    """A million rows of 1e5 workers in 1e4 firms, ten slopes; one row in five is away from the worker's firm."""
    rng = np.random.default_rng(1)
    rows, workers, firms = 1_000_000, 100_000, 10_000
    worker = rng.integers(0, workers, rows)
    home = rng.integers(0, firms, workers)
    firm = np.where(rng.random(rows) < 0.2, rng.integers(0, firms, rows), home[worker])
    x = rng.normal(size=(rows, 10)) + 0.1 * (worker % 17)[:, None] + 0.05 * (firm % 13)[:, None]
    y = x @ np.arange(1, 11) * 0.1 + np.sin(worker) + np.cos(firm) + rng.normal(size=rows)
    frame = pd.DataFrame({f"x{k}": x[:, k] for k in range(10)})
    frame.assign(y=y, worker=worker, firm=firm).to_parquet(path)


def program(hat, formula, path, cluster):
    command = [hat, "fit", formula, path, "--vcov", f"cluster:{cluster}", "--json", "--quiet", "--threads", THREADS]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, json.loads(done.stdout)


def peer(formula, frame, cluster, demeaner):
    start = time.perf_counter()
    fit = pyfixest.feols(formula, frame, vcov={"CRV1": cluster}, fixef_rm="none", demeaner=demeaner,
                         copy_data=False, store_data=False)
    return time.perf_counter() - start, fit


def compare(hat, formula, path, cluster):
    frame = pd.read_parquet(path)
    times = {"hattention": []} | {name: [] for name in PEERS}
    apart = {}
    for _ in range(ROUNDS):
        seconds, ours = program(hat, formula, path, cluster)
        times["hattention"].append(seconds)
        for name, demeaner in PEERS.items():
            seconds, fit = peer(formula, frame, cluster, demeaner)
            times[name].append(seconds)
            pairs = zip(ours["coefficients"], fit.coef(), fit.se())
            apart[name] = [max(errors) for errors in zip(*(
                (abs(b / c["estimate"] - 1), abs(se / c["std_error"] - 1)) for c, b, se in pairs))]
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return {
        "formula": formula, "cluster": cluster, "n": ours["n"], "absorbed": ours["absorbed"],
        "absorption": ours["absorption"], "seconds": times, "medians": medians,
        "ratios": {name: medians[name] / medians["hattention"] for name in PEERS},
        "largest_relative_difference": {name: {"estimate": b, "std_error": se} for name, (b, se) in apart.items()},
    }


def main():
    hat = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        generated = os.path.join(folder, "panel.parquet")
        panel(generated)
        slopes = " + ".join(f"x{k}" for k in range(10))
        results = {
            "flights": compare(hat, "arr_delay ~ dep_delay + distance + hour | carrier + dest",
                               str(ROOT / "data/flights.parquet"), "tailnum"),
            "panel": compare(hat, f"y ~ {slopes} | worker + firm", generated, "worker"),
        }
    machine = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    meta = {"threads": int(THREADS), "rounds": ROUNDS, "machine": machine, "cores": os.cpu_count(),
            "python": platform.python_version(), "pyfixest": pyfixest.__version__, "numpy": np.__version__,
            "pandas": pd.__version__}
    text = json.dumps({"meta": meta, "results": results}, indent=1)
    (ROOT / "bench/results/absorbed.json").write_text(text + "\n", encoding="utf-8")
    lines = [f"Absorbed effects, clustered errors: medians of {ROUNDS} rounds, {THREADS} threads each, {machine}; "
             f"pyfixest {pyfixest.__version__}.", "",
             "| | seconds | over hattention | apart: coefficients | errors |", "|---|--:|--:|--:|--:|"]
    for name, result in results.items():
        lines.append(f"| **{name}**, {result['n']} rows: hattention | {result['medians']['hattention']:.3f} | | | |")
        for other, ratio in result["ratios"].items():
            apart = result["largest_relative_difference"][other]
            lines.append(f"| {other} | {result['medians'][other]:.3f} | {ratio:.1f}× | {apart['estimate']:.0e} | "
                         f"{apart['std_error']:.0e} |")
    (ROOT / "bench/results/absorbed.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
