"""The multilayer perceptron: its parameters, and the operations of which its passes consist."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunet import counter_rng
from gpunet.clipping import clip_launches
from gpunet.errors import InputError
from gpunet.ops import Batch, Dropout, LayerGradient, NumpyOps, OptimizerState, Step, serves_per_sample_sgd
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.ops.numpy_losses import LOSSES
from gpunet.parameters import INITIALIZERS, ParameterLayout, aligned, initial_parameters, named_views
from gpunet.sample_weights import checked_weights
from gpunet.weight_penalty import penalty_launches

Launch = Callable[[], None]

PREDICTION_BATCH = 1024  # rows that a pass without gradients takes at a time: enough for BLAS, little memory


class MLP:
    """A multilayer perceptron, or P of the same sizes side by side.

    sizes: layer sizes from inputs to outputs, such as (784, 64, 10).
    activation: of the hidden layers: "relu", "sigmoid", "tanh" or "identity".
    seed: an integer in 0..2^32-1 makes one network, a sequence of P of them a population, whose results have a leading
    axis P.
    loss: "softmax_cross_entropy" (the default for two outputs and more), "binary_cross_entropy" (for one) or
    "squared_error".
    dropout: the share of hidden activations dropped in training, one number or one a network.
    init: "pytorch", "normal", "glorot" or "he".
    ops: the backend, `NumpyOps()` by default.

    Example, with an image of four pixels for each of four classes:

    >>> images, labels = np.eye(4, dtype=np.float32), np.arange(4)
    >>> network = MLP((4, 8, 4), seed=1)
    >>> network.forward(images).shape  # the logits
    (4, 4)
    >>> round(network.backward(labels), 2)  # the mean loss, about log(4) before any training
    1.37
    >>> network.gradients["weight1"].shape  # networks, inputs, outputs
    (1, 4, 8)

    Raises `InputError` for arguments out of range.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        seed: int | Sequence[int] = 0,
        *,
        loss: str | None = None,
        dropout: float | Sequence[float] = 0.0,
        init: str = "pytorch",
        ops: Any = None,
    ) -> None:
        self.sizes = tuple(sizes)
        self.single = np.ndim(seed) == 0
        self.seeds = (seed,) if self.single else tuple(seed)
        self.activation = activation
        self.loss = loss or ("binary_cross_entropy" if self.sizes[-1:] == (1,) else "softmax_cross_entropy")
        self.dropout = dropout
        self.init = init
        self._check()
        # NumPy's integers would not go into a model file's JSON.
        self.sizes, self.seeds = tuple(map(int, self.sizes)), tuple(map(int, self.seeds))
        self.ops = ops or NumpyOps()
        self.layout = ParameterLayout(self.sizes)
        self.parameters = self.ops.asarray(initial_parameters(self.layout, init, self.seeds))
        self.gradient = self.ops.zeros(self.parameters.shape)
        self.layers = self.layout.views(self.parameters)
        self._dropouts = self._make_dropouts()
        self._last_pass: tuple[Batch, Workspace] | None = None

    @property
    def networks(self) -> int:
        """P, the number of networks."""
        return len(self.seeds)

    @property
    def named_parameters(self) -> dict[str, Any]:
        """{"weight1": ``[P, I, O]``, "bias1": ``[P, O]``, ...}: views, so that writing to them changes the network."""
        return named_views(self.layers)

    @property
    def gradients(self) -> dict[str, Any]:
        """The gradients that `backward` left, under the names and in the shapes of `named_parameters`."""
        return named_views(self.layout.views(self.gradient))

    # The passes, for a person

    def forward(self, images: np.ndarray) -> np.ndarray:
        """The logits of images, float ``[n, O]`` (``[P, n, O]`` for a population), without dropout.

        images: uint8 ``[n, I]``, of which 255 counts as 1, or float, taken as they are.
        """
        self.check_images(images)
        values, scale = self.ops.images(images)
        work = Workspace(self, len(images))
        rows = self.ops.asarray(np.broadcast_to(np.arange(len(images)), (self.networks, len(images))), np.int32)
        batch = Batch(values, self.ops.zeros(len(images), np.int32), rows, scale, work.x, work.y)
        self._run([*self._hidden_launches(batch, work), self._logits_launch(batch, work)], len(images))
        self._last_pass = batch, work
        return self._without_population_axis(self.ops.to_host(work.logits))

    def backward(self, labels: np.ndarray, sample_weight: np.ndarray | None = None) -> Any:
        """The mean loss over the images of the last `forward`, whose gradient goes into `gradients`.

        labels: as in training. sample_weight: float ``[n]``, not negative, for the weighted mean.
        Returns a float (an array ``[P]`` for a population).
        """
        if self._last_pass is None:
            raise RuntimeError("backward needs a forward pass before it: call forward(images) first")
        batch, work = self._last_pass
        self.check_labels(labels, batch.rows.shape[1])
        ops = self.ops
        each = np.broadcast_to(labels, (*batch.rows.shape, *np.shape(labels)[1:]))
        labels = ops.asarray(each, label_type(each))
        row_loss, hits = ops.zeros(batch.rows.shape), ops.zeros(batch.rows.shape, np.uint8)
        shares = None if sample_weight is None else self._shares(sample_weight, batch.rows)
        loss = getattr(ops, self.loss)
        launches: list[Launch] = [partial(loss, work.logits, labels, row_loss, hits, work.dz[-1], shares)]
        launches += self._backward_launches(work, range(len(self.layers) - 1, 0, -1), (None,) * len(self.layers), None)
        gradients = self._layer_gradients(batch, work, (None,) * len(self.layers))
        launches.append(partial(ops.dense_gradient, gradients, self.layout.views(self.gradient)))
        self._run(launches, batch.rows.shape[1])
        row_loss, weights = ops.to_host(row_loss).astype(np.float64), None if shares is None else ops.to_host(shares)
        mean = np.average(row_loss, axis=1, weights=weights)
        return float(mean[0]) if self.single else mean

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The most likely class of each image: int64 ``[n]`` (``[P, n]`` for a population)."""
        return self.predict_from(self.logits(images))

    def predict_from(self, logits: np.ndarray) -> np.ndarray:
        """The most likely class by its logits ``[..., O]``: the largest, or for O = 1 whether its probability exceeds
        1/2."""
        if logits.shape[-1] > 1:
            return logits.argmax(axis=-1)
        return (logits[..., 0] > (0.5 if self.loss == "squared_error" else 0)).astype(np.int64)

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities: float64 ``[n, classes]`` (``[P, n, classes]``), two columns for one logit."""
        if self.loss == "squared_error":
            raise InputError("a network trained on the squared error gives no probabilities: use predict() or logits()")
        return probabilities(self.logits(images))

    def logits(self, images: np.ndarray) -> np.ndarray:
        """As `forward`, but some rows at a time and without a trace for `backward`: for any number of images."""
        self.check_images(images)
        parts = [self.forward(images[at : at + PREDICTION_BATCH]) for at in range(0, len(images), PREDICTION_BATCH)]
        self._last_pass = None
        return np.concatenate(parts, axis=-2)

    # The passes, as lists of calls that are made once and replayed

    def training_launches(
        self,
        batch: Batch,
        work: Workspace,
        row_loss: Any,
        hits: Any,
        state: OptimizerState,
        step: Step,
        penalty: float = 0.0,
        clip_norm: float | None = None,
    ) -> list[Launch]:
        """One training step. All reads of a weight come before its update. penalty: of `penalty_launches`. clip_norm:
        of `clip_launches`."""
        last = len(self.layers) - 1
        return [
            *self._hidden_launches(batch, work, self._dropouts, step),
            self._head_launch(
                batch,
                work,
                row_loss,
                hits,
                dlogits=work.dz[last],
                dx=work.dz[last - 1] if last else None,
                activation=self.activation,
                dropout=self._dropouts[last],
                step=step,
            ),
            *self._backward_launches(work, range(last - 1, 0, -1), self._dropouts, step),
            *self._update_launches(self._layer_gradients(batch, work, self._dropouts), state, step, penalty, clip_norm),
        ]

    def learns_by_row(self, batch_size: int, state: OptimizerState) -> bool:
        """Whether one operation makes all steps of an epoch: see `row_by_row_launch`."""
        return batch_size == 1 and not any(self._dropouts) and serves_per_sample_sgd(self.sizes, self.loss, state)

    def row_by_row_launch(self, batch: Batch, row_loss: Any, hits: Any, state: OptimizerState, step: Step) -> Launch:
        """The training steps, `step` and on, of which each takes one row of the batch."""
        return partial(
            self.ops.per_sample_sgd,
            batch,
            self.layers,
            state,
            step,
            row_loss=row_loss,
            hits=hits,
            activation=self.activation,
        )

    def evaluation_launches(self, batch: Batch, work: Workspace, row_loss: Any, hits: Any) -> list[Launch]:
        """Losses and hits of a batch, without dropout and gradients."""
        return [*self._hidden_launches(batch, work), self._head_launch(batch, work, row_loss, hits)]

    def largest_product(self, rows: int) -> int:
        """Multiply-adds of the largest matrix product in a pass over so many rows."""
        return rows * max(layer.inputs * layer.outputs for layer in self.layout.layers)

    def _hidden_launches(
        self, batch: Batch, work: Workspace, dropouts: Sequence[Dropout | None] = (), step: Step | None = None
    ) -> list[Launch]:
        launches: list[Launch] = [partial(self.ops.gather, batch)]
        x: Any = batch
        for index, ((weight, bias), a) in enumerate(zip(self.layers, work.hidden, strict=False)):
            dropout = dropouts[index] if dropouts else None
            launches.append(
                partial(
                    self.ops.dense_forward,
                    x,
                    weight,
                    bias,
                    a,
                    activation=self.activation,
                    dropout=dropout,
                    step=step,
                )
            )
            x = a
        return launches

    def _logits_launch(self, batch: Batch, work: Workspace) -> Launch:
        weight, bias = self.layers[-1]
        return partial(self.ops.dense_forward, work.hidden[-1] if work.hidden else batch, weight, bias, work.logits)

    def _head_launch(self, batch: Batch, work: Workspace, row_loss: Any, hits: Any, **gradients: Any) -> Launch:
        weight, bias = self.layers[-1]
        x = work.hidden[-1] if work.hidden else batch
        return partial(
            self.ops.dense_head,
            x,
            weight,
            bias,
            batch,
            loss=self.loss,
            logits=work.logits,
            row_loss=row_loss,
            hits=hits,
            **gradients,
        )

    def _backward_launches(
        self, work: Workspace, layers: Sequence[int], dropouts: Sequence[Dropout | None], step: Step | None
    ) -> list[Launch]:
        """From the gradient in front of each of these layers' activations to that of the layer below."""
        return [
            partial(
                self.ops.dense_backward,
                work.dz[index],
                self.layers[index][0],
                work.hidden[index - 1],
                work.dz[index - 1],
                activation=self.activation,
                dropout=dropouts[index],
                step=step,
            )
            for index in layers
        ]

    def _update_launches(
        self,
        gradients: tuple[LayerGradient, ...],
        state: OptimizerState,
        step: Step,
        penalty: float,
        clip_norm: float | None,
    ) -> list[Launch]:
        """One operation, unless something is done to the gradient before the optimizer reads it."""
        ops = self.ops
        if not penalty and clip_norm is None:
            return [partial(ops.dense_update, gradients, state, step)]
        added = penalty_launches(ops, self.layers, state.gradient_views, penalty) if penalty else []
        return [
            partial(ops.dense_gradient, gradients, state.gradient_views, step),
            *added,
            *clip_launches(ops, state.gradient, clip_norm),
            partial(getattr(ops, state.method), state, step),
        ]

    def _layer_gradients(
        self, batch: Batch, work: Workspace, dropouts: Sequence[Dropout | None]
    ) -> tuple[LayerGradient, ...]:
        return tuple(map(LayerGradient, (batch, *work.hidden), work.dz, dropouts))

    def _shares(self, sample_weight: np.ndarray, rows: Any) -> Any:
        """By what share each of these rows ``[P, n]``, all of one batch, counts in its loss."""
        weights, shares = checked_weights(sample_weight, rows.shape[1], self.ops.dtype), self.ops.zeros(rows.shape)
        self.ops.row_shares(self.ops.asarray(weights), rows, rows.shape[1], shares)
        return shares

    def _run(self, launches: Sequence[Launch], rows: int) -> None:
        self.ops.capture(launches, self.largest_product(rows))()

    def _make_dropouts(self) -> tuple[Dropout | None, ...]:
        """Of each dense layer's input; the data set itself is never dropped of."""
        rates = np.broadcast_to(np.asarray(self.dropout, np.float64), self.networks)
        if not rates.any():
            return (None,) * len(self.layers)
        seeds = self.ops.asarray(self.seeds, np.uint32)
        thresholds = self.ops.asarray([counter_rng.dropout_threshold(rate) for rate in rates], np.uint32)
        scales = self.ops.asarray(1 / (1 - rates))
        return (None, *(Dropout(seeds, thresholds, scales, layer) for layer in range(1, len(self.layers))))

    def _without_population_axis(self, array: np.ndarray) -> np.ndarray:
        return array[0] if self.single else array

    # What a caller may get wrong

    def _check(self) -> None:
        whole = all(isinstance(size, (int, np.integer)) and size > 0 for size in self.sizes)
        if len(self.sizes) < 2 or not whole:
            raise InputError(
                f"layer sizes must be at least two positive whole numbers, such as (784, 64, 10), not {self.sizes}"
            )
        _check_name("activation", self.activation, ACTIVATIONS)
        _check_name("loss", self.loss, LOSSES)
        _check_name("init", self.init, INITIALIZERS)
        outputs = self.sizes[-1]
        if (self.loss == "binary_cross_entropy" and outputs != 1) or (
            self.loss == "softmax_cross_entropy" and outputs < 2
        ):
            needed = "one output" if self.loss == "binary_cross_entropy" else "two outputs or more"
            raise InputError(f"the loss {self.loss} needs {needed}, but the last layer size is {outputs}")
        check_seeds(self.seeds)
        check_dropout(self.dropout, len(self.seeds))

    def check_images(self, images: np.ndarray) -> None:
        """Raise `InputError` unless these are images for this network."""
        if images.ndim != 2 or images.shape[1] != self.sizes[0] or images.shape[0] == 0:
            raise InputError(f"images must have the shape [n, {self.sizes[0]}], not {list(images.shape)}")
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise InputError(f"images must be uint8 (0 to 255) or floating-point, not {images.dtype}: convert them")

    def check_labels(self, labels: np.ndarray, count: int) -> None:
        """Raise `InputError` unless these are so many of its classes, or, for the squared error, targets."""
        classes = max(2, self.sizes[-1])
        labels = np.asarray(labels)
        if labels.dtype.kind == "f" and self.loss == "squared_error":
            self._check_targets(labels, count)
            return
        if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
            raise InputError(f"labels must be {count} whole numbers from 0 to {classes - 1}, one for each image")

    def _check_targets(self, targets: np.ndarray, count: int) -> None:
        if not self.ops.takes_targets:
            raise InputError(f"backend {self.ops.name} learns class indices, not targets: use backend numpy or jit")
        if targets.shape != (count, self.sizes[-1]) or not np.isfinite(targets).all():
            raise InputError(
                f"targets must be finite numbers of the shape [{count}, {self.sizes[-1]}], one row for each image, "
                f"and these have the shape {list(targets.shape)}"
            )


