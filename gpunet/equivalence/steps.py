"""Every step of a run begun anew in float64, from the very state that the backend under test had reached."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpunet.equivalence.checked_ops import StepSeen, activation_derivative, dropout_factor
from gpunet.equivalence.errors import agrees, finite, in_units
from gpunet.equivalence.tolerances import (
    dense_backward_bound,
    dense_forward_bound,
    dense_gradient_bounds,
    loss_bounds,
    update_bounds,
)
from gpunet.network import MLP, Workspace
from gpunet.ops import Batch


@dataclass(frozen=True)
class StepError:
    """What a whole step was off by. step: from 1. loss: the batch's mean, over all networks. errors: of what it left,
    "row_loss", "parameters", "m", "v"."""

    step: int
    loss: float
    errors: dict[str, float]

    @property
    def error(self) -> float:
        return max(self.errors.values(), default=math.inf)

    @property
    def agrees(self) -> bool:
        return agrees(self.error)

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "loss": finite(self.loss),
            "errors": {name: finite(error) for name, error in self.errors.items()},
            "error": finite(self.error),
            "agrees": self.agrees,
        }


class RestartedSteps:
    """Judges each `StepSeen` of a run, and keeps what it found in `steps`.

    network: like the one under test, on `NumpyOps(float64)`; its parameters are overwritten. labels: of the data set.
    """

    def __init__(self, network: MLP, labels: np.ndarray) -> None:
        self.network = network
        self.steps: list[StepError] = []
        self._ops = network.ops
        self._labels = self._ops.asarray(labels, np.int32)
        self._works: dict[int, Workspace] = {}

    def judge(self, seen: StepSeen) -> StepError:
        network, ops = self.network, self._ops
        rows = seen.rows.shape[1]
        if rows not in self._works:
            self._works[rows] = Workspace(network, rows)
        work = self._works[rows]
        scale = float(np.float32(seen.scale))  # as the backend has it
        batch = Batch(seen.images, self._labels, seen.rows, scale, work.x, work.y, seen.shares)
        network.parameters[:] = seen.before.parameters
        # The network's own parameters and gradient, so that the state's views are those that its launches write to.
        state = replace(
            seen.before,
            parameters=network.parameters,
            gradient=network.gradient,
            gradient_views=network.layout.views(network.gradient),
            m=None if seen.before.m is None else seen.before.m.copy(),
            v=None if seen.before.v is None else seen.before.v.copy(),
        )
        row_loss, hits = ops.zeros(seen.rows.shape), ops.zeros(seen.rows.shape, np.uint8)
        ops.capture(network.training_launches(batch, work, row_loss, hits, state, seen.step))()
        bounds = _bounds(network, seen, work, row_loss)
        errors = {"row_loss": in_units(seen.row_loss, row_loss, bounds["row_loss"])}
        errors |= {name: in_units(seen.after[name], getattr(state, name), bounds[name]) for name in seen.after}
        loss = np.average(seen.row_loss.astype(np.float64), axis=1, weights=seen.shares).mean()
        step = StepError(seen.step.number + 1, float(loss), errors)
        self.steps.append(step)
        return step


def _bounds(network: MLP, seen: StepSeen, work: Workspace, row_loss: np.ndarray) -> dict[str, np.ndarray]:
    """The bounds of everything that a step leaves: those of its operations, each carried through the next.

    work: as the step in float64 has left it.
    """
    layers = network.layout.views(seen.before.parameters)
    inputs, activation = [work.x, *work.hidden], network.activation
    pairs = zip(seen.dropouts, inputs, strict=True)
    factors = [dropout_factor(dropout, seen.step, x.shape) for dropout, x in pairs]
    read = [x * factor for x, factor in zip(inputs, factors, strict=True)]

    # Forward: errors[k] is that of the k-th layer's input before dropout, and in front of its activation.
    errors: list[np.ndarray | None] = [None]
    for index, (weight, bias) in enumerate(layers):
        name = activation if index < len(layers) - 1 else "identity"
        of_input = None if index == 0 else errors[index] * factors[index]
        errors.append(dense_forward_bound(read[index], weight, bias, name, of_input))
    losses = work.logits, work.y, row_loss, work.dz[-1]
    loss_bound, dz_error = loss_bounds(network.loss, *losses, errors[-1], seen.shares)

    # Backward, and with it the gradient of each layer.
    gradient_bound = np.zeros_like(seen.before.parameters)
    of_layers = network.layout.views(gradient_bound)
    for index in range(len(layers) - 1, -1, -1):
        weight = layers[index][0]
        of_input = None if index == 0 else errors[index] * factors[index]
        of_layers[index][0][:], of_layers[index][1][:] = dense_gradient_bounds(
            read[index], work.dz[index], of_input, dz_error
        )
        if index > 0:
            a, a_error = inputs[index], errors[index]
            derivative = activation_derivative(activation, a) * factors[index]
            z = read[index - 1] @ layers[index - 1][0] + layers[index - 1][1][:, None]
            derivative_error = _derivative_error(activation, z, a, a_error) * factors[index]
            dz_error = dense_backward_bound(work.dz[index], weight, derivative, dz_error, derivative_error)
    gradient = network.gradient
    if seen.before.l2 is not None:  # NumpyOps has added it in place
        gradient = gradient - seen.before.l2[:, None] * seen.before.parameters
    before = replace(seen.before, gradient=gradient)
    return {"row_loss": loss_bound, **update_bounds(before, seen.step.number, gradient_bound)}


def _derivative_error(activation: str, z: np.ndarray, a: np.ndarray, a_error: np.ndarray) -> np.ndarray:
    """How much f' changes where a = f(z) changes by no more than a_error: where relu's z may have either sign, by 1."""
    if activation == "relu":
        return (np.abs(z) <= a_error).astype(np.float64)
    if activation == "sigmoid":
        return a_error  # |1 - 2 a| <= 1
    if activation == "tanh":
        return (2 * np.abs(a) + a_error) * a_error
    return np.zeros_like(a)
