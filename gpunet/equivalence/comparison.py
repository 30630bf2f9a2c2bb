"""One run on the backend under test, followed operation by operation and step by step, and the same run in NumPy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpunet.augmentation import Augmentation
from gpunet.equivalence.checked_ops import CheckedOps, StepSeen
from gpunet.equivalence.errors import Finding, agrees, finite
from gpunet.equivalence.steps import RestartedSteps, StepError
from gpunet.equivalence.tolerances import EPS
from gpunet.history import History
from gpunet.network import MLP
from gpunet.ops import NumpyOps, Step
from gpunet.optimizers import Adam, Optimizer, optimizer_state
from gpunet.training import TrainingDiverged, train

ALLOWED_RATIO = 4  # of distances from float64: left to itself, the backend's to that of NumPy in float32


@dataclass(frozen=True)
class Drift:
    """How far a run in float32, left to itself, ends from float64, beside how far NumPy in float32 does.

    least: a distance that is as good as none, one rounding of what is compared. The ratio is to the larger of the two.
    """

    distance: float
    numpy_float32: float
    least: float

    @property
    def ratio(self) -> float:
        return self.distance / max(self.numpy_float32, self.least)

    @property
    def error(self) -> float:
        ratio = self.ratio / ALLOWED_RATIO
        return math.inf if math.isnan(ratio) else ratio

    @property
    def agrees(self) -> bool:
        return agrees(self.error)

    def as_json(self) -> dict[str, Any]:
        names = ("distance", "numpy_float32", "least", "ratio", "error")
        return {name: finite(getattr(self, name)) for name in names} | {"agrees": self.agrees}


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. See the package for the meaning of each part.

    losses, weights: of the run left to itself, infinite where it stopped. same_bits: whether a second run ended with
    the same bits; None where none was made.
    """

    operations: tuple[Finding, ...]
    steps: tuple[StepError, ...]
    losses: Drift
    weights: Drift
    same_bits: bool | None
    stopped: str | None
    seconds: float

    @property
    def agrees(self) -> bool:
        parts = [*self.operations, *self.steps, self.losses, self.weights]
        return self.stopped is None and self.same_bits is not False and all(part.agrees for part in parts)

    def disagreements(self) -> list[str]:
        """What does not agree, each in a few words; empty if everything does."""
        found = [f"{row.operation} ({row.where})" for row in self.operations if not row.agrees]
        wrong = [step.step for step in self.steps if not step.agrees]
        if wrong:
            found.append(f"{len(wrong)} of {len(self.steps)} steps, the first of them step {wrong[0]}")
        drifts = {"the losses": self.losses, "the weights": self.weights}
        if self.stopped:
            return [*found, f"the run, which stopped: {self.stopped}"]
        found += [f"{name} of the run left to itself" for name, drift in drifts.items() if not drift.agrees]
        return found + (["a second run, which ends with other bits"] if self.same_bits is False else [])

    def as_json(self) -> dict[str, Any]:
        """The keys that hold results; whoever calls knows the rest."""
        drifts = {"losses": self.losses.as_json(), "weights": self.weights.as_json()}
        same = None if self.same_bits is None else {"same_bits": self.same_bits, "agrees": self.same_bits}
        return {
            "agrees": self.agrees,
            "stopped": self.stopped,
            "operations": [row.as_json() for row in self.operations],
            "steps": [step.as_json() for step in self.steps],
            "free_running": {"allowed": ALLOWED_RATIO, **drifts},
            "repeat": same,
            "seconds": round(self.seconds, 1),
        }


