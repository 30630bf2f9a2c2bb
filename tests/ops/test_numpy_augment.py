"""An epoch's images on NumPy's backends, which must agree to the byte: worked by hand, and against real numbers."""

from __future__ import annotations

import numpy as np
import pytest
from buffers import SENTINEL, Guarded, unchanged

from gpunet.augmentation import DRAWS, ONE, Augmentation, image_keys, warp_table
from gpunet.counter_rng import augmentation_hash
from gpunet.ops import NumpyOps, Warp
from gpunet.ops.numpy_augment import DRAW_SHIFT, PIXELS_AT_A_TIME, coefficients

SIDES = (1, 2, 3, 5, 8, 28)


def noise(n, side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side * side), dtype=np.uint8)


def warp_of(table, images, rows=None, side=None, seed=0):
    rows = np.arange(len(images)) if rows is None else np.asarray(rows)
    side = side or round(images.shape[1] ** 0.5)
    keys = np.array(image_keys(images[rows]), np.uint32)
    return Warp(np.array(table, np.int32), keys, rows.astype(np.int32), side, seed)


def always(angle=0.0, size=1.0, shift=0.0):
    """A table by which every image is changed alike; shifts are to the right and down. angle: in degrees."""
    turn = np.radians(angle)
    return np.repeat(np.round(ONE * np.array([[np.cos(turn)], [np.sin(turn)], [1 / size], [shift]])), DRAWS, axis=1)


def changed(ops, images, table, epoch=0):
    """The images as squares."""
    warp, out = warp_of(table, images), np.zeros_like(images)
    ops.augment(images, warp, np.array([epoch], np.int32), out)
    return out.reshape(-1, warp.side, warp.side)


@pytest.mark.parametrize("side", SIDES)
def test_augment_without_a_change_copies(ops, side):
    images = noise(7, side)
    np.testing.assert_array_equal(changed(ops, images, always()).reshape(7, -1), images)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("turns", [1, 2, -1])
def test_augment_turns_counter_clockwise_about_the_centre(ops, side, turns):
    images = noise(3, side)
    expected = np.rot90(images.reshape(3, side, side), turns, axes=(1, 2))
    np.testing.assert_array_equal(changed(ops, images, always(angle=90 * turns)), expected)


@pytest.mark.parametrize("shift", [2, -2])
def test_augment_shifts_right_and_down_and_repeats_the_edge(ops, shift):
    images = noise(3, 5)
    index = np.clip(np.arange(5) - shift, 0, 4)
    expected = images.reshape(3, 5, 5)[:, index][:, :, index]
    np.testing.assert_array_equal(changed(ops, images, always(shift=shift)), expected)


def test_augment_far_outside_is_the_edge(ops):
    images = noise(3, 5)
    corner = images.reshape(3, 5, 5)[:, :1, :1]
    np.testing.assert_array_equal(changed(ops, images, always(shift=100)), np.broadcast_to(corner, (3, 5, 5)))


def test_augment_interpolates_between_four_by_hand(ops):
    """Half a pixel to the right and down: the mean of the four, halves rounded up."""
    images = np.array([[10, 20, 31, 255]], np.uint8)
    result = changed(ops, images, always(shift=0.5))
    np.testing.assert_array_equal(result, [[[10, 15], [21, 79]]])  # 10; 15; 20.5; 79


def test_augment_enlarges_about_the_centre(ops):
    """Twice as large: each pixel of the middle lies a quarter of a pixel from its neighbours."""
    images = np.array([[0, 100, 200, 0] * 4], np.uint8)
    row = changed(ops, images, always(size=2))[0, 1]
    np.testing.assert_array_equal(row, [75, 125, 175, 150])


