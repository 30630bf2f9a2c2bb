"""Activation functions and their derivatives, in place, in NumPy.

The derivative is written in terms of the function's own value a = f(z), so that z need not be kept:
relu' = [a > 0], sigmoid' = a (1 - a), tanh' = (1 - a)(1 + a), identity' = 1.
"""

from __future__ import annotations

import numpy as np


def identity(z: np.ndarray) -> None:
    pass


def relu(z: np.ndarray) -> None:
    np.maximum(z, 0, out=z)


def sigmoid(z: np.ndarray) -> None:
    """1 / (1 + exp(-z)). The exponent is capped at the largest whose exp is finite; what is cut off there is
    denormal."""
    largest_exponent, one = _SIGMOID_CONSTANTS[z.dtype]
    np.negative(z, out=z)
    np.minimum(z, largest_exponent, out=z)
    np.exp(z, out=z)
    np.add(z, one, out=z)
    np.reciprocal(z, out=z)


def tanh(z: np.ndarray) -> None:
    np.tanh(z, out=z)


def times_identity_derivative(gradient: np.ndarray, a: np.ndarray, scratch: np.ndarray) -> None:
    pass


def times_relu_derivative(gradient: np.ndarray, a: np.ndarray, scratch: np.ndarray) -> None:
    np.sign(a, out=scratch)  # a is never negative; a NaN stays one
    np.multiply(gradient, scratch, out=gradient)


def times_sigmoid_derivative(gradient: np.ndarray, a: np.ndarray, scratch: np.ndarray) -> None:
    np.subtract(1, a, out=scratch)
    np.multiply(scratch, a, out=scratch)
    np.multiply(gradient, scratch, out=gradient)


def times_tanh_derivative(gradient: np.ndarray, a: np.ndarray, scratch: np.ndarray) -> None:
    """1 - a^2 as (1 - a)(1 + a): near |a| = 1 the square would round away what matters."""
    np.subtract(1, a, out=scratch)
    np.multiply(gradient, scratch, out=gradient)
    np.add(1, a, out=scratch)
    np.multiply(gradient, scratch, out=gradient)


# The largest number whose exponential is finite, and 1: as arrays, which NumPy need not convert.
_SIGMOID_CONSTANTS = {
    np.dtype(kind): (np.array(np.nextafter(np.log(np.finfo(kind).max), kind(0))), np.array(1, kind))
    for kind in (np.float32, np.float64)
}

# name -> (the function, which works in place; its derivative, which is multiplied into a gradient)
ACTIVATIONS = {
    "identity": (identity, times_identity_derivative),
    "relu": (relu, times_relu_derivative),
    "sigmoid": (sigmoid, times_sigmoid_derivative),
    "tanh": (tanh, times_tanh_derivative),
}
