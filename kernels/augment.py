"""An epoch's images: each turned about its centre, resized and shifted, by inverse mapping and bilinear interpolation.

    source = centre + R(-angle) / size * (pixel - centre - shift)
    out[row, pixel] = images[row] at source, between the four pixels around; outside, at the nearest edge

images and out: bytes in rows of whole words. Bytes moved: 2 * side * side an image, each once from memory.
The angle, the size and the shifts are hashes of seed, epoch and image (`counter_rng.augmentation_hash`), which a table
turns into 16.16 fixed-point numbers. All arithmetic is on integers, so the bytes are NumPy's. Fused: the draws, the
coordinates and the interpolation; nothing is stored but the images.

A warp takes an image, its lanes neighbouring words of four pixels. So what lanes read and write lies side by side, and
the draws and the coefficients, which each lane computes for itself, serve all its words, six or seven at 28 x 28.
"""

from typing import Any

from numba import cuda, int32, int64, types, uint32

from gpunet.kernels.counter_rng import augmentation_hash, augmentation_image_key, augmentation_key
from gpunet.kernels.launch import ReportCase, ceil_div, enqueue, jit

WARP = 32
IMAGES = 4  # a block
THREADS = IMAGES * WARP
DRAWS = uint32(1024)  # columns of the table
DRAW_SHIFT = uint32(22)  # from a hash to a column
COSINE, SINE, INVERSE, SHIFT = uint32(0), uint32(1), uint32(2), uint32(3)  # rows of the table
HALF = int64(1 << 15)  # in 16.16, where one is 1 << 16
BYTES = 4  # in a word


@cuda.jit(device=True)
def product(a, b):
    """Of two 16.16 numbers, rounded to another."""
    return (int64(a) * int64(b) + HALF) >> int64(16)


@cuda.jit(device=True)
def drawn(table, row, image_key, draw):
    """One of the table's numbers."""
    column = uint32(augmentation_hash(image_key, draw) >> DRAW_SHIFT)
    return table[uint32(row * DRAWS + column)]


@cuda.jit(device=True)
def pair(images, upper, lower):
    """Two bytes, each in a half of a word."""
    return uint32(uint32(images[upper]) | uint32(uint32(images[lower]) << uint32(16)))


@cuda.jit(device=True)
def interpolated(images, first, side, x, y):
    """The image whose bytes begin at `first`, between pixels: x and y int32 in 16.16, within the image."""
    column = uint32(x >> int32(16))
    row = uint32(y >> int32(16))
    right = uint32(min(uint32(column + uint32(1)), uint32(side - uint32(1))))
    below = uint32(min(uint32(row + uint32(1)), uint32(side - uint32(1))))
    upper = uint32(first + uint32(row * side))
    lower = uint32(first + uint32(below * side))
    # Along x for the upper and the lower pair at once, each in a half of a word: 255 * 256 fits in sixteen bits.
    lefts = pair(images, uint32(upper + column), uint32(lower + column))
    rights = pair(images, uint32(upper + right), uint32(lower + right))
    of_right = uint32(uint32(x >> int32(8)) & uint32(255))
    of_lower = uint32(uint32(y >> int32(8)) & uint32(255))
    pairs = uint32(uint32(lefts * uint32(uint32(256) - of_right)) + uint32(rights * of_right))
    value = uint32(uint32(pairs & uint32(0xFFFF)) * uint32(uint32(256) - of_lower))
    value = uint32(value + uint32(uint32(pairs >> uint32(16)) * of_lower))
    return uint32(uint32(value + uint32(1 << 15)) >> uint32(16))


@jit
def augment_kernel(images, table, keys, rows, epoch, out, seed, count, side, words):
    t = uint32(cuda.threadIdx.x)
    image = uint32(uint32(cuda.blockIdx.x * IMAGES) + t // uint32(WARP))
    if image < count:
        image_key = augmentation_image_key(augmentation_key(seed, uint32(epoch[0])), keys[image])
        column = uint32(augmentation_hash(image_key, uint32(0)) >> DRAW_SHIFT)
        inverse = drawn(table, INVERSE, image_key, uint32(1))
        a = int32(product(table[uint32(COSINE * DRAWS + column)], inverse))
        b = int32(product(table[uint32(SINE * DRAWS + column)], inverse))
        centre = int64(side - uint32(1)) * HALF
        to_x = centre + int64(drawn(table, SHIFT, image_key, uint32(2)))
        to_y = centre + int64(drawn(table, SHIFT, image_key, uint32(3)))
        base_x = int32(centre - ((int64(a) * to_x - int64(b) * to_y + HALF) >> int64(16)))
        base_y = int32(centre - ((int64(b) * to_x + int64(a) * to_y + HALF) >> int64(16)))
        limit = int32(int32(side - uint32(1)) << int32(16))
        pixels = uint32(side * side)
        begin = uint32(uint32(rows[image]) * words)
        word = uint32(t % uint32(WARP))
        while word < words:
            pixel = uint32(word * uint32(BYTES))
            row = uint32(pixel // side)
            column = uint32(pixel - uint32(row * side))
            packed = uint32(0)
            for byte in range(BYTES):
                x = int32(base_x + int32(int32(a * int32(column)) - int32(b * int32(row))))
                y = int32(base_y + int32(int32(b * int32(column)) + int32(a * int32(row))))
                x = int32(min(max(x, int32(0)), limit))
                y = int32(min(max(y, int32(0)), limit))
                if uint32(pixel + uint32(byte)) < pixels:  # what pads a row stays zero
                    value = interpolated(images, uint32(begin * uint32(BYTES)), side, x, y)
                    packed = uint32(packed | uint32(value << uint32(8 * byte)))
                column = uint32(column + uint32(1))
                if column == side:
                    column = uint32(0)
                    row = uint32(row + uint32(1))
            out[uint32(begin + word)] = packed
            word = uint32(word + uint32(WARP))


def augment(
    images: Any,
    table: Any,
    keys: Any,
    rows: Any,
    epoch: Any,
    out: Any,
    *,
    seed: int,
    count: int,
    side: int,
    stream: Any = 0,
) -> None:
    """images: uint8 ``[N, 4 * words]``, words = ceil(side * side / 4). table: int32 ``[4, 1024]``. keys: uint32
    ``[count]``. rows: int32 ``[count]``. epoch: int32 ``[1]``. out: uint32 ``[N, words]``."""
    words = ceil_div(side * side, BYTES)
    sizes = uint32(seed), uint32(count), uint32(side), uint32(words)
    enqueue(augment_kernel, ceil_div(count, IMAGES), THREADS, (images, table, keys, rows, epoch, out, *sizes), stream)


def report_cases() -> list[ReportCase]:
    bytes_, integers, words = (types.Array(element, 1, "C") for element in (types.uint8, types.int32, types.uint32))
    signature = (bytes_, integers, words, integers, integers, words) + (types.uint32,) * 4
    return [ReportCase("augment", augment_kernel, signature, THREADS)]
