"""How a run goes on by what it has reached: `Plateau` slows its networks down, `EarlyStopping` ends them.

Each network of a population is followed by itself and goes its own way, as it would alone. One that has stopped stays
as it is, at the learning rate zero, while others go on; the run ends with the last of them.

All of a `Pace` follows from the validation losses of the epochs so far. So a run that is taken up again shows them to a
new one, one epoch after the other, and there is nothing else to keep but the best weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.errors import InputError
from gpunet.schedules import Plateau


@dataclass(frozen=True)
class EarlyStopping:
    """A network stops once its validation loss has not improved for `patience` epochs on end, and is given back the
    weights of its best epoch. The rule is that of Keras and PyTorch Lightning.

    min_delta: by how much less a loss must be than the best one to improve. restore_best: False leaves the weights of
    the last epoch instead; True gives the best ones also where no network stopped before the run's end.
    """

    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True

    def check(self) -> None:
        """Raise `InputError` for values out of range."""
        if not isinstance(self.patience, (int, np.integer)) or self.patience < 1:
            raise InputError(f"the patience of early stopping must be a positive whole number, not {self.patience}")
        if not 0 <= self.min_delta < np.inf:
            raise InputError(f"min_delta of early stopping must be zero or a positive number, not {self.min_delta}")

    def __str__(self) -> str:
        epochs = "one epoch" if self.patience == 1 else f"{self.patience} epochs"
        return f"after {epochs} without improvement"


class Pace:
    """What becomes of each of P networks, epoch by epoch.

    scale: float64 ``[P]``, the product of a plateau's reductions. scales: of each epoch so far what `lr_scale` was.
    stopped_after: int64 ``[P]``, the epoch (from 1) after which a network stopped, 0 of one that has not. best_epoch:
    int64 ``[P]``, that of the lowest validation loss by early stopping's rule, 0 where no loss was a number.
    """

    def __init__(self, networks: int, plateau: Plateau | None = None, early_stopping: EarlyStopping | None = None):
        self._plateau, self._stopping = plateau, early_stopping
        self.epochs = 0
        self.scale, self.scales = np.ones(networks), []
        self.stopped_after, self.best_epoch = np.zeros((2, networks), np.int64)
        self._to_slow, self._to_stop = _Best(networks), _Best(networks)
        self._cooling = np.zeros(networks, np.int64)  # epochs for which a plateau does not count

    @property
    def stops(self) -> bool:
        """Whether by early stopping."""
        return self._stopping is not None

    @property
    def stopped(self) -> np.ndarray:
        """bool ``[P]``"""
        return self.stopped_after > 0

    @property
    def lr_scale(self) -> np.ndarray:
        """By what the updates of the next epoch are multiplied: float64 ``[P]``, zero for those that have stopped."""
        return np.where(self.stopped, 0.0, self.scale)

    def epoch_ended(self, losses: np.ndarray) -> np.ndarray:
        """Take note of an epoch's validation losses ``[P]``. Returns which networks have their best weights now."""
        self.scales.append(self.lr_scale)
        self.epochs += 1
        goes_on = ~self.stopped
        improved = np.zeros(len(losses), bool)
        if self._plateau is not None:
            self._slow_down(losses)
        if self._stopping is not None:
            improved = goes_on & self._to_stop.see(losses, losses < self._to_stop.loss - self._stopping.min_delta)
            self.best_epoch[improved] = self.epochs
            self.stopped_after[goes_on & (self._to_stop.waited >= self._stopping.patience)] = self.epochs
        return improved

    def _slow_down(self, losses: np.ndarray) -> None:
        """As torch.optim.lr_scheduler.ReduceLROnPlateau.step."""
        plateau, best = self._plateau, self._to_slow
        with np.errstate(invalid="ignore"):
            best.see(losses, losses < best.loss * (1 - plateau.threshold))
        cooling = self._cooling > 0
        self._cooling[cooling] -= 1
        best.waited[cooling] = 0
        now = best.waited > plateau.patience
        self.scale[now] = np.maximum(self.scale[now] * plateau.factor, plateau.min_factor)
        self._cooling[now], best.waited[now] = plateau.cooldown, 0


class _Best:
    """The best loss of each network, and for how many epochs it has not been improved on."""

    def __init__(self, networks: int) -> None:
        self.loss, self.waited = np.full(networks, np.inf), np.zeros(networks, np.int64)

    def see(self, losses: np.ndarray, improved: np.ndarray) -> np.ndarray:
        """NaN improves on nothing, by whatever rule `improved` was found."""
        self.loss = np.where(improved, losses, self.loss)
        self.waited = np.where(improved, 0, self.waited + 1)
        return improved


def make_pace(
    networks: int, plateau: Plateau | None, early_stopping: EarlyStopping | None, validated: bool
) -> Pace | None:
    """None where nothing depends on how a run goes. Raises `InputError` where something does, and nothing is
    validated."""
    if early_stopping is not None:
        early_stopping.check()
    if plateau is None and early_stopping is None:
        return None
    if not validated:
        what = "a plateau schedule" if early_stopping is None else "early stopping"
        raise InputError(f"{what} judges by the validation loss: give validation_rows")
    return Pace(networks, plateau, early_stopping)


def keep_best(improved: np.ndarray, parameters: Any, best: Any) -> None:
    """best[p] = parameters[p] of the networks that have improved. Both ``[P, length]``, where the backend computes."""
    if improved.all():
        best[...] = parameters
        return
    for network in np.flatnonzero(improved).tolist():
        best[network] = parameters[network]
