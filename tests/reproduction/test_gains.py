"""What ideas beyond the reports bring: paired differences worked by hand, and which networks are paired."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from gpunet.experiments import BEYOND
from gpunet.reproduction.beyond import IDEAS
from gpunet.reproduction.gains import find_gain, gains, paired_difference
from gpunet.reproduction.numpy_report import FINAL
from gpunet.reproduction.pytorch_report import EXP2

T2, T3 = 4.302653, 3.182446  # Student's 97.5 % quantiles, from a printed table
IDEA = next(idea for idea in IDEAS if idea.reference == EXP2)


def test_paired_difference_is_the_hand_worked_one():
    # Differences 1, 2, 3: mean 2, sd 1, standard error 1 / sqrt(3); the accuracies themselves vary ten times as much.
    values, others = np.array([11.0, 2.0, 23.0]), np.array([10.0, 0.0, 20.0])
    error = 1 / math.sqrt(3)
    expected = (2, error, 2 - T2 * error, 2 + T2 * error)
    assert paired_difference(values, others) == pytest.approx(expected, rel=1e-6)
    # 0, 0, 0, 4: mean 1, sd 2, standard error 1.
    assert paired_difference(np.array([5.0, 5, 5, 9]), np.full(4, 5.0)) == pytest.approx(
        (1, 1, 1 - T3, 1 + T3), rel=1e-6
    )
    assert paired_difference(others, values)[0] == -2


def test_paired_difference_of_one_pair_has_no_spread():
    assert paired_difference(np.array([0.75]), np.array([0.5])) == (0.25, None, None, None)


def result(accuracy, first_seed=0, sound=None):
    accuracy = np.array(accuracy)
    sound = np.ones(len(accuracy), bool) if sound is None else np.array(sound)
    return SimpleNamespace(
        seeds=tuple(range(first_seed, first_seed + len(accuracy))),
        sound=sound,
        test=SimpleNamespace(accuracy=np.where(sound, accuracy, np.nan)),
        network=SimpleNamespace(layout=SimpleNamespace(count=50)),
        seconds={"training": 6.0},
        population=SimpleNamespace(trained=np.ones(len(accuracy), bool)),
    )


def gain_of(own, reference):
    return find_gain(IDEA, SimpleNamespace(results={IDEA.training: own, EXP2: reference}))


def test_gain_pairs_the_networks_of_a_seed():
    found = gain_of(result([0.9, 0.7]), result([0.8, 0.5, 0.1, 0.1]))  # of a long training there are fewer networks
    assert (found.n, found.parameters, found.seconds) == (2, 50, 3.0)
    assert (found.accuracy, found.gain) == pytest.approx((0.8, 0.15))
    assert found.sd == pytest.approx(0.2 / math.sqrt(2)) and found.error == pytest.approx(0.05)
    found = gain_of(result([0.9, 0.7], first_seed=1), result([0.0, 0.5, 0.6]))
    assert found.gain == pytest.approx(0.25)


def test_gain_leaves_out_seeds_that_diverged():
    found = gain_of(
        result([0.9, 0.7, 0.8], sound=[True, False, True]), result([0.5, 0.5, 0.5], sound=[False, True, True])
    )
    assert (found.n, found.sd, found.error, found.low, found.high) == (1, None, None, None, None)
    assert (found.accuracy, found.gain) == pytest.approx((0.8, 0.3))
    assert gain_of(result([0.9, 0.7], sound=[True, False]), result([0.5, 0.5], sound=[False, True])) is None


def test_gain_needs_both_networks():
    assert find_gain(IDEA, SimpleNamespace(results={IDEA.training: result([0.5])})) is None
    assert gains(SimpleNamespace(results={EXP2: result([0.5]), FINAL: result([0.5])})) == []


def test_ideas_are_the_experiments_beyond_the_reports():
    assert [idea.experiment for idea in IDEAS] == list(BEYOND)
    for idea in IDEAS:
        assert idea.training.config().experiment == idea.experiment and not idea.training.is_printed
        assert idea.reference == {"multiclass": EXP2, "binary": FINAL}[idea.experiment.task]
