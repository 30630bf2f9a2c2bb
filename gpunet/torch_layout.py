"""PyTorch's names and layout: the state dict of ``torch.nn.Sequential(Linear, activation, Linear, ...)``.

Layer i is "2i.weight" ``[O, I]`` and "2i.bias" ``[O]``, because the activations have the odd numbers; PyTorch computes
``x @ weight.T + bias``, so its weights are the transposes of gpunet's. Dropout, which only training needs, has no
number here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MODULES = {"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "Tanh", "identity": "Identity"}  # of torch.nn


def names_of(layer: int) -> tuple[str, str]:
    """The names of a layer's weight and bias, the layers counted from 0."""
    return f"{2 * layer}.weight", f"{2 * layer}.bias"


def state_dict(network: Any) -> dict[str, np.ndarray]:
    """A single network's parameters as PyTorch has them: {"0.weight": ``[O, I]``, "0.bias": ``[O]``, "2.weight":
    ...}, on the host."""
    tensors = {}
    for layer, (weight, bias) in enumerate(network.layers):
        for name, array in zip(names_of(layer), (weight, bias), strict=True):
            tensors[name] = np.ascontiguousarray(network.ops.to_host(array)[0].T)
    return tensors


def sequential(sizes: Sequence[int], activation: str) -> str:
    """The Python expression for the torch.nn.Sequential that takes these parameters, a module a line."""
    modules = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        modules += [f"Linear({inputs}, {outputs})", f"{MODULES[activation]}()"]
    lines = [f"    torch.nn.{module},\n" for module in modules[:-1]]
    return f"torch.nn.Sequential(\n{''.join(lines)})"
