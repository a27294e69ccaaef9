"""What the tests share: the repository's data, and the program `hat` where there is one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Scikit-learn leaves checks out without it; it must be said before scipy is there.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def flights() -> str:
    return str(ROOT / "data/flights.parquet")


@pytest.fixture(scope="session")
def hat() -> Callable[..., Any]:
    """Runs the program, and gives the JSON that it prints; with ``fails=True``, what it says on standard error."""
    program = os.environ.get("HAT")
    if program is None:
        pytest.skip("HAT names no program")

    def run(*arguments: str, fails: bool = False) -> Any:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT)
        if fails:
            assert done.returncode not in (0, 101), done
            return done.stderr
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
