"""A fit on a scheduler and two executors beside the same fit in one process, in alternating rounds of one run.

Writes bench/results/cluster.json and cluster.md. Needs numpy, and the built program and example. Run from the repository
root, with 2 GB of free disk at FOLDER, on a machine that does nothing else:

    cargo build --release --bin hat --example out_of_core
    python bench/cluster.py target/release/hat target/release/examples/out_of_core FOLDER

Local: one process of two threads. Cluster: a scheduler and two executors of one task at a time, as processes of the same
machine, which are up before the first round; the time is that of the client's whole process. States are compared byte by
byte. The costs of a task and of a state's columns are what the cost model of docs/cluster.md is made of.
"""

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
ROWS = 20_000_000
ROOT = Path(__file__).resolve().parent.parent
COLUMNS = [f"x{k}" for k in range(1, 11)]
FLIGHTS = "arr_delay ~ dep_delay + distance + hour + carrier + origin"
WIDTHS = (10, 50, 200, 500)


def free_pair():
    """A free port of which the next is free too."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
                return port
            except OSError:
                continue


class Cluster:
    def __init__(self, hat):
        self.folder = tempfile.TemporaryDirectory()
        self.servers = []
        port = free_pair()
        self.address = f"df://127.0.0.1:{port}"
        self.start([hat, "cluster", "scheduler", "--port", str(port)], "scheduler at")
        for _ in range(2):
            command = [hat, "cluster", "executor", "--scheduler", self.address, "--port", str(free_pair()), "--tasks", "1", "-v"]
            self.start(command, "registration succeed")

    def start(self, command, until):
        log = open(Path(self.folder.name) / f"{len(self.servers)}.log", "w+")
        self.servers.append(subprocess.Popen(command, stderr=log))
        while until not in Path(log.name).read_text():
            if self.servers[-1].poll() is not None:
                raise SystemExit(Path(log.name).read_text())
            time.sleep(0.05)

    def peak_mb(self):
        """The largest resident memory of each server so far."""
        status = [Path(f"/proc/{server.pid}/status").read_text() for server in self.servers]
        return [int(text.split("VmHWM:")[1].split()[0]) // 1024 for text in status]

    def stop(self):
        for server in reversed(self.servers):
            server.terminate()
            server.wait()


def fit(hat, formula, source, state, more=()):
    command = [hat, "fit", formula, source, "--state-out", state, "--json", "--quiet", "--threads", "2", *more]
    start = time.perf_counter()
    out = subprocess.run(command, check=True, capture_output=True).stdout
    return time.perf_counter() - start, out


def alternating(jobs):
    times = {name: [] for name in jobs}
    for turn in range(ROUNDS + 1):
        names = list(jobs)
        for name in names[turn % len(names):] + names[: turn % len(names)]:
            seconds = jobs[name]()
            if turn:
                times[name].append(seconds)
    return {name: {"median": statistics.median(all_), "all": all_} for name, all_ in times.items()}


def compared(hat, cluster, folder, formula, source, tasks):
    """Seconds by contestant, after the states have been found to be the same bytes."""
    local, far = str(folder / "local.state"), str(folder / "far.state")
    _, expected = fit(hat, formula, source, local)
    options = {"local": []}
    for count in tasks:
        more = ["--on", cluster.address] + (["--tasks", str(count)] if count else [])
        _, out = fit(hat, formula, source, far, more)
        if out != expected or Path(far).read_bytes() != Path(local).read_bytes():
            raise SystemExit(f"{source}: {count} tasks give another result")
        options["cluster, tasks as by default" if count is None else f"cluster, {count} tasks"] = more
    jobs = {name: (lambda more=more, name=name: fit(hat, formula, source, str(folder / "timed.state"), more)[0])
            for name, more in options.items()}
    return alternating(jobs)


def widths(hat, folder):
    """Bytes of states of normal columns, and what merging sixteen of them takes for each."""
    import numpy as np

    found = []
    random = np.random.default_rng(7)
    for p in WIDTHS:
        names = ",".join(["y"] + [f"x{k}" for k in range(1, p + 1)])
        path, state = folder / "wide.csv", str(folder / "wide.state")
        np.savetxt(path, random.standard_normal((p + 200, p + 1)), delimiter=",", header=names, comments="", fmt="%.17g")
        fit(hat, "y ~ .", str(path), state)
        size = os.path.getsize(state)
        pairs = (p + 2) * (p + 3) // 2
        seconds = {}
        for count in (1, 17):
            command = [hat, "merge", *[state] * count, "--state-out", str(folder / "merged.state"), "--ridge", "1", "--json"]
            times = []
            for _ in range(3):
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                times.append(time.perf_counter() - start)
            seconds[count] = min(times)
        found.append({"columns": p, "pairs": pairs, "bytes": size, "bytes_a_pair": size / pairs,
                      "merge_nanoseconds_a_pair": 1e9 * (seconds[17] - seconds[1]) / 16 / pairs})
    return found


def main(hat, example, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    big = folder / "rows.parquet"
    if not big.exists():
        subprocess.run([example, "write", str(big), str(ROWS)], check=True)
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    results = {"machine": {"processor": model, "cores": os.cpu_count(), "system": platform.platform()},
               "commit": commit.strip(), "rounds": ROUNDS, "widths": widths(hat, folder)}
    cluster = Cluster(hat)
    try:
        flights = str(ROOT / "data/flights.parquet")
        results["flights"] = compared(hat, cluster, folder, FLIGHTS, flights, [None, 2])
        results["rows"] = compared(hat, cluster, folder, "y ~ " + " + ".join(COLUMNS), str(big), [None, 2, 20, 160])
        results["server_peak_mb"] = cluster.peak_mb()
    finally:
        cluster.stop()
    out = ROOT / "bench/results"
    (out / "cluster.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "cluster.md").write_text(page(results))
    print(page(results))


def page(results):
    scheduler, *executors = results["server_peak_mb"]
    lines = [
        "# A fit on a cluster beside the same fit in one process", "",
        f"Medians of {results['rounds']} alternating rounds of one run of `bench/cluster.py`; {results['machine']['processor']}, "
        f"{results['machine']['cores']} cores, on which the client, the scheduler and both executors run; commit {results['commit']}. "
        "All states have the same bytes. Files are in the page cache.", "",
    ]
    for key, title in (("flights", "Flights, 336,776 rows, 21 coefficients"), ("rows", "Parquet, 2e7 rows × 11 doubles")):
        local = results[key]["local"]["median"]
        lines += [f"## {title}", "", "| | seconds | beside local |", "|---|--:|--:|"]
        lines += [f"| {name} | {of['median']:.3f} | {of['median'] / local:.2f}× |" for name, of in results[key].items()]
        lines.append("")
    lines += [f"Peak memory: scheduler {scheduler} MB, executors {' and '.join(map(str, executors))} MB.", "",
              "## States", "", "| columns | pairs | bytes | bytes a pair | merging, ns a pair |", "|--:|--:|--:|--:|--:|"]
    lines += [f"| {w['columns']} | {w['pairs']} | {w['bytes']} | {w['bytes_a_pair']:.1f} | {w['merge_nanoseconds_a_pair']:.0f} |"
              for w in results["widths"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
