"""Attention regression beside PyTorch, metric-learn, statsmodels and the floor of the machine, in one run.

    cargo build --release --example attention_regression_speed
    python3 bench/attention_regression.py target/release/examples/attention_regression_speed

Writes bench/results/attention_regression.json and .md. Needs numpy, torch (CPU), metric-learn, scikit-learn below 1.6, statsmodels.

- The published recipe (five heads of inner products that read all rows, squares penalised by 1e-3, coefficients searched from 1/5, L-BFGS with
  strong Wolfe) on the same rows, made by the same generator, from the same kind of start: full N × N softmax and automatic slopes in PyTorch,
  single precision as published. Compared is the time to losses that both reach, and a loss with its slope. Two threads each.
- All 5,000 rows predicted by all 5,000, on one thread, against its floor: N² M exponentials and N² M (P + 1) fused multiply-adds at the rates that
  the engine's own have alone, on numbers in the first cache (its exponential is faster than numpy's), both of doubles.
- Memory of a fit of two steps with 20,000 rows.
- metric-learn's MLKR (one metric, distances, leave-one-out) and statsmodels' KernelReg (one diagonal metric, least-squares cross-validation) with
  seconds and R² of a thousand new rows.
"""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

COLUMNS, HEADS, PENALTY, ROWS, THREADS = 5, 5, 1e-3, 5000, 2
PEERS = ["torch", "numpy", "metric-learn", "scikit-learn", "statsmodels"]


def rows(count):
    """The rows of the example, to the bit."""
    state, mask = 1, (1 << 64) - 1

    def uniform():
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        return (state >> 11) / (1 << 53)

    x = np.array([[uniform() for _ in range(count)] for _ in range(COLUMNS)])
    signal = np.sin(3 * x[:4].sum(0))
    noise = np.array([sum(uniform() for _ in range(12)) - 6 for _ in range(count)])
    return x.T.copy(), signal + 0.7 * noise


def pytorch(x, y, rounds, dtype=torch.float32):
    """Seconds, losses and evaluations after every round of 20 inner steps."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.tensor(x, dtype=dtype), torch.tensor((y - y.mean()) / y.std(), dtype=dtype)
    count = len(y)
    base = torch.linalg.cholesky(torch.linalg.inv(x.T @ x + 1e-6 * torch.eye(COLUMNS, dtype=dtype))) * count**0.5
    noise = 0.05 * torch.randn(HEADS, COLUMNS, COLUMNS, generator=generator, dtype=dtype)
    factors = torch.tril(base + noise).clone().requires_grad_(True)
    alpha = torch.full((HEADS,), 1 / HEADS, dtype=dtype, requires_grad=True)

    def loss():
        lower = torch.tril(factors)
        keys = torch.einsum("np,mpc->mnc", x, lower)
        weights = torch.softmax(keys @ keys.transpose(1, 2), dim=-1)
        predicted = alpha @ (weights @ y)
        return ((y - predicted) ** 2).mean() + PENALTY * (lower**2).sum()

    search = torch.optim.LBFGS([factors, alpha], lr=1, max_iter=20, history_size=100, line_search_fn="strong_wolfe")
    evaluations = 0

    def closure():
        nonlocal evaluations
        evaluations += 1
        search.zero_grad()
        value = loss()
        value.backward()
        return value

    begun, trace = time.perf_counter(), []
    for _ in range(rounds):
        search.step(closure)
        seconds = time.perf_counter() - begun
        with torch.no_grad():
            trace.append((seconds, float(loss()), evaluations))
    return trace


def run(program, what, *arguments, threads=THREADS):
    """The lines that the example prints."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    command = [program, what, *(str(a) for a in arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()


def hattention(program):
    """Seconds, losses and evaluations after some numbers of steps, by precision."""
    found = {"Double": [], "Single": []}
    for line in run(program, "fit", ROWS, COLUMNS, HEADS):
        precision, evaluations, seconds, value = re.match(r"(\w+), .* (\d+) evaluations: ([\d.]+) s, loss ([\d.-]+)", line).groups()
        found[precision].append((float(seconds), float(value), int(evaluations)))
    return found


def rates(program):
    """Exponentials and multiply-adds a second of one thread: the engine's own alone, and numpy's exponentials."""
    own = [float(x) for x in re.match(r"(\S+) exponentials and (\S+) multiply-adds", run(program, "floor", threads=1)[0]).groups()]
    x, out = -np.random.default_rng(1).uniform(0, 20, 1024), np.empty(1024)
    least = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(2000):
            np.exp(x, out=out)
        least = min(least, time.perf_counter() - begun)
    return *own, 2000 * 1024 / least


def forward(program):
    seconds = min(float(line.split("predictions ")[1].split(" ms")[0]) / 1e3
                  for _ in range(3) for line in run(program, "forward", ROWS, COLUMNS, HEADS, threads=1) if "predictions" in line)
    exponentials, products, numpy = rates(program)
    pairs = ROWS**2 * HEADS
    floor = pairs / exponentials + pairs * (COLUMNS + 1) / products
    return {"seconds": seconds, "floor": floor, "share": floor / seconds, "exponentials_a_second": exponentials,
            "exponentials_of_numpy": numpy, "multiply_adds_a_second": products}


