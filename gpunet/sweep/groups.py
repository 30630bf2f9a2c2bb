"""One group of a sweep: combinations of one shape, with all their seeds, trained as one population.

It is given the rows to train and to validate on, and no others: a sweep cannot choose by the test set, since it never
has it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gpunet.data import stratified_split
from gpunet.data.dataset import Dataset
from gpunet.data.subset import limited_rows
from gpunet.history import Curve, EpochReport, History
from gpunet.network import MLP
from gpunet.ops.backend import make_backend
from gpunet.optimizers import OPTIMIZERS
from gpunet.population import Population
from gpunet.runs import RunConfig, network_options
from gpunet.sweep.plan import SHARED, Plan
from gpunet.training import TrainingDiverged

VALIDATION = 0.2  # of what is not for the test: the multiclass report's share, and taken for binary tasks too

Record = dict[str, Any]
FIGURES = ("validation_accuracy", "validation_loss", "train_accuracy", "train_loss")

_one_at_a_time = threading.Lock()  # a Dask worker may have several threads, and there is one BLAS and one device


@dataclass(frozen=True)
class Material:
    """What all groups are trained on: the data set, and for each seed the rows ``[seeds, n]`` to train on and those
    ``[seeds, m]`` to validate on."""

    dataset: Dataset
    train_rows: np.ndarray
    validation_rows: np.ndarray


@dataclass(frozen=True)
class Group:
    """cells: their numbers. configs: one for each, of the first seed. blas_threads: how many there may be, which
    decides the last bits of large products."""

    cells: tuple[int, ...]
    configs: tuple[RunConfig, ...]
    seeds: range
    blas_threads: int | None

    @property
    def networks(self) -> int:
        return len(self.cells) * len(self.seeds)


def make_group(plan: Plan, cells: tuple[int, ...], blas_threads: int | None) -> Group:
    return Group(cells, tuple(map(plan.config, cells)), plan.all_seeds, blas_threads)


def make_material(plan: Plan, dataset: Dataset) -> Material:
    """Each seed's rows are those of its single run, of which a binary task's training rows lose a fifth.

    Raises `InputError` for too few images."""
    splits = [_rows(dataset, plan.base.limit, seed) for seed in plan.all_seeds]
    return Material(dataset, *(np.stack(rows).astype(np.int32) for rows in zip(*splits, strict=True)))


def check_networks(plan: Plan, dataset: Dataset) -> None:
    """Raise `InputError` now for networks that cannot be made later, such as a loss that does not fit its outputs."""
    shapes = {tuple(getattr(config, name) for name in SHARED): config for config in map(plan.config, _cells(plan))}
    for config in shapes.values():
        MLP(**network_options(config, dataset))


def train_group(
    group: Group, material: Material, on_networks: Callable[[int], None] | None = None
) -> dict[int, Record]:
    """{cell: its record}, all of them; a record is a dictionary of JSON values, lists having an entry a seed:

    diverged (bool); validation_accuracy (0..1), validation_loss, train_accuracy and train_loss of the last epoch, those
    of training running; None for a figure that is no finite number.

    on_networks: called after each epoch with the number of networks whose time has passed.
    Raises KeyboardInterrupt where training was interrupted; then there are no records.
    """
    with _one_at_a_time, threadpool_limits(group.blas_threads, user_api="blas"):
        population, history = _train(group, material, on_networks)
    lost = np.ones(group.networks, bool) if history is None else ~population.sound
    figures = dict.fromkeys(FIGURES) if history is None else _last_epoch(history)
    count = len(group.seeds)
    return {
        cell: {
            "diverged": lost[first : first + count].tolist(),
            **{name: _listed(values, lost, slice(first, first + count)) for name, values in figures.items()},
        }
        for first, cell in zip(range(0, group.networks, count), group.cells, strict=True)
    }


def _train(
    group: Group, material: Material, on_networks: Callable[[int], None] | None
) -> tuple[Population, History | None]:
    """The population and its history, or None for that if no network was left."""
    first = group.configs[0]

    def one_a_network(name: str) -> list[float]:
        return [getattr(config, name) for config in group.configs for _ in group.seeds]

    def on_epoch(report: EpochReport, chunk: range) -> None:
        on_networks(chunk.start + len(chunk) * report.epoch // report.epochs)

    options = network_options(first, material.dataset) | {"dropout": one_a_network("dropout")}
    ops = _ops(first.backend, first.device)
    population = Population(seeds=list(group.seeds) * len(group.cells), ops=ops, **options)
    rates = {name: one_a_network(name) for name in ("learning_rate", "weight_decay")}
    try:
        history = population.train(
            material.dataset.images,
            material.dataset.labels,
            np.tile(material.train_rows, (len(group.cells), 1)),
            np.tile(material.validation_rows, (len(group.cells), 1)),
            optimizer=OPTIMIZERS[first.optimizer](**rates),
            epochs=first.epochs,
            batch_size=first.batch_size,
            shuffle=first.shuffle,
            augmentation=first.augmentation,
            schedule=first.schedule,
            early_stopping=first.early_stopping,
            clip_norm=first.clip_norm,
            on_epoch=None if on_networks is None else on_epoch,
        )
    except TrainingDiverged:
        return population, None
    if history.interrupted:
        raise KeyboardInterrupt
    return population, history


@cache
def _ops(backend: str, device: int) -> Any:
    return make_backend(backend, device).ops


def _rows(dataset: Dataset, limit: int | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that the seed's single run trains and validates on; `runs.split_rows` leaves binary tasks without."""
    rows = np.arange(len(dataset)) if limit is None else limited_rows(dataset, limit, seed=seed)
    split = stratified_split(dataset.labels[rows], seed=seed, validation=VALIDATION)
    return rows[split.train], rows[split.validation]


def _last_epoch(history: History) -> dict[str, np.ndarray]:
    curves: Sequence[tuple[str, Curve]] = (("validation", history.validation), ("train", history.train))
    return {
        f"{part}_{kind}": history.final(getattr(curve, kind)) for part, curve in curves for kind in ("accuracy", "loss")
    }


def _listed(values: np.ndarray | None, lost: np.ndarray, part: slice) -> list[float | None]:
    if values is None:
        return [None] * (part.stop - part.start)
    pairs = zip(values[part].tolist(), lost[part].tolist(), strict=True)
    return [value if math.isfinite(value) and not diverged else None for value, diverged in pairs]


def _cells(plan: Plan) -> range:
    return range(len(plan.cells))
