"""Evaluation against figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpunet import MLP
from gpunet.evaluation import evaluate


def reader(sizes, weight, bias, **options):
    """A network of one layer with these weights."""
    network = MLP(sizes, **options)
    network.layers[0][0][0] = weight
    network.layers[0][1][0] = bias
    return network


def test_evaluate_softmax_by_hand():
    # Logits are the pixels themselves; image 2 of class "b" is read as "c".
    images = np.array([[2, 0, 0], [0, 2, 0], [0, 0, 2], [0, 0, 2]], np.float32)
    labels = np.array([0, 1, 1, 2])
    result = evaluate(reader((3, 3), np.eye(3), 0), images, labels, ("a", "b", "c"))
    assert result.predictions.tolist() == [0, 1, 2, 2]
    assert result.accuracy == 0.75
    assert result.confusion_matrix.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    right, wrong = math.log(1 + 2 * math.exp(-2)), math.log(math.exp(2) + 2)
    assert result.loss == pytest.approx((3 * right + wrong) / 4, rel=1e-6)
    np.testing.assert_allclose(result.confidence, 1 / (1 + 2 * math.exp(-2)), rtol=1e-6)
    assert result.report["b"]["recall"] == 0.5 and result.report["c"]["precision"] == 0.5
    assert result.report["accuracy"] == 0.75 and "macro avg" in result.report_text


def test_evaluate_one_logit_by_hand():
    images, labels = np.array([[1.0], [-1.0], [3.0]], np.float32), np.array([1, 0, 0])
    result = evaluate(reader((1, 1), 1, 0), images, labels, ("no", "yes"))
    assert result.predictions.tolist() == [1, 0, 1]
    assert result.confusion_matrix.tolist() == [[1, 1], [0, 1]]
    expected = (2 * math.log1p(math.exp(-1)) + math.log1p(math.exp(3))) / 3
    assert result.loss == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(result.confidence, 1 / (1 + np.exp([-1.0, -1.0, -3.0])), rtol=1e-6)


def test_evaluate_counts_a_class_that_is_never_read():
    images = np.ones((4, 1), np.float32)
    result = evaluate(reader((1, 3), [[0, 1, 0]], 0), images, np.array([0, 1, 1, 2]), ("a", "b", "c"))
    assert result.confusion_matrix[:, 1].tolist() == [1, 2, 1]
    assert result.report["a"] == {"precision": 0, "recall": 0, "f1-score": 0, "support": 1}


def test_evaluate_knows_no_confidence_of_the_squared_error():
    images = np.array([[1, 0], [0, 1]], np.float32)
    result = evaluate(reader((2, 2), np.eye(2), 0, loss="squared_error"), images, np.array([0, 0]), ("a", "b"))
    assert result.confidence is None
    assert result.loss == pytest.approx((0 + (1 + 1) / 2) / 2)
