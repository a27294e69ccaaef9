"""One regression a group: polars-ols `.over()` beside hattention, in alternating rounds of one run.

    cargo build --release --bin hat --example groups_speed
    python3 bench/peers_groups.py target/release/hat target/release/examples/groups_speed [ROUNDS]

Writes bench/results/groups.json and groups.md. Needs numpy, polars and polars-ols. 1e5 groups of 50 rows, 5 columns and an
intercept; two threads each, unless the environment says otherwise. Peers run in a process that runs already and has read the
files before.

In memory: `least_squares.ols(…, mode="coefficients").over("g")` on a frame; `group_by("g").agg(…, mode="statistics")`, its
fastest way to coefficients and errors; the library, which gathers rows by group and fits them, with errors.
From Parquet, rows group after group and shuffled: polars reads the file and computes `.over("g")`, and keeps the result in
memory; hat is timed as a whole process, from its start to the finished table of coefficients, errors, t and p on disk.
The peers' coefficients are compared. Then 1,000 groups drawn at random are fitted one by one by `hat fit` and compared with the
table, also with 1e8 added to all columns.
"""

import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("RAYON_NUM_THREADS", "2")
os.environ.setdefault("POLARS_MAX_THREADS", os.environ["RAYON_NUM_THREADS"])

GROUPS, ROWS, COLUMNS = 100_000, 50, 5
SAMPLED = 1_000
FORMULA = "y ~ " + " + ".join(f"x{j}" for j in range(COLUMNS))
NAMES = ["(Intercept)"] + [f"x{j}" for j in range(COLUMNS)]


def make(folder):
    """The files, and the sampled groups' own."""
    import numpy as np
    import polars as pl

    generator = np.random.default_rng(1)
    rows = GROUPS * ROWS
    x = generator.standard_normal((rows, COLUMNS))
    y = 1 + x @ np.arange(1, COLUMNS + 1) / COLUMNS + generator.standard_normal(rows)
    frame = pl.DataFrame({"g": np.repeat(np.arange(GROUPS), ROWS), **{f"x{j}": x[:, j] for j in range(COLUMNS)}, "y": y})
    frame.write_parquet(folder / "sorted.parquet", row_group_size=125_000)
    frame[generator.permutation(rows)].write_parquet(folder / "shuffled.parquet", row_group_size=125_000)
    sample = generator.choice(GROUPS, SAMPLED, replace=False)
    offset = frame.with_columns([pl.col(f"x{j}") + 1e8 for j in range(COLUMNS)] + [pl.col("y") + 1e8])
    chosen = {"near zero": frame.filter(pl.col("g").is_in(sample.tolist())), "offset by 1e8": offset.filter(pl.col("g").is_in(sample.tolist()))}
    for name, some in chosen.items():
        some.write_parquet(folder / f"{name}.parquet")
        for (group,), part in some.partition_by("g", as_dict=True).items():
            part.write_csv(folder / f"{name} {group}.csv")
    return sample.tolist(), list(chosen)


def theirs(path):
    """polars-ols on a file: seconds to read, for `.over()`, for `group_by` with errors; and keys and coefficients."""
    import polars as pl
    import polars_ols  # noqa: F401  (registers the namespace)

    names = [pl.col(f"x{j}") for j in range(COLUMNS)]
    of = pl.col("y").least_squares
    start = time.perf_counter()
    frame = pl.read_parquet(path)
    read = time.perf_counter()
    result = frame.select("g", of.ols(*names, mode="coefficients", add_intercept=True).over("g").alias("b"))
    over = time.perf_counter()
    frame.group_by("g").agg(of.ols(*names, mode="statistics", add_intercept=True).alias("b"))
    return {"read": read - start, "over": over - read, "group_by": time.perf_counter() - over}, result


def library(example):
    """The library in memory: seconds for rows in order, and for rows of all groups in turn."""
    lines = subprocess.run([example, str(GROUPS), str(ROWS), str(COLUMNS)], check=True, capture_output=True, text=True).stdout.splitlines()
    together = [float(line.split()[1]) for line in lines if line.startswith("together")]
    return dict(zip(["sorted", "shuffled"], together, strict=True))


def peak(program, path, out):
    """hat's peak memory in MB. (A child starts with its parent's, so a small process has to be the parent.)"""
    code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    command = [program, "fit", FORMULA, path, "--by", "g", "-o", out, "--quiet", "--threads", os.environ["RAYON_NUM_THREADS"]]
    return int(subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True).stdout) // 1024


def ours(program, path, out):
    """hat on a file: seconds, and processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([program, "fit", FORMULA, path, "--by", "g", "-o", out, "--quiet", "--threads", os.environ["RAYON_NUM_THREADS"]],
                   check=True, capture_output=True)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(out, peer):
    """The largest relative difference of a coefficient of polars-ols from hat's."""
    import numpy as np
    import polars as pl

    mine = pl.read_parquet(out).sort("g").select([f"b_{name}" for name in NAMES]).to_numpy()
    fields = [f"x{j}" for j in range(COLUMNS)]
    peer = peer.unique(subset="g", keep="first").sort("g").unnest("b")
    constant = next(name for name in peer.columns if name not in ["g", *fields])
    peer = peer.select([constant, *fields]).to_numpy()
    return float(np.max(np.abs(peer / mine - 1)))


