"""Fixtures for the sweeps' tests: tiny data, and plans of a few small networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up import images_and_labels

from gpunet.runs import RunConfig
from gpunet.sweep.plan import Plan, make_plan
from gpunet.sweep.space import grid, read_space


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> str:
    """An .npz file of 200 images, 20 of each class."""
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    images, labels = images_and_labels(200, classes=10)
    np.savez(path, dataset=images, labels=labels.astype(str))
    return str(path)


@pytest.fixture
def plan_of(digits):
    """A plan from the definitions of a grid."""

    def make(*definitions: str, task: str = "multiclass", exp: str = "exp2", seeds: int = 2, **options) -> Plan:
        base = RunConfig.from_experiment(task, exp, **{"data": digits, **options})
        return make_plan(base, seeds, grid(read_space(definitions)))

    return make


@pytest.fixture
def unjudged(monkeypatch) -> None:
    """No winner's models and figures, which take most of the time."""

    def judge(plan: Plan, cell: int, folder: Path, blas_threads: int | None) -> dict:
        folder.mkdir()
        return {"cell": cell, "seed": list(plan.all_seeds), "accuracy": [0.5] * plan.seeds, "loss": [1.0] * plan.seeds}

    monkeypatch.setattr("gpunet.sweep.running.judge_winner", judge)
