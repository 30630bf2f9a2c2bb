"""How far a float32 result may be off: one table of constants, and from it a bound for every operation.

A bound counts the roundings on the way to a result and scales with what is summed (eps * terms * sum of |terms|), so
that a term left out, an eps dropped or a product done in a lower precision lies outside of it. It is worked out in
float64 from the operation's own inputs.

Each bound also takes errors of its inputs (`..._error`, as large as the input or None), which it carries on: so the
bound of a whole training step is that of its operations, one after the other. What is carried on is a true bound of
how much the result can change, not an estimate.

P networks, B rows, I inputs, O outputs, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.ops.contract import OptimizerState

# Roundings, each worth half an eps (the distance from 1 to the next number), that a result may carry, doubled for the
# last bits of exp, log1p and tanh (numpy promises at most 4 ulp for its vectorised ones, CUDA at most 2).
ELEMENTARY = 4  # activations and their derivatives: one transcendental function and two or three operations
LOSS = 6  # a row's loss or one logit's gradient: exp, log1p or a division, and three or four operations
UPDATE = 8  # an optimizer's update of one weight, relative to the largest of its terms
NORM = 20  # a gradient's norm: of squares summed in trees no more than 70 deep half the roundings, its root halves them
CLIP = 4  # a clipped gradient beside its norm: a sum, a division, a product

CHUNK = 32  # terms of a sum over classes that are added one by one before they join the total, in any implementation
FLOAT32 = np.dtype(np.float32)


def eps(dtype: Any) -> float:
    return float(np.finfo(dtype).eps)


def tiny(dtype: Any) -> float:
    """The smallest normal number: below it there is no relative precision to hold anyone to."""
    return float(np.finfo(dtype).tiny)


EPS, TINY = eps(FLOAT32), tiny(FLOAT32)


def sum_bound(dtype: Any, terms: int, magnitude: np.ndarray) -> np.ndarray:
    """The error that a sum of so many products may have in any order of adding. magnitude: the sum of |terms|.

    Half an eps a term is the textbook's bound (Higham, Accuracy and Stability, 3.1); the two more are for a product
    with a rounded factor, such as 1/255 or dropout's scale.
    """
    return (terms + 2) * eps(dtype) * magnitude + tiny(dtype)


def dense_forward_bound(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, activation: str, x_error: np.ndarray | None = None
) -> np.ndarray:
    """Of activation(x @ weight + bias), ``[P, B, O]``, and as well of what is in front of the activation.

    x: what dropout has left of the input.
    """
    magnitude = np.abs(x) @ np.abs(weight) + np.abs(bias[:, None])
    bound = sum_bound(FLOAT32, x.shape[2] + 1, magnitude)
    if x_error is not None:
        bound += x_error @ np.abs(weight)
    if activation in ("sigmoid", "tanh"):
        bound += ELEMENTARY * EPS  # no activation is steeper than 1
    return bound


def dense_backward_bound(
    dz: np.ndarray,
    weight: np.ndarray,
    derivative: np.ndarray,
    dz_error: np.ndarray | None = None,
    derivative_error: np.ndarray | None = None,
) -> np.ndarray:
    """Of (dz @ weight^T) * derivative, ``[P, B, I]``. derivative: the activation's, times dropout's factor."""
    transposed = weight.swapaxes(1, 2)
    bound = sum_bound(FLOAT32, dz.shape[2] + ELEMENTARY, np.abs(dz) @ np.abs(transposed) * np.abs(derivative))
    product = np.abs(dz @ transposed)
    if dz_error is not None:
        carried = dz_error @ np.abs(transposed)
        bound += carried * np.abs(derivative)
        product += carried
    if derivative_error is not None:
        bound += product * derivative_error
    return bound


def loss_bounds(
    loss: str,
    logits: np.ndarray,
    labels: np.ndarray,
    row_loss: np.ndarray,
    dlogits: np.ndarray,
    logits_error: np.ndarray | None = None,
    shares: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows' losses ``[P, B]`` and the logits' gradients ``[P, B, C]``, given both as they should be.

    shares: by what share each row's loss counts in the batch's, positive, ``[P, B]``; 1 / B of each where None.

    Each is within a few roundings of the truth (`LOSS`) and as many more as the sum over a row takes, relative to
    itself. A logit's distance from the maximum is rounded before its exponential is taken, which is off by as many
    roundings as the distance is long. Where the label is not the maximum, e_y - 1 rounds at 1.

    Carried on: if no logit of a row changes by more than r, a probability changes by a factor of at most exp(2 r), of
    exp(r) where there is one logit.
    """
    rows, classes = logits.shape[1:]
    terms = min(classes, CHUNK) + classes // CHUNK
    if loss == "softmax_cross_entropy":
        loss_bound, gradient_bound = _softmax_bounds(logits, labels, row_loss, dlogits, terms)
    else:
        summed = terms if loss == "squared_error" else 0
        loss_bound = (LOSS + summed) * EPS * row_loss + TINY
        gradient_bound = LOSS * EPS * np.abs(dlogits) + TINY
    if logits_error is None:
        return loss_bound, gradient_bound
    share = np.full(row_loss.shape, 1 / rows) if shares is None else shares
    if loss == "squared_error":
        of_row = share[..., None] * 2 / classes
        error = np.abs(dlogits) / of_row
        loss_bound += ((2 * error + logits_error) * logits_error).mean(axis=-1)
        return loss_bound, gradient_bound + of_row * logits_error
    growth = np.expm1((2 if classes > 1 else 1) * logits_error.max(axis=-1))
    own = np.take_along_axis(dlogits, (labels if classes > 1 else np.zeros_like(labels))[..., None], axis=-1)[..., 0]
    loss_bound += np.abs(own) / share * growth
    return loss_bound, gradient_bound + np.abs(dlogits) * growth[..., None]