def accuracy(program, folder, sample, name):
    """Largest relative differences from single fits of coefficients and errors, the fewest digits said, and methods."""
    import polars as pl

    out = folder / "sampled.parquet"
    subprocess.run([program, "fit", FORMULA, folder / f"{name}.parquet", "--by", "g", "-o", out, "--quiet"], check=True, capture_output=True)
    table = {row["g"]: row for row in pl.read_parquet(out).to_dicts()}
    worst = {"coefficients": 0.0, "errors": 0.0}
    for group in sample:
        text = subprocess.run([program, "fit", FORMULA, folder / f"{name} {group}.csv", "--json"], check=True, capture_output=True, text=True)
        for single in json.loads(text.stdout)["coefficients"]:
            pairs = [("coefficients", f"b_{single['name']}", single["estimate"]), ("errors", f"se_{single['name']}", single["std_error"])]
            for what, column, expected in pairs:
                worst[what] = max(worst[what], abs(table[group][column] / expected - 1))
    methods = [row["method"] for row in table.values()]
    return {**worst, "digits": min(row["digits"] for row in table.values()), "methods": {m: methods.count(m) for m in sorted(set(methods))}}


def main():
    import numpy
    import polars

    program, example = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    machine = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    threads = int(os.environ["RAYON_NUM_THREADS"])
    orders = ["sorted", "shuffled"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample, kinds = make(folder)
        seconds = {order: {} for order in orders}
        differences, out = {}, folder / "out.parquet"
        for _ in range(rounds):
            # One run of the peer takes as long as many of ours.
            inner = [library(example) for _ in range(5)]
            for order in orders:
                path = folder / f"{order}.parquet"
                polars.read_parquet(path)
                runs = [ours(program, path, out) for _ in range(5)]
                spent, result = theirs(path)
                differences[order] = compare(out, result)
                found = {"hat": statistics.median(run[0] for run in runs), "hat_processor": statistics.median(run[1] for run in runs),
                         "library": statistics.median(run[order] for run in inner), **{f"polars_{k}": v for k, v in spent.items()}}
                for what, value in found.items():
                    seconds[order].setdefault(what, []).append(value)
        accuracies = {kind: accuracy(program, folder, sample, kind) for kind in kinds}
        memory = {order: peak(program, folder / f"{order}.parquet", out) for order in orders}
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    meta = {"groups": GROUPS, "rows_a_group": ROWS, "columns": COLUMNS, "threads": threads, "rounds": rounds, "machine": machine,
            "cores": os.cpu_count(), "hat": version, "python": platform.python_version(), "numpy": numpy.__version__,
            "polars": polars.__version__, "polars_ols": importlib.metadata.version("polars-ols")}
    lines = [f"One regression a group: {GROUPS} groups × {ROWS} rows × {COLUMNS} columns and an intercept, medians of {rounds} rounds, "
             f"{threads} threads each ({os.cpu_count()} cores, {machine}; {version}). polars {meta['polars']}, polars-ols {meta['polars_ols']}.", "",
             "In memory: `ols(…).over(\"g\")` gives coefficients, `group_by(\"g\").agg(ols(…, mode=\"statistics\"))` errors too; the library "
             "gives coefficients, errors and stated digits.", "",
             "| rows | polars-ols `.over()`, s | `group_by`, s | library, s | | |", "|---|--:|--:|--:|--:|--:|"]
    def median(order, what):
        return statistics.median(seconds[order][what])

    for order in orders:
        over, group_by, own = (median(order, what) for what in ["polars_over", "polars_group_by", "library"])
        lines.append(f"| {order} | {over:.2f} | {group_by:.2f} | {own:.2f} | {over / own:.0f}× | {group_by / own:.0f}× |")
    lines += ["", "From Parquet: polars reads and computes `.over()`; hat is the whole process, to a Parquet file of coefficients, errors, t, p "
              "and statuses.", "", "| rows | polars-ols, s | hat fit --by, s | | its processor time, s | its peak memory, MB |",
              "|---|--:|--:|--:|--:|--:|"]
    for order in orders:
        peer = statistics.median(a + b for a, b in zip(seconds[order]["polars_read"], seconds[order]["polars_over"]))
        own, processor = median(order, "hat"), median(order, "hat_processor")
        lines.append(f"| {order} | {peer:.2f} | {own:.2f} | {peer / own:.0f}× | {processor:.2f} | {memory[order]} |")
    lines += ["", f"polars-ols' coefficients differ by at most {max(differences.values()):.1e} of themselves.", "",
              f"{SAMPLED} groups drawn at random against `hat fit` of their rows alone, largest relative differences:", "",
              "| columns | coefficients | standard errors | digits said, at least | methods |", "|---|--:|--:|--:|---|"]
    for kind, found in accuracies.items():
        methods = ", ".join(f"{count} {method}" for method, count in found["methods"].items())
        lines.append(f"| {kind} | {found['coefficients']:.1e} | {found['errors']:.1e} | {found['digits']} | {methods} |")
    folder = Path(__file__).resolve().parent / "results"
    content = {"meta": meta, "seconds": seconds, "peak_mb": memory, "peer_differs": differences, "accuracy": accuracies}
    (folder / "groups.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "groups.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
