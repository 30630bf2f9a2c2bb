"""Who trains a population in bench_population.py, and who cannot here, and why."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from device_clock import Device

from gpunet.errors import InputError
from gpunet.ops import NumpyOps
from gpunet.ops.backend import make_backend
from population.problem import Problem, Run, Trained

GPUNET = "gpunet"  # what the names of its own contenders begin with
ONE_AFTER_ANOTHER = "PyTorch, one after another"
EPOCHS_BEFORE = 2  # on a device: those in which kernels are loaded and the graph is made
ENOUGH = 400  # epochs, those of all networks added up: long against how differently long the making of a graph takes


class Contender(NamedTuple):
    """prepare(problem, networks): puts data and weights in place, and returns what trains so many networks."""

    name: str
    prepare: Callable[[Problem, int], Run]


class Contenders(NamedTuple):
    """not_run: {name: why not}."""

    found: list[Contender]
    not_run: dict[str, str]


def find_contenders(device: Device | None) -> Contenders:
    """All that can train on the device, or on the CPU where there is none."""
    contenders = Contenders([], {})
    if device is None:
        contenders.found.append(Contender("gpunet (NumPy)", partial(by_gpunet, NumpyOps())))
        _add_jit(contenders)
    else:
        contenders.found.append(Contender("gpunet (CUDA graph)", partial(by_gpunet_on_a_device, device.ops)))
    _add_torch(contenders, on_device=device is not None)
    _add_jax(contenders, on_device=device is not None)
    return contenders


def by_gpunet(ops: Any, problem: Problem, networks: int) -> Run:
    """Chunks of the population one after another, as large as `Population` finds best."""
    return partial(problem.train, ops, range(networks))


def by_gpunet_on_a_device(ops: Any, problem: Problem, networks: int) -> Run:
    """A long run less a short one, so that making the graph, which the others do beforehand, is not in it. Small
    populations make their epochs several times over, and their seconds are those of once."""
    repeats = max(1, -(-ENOUGH // (networks * problem.epochs)))
    order = problem.order[:, :networks]
    before = np.concatenate([order] * EPOCHS_BEFORE)[:EPOCHS_BEFORE]
    whole = np.concatenate([*[order] * repeats, before])
    members = range(networks)

    def run() -> Trained:
        short, long = problem.train(ops, members, before), problem.train(ops, members, whole)
        return Trained((long.seconds - short.seconds) / repeats, long.losses[:, : problem.steps])

    return run


def _add_jit(contenders: Contenders) -> None:
    name = "gpunet (jit)"
    try:
        ops = make_backend("jit").ops
    except InputError as error:
        contenders.not_run[name] = str(error)
    else:
        contenders.found.append(Contender(name, partial(by_gpunet, ops)))


def _add_torch(contenders: Contenders, *, on_device: bool) -> None:
    names = ["torch.func.vmap", *(["torch.func.vmap, CUDA graph"] if on_device else []), ONE_AFTER_ANOTHER]
    reason = "PyTorch is not installed (pip install torch)"
    if find_spec("torch") is not None:
        import torch

        reason = "this PyTorch cannot use the GPU" if on_device and not torch.cuda.is_available() else None
    if reason is not None:
        contenders.not_run.update(dict.fromkeys(names, reason))
        return
    from population.in_torch import by_torch, by_vmap

    device = "cuda" if on_device else "cpu"
    makers = {
        "torch.func.vmap": partial(by_vmap, device, graph=False),
        "torch.func.vmap, CUDA graph": partial(by_vmap, device, graph=True),
        ONE_AFTER_ANOTHER: partial(by_torch, device),
    }
    contenders.found.extend(Contender(name, makers[name]) for name in names)


def _add_jax(contenders: Contenders, *, on_device: bool) -> None:
    name = "JAX, vmap and scan"
    if find_spec("jax") is None:
        contenders.not_run[name] = "JAX is not installed (pip install jax)"
        return
    from population.in_jax import by_jax, why_not

    reason = why_not(on_device=on_device)
    if reason is None:
        contenders.found.append(Contender(name, by_jax))
    else:
        contenders.not_run[name] = reason
