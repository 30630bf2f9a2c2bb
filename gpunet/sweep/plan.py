"""The plan of a sweep: which combinations are trained, with which seeds, and which of them side by side."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpunet.errors import InputError
from gpunet.runs import RunConfig
from gpunet.sweep.space import Cell, value_text

# What networks side by side have in common; in learning rate, weight decay and dropout they may differ.
SHARED = ("hidden", "activation", "loss", "init", "optimizer", "batch_size", "epochs", "shuffle")

# What is lost at most when a sweep is stopped, against what a device needs to be busy. A CPU takes a few side by side,
# whatever it is given.
MOST_NETWORKS = {"numpy": 64, "sim": 1}
MOST_NETWORKS_OF_A_DEVICE = 1024


@dataclass(frozen=True)
class Plan:
    """base: all that no combination changes; its seed is the first. seeds: how many. cells: the combinations, each
    with a value for every field."""

    base: RunConfig
    seeds: int
    cells: tuple[Cell, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Those of which there are several values; all, if there are none of these."""
        names = tuple(self.cells[0])
        several = tuple(name for name in names if len({cell[name] for cell in self.cells}) > 1)
        return several or names

    @property
    def all_seeds(self) -> range:
        return range(self.base.seed, self.base.seed + self.seeds)

    @property
    def networks(self) -> int:
        return len(self.cells) * self.seeds

    def config(self, cell: int) -> RunConfig:
        """The configuration of a combination, of the first seed."""
        return replace(self.base, **self.cells[cell])

    def swept(self, cell: int) -> Cell:
        """What sets a combination apart from the others."""
        return {name: self.cells[cell][name] for name in self.fields}

    def identity(self) -> dict[str, Any]:
        """What makes it this sweep, as JSON values: the same command gives the same, any other something else."""
        base = self.base
        names = ("task", "exp", "data", "limit", "classes", "backend", "seed")
        facts = {name: getattr(base, name) for name in names}
        cells = [{name: value_text(value) for name, value in cell.items()} for cell in self.cells]
        return json.loads(json.dumps({**facts, "seeds": self.seeds, "cells": cells}))

    def folder_name(self) -> str:
        """Of its own, so that the same command finds what it has already done."""
        digest = hashlib.sha256(json.dumps(self.identity()).encode()).hexdigest()
        return f"sweep-{self.base.task}-{self.base.exp}-{digest[:8]}"


def make_plan(base: RunConfig, seeds: int, cells: Sequence[Cell]) -> Plan:
    """Raises `InputError` for values out of range, before any data is touched."""
    if seeds < 1:
        raise InputError(f"seeds must be a positive whole number, not {seeds}")
    if base.seed + seeds > 2**32:
        raise InputError(f"seeds end at {2**32 - 1}: {seeds} from {base.seed} on are too many")
    if not cells or not cells[0]:
        raise InputError("there is nothing to sweep: name a field and its values, such as lr=1e-4,1e-3")
    plan = Plan(base, seeds, tuple(cells))
    for cell in range(len(cells)):
        plan.config(cell).check()
    return plan


def make_groups(plan: Plan, cells: Collection[int], backend: str) -> list[tuple[int, ...]]:
    """These combinations cut into groups, each of which is trained as one population on the backend of that name."""
    most = max(1, MOST_NETWORKS.get(backend, MOST_NETWORKS_OF_A_DEVICE) // plan.seeds)
    alike: dict[tuple[Any, ...], list[int]] = {}
    for cell in sorted(cells):
        alike.setdefault(_shape(plan.config(cell)), []).append(cell)
    return [tuple(same[start : start + most]) for same in alike.values() for start in range(0, len(same), most)]


def _shape(config: RunConfig) -> tuple[Any, ...]:
    # Row by row, a device takes one kernel without dropout and weight decay and several with them, which round
    # otherwise: in one population all have them, or none.
    several = config.batch_size == 1 and (config.dropout > 0 or config.weight_decay > 0)
    return (*(getattr(config, name) for name in SHARED), several)
