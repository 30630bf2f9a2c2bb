"""How the weights and biases of P networks of the same sizes lie in one flat buffer ``[P, n_params]``.

Order: weight and bias of the first layer, of the second, and so on. Every one begins on a multiple of 128 bytes (in
float32), so that a GPU reads it in whole sectors and vectors; what lies between is zero and stays zero under every
optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

ALIGNMENT = 32  # elements


class LayerSlots(NamedTuple):
    """Where one layer's weight ``[I, O]`` and bias ``[O]`` begin in a network's flat parameters."""

    weight: int
    bias: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class ParameterLayout:
    """The layout for layer sizes such as (784, 64, 10)."""

    sizes: tuple[int, ...]

    @property
    def layers(self) -> tuple[LayerSlots, ...]:
        slots, offset = [], 0
        for inputs, outputs in zip(self.sizes, self.sizes[1:], strict=False):
            bias = offset + aligned(inputs * outputs)
            slots.append(LayerSlots(offset, bias, inputs, outputs))
            offset = bias + aligned(outputs)
        return tuple(slots)

    @property
    def length(self) -> int:
        """Elements a network takes, padding included."""
        last = self.layers[-1]
        return last.bias + aligned(last.outputs)

    @property
    def count(self) -> int:
        """Trainable parameters of one network."""
        return sum((layer.inputs + 1) * layer.outputs for layer in self.layers)

    def views(self, flat: Any) -> tuple[tuple[Any, Any], ...]:
        """(weight ``[P, I, O]``, bias ``[P, O]``) of each layer, views of a flat buffer ``[P, length]``."""
        networks = len(flat)
        return tuple(
            (
                flat[:, layer.weight : layer.weight + layer.inputs * layer.outputs].reshape(
                    networks, layer.inputs, layer.outputs
                ),
                flat[:, layer.bias : layer.bias + layer.outputs],
            )
            for layer in self.layers
        )


def named_views(views: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """{"weight1": ..., "bias1": ..., "weight2": ...}: the names that files and figures use, counted from 1."""
    return {
        f"{kind}{index}": array
        for index, pair in enumerate(views, start=1)
        for kind, array in zip(("weight", "bias"), pair, strict=True)
    }


def initial_parameters(layout: ParameterLayout, init: str, seeds: Sequence[int]) -> np.ndarray:
    """The first parameters of each network: float64 ``[P, length]``, network p's from a generator of seeds[p] alone.

    init: a key of `INITIALIZERS`.
    """
    flat = np.zeros((len(seeds), layout.length))
    for network, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        for weight, bias in layout.views(flat[network : network + 1]):
            INITIALIZERS[init](rng, weight[0], bias[0])
    return flat


def _pytorch(rng: np.random.Generator, weight: np.ndarray, bias: np.ndarray) -> None:
    """What torch.nn.Linear draws: both uniform in +-1/sqrt(inputs)."""
    bound = 1 / math.sqrt(weight.shape[0])
    weight[:] = rng.uniform(-bound, bound, weight.shape)
    bias[:] = rng.uniform(-bound, bound, bias.shape)


def _normal(rng: np.random.Generator, weight: np.ndarray, bias: np.ndarray) -> None:
    """The NumPy report's: standard normal, zero biases."""
    weight[:] = rng.standard_normal(weight.shape)


def _glorot(rng: np.random.Generator, weight: np.ndarray, bias: np.ndarray) -> None:
    """Glorot & Bengio 2010, uniform, zero biases; for sigmoid and tanh."""
    bound = math.sqrt(6 / sum(weight.shape))
    weight[:] = rng.uniform(-bound, bound, weight.shape)


def _he(rng: np.random.Generator, weight: np.ndarray, bias: np.ndarray) -> None:
    """He et al. 2015, normal, zero biases; for relu."""
    weight[:] = rng.standard_normal(weight.shape) * math.sqrt(2 / weight.shape[0])


INITIALIZERS = {"pytorch": _pytorch, "normal": _normal, "glorot": _glorot, "he": _he}


def aligned(elements: int) -> int:
    """The next multiple of `ALIGNMENT`."""
    return math.ceil(elements / ALIGNMENT) * ALIGNMENT
