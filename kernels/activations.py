"""Activation functions on the device, and their derivatives in terms of the function's own value.

Every literal is a float32: a bare Python float would make the whole expression float64.
"""

import math

from numba import cuda, float32


@cuda.jit(device=True)
def identity(z):
    return z


@cuda.jit(device=True)
def identity_derivative(a):
    return float32(1)


@cuda.jit(device=True)
def relu(z):
    # not max(z, 0), which would turn a NaN into zero and hide it
    return float32(0) if z < float32(0) else z


@cuda.jit(device=True)
def relu_derivative(a):
    return float32(1) if a > float32(0) else float32(0) * a


@cuda.jit(device=True)
def sigmoid(z):
    """1 / (1 + exp(-z)), through exp(-|z|), which never overflows."""
    e = float32(math.exp(-abs(z)))
    numerator = float32(1) if z >= float32(0) else e
    return numerator / (float32(1) + e)


@cuda.jit(device=True)
def sigmoid_derivative(a):
    return a * (float32(1) - a)


@cuda.jit(device=True)
def tanh(z):
    """Through expm1, which loses nothing near zero; the hardware's own tanh is good to 2^-11 only."""
    e = float32(math.expm1(float32(-2) * abs(z)))
    t = -e / (float32(2) + e)
    return t if z >= float32(0) else -t


@cuda.jit(device=True)
def tanh_derivative(a):
    return (float32(1) - a) * (float32(1) + a)


# name -> (the function, its derivative by its value)
ACTIVATIONS = {
    "identity": (identity, identity_derivative),
    "relu": (relu, relu_derivative),
    "sigmoid": (sigmoid, sigmoid_derivative),
    "tanh": (tanh, tanh_derivative),
}
