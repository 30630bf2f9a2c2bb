"""Plain SGD with a batch size of 1 in NumPy: an epoch as one loop with nothing in it but arithmetic.

At this size a call of NumPy takes longer than what it computes. So rows are gathered and losses taken many at a time,
and every view that a step needs is made once. The numbers are those of a step's own operations, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gpunet.ops import numpy_losses
from gpunet.ops.contract import Batch, OptimizerState, Step
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.ops.scratch import Scratch

GATHERED = 65536  # numbers of the data set that are gathered at a time: a quarter of a megabyte stays in the cache


def per_sample_sgd(
    batch: Batch,
    layers: Sequence[tuple[np.ndarray, np.ndarray]],
    state: OptimizerState,
    step: Step,
    row_loss: np.ndarray,
    hits: np.ndarray,
    activation: str,
    gather: Callable[[Batch], None],
    scratch: Scratch,
) -> None:
    """See `NumpyOps.per_sample_sgd`, whose `gather` and scratch this is given."""
    networks, rows = batch.rows.shape
    part = min(rows, max(1, GATHERED // (networks * layers[0][0].shape[1])))
    x = scratch("per sample x", (networks, part, layers[0][0].shape[1]), row_loss.dtype)
    y = scratch("per sample y", (networks, part), np.dtype(np.int32))
    logits = scratch("per sample logits", (networks, part, 1), row_loss.dtype)
    signs = scratch("per sample signs", (networks, part), row_loss.dtype)
    rates = _rates(state, step, rows)
    learn = _make_learn(x, signs, logits, layers, state, activation, scratch)
    for begin in range(0, rows, part):
        count = min(part, rows - begin)
        now, end = slice(count), begin + count
        gather(Batch(batch.images, batch.labels, batch.rows[:, begin:end], batch.scale, x[:, now], y[:, now]))
        numpy_losses.SIGNS[signs.dtype].take(y[:, now], out=signs[:, now], mode="clip")
        learn(count, rates)
        numpy_losses.binary_cross_entropy(
            logits[:, now], y[:, now], row_loss[:, begin:end], hits[:, begin:end], None, scratch
        )


def _make_learn(
    x: np.ndarray,
    signs: np.ndarray,
    logits: np.ndarray,
    layers: Sequence[tuple[np.ndarray, np.ndarray]],
    state: OptimizerState,
    activation: str,
    scratch: Scratch,
) -> Callable[[int, Iterator[Any]], None]:
    """The loop over the first rows of x, which takes a rate of `rates` for each, and fills in their logits."""
    networks, part, _ = x.shape
    (weight1, bias1), (weight2, bias2) = layers
    (dweight1, dbias1), (dweight2, dbias2) = state.gradient_views
    parameters, gradient = state.parameters, state.gradient
    function, times_derivative = ACTIVATIONS[activation]

    def work(role: str, shape: tuple[int, ...]) -> np.ndarray:
        return scratch(role, shape, parameters.dtype)

    a = work("per sample a", (networks, 1, weight1.shape[2]))
    da, derivative = work("per sample da", a.shape), work("derivative", a.shape)
    s, e, dz = (work(f"per sample {name}", (networks, 1, 1)) for name in ("s", "e", "dz"))
    update = work("update", gradient.shape)
    zero, one, minus_one = (np.array(value, parameters.dtype) for value in (0, 1, -1))

    # Views with the axes of a batch of one row. np.dot of each network is much faster than np.matmul of an outer
    # product.
    bias1, bias2, weight2_t = bias1[:, None, :], bias2[:, None, :], weight2.swapaxes(1, 2)
    dbias1, dbias2 = dbias1[:, None, :], dbias2[:, None, :]
    of_row = [(x[:, t : t + 1], logits[:, t : t + 1], signs[:, t : t + 1, None]) for t in range(part)]
    columns = [[x[p, t : t + 1].T for p in range(networks)] for t in range(part)]
    outer1 = list(zip(da, dweight1, strict=True))
    outer2 = [(a[p].T, dz[p], dweight2[p]) for p in range(networks)]

    matmul, dot, add, multiply, subtract = np.matmul, np.dot, np.add, np.multiply, np.subtract
    divide, minimum, copysign, exp, copy = np.divide, np.minimum, np.copysign, np.exp, np.copyto

    def learn(count: int, rates: Iterator[Any]) -> None:
        for t in range(count):
            row, z, sign = of_row[t]
            matmul(row, weight1, out=a)
            add(a, bias1, out=a)
            function(a)
            matmul(a, weight2, out=z)
            add(z, bias2, out=z)
            # sign * sigmoid(s), as in `numpy_losses.binary_cross_entropy`
            multiply(z, sign, out=s)
            copysign(s, minus_one, out=e)
            exp(e, out=e)
            add(e, one, out=e)
            minimum(s, zero, out=dz)
            exp(dz, out=dz)
            divide(dz, e, out=dz)
            multiply(dz, sign, out=dz)

            matmul(dz, weight2_t, out=da)
            times_derivative(da, a, derivative)
            for column, (own_da, own) in zip(columns[t], outer1):  # noqa: B905 (a check would cost more than it helps)
                dot(column, own_da, out=own)
            for own_a, own_dz, own in outer2:
                dot(own_a, own_dz, out=own)
            copy(dbias1, da)
            copy(dbias2, dz)
            multiply(gradient, next(rates), out=update)
            subtract(parameters, update, out=parameters)

    return learn


def _rates(state: OptimizerState, step: Step, rows: int) -> Iterator[Any]:
    """What the gradient is multiplied by in each step: a number for one network, else ``[P, 1]``."""
    table = state.step_table[:, step.number : step.number + rows, 0] * state.lr_scale[:, None]
    return iter(table[0]) if len(table) == 1 else iter(table.T[:, :, None])
