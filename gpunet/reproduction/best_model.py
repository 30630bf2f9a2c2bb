"""Which of the PyTorch report's models is the best: by validation, never by the test set, which must not choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpunet.reproduction.printed import Training
from gpunet.reproduction.pytorch_report import BEST, MULTICLASS
from gpunet.reproduction.running import Outcome


@dataclass(frozen=True)
class Choice:
    """best: the model of the highest mean validation accuracy, of equals that of the lowest mean loss. wins: with how
    many seeds, out of `seeds`, each model has the highest validation accuracy of the three; equals share a win."""

    best: Training
    wins: dict[Training, float]
    seeds: int

    @property
    def is_the_reports(self) -> bool:
        return self.best == BEST


def choose_model(outcome: Outcome) -> Choice | None:
    """None if one of the models was not trained, or no seed's networks are all sound."""
    results = [outcome.results.get(training) for training in MULTICLASS]
    if any(result is None for result in results):
        return None
    sound = np.logical_and.reduce([result.sound for result in results])  # the same seeds of each: the same split
    if not sound.any():
        return None
    accuracy, loss = (
        np.stack([getattr(result.history.validation, kind)[sound, -1] for result in results])
        for kind in ("accuracy", "loss")
    )
    best = np.lexsort((loss.mean(axis=1), -accuracy.mean(axis=1)))[0]
    highest = accuracy == accuracy.max(axis=0)
    wins = (highest / highest.sum(axis=0)).sum(axis=1)
    return Choice(MULTICLASS[best], dict(zip(MULTICLASS, wins.tolist(), strict=True)), int(sound.sum()))
