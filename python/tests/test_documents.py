"""The documents say what happens: the notebook runs, the examples in the code are right."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient


@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs(root: Path) -> None:
    notebook = nbformat.read(root / "python/docs/quickstart.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "commit the notebook without outputs"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(root)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("text/html" in output.get("data", {}) for output in shown) >= 3
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 4
    assert not any(output.get("name") == "stderr" for output in shown)


@pytest.mark.parametrize("module", ["_formula", "_states", "_estimator", "_attention", "_drift"])
def test_examples_in_the_code(module: str) -> None:
    found = doctest.testmod(import_module(f"hattention.{module}"))
    assert found.attempted > 0 and found.failed == 0


def test_every_public_name_has_a_document() -> None:
    import hattention

    for name in hattention.__all__:
        public = getattr(hattention, name)
        assert isinstance(public, str) or public.__doc__, name
        for member, value in vars(public).items() if isinstance(public, type) else []:
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert value.__doc__, f"{name}.{member}"


def test_the_recipes_of_the_document_are_those_tested(root: Path) -> None:
    document = (root / "docs/python.md").read_text()
    tests = (root / "python/tests/test_states.py").read_text()
    for line in ("parts = [dask.delayed(sum)(parts[at : at + 2]) for at in range(0, len(parts), 2)]", "state = sum(State.from_bytes(bytes(row.state)) for row in rows)"):
        assert line in document and line in tests
    assert os.path.exists(root / "python/docs/quickstart.ipynb")


def test_the_reference_is_that_of_the_docstrings(root: Path) -> None:
    made = subprocess.run(
        [sys.executable, root / "python/docs/api.py"], capture_output=True, text=True, check=True, cwd=root
    )
    assert (root / "docs/python-api.md").read_text() == made.stdout, "write it again, as its first lines say"
