"""What every contender is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gpunet import MLP, NumpyOps
from gpunet.experiments import Experiment
from training.task import Task

# train(epochs, order) trains from the first weights and returns when it is done. order: int64 [n], the rows in the
# order in which every epoch takes them, or None for a shuffle of its own as the experiment has it. Returns the mean
# loss of each step, [epochs * steps], or where only that can be had, of each epoch, [epochs].
Train = Callable[[int, np.ndarray | None], np.ndarray]


@dataclass(frozen=True)
class Problem:
    """The training rows of an experiment, and the network to train on them."""

    experiment: Experiment
    sizes: tuple[int, ...]
    pixels: np.ndarray  # uint8 [n, I]
    labels: np.ndarray  # int64 [n]

    @classmethod
    def of(cls, task: Task) -> Problem:
        rows = task.split.train
        return cls(task.experiment, task.sizes, task.data.images[rows], task.data.labels[rows].astype(np.int64))

    @cached_property
    def images(self) -> np.ndarray:
        """float32 ``[n, I]``, 0..1."""
        return self.pixels.astype(np.float32) / np.float32(255)

    @property
    def rows(self) -> int:
        """n."""
        return len(self.labels)

    @property
    def steps(self) -> int:
        """Of an epoch; the last one may have fewer rows."""
        return -(-self.rows // self.experiment.batch_size)

    @property
    def binary(self) -> bool:
        return self.sizes[-1] == 1

    @property
    def shuffles(self) -> bool:
        """Whether the experiment takes the rows in a new order in each epoch."""
        return self.experiment.shuffle == "each epoch"

    def network(self, ops: Any) -> MLP:
        """gpunet's network with the first weights of all contenders, in the precision of `ops`."""
        experiment = self.experiment
        return MLP(self.sizes, experiment.activation, 0, loss=experiment.loss, init=experiment.init, ops=ops)

    @cached_property
    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The first weights, a pair a layer: float32 ``[I, O]`` and ``[O]``."""
        return [(weight[0].copy(), bias[0].copy()) for weight, bias in self.network(NumpyOps(np.float32)).layers]

    def order(self) -> np.ndarray:
        """The rows, int64 ``[n]``, in the order that all contenders are given when they are compared."""
        return np.random.default_rng(0).permutation(self.rows)
