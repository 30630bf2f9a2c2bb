"""Evaluation against figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from gpunet import MLP
from gpunet.evaluation import PopulationEvaluation, evaluate, evaluate_networks


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


def test_evaluate_networks_by_hand():
    """The pixels are the logits of the first network; the second reads everything as "c"."""
    network = MLP((3, 3), seed=(0, 1))
    network.layers[0][0][:] = np.eye(3), np.zeros((3, 3))
    network.layers[0][1][:] = (0, 0, 0), (0, 0, 5)
    images = np.array([[2, 0, 0], [0, 2, 0], [0, 0, 2], [9, 9, 9]], np.float32)
    labels, rows = np.array([0, 1, 1, 2]), np.array([[0, 1, 2], [2, 1, 0]])
    result = evaluate_networks(network, images, labels, rows, 3, np.array([True, True]))
    assert result.predictions.tolist() == [[0, 1, 2], [2, 2, 2]]
    assert result.accuracy.tolist() == [2 / 3, 0]
    assert result.confusion_matrix.tolist() == [
        [[1, 0, 0], [0, 1, 1], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 2], [0, 0, 0]],
    ]
    right, wrong = math.log(1 + 2 * math.exp(-2)), math.log(math.exp(2) + 2)
    np.testing.assert_allclose(result.loss, [(2 * right + wrong) / 3, math.log(2 + math.exp(5))], rtol=1e-6)


def test_evaluate_networks_leaves_out_those_that_are_not_sound():
    images, rows = np.eye(3, dtype=np.float32), np.arange(3)[None].repeat(2, axis=0)
    network = MLP((3, 3), seed=(0, 1))
    network.parameters[1] = np.nan
    result = evaluate_networks(network, images, np.arange(3), rows, 3, np.array([True, False]))
    assert np.isfinite(result.loss[0]) and result.confusion_matrix[0].sum() == 3
    assert np.isnan([result.loss[1], result.accuracy[1]]).all()
    assert (result.predictions[1] == -1).all() and not result.confusion_matrix[1].any()


def test_class_figures_are_scikit_learns():
    rng = np.random.default_rng(0)
    labels, read = rng.integers(0, 4, 50), rng.integers(0, 3, (2, 50))  # the last class is never read
    matrices = np.stack([confusion_matrix(labels, each, labels=range(4)) for each in read])
    figures = PopulationEvaluation(np.zeros(2), np.zeros(2), read, matrices).class_figures()
    for index, each in enumerate(read):
        expected = precision_recall_fscore_support(labels, each, zero_division=0)
        for found, reference in zip(figures.values(), expected, strict=False):
            np.testing.assert_allclose(found[index], reference, rtol=1e-15)


def test_population_evaluations_side_by_side():
    parts = [
        PopulationEvaluation(*(np.full((count, *shape), count) for shape in ((), (), (4,), (2, 2)))) for count in (1, 2)
    ]
    whole = PopulationEvaluation.side_by_side(parts)
    assert whole.loss.tolist() == [1, 2, 2] and whole.confusion_matrix.shape == (3, 2, 2)
    assert whole.predictions[:, 0].tolist() == [1, 2, 2]
