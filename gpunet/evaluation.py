"""How well a trained network does on images it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.network import MLP, probabilities
from gpunet.ops import NumpyOps


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


def evaluate(network: MLP, images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> Evaluation:
    """Evaluate a single network. images: ``[n, I]`` as in training. labels: integers ``[n]``."""
    from sklearn.metrics import classification_report, confusion_matrix

    logits = network.logits(images)
    predictions = network.predict_from(logits)
    loss = _mean_loss(network.loss, logits, labels)
    classes = range(len(class_names))
    arguments = {"labels": classes, "target_names": list(class_names), "zero_division": 0}
    return Evaluation(
        loss=loss,
        accuracy=float((predictions == labels).mean()),
        predictions=predictions,
        confidence=None if network.loss == "squared_error" else probabilities(logits).max(axis=-1),
        confusion_matrix=confusion_matrix(labels, predictions, labels=classes),
        report=classification_report(labels, predictions, output_dict=True, **arguments),
        report_text=classification_report(labels, predictions, digits=3, **arguments),
    )


def _mean_loss(loss: str, logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean row loss in float64."""
    row_loss, hits = np.empty((1, len(labels))), np.empty((1, len(labels)), np.uint8)
    getattr(NumpyOps(np.float64), loss)(logits[None].astype(np.float64), labels[None], row_loss, hits)
    return float(row_loss.mean())
