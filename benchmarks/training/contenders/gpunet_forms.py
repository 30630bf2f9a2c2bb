"""gpunet as its users train: bytes in, a history out. Variants are its backends."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import MLP, NumpyOps, train
from gpunet.errors import InputError
from gpunet.ops.backend import BACKENDS, make_backend
from gpunet.optimizers import OPTIMIZERS, Adam, Optimizer
from training.contenders.problem import Problem, Train


def why_not(variant: str, device: int | None) -> str | None:
    try:
        _ops(variant, device)
    except InputError as error:
        return str(error)
    return None


def prepare(problem: Problem, variant: str, device: int | None) -> Train:
    ops = _ops(variant, device)

    def run(epochs: int, order: np.ndarray | None) -> np.ndarray:
        return losses(problem, problem.network(ops), problem.pixels, epochs, order)

    return run


def losses(
    problem: Problem,
    network: MLP,
    images: np.ndarray,
    epochs: int,
    order: np.ndarray | None,
    optimizers: dict[str, type[Optimizer]] = OPTIMIZERS,
) -> np.ndarray:
    """Trains this network; the loss of each step, float64 ``[epochs * steps]``. images: bytes, or floats in 0..1."""
    experiment = problem.experiment
    history = train(
        network,
        images,
        problem.labels,
        optimizer=optimizers[experiment.optimizer](experiment.learning_rate),
        epochs=epochs,
        batch_size=experiment.batch_size,
        shuffle=experiment.shuffle if order is None else np.broadcast_to(order, (epochs, len(order))),
    )
    return history.step_loss[0].ravel()


class AdamEpsFirst(Adam):
    """Adam as scikit-learn has it, which adds eps before the correction of v; PyTorch and gpunet add it after it."""

    def factors(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        m_share, v_share = 1 - self.beta1**steps, 1 - self.beta2**steps
        return np.sqrt(v_share) / m_share, np.ones_like(steps)


def reference(problem: Problem, epochs: int, *, eps_first: bool = False) -> np.ndarray:
    """The losses that others are compared with: NumPy's in float64 from the same float32 images and weights, float64
    ``[epochs * steps]``. eps_first: with scikit-learn's Adam."""
    network = problem.network(NumpyOps(np.float64))
    for (weight, bias), (first_weight, first_bias) in zip(network.layers, problem.weights, strict=True):
        weight[0], bias[0] = first_weight, first_bias
    optimizers = OPTIMIZERS | ({"adam": AdamEpsFirst} if eps_first else {})
    return losses(problem, network, problem.images.astype(np.float64), epochs, problem.order(), optimizers)


def _ops(variant: str, device: int | None) -> Any:
    """Raises `InputError` where there is none."""
    if variant == "numpy":
        return NumpyOps()
    backend, _, launches = variant.partition("-")
    if backend not in BACKENDS:
        raise InputError(f"this gpunet has no backend {backend}")
    ops = make_backend(backend, device or 0).ops
    return type(ops)(device, graphs=False) if launches == "direct" else ops
