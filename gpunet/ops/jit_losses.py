"""Losses as compiled loops, a row after another: those of `gpunet.ops.numpy_losses`, which explains the formulas.

For one network: logits and their gradients ``[B, C]``, labels, row_loss and hits (uint8) ``[B]``. Exponentials of a
matrix are left to NumPy, which takes them many at a time.
"""

from __future__ import annotations

import math

from numba import njit

from gpunet.ops.jit_compile import loop

CHUNK = 32  # terms that are added one by one before they join a sum over classes


@loop
def below_maximum(logits, labels, row_loss, hits, e):
    """e = z - the largest of its row, the hits, and of the losses the part that is no logarithm."""
    for b in range(len(logits)):
        z, target = logits[b], labels[b]
        largest = _argmax(z)
        z_max = z[largest]
        hits[b] = largest == target and z_max == z_max
        row_loss[b] = z_max - z[target]
        for c in range(len(z)):
            e[b, c] = z[c] - z_max


@loop
def softmax_cross_entropy(labels, row_loss, e, with_gradient):
    """The losses, and in e's place the gradients: what remains once `below_maximum` was followed by e = exp(e)."""
    kind = e.dtype.type
    for b in range(len(e)):
        p, target = e[b], labels[b]
        e_target = p[target]
        p[target] = 0
        rest = _sum(p)
        row_loss[b] += math.log1p(e_target - kind(1) + rest)
        if with_gradient:
            factor = kind(1) / ((rest + e_target) * kind(len(e)))
            for c in range(len(p)):
                p[c] *= factor
            p[target] = -rest * factor


@loop
def binary_cross_entropy(logits, labels, row_loss, hits, dlogits):
    share = logits.dtype.type(1) / logits.dtype.type(len(logits))
    for b in range(len(logits)):
        z, is_one = logits[b, 0], labels[b] == 1
        hits[b] = is_binary_hit(z, is_one)
        row_loss[b], dlogits[b, 0] = binary_row(z, is_one, share)


@njit
def binary_row(z, is_one, share):
    """The loss of a logit z and its gradient, of which the batch's mean takes a share. share: of z's type."""
    zero, one = type(z)(0), type(z)(1)
    s = -z if is_one else z
    e = math.exp(-abs(s))
    loss = math.log1p(e) + (zero if s <= 0 else s)
    sigmoid = (one if s > 0 else e) / (one + e)
    return loss, sigmoid * (-share if is_one else share)


@njit
def is_binary_hit(z, is_one):
    return z > 0 if is_one else z <= 0


@njit
def _argmax(z):
    """The first of the largest, or the first NaN, as in NumPy."""
    largest = 0
    for c in range(len(z)):
        if not z[c] <= z[largest] and z[largest] == z[largest]:
            largest = c
    return largest


@njit
def _sum(terms):
    total = terms.dtype.type(0)
    for start in range(0, len(terms), CHUNK):
        part = terms[start]
        for c in range(start + 1, min(start + CHUNK, len(terms))):
            part += terms[c]
        total += part
    return total
