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
    learning_rate: float | None = None  # of the epoch's last step; of a network that has stopped early, zero
    has_stopped: bool = False  # early: no network goes on after this epoch


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
    learning_rate: float64 ``[P, epochs]``, of each epoch's last step, as schedules have made it; None where unknown.
    stopped_after: int64 ``[P]``, after which epoch (from 1) early stopping ended each network, 0 where it did not; None
    without early stopping. In later epochs its figures are those of that epoch.
    weights_of: int64 ``[P]``, at the end of which epoch each network had the weights that it has now; None: the last.
    """

    train: Curve
    train_after: Curve | None
    validation: Curve | None
    step_loss: np.ndarray
    step_accuracy: np.ndarray
    epochs: int
    seconds: float
    interrupted: bool
    learning_rate: np.ndarray | None = None
    stopped_after: np.ndarray | None = None
    weights_of: np.ndarray | None = None

    def report(self, epoch: int) -> EpochReport:
        """The figures of an epoch, counted from 0, of a population the means over its networks."""
        curves = self.train, self.train_after, self.validation
        report = epoch_report(epoch, self.epochs, curves, column=epoch, learning_rate=self.learning_rate)
        ends = self.stopped_after is not None and 0 < self.stopped_after.min() and self.stopped_after.max() == epoch + 1
        return report._replace(has_stopped=bool(ends))

    def final(self, figures: np.ndarray) -> np.ndarray:
        """Of figures ``[P, epochs]``, those of the weights that the networks have now: ``[P]``."""
        if self.weights_of is None:
            return figures[:, -1]
        return figures[np.arange(len(figures)), self.weights_of - 1]


def epoch_report(
    epoch: int,
    epochs: int,
    curves: tuple[Curve, Curve | None, Curve | None],
    *,
    column: int,
    learning_rate: np.ndarray | None = None,
) -> EpochReport:
    """The figures of an epoch, counted from 0, which stand in this column of the curves and of learning_rate.

    Of a population the means over those networks whose losses are still numbers, as long as there are any.
    """
    losses = curves[0].loss[:, column]
    counted = np.isfinite(losses) if np.isfinite(losses).any() else np.ones(len(losses), bool)
    values: list[float | None] = []
    for curve in curves:
        pair = (None, None) if curve is None else (curve.loss, curve.accuracy)
        values += [None if figure is None else float(figure[counted, column].mean()) for figure in pair]
    rate = None if learning_rate is None else float(learning_rate[counted, column].mean())
    return EpochReport(epoch + 1, epochs, *values, rate)


def side_by_side(histories: Sequence[History]) -> History:
    """One history of all the networks of several; their seconds are added up. One that early stopping ended before
    another is drawn out to its length: the figures of its last epoch go on."""
    epochs = max(history.epochs for history in histories)
    histories = [_drawn_out(history, epochs) for history in histories]

    def arrays(name: str) -> np.ndarray | None:
        values = [getattr(history, name) for history in histories]
        return None if values[0] is None else np.concatenate(values)

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
        epochs=epochs,
        seconds=sum(history.seconds for history in histories),
        interrupted=any(history.interrupted for history in histories),
        **{name: arrays(name) for name in ("learning_rate", "stopped_after", "weights_of")},
    )


def held(figures: np.ndarray, stopped_after: np.ndarray) -> np.ndarray:
    """Figures ``[P, epochs, ...]`` in which those of a network's last epoch go on after it has stopped (see `History`;
    0: it has not)."""
    epochs = np.arange(figures.shape[1])
    last = np.where(stopped_after > 0, stopped_after - 1, len(epochs))
    return figures[np.arange(len(figures))[:, None], np.minimum(epochs, last[:, None])]


def _drawn_out(history: History, epochs: int) -> History:
    """The history with its last epoch repeated up to so many."""
    missing = epochs - history.epochs
    if not missing:
        return history

    def longer(figures: np.ndarray) -> np.ndarray:
        return np.concatenate([figures, np.repeat(figures[:, -1:], missing, axis=1)], axis=1)

    def curve(of: Curve | None) -> Curve | None:
        return None if of is None else Curve(longer(of.loss), longer(of.accuracy))

    rate = history.learning_rate
    return replace(
        history,
        train=curve(history.train),
        train_after=curve(history.train_after),
        validation=curve(history.validation),
        step_loss=longer(history.step_loss),
        step_accuracy=longer(history.step_accuracy),
        epochs=epochs,
        # A network that has stopped learns at the rate zero.
        learning_rate=None if rate is None else np.pad(rate, ((0, 0), (0, missing))),
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
        learning_rate=None if like.learning_rate is None else nan(like.learning_rate),
        stopped_after=None if like.stopped_after is None else np.zeros(networks, np.int64),
        weights_of=None if like.weights_of is None else np.full(networks, like.epochs),
    )
