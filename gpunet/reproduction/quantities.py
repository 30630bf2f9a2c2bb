"""What is measured of trained networks: one number a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpunet.seed_runs import SeedsResult

SHARE, LOSS, SECONDS, COUNT = "share", "loss", "seconds", "count"


@dataclass(frozen=True)
class Quantity:
    """name: in words. kind: SHARE (0..1), LOSS, SECONDS or COUNT. values(result): float64 ``[P]``, NaN for networks
    that do not count; or None where it was not measured. Seconds are measured apart, see `running.Outcome`."""

    name: str
    kind: str
    values: Callable[[SeedsResult], np.ndarray | None]


def _validation(kind: str) -> Callable[[SeedsResult], np.ndarray | None]:
    def values(result: SeedsResult) -> np.ndarray | None:
        validation = result.history.validation
        return None if validation is None else getattr(validation, kind)[:, -1]

    return values


def _constant(count: Callable[[SeedsResult], int]) -> Callable[[SeedsResult], np.ndarray]:
    return lambda result: np.full(len(result.seeds), float(count(result)))


QUANTITIES = {
    "initial_loss": Quantity("initial loss: mean over the first epoch", LOSS, lambda r: r.history.train.loss[:, 0]),
    "final_loss": Quantity("final loss: mean over the last epoch", LOSS, lambda r: r.history.train.loss[:, -1]),
    "train_loss": Quantity("training loss, mean over the last epoch", LOSS, lambda r: r.history.train.loss[:, -1]),
    "train_accuracy": Quantity(
        "training accuracy, mean over the last epoch", SHARE, lambda r: r.history.train.accuracy[:, -1]
    ),
    "validation_loss": Quantity("validation loss", LOSS, _validation("loss")),
    "validation_accuracy": Quantity("validation accuracy", SHARE, _validation("accuracy")),
    "test_accuracy": Quantity("test accuracy", SHARE, lambda r: r.test.accuracy),
    "test_loss": Quantity("test loss", LOSS, lambda r: r.test.loss),
    "training_images": Quantity("training images", COUNT, _constant(lambda r: len(r.split.train))),
    "images": Quantity("test images", COUNT, _constant(lambda r: len(r.split.test))),
    "seconds": Quantity("training time of one network", SECONDS, lambda r: None),
    # Of a class, or an average of classes:
    "precision": Quantity("precision", SHARE, lambda r: None),
    "recall": Quantity("recall", SHARE, lambda r: None),
    "f1": Quantity("F1", SHARE, lambda r: None),
}


def values_of(result: SeedsResult, quantity: str, of: str | None = None) -> np.ndarray | None:
    """A quantity of those networks of a result that count: float64 ``[n]``; None where it was not measured.

    of: the name of a class, "macro avg" (the mean over classes) or "weighted avg" (weighted by test images); None for
    the whole test set.
    """
    values = QUANTITIES[quantity].values(result) if of is None else _of_class(result, quantity, of)
    return None if values is None else np.asarray(values)[result.sound]


def _of_class(result: SeedsResult, quantity: str, of: str) -> np.ndarray | None:
    images = result.test.confusion_matrix.sum(axis=2).astype(np.float64)  # [P, C], as many of a class in each split
    by_class = images if quantity == "images" else result.test.class_figures()[quantity]
    if of == "macro avg":
        return by_class.mean(axis=1)
    if of == "weighted avg":
        return (by_class * images).sum(axis=1) / np.maximum(images.sum(axis=1), 1)
    if of not in result.dataset.class_names:
        return None
    return by_class[:, result.dataset.class_names.index(of)]
