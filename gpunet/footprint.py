"""How much memory training takes, from the sizes of what it works on: an estimate from above, by a quarter or so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.augmentation import Augmentation
from gpunet.network import PREDICTION_BATCH
from gpunet.parameters import ParameterLayout

FLAT_BUFFERS = 5  # as long as the parameters: these, their gradient, Adam's moments m and v, and work memory of updates
COUNT_BYTES = 4  # of a row's number, and of a sum of losses or hits


@dataclass(frozen=True)
class Footprint:
    """Bytes that each of the networks side by side takes. step: of what every training step reads or writes. run: of
    all that a run holds. What all share is in neither, see `shared_bytes`."""

    step: int
    run: int


def training_footprint(
    ops: Any,
    layout: ParameterLayout,
    *,
    train_rows: int,
    validation_rows: int = 0,
    epochs: int,
    batch_size: int,
    evaluate_training: bool = False,
    weighted: bool = False,
    keeps_best: bool = False,
) -> Footprint:
    """What `train` with these arguments takes for a network of that layout where `ops` computes.

    train_rows, validation_rows: how many. weighted: whether with a sample_weight. keeps_best: whether early stopping
    keeps the best weights. Each size of batch has its own work
    arrays: the full ones of training, the short last one, and those of the evaluations.
    """
    batch_size = max(1, min(batch_size, train_rows))
    number = ops.dtype.itemsize
    flat = FLAT_BUFFERS * number * layout.length
    passes = {(batch_size, True), (train_rows % batch_size, True)}
    for rows in (train_rows if evaluate_training else 0, validation_rows):
        passes |= {(min(rows, PREDICTION_BATCH), False), (rows % PREDICTION_BATCH, False)}
    work = sum(_work_bytes(ops, layout, rows, gradients=gradients) for rows, gradients in passes)
    # Of each row: its number in the split and in this epoch's order, its loss and whether it was read right.
    tables = (train_rows * (2 + evaluate_training) + validation_rows) * (2 * COUNT_BYTES + number)
    tables += weighted * train_rows * number  # each row's share of its batch
    steps = epochs * -(-train_rows // batch_size)
    # The step table, and sums of losses, weights and hits.
    history = steps * (3 * number + (1 + weighted) * number + COUNT_BYTES)
    best = keeps_best * number * layout.length
    step = flat + _work_bytes(ops, layout, batch_size, gradients=True)
    return Footprint(step, flat + best + work + tables + history)


def shared_bytes(images: np.ndarray, augmentation: Augmentation | None) -> int:
    """What networks side by side share: the data set, and with augmentation an epoch's images."""
    return images.nbytes * (1 if augmentation is None else 2)


def _work_bytes(ops: Any, layout: ParameterLayout, rows: int, *, gradients: bool) -> int:
    """Of a pass over so many rows: activations, gradients, and where the backend gathers, the batch."""
    inputs, number = layout.layers[0].inputs, ops.dtype.itemsize
    units = sum(layer.outputs for layer in layout.layers)
    x, _ = ops.gather_buffers(1, 1, 1)
    gathered = 0 if x is None else inputs * (number + 1)  # as numbers, and as bytes before
    # What each operation needs for itself is as large as its result: derivatives, exponentials, dropout's hashes.
    return rows * (gathered + units * number * (4 if gradients else 2))
