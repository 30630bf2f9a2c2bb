"""scikit-learn: MLPClassifier.fit, warm-started, so that it begins with the weights that all begin with.

It reports the mean loss of each epoch, not that of each step, and its Adam is not quite PyTorch's
(`gpunet_forms.AdamEpsFirst`).
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier

from training.contenders.problem import Problem, Train

ACTIVATIONS = {"sigmoid": "logistic"}  # those whose name differs
FOR_EVER = 10**6


def why_not(variant: str, device: int | None) -> str | None:
    return None


def prepare(problem: Problem, variant: str, device: int | None) -> Train:
    experiment = problem.experiment
    model = MLPClassifier(
        hidden_layer_sizes=experiment.hidden,
        activation=ACTIVATIONS.get(experiment.activation, experiment.activation),
        solver=experiment.optimizer,
        alpha=0.0,
        batch_size=experiment.batch_size,
        learning_rate_init=experiment.learning_rate,
        momentum=0.0,
        tol=0.0,
        n_iter_no_change=FOR_EVER,
        warm_start=True,
    )
    # Until it has been fitted once, it has no weights that could be set.
    _, one_of_each = np.unique(problem.labels, return_index=True)
    _fit(model.set_params(max_iter=1, shuffle=False), problem.images[one_of_each], problem.labels[one_of_each])

    def run(epochs: int, order: np.ndarray | None) -> np.ndarray:
        model.coefs_ = [weight.copy() for weight, _ in problem.weights]
        model.intercepts_ = [bias.copy() for _, bias in problem.weights]
        model.set_params(max_iter=epochs, shuffle=order is None and problem.shuffles)
        rows = slice(None) if order is None else order
        _fit(model, problem.images[rows], problem.labels[rows])
        return np.array(model.loss_curve_[-epochs:])

    return run


def _fit(model: MLPClassifier, images: np.ndarray, labels: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged, and that a batch is larger than the data
        model.fit(images, labels)
