"""The order of rows in an epoch as a compiled loop: `gpunet.counter_rng.permutation`, number for number.

In compiled code the sum or product of two uint32 is a 64-bit number: hence a cast after every operation that can exceed
32 bits.
"""

from __future__ import annotations

from numba import njit, uint32

from gpunet.counter_rng import FEISTEL_ROUNDS, GOLDEN_RATIO
from gpunet.ops.jit_compile import loop


@loop
def shuffle(split_rows, key, table, out):
    """out = split_rows in the order of this key, a uint32. split_rows and out: ``[n]``.

    table: uint32, work memory for the permutation of the smallest power of two, 2^bits, that holds n.
    """
    bits = uint32(0)
    while 1 << bits < len(table):
        bits += uint32(1)
    low_bits = uint32((bits + 1) // 2)
    low_mask = uint32((1 << low_bits) - 1)
    high_mask = uint32((1 << (bits - low_bits)) - 1)
    for place in range(len(table)):
        table[place] = _feistel(uint32(place), key, low_bits, low_mask, high_mask)
    n = len(out)
    for i in range(n):
        place = table[i]
        while place >= n:  # cycle walking
            place = table[place]
        out[i] = split_rows[place]


@njit
def _feistel(place, key, low_bits, low_mask, high_mask):
    high, low, round_key = uint32(place >> low_bits), uint32(place & low_mask), key
    for _ in range(FEISTEL_ROUNDS):
        round_key = uint32(round_key + GOLDEN_RATIO)
        high = uint32(high ^ (_round_hash(uint32(low + round_key)) & high_mask))
        round_key = uint32(round_key + GOLDEN_RATIO)
        low = uint32(low ^ (_round_hash(uint32(high + round_key)) & low_mask))
    return uint32(uint32(high << low_bits) | low)


@njit
def _round_hash(h):
    h = uint32(h * uint32(0x7FEB352D))
    h = uint32(h ^ (h >> uint32(15)))
    h = uint32(h * uint32(0x846CA68B))
    return uint32(h >> uint32(16))
