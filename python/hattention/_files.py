"""Files that are whole or absent; `~` in their paths is the home folder."""

from __future__ import annotations

import os

__all__ = ["read", "write"]


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file."""
    with open(os.path.expanduser(path), "rb") as file:
        return file.read()


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that is whole or absent."""
    path = os.path.expanduser(os.fspath(path))
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.remove(beside)
        raise
