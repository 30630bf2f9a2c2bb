"""A whole sweep: what is not finished yet is trained group by group and kept at once; then the winner is judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from gpunet.data.dataset import Dataset
from gpunet.errors import InputError
from gpunet.machine import blas_threads
from gpunet.ops.backend import make_backend
from gpunet.runs import load_classes
from gpunet.sweep.folder import SweepFolder, refuse_another
from gpunet.sweep.groups import (
    Group,
    Material,
    Record,
    check_networks,
    make_group,
    make_material,
    train_group,
)
from gpunet.sweep.plan import Plan, make_groups
from gpunet.sweep.ranking import Ranked, rank
from gpunet.sweep.winner import judge_winner

BEST = "best"  # the winner's folder within the sweep's

Trained = tuple[Group, dict[int, Record]]
Trainer = Callable[[Sequence[Group], Material, Callable[[int], None] | None], Iterable[Trained]]


class Observer(Protocol):
    """What is told of a sweep as it goes; a console's, mostly."""

    def begins(self, start: Start) -> None: ...

    def trains(self, networks: int) -> None:
        """So many networks' time has passed since the beginning, of this group and those before it."""

    def finished(self, networks: int, ranking: list[Ranked]) -> None:
        """So many networks are trained since the beginning; the ranking is of all that is known."""

    def judges(self) -> None:
        """The winner is about to be trained and judged."""


@dataclass(frozen=True)
class Start:
    """What is about to be trained. backend: what on, and why. kept: how many combinations are finished already."""

    plan: Plan
    material: Material
    backend: str
    kept: int
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class SweepResult:
    """What a sweep has come to. records: {combination: its record}, all of them unless it was interrupted. winner: of
    `judge_winner`, None if interrupted before. seconds: of this call, wall-clock."""

    plan: Plan
    material: Material
    backend: str
    blas_threads: int | None
    records: dict[int, Record]
    winner: dict[str, Any] | None
    interrupted: bool
    seconds: float

    @property
    def dataset(self) -> Dataset:
        return self.material.dataset

    @cached_property
    def ranking(self) -> list[Ranked]:
        return rank(self.records)


def run_sweep(plan: Plan, path: Path, observer: Observer | None = None, trainer: Trainer | None = None) -> SweepResult:
    """Train what the folder `path` does not hold yet, rank, and judge the winner.

    trainer: how the groups are trained (default: one after another, in this process); whoever does it, the results are
    the same. Ctrl-C ends it cleanly: groups that are finished stay.
    Raises `InputError` for unusable input, a folder that holds anything else, and if every network diverged.
    """
    began = time.perf_counter()
    refuse_another(path, plan)  # this and the backend before a long download
    backend = make_backend(plan.base.backend, plan.base.device)
    dataset = load_classes(plan.base)
    check_networks(plan, dataset)
    material = make_material(plan, dataset)
    folder = SweepFolder(path, plan, dataset.sha256(), blas_threads())
    records, winner, interrupted = folder.records(), folder.winner(), False
    missing = set(range(len(plan.cells))) - records.keys()
    cells_of_groups = make_groups(plan, missing, backend.ops.name)
    groups = tuple(make_group(plan, cells, folder.blas_threads) for cells in cells_of_groups)
    if observer is not None:
        observer.begins(Start(plan, material, backend.note, len(records), groups))
    try:
        networks = 0
        for group, found in (trainer or train_here)(groups, material, observer and observer.trains) if groups else ():
            folder.keep(found)
            records |= found
            networks += group.networks
            if observer is not None:
                observer.finished(networks, rank(records))
        best = rank(records)[0]
        if best.diverged == plan.seeds:
            raise InputError("every network of the sweep diverged: sweep smaller learning rates")
        if winner is None or winner["cell"] != best.cell or not (path / BEST).is_dir():
            if observer is not None:
                observer.judges()
            winner = judge_winner(plan, best.cell, path / BEST, folder.blas_threads)
            folder.keep_winner(winner)
    except KeyboardInterrupt:
        interrupted, winner = True, None
    seconds = time.perf_counter() - began
    return SweepResult(plan, material, backend.note, folder.blas_threads, records, winner, interrupted, seconds)


def train_here(
    groups: Sequence[Group], material: Material, on_networks: Callable[[int], None] | None = None
) -> Iterator[Trained]:
    """One group after another, in this process."""
    before = 0
    for group in groups:
        passed = None if on_networks is None else (lambda networks, before=before: on_networks(before + networks))
        yield group, train_group(group, material, passed)
        before += group.networks
