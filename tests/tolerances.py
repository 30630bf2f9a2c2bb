"""One table of tolerances, in units of eps, the distance from 1 to the next number of a floating type.

A bound says how far correctly written code may be off, from the number of roundings on the way; it scales with what is
summed, so that a term left out, an eps dropped or a product done in a lower precision lies outside of it. All
comparisons go through `assert_within`, which no NaN passes. The roundings themselves are counted in
`gpunet.equivalence.tolerances`.
"""

from __future__ import annotations

import numpy as np

from gpunet.equivalence.tolerances import ELEMENTARY, LOSS, UPDATE, eps, sum_bound, tiny

__all__ = ["ELEMENTARY", "LOSS", "UPDATE", "assert_same_bits", "assert_within", "eps", "sum_bound", "tiny"]

# Comparisons that are no matter of a few roundings:
FINITE_DIFFERENCES = 1e-6  # of a tensor's largest gradient; step 1e-5: truncation and rounding are both below 1e-9
PARITY_FLOAT64 = 1e-12  # 50 steps beside PyTorch: losses relative, weights relative to the tensor's largest
PARITY_FLOAT32 = 1e-5


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
