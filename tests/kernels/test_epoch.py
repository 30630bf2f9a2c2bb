"""Order of rows, sums of a history and the counter, against NumpyOps."""

from __future__ import annotations

import numpy as np
import pytest
import shapes
from loss_cases import mutant, simulator_only
from tolerances import assert_same_bits, assert_within, sum_bound

from gpunet.kernels import epoch as kernels
from gpunet.kernels.launch import CHUNK
from gpunet.ops import NumpyOps, RowWeights

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


# Weights


def weights_and_rows(networks, n):
    """Of 20 images, some of weight zero."""
    rng = np.random.default_rng(n)
    weights = rng.uniform(0.01, 3, 20).astype(np.float32)
    weights[::7] = 0
    return weights, rng.integers(0, 20, (networks, n)).astype(np.int32)


@pytest.mark.parametrize(("n", "batch_size"), [(10, 4), (9, 64), (35, 33), (1060, 1050), (5, 1)])
def test_row_shares_equal_the_oracle(n, batch_size):
    networks = 1 + 2 * (n % 2)
    weights, rows = weights_and_rows(networks, n)
    if batch_size == 4:
        rows[0, :4] = 7  # a batch without any weight
    out = np.full(networks * n + 1, np.nan, np.float32)
    kernels.row_shares(weights, rows.reshape(-1), batch_size, out, networks=networks, length=n)
    expected = np.empty(rows.shape)
    OPS.row_shares(weights.astype(np.float64), rows, batch_size, expected)
    shares = out[:-1].reshape(rows.shape)
    assert_within(shares, expected, sum_bound(np.float32, min(batch_size, n), expected))
    assert np.isnan(out[-1]) and (shares > 0).any()
    assert ((shares == 0) == (weights[rows] == 0)).all() and (batch_size > 1 or set(shares.flat) <= {0, 1})


@pytest.mark.parametrize(("n", "batch_size"), [(10, 4), (9, 64), (35, 33), (1060, 1050)])
def test_batch_sums_of_weighted_rows_equal_the_oracle(n, batch_size):
    networks = 1 + 2 * (n % 2)
    weights, rows = weights_and_rows(networks, n)
    row_loss = np.random.default_rng(n).standard_normal((networks, n)).astype(np.float32)
    hits = np.random.default_rng(n + 1).integers(0, 2, (networks, n)).astype(np.uint8)
    shape = EPOCHS, networks, -(-n // batch_size)
    losses, sums, counts = (
        np.full(shape, np.nan, np.float32),
        np.full(shape, np.nan, np.float32),
        np.zeros(shape, np.int32),
    )
    kernels.batch_sums(
        *(array.reshape(-1) for array in (row_loss, hits)),
        batch_size,
        counter(),
        losses.reshape(-1),
        counts.reshape(-1),
        (weights, rows.reshape(-1), sums.reshape(-1)),
        networks=networks,
        length=n,
    )
    expected_losses, magnitude, expected_counts = np.zeros(shape), np.zeros(shape), np.zeros_like(counts)
    exact = RowWeights(weights.astype(np.float64), rows, np.zeros(shape))
    for values, written in ((np.abs(row_loss), magnitude), (row_loss, expected_losses)):
        OPS.batch_sums(values.astype(np.float64), hits, batch_size, counter(), written, expected_counts, exact)
    terms = min(batch_size, n)
    assert_within(losses[EPOCH], expected_losses[EPOCH], sum_bound(np.float32, terms, magnitude[EPOCH]))
    assert_within(sums[EPOCH], exact.sums[EPOCH], sum_bound(np.float32, terms, exact.sums[EPOCH]))
    assert_same_bits(counts, expected_counts)
    others = [epoch for epoch in range(EPOCHS) if epoch != EPOCH]
    assert np.isnan(losses[others]).all() and np.isnan(sums[others]).all()


@simulator_only
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return of_images[rows[at]]", "return of_images[rows[0]]"),
        ("= weight_of(weights, at) * row_loss[at] if", "= row_loss[at] if"),
        ("t, uint32(network * n), start, end)", "t, uint32(0), start, end)"),
        (
            "                chunk_weights[t] = sum_of_chunk(stage, t)",
            "                chunk_weights[t] = chunk_losses[t]",
        ),
        ("place_in_stage(place)] = weights[rows[at]] if", "place_in_stage(place)] = weights[rows[first]] if"),
        ("weights[rows[at]] / total if", "weights[rows[first]] / total if"),
        ("        total = with_chunks(total, chunk_sums)", "        total = chunk_sums[0]"),
        ("first = uint32(uint32(cuda.blockIdx.y) * n)", "first = uint32(0)"),
    ],
)
def test_epoch_mutant_of_the_weights_fails(monkeypatch, old, new):
    module = mutant("epoch", old, new)
    monkeypatch.setattr(kernels, "row_shares", module.row_shares)
    monkeypatch.setattr(kernels, "batch_sums", module.batch_sums)
    with pytest.raises((AssertionError, IndexError)):
        test_row_shares_equal_the_oracle(35, 33)
        test_batch_sums_of_weighted_rows_equal_the_oracle(35, 33)


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
