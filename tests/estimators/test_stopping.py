"""The rule by which a fit ends, epoch by epoch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gpunet.estimators.stopping import Stopping


def stopped(losses, scores=None, *, tol=0.1, patience=2):
    """(the epoch that was the last, or None, and the rule itself), the network's one weight being the epoch."""
    network = SimpleNamespace(parameters=np.zeros(1))
    score = None if scores is None else lambda report: scores[report.epoch - 1]
    rule = Stopping(network, lambda report: report.train_loss, score, tol=tol, patience=patience, verbose=False)
    for epoch, loss in enumerate(losses, start=1):
        network.parameters[:] = epoch
        if rule(SimpleNamespace(epoch=epoch, train_loss=loss)):
            return epoch, rule
    return None, rule


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        ([9, 8, 7, 6, 5, 4], None),
        ([9, 8, 7.95, 7.92, 7.91, 7], 5),  # three epochs on end without an improvement by tol
        ([9, 8, 7.95, 7.92, 7.8, 7.75], None),  # 7.8 is 0.12 below the best
        ([9, 9, 9, 9, 9], 4),
        ([9, 10, 8.9, 11, 11, 11], 6),  # 8.9 is an improvement by exactly tol
    ],
)
def test_stopping_by_the_loss(losses, epoch):
    last, rule = stopped(losses)
    assert last == epoch and rule.has_stopped == (epoch is not None)
    assert rule.best_loss == min(losses[:epoch]) and rule.losses == losses[:epoch]


def test_stopping_by_the_score_keeps_the_best_weights():
    epoch, rule = stopped([1] * 9, [0.1, 0.5, 0.55, 0.57, 0.53, 0.9, 0.9, 0.9, 0.9])
    assert (epoch, rule.best_score) == (5, 0.57)
    rule.keep_best()
    assert rule._network.parameters == [4]


def test_stopping_without_a_score_leaves_the_last_weights():
    _, rule = stopped([5, 4, 6])
    rule.keep_best()
    assert rule._network.parameters == [3]
