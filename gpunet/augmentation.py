"""Data augmentation: every image of every epoch turned, shifted and resized a little, by amounts of its own.

An epoch's images are the data set's, not a network's: they follow from the augmentation's seed, the epoch and the image
itself, so that a network alone, in a population or among many seeds is shown the same ones.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpunet.errors import InputError

if TYPE_CHECKING:
    import numpy as np

ONE = 1 << 16  # in the 16.16 fixed-point numbers of `warp_table`
DRAW_BITS = 10
DRAWS = 1 << DRAW_BITS  # values that an angle, a size or a shift can have

# So that every coordinate fits in 32 bits: an image's side and a shift beyond its edge, over the smallest size.
LARGEST_ROTATION = 180.0
LARGEST_SHIFT = 100.0
LARGEST_SCALE = 0.9
LARGEST_SIDE = 1024


@dataclass(frozen=True)
class Augmentation:
    """How far a training image may be changed; the angle, the size and both shifts are drawn uniformly.

    rotation: the largest angle in degrees, to either side, 0 to 180. shift: the largest number of pixels, in each
    direction, 0 to 100; not only whole ones are drawn. scale: the largest relative change of size, 0 to 0.9: 0.1 means
    90 % to 110 %. seed: of the draws, 0..2^32-1; it has nothing to do with the networks'.

    Raises `InputError` for values out of range.

    >>> augmentation = Augmentation(rotation=10, shift=2, scale=0.1)
    >>> print(augmentation)
    rotation 10, shift 2, scale 0.1
    >>> Augmentation(rotation=200, shift=2, scale=0.1)
    Traceback (most recent call last):
    gpunet.errors.InputError: the augmentation's rotation must be from 0 to 180 degrees, not 200
    """

    rotation: float
    shift: float
    scale: float
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {"rotation": LARGEST_ROTATION, "shift": LARGEST_SHIFT, "scale": LARGEST_SCALE}
        units = {"rotation": " degrees", "shift": " pixels", "scale": ""}
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) <= limit:
                raise InputError(
                    f"the augmentation's {name} must be from 0 to {limit:g}{units[name]}, not {getattr(self, name)}"
                )
        if not hasattr(self.seed, "__index__") or not 0 <= self.seed < 2**32:  # a whole number, NumPy's included
            raise InputError(f"the augmentation's seed must be a whole number from 0 to {2**32 - 1}, not {self.seed!r}")

    def __str__(self) -> str:
        text = f"rotation {self.rotation:g}, shift {self.shift:g}, scale {self.scale:g}"
        return text + (f", seed {self.seed}" if self.seed else "")

    @property
    def changes_nothing(self) -> bool:
        return self.rotation == self.shift == self.scale == 0


def warp_table(augmentation: Augmentation) -> list[list[int]]:
    """What a draw of 0..`DRAWS` - 1 means, in 16.16 fixed point, `ONE` being 1: cosines, sines, 1 / size and shifts in
    pixels, each of them `DRAWS` long, from the lower limit to the upper one in equal steps.

    Made once on the host, and integers from here on, so that every backend gets the same bytes.
    """
    places = [2 * draw / (DRAWS - 1) - 1 for draw in range(DRAWS)]
    angles = [math.radians(augmentation.rotation) * place for place in places]
    return [
        [round(ONE * math.cos(angle)) for angle in angles],
        [round(ONE * math.sin(angle)) for angle in angles],
        [round(ONE / (1 + augmentation.scale * place)) for place in places],
        [round(ONE * augmentation.shift * place) for place in places],
    ]


def image_keys(images: np.ndarray) -> list[int]:
    """A number for each image, uint8 ``[n, I]``, by which its draws are told from those of others: the CRC-32 of its
    bytes.

    Not its row, which changes where a data set is cut to fewer images; equal images are drawn alike.
    """
    return [zlib.crc32(image.tobytes()) for image in images]


def square_side(images: np.ndarray) -> int:
    """The side of square images, uint8 ``[n, side * side]``. Raises `InputError` for any others."""
    pixels = images.shape[1]
    side = math.isqrt(pixels)
    if images.dtype != "uint8":
        raise InputError(f"augmentation needs images of uint8 (0 to 255), not {images.dtype}: convert them")
    if side * side != pixels or side > LARGEST_SIDE:
        raise InputError(
            f"augmentation needs square images of at most {LARGEST_SIDE} pixels a side, not of {pixels} pixels in all"
        )
    return side
