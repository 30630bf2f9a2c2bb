"""What tells one run from another: equal things have equal hashes, whatever holds them, and all others do not."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import SGD, Adam
from gpunet.augmentation import Augmentation
from gpunet.fingerprint import BLOCK, content_of, differing, fingerprints

IMAGES = np.arange(60, dtype=np.uint8).reshape(5, 12)


class InAFile:
    """An array that is read by slices."""

    shape, dtype = IMAGES.shape, IMAGES.dtype

    def __getitem__(self, rows):
        return IMAGES[rows]


def fingerprint(thing):
    return fingerprints({"it": thing})["it"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (IMAGES, IMAGES.copy()),
        (IMAGES, np.asfortranarray(IMAGES)),
        (IMAGES, InAFile()),
        (Adam(0.1), Adam(0.1)),
        (3, np.int64(3)),
        ([1, 2], [1, 2]),
        (object(), object()),
    ],
)
def test_fingerprint_of_equal_things_is_the_same(one, other):
    assert fingerprint(one) == fingerprint(other)


def test_fingerprint_reads_arrays_in_blocks(monkeypatch):
    expected = fingerprint(IMAGES)
    for size in (1, 12, 25):
        monkeypatch.setattr("gpunet.fingerprint.BLOCK", size)
        assert fingerprint(IMAGES) == expected
    assert BLOCK > IMAGES.nbytes


def test_fingerprint_of_different_things_differs():
    things = [
        IMAGES, IMAGES.T, IMAGES[:-1], IMAGES.view(np.int8), IMAGES ^ (IMAGES == 59), IMAGES.reshape(-1), np.zeros(0),
        np.zeros((0, 3)), None, 0, 0.0, False, "0", "", 1.5, np.nextafter(1.5, 2), [], [1], [1, 2], [12], ["1", "2"],
        [[1], 2], [1, [2]], Adam(), Adam(0.1), Adam([0.1, 0.2]), SGD(), SGD(momentum=0.5), Augmentation(1, 0, 0),
        Augmentation(0, 1, 0), object(), dict(),
    ]  # fmt: skip
    found = [fingerprint(thing) for thing in things]
    assert len(set(found)) == len(things)
    assert all(len(each) == 16 for each in found)


def test_differing_names_what_differs_or_is_missing():
    ours, theirs = fingerprints({"a": 1, "b": 2, "c": 3}), fingerprints({"a": 1, "b": 5, "d": 4})
    assert differing(ours, theirs) == ["b", "c", "d"]
    assert differing(ours, ours) == []


def test_content_of_is_the_bytes_in_rows():
    values = np.arange(6, dtype="<i2").reshape(2, 3)
    assert content_of(values.T).tobytes() == values.T.tobytes(order="C")
    assert content_of(values[:, :0]).size == 0
