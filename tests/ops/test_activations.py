"""Activations and their derivatives, through the dense layers that apply them."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from tolerances import ELEMENTARY, assert_within, eps, tiny

from gpunet.ops.numpy_activations import ACTIVATIONS

GRID = [sign * size for size in (0.0, 1e-6, 1e-3, 0.5, 1, 5, 30, 88, 100, 709, 1e4) for sign in (1, -1)]


def high_precision_sigmoid(z: Decimal) -> Decimal:
    return 1 / (1 + (-z).exp())


def high_precision_tanh(z: Decimal) -> Decimal:
    growth = (-2 * abs(z)).exp()
    return ((1 - growth) / (1 + growth)).copy_sign(z)


HIGH_PRECISION = {
    "identity": lambda z: z,
    "relu": lambda z: max(z, Decimal(0)),
    "sigmoid": high_precision_sigmoid,
    "tanh": high_precision_tanh,
}

# f' in terms of a = f(z), in exact arithmetic.
DERIVATIVES = {
    "identity": lambda a: Fraction(1),
    "relu": lambda a: Fraction(a > 0),
    "sigmoid": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a * a,
}


def activated(ops, z, activation):
    """activation(z) by a layer of one input and one output, whose weight is 1."""
    x = ops.asarray(np.reshape(z, (1, -1, 1)))
    out = ops.zeros(x.shape)
    ops.dense_forward(x, ops.asarray([[[1]]]), ops.asarray([[0]]), out, activation=activation)
    return ops.to_host(out).ravel()


def derived(ops, a, activation):
    """activation'(a) by a layer of one input and one output, whose weight is 1."""
    a = ops.asarray(np.reshape(a, (1, -1, 1)))
    out = ops.zeros(a.shape)
    one = ops.asarray(np.ones(a.shape))
    ops.dense_backward(one, ops.asarray([[[1]]]), a, out, activation=activation)
    return ops.to_host(out).ravel()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_is_right_from_zero_to_saturation(ops, activation):
    z = np.array(GRID, ops.dtype)
    with localcontext(Context(prec=60)):
        expected = np.array([np.longdouble(str(HIGH_PRECISION[activation](Decimal(float(each))))) for each in z])
    assert_within(
        activated(ops, z, activation), expected, ELEMENTARY * eps(ops.dtype) * abs(expected) + tiny(ops.dtype)
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_derivative_is_right_up_to_saturation(ops, activation):
    a = activated(ops, GRID, activation)
    if activation in ("sigmoid", "tanh"):  # where 1 - a is small
        a = np.append(a, (1 - 2.0 ** -np.arange(1, np.finfo(ops.dtype).nmant)).astype(ops.dtype))
    expected = np.array([float(DERIVATIVES[activation](Fraction(float(each)))) for each in a], np.longdouble)
    actual = derived(ops, a, activation)
    assert_within(actual, expected, ELEMENTARY * eps(ops.dtype) * abs(expected) + tiny(ops.dtype))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_passes_nan_on(ops, activation):
    values = activated(ops, [np.nan, 1], activation)
    assert np.isnan(values[0]) and np.isfinite(values[1])
    assert np.isnan(derived(ops, [np.nan], activation)).all() or activation == "identity"


def test_activation_relu_has_no_slope_at_zero(ops):
    np.testing.assert_array_equal(derived(ops, [0.0, 1e-30, 3], "relu"), [0, 1, 1])
