"""Data that nobody photographed: classes that a small network can learn, with pixels that are always dark, as in the
reports' images."""

from __future__ import annotations

import numpy as np


def images_and_labels(n: int, classes: int, inputs: int = 784, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A blurred pattern for each class, under noise: uint8 ``[n, inputs]`` and int64 ``[n]``, all classes present."""
    rng = np.random.default_rng(seed)
    patterns = rng.random((classes, inputs)) ** 2
    patterns[:, : inputs // 8] = 0
    labels = rng.permutation(np.arange(n) % classes)
    images = 255 * patterns[labels] * rng.uniform(0.3, 1, (n, 1)) * rng.uniform(0.5, 1, (n, inputs))
    return images.astype(np.uint8), labels
