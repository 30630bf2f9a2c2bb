"""The best model is chosen by validation, on made-up figures that are easy to follow."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gpunet.reproduction.best_model import choose_model
from gpunet.reproduction.pytorch_report import BASE, EXP1, EXP2


def result(accuracy, loss=(0.5, 0.5, 0.5), sound=(True, True, True), test=(0.1, 0.1, 0.1)):
    validation = SimpleNamespace(accuracy=np.array([accuracy]).T, loss=np.array([loss]).T)
    history = SimpleNamespace(validation=validation)
    return SimpleNamespace(history=history, sound=np.array(sound), test=SimpleNamespace(accuracy=np.array(test)))


def chosen(*results):
    return choose_model(SimpleNamespace(results=dict(zip((BASE, EXP1, EXP2), results, strict=False))))


def test_choose_model_takes_the_best_validation_accuracy():
    choice = chosen(result([0.8, 0.9, 0.7], test=(1, 1, 1)), result([0.9, 0.7, 0.7]), result([0.9, 0.8, 0.8]))
    assert choice.best == EXP2 and choice.is_the_reports and choice.seeds == 3
    assert choice.wins == {BASE: 1, EXP1: 0.5, EXP2: 1.5}


def test_choose_model_tells_equals_apart_by_their_loss():
    choice = chosen(result([0.9] * 3), result([0.9] * 3, loss=[0.4] * 3), result([0.9] * 3))
    assert choice.best == EXP1 and not choice.is_the_reports
    assert sum(choice.wins.values()) == pytest.approx(3)


def test_choose_model_leaves_out_seeds_that_diverged():
    nan = float("nan")
    choice = chosen(result([0.8] * 3), result([nan, 0.9, 0.9], sound=[False, True, True]), result([0.95, 0.85, 0.85]))
    assert choice.best == EXP1 and choice.seeds == 2 and choice.wins == {BASE: 0, EXP1: 2, EXP2: 0}


def test_choose_model_needs_all_of_them():
    assert chosen(result([0.9] * 3), result([0.9] * 3)) is None
    assert chosen(*[result([0.9] * 3, sound=[False] * 3)] * 3) is None
