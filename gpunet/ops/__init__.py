"""The arithmetic of a network, written once for each backend.

A backend is a class with the methods of `NumpyOps`, the readable reference. Networks and training call them and never
ask which one they hold. What every method keeps to:

* The first axis of every array is the population: P networks of the same sizes side by side; one network has P = 1.
* Results go into buffers that the caller gives (``out`` and its kin). An operation allocates nothing that outlives it
  and does not wait for the device, so the calls of an epoch can be recorded once and replayed (`capture`).
* A batch is a list of rows of one data set (`Batch`), which stays where it is.
* Gradients are those of the mean loss over the batch's own rows, each network for itself; of the weighted mean where
  the rows have weights.
"""

from gpunet.ops.contract import (
    Batch,
    Dropout,
    LayerGradient,
    OptimizerState,
    RowWeights,
    Step,
    Warp,
    serves_per_sample_sgd,
)
from gpunet.ops.numpy_ops import NumpyOps

__all__ = [
    "Batch",
    "Dropout",
    "LayerGradient",
    "NumpyOps",
    "OptimizerState",
    "RowWeights",
    "Step",
    "Warp",
    "serves_per_sample_sgd",
]
