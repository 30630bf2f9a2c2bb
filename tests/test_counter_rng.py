"""Counter-based random numbers: what a kernel can compute with 32-bit integers, one number at a time, and how random it
is. All seeds are fixed, so that a threshold of so many standard deviations is met or not, today as tomorrow."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpunet import counter_rng
from gpunet.counter_rng import dropout_hash, dropout_threshold, permutation

MASK = 0xFFFFFFFF
SIGMAS = 4.5  # about 7 in a million, for each test


def uint32(*seeds):
    return np.array(seeds, np.uint32)


# The scalar form, as a GPU thread would write it. Nothing is taken from the module under test.


def scalar_mix(h):
    h ^= h >> 16
    h = h * 0x7FEB352D & MASK
    h ^= h >> 15
    h = h * 0x846CA68B & MASK
    return h ^ h >> 16


def scalar_key(seed, stream, *counters):
    key = scalar_mix(seed ^ stream)
    for counter in counters:
        key = scalar_mix(key + counter & MASK)
    return key


def scalar_dropout_hash(seed, step, layer, row, column):
    row_key = scalar_mix(scalar_key(seed, 0x6D61736B, step, layer) + row & MASK)
    return scalar_mix(row_key + (column * 0x9E3779B9 & MASK) & MASK)


def scalar_permuted(seed, epoch, n, place):
    bits = (n - 1).bit_length()
    low_bits = (bits + 1) // 2
    low_mask, high_mask = (1 << low_bits) - 1, (1 << bits - low_bits) - 1
    key = scalar_key(seed, 0x73687566, epoch)
    while True:
        high, low = place >> low_bits, place & low_mask
        round_key = key
        for _ in range(4):
            round_key = round_key + 0x9E3779B9 & MASK
            high ^= scalar_round(low + round_key & MASK) & high_mask
            round_key = round_key + 0x9E3779B9 & MASK
            low ^= scalar_round(high + round_key & MASK) & low_mask
        place = high << low_bits | low
        if place < n:
            return place


def scalar_round(h):
    h = h * 0x7FEB352D & MASK
    h ^= h >> 15
    return (h * 0x846CA68B & MASK) >> 16


SEEDS = (0, 1, 2, 12345, 2**31, 2**32 - 1)


def test_mix_equals_its_scalar_form_and_writes_in_place():
    values = uint32(*SEEDS)
    mixed = values.copy()
    assert counter_rng.mix(mixed) is mixed
    assert mixed.tolist() == [scalar_mix(value) for value in SEEDS]


def test_stream_key_leaves_the_seeds_alone_and_tells_streams_and_counters_apart():
    seeds = uint32(*SEEDS)
    keys = counter_rng.stream_key(seeds, counter_rng.SHUFFLE_STREAM, 3, 2**32 + 5)
    assert seeds.tolist() == list(SEEDS)
    assert keys.tolist() == [scalar_key(seed, 0x73687566, 3, 5) for seed in SEEDS]  # counters wrap at 2^32
    assert not (keys == counter_rng.stream_key(seeds, counter_rng.DROPOUT_STREAM, 3, 5)).any()
    assert not (keys == counter_rng.stream_key(seeds, counter_rng.SHUFFLE_STREAM, 5, 3)).any()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 9, 31, 32, 33, 300])
def test_permutation_equals_its_scalar_form(n):
    order = permutation(uint32(*SEEDS), 7, n)
    assert order.dtype == np.int32
    assert order.tolist() == [[scalar_permuted(seed, 7, n, place) for place in range(n)] for seed in SEEDS]


def test_permutation_of_5000_equals_its_scalar_form():
    order = permutation(uint32(9), 2, 5000)[0]
    places = [*range(0, 5000, 97), 4999]
    assert order[places].tolist() == [scalar_permuted(9, 2, 5000, place) for place in places]


@pytest.mark.parametrize("n", [*range(1, 301), 5000])
def test_permutation_is_a_bijection(n):
    for epoch in (0, 1, 2**31 - 1):
        order = permutation(uint32(*SEEDS), epoch, n)
        np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(n), (len(SEEDS), 1)))


def test_permutation_of_a_network_does_not_depend_on_its_neighbours():
    together = permutation(uint32(*SEEDS), 3, 100)
    for order, seed in zip(together, SEEDS, strict=True):
        np.testing.assert_array_equal(order, permutation(uint32(seed), 3, 100)[0])


def test_permutation_differs_between_seeds_and_epochs():
    orders = np.concatenate([permutation(np.arange(50, dtype=np.uint32), epoch, 100) for epoch in range(20)])
    assert len(np.unique(orders, axis=0)) == 1000


def correlations(left, right):
    """The rank correlation of each pair of rows, each a permutation of 0..n-1, in units of its standard deviation."""
    n = left.shape[1]
    centred = (left - (n - 1) / 2) * (right - (n - 1) / 2)
    return centred.sum(axis=1) / (n * (n * n - 1) / 12) * math.sqrt(n - 1)


def assert_standard(scores):
    """Independent scores with mean 0 and variance 1, as far as their mean and mean square can tell."""
    assert abs(scores.mean()) * math.sqrt(len(scores)) < SIGMAS
    # The square of a rank correlation varies a little less than a normal number's, whose variance is 2.
    assert abs((scores**2).mean() - 1) * math.sqrt(len(scores) / 2) < SIGMAS


@pytest.mark.parametrize(("n", "seeds"), [(12, 20000), (13, 20000), (100, 4000), (800, 500), (5000, 200)])
def test_permutation_leaves_no_rank_correlation(n, seeds):
    seeds = np.arange(seeds, dtype=np.uint32)
    order, next_epoch = permutation(seeds, 0, n), permutation(seeds, 1, n)
    assert_standard(correlations(order, np.broadcast_to(np.arange(n), order.shape)))  # with the order of the rows
    assert_standard(correlations(order, next_epoch))  # with the epoch before
    assert_standard(correlations(order[:-1:2], order[1::2]))  # with the neighbouring seed
    inverse = np.argsort(order, axis=1)
    assert_standard(correlations(inverse[:-1:2], inverse[1::2]))


@pytest.mark.parametrize(("n", "seeds"), [(100, 4000), (800, 500), (5000, 200)])
def test_permutation_leaves_no_runs(n, seeds):
    """A row's successor in the order is not nearer to it than chance has it: the share of ascents, n + 1 / 12 varied
    (the Eulerian numbers' variance)."""
    order = permutation(np.arange(seeds, dtype=np.uint32), 0, n)
    ascents = (np.diff(order, axis=1) > 0).sum(axis=1)
    assert_standard((ascents - (n - 1) / 2) / math.sqrt((n + 1) / 12))


@pytest.mark.parametrize(("n", "seeds", "bins"), [(12, 20000, 12), (13, 20000, 13), (100, 4000, 20), (5000, 200, 25)])
def test_permutation_puts_every_row_everywhere_alike(n, seeds, bins):
    """Chi-square of the table (bin of the place, bin of the row), which has (bins - 1)^2 degrees of freedom."""
    order = permutation(np.arange(seeds, dtype=np.uint32), 0, n)
    place = np.broadcast_to(np.arange(n) * bins // n, order.shape)
    table = np.bincount((place * bins + order * bins // n).ravel(), minlength=bins * bins).reshape(bins, bins)
    sizes = np.bincount(np.arange(n) * bins // n)
    expected = seeds * np.outer(sizes, sizes) / n
    degrees = (bins - 1) ** 2
    # A permutation's table varies n / (n - 1) times as much as independent draws.
    chi_square = ((table - expected) ** 2 / expected).sum() * (n - 1) / n
    assert abs(chi_square - degrees) < SIGMAS * math.sqrt(2 * degrees)


def test_permutation_draws_pairs_of_rows_alike():
    """The first two rows of an epoch: all 132 pairs of 12, equally often."""
    order = permutation(np.arange(20000, dtype=np.uint32), 0, 12)
    counts = np.bincount(order[:, 0] * 12 + order[:, 1], minlength=144).reshape(12, 12)
    assert not counts.diagonal().any()
    expected = 20000 / 132
    chi_square = ((counts - expected) ** 2 / expected)[~np.eye(12, dtype=bool)].sum()
    assert abs(chi_square - 131) < SIGMAS * math.sqrt(2 * 131)


# Dropout


def test_dropout_hash_equals_its_scalar_form():
    hashes = dropout_hash(uint32(*SEEDS), 2**32 + 17, 2, 5, 9)  # a step's number wraps at 2^32
    assert hashes.dtype == np.uint32
    expected = [
        [[scalar_dropout_hash(seed, 17, 2, row, column) for column in range(9)] for row in range(5)] for seed in SEEDS
    ]
    assert hashes.tolist() == expected


def test_dropout_hash_of_an_element_does_not_depend_on_the_shape():
    large = dropout_hash(uint32(*SEEDS), 4, 1, 33, 65)
    np.testing.assert_array_equal(dropout_hash(uint32(SEEDS[3]), 4, 1, 7, 5)[0], large[3, :7, :5])


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.25, 0.5, 0.9])
def test_dropout_hash_drops_the_rate(rate):
    dropped = dropout_hash(np.arange(8, dtype=np.uint32), 0, 1, 128, 64) < dropout_threshold(rate)

    def scores(counts, draws):
        return (counts - draws * rate) / math.sqrt(draws * rate * (1 - rate))

    assert np.abs(scores(dropped.sum(axis=(1, 2)), 128 * 64)).max() < SIGMAS
    for axis in (0, 1, 2):  # no network, row or column is dropped of more than others, in the mean of squares
        z = scores(dropped.sum(axis=axis), dropped.shape[axis]).ravel()
        assert abs((z**2).mean() - 1) < SIGMAS * math.sqrt(3 / z.size / min(1, dropped.shape[axis] * rate))


def test_dropout_hash_sets_every_bit_half_of_the_time():
    hashes = dropout_hash(uint32(5), 3, 1, 128, 256).ravel()
    shares = [(hashes >> np.uint32(bit) & np.uint32(1)).mean() for bit in range(32)]
    assert np.abs(np.array(shares) - 0.5).max() < SIGMAS * 0.5 / math.sqrt(hashes.size)


def masks(*, seed=1, step=0, layer=1, rows=slice(0, 128), columns=slice(0, 64)):
    return dropout_hash(uint32(seed), step, layer, 130, 66)[0, rows, columns] < dropout_threshold(0.5)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"seed": 0},
        {"step": 1},
        {"layer": 2},
        {"step": 1, "layer": 0},  # counters that have the same sum
        {"rows": slice(1, 129)},
        {"columns": slice(1, 65)},
        {"rows": slice(2, 130), "columns": slice(2, 66)},
    ],
)
def test_dropout_masks_agree_by_chance_only(other):
    agreement = (masks() == masks(**other)).mean()
    assert abs(agreement - 0.5) < SIGMAS * 0.5 / math.sqrt(128 * 64)


def test_dropout_threshold_covers_the_range():
    assert dropout_threshold(0.0) == 0  # nothing is below it
    assert dropout_threshold(0.5) == 2**31
    assert dropout_threshold(0.1) == 429496730  # 429496729.6
    assert dropout_threshold(2.0**-32) == 1
    assert dropout_threshold(np.nextafter(1.0, 0)) == 2**32 - 1  # 2^32 would not fit 32 bits
