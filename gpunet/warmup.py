"""Compiling ahead of time what an experiment will launch: it is gone through on made-up data, and nothing is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.data import choose_classes
from gpunet.data.dataset import PIXELS, Dataset
from gpunet.errors import InputError
from gpunet.evaluation import evaluate
from gpunet.experiments import EXPERIMENTS, TASKS, Experiment
from gpunet.runs import RunConfig, make_network, split_rows, training_options
from gpunet.training import train

IMAGES = 5000  # in the reports' file, in ten classes; on their number depends how long the last batches are


def choose_experiments(task: str | None = None, exp: str | None = None) -> list[Experiment]:
    """The experiments of that task and that name; None stands for all.

    Raises `InputError` that lists what there is.
    """
    if task is not None and task not in TASKS:
        raise InputError(f"task {task!r} is not known: use one of {', '.join(TASKS)}")
    of_task = [experiment for experiment in EXPERIMENTS if task in (None, experiment.task)]
    chosen = [experiment for experiment in of_task if exp in (None, experiment.name)]
    if not chosen:
        names = dict.fromkeys(experiment.name for experiment in of_task)
        raise InputError(f"experiment {exp!r} is not known: use one of {', '.join(names)}")
    return chosen


def compile_kernels(experiment: Experiment, ops: Any) -> None:
    """Compile, or find on disk, every kernel with which `ops` (a `CudaOps`) would train and evaluate an experiment.

    For full and short batches, in training and in evaluation. Of what these kernels compute nothing is run; an order of
    rows that is shuffled once for all epochs is.
    """
    config = RunConfig.from_experiment(experiment.task, experiment.name, epochs=1)
    dataset = _blank_images(config)
    split = split_rows(config, dataset.labels, config.seed)
    network = make_network(config, dataset, _CompilingOps(ops))
    validation = split.validation if len(split.validation) else None
    train(network, dataset.images, dataset.labels, split.train, validation, **training_options(config))
    evaluate(network, dataset.images[split.test], dataset.labels[split.test], dataset.class_names)


class _CompilingOps:
    """Operations of which a list of launches is compiled where it would be captured, and replaying it does nothing."""

    def __init__(self, ops: Any) -> None:
        self._ops = ops

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)

    def capture(self, *arguments: Any, **options: Any) -> Callable[[], None]:
        """See `CudaOps.capture`."""
        for launch in self._ops.capture(*arguments, **options).launches:
            launch.compile()
        return _do_nothing


def _do_nothing() -> None:
    pass


def _blank_images(config: RunConfig) -> Dataset:
    """As many images as in the reports' file, all black."""
    images, labels = np.zeros((IMAGES, PIXELS), np.uint8), np.arange(IMAGES) % 10
    dataset = Dataset(images, labels, tuple("0123456789"), source="blank images", note="")
    return dataset if config.classes is None else choose_classes(dataset, config.classes)
