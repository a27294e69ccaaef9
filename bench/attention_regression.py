"""Attention regression in PyTorch: the published kind of code, full N × N softmax and L-BFGS, beside hattention in one run.

    cargo build --release --example attention_regression_speed
    RAYON_NUM_THREADS=2 OMP_NUM_THREADS=2 python3 bench/attention_regression.py target/release/examples/attention_regression_speed [ROWS]

Writes bench/results/attention_regression.json and .md. Needs numpy and torch (CPU). Both fit the same rows (made by the same generator)
by the published recipe: five heads of inner products that read all rows, squares penalised by 1e-3, coefficients searched from 1/5, from
the same kind of start; single precision in PyTorch as published, doubles in hattention. Compared is the time to a loss that both reach.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

COLUMNS, HEADS, PENALTY = 5, 5, 1e-3


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
    y = signal + 0.7 * noise
    return x.T.copy(), (y - y.mean()) / y.std()


def fit(x, y, rounds, dtype=torch.float32):
    """Seconds and losses after every round of 20 inner steps."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)
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

    with torch.no_grad():
        trace = [(0.0, float(loss()), 0)]
    begun = time.perf_counter()
    for _ in range(rounds):
        search.step(closure)
        seconds = time.perf_counter() - begun
        with torch.no_grad():
            trace.append((seconds, float(loss()), evaluations))
    return trace


def hattention(program, count):
    """Seconds and losses after some numbers of steps."""
    out = subprocess.run([program, "fit", str(count), str(COLUMNS), str(HEADS)], check=True, capture_output=True, text=True).stdout
    found = []
    for line in out.splitlines():
        steps, rest = line.split(" steps, ")
        evaluations, rest = rest.split(" evaluations: ")
        seconds, value = rest.split(" s, loss ")
        found.append((float(seconds), float(value), int(evaluations)))
    return found


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    threads = int(os.environ.get("RAYON_NUM_THREADS", "2"))
    torch.set_num_threads(threads)
    x, y = rows(count)
    ours, theirs = hattention(program, count), fit(x, y, 4)
    # Of the losses PyTorch reached, the last that hattention reached too; the first of our runs that is as low.
    reached = [(seconds, value) for seconds, value, _ in theirs[1:] if value >= min(v for _, v, _ in ours)]
    seconds, value = reached[-1]
    own = min(s for s, v, _ in ours if v <= value)
    per_evaluation = theirs[-1][0] / theirs[-1][2] / statistics.median(s / e for s, _, e in ours if e > 5)
    machine = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    meta = {"rows": count, "columns": COLUMNS, "heads": HEADS, "threads": threads, "machine": machine, "torch": torch.__version__,
            "python": platform.python_version(), "hattention": ours, "pytorch": theirs, "loss": value, "seconds_pytorch": seconds,
            "seconds_hattention": own, "ratio": seconds / own, "ratio_of_an_evaluation": per_evaluation}
    text = (f"Attention regression as published, {count} × {COLUMNS}, {HEADS} heads, {threads} threads ({machine}); PyTorch {torch.__version__} in "
            f"single precision, hattention in doubles.\n\nTo a loss of {value:.6f}: PyTorch {seconds:.1f} s, hattention {own:.2f} s, **{seconds / own:.1f} times**; "
            f"a loss with its slope {per_evaluation:.1f} times.\n")
    folder = Path(__file__).parent / "results"
    (folder / "attention_regression.json").write_text(json.dumps(meta, indent=1) + "\n")
    (folder / "attention_regression.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
