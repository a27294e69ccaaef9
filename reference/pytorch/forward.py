"""The snippet of docs/transformer.md in PyTorch, on flights that the model has not seen.

Needs torch, safetensors and numpy, and the program built; writes forward.json beside itself:
    HAT=target/release/hat python reference/pytorch/forward.py
"""

import json
import os
import platform
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import safetensors
import torch

ROOT = Path(__file__).resolve().parents[2]
HAT = os.environ.get("HAT", str(ROOT / "target/release/hat"))
FLIGHTS = ROOT / "data/flights.parquet"
FORMULA = "arr_delay ~ dep_delay + distance + hour + carrier + origin"
TRAIN = "SELECT * FROM flights WHERE month <= 11"
FRESH = "SELECT * FROM flights WHERE month = 12"


def hat(*arguments):
    subprocess.run([HAT, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def table(path):
    rows = np.genfromtxt(path, delimiter=",", skip_header=1, ndmin=2)
    return rows[~np.isnan(rows).any(axis=1)]


def main():
    text = (ROOT / "docs/transformer.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.S)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        hat("fit", FORMULA, FLIGHTS, "--sql", TRAIN, "-o", "m.hat")
        hat("transformer", "build", "m.hat", "--heads", 4, "-o", "w.safetensors")
        hat("transformer", "forward", "w.safetensors", FLIGHTS, "--sql", FRESH, "--inputs", "x.csv", "-o", "y.csv")
        hat("predict", "m.hat", FLIGHTS, "--sql", FRESH, "-o", "p.csv")
        x, expected = table("x.csv"), table("p.csv")[:, 1]
        space = {}
        exec(snippet, space)
        got = space["forward"](torch.from_numpy(x))[:, 0].numpy()
    gap, spread = np.abs(got - expected), expected.std()
    result = {
        "meta": {
            "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "safetensors": safetensors.__version__, "formula": FORMULA, "trained_on": TRAIN, "predicted": FRESH,
        },
        "snippet_lines": len([line for line in snippet.splitlines() if line.strip()]),
        "rows": len(got),
        "spread": float(spread),
        "max_error": float(gap.max()),
        "max_error_over_spread": float(gap.max() / spread),
        "rms_error_over_spread": float(np.sqrt((gap**2).mean()) / spread),
    }
    assert result["max_error_over_spread"] <= 1e-12, result
    Path(__file__).with_name("forward.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
