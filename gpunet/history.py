"""What a training run tells: loss and accuracy of every step and every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class EpochReport(NamedTuple):
    """The figures of an epoch that has ended, those of the first network; None where nothing was measured."""

    epoch: int  # from 1
    epochs: int
    train_loss: float  # running: the mean of the steps' losses, each taken before its update
    train_accuracy: float
    train_loss_after: float | None  # of the training rows with the weights that the epoch ended with
    train_accuracy_after: float | None
    validation_loss: float | None
    validation_accuracy: float | None


@dataclass(frozen=True)
class Curve:
    """Mean loss and accuracy (0..1) of each epoch: float64 ``[P, epochs]``."""

    loss: np.ndarray
    accuracy: np.ndarray


@dataclass(frozen=True)
class History:
    """The course of a run of P networks.

    train: running figures, as frameworks print them: the mean over an epoch's rows, each row counted when its step read
    it, before the step's update.
    train_after: of the training rows after the epoch, without dropout; None where not asked for.
    validation: likewise of the validation rows.
    step_loss, step_accuracy: float64 ``[P, epochs, steps]``.
    epochs: those that were finished. seconds: of the training alone, validation included.
    interrupted: by Ctrl-C; the weights are those of the last step.
    """

    train: Curve
    train_after: Curve | None
    validation: Curve | None
    step_loss: np.ndarray
    step_accuracy: np.ndarray
    epochs: int
    seconds: float
    interrupted: bool

    def report(self, epoch: int) -> EpochReport:
        """The first network's figures of an epoch, counted from 0."""
        return epoch_report(epoch, self.epochs, (self.train, self.train_after, self.validation), column=epoch)


def epoch_report(
    epoch: int, epochs: int, curves: tuple[Curve, Curve | None, Curve | None], *, column: int
) -> EpochReport:
    """The first network's figures of an epoch, counted from 0, which stand in this column of the curves."""
    values: list[float | None] = []
    for curve in curves:
        values += (None, None) if curve is None else (float(curve.loss[0, column]), float(curve.accuracy[0, column]))
    return EpochReport(epoch + 1, epochs, *values)
