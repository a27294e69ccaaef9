"""Files that are whole or absent."""

from __future__ import annotations

import os

__all__ = ["write"]


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that is whole or absent."""
    path = os.fspath(path)
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.remove(beside)
        raise
