"""Training, validation and test rows, with the classes in equal proportions in each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gpunet.errors import InputError


@dataclass(frozen=True)
class Split:
    """Rows of a data set, int64 and shuffled; together each row once. validation may be empty."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def stratified_split(labels: np.ndarray, *, seed: int, test: float = 0.2, validation: float = 0.2) -> Split:
    """Split the rows of labels ``[N]``: first the fraction `test` of all, then `validation` of what is left.

    By scikit-learn's train_test_split. The reports' splits: multiclass as by default (5,000 images: 3,200, 800 and
    1,000), binary with validation=0. The same seed gives the same rows.
    Raises InputError if a class has too few images for each part to get one, and for a fraction or seed out of range.
    """
    if not (0 < test < 1 and 0 <= validation < 1):
        raise InputError(
            f"the fractions to split by must lie between 0 and 1, not test {test} and validation {validation}"
        )
    if not 0 <= seed < 2**32:
        raise InputError(f"the seed of a split must lie between 0 and {2**32 - 1}, not {seed}")
    labels = np.asarray(labels)
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2:
        raise InputError("a split needs images of two classes at least")
    smallest_part = min(test, 1 - test, *((1 - test) * part for part in (validation, 1 - validation) if part > 0))
    needed = math.ceil(1 / smallest_part)
    if counts.min() < needed:
        parts = "training, validation and test" if validation else "training and test"
        raise InputError(
            f"there are too few images to split: the smallest class has {counts.min()}, "
            f"but {parts} parts need at least {needed} of each class"
        )

    from sklearn.model_selection import train_test_split

    rows = np.arange(len(labels), dtype=np.int64)
    train_rows, test_rows = train_test_split(rows, test_size=test, stratify=labels, random_state=seed)
    validation_rows = rows[:0]
    if validation:
        train_rows, validation_rows = train_test_split(
            train_rows, test_size=validation, stratify=labels[train_rows], random_state=seed
        )
    return Split(train_rows, validation_rows, test_rows)
