"""scikit-learn's rule for when a fit has learnt enough: no improvement by tol for n_iter_no_change epochs on end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.history import EpochReport
from gpunet.network import MLP


class Stopping:
    """The `on_epoch` of a fit: keeps its curves, and tells when it ends.

    loss: from an epoch's figures to the fit's loss. score: to the score of the validation rows, which then decides, and
    whose best weights are kept; None without early stopping. An ensemble's figures are means over its members, which
    stop together.
    """

    def __init__(
        self,
        network: MLP,
        loss: Callable[[EpochReport], float],
        score: Callable[[EpochReport], float] | None,
        *,
        tol: float,
        patience: int,
        verbose: bool,
    ) -> None:
        self._network, self._loss, self._score = network, loss, score
        self._tol, self._patience, self._verbose = tol, patience, verbose
        self._without_improvement = 0
        self._best_parameters: Any = None
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best_loss, self.best_score = np.inf, -np.inf
        self.has_stopped = False

    def __call__(self, report: EpochReport) -> bool:
        """Whether the epoch that has just ended was the last."""
        self.losses.append(self._loss(report))
        if self._verbose:
            print(f"Iteration {report.epoch}, loss = {self.losses[-1]:.8f}")
        improved = self._loss_improved() if self._score is None else self._score_improved(report)
        self._without_improvement = 0 if improved else self._without_improvement + 1
        self.has_stopped = self._without_improvement > self._patience
        if self.has_stopped and self._verbose:
            what = "Training loss" if self._score is None else "Validation score"
            print(
                f"{what} did not improve more than tol={self._tol} for {self._patience} consecutive epochs. Stopping."
            )
        return self.has_stopped

    def keep_best(self) -> None:
        """Give the network the weights of its best epoch, where a validation score tells which that was."""
        if self._best_parameters is not None:
            self._network.parameters[:] = self._best_parameters

    def _loss_improved(self) -> bool:
        improved = self.losses[-1] <= self.best_loss - self._tol
        self.best_loss = min(self.best_loss, self.losses[-1])
        return improved

    def _score_improved(self, report: EpochReport) -> bool:
        score = self._score(report)
        self.scores.append(score)
        if self._verbose:
            print(f"Validation score: {score:.6f}")
        improved = score >= self.best_score + self._tol
        if score > self.best_score:
            self.best_score, self._best_parameters = score, self._network.parameters.copy()
        return improved
