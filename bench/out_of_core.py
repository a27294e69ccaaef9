"""Files larger than a test would make: `hat fit` beside DuckDB adding up the same products, in alternating rounds.

Writes bench/results/out_of_core.json and out_of_core.md. Needs duckdb, the built program and the built example. Run from
the repository root, with 4 GB of free disk at FOLDER, on a machine that does nothing else:

    cargo build --release --bin hat --example out_of_core
    python bench/out_of_core.py target/release/hat target/release/examples/out_of_core FOLDER

The tables are y and x1 … x10, normal: 2e7 rows of Parquet (Snappy, 125,000 rows a row group), the same file twice as a
directory, and 2e6 rows of CSV. All is in the page cache: every file is read once before the rounds. The program's times
are of the whole process, with standard errors and digits; DuckDB's are of the query alone, its start and import apart.
Seconds of processor time (both threads, user and system) stand beside: they change less when a machine is busy.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

THREADS = 2
ROUNDS = 5
ROWS, CSV_ROWS = 20_000_000, 2_000_000
ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ["y"] + [f"x{k}" for k in range(1, 11)]
FORMULA = "y ~ " + " + ".join(COLUMNS[1:])
PRODUCTS = ", ".join(f"sum({a} * {b})" for i, a in enumerate(COLUMNS) for b in COLUMNS[i:])
ALONE = ", ".join(f"sum({a})" for a in COLUMNS)


def measured(command):
    """Wall and processor seconds and peak bytes of a process, and what it prints."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{command}: exit {os.waitstatus_to_exitcode(status)}")
    return {"seconds": seconds, "processor": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}, out


def duckdb_query(source, what):
    """One query in a process of its own, which says what the query alone took."""
    import duckdb

    db = duckdb.connect(config={"threads": THREADS})
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    db.sql(f"select {PRODUCTS if what == 'products' else ALONE} from {source}").fetchall()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": seconds, "processor": processor}))


def by_duckdb(source, what):
    whole, out = measured([sys.executable, __file__, "duckdb", source, what])
    return whole | json.loads(out.splitlines()[-1])


def by_hat(hat, source):
    times, out = measured([hat, "fit", FORMULA, source, "--json", "--quiet", "--threads", str(THREADS)])
    return times | {"rows": json.loads(out)["n"]}


def floor(example, what, source):
    times, out = measured([example, what, source, str(THREADS)])
    return times | {"seconds": json.loads(out)["seconds"]}


def files(example, folder):
    folder.mkdir(parents=True, exist_ok=True)
    one, twice, text = folder / "rows.parquet", folder / "twice", folder / "rows.csv"
    for path, rows in ((one, ROWS), (text, CSV_ROWS)):
        if not path.exists():
            subprocess.run([example, "write", str(path), str(rows)], check=True)
    twice.mkdir(exist_ok=True)
    for name in ("a.parquet", "b.parquet"):
        if not (twice / name).exists():
            (twice / name).symlink_to(one.resolve())
    return str(one), str(twice), str(text)


def contestants(hat, example, folder):
    one, twice, text = files(example, folder)
    parquet, both, csv = f"read_parquet('{one}')", f"read_parquet('{twice}/*.parquet')", f"read_csv('{text}')"
    return {
        "Parquet, 2e7 rows": {
            "hat fit": lambda: by_hat(hat, one),
            "DuckDB, 66 products": lambda: by_duckdb(parquet, "products"),
            "decoding alone": lambda: floor(example, "decode", one),
            "sums alone": lambda: floor(example, "sums", one),
        },
        "Parquet, 4e7 rows": {
            "hat fit": lambda: by_hat(hat, twice),
            "DuckDB, 66 products": lambda: by_duckdb(both, "products"),
        },
        "CSV, 2e6 rows": {
            "hat fit": lambda: by_hat(hat, text),
            "DuckDB, 66 products": lambda: by_duckdb(csv, "products"),
            "DuckDB, the columns' sums": lambda: by_duckdb(csv, "columns"),
            "decoding alone": lambda: floor(example, "decode", text),
        },
    }


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform()}


def main(hat, example, folder):
    import duckdb

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    results = {
        "machine": machine(), "commit": commit.strip(), "threads": THREADS, "rounds": ROUNDS,
        "versions": {"duckdb": duckdb.__version__, "python": platform.python_version()}, "tables": {},
    }
    busy = []
    for table, jobs in contestants(hat, example, Path(folder)).items():
        runs = {name: [] for name in jobs}
        for turn in range(ROUNDS + 1):
            busy.append(os.getloadavg()[0])
            names = list(jobs)
            for name in names[turn % len(names):] + names[: turn % len(names)]:
                run = jobs[name]()
                if turn:
                    runs[name].append(run)
                    print(f"{table}: {name}: {run['seconds']:.2f} s, {run['processor']:.2f} s of processor", file=sys.stderr)
        results["tables"][table] = {
            name: {
                key: {"median": statistics.median(r[key] for r in list_), "all": [r[key] for r in list_]}
                for key in ("seconds", "processor", "peak_mb")
            }
            for name, list_ in runs.items()
        }
    results["load_average"] = busy
    out = ROOT / "bench/results"
    (out / "out_of_core.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "out_of_core.md").write_text(page(results))
    print(page(results))


def page(results):
    lines = [
        "# Files larger than a test would make", "",
        f"Medians of {results['rounds']} alternating rounds of one run of `bench/out_of_core.py`, {results['threads']} threads "
        f"each; DuckDB {results['versions']['duckdb']}; {results['machine']['processor']}, {results['machine']['cores']} cores; "
        f"commit {results['commit']}; load average {min(results['load_average']):.1f} to {max(results['load_average']):.1f}. "
        "Ratios travel, times do not; processor seconds (user and system, all threads) are steadier on a busy machine. Files "
        "are in the page cache. hat: the whole process, with standard errors and digits. DuckDB: the query alone.", "",
    ]
    for table, jobs in results["tables"].items():
        ours = jobs["hat fit"]
        lines += [f"## {table}", "", "| | seconds | beside hat | processor seconds | beside hat | peak |", "|---|--:|--:|--:|--:|--:|"]
        for name, of in jobs.items():
            wall, cpu = of["seconds"]["median"], of["processor"]["median"]
            lines.append(
                f"| {name} | {wall:.2f} | {wall / ours['seconds']['median']:.2f}× | {cpu:.2f} | "
                f"{cpu / ours['processor']['median']:.2f}× | {max(of['peak_mb']['all']):.0f} MB |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1] == "duckdb":
        duckdb_query(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