def compare(
    make_network: Callable[[Any], MLP],
    ops: Any,
    images: np.ndarray,
    labels: np.ndarray,
    train_rows: np.ndarray | None = None,
    validation_rows: np.ndarray | None = None,
    *,
    optimizer: Optimizer | None = None,
    epochs: int = 1,
    batch_size: int = 64,
    shuffle: str = "each epoch",
    augmentation: Augmentation | None = None,
    repeat: bool = False,
    on_step: Callable[[StepError], None] | None = None,
) -> Comparison:
    """Train on `ops` under observation, and in NumPy beside it.

    make_network: from operations to an untrained network, always the same one but for where it computes. ops: the
    backend under test. The rest: as for `train`. repeat: train once more on `ops`, unobserved, and compare the bits.
    on_step: told of each step as it has been judged.

    Raises `TrainingDiverged` where the run diverges in float64 already: then it says nothing about the backend.
    """
    began = time.perf_counter()
    optimizer = optimizer or Adam()
    run = partial(
        train,
        images=images,
        labels=labels,
        train_rows=train_rows,
        validation_rows=validation_rows,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        shuffle=shuffle,
        augmentation=augmentation,
    )
    exact, float32 = (_trained(make_network(NumpyOps(dtype)), run) for dtype in (np.float64, np.float32))
    restarted = RestartedSteps(make_network(NumpyOps(np.float64)), labels)

    def judge(seen: StepSeen) -> dict[str, float]:
        step = restarted.judge(seen)
        if on_step is not None:
            on_step(step)
        return step.errors

    checked = CheckedOps(ops, judge)
    network = make_network(checked)
    losses = weights = Drift(math.inf, math.nan, EPS)
    same_bits = stopped = None
    try:
        tested = _trained(network, run)
        losses, weights = _drifts(tested, float32, exact)
        _unfused_operations(network, images[:batch_size], labels[:batch_size], optimizer)
        if repeat:
            same_bits = _same_bits(tested, _trained(make_network(ops), run))
    except TrainingDiverged as error:
        stopped = str(error)
    operations, seconds = tuple(checked.findings.values()), time.perf_counter() - began
    return Comparison(operations, tuple(restarted.steps), losses, weights, same_bits, stopped, seconds)


@dataclass(frozen=True)
class _Trained:
    """step_loss: float64 ``[P, epochs, S]``. parameters: ``[P, length]``, on the host."""

    step_loss: np.ndarray
    parameters: np.ndarray


def _trained(network: MLP, run: Callable[[MLP], History]) -> _Trained:
    history = run(network)
    if history.interrupted:
        raise KeyboardInterrupt
    return _Trained(history.step_loss, network.ops.to_host(network.parameters))


def _unfused_operations(network: MLP, images: np.ndarray, labels: np.ndarray, optimizer: Optimizer) -> None:
    """What training fuses, once on its own: each layer's forward and backward pass, the loss, the gradient, which is
    clipped, and two steps of the optimizer with it."""
    network.forward(images)
    network.backward(labels)
    ops = network.ops
    norms = np.linalg.norm(ops.to_host(network.gradient).astype(np.float64), axis=1)
    ops.clip_gradient(network.gradient, float(np.median(norms)) / 2 or 1.0, ops.zeros(len(norms)))
    state = optimizer_state(ops, optimizer, network.layout, network.parameters, network.gradient, 2)
    epoch = ops.zeros(1, np.int32)
    for index in range(2):
        getattr(ops, state.method)(state, Step(epoch, index, 2))


def _drifts(tested: _Trained, float32: _Trained, exact: _Trained) -> tuple[Drift, Drift]:
    """Of the losses of all steps, and of the final weights, relative to these."""

    def of_losses(run: _Trained) -> float:
        return _root_mean_square(run.step_loss - exact.step_loss)

    def of_weights(run: _Trained) -> float:
        size = _root_mean_square(exact.parameters)
        return _root_mean_square(run.parameters.astype(np.float64) - exact.parameters) / size

    one_rounding = EPS * _root_mean_square(np.maximum(1, exact.step_loss))
    return (
        Drift(of_losses(tested), of_losses(float32), one_rounding),
        Drift(of_weights(tested), of_weights(float32), EPS),
    )


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _same_bits(first: _Trained, second: _Trained) -> bool:
    pairs = (first.step_loss, second.step_loss), (first.parameters, second.parameters)
    return all(one.tobytes() == other.tobytes() for one, other in pairs)