def memory(program, count):
    """The most memory that a fit takes, in MiB."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    out = subprocess.run([sys.executable, "-c", code, program, "memory", str(count), str(COLUMNS), str(HEADS)], check=True, capture_output=True, text=True)
    return int(out.stdout.splitlines()[-1]) / 1024


def share(y, predicted):
    return 1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def peers(program):
    from metric_learn import MLKR
    from statsmodels.nonparametric.kernel_regression import KernelReg

    found = []
    for count in (500, 2000):
        x, y = rows(count + 1000)
        train, test = (x[:count], y[:count]), (x[count:], y[count:])
        line = {"rows": count}
        for text in run(program, "peers", count, COLUMNS):
            name, seconds, value = re.match(r"(.*): ([\d.]+) s, R² ([\d.-]+)", text).groups()
            line[name] = (float(seconds), float(value))
        begun = time.perf_counter()
        model = MLKR(init="identity", max_iter=1000).fit(*train)
        seconds = time.perf_counter() - begun
        keys, queries = model.transform(train[0]), model.transform(test[0])
        kernel = np.exp(-((queries[:, None] - keys[None]) ** 2).sum(-1))
        line["MLKR"] = (seconds, share(test[1], kernel @ train[1] / kernel.sum(1)))
        if count <= 500:
            begun = time.perf_counter()
            model = KernelReg(train[1], train[0], "c" * COLUMNS, reg_type="lc", bw="cv_ls")
            seconds = time.perf_counter() - begun
            line["KernelReg"] = (seconds, share(test[1], model.fit(test[0])[0]))
        found.append(line)
    return found


def main():
    program = sys.argv[1]
    torch.set_num_threads(THREADS)
    x, y = rows(ROWS)
    ours, theirs = hattention(program), pytorch(x, y, 4)
    per_theirs = theirs[-1][0] / theirs[-1][2]
    machine = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    meta = {"rows": ROWS, "columns": COLUMNS, "heads": HEADS, "threads": THREADS, "machine": machine, "torch": torch.__version__,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in PEERS}, "hattention": ours, "pytorch": theirs, "forward": forward(program),
            "mebibytes_of_20000_rows": memory(program, 20_000), "peers": peers(program)}
    text = [f"Attention regression, {machine}, {THREADS} threads.\n",
            f"As published, {ROWS} × {COLUMNS}, {HEADS} heads; PyTorch {torch.__version__} in single precision, full softmax.\n",
            "| loss | PyTorch, s | losses | hattention, single, s | losses | ratio | double, s | ratio |", "|---|---|---|---|---|---|---|---|"]
    for seconds, value, evaluations in theirs:
        reached = {name: next(((s, e) for s, v, e in runs if v <= value), None) for name, runs in ours.items()}
        if all(reached.values()):
            (single, own), (double, _) = reached["Single"], reached["Double"]
            text.append(f"| {value:.5f} | {seconds:.1f} | {evaluations} | {single:.2f} | {own} | {seconds / single:.1f} | {double:.2f} | {seconds / double:.1f} |")
    for name, runs in ours.items():
        per = statistics.median(s / e for s, _, e in runs if e > 20)
        meta[f"ratio_of_an_evaluation_{name.lower()}"] = per_theirs / per
        text.append(f"\nA loss with its slope in {name.lower()} precision: {1e3 * per:.1f} ms, PyTorch's in {per_theirs / per:.1f} times as much.")
    f = meta["forward"]
    text.append(f"\nAll rows predicted by all, one thread, doubles: {1e3 * f['seconds']:.0f} ms; the floor {1e3 * f['floor']:.0f} ms "
                f"({f['exponentials_a_second'] / 1e9:.2f}e9 exponentials, numpy's {f['exponentials_of_numpy'] / 1e9:.2f}e9, and {f['multiply_adds_a_second'] / 1e9:.1f}e9 "
                f"multiply-adds a second): **{100 * f['share']:.0f} %** of the floor's speed.")
    text.append("\nPeers: " + ", ".join(f"{name} {number}" for name, number in meta["versions"].items()) + ".")
    text.append(f"\nA fit of two steps with 20,000 rows takes {meta['mebibytes_of_20000_rows']:.0f} MiB in all.\n")
    text += ["| rows | what | seconds | R² of new rows |", "|---|---|---|---|"]
    for line in meta["peers"]:
        text += [f"| {line['rows']} | {name} | {value[0]:.2f} | {value[1]:.3f} |" for name, value in line.items() if name != "rows"]
    folder = Path(__file__).parent / "results"
    (folder / "attention_regression.json").write_text(json.dumps(meta, indent=1) + "\n")
    (folder / "attention_regression.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
