"""An epoch's images as compiled loops: byte for byte those of `gpunet.ops.numpy_augment`, which explains them.

Of loops that are arithmetic alone LLVM makes vector instructions, which it cannot where pixels are looked up: so these
are loops apart, with 32-bit integers throughout, as which the casts keep them.
"""

from __future__ import annotations

import numpy as np
from numba import int32, njit, uint8, uint32, uintp

from gpunet.ops.jit_compile import loop
from gpunet.ops.numpy_augment import HALF, ONE_BITS

WEIGHT = 256
FRACTION_SHIFT = ONE_BITS - 8


@loop
def augment(images, rows, coefficients, side, out):
    """The given rows, and no others, of out. images and out: uint8 ``[N, side * side]``. rows: int32 ``[n]``.

    coefficients: int32 ``[4, n]``, see `numpy_augment.coefficients`.
    """
    x, y = np.empty(side, np.int32), np.empty(side, np.int32)
    four, around = np.empty((side, side), np.uint32), np.empty(side, np.uint32)
    limit = int32((side - 1) << ONE_BITS)
    for i in range(len(rows)):
        changed = out[rows[i]].reshape(side, side)
        _put_together(images[rows[i]].reshape(side, side), four)
        a, b, base_x, base_y = coefficients[:, i]
        for row in range(side):
            _place(int32(base_x - b * row), a, limit, x)
            _place(int32(base_y + a * row), b, limit, y)
            _look_up(four, x, y, around)
            _interpolate(around, x, y, changed[row])


@njit
def _put_together(image, four):
    """See `numpy_augment.four_around`."""
    last = len(image) - 1
    for row in range(last + 1):
        upper, lower, words = image[row], image[min(row + 1, last)], four[row]
        for column in range(last):
            left = uint32(upper[column] | (uint32(lower[column]) << uint32(16)))
            right = uint32(upper[column + 1] | (uint32(lower[column + 1]) << uint32(16)))
            words[column] = uint32(left | uint32(right << uint32(8)))
        edge = uint32(upper[last] | (uint32(lower[last]) << uint32(16)))
        words[last] = uint32(edge | uint32(edge << uint32(8)))


@njit
def _place(first, step, limit, out):
    """Where a row of pixels is read, x or y, within the image."""
    for pixel in range(len(out)):
        out[pixel] = int32(min(max(int32(first + int32(step * int32(pixel))), int32(0)), limit))


@njit
def _look_up(four, x, y, around):
    for pixel in range(len(around)):
        around[pixel] = four[uintp(y[pixel] >> ONE_BITS), uintp(x[pixel] >> ONE_BITS)]


@njit
def _interpolate(around, x, y, out):
    for pixel in range(len(out)):
        of_right = uint32((x[pixel] >> FRACTION_SHIFT) & (WEIGHT - 1))
        of_lower = uint32((y[pixel] >> FRACTION_SHIFT) & (WEIGHT - 1))
        lefts = uint32(around[pixel] & uint32(0x00FF00FF))
        rights = uint32(uint32(around[pixel] >> uint32(8)) & uint32(0x00FF00FF))
        pairs = uint32(uint32(lefts * uint32(WEIGHT - of_right)) + uint32(rights * of_right))
        upper, lower = uint32(pairs & uint32(0xFFFF)), uint32(pairs >> uint32(16))
        value = uint32(uint32(upper * uint32(WEIGHT - of_lower)) + uint32(lower * of_lower))
        out[pixel] = uint8(uint32(value + uint32(HALF)) >> uint32(ONE_BITS))
