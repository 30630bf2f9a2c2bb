"""The optimizers' updates as compiled loops: one pass over a network's parameters, and `NumpyOps`'s bits.

parameters, gradient, m, v: ``[n_params]``, of which the gradient stays as it is. factors: ``[3]``, a step's row of
the step table. lr_scale, l2: numbers of the same type. See `OptimizerState`, and `NumpyOps.adam` and `sgd` for the
formulas.
"""

from __future__ import annotations

import math

from numba import njit

from gpunet.ops.jit_compile import loop


@njit
def _decayed(gradient, weight, l2):
    """Without decay the weight has no say, not even one that is infinite."""
    return gradient + weight * l2 if l2 != 0 else gradient


@loop
def adam(parameters, gradient, m, v, factors, lr_scale, l2, beta1, one_minus_beta1, beta2, one_minus_beta2, eps):
    kind = parameters.dtype.type
    beta1, one_minus_beta1, eps = kind(beta1), kind(one_minus_beta1), kind(eps)
    beta2, one_minus_beta2 = kind(beta2), kind(one_minus_beta2)
    before, root_factor, keep = factors[0] * lr_scale, factors[1], kind(1) - factors[2] * lr_scale
    for i in range(len(parameters)):
        g = _decayed(gradient[i], parameters[i], l2)
        m_i = m[i] * beta1 + g * one_minus_beta1
        v_i = v[i] * beta2 + g * g * one_minus_beta2
        m[i], v[i] = m_i, v_i
        parameters[i] = parameters[i] * keep - m_i / (math.sqrt(v_i) * root_factor + eps) * before


@loop
def sgd(parameters, gradient, factors, lr_scale, l2):
    before, keep = factors[0] * lr_scale, parameters.dtype.type(1) - factors[2] * lr_scale
    for i in range(len(parameters)):
        parameters[i] = parameters[i] * keep - _decayed(gradient[i], parameters[i], l2) * before


@loop
def sgd_momentum(parameters, gradient, m, factors, lr_scale, l2, momentum):
    before, keep = factors[0] * lr_scale, parameters.dtype.type(1) - factors[2] * lr_scale
    momentum = parameters.dtype.type(momentum)
    for i in range(len(parameters)):
        velocity = m[i] * momentum + _decayed(gradient[i], parameters[i], l2)
        m[i] = velocity
        parameters[i] = parameters[i] * keep - velocity * before
