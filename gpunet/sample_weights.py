"""What each image of a data set counts in the loss: a batch's loss is sum_b w_b l_b / sum_b w_b, and so is its
gradient, as in scikit-learn (1.7 and on) and PyTorch's weighted cross-entropy.

A class weight is a sample weight by label, ``class_weights[labels]``; scikit-learn's `compute_class_weight("balanced",
...)` and `compute_sample_weight` make them. Only what the weights of a batch are to each other counts, so a batch of
one row is the same whatever its weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.errors import InputError


def checked_weights(sample_weight: Any, count: int, dtype: Any) -> np.ndarray:
    """Weights ``[count]`` as a backend of this floating type takes them: divided by the largest, so that sums of them
    do not overflow.

    Raises `InputError` unless these are so many finite numbers, none negative, not all zero.
    """
    try:
        weights = np.asarray(sample_weight, np.float64)
    except (TypeError, ValueError):
        raise InputError("sample_weight must be numbers, one for each image") from None
    if weights.shape != (count,):
        raise InputError(
            f"sample_weight must be {count} numbers, one for each image, not of the shape {list(weights.shape)}"
        )
    wrong = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
    if len(wrong):
        image = wrong[0]
        raise InputError(
            f"sample_weight must be finite and at least 0, not {weights[image]:g} as that of image {image}"
        )
    if not weights.any():
        raise InputError("sample_weight is zero for every image: give those to train on a positive weight")
    return (weights / weights.max()).astype(dtype)


def weighty_rows(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Those rows, of the data set, whose weight is not zero: ``[P, n]`` of ``[P, N]``, in the same order.

    Raises `InputError` if a network has none, or another number of them than another network has.
    """
    counts = weights[rows] > 0
    remaining = counts.sum(axis=1)
    if not remaining.all():
        raise InputError("sample_weight is zero for every training row: give some a positive weight")
    if (remaining != remaining[0]).any():
        raise InputError(
            f"without the rows of weight zero the networks have from {remaining.min()} to {remaining.max()} training "
            "rows: give all of them train_rows with as many of a positive weight"
        )
    return rows[counts].reshape(len(rows), -1)
