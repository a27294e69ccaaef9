"""Arrays as the compiled part reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["matrix", "plain", "target_names"]


def plain(array: Any) -> Any:
    """An array as the compiled part reads it: the same one, unless its strides are negative, zero or crooked."""
    ahead = all(stride > 0 or length < 2 for stride, length in zip(array.strides, array.shape, strict=True))
    even = all(stride % 8 == 0 for stride in array.strides)
    return array if ahead and even and array.flags.aligned else np.ascontiguousarray(array)


def matrix(y: Any) -> Any:
    return y[:, None] if y.ndim == 1 else y


def target_names(y: Any) -> list[str]:
    return ["y"] if y.ndim == 1 else [f"y{at}" for at in range(y.shape[1])]