class Workspace:
    """The arrays that a pass over `rows` rows writes.

    x, y: where the batch is gathered (see `Batch`). hidden: the activations ``[P, B, H]`` of each hidden layer. logits:
    ``[P, B, O]``. dz: the gradient in front of each layer's activation, in the order of the layers; without
    gradients, none. The hidden activations lie in one buffer and the gradients in another, so that one kernel can reach
    those of all layers. targets: whether labels are targets, so that y is float ``[P, B, O]``.
    """

    def __init__(self, network: MLP, rows: int, *, gradients: bool = True, targets: bool = False) -> None:
        ops, networks = network.ops, network.networks
        *hidden, outputs = ((networks, rows, size) for size in network.sizes[1:])
        self.x, self.y = ops.gather_buffers(networks, rows, network.sizes[0])
        if targets:
            self.y = ops.zeros(outputs)
        self.hidden = _carve(ops, hidden)
        self.logits = ops.zeros(outputs)
        self.dz = _carve(ops, [*hidden, outputs]) if gradients else []


def _carve(ops: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Zero arrays of these shapes, one after another in one buffer, each on a multiple of 128 bytes (in float32)."""
    ends = np.cumsum([aligned(math.prod(shape)) for shape in shapes], dtype=np.int64)
    buffer = ops.zeros(int(ends[-1]) if shapes else 0)
    starts = [0, *ends[:-1].tolist()] if shapes else []
    return [
        buffer[start : start + math.prod(shape)].reshape(shape) for start, shape in zip(starts, shapes, strict=True)
    ]


def label_type(labels: np.ndarray) -> type | None:
    """As what a backend keeps labels: class indices as int32, targets as its own floating type (None)."""
    return np.int32 if labels.dtype.kind in "iu" else None


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of ``[..., C]`` logits, or for C = 1 the sigmoid as two columns; float64, on the host."""
    z = logits.astype(np.float64)
    if z.shape[-1] == 1:
        z = np.concatenate([np.zeros_like(z), z], axis=-1)
    z -= z.max(axis=-1, keepdims=True)
    np.exp(z, out=z)
    return z / z.sum(axis=-1, keepdims=True)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `InputError` unless these are seeds, one at least."""
    whole = all(isinstance(seed, (int, np.integer)) and 0 <= seed < 2**32 for seed in seeds)
    if not seeds or not whole:
        raise InputError(f"a seed must be a whole number from 0 to 4294967295, not {seeds}")


def check_dropout(dropout: float | Sequence[float], networks: int) -> None:
    """Raise `InputError` unless this is a rate, or one for each of so many networks."""
    rates = np.asarray(dropout, np.float64)
    if rates.shape not in ((), (networks,)) or not np.all((rates >= 0) & (rates < 1)):
        raise InputError(f"dropout must be at least 0 and below 1, one number or one a network, not {dropout}")


def _check_name(what: str, name: str, known: dict[str, Any]) -> None:
    if name not in known:
        raise InputError(f"{what} {name!r} is not known: use one of {', '.join(known)}")
