"""Fetching a batch from the data set."""

from __future__ import annotations

import numpy as np
import pytest
from buffers import exact, gathered_batch, unchanged
from tolerances import assert_same_bits, assert_within, eps

from gpunet.ops import Batch

IMAGES = np.array([[0, 51], [255, 102], [1, 254]], np.uint8)
LABELS = np.array([7, 8, 9])
ROWS = np.array([[2, 0, 2, 1], [1, 1, 0, 2]])  # each network its own, with repetitions


def test_gather_of_bytes_counts_255_as_one(ops):
    batch = gathered_batch(ops, IMAGES, LABELS, ROWS)
    x = ops.to_host(batch.x)
    assert x.dtype == ops.dtype
    # 51 / 255 = 0.2, 102 / 255 = 0.4, by a rounded 1/255.
    expected = np.array([[0, 51], [255, 102], [1, 254]], np.longdouble)[ROWS] / 255
    assert_within(x, expected, eps(ops.dtype) * expected)
    assert (x[0, 1] == 0).any() and x[0, 3, 0] == 1
    np.testing.assert_array_equal(ops.to_host(batch.y), [[9, 7, 9, 8], [8, 8, 7, 9]])


def test_gather_fetches_targets(ops):
    targets = np.array([[0.5, -1], [2, 3], [4, 0.25]])
    rows, y = ops.asarray(ROWS, np.int32), ops.zeros((*ROWS.shape, 2))
    values, scale = ops.images(IMAGES)
    batch = Batch(values, ops.asarray(targets), rows, scale, ops.zeros((*ROWS.shape, 2)), y)
    ops.gather(batch)
    np.testing.assert_array_equal(ops.to_host(y), targets[ROWS])
    assert_same_bits(ops.to_host(batch.x), ops.to_host(gathered_batch(ops, IMAGES, LABELS, ROWS).x))


def test_gather_of_floats_takes_them_as_they_are(ops):
    images = np.random.default_rng(1).standard_normal((3, 5)).astype(ops.dtype)
    batch = gathered_batch(ops, images, LABELS, ROWS)
    assert_same_bits(ops.to_host(batch.x), images[ROWS])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gather_rounds_floats_of_another_type_once(ops, dtype):
    images = np.random.default_rng(1).standard_normal((3, 5)).astype(dtype)
    batch = gathered_batch(ops, images, LABELS, ROWS)
    assert_same_bits(ops.to_host(batch.x), images.astype(ops.dtype)[ROWS])


def test_gather_multiplies_floats_by_the_scale(ops):
    x, y = ops.gather_buffers(1, 2, 2)
    batch = Batch(
        ops.asarray([[1, 2], [3, 4]]), ops.asarray([0, 1], np.int32), ops.asarray([[1, 0]], np.int32), 0.25, x, y
    )
    ops.gather(batch)
    np.testing.assert_array_equal(ops.to_host(batch.x), [[[0.75, 1], [0.25, 0.5]]])


def test_gather_takes_any_784_bytes(ops):
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (300, 784), dtype=np.uint8)
    rows = rng.integers(0, 300, (3, 129))
    batch = gathered_batch(ops, images, np.arange(300), rows)
    expected = images[rows] / np.longdouble(255)
    assert_within(exact(ops, batch.x), expected, eps(ops.dtype) * expected)
    np.testing.assert_array_equal(ops.to_host(batch.y), rows)


def test_gather_changes_nothing_but_its_work_arrays(ops):
    batch = gathered_batch(ops, IMAGES, LABELS, ROWS)
    with unchanged(ops, batch.images, batch.labels, batch.rows):
        ops.gather(batch)


def test_images_are_copied(ops):
    for dtype in (np.uint8, ops.dtype):
        images = np.ones((2, 3), dtype)
        values, _ = ops.images(images)
        images[:] = 0
        assert ops.to_host(values).all()
