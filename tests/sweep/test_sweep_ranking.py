"""Which combination is best."""

from __future__ import annotations

import math

import pytest

from gpunet.sweep.ranking import rank, within_one_sd


def record(accuracy, loss=None, diverged=None):
    count = len(accuracy)
    loss = [1.0] * count if loss is None else loss
    figures = {"validation_accuracy": accuracy, "validation_loss": loss, "train_accuracy": accuracy, "train_loss": loss}
    return {"diverged": [False] * count if diverged is None else diverged, **figures}


def order(*records):
    return [each.cell for each in rank(dict(enumerate(records)))]


def test_rank_is_by_the_mean_accuracy_then_the_loss_then_the_number():
    assert order(record([0.5, 0.7]), record([0.9, 0.4]), record([0.6, 0.6])) == [1, 0, 2]
    assert order(record([0.6], [2.0]), record([0.6], [1.0]), record([0.6], [None]), record([0.6], [1.0])) == [
        1,
        3,
        0,
        2,
    ]


def test_rank_puts_what_diverged_last():
    lost = record([None, None], [None, None], [True, True])
    partly = record([0.9, None], [0.1, None], [False, True])
    assert order(lost, partly, record([0.1, 0.1])) == [2, 1, 0]
    ranking = rank({4: partly})
    assert (ranking[0].cell, ranking[0].diverged, ranking[0].validation_accuracy.mean) == (4, 1, 0.9)
    assert rank({0: lost})[0].validation_accuracy is None


def test_rank_spreads_are_of_a_sample():
    (found,) = rank({0: record([0.5, 0.7, 0.9])})
    spread = found.validation_accuracy
    assert (spread.mean, spread.min, spread.max) == (pytest.approx(0.7), 0.5, 0.9)
    assert spread.sd == pytest.approx(0.2)  # (0.04 + 0 + 0.04) / 2, and its root
    (single,) = rank({0: record([0.5])})
    assert single.validation_accuracy.sd is None
    assert math.isinf(rank({0: record([0.5], [None])})[0].validation_loss.mean)


def test_within_one_sd_counts_the_others():
    records = [record([0.8, 1.0]), record([0.8, 0.8]), record([0.7, 0.7]), record([0.9, None], None, [False, True])]
    assert within_one_sd(rank(dict(enumerate(records)))) == 1  # 0.9 - 0.14: not 0.7, and not what diverged
    assert within_one_sd(rank({0: record([0.9]), 1: record([0.9])})) == 0
