"""The regressor: half the mean squared error over one or more targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d

from gpunet.estimators.base import MLPEstimator
from gpunet.history import EpochReport


class MLPRegressor(RegressorMixin, MLPEstimator):
    """A multilayer perceptron that predicts numbers, with scikit-learn's interface.

    Parameters, attributes and methods are those of `gpunet.MLPClassifier`, without what has to do with classes. y is
    ``[n]`` or ``[n, targets]``; predictions have its shape, and those of an ensemble are averaged. The loss is half of
    the squared error, averaged over rows and targets. early_stopping judges by R^2 (of all targets together, each
    weighted by its variance). It runs on the backends "numpy" and "jit": the CUDA kernels learn classes only.

    Example, which learns to double:

    >>> x = np.linspace(0, 1, 20)[:, None]
    >>> model = MLPRegressor((20,), learning_rate_init=0.01, max_iter=300, random_state=0).fit(x, 2 * x[:, 0])
    >>> bool(abs(model.predict([[0.5]])[0] - 1) < 0.1)
    True
    """

    _loss_name = "squared_error"
    _loss_factor = 2.0
    _is_numeric = True

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Learn one epoch of these rows, going on from what was learnt before, the optimizer with it. See `fit`."""
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """``[n]``, or ``[n, targets]`` where y had more than one."""
        outputs = self._member_outputs(X).mean(axis=0)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _learn_labels(self, y: np.ndarray, goes_on: bool) -> np.ndarray:
        targets = y if y.ndim == 2 and y.shape[1] > 1 else column_or_1d(y, warn=True)[:, None]
        self._targets = targets.shape[1]
        return targets.astype(np.float64, copy=False)

    def _outputs(self) -> int:
        return self._targets

    def _class_weights(self, labels: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        return None

    def _score_of(self, report: EpochReport, labels: np.ndarray, weights: np.ndarray | None) -> float:
        """R^2."""
        deviation = labels - np.average(labels, axis=0, weights=weights)
        variance = np.average(np.square(deviation).mean(axis=1), weights=weights)
        return 1 - report.validation_loss / variance if variance > 0 else float(report.validation_loss == 0)

    def _strata(self, labels: np.ndarray) -> np.ndarray | None:
        return None
