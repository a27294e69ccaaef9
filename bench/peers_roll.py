"""Rolled regressions: polars-ols beside hattention, in alternating rounds of one run.

    cargo build --release --example roll_speed
    RAYON_NUM_THREADS=2 python3 bench/peers_roll.py target/release/examples/roll_speed [ROUNDS]

Needs numpy, polars and polars-ols. 1e6 rows of 5 columns and an intercept, windows of 250, the half-life of the decay 250
rows; two threads each, unless the environment says otherwise. polars-ols gives coefficients only, on one thread; hattention is timed for
coefficients only, and with standard errors, predictions with errors, residuals and recursive residuals.
"""

import os
import statistics
import subprocess
import sys
import time

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
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    ours, theirs = {}, {}
    functions = peers()
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            theirs.setdefault(name, []).append(time.perf_counter() - start)
        for key, seconds in hattention(program).items():
            ours.setdefault(key, []).append(seconds)
    print(f"{ROWS} x {COLUMNS}, window {WINDOW}, {os.environ['RAYON_NUM_THREADS']} threads, medians of {rounds} rounds")
    for name, seconds in theirs.items():
        peer = statistics.median(seconds)
        for what in ["coefficients", "all"]:
            own = statistics.median(ours[name, what])
            print(f"{name}: polars-ols {peer:.3f} s, hattention ({what}) {own:.3f} s, {peer / own:.1f} times faster")


if __name__ == "__main__":
    main()
