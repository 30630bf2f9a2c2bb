"""An experiment with its data, as bench_device.py and bench_train.py train it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpunet import MLP, History, load_data, train
from gpunet.data import Dataset, Split, choose_classes, stratified_split
from gpunet.experiments import Experiment, find_experiment
from gpunet.optimizers import OPTIMIZERS


@dataclass(frozen=True)
class Task:
    """An experiment with its data, split as its report split them."""

    experiment: Experiment
    data: Dataset
    split: Split

    @classmethod
    def load(cls, source: str, task: str, name: str) -> Task:
        data = load_data(source)
        if task == "binary":
            data = choose_classes(data, ("4", "9"))
        split = stratified_split(data.labels, seed=0, validation=0.2 if task == "multiclass" else 0.0)
        return cls(find_experiment(task, name), data, split)

    @property
    def sizes(self) -> tuple[int, ...]:
        outputs = 1 if self.experiment.task == "binary" else len(self.data.class_names)
        return (self.data.images.shape[1], *self.experiment.hidden, outputs)

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-len(self.split.train) // self.experiment.batch_size)

    @property
    def flops(self) -> int:
        """Of a full step's products: forward, the weights' gradients, and all layers' inputs' but the images'."""
        layers = [a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        return 2 * self.experiment.batch_size * (3 * sum(layers) - layers[0])

    def train(self, ops: Any, epochs: int, seed: int | Sequence[int] = 0, *, validate: bool = False) -> Trained:
        experiment = self.experiment
        network = MLP(self.sizes, experiment.activation, seed, loss=experiment.loss, init=experiment.init, ops=ops)
        history = train(
            network,
            self.data.images,
            self.data.labels,
            self.split.train,
            self.split.validation if validate else None,
            optimizer=OPTIMIZERS[experiment.optimizer](experiment.learning_rate),
            epochs=epochs,
            batch_size=experiment.batch_size,
            shuffle=experiment.shuffle,
        )
        return Trained(network, history)

    def accuracy(self, network: MLP) -> float:
        rows = self.split.test
        return float((network.predict(self.data.images[rows]) == self.data.labels[rows]).mean())

    def __str__(self) -> str:
        return f"{self.experiment.task} {self.experiment.name}"


class Trained(NamedTuple):
    network: MLP
    history: History

    def same_bits(self, other: Trained, member: int = 0) -> bool:
        """Whether the network of index `member` ended as the other, a single one, with the same losses on the way."""
        pairs = [
            (self.history.step_loss, other.history.step_loss),
            (self.network.ops.to_host(self.network.parameters), other.network.ops.to_host(other.network.parameters)),
        ]
        return all(np.array_equal(ours[member], theirs[0]) for ours, theirs in pairs)
