"""Plain SGD with a batch size of 1 as one compiled loop: no call of NumPy, and a network's weights stay in the cache.

For one network with one hidden layer and one logit: I inputs, H hidden units.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from gpunet.ops.jit_compile import loop
from gpunet.ops.jit_losses import binary_row, is_binary_hit

IDENTITY, RELU, SIGMOID, TANH = range(4)
ACTIVATIONS = {"identity": IDENTITY, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}


@loop
def per_sample_sgd(images, labels, rows, scale, weight1, bias1, weight2, bias2, rates, row_loss, hits, activation):
    """One step for each of these rows, in order.

    images: ``[N, I]``, labels: ``[N]``, of which a row is ``images[row] * scale``. weight1: ``[I, H]``. bias1: ``[H]``.
    weight2: ``[H, 1]``. bias2: ``[1]``. rates, row_loss, hits (uint8): one a row. activation: of `ACTIVATIONS`.
    """
    inputs, hidden = weight1.shape
    kind = weight1.dtype.type
    x, a = np.empty(inputs, weight1.dtype), np.empty(hidden, weight1.dtype)
    # The weights of a hidden unit side by side, as vector instructions read them.
    of_unit = np.empty((hidden, inputs), weight1.dtype)
    _transpose(weight1, of_unit)
    for t in range(len(rows)):
        for i in range(inputs):
            x[i] = kind(images[rows[t], i]) * kind(scale)
        z = bias2[0]
        for h in range(hidden):
            a[h] = _activation(_dot(x, of_unit[h]) + bias1[h], activation)
            z += a[h] * weight2[h, 0]

        is_one = labels[rows[t]] == 1
        row_loss[t], dz = binary_row(z, is_one, kind(1))
        hits[t] = is_binary_hit(z, is_one)

        for h in range(hidden):
            da = _times_derivative(dz * weight2[h, 0], a[h], activation)
            weight2[h, 0] -= a[h] * dz * rates[t]
            bias1[h] -= da * rates[t]
            _subtract(of_unit[h], da * rates[t], x)
        bias2[0] -= dz * rates[t]
    _transpose(of_unit, weight1)


@njit
def _transpose(matrix, out):
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            out[j, i] = matrix[i, j]


@njit(fastmath={"reassoc"})
def _dot(x, y):
    """The one sum whose order is left to the compiler, which needs that for vectors; NaN comes through all the same."""
    total = x.dtype.type(0)
    for i in range(len(x)):
        total += x[i] * y[i]
    return total


@njit
def _subtract(y, factor, x):
    """y -= factor * x."""
    for i in range(len(x)):
        y[i] -= factor * x[i]


@njit
def _activation(z, activation):
    if activation == RELU:
        return type(z)(0) if z <= 0 else z
    if activation == SIGMOID:
        return type(z)(1) / (type(z)(1) + math.exp(-z))
    if activation == TANH:
        return math.tanh(z)
    return z


@njit
def _times_derivative(gradient, a, activation):
    """By what a is, as in `numpy_activations`."""
    one = type(a)(1)
    if activation == RELU:
        return gradient * (one if a > 0 else a)
    if activation == SIGMOID:
        return gradient * ((one - a) * a)
    if activation == TANH:
        return gradient * (one - a) * (one + a)
    return gradient
