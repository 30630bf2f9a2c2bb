"""Parts of a data set: two of its classes, or fewer of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpunet.data.dataset import Dataset
from gpunet.data.naming import listed
from gpunet.errors import InputError

BINARY_CLASSES = ("4", "9")


def choose_classes(dataset: Dataset, classes: Sequence[str] = BINARY_CLASSES) -> Dataset:
    """The images of two classes (negative, positive), in their order, with labels 0 and 1.

    Raises InputError unless these are two different classes of the data set.
    """
    if len(classes) != 2 or classes[0] == classes[1]:
        raise InputError(f"a binary task needs two different classes, not {listed(classes)}")
    unknown = [name for name in classes if name not in dataset.class_names]
    if unknown:
        raise InputError(
            f"there is no class {listed(unknown)} in {dataset.source}; its classes are {listed(dataset.class_names)}"
        )
    negative, positive = (dataset.class_names.index(name) for name in classes)
    chosen = dataset.rows(np.flatnonzero((dataset.labels == negative) | (dataset.labels == positive)))
    return replace(chosen, labels=(chosen.labels == positive).astype(np.int64), class_names=tuple(classes))


def limit_images(dataset: Dataset, limit: int, *, seed: int = 0) -> Dataset:
    """At most `limit` images, drawn at random with the classes as equal in number as can be, in their order.

    Raises InputError if limit is not positive.
    """
    return dataset.rows(limited_rows(dataset, limit, seed=seed))


def limited_rows(dataset: Dataset, limit: int, *, seed: int = 0) -> np.ndarray:
    """The rows that `limit_images` takes: int64 ``[n]``, ascending."""
    if limit < 1:
        raise InputError(f"the limit of images must be positive, not {limit}")
    # Number the images of each class in a random order; then all the firsts come before all the seconds, and so on.
    shuffled = np.random.default_rng(seed).permutation(len(dataset))
    turn = np.empty(len(dataset), dtype=np.int64)
    for label in range(len(dataset.class_names)):
        rows = shuffled[dataset.labels[shuffled] == label]
        turn[rows] = np.arange(len(rows))
    return np.sort(np.lexsort((dataset.labels, turn))[:limit])
