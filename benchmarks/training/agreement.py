"""Whether a contender trains what all train: its losses beside those of NumPy in float64.

All start from the same float32 weights and take the same rows in the same order. What float32 may be off by grows with
the steps t = 1, 2, ...:

    |loss - loss in float64| <= 128 * eps * t * max(1, loss),   eps = 2^-23

A step's own rounding is worth 30 eps (sums of up to 784 terms); an Adam that raises float32(beta) to the power of t, as
PyTorch's compiled and capturable ones do, is off by another 100 in the first updates; and the steps may all err to the
same side. Most contenders stay below 2 eps * t. Not more than fifty steps are compared: later a ReLU that rounding has
switched can separate two float32 runs by more than that, both of them right.
"""

from __future__ import annotations

import numpy as np

from training.contenders import Contender
from training.contenders.gpunet_forms import reference
from training.contenders.problem import Problem

COMPARED_STEPS = 50
EPS_A_STEP = 128


class Agreement:
    """What the losses of an experiment are to be."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._expected: dict[bool, np.ndarray] = {}

    @property
    def epochs(self) -> int:
        """How many a contender trains at the least, to be compared."""
        return -(-COMPARED_STEPS // self._problem.steps)

    def error(self, contender: Contender, losses: list[float], epochs: int) -> float:
        """The largest difference in units of what is allowed; infinite where losses are missing or no numbers.

        losses: of each step, or of each epoch, of a run of so many epochs over the given order.
        """
        if contender.eps_first not in self._expected:
            self._expected[contender.eps_first] = reference(
                self._problem, self.epochs, eps_first=contender.eps_first
            ).reshape(self.epochs, -1)
        expected = self._expected[contender.eps_first]
        allowed = EPS_A_STEP * np.finfo(np.float32).eps * np.arange(1, expected.size + 1).reshape(expected.shape)
        allowed *= np.maximum(1, expected)
        if len(losses) == epochs:
            rows = self._rows_of_steps() / self._problem.rows
            expected, allowed, compared = expected @ rows, allowed @ rows, min(epochs, self.epochs)
        elif len(losses) == epochs * self._problem.steps:
            expected, allowed, compared = expected.ravel(), allowed.ravel(), min(len(losses), COMPARED_STEPS)
        else:
            return np.inf
        errors = np.abs(np.array(losses[:compared]) - expected[:compared]) / allowed[:compared]
        return float(errors.max()) if np.isfinite(losses).all() else np.inf

    def _rows_of_steps(self) -> np.ndarray:
        starts = np.arange(self._problem.steps) * self._problem.experiment.batch_size
        return np.minimum(self._problem.experiment.batch_size, self._problem.rows - starts)
