"""What a training run tells: loss and accuracy of every step and every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np


class EpochReport(NamedTuple):
    """The figures of an epoch that has ended, of a population the means over its networks; None where nothing was
    measured."""

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
    """The course of a run of P networks. Where images have weights, losses are weighted means; accuracies never are.

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
        """The figures of an epoch, counted from 0, of a population the means over its networks."""
        return epoch_report(epoch, self.epochs, (self.train, self.train_after, self.validation), column=epoch)


def epoch_report(
    epoch: int, epochs: int, curves: tuple[Curve, Curve | None, Curve | None], *, column: int
) -> EpochReport:
    """The figures of an epoch, counted from 0, which stand in this column of the curves.

    Of a population the means over those networks whose losses are still numbers, as long as there are any.
    """
    losses = curves[0].loss[:, column]
    counted = np.isfinite(losses) if np.isfinite(losses).any() else np.ones(len(losses), bool)
    values: list[float | None] = []
    for curve in curves:
        pair = (None, None) if curve is None else (curve.loss, curve.accuracy)
        values += [None if figure is None else float(figure[counted, column].mean()) for figure in pair]
    return EpochReport(epoch + 1, epochs, *values)


def side_by_side(histories: Sequence[History]) -> History:
    """One history of all the networks of several, which have run for as many epochs; their seconds are added up."""

    def joined(curves: list[Curve | None]) -> Curve | None:
        if curves[0] is None:
            return None
        return Curve(*(np.concatenate([getattr(curve, kind) for curve in curves]) for kind in ("loss", "accuracy")))

    return History(
        train=joined([history.train for history in histories]),
        train_after=joined([history.train_after for history in histories]),
        validation=joined([history.validation for history in histories]),
        step_loss=np.concatenate([history.step_loss for history in histories]),
        step_accuracy=np.concatenate([history.step_accuracy for history in histories]),
        epochs=histories[0].epochs,
        seconds=sum(history.seconds for history in histories),
        interrupted=any(history.interrupted for history in histories),
    )


def missing_history(like: History, networks: int) -> History:
    """The history of networks that have none: NaN, in the shape of another."""

    def missing(curve: Curve | None) -> Curve | None:
        return None if curve is None else Curve(nan(curve.loss), nan(curve.accuracy))

    def nan(figures: np.ndarray) -> np.ndarray:
        return np.full((networks, *figures.shape[1:]), np.nan)

    return replace(
        like,
        train=missing(like.train),
        train_after=missing(like.train_after),
        validation=missing(like.validation),
        step_loss=nan(like.step_loss),
        step_accuracy=nan(like.step_accuracy),
        seconds=0.0,
    )
