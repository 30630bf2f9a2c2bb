"""The operations as a user of CuPy would write them: cuBLAS for products, array expressions for the rest.

xp: the module cupy. Arrays are float32 without the axis P: x ``[B, I]``, weight ``[I, O]``, bias ``[O]``, logits
``[B, C]``, labels int32 ``[B]``. Results go into buffers that are given; each expression is an elementwise kernel or
two, and those of them that need temporaries take them from CuPy's pool.
"""

from __future__ import annotations

from typing import Any

from gpunet.optimizers import SGD, Adam


def gathered_in_cupy(images: Any, rows: Any, x: Any) -> None:
    """x = images[rows] / 255. images: uint8 ``[N, I]``. rows: int32 ``[B]``."""
    x[...] = images[rows]
    x *= 1 / 255


def forward_in_cupy(xp: Any, x: Any, weight: Any, bias: Any, out: Any, activation: str) -> None:
    """out = activation(x @ weight + bias)"""
    xp.dot(x, weight, out=out)
    out += bias
    if activation == "relu":
        xp.maximum(out, 0, out=out)
    elif activation == "sigmoid":
        out[...] = 1 / (1 + xp.exp(-out))


def backward_in_cupy(xp: Any, dz: Any, weight: Any, a: Any, out: Any, activation: str) -> None:
    """out = (dz @ weight^T) * activation'(a)"""
    xp.dot(dz, weight.T, out=out)
    out *= a > 0 if activation == "relu" else a * (1 - a)


def loss_in_cupy(name: str, xp: Any, logits: Any, labels: Any, row_loss: Any, hits: Any, dlogits: Any) -> None:
    """Losses, hits and the gradient of the logits. name: a key of `LOSSES`."""
    LOSSES[name](xp, logits, labels, row_loss, hits, dlogits)


def _softmax(xp: Any, logits: Any, labels: Any, row_loss: Any, hits: Any, dlogits: Any) -> None:
    rows = xp.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    xp.exp(shifted, out=dlogits)
    total = dlogits.sum(axis=1, keepdims=True)
    row_loss[...] = xp.log(total[:, 0]) - shifted[rows, labels]
    hits[...] = logits.argmax(axis=1) == labels
    dlogits /= total
    dlogits[rows, labels] -= 1
    dlogits /= len(labels)


def _binary(xp: Any, logits: Any, labels: Any, row_loss: Any, hits: Any, dlogits: Any) -> None:
    z, y = logits[:, 0], labels.astype("float32")
    row_loss[...] = xp.maximum(z, 0) - z * y + xp.log1p(xp.exp(-xp.abs(z)))
    hits[...] = (z > 0) == (labels == 1)
    dlogits[:, 0] = (1 / (1 + xp.exp(-z)) - y) / len(labels)


def _squared(xp: Any, logits: Any, labels: Any, row_loss: Any, hits: Any, dlogits: Any) -> None:
    dlogits[...] = logits
    dlogits[xp.arange(len(labels)), labels] -= 1
    row_loss[...] = (dlogits * dlogits).mean(axis=1)
    hits[...] = logits.argmax(axis=1) == labels
    dlogits *= 2 / dlogits.size


LOSSES = {"softmax_cross_entropy": _softmax, "binary_cross_entropy": _binary, "squared_error": _squared}


def adam_in_cupy(xp: Any, optimizer: Adam, gradient: Any, parameters: Any, m: Any, v: Any) -> None:
    """The first step of Adam, over flat arrays."""
    m *= optimizer.beta1
    m += (1 - optimizer.beta1) * gradient
    v *= optimizer.beta2
    v += (1 - optimizer.beta2) * gradient * gradient
    rate = optimizer.learning_rate / (1 - optimizer.beta1)
    parameters -= rate * m / (xp.sqrt(v) / (1 - optimizer.beta2) ** 0.5 + optimizer.eps)


def sgd_in_cupy(xp: Any, optimizer: SGD, gradient: Any, parameters: Any) -> None:
    """Plain gradient descent, over flat arrays."""
    parameters -= optimizer.learning_rate * gradient
