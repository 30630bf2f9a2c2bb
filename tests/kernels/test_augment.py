"""The kernel that makes an epoch's images, against NumpyOps: to the byte."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import assert_same_bits

from gpunet.augmentation import DRAWS, Augmentation, image_keys, warp_table
from gpunet.kernels import augment as kernels
from gpunet.ops import NumpyOps, Warp

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # uint32 wraps in the simulator

UNTOUCHED = 0xABABABAB


# Images of a word and less, of words that are split over rows, of as many words as a warp has lanes and one more; as
# many of them as a block takes, one less and one more.
@pytest.mark.parametrize(
    ("side", "count"), [(1, 1), (2, 3), (3, 4), (5, 5), (7, 1), (11, 4), (12, 3)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("augmentation", [Augmentation(180, 3, 0.5, 2**32 - 1), Augmentation(15, 1, 0.1)], ids=str)
def test_augment_equals_the_oracle(side, count, augmentation):
    rng = np.random.default_rng(side)
    images = rng.integers(0, 256, (count + 2, side * side), dtype=np.uint8)
    rows = rng.permutation(count + 2)[:count].astype(np.int32)
    table, keys = np.array(warp_table(augmentation), np.int32), np.array(image_keys(images[rows]), np.uint32)
    epoch = np.array([6], np.int32)
    expected = np.full_like(images, UNTOUCHED & 0xFF)
    NumpyOps().augment(images, Warp(table, keys, rows, side, augmentation.seed), epoch, expected)

    words = -(-side * side // 4)
    padded = np.zeros((count + 2, words * 4), np.uint8)
    padded[:, : side * side] = images
    out = np.full((count + 2, words), UNTOUCHED, np.uint32)
    kernels.augment(
        padded.reshape(-1),
        table.reshape(-1),
        keys,
        rows,
        epoch,
        out.reshape(-1),
        seed=augmentation.seed,
        count=count,
        side=side,
    )
    actual = out.astype("<u4").view(np.uint8)
    assert_same_bits(actual[:, : side * side], expected)
    assert (actual[rows, side * side :] == 0).all()  # what pads a row is read as pixels of zero
    others = np.setdiff1d(np.arange(count + 2), rows)
    assert (out[others] == UNTOUCHED).all()


def test_augment_reads_the_table_that_the_host_makes():
    assert int(kernels.DRAWS) == DRAWS == 1 << (32 - int(kernels.DRAW_SHIFT))
