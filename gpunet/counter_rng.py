"""Random numbers without a generator's state: a hash of *what the number is for* (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3").

The dropout mask of one element and the place of one row in an epoch each depend on nothing but a few integers, so NumPy
and a GPU thread draw the same ones, in any order, at any time, as often as they are needed.
Everything here is arithmetic on 32-bit unsigned integers, which wraps around alike on both.
"""

from __future__ import annotations

import numpy as np

# Two purposes must never share a stream of numbers, even under one seed and step.
DROPOUT_STREAM = 0x6D61736B
SHUFFLE_STREAM = 0x73687566
AUGMENTATION_STREAM = 0x77617270

GOLDEN_RATIO = 0x9E3779B9  # 2^32 / golden ratio, odd: steps of it visit all 32-bit integers
FEISTEL_ROUNDS = 4


def mix(h: np.ndarray) -> np.ndarray:
    """Hash uint32 values so that each input bit flips each output bit about half of the time, in place.

    The shifts and multipliers are Wellons' ``lowbias32`` (nullprogram.com, "Prospecting for Hash Functions", 2018),
    a bijection on 32 bits.
    """
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    h ^= h >> np.uint32(16)
    return h


def stream_key(seeds: np.ndarray, stream: int, *counters: int) -> np.ndarray:
    """One uint32 key a network: a hash of its seed, the stream's name and counters such as epoch, step or layer.

    seeds: uint32 ``[P]``. Returns uint32 ``[P]``.
    """
    key = mix(seeds ^ np.uint32(stream))
    for counter in counters:
        key += np.uint32(counter & 0xFFFFFFFF)
        key = mix(key)
    return key


def dropout_threshold(rate: float) -> int:
    """The uint32 below which a hash drops its element, so that a share `rate` (0 <= rate < 1) is dropped."""
    return min(round(rate * 2.0**32), 2**32 - 1)


def dropout_hash(seeds: np.ndarray, step: int, layer: int, rows: int, columns: int) -> np.ndarray:
    """The hashes that decide which elements of a layer's input are dropped: uint32 ``[P, rows, columns]``.

    An element is dropped where its hash is below `dropout_threshold(rate)`. `step` counts over the whole run, `layer`
    is the index of the dense layer that reads the input, rows are counted within the batch.
    """
    key = stream_key(seeds, DROPOUT_STREAM, step, layer)
    row_keys = mix(key[:, None] + np.arange(rows, dtype=np.uint32))
    column_steps = np.arange(columns, dtype=np.uint32) * np.uint32(GOLDEN_RATIO)
    return mix(row_keys[:, :, None] + column_steps)


def augmentation_hash(seed: int, epoch: int, keys: np.ndarray) -> np.ndarray:
    """The hashes from which an epoch's changes of images follow: uint32 ``[4, n]``, of angle, size and both shifts.

    keys: uint32 ``[n]``, one an image (`gpunet.augmentation.image_keys`).
    """
    key = stream_key(np.array([seed], np.uint32), AUGMENTATION_STREAM, epoch)
    image_keys = mix(key + keys)
    draws = np.arange(4, dtype=np.uint32) * np.uint32(GOLDEN_RATIO)
    return mix(image_keys + draws[:, None])


def permutation(seeds: np.ndarray, epoch: int, n: int) -> np.ndarray:
    """A permutation of 0..n-1 for each network and epoch: int32 ``[P, n]``, seeds uint32 ``[P]``.

    A Feistel network (Luby & Rackoff 1988) permutes the smallest power of two that holds n; a number that lands at n or
    beyond is permuted again until it does not ("cycle walking", Black & Rogaway 2002), which keeps it a bijection.
    Fewer than half of the numbers need another walk.
    """
    bits = (n - 1).bit_length()
    table = _feistel(stream_key(seeds, SHUFFLE_STREAM, epoch), bits)
    place = table[:, :n].copy()
    while (outside := place >= n).any():
        network, column = outside.nonzero()
        place[outside] = table[network, place[network, column]]
    return place.view(np.int32)


def _feistel(keys: np.ndarray, bits: int) -> np.ndarray:
    """Permute 0..2^bits-1 under each key: uint32 ``[P, 2^bits]``. bits <= 32, keys uint32 ``[P]``.

    Each half in turn is xored with a hash of the other, so that every half round can be undone.
    """
    low_bits = (bits + 1) // 2
    low_mask, high_mask = np.uint32((1 << low_bits) - 1), np.uint32((1 << (bits - low_bits)) - 1)
    place = np.tile(np.arange(1 << bits, dtype=np.uint32), (len(keys), 1))
    high, low = place >> np.uint32(low_bits), place & low_mask
    round_key = keys[:, None]
    for _ in range(FEISTEL_ROUNDS):
        round_key = round_key + np.uint32(GOLDEN_RATIO)
        high ^= _round_hash(low + round_key) & high_mask
        round_key = round_key + np.uint32(GOLDEN_RATIO)
        low ^= _round_hash(high + round_key) & low_mask
    return (high << np.uint32(low_bits)) | low


def _round_hash(h: np.ndarray) -> np.ndarray:
    """A cheaper `mix`, in place: a Feistel round uses at most 16 bits of it, so the best-mixed upper ones will do."""
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    h >>= np.uint32(16)
    return h
