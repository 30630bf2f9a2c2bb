"""Hyper-parameters of the optimizers, and the table of factors that a run's updates read.

Everything that changes from step to step (Adam's bias corrections) is worked out here in float64 before the run
and rounded once, so that a step on any backend multiplies by a number and computes no power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gpunet.errors import InputError
from gpunet.ops.contract import OptimizerState
from gpunet.parameters import ParameterLayout


@dataclass(frozen=True)
class Adam:
    """PyTorch's Adam: learning_rate and weight_decay are one number or one a network; decoupled makes it AdamW."""

    learning_rate: float | Sequence[float] = 0.001
    weight_decay: float | Sequence[float] = 0.0
    decoupled: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    method: ClassVar[str] = "adam"

    def factors(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t)) for steps t = 1, 2, ..."""
        return 1 / (1 - self.beta1**steps), 1 / np.sqrt(1 - self.beta2**steps)

    def constants(self) -> dict[str, float]:
        return {
            "beta1": self.beta1,
            "one_minus_beta1": 1 - self.beta1,
            "beta2": self.beta2,
            "one_minus_beta2": 1 - self.beta2,
            "eps": self.eps,
        }


@dataclass(frozen=True)
class SGD:
    """PyTorch's SGD: learning_rate and weight_decay are one number or one a network; no dampening, no Nesterov."""

    learning_rate: float | Sequence[float] = 0.1
    weight_decay: float | Sequence[float] = 0.0
    decoupled: bool = False
    momentum: float = 0.0
    method: ClassVar[str] = "sgd"

    def factors(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ones_like(steps), np.ones_like(steps)

    def constants(self) -> dict[str, float]:
        return {"momentum": self.momentum}


Optimizer = Adam | SGD
OPTIMIZERS = {"adam": Adam, "sgd": SGD}


@dataclass
class OptimizerMemory:
    """What an optimizer carries from one run to the next: how many steps it has made, and its moments, on the host,
    float ``[P, length]`` (None where it has none, or none yet)."""

    steps: int = 0
    m: np.ndarray | None = None
    v: np.ndarray | None = None

    def go_on(self, ops: Any, state: OptimizerState, steps: int) -> None:
        """Keep what a run of so many steps has left."""
        self.steps += steps
        self.m = None if state.m is None else ops.to_host(state.m)
        self.v = None if state.v is None else ops.to_host(state.v)


def learning_rates(optimizer: Optimizer, networks: int) -> np.ndarray:
    """Of each network, before any schedule: float64 ``[P]``. Raises `InputError` unless there are as many, or one."""
    return _one_a_network("learning_rate", optimizer.learning_rate, networks)


def step_table(
    optimizer: Optimizer, networks: int, steps: int, steps_before: int = 0, schedule: np.ndarray | None = None
) -> np.ndarray:
    """float64 ``[P, steps, 3]``: learning rate with its bias correction, the factor of sqrt(v), and the decoupled
    decay. schedule: by what the learning rate of each step is multiplied, ``[steps]``."""
    rate = learning_rates(optimizer, networks)[:, None]
    if schedule is not None:
        rate = rate * schedule
    decay = _one_a_network("weight_decay", optimizer.weight_decay, networks)[:, None]
    before, root_factor = optimizer.factors(steps_before + np.arange(1, steps + 1, dtype=np.float64))
    table = np.zeros((networks, steps, 3))
    table[:, :, 0] = rate * before
    table[:, :, 1] = root_factor
    if optimizer.decoupled:
        table[:, :, 2] = rate * decay
    return table


def optimizer_state(
    ops: Any,
    optimizer: Optimizer,
    layout: ParameterLayout,
    parameters: Any,
    gradient: Any,
    steps: int,
    memory: OptimizerMemory | None = None,
    schedule: np.ndarray | None = None,
) -> OptimizerState:
    """Moments and the table of a run of `steps` steps, where `ops` computes. parameters and gradient: ``[P, length]``.
    memory: of the steps before; without, or where it is empty, the moments are zero. schedule: of `step_table`. Raises
    `InputError` for hyper-parameters out of range, and for the memory of other networks or another optimizer."""
    networks, memory = len(parameters), memory or OptimizerMemory()
    _check_constants(optimizer)
    decay = _one_a_network("weight_decay", optimizer.weight_decay, networks)
    has_m = optimizer.method == "adam" or optimizer.momentum != 0
    return OptimizerState(
        method=optimizer.method,
        parameters=parameters,
        gradient=gradient,
        gradient_views=layout.views(gradient),
        m=_moment(ops, parameters.shape, memory, memory.m) if has_m else None,
        v=_moment(ops, parameters.shape, memory, memory.v) if optimizer.method == "adam" else None,
        step_table=ops.asarray(step_table(optimizer, networks, steps, memory.steps, schedule)),
        lr_scale=ops.asarray(np.ones(networks)),
        l2=ops.asarray(decay) if decay.any() and not optimizer.decoupled else None,
        decoupled=optimizer.decoupled and bool(decay.any()),
        **optimizer.constants(),
    )


def _moment(ops: Any, shape: tuple[int, int], memory: OptimizerMemory, remembered: np.ndarray | None) -> Any:
    if memory.steps == 0:
        return ops.zeros(shape)
    if remembered is None or remembered.shape != shape:
        raise InputError("the optimizer's memory is of other networks or of another optimizer: begin with a new one")
    return ops.asarray(remembered)


def _one_a_network(name: str, values: Any, networks: int) -> np.ndarray:
    """One number or one a network as float64 ``[P]``."""
    try:
        each = np.broadcast_to(np.asarray(values, np.float64), networks)
    except (TypeError, ValueError):
        each = np.array([np.nan])
    if not np.all((each >= 0) & (each <= np.finfo(np.float32).max)):
        raise InputError(
            f"{name} must be zero or a positive number, or {networks} of them (one a network), not {values}"
        )
    return each


def _check_constants(optimizer: Optimizer) -> None:
    for name in ("beta1", "beta2"):
        if not 0 <= getattr(optimizer, name, 0) < 1:
            raise InputError(f"{name} must be at least 0 and below 1, not {getattr(optimizer, name)}")
    for name in ("eps", "momentum"):
        if not 0 <= getattr(optimizer, name, 0) < np.inf:
            raise InputError(f"{name} must be zero or a positive number, not {getattr(optimizer, name)}")
