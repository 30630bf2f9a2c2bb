"""Arrays to hand to an operation, and what watches over them."""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np

from gpunet.ops import Batch, Step

GUARD = 64
SENTINEL = 77


class Guarded:
    """A buffer to be written to, in the middle of a larger one, so that a write beyond its ends shows.

    It begins full of NaN (or of `SENTINEL`, for integers), so that a place left out shows as well.
    """

    def __init__(self, ops, shape, dtype=None) -> None:
        self._ops, self._length = ops, math.prod(shape)
        self._whole = ops.zeros(self._length + 2 * GUARD, dtype)
        self._whole[:] = SENTINEL
        self.array = self._whole[GUARD : GUARD + self._length].reshape(shape)
        if self.array.dtype.kind == "f":
            self.array[...] = math.nan

    def result(self) -> np.ndarray:
        """What was written, on the host, once it is certain that nothing was written elsewhere."""
        whole = self._ops.to_host(self._whole)
        assert (whole[:GUARD] == SENTINEL).all() and (whole[GUARD + self._length :] == SENTINEL).all()
        return self._ops.to_host(self.array)


@contextmanager
def unchanged(ops, *arrays):
    """The block changes no bit of these arrays."""
    before = [ops.to_host(array).tobytes() for array in arrays]
    yield
    for position, (array, bits) in enumerate(zip(arrays, before, strict=True)):
        assert ops.to_host(array).tobytes() == bits, f"argument {position} was written to"


def normal(ops, shape, seed, scale=1.0):
    """Standard normal numbers where the backend computes."""
    return ops.asarray(np.random.default_rng(seed).standard_normal(shape) * scale)


def exact(ops, array) -> np.ndarray:
    """An array in the longest floating type at hand, for references."""
    return ops.to_host(array).astype(np.longdouble)


def gathered_batch(ops, images, labels, rows) -> Batch:
    """A batch of host arrays: images [N, I], labels [N], rows [P, B]."""
    values, scale = ops.images(images)
    x, y = ops.gather_buffers(*rows.shape, images.shape[1])
    batch = Batch(values, ops.asarray(labels, np.int32), ops.asarray(rows, np.int32), scale, x, y)
    ops.gather(batch)
    return batch


def step_at(ops, epoch=0, index=0, per_epoch=1) -> Step:
    return Step(ops.asarray([epoch], np.int32), index, per_epoch)