def _softmax_bounds(
    logits: np.ndarray, labels: np.ndarray, row_loss: np.ndarray, dlogits: np.ndarray, terms: int
) -> tuple[np.ndarray, np.ndarray]:
    distance = logits.max(axis=-1, keepdims=True) - logits
    is_label = np.arange(logits.shape[-1]) == labels[..., None]
    e = np.exp(-distance)
    others = np.where(is_label, 0, e)
    # the sums' terms are off by their own distances
    rest_roundings = (others * distance).sum(-1) / np.maximum(others.sum(-1), TINY)
    total_roundings = (e * distance).sum(-1) / e.sum(-1)
    at_least = np.where((distance * is_label).sum(-1) == 0, row_loss, np.maximum(1, row_loss))
    loss_bound = (LOSS + terms + rest_roundings) * EPS * at_least
    own = np.where(is_label, (terms + rest_roundings)[..., None], distance)
    gradient_bound = (LOSS + terms + own + total_roundings[..., None]) * EPS * np.abs(dlogits)
    return loss_bound + TINY, gradient_bound + TINY


def dense_gradient_bounds(
    x: np.ndarray, dz: np.ndarray, x_error: np.ndarray | None = None, dz_error: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Of x^T @ dz, ``[P, I, O]``, and of the sum of dz over rows, ``[P, O]``. x: what dropout has left of the input."""
    rows, transposed = x.shape[1], np.abs(x).swapaxes(1, 2)
    weight_bound = sum_bound(FLOAT32, rows, transposed @ np.abs(dz))
    bias_bound = sum_bound(FLOAT32, rows, np.abs(dz).sum(axis=1))
    if dz_error is not None:
        weight_bound += transposed @ dz_error
        bias_bound += dz_error.sum(axis=1)
    if x_error is not None:
        weight_bound += x_error.swapaxes(1, 2) @ (np.abs(dz) + (0 if dz_error is None else dz_error))
    return weight_bound, bias_bound


def clip_bounds(clipped: np.ndarray, norms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of gradients' norms ``[P]`` and of the clipped gradients ``[P, length]``, given both as they should be.

    The squares' sums are trees, whose depth grows by one in 2^18 elements at most, not chains as long as the gradient:
    `sum_bound` would overlook a missing row of weights.
    """
    roundings = NORM + clipped.shape[1] / 2**18
    return roundings * EPS * norms + TINY, (roundings + CLIP) * EPS * np.abs(clipped) + TINY


def update_bounds(
    before: OptimizerState, number: int, gradient_error: np.ndarray | float = 0.0
) -> dict[str, np.ndarray]:
    """Of what an optimizer's step writes: {"parameters", "m", "v"}, as far as it has them, each ``[P, length]``.

    before: the state in float64 in front of step `number`, its gradient that of the loss alone.
    """
    table, scale = before.step_table[:, number], before.lr_scale[:, None]
    factor, root_factor, decay = (table[:, column : column + 1] for column in range(3))
    factor, keep = factor * scale, 1 - decay * scale * before.decoupled
    gradient, error = before.gradient, gradient_error
    if before.l2 is not None:
        penalty = before.l2[:, None] * before.parameters
        error = error + 2 * EPS * (np.abs(gradient) + np.abs(penalty))
        gradient = gradient + penalty
    rule = _adam_bounds if before.method == "adam" else _sgd_bounds
    bounds, size, direction_bound = rule(before, gradient, error, root_factor)
    of_terms = np.maximum(np.abs(keep * before.parameters), np.abs(factor) * size)
    bounds["parameters"] = UPDATE * EPS * of_terms + np.abs(factor) * direction_bound + TINY
    return bounds


Direction = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]  # bounds of the moments; |direction|, and its bound