@pytest.mark.parametrize("side", [3, 8, 28])
def test_augment_is_within_a_grey_level_or_two_of_real_numbers(ops, side):
    """Weights in units of 1/256 move a byte by one at most in x, by one in y; rounding by a half."""
    augmentation, images = Augmentation(40, 3, 0.3, seed=9), noise(20, side)
    warp = warp_of(warp_table(augmentation), images, seed=9)
    draws = 2 * (augmentation_hash(9, 4, warp.keys) >> DRAW_SHIFT) / (DRAWS - 1) - 1
    turn, size, right, down = (draws.T * [np.radians(40), 0.3, 3, 3]).T[:, :, None, None]
    y, x = np.mgrid[:side, :side]
    middle, size = (side - 1) / 2, 1 + size
    x, y = x - middle - right, y - middle - down
    cosine, sine = np.cos(turn), np.sin(turn)
    x, y = (cosine * x - sine * y) / size, (sine * x + cosine * y) / size
    x, y = (np.clip(middle + at, 0, side - 1) for at in (x, y))
    squares, image = images.reshape(-1, side, side).astype(float), np.arange(20)[:, None, None]
    left, upper = np.floor(x).astype(int), np.floor(y).astype(int)
    right, lower = np.minimum(left + 1, side - 1), np.minimum(upper + 1, side - 1)
    above = squares[image, upper, left] * (1 - x + left) + squares[image, upper, right] * (x - left)
    below = squares[image, lower, left] * (1 - x + left) + squares[image, lower, right] * (x - left)
    expected = above * (1 - y + upper) + below * (y - upper)
    out = np.zeros_like(images)
    ops.augment(images, warp, np.array([4], np.int32), out)
    error = np.abs(out.reshape(expected.shape) - expected)
    assert error.max() <= 2.6 and error.mean() < 0.6


@pytest.mark.parametrize("side", SIDES)
def test_augment_gives_the_same_bytes_everywhere(ops, side):
    """Rows in any order; none else is written, nor is anything read written to."""
    images, rows = noise(11, side), [9, 0, 3, 10, 4]
    warp = warp_of(warp_table(Augmentation(180, 5, 0.5, 7)), images, rows, side, seed=7)
    epoch, out, expected = np.array([2], np.int32), Guarded(ops, images.shape, np.uint8), np.full_like(images, SENTINEL)
    NumpyOps().augment(images, warp, epoch, expected)
    with unchanged(ops, images, warp.table, warp.keys, warp.rows, epoch):
        ops.augment(images, warp, epoch, out.array)
    np.testing.assert_array_equal(out.result(), expected)
    others = np.setdiff1d(np.arange(11), rows)
    assert (expected[others] == SENTINEL).all() and (side < 3 or (expected[rows] != images[rows]).any(axis=1).all())


def test_augment_in_parts_is_augment_at_once(ops):
    """More pixels than are taken at a time, and not a multiple of them."""
    side, count = 64, PIXELS_AT_A_TIME // 64**2 + 3
    images, table = noise(count, side), warp_table(Augmentation(30, 2, 0.1))
    whole = changed(ops, images, table)
    for row in (0, count - 4, count - 3, count - 1):
        np.testing.assert_array_equal(changed(ops, images[row : row + 1], table)[0], whole[row])


def test_coefficients_stay_within_32_bits_at_the_limits():
    """The largest image, at the smallest size and the furthest shifts."""
    side, augmentation = 1024, Augmentation(180, 100, 0.9)
    keys = np.arange(50_000, dtype=np.uint32)
    warp = Warp(np.array(warp_table(augmentation), np.int32), keys, keys.view(np.int32), side, 0)
    a, b, base_x, base_y = coefficients(warp, 0).astype(np.int64)
    for x in (0, side - 1):
        for y in (0, side - 1):
            assert np.abs([base_x + a * x - b * y, base_y + b * x + a * y, a * x, b * x, b * y]).max() < 2**31


# What is drawn


def test_draws_are_uniform_over_images_and_over_epochs():
    """Each sixteenth of the values as often as it should be: chi squared below its 1 - 1e-6 quantile of 15 degrees."""
    keys = np.array(image_keys(noise(4000, 6)), np.uint32)
    one = np.array([augmentation_hash(1, epoch, keys[:1])[:, 0] for epoch in range(4000)]).T
    for draws in (augmentation_hash(1, 0, keys), one):
        for own in draws >> np.uint32(28):
            counts = np.bincount(own, minlength=16)
            assert ((counts - 250) ** 2 / 250).sum() < 56.5
        correlation = np.corrcoef(draws.astype(float)) - np.eye(4)
        assert np.abs(correlation).max() < 5 / 4000**0.5


def test_draws_differ_by_seed_epoch_and_image():
    keys = np.array([5, 6], np.uint32)
    hashes = [augmentation_hash(seed, epoch, keys) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(np.ravel(hashes).tolist())) == 32
