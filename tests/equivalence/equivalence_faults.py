"""A small run to compare backends by, and backends with one fault each."""

from __future__ import annotations

from typing import Any

import numpy as np
from made_up import images_and_labels

from gpunet import MLP, Adam
from gpunet.equivalence.comparison import Comparison, compare
from gpunet.ops import NumpyOps

IMAGES, LABELS = images_and_labels(40, classes=3, inputs=29)
TRAINED, MEASURED = np.arange(22), np.arange(22, 40)  # 22 rows: batches of 8, 8 and 6


def comparison(
    ops: Any,
    *,
    sizes=(29, 9, 7, 3),
    optimizer=None,
    batch_size=8,
    epochs=2,
    repeat=False,
    labels=LABELS,
    augmentation=None,
    **network,
) -> Comparison:
    """A small network trained on `ops` under observation."""

    def make_network(where: Any) -> MLP:
        return MLP(sizes, **{"seed": 5, **network}, ops=where)

    return compare(
        make_network,
        ops,
        IMAGES[:, : sizes[0]],
        labels,
        TRAINED,
        MEASURED,
        optimizer=optimizer or Adam(0.01),
        epochs=epochs,
        batch_size=batch_size,
        augmentation=augmentation,
        repeat=repeat,
    )


def faulty(operation: str) -> NumpyOps:
    """NumPy in float32 with a small fault in one operation."""

    class Faulty(NumpyOps):
        pass

    right, wrong = getattr(NumpyOps, operation), FAULTS[operation]
    setattr(Faulty, operation, lambda self, *arguments, **options: wrong(self, right, *arguments, **options))
    return Faulty(np.float32)


def _gather(ops, right, batch):
    right(ops, batch)
    batch.x[:, -1] = batch.x[:, 0]  # a wrong row


def _dense_forward(ops, right, x, weight, bias, out, **options):
    right(ops, x, weight, np.roll(bias, 1, axis=1), out, **options)  # the neighbour's bias


def _dense_backward(ops, right, dz, weight, a, out, *, activation, **options):
    right(ops, dz, weight, a, out, activation="identity", **options)  # the derivative is forgotten


def _softmax_cross_entropy(ops, right, logits, labels, row_loss, hits, dlogits=None, shares=None):
    right(ops, logits, labels, row_loss, hits, dlogits, shares)
    if dlogits is not None:
        dlogits *= np.float32(labels.shape[1] / (labels.shape[1] + 1))  # a mean over one row too many


def _dense_gradient(ops, right, layers, gradient_views, step=None):
    right(ops, layers, gradient_views, step)
    gradient_views[1][0][...] -= layers[1].x[:, 0, :, None] * layers[1].dz[:, 0, None, :]  # a row left out


def _clip_gradient(ops, right, gradient, max_norm, norms):
    most = np.argmax(np.abs(gradient), axis=1)
    gradient[:, most] *= np.float32(1 + 1e-5)  # one weight's gradient, read a little wrong
    right(ops, gradient, max_norm, norms)


def _adam(ops, right, state, step):
    right(ops, state, type(step)(step.epoch, max(0, step.index - 1), step.per_epoch))  # the step before's factors


def _shuffle(ops, right, split_rows, seeds, epoch, out):
    right(ops, split_rows, seeds, epoch, out)
    out[:, [0, 1]] = out[:, [1, 0]]


def _batch_sums(ops, right, row_loss, hits, batch_size, epoch, loss_sums, hit_counts, weights=None):
    right(ops, row_loss, hits, batch_size, epoch, loss_sums, hit_counts, weights)
    loss_sums[int(epoch[0]), :, -1] -= row_loss[:, -1]  # the last row left out


def _advance(ops, right, epoch):
    pass  # the epoch stays where it is


FAULTS = {
    "gather": _gather,
    "dense_forward": _dense_forward,
    "dense_backward": _dense_backward,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "dense_gradient": _dense_gradient,
    "clip_gradient": _clip_gradient,
    "adam": _adam,
    "shuffle": _shuffle,
    "batch_sums": _batch_sums,
    "advance": _advance,
}
