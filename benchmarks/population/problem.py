"""What bench_population.py trains, for all alike: data, weights, batches, and the losses that must come out.

P networks of one experiment's sizes, whose seeds and orders of rows differ. Losses are compared with NumPy's in
float64, step by step; how far off they may be is measured, not chosen: a few times as far as NumPy's in float32 are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from training.task import Task

from gpunet import MLP, NumpyOps
from gpunet.experiments import Experiment
from gpunet.optimizers import Adam
from gpunet.population import Population

ALLOWED_RATIO = 4  # of distances from float64: a contender's to that of NumPy in float32
ROUNDINGS = 8  # units of the loss's last place, which are always allowed
COMPARED = 16  # the first networks of a population whose losses are compared, besides its last
COMPARED_STEPS = 50  # later, a ReLU that rounding has switched may separate two runs, both of them right


class Trained(NamedTuple):
    """seconds: from weights and data in place to the losses on the host. losses: the mean loss of each step's batch
    before its update, ``[P, steps]``."""

    seconds: float
    losses: np.ndarray


Run = Callable[[], Trained]  # trains all networks from their initial weights, as often as it is called


@dataclass(frozen=True)
class Problem:
    """experiment: whose network is trained, by Adam. images: uint8 ``[N, I]``. labels: int64 ``[N]``. order: rows of
    the images, int32 ``[epochs, P, n]``, each network's own in each epoch; n is a multiple of the batch size."""

    experiment: Experiment
    sizes: tuple[int, ...]
    images: np.ndarray
    labels: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, task: Task, epochs: int, networks: int) -> Problem:
        """A task's training rows in full batches, in orders for so many networks."""
        rows = np.broadcast_to(task.split.train, (epochs, networks, len(task.split.train)))
        order = np.random.default_rng(0).permuted(rows, axis=-1).astype(np.int32)
        full = len(task.split.train) // task.experiment.batch_size * task.experiment.batch_size
        labels = task.data.labels.astype(np.int64)
        return cls(task.experiment, task.sizes, task.data.images, labels, order[:, :, :full])

    @property
    def epochs(self) -> int:
        return len(self.order)

    @property
    def steps(self) -> int:
        """Of all epochs together."""
        return self.epochs * self.order.shape[2] // self.experiment.batch_size

    @property
    def optimizer(self) -> Adam:
        return Adam(self.experiment.learning_rate)

    def initial_layers(self, networks: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(weight ``[P, I, O]``, bias ``[P, O]``) of each layer, float32, of the first networks: seeds 0, 1, ..."""
        return list(MLP(self.sizes, seed=range(networks), init=self.experiment.init).layers)

    def batches(self, networks: int) -> np.ndarray:
        """The first networks' rows of each step: int32 ``[steps, P, B]``."""
        order = self.order[:, :networks].reshape(self.epochs, networks, -1, self.experiment.batch_size)
        return np.ascontiguousarray(order.swapaxes(1, 2)).reshape(self.steps, networks, -1)

    def train(self, ops: object, members: Sequence[int], order: np.ndarray | None = None) -> Trained:
        """These networks by gpunet. order: instead of their own."""
        experiment = self.experiment
        population = Population(
            self.sizes, experiment.activation, members, loss=experiment.loss, init=experiment.init, ops=ops
        )
        order = self.order[:, np.asarray(members)] if order is None else order
        history = population.train(
            self.images,
            self.labels,
            order[0],
            optimizer=self.optimizer,
            epochs=len(order),
            batch_size=experiment.batch_size,
            shuffle=order,
        )
        return Trained(history.seconds, history.step_loss.reshape(len(members), -1))


class Reference:
    """The losses that must come out of the first steps: of the first networks of all populations, and of each
    population's last."""

    def __init__(self, problem: Problem, populations: Sequence[int]) -> None:
        self._problem = problem
        self._members = sorted({*range(min(COMPARED, max(populations))), *(networks - 1 for networks in populations)})

    def error(self, losses: np.ndarray) -> float:
        """How far losses ``[P, steps]`` are off, in units of what is allowed: more than 1 is wrong. NaN is infinite."""
        compared = [at for at, member in enumerate(self._members) if member < len(losses)]
        expected = self._expected[compared]
        if losses.shape[1] != self._problem.steps or not np.isfinite(losses).all():
            return np.inf
        found = losses[[self._members[at] for at in compared], :COMPARED_STEPS].astype(np.float64)
        allowed = self._bound + ROUNDINGS * np.finfo(np.float32).eps * np.abs(expected)
        return float((np.abs(found - expected) / allowed).max())

    @cached_property
    def _expected(self) -> np.ndarray:
        """float64 ``[members, steps]``"""
        return self._losses(NumpyOps(np.float64))

    @cached_property
    def _bound(self) -> np.ndarray:
        """``[steps]``: from float64 to float32 in NumPy, the farthest of all members up to each step."""
        apart = np.abs(self._losses(NumpyOps()) - self._expected).max(axis=0)
        return ALLOWED_RATIO * np.maximum.accumulate(apart)

    def _losses(self, ops: NumpyOps) -> np.ndarray:
        return self._problem.train(ops, self._members).losses[:, :COMPARED_STEPS]
