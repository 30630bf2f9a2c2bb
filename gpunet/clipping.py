"""Gradient clipping by the global norm (Pascanu, Mikolov & Bengio 2013), as torch.nn.utils.clip_grad_norm_ does it.

All of a network's gradient, of all weights and biases, is one vector: where it is longer than max_norm it is made that
long. It happens between `dense_gradient` and the optimizer, where weight decay is added later and is not clipped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpunet.errors import InputError


def clip_launches(ops: Any, gradient: Any, max_norm: float | None) -> list[Callable[[], None]]:
    """gradient ``[P, length]`` *= min(1, max_norm / (its network's norm + 1e-6)). None: no call at all."""
    if max_norm is None:
        return []
    return [partial(ops.clip_gradient, gradient, max_norm, ops.zeros(len(gradient)))]


def check_clip_norm(max_norm: float | None) -> None:
    """Raise `InputError` unless this is a norm to clip by, or None."""
    if max_norm is not None and not 0 < max_norm < np.inf:
        raise InputError(f"clip_norm must be a positive number, not {max_norm}")