def _sgd_bounds(before: OptimizerState, gradient: np.ndarray, error: Any, root_factor: np.ndarray) -> Direction:
    if not before.momentum:
        return {}, np.abs(gradient), error + np.zeros_like(gradient)
    kept = before.momentum * before.m
    bound = error + UPDATE * EPS * np.maximum(np.abs(kept), np.abs(gradient)) + TINY
    return {"m": bound}, np.abs(kept + gradient), bound


def _adam_bounds(before: OptimizerState, gradient: np.ndarray, error: Any, root_factor: np.ndarray) -> Direction:
    """The direction is m / (b sqrt(v) + eps).

    Where the gradient is smaller than its error, v may be anything down to what was kept of it, and the quotient
    anything up to what Adam can make of any gradient at all: |m_kept| / (b sqrt(v_kept) + eps) + (1 - beta1) / (b
    sqrt(1 - beta2)).
    """
    m_kept, v_kept = before.beta1 * before.m, before.beta2 * before.v
    m = m_kept + before.one_minus_beta1 * gradient
    v = v_kept + before.one_minus_beta2 * gradient**2
    lowest_v = v_kept + before.one_minus_beta2 * np.maximum(np.abs(gradient) - error, 0) ** 2
    highest_v = v_kept + before.one_minus_beta2 * (np.abs(gradient) + error) ** 2
    m_terms = np.maximum(np.abs(m_kept), before.one_minus_beta1 * np.abs(gradient))
    m_bound = before.one_minus_beta1 * error + UPDATE * EPS * m_terms + TINY
    v_bound = np.maximum(v - lowest_v, highest_v - v) + UPDATE * EPS * highest_v + TINY

    root, lowest, highest = (root_factor * np.sqrt(each) for each in (v, lowest_v, highest_v + TINY))
    divisor = root + before.eps
    divisor_bound = np.maximum(root - lowest, highest - root) + UPDATE * EPS * divisor
    lowest_divisor = np.maximum(lowest + before.eps, divisor - divisor_bound)
    direction = np.abs(m) / divisor
    bound = (m_bound + direction * divisor_bound) / lowest_divisor
    # A rate of beta2 that keeps nothing of a gradient, or a step of the table that is zero, sets no limit.
    with np.errstate(divide="ignore"):
        any_gradient = before.one_minus_beta1 / (root_factor * np.sqrt(before.one_minus_beta2))
    largest = np.abs(m_kept) / (root_factor * np.sqrt(v_kept) + before.eps) + any_gradient
    limit = direction + (1 + UPDATE * EPS) * largest
    return {"m": m_bound, "v": v_bound}, direction, np.minimum(bound, limit)
