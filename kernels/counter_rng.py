"""Counter-based random numbers on the device: bit for bit those of `gpunet.counter_rng`, which explains them.

In compiled code ``uint32 * uint32`` is a 64-bit number, in NumPy and in the simulator it wraps around at 32 bits:
hence a cast after every operation that can exceed them.
"""

from numba import cuda, uint32

DROPOUT_STREAM = uint32(0x6D61736B)
SHUFFLE_STREAM = uint32(0x73687566)
AUGMENTATION_STREAM = uint32(0x77617270)
GOLDEN_RATIO = uint32(0x9E3779B9)
FEISTEL_ROUNDS = 4


@cuda.jit(device=True)
def mix(h):
    h = uint32(h ^ (h >> uint32(16)))
    h = uint32(h * uint32(0x7FEB352D))
    h = uint32(h ^ (h >> uint32(15)))
    h = uint32(h * uint32(0x846CA68B))
    return uint32(h ^ (h >> uint32(16)))


@cuda.jit(device=True)
def dropout_key(seed, step, layer):
    """The key of one network's mask for a step and the dense layer that reads the dropped input."""
    key = mix(uint32(seed ^ DROPOUT_STREAM))
    key = mix(uint32(key + step))
    return mix(uint32(key + layer))


@cuda.jit(device=True)
def dropout_row_key(key, row):
    return mix(uint32(key + row))


@cuda.jit(device=True)
def dropout_hash(row_key, column):
    """An element is dropped where this is below its network's threshold."""
    return mix(uint32(row_key + uint32(column * GOLDEN_RATIO)))


@cuda.jit(device=True)
def augmentation_key(seed, epoch):
    return mix(uint32(mix(uint32(seed ^ AUGMENTATION_STREAM)) + epoch))


@cuda.jit(device=True)
def augmentation_image_key(key, image):
    """image: the number of an image that is its own, whatever its row."""
    return mix(uint32(key + image))


@cuda.jit(device=True)
def augmentation_hash(image_key, draw):
    """draw: 0 of the angle, 1 of the size, 2 and 3 of the shifts."""
    return mix(uint32(image_key + uint32(draw * GOLDEN_RATIO)))


@cuda.jit(device=True)
def shuffle_key(seed, epoch):
    return mix(uint32(mix(uint32(seed ^ SHUFFLE_STREAM)) + epoch))


@cuda.jit(device=True)
def round_hash(h):
    h = uint32(h * uint32(0x7FEB352D))
    h = uint32(h ^ (h >> uint32(15)))
    h = uint32(h * uint32(0x846CA68B))
    return uint32(h >> uint32(16))


@cuda.jit(device=True)
def permuted(place, key, n, low_bits, low_mask, high_mask):
    """Where `place` (0..n-1) goes: Feistel rounds, walked again until the number is below n."""
    while True:
        high = uint32(place >> low_bits)
        low = uint32(place & low_mask)
        round_key = key
        for _ in range(FEISTEL_ROUNDS):
            round_key = uint32(round_key + GOLDEN_RATIO)
            high = uint32(high ^ (round_hash(uint32(low + round_key)) & high_mask))
            round_key = uint32(round_key + GOLDEN_RATIO)
            low = uint32(low ^ (round_hash(uint32(high + round_key)) & low_mask))
        place = uint32(uint32(high << low_bits) | low)
        if place < n:
            return place
