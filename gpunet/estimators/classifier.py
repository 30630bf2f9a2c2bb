"""The classifier: cross-entropy over classes of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from gpunet.errors import InputError
from gpunet.estimators.base import MLPEstimator
from gpunet.history import EpochReport
from gpunet.network import probabilities


class MLPClassifier(ClassifierMixin, MLPEstimator):
    """A multilayer perceptron that classifies, with scikit-learn's interface.

    Parameters named as in `sklearn.neural_network.MLPClassifier` mean the same:

    hidden_layer_sizes: a number or a sequence, () for none.
    activation: of the hidden layers: "identity", "logistic", "tanh" or "relu".
    solver: "adam" (PyTorch's, epsilon outside of the bias correction) or "sgd" (with momentum, without Nesterov's).
    alpha: L2 penalty alpha / 2 * sum of squared weights, biases excluded, divided by the batch's rows (their weight).
    batch_size: "auto" is min(200, n). learning_rate_init, beta_1, beta_2, epsilon, momentum: the optimizer's.
    max_iter: the most epochs. tol, n_iter_no_change: a fit ends when its loss has not improved by tol for more than so
    many epochs; with early_stopping the accuracy on a share of validation_fraction of the rows decides, which are not
    trained on, and the best weights are kept.
    shuffle: a new order of rows in each epoch. random_state: of first weights, orders, dropout and validation rows.
    warm_start: fit goes on with the weights that the last one left. verbose: print each epoch.

    and these are gpunet's:

    dropout: the share of hidden activations dropped in training.
    class_weight: {class: weight}, "balanced" (all classes have the same say, by their rows' sample weights) or None.
    n_members: networks of an ensemble, trained side by side as one population; their probabilities are averaged.
    pixel_scale: what X is multiplied by, here and in predictions, such as 1 / 255; it is never guessed from X's type.
    backend: "numpy" computes in X's own type, float32 or float64 (any other becomes float64); "jit" likewise; "cuda" in
    float32 on the device of the number `device`; or "auto". See `gpunet.ops.backend.make_backend`.

    Attributes: classes_; coefs_ and intercepts_, lists of ``[I, O]`` and ``[O]`` (of an ensemble ``[members, I, O]``
    and ``[members, O]``); loss_, loss_curve_ and best_loss_, mean losses of epochs, each row's taken before the step
    that read it, with the penalty of the weights after the epoch; validation_scores_ and best_validation_score_ with
    early stopping; n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_ and feature_names_in_.

    Example:

    >>> images, signs = np.eye(4), ["four", "nine", "one", "two"]
    >>> model = MLPClassifier((8,), learning_rate_init=0.05, n_members=2, random_state=0).fit(images, signs)
    >>> model.predict(images).tolist()
    ['four', 'nine', 'one', 'two']
    >>> model.predict_proba(images).shape
    (4, 4)
    """

    _loss_factor = 1.0

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.001,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        dropout: float = 0.0,
        class_weight: dict | str | None = None,
        n_members: int = 1,
        pixel_scale: float = 1.0,
        backend: str = "numpy",
        device: int = 0,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            dropout=dropout,
            n_members=n_members,
            pixel_scale=pixel_scale,
            backend=backend,
            device=device,
        )
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> MLPClassifier:
        """Learn one epoch of these rows, going on from what was learnt before, the optimizer with it.

        classes: all that there are; needed at the first call, unless it has rows of all of them. For the rest see
        `fit`.
        """
        return self._partial_fit(X, y, sample_weight, classes=classes)

    def predict(self, X: Any) -> np.ndarray:
        """The most likely class of each row: ``[n]``."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, in the order of `classes_`: float64 ``[n, classes]``."""
        return probabilities(self._member_outputs(X)).mean(axis=0)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Their logarithms, finite where a probability is too small for a number: float64 ``[n, classes]``."""
        logits = self._member_outputs(X).astype(np.float64)
        if logits.shape[-1] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
        return logsumexp(log_softmax(logits, axis=-1), axis=0) - np.log(len(logits))

    def _learn_labels(self, y: np.ndarray, goes_on: bool, classes: Any = None) -> np.ndarray:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind.startswith("multilabel") or kind == "multiclass-multioutput":
            raise InputError(f"y is {kind}, but each row must have one class: use a classifier for each column of y")
        y = column_or_1d(y, warn=True)
        known = np.unique(y if classes is None else classes)
        if goes_on and not np.isin(known, self.classes_).all():
            raise InputError(f"the classes before were {self.classes_.tolist()}, and these are {known.tolist()}")
        if not goes_on:
            if len(known) < 2:
                raise InputError(f"y has {len(known)} class only, {known.tolist()}: there must be two to tell apart")
            self.classes_ = known
        if not np.isin(y, self.classes_).all():
            raise InputError(f"y has classes that are not among {self.classes_.tolist()}")
        return np.searchsorted(self.classes_, y)

    @property
    def _loss_name(self) -> str:
        return "binary_cross_entropy" if len(self.classes_) == 2 else "softmax_cross_entropy"

    def _outputs(self) -> int:
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _class_weights(self, labels: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            totals = np.bincount(labels, sample_weight)
            return (totals.sum() / (np.count_nonzero(totals) * np.where(totals > 0, totals, 1)))[labels]
        return compute_sample_weight(self.class_weight, self.classes_[labels])

    def _score_of(self, report: EpochReport, labels: np.ndarray, weights: np.ndarray | None) -> float:
        return report.validation_accuracy

    def _strata(self, labels: np.ndarray) -> np.ndarray | None:
        return labels
