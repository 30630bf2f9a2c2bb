"""How much of an experiment is trained to compare two backends."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gpunet.data import Split

MOST_STEPS = 250  # unless more are asked for; exp2's whole run


class Plan(NamedTuple):
    """Rows to train on, rows to measure after each epoch (None: none), and how many epochs."""

    train_rows: np.ndarray
    validation_rows: np.ndarray | None
    epochs: int

    def steps(self, batch_size: int) -> int:
        return self.epochs * math.ceil(len(self.train_rows) / batch_size)


def make_plan(split: Split, batch_size: int, epochs: int, steps: int | None = None) -> Plan:
    """Whole epochs of at least so many steps; by default so many epochs, but no more than `MOST_STEPS` steps.

    Where an epoch has more steps than that, two short ones of fewer rows, each with a short last batch: the second
    differs from the first in its order of rows and in the factors of its updates.
    """
    rows, validation = split.train, split.validation
    per_epoch = math.ceil(len(rows) / batch_size)
    steps = steps or min(MOST_STEPS, epochs * per_epoch)
    if steps < per_epoch:
        per_epoch = math.ceil(steps / 2)
        rows, validation = rows[: per_epoch * batch_size - batch_size // 2], validation[: max(1, batch_size // 2)]
    return Plan(rows, validation if len(validation) else None, math.ceil(steps / per_epoch))
