"""Runs that the tests on a device make: made-up data, networks, and what is left of a run on the host.

Everything takes the operations that it is to run on, so that it can be tried on NumPy as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from made_up import images_and_labels

from gpunet import MLP, SGD, Adam, train
from gpunet.augmentation import Augmentation
from gpunet.equivalence.comparison import Comparison, compare

ROOT = Path(__file__).resolve().parents[2]


def make_ops(**options: Any) -> Any:
    """CudaOps of the first device. Imported here: this file is also read where there is none."""
    from gpunet.ops.cuda_ops import CudaOps

    return CudaOps(**options)


def compared(
    ops: Any,
    sizes: Sequence[int],
    *,
    rows: int,
    batch_size: int,
    epochs: int = 2,
    optimizer: Adam | SGD | None = None,
    augmentation: Augmentation | None = None,
    **network: Any,
) -> Comparison:
    """Train on `ops` under observation, and once more as usual."""
    images, labels = images_and_labels(rows + 50, classes=max(2, sizes[-1]), inputs=sizes[0])

    def make_network(where: Any) -> MLP:
        return MLP(sizes, **{"seed": 3, **network}, ops=where)

    return compare(
        make_network,
        ops,
        images,
        labels,
        np.arange(rows),
        np.arange(rows, rows + 50),
        optimizer=optimizer or Adam(0.003),
        epochs=epochs,
        batch_size=batch_size,
        augmentation=augmentation,
        repeat=True,
    )


class Trained(NamedTuple):
    """What a run has left, on the host: parameters ``[P, length]``, step_loss and step_accuracy ``[P, epochs, S]``,
    validation loss ``[P, epochs]``."""

    parameters: np.ndarray
    step_loss: np.ndarray
    step_accuracy: np.ndarray
    validation_loss: np.ndarray

    def only(self, network: int) -> Trained:
        return Trained(*(array[network : network + 1] for array in self))


def trained(
    ops: Any,
    sizes: Sequence[int],
    *,
    rows: int,
    batch_size: int,
    epochs: int = 3,
    optimizer: Adam | SGD | None = None,
    augmentation: Augmentation | None = None,
    sample_weight: np.ndarray | None = None,
    **network: Any,
) -> Trained:
    images, labels = images_and_labels(rows + 50, classes=max(2, sizes[-1]), inputs=sizes[0])
    mlp = MLP(sizes, **{"seed": 3, **network}, ops=ops)
    history = train(
        mlp,
        images,
        labels,
        np.arange(rows),
        np.arange(rows, rows + 50),
        optimizer=optimizer or Adam(0.003),
        epochs=epochs,
        batch_size=batch_size,
        augmentation=augmentation,
        sample_weight=sample_weight,
    )
    return Trained(ops.to_host(mlp.parameters), history.step_loss, history.step_accuracy, history.validation.loss)


def same_bits(one: Trained, other: Trained) -> list[str]:
    """The names of what differs."""
    pairs = zip(one._fields, one, other, strict=True)
    return [name for name, first, second in pairs if first.shape != second.shape or first.tobytes() != second.tobytes()]


# What a process runs under compute-sanitizer: every kernel of a training run, each launched by itself.
SANITIZED = (
    sys.executable,
    "-c",
    "import numpy as np\n"
    "from device_runs import make_ops, trained\n"
    "from gpunet import SGD, Augmentation\n"
    "ops = make_ops(graphs=False)\n"
    "trained(ops, (61, 37, 21, 10), rows=40, batch_size=33, epochs=1, dropout=0.3)\n"
    "trained(ops, (61, 37, 40), rows=40, batch_size=33, epochs=1, loss='squared_error', activation='tanh')\n"
    "trained(ops, (61, 5, 1), rows=6, batch_size=1, epochs=1, optimizer=SGD(0.1), activation='sigmoid')\n"
    "trained(ops, (49, 5, 3), rows=6, batch_size=6, epochs=1, augmentation=Augmentation(20, 2, 0.1))\n"
    "trained(ops, (61, 37, 10), rows=40, batch_size=33, epochs=1, sample_weight=np.linspace(0.5, 2, 90))\n"
    "print('trained')\n",
)
