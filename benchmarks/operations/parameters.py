"""The cases that change parameters: an optimizer alone, and the gradients of all layers with their update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpunet import MLP, SGD, Adam
from gpunet.equivalence.tolerances import dense_gradient_bounds, update_bounds
from gpunet.network import Workspace
from gpunet.ops import Batch, LayerGradient, OptimizerState, Step
from gpunet.optimizers import optimizer_state
from gpunet.parameters import ParameterLayout
from operations.bounds import Expected
from operations.case import (
    EXACT,
    FLOAT,
    Case,
    Inputs,
    Prepared,
    batch_on,
    drawn_data_set,
    first_input_in_cupy,
    gathered_bytes,
    normal,
)
from operations.in_cupy import adam_in_cupy, sgd_in_cupy

OPTIMIZERS = {"adam": Adam(0.001), "sgd": SGD(0.1)}
# Of one weight: floats that an update reads and writes beside the gradient, and operations.
UPDATE_FLOATS = {"adam": 6, "sgd": 2}
UPDATE_FLOPS = {"adam": 13, "sgd": 2}


@dataclass(frozen=True)
class Optimizer(Case):
    """The update alone, as other libraries make it: from a stored gradient."""

    kernel: str
    sizes: tuple[int, ...]

    @property
    def shape(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def detail(self) -> str:
        return f"{self._layout.count:,} parameters"

    @property
    def flops(self) -> int:
        return UPDATE_FLOPS[self.kernel] * self._layout.length

    @property
    def bytes(self) -> int:
        return FLOAT * (UPDATE_FLOATS[self.kernel] + 1) * self._layout.length

    @property
    def _layout(self) -> ParameterLayout:
        return ParameterLayout(self.sizes)

    def draw(self) -> Inputs:
        return _draw_state(np.random.default_rng(0), self._layout, self.kernel)

    def on(self, ops: Any, inputs: Inputs) -> Prepared:
        state, results = _state(ops, self.kernel, self._layout, inputs)
        return Prepared((partial(getattr(ops, self.kernel), state, _first_step(ops)),), results)

    def expected(self, inputs: Inputs) -> dict[str, Expected]:
        return _expected_update(*_state(EXACT, self.kernel, self._layout, inputs))

    def in_cupy(self, xp: Any, inputs: Inputs) -> Prepared:
        arrays = {name: xp.asarray(values[0]) for name, values in inputs.items()}
        gradient = arrays.pop("gradient")
        return Prepared((_update_in_cupy(xp, self.kernel, gradient, arrays),), arrays)


@dataclass(frozen=True)
class DenseUpdate(Case):
    """The gradients of all layers, and the update with them."""

    sizes: tuple[int, ...]
    rows: int
    method: str = "adam"
    kernel = "dense_update"

    @property
    def shape(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, {self.rows} row{'s' if self.rows > 1 else ''}"

    @property
    def detail(self) -> str:
        return self.method

    @property
    def flops(self) -> int:
        weights = 2 * self.rows * sum(layer.inputs * layer.outputs for layer in self._layout.layers)
        return weights + self.rows * sum(self.sizes[1:]) + UPDATE_FLOPS[self.method] * self._layout.count

    @property
    def bytes(self) -> int:
        activations = FLOAT * self.rows * (sum(self.sizes[1:-1]) + sum(self.sizes[1:]))  # hidden ones, and dz
        parameters = FLOAT * UPDATE_FLOATS[self.method] * self._layout.count
        return gathered_bytes(self.rows, self.sizes[0]) + activations + parameters

    @property
    def largest_product(self) -> int:
        return self.rows * max(layer.inputs * layer.outputs for layer in self._layout.layers)

    @property
    def _layout(self) -> ParameterLayout:
        return ParameterLayout(self.sizes)

    def draw(self) -> Inputs:
        rng = np.random.default_rng(0)
        drawn = _draw_state(rng, self._layout, self.method) | drawn_data_set(
            rng, self.rows, self.sizes[0], self.sizes[-1]
        )
        del drawn["gradient"]
        drawn |= {f"hidden{i}": np.maximum(normal(rng, self.rows, n), 0) for i, n in enumerate(self.sizes[1:-1], 1)}
        return drawn | {f"dz{i}": normal(rng, self.rows, n) for i, n in enumerate(self.sizes[1:])}

    def on(self, ops: Any, inputs: Inputs) -> Prepared:
        layers = self._layers(ops, inputs)
        state, results = _state(ops, self.method, self._layout, inputs)
        return Prepared((partial(ops.dense_update, layers, state, _first_step(ops)),), results)

    def expected(self, inputs: Inputs) -> dict[str, Expected]:
        layers = self._layers(EXACT, inputs)
        state, results = _state(EXACT, self.method, self._layout, inputs)
        EXACT.dense_gradient(layers, state.gradient_views)
        error = np.zeros(state.gradient.shape)
        for layer, views in zip(layers, self._layout.views(error), strict=True):
            x = layer.x.x if isinstance(layer.x, Batch) else layer.x
            for view, bound in zip(views, dense_gradient_bounds(x, layer.dz), strict=True):
                view[...] = bound
        return _expected_update(state, results, error)

    def _layers(self, ops: Any, inputs: Inputs) -> tuple[LayerGradient, ...]:
        """Their arrays lie as those of a network in training do."""
        work = Workspace(MLP(self.sizes, ops=ops, loss="squared_error"), self.rows)
        for index, dz in enumerate(work.dz):
            dz[...] = ops.asarray(inputs[f"dz{index}"])
        for index, hidden in enumerate(work.hidden, 1):
            hidden[...] = ops.asarray(inputs[f"hidden{index}"])
        pairs = zip((batch_on(ops, inputs), *work.hidden), work.dz, strict=True)
        return tuple(LayerGradient(x, dz, None) for x, dz in pairs)

    def in_cupy(self, xp: Any, inputs: Inputs) -> Prepared:
        """The first layer's input is read as the forward pass left it, gathered."""
        buffers = {name: xp.asarray(inputs[name][0]) for name in ("parameters", "m", "v") if name in inputs}
        gradient = xp.zeros_like(buffers["parameters"])
        first, _ = first_input_in_cupy(xp, inputs)
        launches: list[Callable[[], Any]] = []
        for index, (dweight, dbias) in enumerate(self._layout.views(gradient[None])):
            x = xp.asarray(inputs[f"hidden{index}"][0]) if index else first
            dz = xp.asarray(inputs[f"dz{index}"][0])
            launches += [partial(xp.dot, x.T, dz, out=dweight[0]), partial(xp.sum, dz, axis=0, out=dbias[0])]
        return Prepared((*launches, _update_in_cupy(xp, self.method, gradient, buffers)), buffers)


