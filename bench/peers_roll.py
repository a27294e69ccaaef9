"""Rolled regressions: polars-ols beside hattention, in alternating rounds of one run.

    cargo build --release --example roll_speed
    RAYON_NUM_THREADS=2 python3 bench/peers_roll.py target/release/examples/roll_speed [ROUNDS]

Writes bench/results/roll.json and roll.md (roll_one_thread with RAYON_NUM_THREADS=1). Needs numpy, polars and polars-ols. 1e6 rows of 5 columns and an intercept, windows of 250, the half-life of the decay 250
rows; two threads each, unless the environment says otherwise. polars-ols gives coefficients only, on one thread; hattention is timed for
coefficients only, and with standard errors, predictions with errors, residuals and recursive residuals.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("RAYON_NUM_THREADS", "2")
os.environ.setdefault("POLARS_MAX_THREADS", os.environ["RAYON_NUM_THREADS"])

ROWS, COLUMNS, WINDOW = 1_000_000, 5, 250


def peers():
    """The peers as functions of nothing, by the mask they compute."""
    import numpy as np
    import polars as pl
    import polars_ols  # noqa: F401  (registers the namespace)

    generator = np.random.default_rng(1)
    x = generator.standard_normal((ROWS, COLUMNS))
    y = 1 + x @ np.arange(1, COLUMNS + 1) / COLUMNS + generator.standard_normal(ROWS)
    frame = pl.DataFrame({**{f"x{j}": x[:, j] for j in range(COLUMNS)}, "y": y})
    names = [pl.col(f"x{j}") for j in range(COLUMNS)]
    options = {"mode": "coefficients", "add_intercept": True}
    of = pl.col("y").least_squares
    expressions = {
        "window": of.rolling_ols(*names, window_size=WINDOW, **options),
        "expanding": of.expanding_ols(*names, **options),
        "decay": of.rls(*names, half_life=float(WINDOW), **options),
    }
    return {name: (lambda e=e: frame.select(e)) for name, e in expressions.items()}


def hattention(program):
    """Seconds of the example's masks, `coefficients` and `all`."""
    arguments = [program, str(ROWS), str(COLUMNS), str(WINDOW), "speed"]
    lines = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.splitlines()
    words = [line.split() for line in lines if " s, " in line]
    return {(mask, what): float(seconds) for mask, what, seconds, *_ in words}


def main():
    import numpy
    import polars

    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    ours, theirs = {}, {}
    functions = peers()
    for _ in range(rounds):
        for name, function in functions.items():
            # The example gives the best of three too.
            theirs.setdefault(name, []).append(min(seconds_of(function) for _ in range(3)))
        for key, seconds in hattention(program).items():
            ours.setdefault(key, []).append(seconds)
    machine = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    threads = int(os.environ["RAYON_NUM_THREADS"])
    meta = {"rows": ROWS, "columns": COLUMNS, "window": WINDOW, "threads": threads, "rounds": rounds, "machine": machine,
            "cores": os.cpu_count(), "python": platform.python_version(), "numpy": numpy.__version__,
            "polars": polars.__version__, "polars_ols": importlib.metadata.version("polars-ols")}
    lines = [f"Rolled regressions, {ROWS} × {COLUMNS} and an intercept, window and half-life {WINDOW}: medians of {rounds} rounds "
             f"(best of three in each), {threads} threads ({os.cpu_count()} cores, {machine}); polars-ols {meta['polars_ols']}, which keeps to "
             "one thread and gives coefficients only.", "",
             "| | polars-ols, s | coefficients, s | | with errors, predictions, residuals, s | |",
             "|---|--:|--:|--:|--:|--:|"]
    results = {}
    for name, seconds in theirs.items():
        peer = statistics.median(seconds)
        own = {what: statistics.median(ours[name, what]) for what in ["coefficients", "all"]}
        results[name] = {"polars_ols": seconds, **{what: ours[name, what] for what in own}}
        cells = " | ".join(f"{own[what]:.3f} | {peer / own[what]:.1f}×" for what in own)
        lines.append(f"| {name} | {peer:.3f} | {cells} |")
    folder = Path(__file__).resolve().parent / "results"
    stem = "roll" if threads > 1 else "roll_one_thread"
    (folder / f"{stem}.json").write_text(json.dumps({"meta": meta, "seconds": results}, indent=1) + "\n", encoding="utf-8")
    (folder / f"{stem}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def seconds_of(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
