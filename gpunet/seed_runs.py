"""One run with many seeds: each of its networks has the split, the weights and the batches that the single run of its
seed has, and ends bit for bit as that does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpunet.data.dataset import Dataset
from gpunet.data.split import Split
from gpunet.data.subset import limited_rows
from gpunet.errors import InputError
from gpunet.evaluation import PopulationEvaluation
from gpunet.history import EpochReport, History
from gpunet.network import MLP
from gpunet.ops.backend import make_backend
from gpunet.population import Population
from gpunet.resume import Checkpoints
from gpunet.runs import RunConfig, load_classes, network_options, split_rows, training_options


@dataclass(frozen=True)
class Kept:
    """The network that is saved: its place in the population, and why it is that one, in words."""

    index: int
    why: str


@dataclass(frozen=True)
class SeedsResult:
    """What a run with P seeds leaves behind.

    config: that of the first seed. backend: what it ran on, and why on that. dataset: all images, whatever the limit.
    splits: rows of it, a split a seed. network: the one that is kept, by itself. history and test: of all P; NaN for
    those that are not `sound`. seconds: by phase ("data", "training", "evaluation"), wall-clock.
    """

    config: RunConfig
    backend: str
    dataset: Dataset
    splits: tuple[Split, ...]
    population: Population
    history: History
    test: PopulationEvaluation
    kept: Kept
    network: MLP
    seconds: dict[str, float]

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.population.seeds

    @property
    def split(self) -> Split:
        """The first seed's: those of the others have other rows, but as many."""
        return self.splits[0]

    @property
    def sound(self) -> np.ndarray:
        """Which networks the figures are of: bool ``[P]``, those that were trained and did not diverge."""
        return self.population.sound

    @property
    def diverged_seeds(self) -> tuple[int, ...]:
        return tuple(seed for seed, diverged in zip(self.seeds, self.population.diverged, strict=True) if diverged)

    @property
    def kept_seed(self) -> int:
        return self.seeds[self.kept.index]


def run_seeds(
    config: RunConfig,
    count: int,
    *,
    keep: int | None = None,
    dataset: Dataset | None = None,
    on_start: Callable[[Dataset, Split, MLP, str], None] | None = None,
    on_epoch: Callable[[EpochReport, range], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> SeedsResult:
    """Train and evaluate with `count` seeds, beginning with the configuration's.

    keep: the seed of the network to be saved (default: the best one, see `choose_kept`). dataset: what the
    configuration names, where it is loaded already. on_start: as of `runs.run`, with the first seed's split and
    network. on_epoch, checkpoints: as of `Population.train`.
    Raises `InputError` for unusable input and `TrainingDiverged` if no network is left.
    """
    seeds = _seeds(config, count, keep)
    backend = make_backend(config.backend, config.device)  # before a long download
    began = time.perf_counter()
    dataset = load_classes(config, dataset)
    population = Population(seeds=seeds, ops=backend.ops, **network_options(config, dataset))
    splits = tuple(_split(config, dataset, seed) for seed in seeds)
    seconds = {"data": time.perf_counter() - began}
    if on_start is not None:
        on_start(dataset, splits[0], population.member(0), backend.note)
    history = population.train(
        dataset.images,
        dataset.labels,
        np.stack([split.train for split in splits]),
        np.stack([split.validation for split in splits]) if len(splits[0].validation) else None,
        on_epoch=on_epoch,
        checkpoints=checkpoints,
        **training_options(config),
    )
    seconds["training"] = history.seconds
    began = time.perf_counter()
    test_rows = np.stack([split.test for split in splits])
    test = population.evaluate(dataset.images, dataset.labels, test_rows, dataset.class_names)
    seconds["evaluation"] = time.perf_counter() - began
    kept = choose_kept(history, population.sound, None if keep is None else keep - config.seed)
    network = population.member(kept.index)
    return SeedsResult(config, backend.note, dataset, splits, population, history, test, kept, network, seconds)


def choose_kept(history: History, sound: np.ndarray, asked: int | None = None) -> Kept:
    """The network to keep: the one asked for, or the best by validation accuracy, or without validation by training
    loss after the last epoch; never by the test set, which must not choose. Equals are told apart by the loss, then by
    their order.

    sound: bool ``[P]``, at least one. asked: which, if it is sound.
    """
    if asked is not None and sound[asked]:
        return Kept(asked, "as asked for")
    instead = "" if asked is None else ", that asked for having diverged or not been reached"
    places = np.flatnonzero(sound)
    if history.epochs == 0:
        return Kept(int(places[0]), f"the first, no epoch having ended{instead}")
    if history.validation is not None:
        curve = history.validation
        loss, accuracy = (history.final(figures)[places] for figures in (curve.loss, curve.accuracy))
        return Kept(int(places[np.lexsort((loss, -accuracy))[0]]), f"the best validation accuracy{instead}")
    loss = history.final((history.train_after or history.train).loss)[places]
    return Kept(int(places[np.argsort(loss, kind="stable")[0]]), f"the lowest training loss{instead}")


def _seeds(config: RunConfig, count: int, keep: int | None) -> range:
    if count < 1:
        raise InputError(f"seeds must be a positive whole number, not {count}")
    seeds = range(config.seed, config.seed + count)
    if seeds[-1] >= 2**32:
        raise InputError(f"seeds end at {2**32 - 1}: {count} from {config.seed} on are too many")
    if keep is not None and keep not in seeds:
        raise InputError(f"the seed to keep must be one of those trained, {seeds[0]} to {seeds[-1]}, not {keep}")
    return seeds


def _split(config: RunConfig, dataset: Dataset, seed: int) -> Split:
    """The rows that the single run of a seed trains, validates and tests on."""
    if config.limit is None:
        return split_rows(config, dataset.labels, seed)
    rows = limited_rows(dataset, config.limit, seed=seed)
    split = split_rows(config, dataset.labels[rows], seed)
    return Split(*(rows[part] for part in (split.train, split.validation, split.test)))
