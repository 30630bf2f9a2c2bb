"""An epoch's images: each turned about its centre, resized and shifted, by inverse mapping and bilinear interpolation.

A pixel (x, y) of the result is read at

    source = centre + R(-angle) / size * (pixel - centre - shift)

between the four pixels around, outside of the image at its nearest edge. All arithmetic is on integers, coordinates in
16.16 fixed point and weights in units of 1/256, so every backend computes the same bytes.
"""

from __future__ import annotations

import numpy as np

from gpunet import counter_rng
from gpunet.ops.contract import Warp
from gpunet.ops.scratch import Scratch

ONE_BITS = 16  # behind the point
HALF = 1 << (ONE_BITS - 1)
DRAW_SHIFT = 22  # of a 32-bit hash the upper 10 bits, a column of the warp's table
PIXELS_AT_A_TIME = 32768  # so that the work arrays of so many stay in a core's second cache


def coefficients(warp: Warp, epoch: int) -> np.ndarray:
    """int32 ``[4, n]``: cosine / size, sine / size, and where the image's first pixel is read, x and y; in 16.16."""
    turn, size, shift_x, shift_y = counter_rng.augmentation_hash(warp.seed, epoch, warp.keys) >> np.uint32(DRAW_SHIFT)
    cosine, sine, inverse, shift = warp.table.astype(np.int64)
    a, b = _rounded(cosine[turn] * inverse[size]), _rounded(sine[turn] * inverse[size])
    centre = (warp.side - 1) * HALF
    to_x, to_y = centre + shift[shift_x], centre + shift[shift_y]
    base_x, base_y = centre - _rounded(a * to_x - b * to_y), centre - _rounded(b * to_x + a * to_y)
    return np.array([a, b, base_x, base_y], np.int32)


def augment(images: np.ndarray, warp: Warp, epoch: int, out: np.ndarray, scratch: Scratch) -> None:
    """The rows of the warp, and no others, of out. images and out: uint8 ``[N, side * side]``."""
    side = warp.side
    count = max(1, PIXELS_AT_A_TIME // (side * side))
    placed = coefficients(warp, epoch)
    for begin in range(0, len(warp.rows), count):
        part = slice(begin, begin + count)
        rows = warp.rows[part]
        sources = images[rows].reshape(-1, side, side)
        out[rows] = _warped(sources, placed[:, part, None, None], scratch).reshape(len(rows), -1)


def _warped(sources: np.ndarray, placed: np.ndarray, scratch: Scratch) -> np.ndarray:
    """sources: uint8 ``[n, side, side]``. placed: their `coefficients` ``[4, n, 1, 1]``. Returns uint8 like them."""
    shape, side = sources.shape, sources.shape[1]
    a, b, base_x, base_y = placed
    along = np.arange(side, dtype=np.int32)
    x, y, place = (scratch(role, shape, np.dtype(np.int32)) for role in ("x", "y", "place"))
    at = scratch("at", shape, np.dtype(np.intp))
    np.subtract(base_x + a * along, b * along[:, None], out=x)
    np.add(base_y + b * along, a * along[:, None], out=y)
    for coordinate in (x, y):
        np.maximum(coordinate, 0, out=coordinate)
        np.minimum(coordinate, (side - 1) << ONE_BITS, out=coordinate)
    np.right_shift(y, ONE_BITS, out=place)
    np.multiply(place, side, out=place)
    np.right_shift(x, ONE_BITS, out=at)
    np.add(at, place, out=at)
    np.add(at, scratch.row_starts(shape[:1], side * side)[:, None, None], out=at)
    around = four_around(sources, scratch).reshape(-1)
    around = around.take(at, out=scratch("around", shape, np.dtype(np.uint32)), mode="clip")  # quicker than "raise"
    for coordinate in (x, y):
        np.right_shift(coordinate, ONE_BITS - 8, out=coordinate)
        np.bitwise_and(coordinate, 255, out=coordinate)
    return _interpolated(around, x.view(np.uint32), y.view(np.uint32), scratch)


def four_around(sources: np.ndarray, scratch: Scratch) -> np.ndarray:
    """Of each pixel, in the bytes of a uint32 from the lowest: itself, its right neighbour, the one below, the one
    below that neighbour; beyond the edge, the edge. One look-up then fetches all four."""
    four = scratch("four", sources.shape, np.dtype(np.uint32))
    shifted = scratch("shifted", sources.shape, np.dtype(np.uint32))
    np.copyto(four, sources)
    np.left_shift(four[..., 1:], 8, out=shifted[..., :-1])
    np.left_shift(four[..., -1], 8, out=shifted[..., -1])
    np.bitwise_or(four, shifted, out=four)
    np.left_shift(four[:, 1:], 16, out=shifted[:, :-1])
    np.left_shift(four[:, -1], 16, out=shifted[:, -1])
    return np.bitwise_or(four, shifted, out=four)


def _interpolated(around: np.ndarray, x: np.ndarray, y: np.ndarray, scratch: Scratch) -> np.ndarray:
    """Between four bytes, by x and y of 0..255: along x for the upper and the lower pair at once, each in a half of a
    word, then along y. Everything uint32; around, x and y are overwritten."""
    left = np.bitwise_and(around, 0x00FF00FF, out=scratch("left", around.shape, around.dtype))
    right = np.right_shift(around, 8, out=around)
    np.bitwise_and(right, 0x00FF00FF, out=right)
    np.multiply(right, x, out=right)
    np.subtract(256, x, out=x)
    np.multiply(left, x, out=left)
    pairs = np.add(left, right, out=left)
    lower = np.right_shift(pairs, 16, out=right)
    upper = np.bitwise_and(pairs, 0xFFFF, out=pairs)
    np.multiply(lower, y, out=lower)
    np.subtract(256, y, out=y)
    np.multiply(upper, y, out=upper)
    np.add(upper, lower, out=upper)
    np.add(upper, HALF, out=upper)
    np.right_shift(upper, ONE_BITS, out=upper)
    return upper.astype(np.uint8)


def _rounded(product: np.ndarray) -> np.ndarray:
    """A product of two 16.16 numbers as another."""
    return (product + HALF) >> ONE_BITS
