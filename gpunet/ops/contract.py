"""What operations are given besides plain arrays. Arrays live wherever the backend keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Array = Any  # numpy.ndarray or cupy.ndarray


@dataclass(frozen=True)
class Step:
    """The place of a training step in its run: step `index` (from 0) of the epoch that `epoch` counts.

    epoch: int32 ``[1]``, which `Ops.advance` moves on, so that the same recorded calls serve every epoch.
    """

    epoch: Array
    index: int
    per_epoch: int

    @property
    def number(self) -> int:
        """The step's number in the whole run, from 0. Reads `epoch`: for host code and NumPy only."""
        return int(self.epoch[0]) * self.per_epoch + self.index


@dataclass(frozen=True)
class Batch:
    """Rows of a data set, for each network its own.

    images: uint8 or float ``[N, I]``, or what reads such rows from a file where the backend `takes_streams`; a pixel
    counts as ``images * scale``. labels: int32 ``[N]``, or for the squared error targets, float ``[N, O]``, where the
    backend `takes_targets`. rows: int32 ``[P, B]``. x ``[P, B, I]`` and y int32 ``[P, B]`` (of targets float ``[P, B,
    O]``) are work arrays that `Ops.gather` fills; a backend whose kernels gather as they read leaves them None. shares:
    ``[P, B]``, by what share each row's loss counts in the batch's (see `Ops.row_shares`), or None where all count
    alike, 1 / B.
    """

    images: Array
    labels: Array
    rows: Array
    scale: float
    x: Array
    y: Array
    shares: Array | None = None


@dataclass(frozen=True)
class RowWeights:
    """What the rows of an epoch count: each the weight of its image.

    weights: float ``[N]``, of the data set's images. rows: int32 ``[P, n]``, those of the epoch, in order. sums:
    ``[epochs, P, S]``, where the sums of the batches' weights go.
    """

    weights: Array
    rows: Array
    sums: Array


@dataclass(frozen=True)
class Dropout:
    """Inverted dropout of a dense layer's input: an element is zero with its network's rate, else divided by 1 - rate.

    seeds: uint32 ``[P]``. thresholds: uint32 ``[P]``, the rate in units of 2^-32. scales: ``[P]``, 1 / (1 - rate).
    layer: the index of the dense layer that reads the input. The mask is a hash of seed, step, layer, row and column
    (`gpunet.counter_rng.dropout_hash`), drawn anew wherever it is needed and stored nowhere.
    """

    seeds: Array
    thresholds: Array
    scales: Array
    layer: int


@dataclass(frozen=True)
class Warp:
    """How `Augmentation` changes images, as `Ops.augment` needs it. See `gpunet.augmentation`.

    table: int32 ``[4, 1024]``: cosine, sine, 1 / size and shift in pixels of each draw, in 16.16 fixed point. keys:
    uint32 ``[n]``, of the images that are changed. rows: int32 ``[n]``, which of the data set's images these are. side:
    of the square images, in pixels. seed: of the draws.
    """

    table: Array
    keys: Array
    rows: Array
    side: int
    seed: int


class LayerGradient(NamedTuple):
    """What a dense layer's gradient is made of: dweight = x^T dz, dbias = sum of dz over rows.

    x: ``[P, B, I]`` or the `Batch` that the first layer read. dz: ``[P, B, O]``, the loss's gradient in front of the
    activation. dropout: what was dropped of x, or None.
    """

    x: Any
    dz: Array
    dropout: Dropout | None


@dataclass(frozen=True)
class OptimizerState:
    """Parameters and everything that their update needs. Flat buffers are ``[P, n_params]``.

    method: "adam" or "sgd".
    gradient_views: (dweight ``[P, I, O]``, dbias ``[P, O]``) of each layer, views of `gradient`.
    m, v: Adam's first and second moments; SGD with momentum keeps its velocity in m; None where unused.
    step_table: ``[P, steps, 3]``, for each step: the factor before the direction, the factor of sqrt(v), and the
    decoupled weight decay (`decoupled` says whether there is any).
    lr_scale: ``[P]``, multiplies the whole update of a network; zero freezes it.
    l2: ``[P]``, weight decay that is added to the gradient, or None.
    beta1, beta2, eps: Adam's. one_minus_beta1 and 2 are rounded from float64 on their own, since
    float32(1) - float32(beta) is off by many units. momentum: SGD's, 0 for none.
    """

    method: str
    parameters: Array
    gradient: Array
    gradient_views: tuple[tuple[Array, Array], ...]
    m: Array | None
    v: Array | None
    step_table: Array
    lr_scale: Array
    l2: Array | None = None
    decoupled: bool = False
    beta1: float = 0.0
    one_minus_beta1: float = 0.0
    beta2: float = 0.0
    one_minus_beta2: float = 0.0
    eps: float = 0.0
    momentum: float = 0.0

    @property
    def is_plain_sgd(self) -> bool:
        """Whether an update is w -= rate * gradient and no more."""
        return self.method == "sgd" and not self.momentum and self.l2 is None and not self.decoupled


# What one block of a GPU holds of a network with one hidden layer. Wider ones are quicker step by step, by many blocks.
PER_SAMPLE_INPUTS = 2048
PER_SAMPLE_HIDDEN = 256
PER_SAMPLE_WEIGHTS = 65536


def serves_per_sample_sgd(sizes: Sequence[int], loss: str, state: OptimizerState) -> bool:
    """Whether `Ops.per_sample_sgd` can train networks of these layer sizes, without dropout, by steps of one row."""
    if len(sizes) != 3 or loss != "binary_cross_entropy" or not state.is_plain_sgd:
        return False
    inputs, hidden, _ = sizes
    within = inputs <= PER_SAMPLE_INPUTS and hidden <= PER_SAMPLE_HIDDEN
    return within and inputs * hidden <= PER_SAMPLE_WEIGHTS
