"""How much is trained: whole epochs, or two short ones."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.data import Split
from gpunet.equivalence.plan import make_plan

SPLIT = Split(np.arange(100, 200), np.arange(30), np.arange(5))


@pytest.mark.parametrize(
    ("batch_size", "epochs", "steps", "rows", "measured", "planned_epochs", "planned_steps"),
    [
        (10, 3, None, 100, 30, 3, 30),  # the experiment's own
        (10, 90, None, 100, 30, 25, 250),  # at most 250
        (10, 3, 10, 100, 30, 1, 10),
        (10, 3, 11, 100, 30, 2, 20),  # up to whole epochs
        (10, 3, 9, 45, 5, 2, 10),  # fewer than an epoch has: two short ones, the last batch half
        (10, 3, 4, 15, 5, 2, 4),
        (10, 3, 1, 5, 5, 1, 1),
        (1, 3, 50, 25, 1, 2, 50),  # half of a batch of one is one
        (300, 2, 1, 100, 30, 1, 1),
    ],
)
def test_plan(batch_size, epochs, steps, rows, measured, planned_epochs, planned_steps):
    plan = make_plan(SPLIT, batch_size, epochs, steps)
    assert (len(plan.train_rows), len(plan.validation_rows), plan.epochs) == (rows, measured, planned_epochs)
    assert plan.steps(batch_size) == planned_steps
    assert set(plan.train_rows) <= set(SPLIT.train)


def test_plan_without_validation():
    assert make_plan(Split(SPLIT.train, np.arange(0), SPLIT.test), 10, 1).validation_rows is None
