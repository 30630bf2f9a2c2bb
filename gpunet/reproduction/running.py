"""Training everything that the reports tell of and what lies beyond them, one population after another, with Ctrl-C
keeping what is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from gpunet.data import choose_classes, load_data, stratified_split
from gpunet.data.dataset import Dataset
from gpunet.ops.backend import make_backend
from gpunet.reproduction.printed import Training
from gpunet.reproduction.reports import trainings as all_trainings
from gpunet.runs import RunConfig, make_network, training_options
from gpunet.seed_runs import SeedsResult, run_seeds
from gpunet.training import TrainingDiverged, train
from gpunet.training_run import check_counts

SEEDS, QUICK_SEEDS = 20, 5
# By `cost`, what a training beyond the reports may take: a long one gets fewer seeds, yet enough for a spread.
BEYOND_SECONDS, QUICK_BEYOND_SECONDS = 100.0, 3.0
FEWEST_SEEDS = 2
TIMED_ALONE = 3  # networks of each training, at most, that are trained by themselves as well, to see how long it takes


@dataclass(frozen=True)
class Plan:
    """What to reproduce: on which data, over which seeds, on what. quick: that it was asked to be."""

    data: str = "auto"
    seeds: int = SEEDS
    first_seed: int = 0
    backend: str = "auto"
    device: int = 0
    quick: bool = False

    @property
    def timed(self) -> int:
        return min(1 if self.quick else TIMED_ALONE, self.seeds)

    def networks(self, training: Training, images: int) -> tuple[int, int]:
        """How many networks of a training there are to be, of a data set of so many images, and how many of them are
        trained by themselves as well. Beyond the reports, as many as fit into its seconds, and none by itself."""
        if training.is_printed:
            return self.seeds, self.timed
        seconds = QUICK_BEYOND_SECONDS if self.quick else BEYOND_SECONDS
        affordable = int(seconds / cost(self.config(training), images))
        return min(self.seeds, max(FEWEST_SEEDS, affordable)), 0

    def config(self, training: Training) -> RunConfig:
        """Raises `InputError` for options that no run can have."""
        options = {"data": self.data, "seed": self.first_seed, "backend": self.backend, "device": self.device}
        return training.config(**options)


@dataclass
class Outcome:
    """What came of it.

    dataset: all classes. backend: what it ran on. results: of each training that was reached, its networks. seconds:
    of the reports' trainings, what single networks take, each by itself, float64 ``[<= TIMED_ALONE]``. diverged: of
    trainings all of whose networks diverged, what was said. took: wall-clock seconds of it all. interrupted: by Ctrl-C.
    """

    plan: Plan
    dataset: Dataset
    backend: str
    results: dict[Training, SeedsResult] = field(default_factory=dict)
    seconds: dict[Training, np.ndarray] = field(default_factory=dict)
    diverged: dict[Training, str] = field(default_factory=dict)
    took: float = 0.0
    interrupted: bool = False

    @property
    def is_evidence(self) -> bool:
        """Whether agreement with the reports says anything: on their own images alone."""
        return self.dataset.source == "signs"


class Watcher(Protocol):
    """Is told how it goes; all of these are called by `reproduce`."""

    def start(self, plan: Plan, dataset: Dataset, backend: str, total: float) -> None:
        """total: expected costs of all trainings together, in a unit of their own."""

    def begin(self, training: Training, number: int, of: int) -> None:
        """A training begins, the number-th."""

    def advance(self, done: float) -> None:
        """So much of the total is done."""

    def end(self, training: Training, outcome: Outcome) -> None:
        """A training has ended."""


def reproduce(plan: Plan, watcher: Watcher, trainings: Sequence[Training] | None = None) -> Outcome:
    """Train all of them (default: what both reports need, and what lies beyond them), each with every seed of the plan
    or what `Plan.networks` makes of them, and time single networks.

    Ctrl-C ends it: what was trained by then stays. Raises `InputError` for options and data that cannot be used, before
    anything is trained, and KeyboardInterrupt if there is nothing to keep.
    """
    began = time.perf_counter()
    check_counts(seeds=plan.seeds)
    trainings = all_trainings() if trainings is None else trainings
    configs = {training: plan.config(training) for training in trainings}
    backend = make_backend(plan.backend, plan.device)
    dataset = load_data(plan.data)
    _check_data(dataset, plan)
    outcome = Outcome(plan, dataset, backend.note)
    costs = {
        training: cost(config, len(dataset)) * sum(plan.networks(training, len(dataset)))
        for training, config in configs.items()
    }
    watcher.start(plan, dataset, backend.note, sum(costs.values()))
    done = 0.0
    try:
        for number, training in enumerate(trainings, start=1):
            watcher.begin(training, number, len(trainings))
            _train(training, configs[training], outcome, watcher, done, costs[training])
            done += costs[training]
            watcher.advance(done)
            watcher.end(training, outcome)
            if outcome.interrupted:
                break
    except KeyboardInterrupt:
        outcome.interrupted = True
    if outcome.interrupted and not outcome.results:
        raise KeyboardInterrupt
    outcome.took = time.perf_counter() - began
    return outcome


def cost(config: RunConfig, images: int) -> float:
    """About the seconds that training one network takes on one core; of use in comparisons only."""
    rows = 0.64 * images if config.task == "multiclass" else 0.16 * images
    if config.batch_size == 1:
        # A loss that `Ops.per_sample_sgd` does not serve takes several operations for each row.
        a_row, a_neuron = (4.4e-6 if config.loss == "binary_cross_entropy" else 6e-5), 6.9e-7
    else:
        a_row, a_neuron = (4e-6, 0.8e-7) if config.augmentation is None else (2e-5, 0.8e-7)
    if config.dropout:
        a_neuron *= 1.5
    return config.epochs * rows * (a_row + a_neuron * sum(config.hidden))


def _train(
    training: Training, config: RunConfig, outcome: Outcome, watcher: Watcher, done: float, its_cost: float
) -> None:
    seeds, timed = outcome.plan.networks(training, len(outcome.dataset))
    of_population = its_cost * seeds / (seeds + timed)

    def on_epoch(report, chunk: range) -> None:
        networks = chunk.start + len(chunk) * report.epoch / report.epochs
        watcher.advance(done + of_population * networks / seeds)

    try:
        result = run_seeds(config, seeds, dataset=outcome.dataset, on_epoch=on_epoch)
    except TrainingDiverged as error:
        outcome.diverged[training] = str(error)
        return
    if result.history.interrupted:
        outcome.interrupted = True
        if result.history.epochs < config.epochs:
            return  # not one network is done
    outcome.results[training] = result
    if timed and not outcome.interrupted:
        outcome.seconds[training] = _seconds_alone(result, timed)


def _seconds_alone(result: SeedsResult, networks: int) -> np.ndarray:
    """How long the first networks take to train, each by itself: float64 ``[networks]``."""
    seconds = []
    for seed, split in list(zip(result.seeds, result.splits, strict=True))[:networks]:
        network = make_network(replace(result.config, seed=seed), result.dataset, result.network.ops)
        try:
            history = train(
                network,
                result.dataset.images,
                result.dataset.labels,
                split.train,
                split.validation if len(split.validation) else None,
                **training_options(result.config),
            )
        except TrainingDiverged:
            continue
        if history.interrupted:
            raise KeyboardInterrupt
        seconds.append(history.seconds)
    return np.array(seconds)


def _check_data(dataset: Dataset, plan: Plan) -> None:
    """That there are the two classes of the binary models, and enough images to split, before an hour is spent."""
    for labels, validation in ((dataset.labels, 0.2), (choose_classes(dataset).labels, 0.0)):
        stratified_split(labels, seed=plan.first_seed, validation=validation)
