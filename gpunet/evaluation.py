"""How well a trained network does on images it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gpunet.network import MLP, PREDICTION_BATCH, Workspace, probabilities
from gpunet.ops import Batch, NumpyOps


@dataclass(frozen=True)
class Evaluation:
    """Figures of one network on n images of C classes.

    loss: mean. accuracy: a share (0..1). predictions: int64 ``[n]``. confidence: float64 ``[n]``, the probability of
    the predicted class, or None where the loss gives no probabilities. confusion_matrix: int64 ``[C, C]``, rows are
    true classes. report: scikit-learn's classification report as a dictionary, report_text: as text.
    """

    loss: float
    accuracy: float
    predictions: np.ndarray
    confidence: np.ndarray | None
    confusion_matrix: np.ndarray
    report: dict[str, Any]
    report_text: str


@dataclass(frozen=True)
class PopulationEvaluation:
    """Figures of P networks, each on n images of C classes; of a network that is not sound NaN, -1 and zeros.

    loss: float64 ``[P]``, mean. accuracy: float64 ``[P]``, shares (0..1). predictions: int64 ``[P, n]``.
    confusion_matrix: int64 ``[P, C, C]``, rows are true classes.
    """

    loss: np.ndarray
    accuracy: np.ndarray
    predictions: np.ndarray
    confusion_matrix: np.ndarray

    def class_figures(self) -> dict[str, np.ndarray]:
        """precision, recall and f1 of each class: float64 ``[P, C]``, 0 where there is nothing to divide by."""
        right = self.confusion_matrix.diagonal(axis1=1, axis2=2)
        true, read = self.confusion_matrix.sum(axis=2), self.confusion_matrix.sum(axis=1)
        return {
            "precision": right / np.maximum(read, 1),
            "recall": right / np.maximum(true, 1),
            "f1": 2 * right / np.maximum(true + read, 1),
        }

    @classmethod
    def missing(cls, networks: int, images: int, classes: int) -> PopulationEvaluation:
        """Of networks none of which is sound."""
        nothing = np.full(networks, np.nan)
        matrices = np.zeros((networks, classes, classes), np.int64)
        return cls(nothing, nothing, np.full((networks, images), -1), matrices)

    @classmethod
    def side_by_side(cls, parts: Sequence[PopulationEvaluation]) -> PopulationEvaluation:
        """The evaluation of all the networks of several."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def evaluate(network: MLP, images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> Evaluation:
    """Evaluate a single network. images: ``[n, I]`` as in training. labels: integers ``[n]``."""
    from sklearn.metrics import classification_report, confusion_matrix

    network.check_images(images)
    predictions, row_loss = np.empty(len(images), np.int64), np.empty(len(images))
    confidence = None if network.loss == "squared_error" else np.empty(len(images))
    # As many at a time as a pass takes: of a large test set the logits would be larger than all that is kept of it.
    for start in range(0, len(images), PREDICTION_BATCH):
        part = slice(start, start + PREDICTION_BATCH)
        logits = network.logits(images[part])
        predictions[part] = network.predict_from(logits)
        row_loss[part] = _row_losses(network.loss, logits, labels[part])
        if confidence is not None:
            confidence[part] = probabilities(logits).max(axis=-1)
    classes = range(len(class_names))
    arguments = {"labels": classes, "target_names": list(class_names), "zero_division": 0}
    return Evaluation(
        loss=float(row_loss.mean()),
        accuracy=float((predictions == labels).mean()),
        predictions=predictions,
        confidence=confidence,
        confusion_matrix=confusion_matrix(labels, predictions, labels=classes),
        report=classification_report(labels, predictions, output_dict=True, **arguments),
        report_text=classification_report(labels, predictions, digits=3, **arguments),
    )


def evaluate_networks(
    network: MLP, images: np.ndarray, labels: np.ndarray, rows: np.ndarray, classes: int, sound: np.ndarray
) -> PopulationEvaluation:
    """Evaluate the P networks of an MLP, each on its own rows ``[P, n]``; sound: bool ``[P]``, which of them count."""
    logits, labels = _logits(network, images, rows), labels[rows]
    predictions = network.predict_from(logits)
    pairs = (np.arange(len(rows))[:, None] * classes + labels) * classes + predictions
    matrix = np.bincount(pairs.ravel(), minlength=len(rows) * classes**2).reshape(len(rows), classes, classes)
    losses = [float(_row_losses(network.loss, *pair).mean()) for pair in zip(logits, labels, strict=True)]
    return PopulationEvaluation(
        loss=np.where(sound, losses, np.nan),
        accuracy=np.where(sound, (predictions == labels).mean(axis=1), np.nan),
        predictions=np.where(sound[:, None], predictions, -1),
        confusion_matrix=np.where(sound[:, None, None], matrix, 0),
    )


def _logits(network: MLP, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float ``[P, n, O]`` of each network's own rows ``[P, n]``: the bits that `MLP.logits` gives of these images."""
    network.check_images(images)
    ops = network.ops
    values, scale = ops.images(images)
    no_labels, parts = ops.zeros(len(images), np.int32), []
    for start in range(0, rows.shape[1], PREDICTION_BATCH):
        part = ops.asarray(rows[:, start : start + PREDICTION_BATCH], np.int32)
        work = Workspace(network, part.shape[1], gradients=False)
        batch = Batch(values, no_labels, part, scale, work.x, work.y)
        figures = ops.zeros(part.shape), ops.zeros(part.shape, np.uint8)
        ops.capture(network.evaluation_launches(batch, work, *figures), network.largest_product(part.shape[1]))()
        parts.append(ops.to_host(work.logits))
    return np.concatenate(parts, axis=1)


def _row_losses(loss: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The loss of each row: float64 ``[n]``."""
    row_loss, hits = np.empty((1, len(labels))), np.empty((1, len(labels)), np.uint8)
    with np.errstate(all="ignore"):  # of a network close to divergence the loss is infinite or NaN, and says so
        getattr(NumpyOps(np.float64), loss)(logits[None].astype(np.float64), labels[None], row_loss, hits)
    return row_loss[0]
