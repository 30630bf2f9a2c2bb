"""The bounds hold what they are carried through: a step whose inputs are off by their errors stays within."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.equivalence.tolerances import (
    EPS,
    dense_backward_bound,
    dense_forward_bound,
    dense_gradient_bounds,
    loss_bounds,
    update_bounds,
)
from gpunet.ops import NumpyOps, OptimizerState, Step
from gpunet.ops.numpy_losses import LOSSES

EXACT = NumpyOps(np.float64)
RNG = np.random.default_rng(3)


def nudged(array: np.ndarray, error: np.ndarray) -> np.ndarray:
    """As far off as its error allows, in random directions."""
    return array + error * RNG.choice([-1, 1], array.shape)


@pytest.mark.parametrize("activation", ["identity", "relu", "sigmoid", "tanh"])
def test_bound_of_dense_forward_carries_errors_of_its_input(activation):
    x, weight, bias = (RNG.standard_normal(shape) for shape in ((2, 5, 7), (2, 7, 4), (2, 4)))
    error = 0.01 * RNG.random(x.shape)
    results = []
    for each in (x, nudged(x, error)):
        out = np.empty((2, 5, 4))
        EXACT.dense_forward(each, weight, bias, out, activation=activation)
        results.append(out)
    difference = np.abs(results[1] - results[0])
    assert (difference <= dense_forward_bound(x, weight, bias, activation, error)).all()
    assert (difference > dense_forward_bound(x, weight, bias, activation)).any()


def test_bound_of_dense_backward_carries_errors_of_both_factors():
    dz, weight, derivative = (RNG.standard_normal(shape) for shape in ((2, 5, 4), (2, 7, 4), (2, 5, 7)))
    errors = 0.01 * RNG.random(dz.shape), 0.01 * RNG.random(derivative.shape)
    exact = (dz @ weight.swapaxes(1, 2)) * derivative
    off = (nudged(dz, errors[0]) @ weight.swapaxes(1, 2)) * nudged(derivative, errors[1])
    assert (np.abs(off - exact) <= dense_backward_bound(dz, weight, derivative, *errors)).all()
    assert (np.abs(off - exact) > dense_backward_bound(dz, weight, derivative, errors[0])).any()


@pytest.mark.parametrize(("loss", "outputs"), [(name, 1 if "binary" in name else 5) for name in LOSSES])
@pytest.mark.parametrize("size", [1e-6, 0.3])
def test_bound_of_losses_carries_errors_of_logits(loss, outputs, size):
    logits = 4 * RNG.standard_normal((2, 50, outputs))
    labels = RNG.integers(0, max(2, outputs), (2, 50))
    error = size * RNG.random(logits.shape)
    results = []
    for each in (logits, nudged(logits, error)):
        row_loss, hits, dlogits = np.empty(labels.shape), np.empty(labels.shape, np.uint8), np.empty(logits.shape)
        getattr(EXACT, loss)(each, labels, row_loss, hits, dlogits)
        results.append((row_loss, dlogits))
    carried, fresh = (loss_bounds(loss, logits, labels, *results[0], each) for each in (error, None))
    for exact, off, bound, without in zip(*results, carried, fresh, strict=True):
        assert (np.abs(off - exact) <= bound).all()
        assert (np.abs(off - exact) > without).any() or size < 1e-3


def test_bounds_of_gradients_carry_errors_of_both_factors():
    x, dz = RNG.standard_normal((2, 9, 7)), RNG.standard_normal((2, 9, 4))
    errors = 0.01 * RNG.random(x.shape), 0.01 * RNG.random(dz.shape)
    off = nudged(x, errors[0]), nudged(dz, errors[1])
    weight_bound, bias_bound = dense_gradient_bounds(x, dz, *errors)
    difference = np.abs(off[0].swapaxes(1, 2) @ off[1] - x.swapaxes(1, 2) @ dz)
    assert (difference <= weight_bound).all() and (difference > dense_gradient_bounds(x, dz)[0]).any()
    assert (np.abs((off[1] - dz).sum(axis=1)) <= bias_bound).all()


UPDATES = {
    "adam at the first step": dict(method="adam", fresh=True),
    "adam": dict(method="adam"),
    "adam with l2": dict(method="adam", l2=0.3),
    "adam with decoupled decay": dict(method="adam", decoupled=True),
    "sgd": dict(method="sgd"),
    "momentum with l2": dict(method="sgd", momentum=0.9, l2=0.3),
}


def state(*, method, fresh=False, l2=None, decoupled=False, momentum=0.0) -> OptimizerState:
    shape = (2, 400)
    m, v = (np.zeros(shape), np.zeros(shape)) if fresh else (RNG.standard_normal(shape), RNG.random(shape) ** 4)
    betas = {"beta1": 0.9, "one_minus_beta1": 0.1, "beta2": 0.999, "one_minus_beta2": 0.001, "eps": 1e-8}
    return OptimizerState(
        method,
        RNG.standard_normal(shape),
        RNG.standard_normal(shape) * 10.0 ** RNG.integers(-9, 1, shape),
        (),
        m if method == "adam" or momentum else None,
        v if method == "adam" else None,
        np.array([[[0.01, 31.6, 0.02]], [[0.1, 1.5, 0.1]]]),
        np.array([1.0, 0.5]),
        None if l2 is None else np.full(2, l2),
        decoupled,
        **(betas if method == "adam" else {"momentum": momentum}),
    )


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("size", [1e-7, 1e-3])
def test_bounds_of_updates_carry_errors_of_the_gradient(update, size):
    """Also where the error exceeds the gradient, which then may have either sign."""
    before = state(**UPDATES[update])
    error = size * RNG.random(before.gradient.shape)
    results = []
    for gradient in (before.gradient, nudged(before.gradient, error)):
        copies = {
            n: None if getattr(before, n) is None else getattr(before, n).copy() for n in ("parameters", "m", "v")
        }
        after = OptimizerState(**{**vars(before), **copies, "gradient": gradient.copy()})
        getattr(EXACT, before.method)(after, Step(np.zeros(1, np.int32), 0, 1))
        results.append(after)
    bounds, without = update_bounds(before, 0, error), update_bounds(before, 0)
    assert bounds.keys() == {name for name in ("parameters", "m", "v") if getattr(before, name) is not None}
    for name, bound in bounds.items():
        difference = np.abs(getattr(results[1], name) - getattr(results[0], name))
        assert (difference <= bound).all(), name
        assert (difference > without[name]).any() or size < 1e-6, name
    if before.method == "adam":  # the most that Adam moves a weight by, however small the gradient
        rates = before.step_table[:, 0, :1] * before.lr_scale[:, None]
        largest = np.abs(before.m) * 0.9 / (before.step_table[:, 0, 1:2] * np.sqrt(0.999 * before.v) + 1e-8)
        most = 0.1 / (before.step_table[:, 0, 1:2] * np.sqrt(0.001))
        limit = 2.1 * rates * (largest + most) + 99 * EPS * np.abs(before.parameters)
        assert (bounds["parameters"] <= limit).all()
