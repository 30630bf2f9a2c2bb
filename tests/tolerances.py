"""One table of tolerances, in units of eps, the distance from 1 to the next number of a floating type.

A bound says how far correctly written code may be off, from the number of roundings on the way; it scales with what is
summed, so that a term left out, an eps dropped or a product done in a lower precision lies outside of it. All
comparisons go through `assert_within`, which no NaN passes.
"""

from __future__ import annotations

import numpy as np

# Roundings, each worth half an eps, that a result may carry, doubled for the last bits of exp, log1p and tanh (numpy
# promises at most 4 ulp for its vectorised ones).
ELEMENTARY = 4  # activations and their derivatives: one transcendental function and two or three operations
LOSS = 6  # a row's loss or one logit's gradient: exp, log1p or a division, and three or four operations
UPDATE = 8  # an optimizer's update of one weight, relative to the largest of its terms

# Comparisons that are no matter of a few roundings:
FINITE_DIFFERENCES = 1e-6  # of a tensor's largest gradient; step 1e-5: truncation and rounding are both below 1e-9
PARITY_FLOAT64 = 1e-12  # 50 steps beside PyTorch: losses relative, weights relative to the tensor's largest
PARITY_FLOAT32 = 1e-5


def eps(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).eps)


def tiny(dtype: np.dtype) -> float:
    """The smallest normal number: below it there is no relative precision to hold anyone to."""
    return float(np.finfo(dtype).tiny)


def sum_bound(dtype: np.dtype, terms: int, magnitude: np.ndarray) -> np.ndarray:
    """The error that a sum of so many products may have in any order of adding. magnitude: the sum of |terms|.

    Half an eps a term is the textbook's bound (Higham, Accuracy and Stability, 3.1); the two more are for a product
    with a rounded factor, such as 1/255 or dropout's scale.
    """
    return (terms + 2) * eps(dtype) * magnitude + tiny(dtype)


def assert_within(actual: np.ndarray, expected: np.ndarray, bound: np.ndarray | float) -> None:
    """|actual - expected| <= bound for each element. NaN in any of the three fails."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    difference = np.abs(actual.astype(np.longdouble) - expected)
    share = difference / np.maximum(bound, np.finfo(np.float64).tiny)
    assert np.all(difference <= bound), f"off by up to {np.max(share):.3g} times the bound, at {np.argmax(share)}"


def assert_same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    np.testing.assert_array_equal(actual, expected)
    assert np.ascontiguousarray(actual).tobytes() == np.ascontiguousarray(expected).tobytes()
