"""scikit-learn's L2 penalty: strength / 2 * sum of w^2 over all weights, biases excluded, as part of a batch's loss.

Its gradient, strength * W, joins the loss's between `dense_gradient` and the optimizer, where `weight_decay` has
PyTorch's meaning and decays biases as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunet.errors import InputError
from gpunet.ops import OptimizerState, Step


def penalty_launches(
    ops: Any, layers: Sequence[tuple[Any, Any]], gradient_views: Sequence[tuple[Any, Any]], strength: float
) -> list[Callable[[], None]]:
    """dweight += strength * weight, for the weights of all layers of each network.

    layers: (weight ``[P, I, O]``, bias ``[P, O]``) of each. gradient_views: of their gradients, likewise.

    y += s x is what an SGD step with the rate -s makes of "parameters" y and their "gradient" x, so every backend has
    the operation. It takes whole buffers ``[P, length]``; a single weight of a single network is one.
    """
    rate = np.array([[[-strength, 1.0, 0.0]]])
    common = {"method": "sgd", "gradient_views": (), "m": None, "v": None}
    common |= {"step_table": ops.asarray(rate), "lr_scale": ops.asarray([1.0])}
    step = Step(ops.zeros(1, np.int32), 0, 1)
    return [
        partial(ops.sgd, OptimizerState(parameters=_row(dweight, p), gradient=_row(weight, p), **common), step)
        for (weight, _), (dweight, _) in zip(layers, gradient_views, strict=True)
        for p in range(len(weight))
    ]


def check_penalty(weight_penalty: float) -> None:
    """Raise `InputError` unless this is a strength."""
    if not 0 <= weight_penalty < np.inf:
        raise InputError(f"weight_penalty must be zero or a positive number, not {weight_penalty}")


def _row(array: Any, network: int) -> Any:
    """One network's part as ``[1, size]``, a view."""
    return array[network].reshape(1, -1)