def _draw_state(rng: np.random.Generator, layout: ParameterLayout, method: str) -> Inputs:
    """Parameters, a gradient, and Adam's moments as they are in the middle of a run; zero in the padding."""
    drawn = {}
    for name in ("parameters", "gradient", "m", "v") if method == "adam" else ("parameters", "gradient"):
        flat = drawn[name] = np.zeros((1, layout.length), np.float32)
        for pair in layout.views(flat):
            for view in pair:
                view[...] = rng.standard_normal(view.shape, np.float32)
                if name == "v":
                    view[...] = 0.5 + np.abs(view)
    return drawn


def _state(ops: Any, method: str, layout: ParameterLayout, inputs: Inputs) -> tuple[OptimizerState, dict[str, Any]]:
    """The state on a backend, and what its update writes."""
    parameters = ops.asarray(inputs["parameters"])
    gradient = ops.asarray(inputs["gradient"]) if "gradient" in inputs else ops.zeros(parameters.shape)
    state = optimizer_state(ops, OPTIMIZERS[method], layout, parameters, gradient, steps=1)
    results = {"parameters": parameters}
    if method == "adam":
        results |= {"m": state.m, "v": state.v}
        state.m[...], state.v[...] = ops.asarray(inputs["m"]), ops.asarray(inputs["v"])
    return state, results


def _expected_update(
    state: OptimizerState, results: dict[str, np.ndarray], gradient_error: np.ndarray | float = 0.0
) -> dict[str, Expected]:
    """What the first step leaves of a state in float64 that holds its gradient. The state changes."""
    bounds = update_bounds(state, 0, gradient_error)
    getattr(EXACT, state.method)(state, _first_step(EXACT))
    return {name: Expected(value, bounds[name]) for name, value in results.items()}


def _first_step(ops: Any) -> Step:
    return Step(ops.zeros(1, np.int32), 0, 1)


def _update_in_cupy(xp: Any, method: str, gradient: Any, buffers: dict[str, Any]) -> Callable[[], Any]:
    if method == "adam":
        return partial(adam_in_cupy, xp, OPTIMIZERS[method], gradient, **buffers)
    return partial(sgd_in_cupy, xp, OPTIMIZERS[method], gradient, **buffers)
