"""What results are held against before they are timed.

The bounds are those of `gpunet.equivalence`, with one exception: a loss that another library computes by the textbook's
formula need not have the last bits of small differences that ours has, so here it may be off by roundings of 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpunet.equivalence.errors import in_units
from gpunet.equivalence.tolerances import EPS, LOSS, TINY
from gpunet.ops import NumpyOps


class Expected(NamedTuple):
    """The truth in float64, and how far a result may be off, element by element."""

    value: np.ndarray
    bound: np.ndarray

    def error(self, actual: np.ndarray) -> float:
        """The largest error in units of its bound: at most 1 where the result is right; infinite for NaN."""
        return in_units(actual.reshape(self.value.shape), self.value, self.bound)


def slope(activation: str, a: np.ndarray) -> np.ndarray:
    """The derivative of an activation, float64, from its values."""
    out = np.empty(a.shape)
    dz, weight = np.ones((*a.shape[:2], 1)), np.ones((len(a), a.shape[2], 1))
    NumpyOps(np.float64).dense_backward(dz, weight, a.astype(np.float64), out, activation=activation)
    return out


def loss_expected(
    name: str, logits: np.ndarray, values: dict[str, np.ndarray], logits_error: np.ndarray | float = 0.0
) -> dict[str, Expected]:
    """row_loss, hits and dlogits. values: the truth of the three. logits_error: how far the logits may be off.

    A loss moves at most twice as far as the logit of its row that moves most, a probability not as far; the squared
    error, whose slope has no limit, by its own. A hit may be missed where the logits that decide are as good as equal.
    """
    rows, classes = logits.shape[1:]
    row_loss, hits, dlogits = values["row_loss"], values["hits"], values["dlogits"]
    off_by = np.broadcast_to(logits_error, logits.shape).max(axis=-1)
    roundings = (LOSS + classes) * EPS
    if name == "squared_error":
        loss_bound = roundings * row_loss + (2 * np.sqrt(row_loss) + off_by) * off_by
        gradient_bound = roundings * np.abs(dlogits) + 2 / (classes * rows) * off_by[..., None]
    else:
        loss_bound = roundings * np.maximum(1, row_loss) + 2 * off_by
        gradient_bound = np.broadcast_to((roundings + off_by)[..., None] / rows, dlogits.shape)
    if classes == 1:
        margin = np.abs(logits[..., 0].astype(np.float64) - (0.5 if name == "squared_error" else 0))
    else:
        second, first = np.moveaxis(np.partition(logits.astype(np.float64), -2)[..., -2:], -1, 0)
        margin = first - second
    return {
        "row_loss": Expected(row_loss, loss_bound + TINY),
        "hits": Expected(hits.astype(np.float64), (margin <= 2 * off_by).astype(np.float64)),
        "dlogits": Expected(dlogits, gradient_bound + TINY),
    }
