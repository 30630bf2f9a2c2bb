"""What happens once an epoch: the order of rows, the sums of losses, the counter."""

from __future__ import annotations

import numpy as np
import pytest
import shapes
from buffers import Guarded, exact, normal, unchanged
from tolerances import assert_within, eps, sum_bound

from gpunet.counter_rng import permutation
from gpunet.ops import RowWeights

SPLITS = np.array([[30, 11, 12, 7, 0], [5, 6, 7, 8, 9], [5, 6, 7, 8, 9]])


def counter(ops, epoch):
    return ops.asarray([epoch], np.int32)


def test_shuffle_orders_each_networks_rows_by_its_permutation(ops):
    splits, seeds, epoch = ops.asarray(SPLITS, np.int32), ops.asarray([4, 4, 9], np.uint32), counter(ops, 3)
    out = Guarded(ops, SPLITS.shape, np.int32)
    with unchanged(ops, splits, seeds, epoch):
        ops.shuffle(splits, seeds, epoch, out.array)
    order = permutation(np.array([4, 4, 9], np.uint32), 3, 5)
    np.testing.assert_array_equal(out.result(), np.take_along_axis(SPLITS, order, axis=1))
    np.testing.assert_array_equal(order[0], order[1])  # the seed alone decides


def test_shuffle_differs_from_epoch_to_epoch(ops):
    rows, seeds = ops.asarray(np.arange(100)[None], np.int32), ops.asarray([1], np.uint32)
    orders = []
    for epoch in (0, 1, 0):
        out = ops.zeros((1, 100), np.int32)
        ops.shuffle(rows, seeds, counter(ops, epoch), out)
        orders.append(ops.to_host(out).tolist())
    assert orders[0] == orders[2] != orders[1]


def test_follow_order_takes_the_epochs_rows(ops):
    order = np.arange(24).reshape(4, 2, 3)[::-1].copy()
    source, out = ops.asarray(order, np.int32), Guarded(ops, (2, 3), np.int32)
    with unchanged(ops, source):
        ops.follow_order(source, counter(ops, 2), out.array)
    np.testing.assert_array_equal(out.result(), [[6, 7, 8], [9, 10, 11]])


def test_batch_sums_by_hand(ops):
    row_loss, hits = ops.asarray([[1, 2, 3, 4, 5]]), ops.asarray([[1, 1, 0, 1, 1]], np.uint8)
    loss_sums, hit_counts = Guarded(ops, (3, 1, 3)), Guarded(ops, (3, 1, 3), np.int32)
    with unchanged(ops, row_loss, hits):
        ops.batch_sums(row_loss, hits, 2, counter(ops, 1), loss_sums.array, hit_counts.array)
    np.testing.assert_array_equal(loss_sums.result()[1], [[3, 7, 5]])
    np.testing.assert_array_equal(hit_counts.result()[1], [[2, 1, 1]])
    for other in (0, 2):  # other epochs stay as they were
        assert np.isnan(loss_sums.result()[other]).all() and (hit_counts.result()[other] == 77).all()


@pytest.mark.parametrize(("n", "batch_size"), [(n, size) for n, size in shapes.BATCHES if size <= n])
def test_batch_sums_is_within_the_bound_of_its_sums(ops, n, batch_size):
    row_loss = normal(ops, (3, n), 1)
    hits = np.random.default_rng(2).integers(0, 2, (3, n), dtype=np.uint8)
    steps = -(-n // batch_size)
    loss_sums, hit_counts = Guarded(ops, (1, 3, steps)), Guarded(ops, (1, 3, steps), np.int32)
    ops.batch_sums(
        row_loss, ops.asarray(hits, np.uint8), batch_size, counter(ops, 0), loss_sums.array, hit_counts.array
    )
    row_loss = exact(ops, row_loss)
    for step in range(steps):
        part = np.s_[:, step * batch_size : (step + 1) * batch_size]
        bound = sum_bound(ops.dtype, batch_size, abs(row_loss[part]).sum(axis=1))
        assert_within(loss_sums.result()[0, :, step], row_loss[part].sum(axis=1), bound)
        np.testing.assert_array_equal(hit_counts.result()[0, :, step], hits[part].sum(axis=1))


def test_batch_sums_counts_more_hits_than_a_byte_holds(ops):
    hits, hit_counts = ops.asarray(np.ones((1, 700)), np.uint8), ops.zeros((1, 1, 2), np.int32)
    ops.batch_sums(ops.zeros((1, 700)), hits, 600, counter(ops, 0), ops.zeros((1, 1, 2)), hit_counts)
    assert ops.to_host(hit_counts).tolist() == [[[600, 100]]]


def test_row_shares_by_hand(ops):
    weights, rows = ops.asarray([0, 1, 3, 4]), ops.asarray([[1, 2, 0, 3, 3], [0, 0, 3, 2, 2]], np.int32)
    out = Guarded(ops, (2, 5))
    with unchanged(ops, weights, rows):
        ops.row_shares(weights, rows, 2, out.array)
    quarter, seventh = 0.25, np.asarray(1, ops.dtype) / np.asarray(7, ops.dtype)
    np.testing.assert_array_equal(out.result()[0], [quarter, 3 * quarter, 0, 1, 1])
    # A batch without weight has no shares; the last batch is short.
    assert_within(out.result()[1], np.array([0, 0, 4 * seventh, 3 * seventh, 1]), eps(ops.dtype))


def test_batch_sums_of_weighted_rows_by_hand(ops):
    row_loss, hits = ops.asarray([[1, 2, 3, 4, 5]]), ops.asarray([[1, 1, 0, 1, 1]], np.uint8)
    weights, rows = ops.asarray([0, 0.5, 2, 4]), ops.asarray([[1, 2, 2, 0, 3]], np.int32)
    loss_sums, hit_counts, weight_sums = (Guarded(ops, (2, 1, 3), kind) for kind in (None, np.int32, None))
    with unchanged(ops, row_loss, hits, weights, rows):
        of_rows = RowWeights(weights, rows, weight_sums.array)
        ops.batch_sums(row_loss, hits, 2, counter(ops, 1), loss_sums.array, hit_counts.array, of_rows)
    np.testing.assert_array_equal(loss_sums.result()[1], [[4.5, 6, 20]])
    np.testing.assert_array_equal(weight_sums.result()[1], [[2.5, 2, 4]])
    np.testing.assert_array_equal(hit_counts.result()[1], [[2, 1, 1]])
    assert np.isnan(loss_sums.result()[0]).all() and np.isnan(weight_sums.result()[0]).all()


def test_advance_counts_epochs(ops):
    epoch = counter(ops, 0)
    for expected in (1, 2, 3):
        ops.advance(epoch)
        assert ops.to_host(epoch).tolist() == [expected]
