"""Work memory that an operation needs for itself."""

from __future__ import annotations

import math

import numpy as np


class Scratch:
    """NumPy arrays by role and shape: made at the first request, handed out again at every later one.

    An array keeps nothing between operations; two arrays that one operation uses at a time have different roles.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple, np.ndarray] = {}

    def __call__(self, role: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        key = (role, shape, dtype)
        array = self._arrays.get(key)
        if array is None:
            array = self._arrays[key] = np.empty(shape, dtype)
        return array

    def row_starts(self, rows: tuple[int, ...], width: int) -> np.ndarray:
        """Where each row begins in a flat array of rows `width` wide: intp of shape `rows`. Read-only."""
        key = ("row_starts", rows, width)
        starts = self._arrays.get(key)
        if starts is None:
            starts = self._arrays[key] = np.arange(math.prod(rows), dtype=np.intp).reshape(rows) * width
            starts.flags.writeable = False
        return starts
