"""scikit-learn's own multilayer perceptron, made to do what gpunet's does: from the same weights, in the same order."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
from sklearn.exceptions import ConvergenceWarning

COMMON = {"warm_start": True, "shuffle": False, "tol": 0.0, "n_iter_no_change": 10**6}


@contextmanager
def unconverged():
    """A few epochs are few."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def fitted_alike(ours, theirs, X, y, *, epochs, sample_weight=None, seed=0):
    """Both, fitted for so many epochs from the same first weights. Neither shuffles, and neither stops."""
    rng = np.random.default_rng(seed)
    with unconverged():
        for model in (ours, theirs):
            model.set_params(**COMMON, max_iter=1).fit(X, y)  # which makes the weights that are then replaced
        weights = [rng.normal(0, 0.5, weight.shape).astype(weight.dtype) for weight in ours.coefs_]
        biases = [rng.normal(0, 0.5, bias.shape).astype(bias.dtype) for bias in ours.intercepts_]
        for model in (ours, theirs):
            model.coefs_, model.intercepts_ = [w.copy() for w in weights], [b.copy() for b in biases]
            model.set_params(max_iter=epochs).fit(X, y, sample_weight=sample_weight)
    return ours, theirs


def assert_same_weights(ours, theirs, rtol):
    """Relative to a tensor's largest element."""
    for one, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * abs(other).max())
