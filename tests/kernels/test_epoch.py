"""Order of rows, sums of a history and the counter, against NumpyOps."""

from __future__ import annotations

import numpy as np
import pytest
import shapes
from tolerances import assert_same_bits, assert_within, sum_bound

from gpunet.kernels import epoch as kernels
from gpunet.kernels.launch import CHUNK
from gpunet.ops import NumpyOps

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # uint32 wraps in the simulator

OPS = NumpyOps(np.float64)
EPOCH, EPOCHS = 2, 4


def counter():
    return np.array([EPOCH], np.int32)


@pytest.mark.parametrize(
    ("networks", "n"), [(1, 1), (3, 2), (1, 3), (2, 5), (3, 31), (1, 32), (1, 33), (1, kernels.THREADS + 1)]
)
def test_shuffle_equals_the_oracle(networks, n):
    rng = np.random.default_rng(n)
    split_rows = rng.integers(0, 10**6, (networks, n)).astype(np.int32)
    seeds = rng.integers(0, 2**32, networks, dtype=np.uint32)
    expected = np.empty_like(split_rows)
    OPS.shuffle(split_rows, seeds, counter(), expected)
    actual = np.full_like(split_rows, -1)
    kernels.shuffle(split_rows.reshape(-1), seeds, counter(), actual.reshape(-1), networks=networks, length=n)
    assert_same_bits(actual, expected)


@pytest.mark.parametrize(("networks", "n"), [(1, 1), (3, 43), (2, kernels.THREADS // 2 + 1)])
def test_follow_order_copies_the_epoch_s_rows(networks, n):
    order = np.random.default_rng(0).integers(0, 10**6, (EPOCHS, networks, n)).astype(np.int32)
    actual = np.full((networks, n), -1, np.int32)
    kernels.follow_order(order.reshape(-1), counter(), actual.reshape(-1), networks=networks, length=n)
    assert_same_bits(actual, order[EPOCH])


# Batches as everywhere, and about a chunk and about as many chunks as a block has threads.
BATCHES = [*shapes.BATCHES, (65, 31), (66, 32), (67, 33), (130, 64), (kernels.SUM_THREADS * CHUNK + 35, 10**4)]


@pytest.mark.parametrize(("n", "batch_size"), BATCHES)
def test_batch_sums_equal_the_oracle(n, batch_size):
    networks = 1 + 2 * (n % 2)
    rng = np.random.default_rng(n)
    row_loss = rng.standard_normal((networks, n)).astype(np.float32)
    hits = rng.integers(0, 2, (networks, n)).astype(np.uint8)
    batches = -(-n // batch_size)
    losses = np.full((EPOCHS, networks, batches), np.nan, np.float32)
    counts = np.full((EPOCHS, networks, batches), -1, np.int32)
    kernels.batch_sums(
        row_loss.reshape(-1),
        hits.reshape(-1),
        batch_size,
        counter(),
        losses.reshape(-1),
        counts.reshape(-1),
        networks=networks,
        length=n,
    )
    expected_losses, expected_counts, magnitude = np.zeros(losses.shape), np.zeros_like(counts), np.zeros(losses.shape)
    OPS.batch_sums(row_loss.astype(np.float64), hits, batch_size, counter(), expected_losses, expected_counts)
    OPS.batch_sums(np.abs(row_loss).astype(np.float64), hits, batch_size, counter(), magnitude, expected_counts)
    terms = min(batch_size, n)
    assert_within(losses[EPOCH], expected_losses[EPOCH], sum_bound(np.float32, terms, magnitude[EPOCH]))
    assert_same_bits(counts[EPOCH], expected_counts[EPOCH])
    others = [epoch for epoch in range(EPOCHS) if epoch != EPOCH]
    assert np.isnan(losses[others]).all() and (counts[others] == -1).all()


def test_batch_sums_are_added_chunk_by_chunk():
    """The canonical order, to the bit."""
    row_loss = np.random.default_rng(1).standard_normal(150).astype(np.float32)
    losses, counts = np.zeros(1, np.float32), np.zeros(1, np.int32)
    kernels.batch_sums(
        row_loss, np.ones(150, np.uint8), 150, np.zeros(1, np.int32), losses, counts, networks=1, length=150
    )
    total = np.float32(0)
    for start in range(0, 150, CHUNK):
        total += np.add.accumulate(row_loss[start : start + CHUNK])[-1]
    assert_same_bits(losses, np.array([total]))
    assert counts[0] == 150


def test_batch_sums_pass_nan_on():
    row_loss = np.zeros(10, np.float32)
    row_loss[7] = np.nan
    losses, counts = np.zeros(3, np.float32), np.zeros(3, np.int32)
    hits, epoch = np.zeros(10, np.uint8), np.zeros(1, np.int32)
    kernels.batch_sums(row_loss, hits, 4, epoch, losses, counts, networks=1, length=10)
    assert np.isnan(losses).tolist() == [False, True, False]


def test_advance_counts_one():
    epoch = counter()
    kernels.advance(epoch)
    assert epoch.tolist() == [EPOCH + 1]
