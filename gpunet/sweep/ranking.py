"""Which combination is best: by validation accuracy, over all its seeds. The test set has no part in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gpunet.reporting.seeds_facts import Spread, spread
from gpunet.sweep.groups import FIGURES, Record


@dataclass(frozen=True)
class Ranked:
    """A combination's figures, each with its spread over the seeds that did not diverge, None if there are none.

    diverged: how many did.
    """

    cell: int
    diverged: int
    validation_accuracy: Spread | None
    validation_loss: Spread | None
    train_accuracy: Spread | None
    train_loss: Spread | None


def rank(records: Mapping[int, Record]) -> list[Ranked]:
    """The combinations {number: record}, the best first: by their mean validation accuracy, equals by the mean loss,
    then by their numbers. One that diverged with any seed comes after all that never did."""
    return sorted((_ranked(cell, record) for cell, record in records.items()), key=_order)


def within_one_sd(ranking: list[Ranked]) -> int:
    """How many others lie within one standard deviation of the first."""
    first = ranking[0].validation_accuracy
    if first is None or first.sd is None:
        return 0
    others = (each.validation_accuracy for each in ranking[1:] if not each.diverged)
    return sum(each is not None and each.mean >= first.mean - first.sd for each in others)


def _ranked(cell: int, record: Record) -> Ranked:
    sound = ~np.array(record["diverged"], bool)
    return Ranked(cell, int((~sound).sum()), *(_spread(record[name], sound) for name in FIGURES))


def _spread(values: list[float | None], sound: np.ndarray) -> Spread | None:
    """None stands for a loss that is no finite number, and makes the mean one."""
    figures = np.array([np.inf if value is None else value for value in values], float)[sound]
    return spread(figures) if len(figures) else None


def _order(each: Ranked) -> tuple[bool, float, float, int]:
    if each.validation_accuracy is None or each.validation_loss is None:
        return True, np.inf, np.inf, each.cell
    return each.diverged > 0, -each.validation_accuracy.mean, each.validation_loss.mean, each.cell
