"""What the estimators' parameters may be, and what they are called in the rest of gpunet."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from gpunet.errors import InputError
from gpunet.optimizers import SGD, Adam, Optimizer

ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
SOLVERS = ("adam", "sgd")
LARGEST_AUTO_BATCH = 200


def check_parameters(model: Any) -> None:
    """Raise `InputError`, by the name of the one at fault, unless an estimator's parameters can be used.

    Those that gpunet has under the same meaning (dropout, backend, beta_1 and beta_2) are left to it.
    """
    for name, known in (("activation", ACTIVATIONS), ("solver", SOLVERS)):
        value = getattr(model, name)
        if not isinstance(value, str) or value not in known:
            raise InputError(f"{name} {value!r} is not known: use one of {', '.join(known)}")
    for name in ("max_iter", "n_iter_no_change", "n_members"):
        _check(name, getattr(model, name), "a positive whole number", lambda value: _is_whole(value) and value >= 1)
    for name in ("alpha", "tol"):
        _check(name, getattr(model, name), "zero or a positive number", lambda value: 0 <= value < np.inf)
    for name in ("learning_rate_init", "epsilon", "pixel_scale"):
        _check(name, getattr(model, name), "a positive number", lambda value: 0 < value < np.inf)
    _check("momentum", model.momentum, "a number from 0 to 1", lambda value: 0 <= value <= 1)
    _check("validation_fraction", model.validation_fraction, "a number between 0 and 1", lambda value: 0 < value < 1)
    if model.batch_size != "auto":
        _check("batch_size", model.batch_size, "'auto' or a positive whole number", lambda v: _is_whole(v) and v >= 1)


def hidden_sizes(sizes: Any) -> tuple[int, ...]:
    """hidden_layer_sizes as a tuple; one number means one layer. Raises `InputError` unless all are positive."""
    each = (sizes,) if _is_whole(sizes) else tuple(sizes) if np.iterable(sizes) else (None,)
    if not all(_is_whole(size) and size > 0 for size in each):
        raise InputError(
            "hidden_layer_sizes must be positive whole numbers, such as (64,), or () for no hidden layer, "
            f"not {sizes!r}"
        )
    return tuple(map(int, each))


def batch_rows(batch_size: int | str, rows: int) -> int:
    """Rows of a batch where there are so many in all."""
    return min(LARGEST_AUTO_BATCH if batch_size == "auto" else int(batch_size), rows)


def make_optimizer(model: Any, loss_factor: float) -> Optimizer:
    """The optimizer of an estimator whose loss is gpunet's, divided by loss_factor.

    Gradients are then larger by that factor. SGD takes it out of the learning rate; Adam's direction is the same for
    gradients of any size, if only epsilon grows with them.
    """
    if model.solver == "sgd":
        return SGD(model.learning_rate_init / loss_factor, momentum=model.momentum)
    eps = model.epsilon * loss_factor
    return Adam(model.learning_rate_init, beta1=model.beta_1, beta2=model.beta_2, eps=eps)


def _check(name: str, value: Any, wanted: str, serves: Callable[[Any], bool]) -> None:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not serves(value):
        raise InputError(f"{name} must be {wanted}, not {value!r}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
