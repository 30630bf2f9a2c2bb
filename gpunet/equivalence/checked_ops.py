"""A backend that lets another one work, and holds everything that it writes against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gpunet import counter_rng
from gpunet.equivalence.errors import Findings, exactly, in_units
from gpunet.equivalence.tolerances import (
    EPS,
    FLOAT32,
    TINY,
    clip_bounds,
    dense_backward_bound,
    dense_forward_bound,
    dense_gradient_bounds,
    loss_bounds,
    sum_bound,
    update_bounds,
)
from gpunet.ops import Batch, Dropout, LayerGradient, NumpyOps, OptimizerState, RowWeights, Step, Warp
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.parameters import ParameterLayout, named_views

STATE = ("parameters", "m", "v")  # what an update writes, where the optimizer has it


class StepSeen(NamedTuple):
    """A training step that the backend under test has made, on the host.

    images: ``[N, I]``, the data set as it was given, or as this epoch's augmentation makes it. rows: int32 ``[P, B]``
    of it, and the scale of its values. dropouts: of each layer's input. before: the
    optimizer's state in front of it, float64, its gradient zero. after: {"parameters", "m", "v"} as far as there are
    any. row_loss: ``[P, B]``. shares: of the rows in the batch's loss, ``[P, B]``, None where all count alike.
    """

    step: Step
    images: np.ndarray
    rows: np.ndarray
    scale: float
    dropouts: tuple[Dropout | None, ...]
    before: OptimizerState
    after: dict[str, np.ndarray]
    row_loss: np.ndarray
    shares: np.ndarray | None = None


class CheckedOps:
    """The contract of `NumpyOps`, carried out by `ops`. What was found lies in `findings`.

    Every operation is computed once more in float64 from the inputs that `ops` had, read before it wrote. An operation
    of several stages (`dense_head`) is followed stage by stage, each from what `ops` itself made of the one before.
    Memory is that of `ops`; captured lists of calls are made one by one.
    judge: from a whole training step to the errors of what it left. An operation that makes whole steps
    (`per_sample_sgd`) is made to make them one by one, and what it is off by is what they are.
    """

    def __init__(self, ops: Any, judge: Callable[[StepSeen], dict[str, float]]) -> None:
        self.ops = ops
        self.findings = Findings()
        self._judge = judge
        self._exact = NumpyOps(np.float64)
        self._data_sets: dict[int, tuple[Any, np.ndarray]] = {}  # by identity: as laid by ops, and as it was given
        self._weights: list[Any] = []  # of the layers, in the order in which they were first read
        self._row_loss = np.zeros((0, 0))

    def __getattr__(self, name: str) -> Any:
        """Memory, name and whatever else is no operation."""
        return getattr(self.ops, name)

    def images(self, images: np.ndarray) -> tuple[Any, float]:
        """See `NumpyOps.images`. The comparison is with what was given, not with what became of it."""
        values, scale = self.ops.images(images)
        given = images if images.dtype == np.uint8 else images.astype(self.ops.dtype)
        self._data_sets[id(values)] = values, given
        return values, scale

    def capture(
        self, launches: Sequence[Callable[[], None]], largest_product: int = 0, calls: int = 1
    ) -> Callable[[], None]:
        launches = tuple(launches)

        def run() -> None:
            with np.errstate(all="ignore"):
                for launch in launches:
                    launch()

        return run

    # Operations of a step

    def gather(self, batch: Batch) -> None:
        self.ops.gather(batch)
        if batch.x is None:
            return  # each kernel gathers as it reads
        expected = self._rows_of(batch)
        errors = {
            "x": in_units(self._host(batch.x), expected, 2 * EPS * np.abs(expected) + TINY),
            "y": exactly(self._host(batch.y), self._labels_of(batch)),
        }
        self.findings.add("gather", "layer 1", _shapes(expected), errors)

    def dense_forward(
        self,
        x: Any,
        weight: Any,
        bias: Any,
        out: Any,
        *,
        activation: str = "identity",
        dropout: Dropout | None = None,
        step: Step | None = None,
    ) -> None:
        exact_x, exact_weight, exact_bias = self._input(x, dropout, step), self._float64(weight), self._float64(bias)
        self.ops.dense_forward(x, weight, bias, out, activation=activation, dropout=dropout, step=step)
        error = self._forward_error(exact_x, exact_weight, exact_bias, out, activation)
        self.findings.add("dense_forward", self._place(weight), _shapes(exact_x, exact_weight), {"out": error})

    def dense_backward(
        self,
        dz: Any,
        weight: Any,
        a: Any,
        out: Any,
        *,
        activation: str,
        dropout: Dropout | None = None,
        step: Step | None = None,
    ) -> None:
        exact_dz, exact_weight, exact_a = map(self._float64, (dz, weight, a))
        self.ops.dense_backward(dz, weight, a, out, activation=activation, dropout=dropout, step=step)
        factor = self._dropout_factor(dropout, step, exact_a.shape)
        error = self._backward_error(exact_dz, exact_weight, exact_a, out, activation, factor)
        self.findings.add("dense_backward", self._place(weight), _shapes(exact_dz, exact_weight, -1), {"out": error})

    def softmax_cross_entropy(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        self._loss("softmax_cross_entropy", logits, labels, row_loss, hits, dlogits, shares)

    def binary_cross_entropy(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        self._loss("binary_cross_entropy", logits, labels, row_loss, hits, dlogits, shares)

    def squared_error(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        self._loss("squared_error", logits, labels, row_loss, hits, dlogits, shares)

    def dense_head(
        self,
        x: Any,
        weight: Any,
        bias: Any,
        batch: Batch,
        *,
        loss: str,
        logits: Any,
        row_loss: Any,
        hits: Any,
        dlogits: Any | None = None,
        dx: Any | None = None,
        activation: str = "identity",
        dropout: Dropout | None = None,
        step: Step | None = None,
    ) -> None:
        exact_x, exact_weight, exact_bias = self._input(x, dropout, step), self._float64(weight), self._float64(bias)
        self.ops.dense_head(
            x,
            weight,
            bias,
            batch,
            loss=loss,
            logits=logits,
            row_loss=row_loss,
            hits=hits,
            dlogits=dlogits,
            dx=dx,
            activation=activation,
            dropout=dropout,
            step=step,
        )
        errors = {"logits": self._forward_error(exact_x, exact_weight, exact_bias, logits, "identity")}
        errors |= self._loss_errors(loss, logits, self._labels_of(batch), row_loss, hits, dlogits, batch.shares)
        if dx is not None:
            factor = self._dropout_factor(dropout, step, exact_x.shape)
            arguments = self._float64(dlogits), exact_weight, self._float64(x), dx, activation, factor
            errors["dx"] = self._backward_error(*arguments)
        if dlogits is not None:
            self._row_loss = self._host(row_loss)
        self.findings.add("dense_head", self._place(weight), _shapes(exact_x, exact_weight), errors)

    def dense_gradient(
        self,
        layers: Sequence[LayerGradient],
        gradient_views: Sequence[tuple[Any, Any]],
        step: Step | None = None,
    ) -> None:
        inputs = self._gradient_inputs(layers, step)
        self.ops.dense_gradient(layers, gradient_views, step)
        gradient, bound, layout = self._gradient(inputs)
        expected, bounds = named_views(layout.views(gradient)), named_views(layout.views(bound))
        errors = {
            name: in_units(self._host(array), expected[name], bounds[name])
            for name, array in named_views(gradient_views).items()
        }
        self.findings.add("dense_gradient", "all layers", _layer_shapes(layout, inputs), errors)

    def dense_update(self, layers: Sequence[LayerGradient], state: OptimizerState, step: Step) -> None:
        inputs, before = self._gradient_inputs(layers, step), self._state(state)
        self.ops.dense_update(layers, state, step)
        gradient, bound, layout = self._gradient(inputs)
        after, errors = self._update_errors(before, state, step, gradient, bound)
        self.findings.add("dense_update", "all layers", _layer_shapes(layout, inputs), errors)
        batch = layers[0].x
        if isinstance(batch, Batch):
            rows, dropouts = self._host(batch.rows), tuple(self._dropout(layer.dropout) for layer in layers)
            data = self._data_set(batch), rows, batch.scale
            shares = None if batch.shares is None else self._float64(batch.shares)
            self._judge(StepSeen(self._step(step), *data, dropouts, before, after, self._row_loss, shares))

    def clip_gradient(self, gradient: Any, max_norm: float, norms: Any) -> None:
        expected, expected_norms = self._float64(gradient), np.empty(len(gradient))
        self.ops.clip_gradient(gradient, max_norm, norms)
        self._exact.clip_gradient(expected, float(np.float32(max_norm)), expected_norms)
        norm_bound, bound = clip_bounds(expected, expected_norms)
        errors = {
            "norms": in_units(self._host(norms), expected_norms, norm_bound),
            "gradient": in_units(self._host(gradient), expected, bound),
        }
        self.findings.add("clip_gradient", "all layers", _shapes(expected), errors)

    def adam(self, state: OptimizerState, step: Step) -> None:
        self._update("adam", state, step)

    def sgd(self, state: OptimizerState, step: Step) -> None:
        self._update("sgd", state, step)

    # Operations of an epoch

    def per_sample_sgd(
        self,
        batch: Batch,
        layers: Sequence[tuple[Any, Any]],
        state: OptimizerState,
        step: Step,
        *,
        row_loss: Any,
        hits: Any,
        activation: str,
    ) -> None:
        for row in range(batch.rows.shape[1]):
            one, its_step = slice(row, row + 1), replace(step, index=step.index + row)
            of_row = replace(batch, rows=batch.rows[:, one], x=None, y=None)
            before = self._state(state)
            self.ops.per_sample_sgd(
                of_row, layers, state, its_step, row_loss=row_loss[:, one], hits=hits[:, one], activation=activation
            )
            after, rows = {"parameters": self._host(state.parameters)}, self._host(of_row.rows)
            data = self._data_set(batch), rows, batch.scale
            arguments = (None,) * len(layers), before, after, self._host(row_loss[:, one])
            errors = self._judge(StepSeen(self._step(its_step), *data, *arguments))
            self.findings.add("per_sample_sgd", "all layers", _network_text(layers), errors)

    def shuffle(self, split_rows: Any, seeds: Any, epoch: Any, out: Any) -> None:
        arguments = self._host(split_rows), self._host(seeds), self._host(epoch)
        self.ops.shuffle(split_rows, seeds, epoch, out)
        expected = np.empty_like(arguments[0])
        self._exact.shuffle(*arguments, expected)
        self.findings.add("shuffle", "epoch", _shapes(expected), {"out": exactly(self._host(out), expected)})

    def augment(self, images: Any, warp: Warp, epoch: Any, out: Any) -> None:
        given, number = self._data_sets[id(images)][1], self._host(epoch)
        arrays = {name: self._host(getattr(warp, name)) for name in ("table", "keys", "rows")}
        expected = self._bytes(out, given.shape[1]).copy()
        self.ops.augment(images, warp, epoch, out)
        self._exact.augment(given, replace(warp, **arrays), number, expected)
        self._data_sets[id(out)] = out, expected
        errors = {"out": exactly(self._bytes(out, given.shape[1]), expected)}
        self.findings.add("augment", "epoch", f"{len(warp.rows)} x {warp.side} x {warp.side}", errors)

    def follow_order(self, row_order: Any, epoch: Any, out: Any) -> None:
        arguments = self._host(row_order), self._host(epoch)
        self.ops.follow_order(row_order, epoch, out)
        expected = np.empty_like(arguments[0][0])
        self._exact.follow_order(*arguments, expected)
        self.findings.add("follow_order", "epoch", _shapes(expected), {"out": exactly(self._host(out), expected)})

    def row_shares(self, weights: Any, rows: Any, batch_size: int, out: Any) -> None:
        exact_weights, exact_rows = self._float64(weights), self._host(rows)
        self.ops.row_shares(weights, rows, batch_size, out)
        expected = np.empty(exact_rows.shape)
        self._exact.row_shares(exact_weights, exact_rows, batch_size, expected)
        error = in_units(self._host(out), expected, sum_bound(FLOAT32, batch_size, expected))
        self.findings.add("row_shares", "epoch", f"{_shapes(expected)} by {batch_size}", {"out": error})

    def batch_sums(
        self,
        row_loss: Any,
        hits: Any,
        batch_size: int,
        epoch: Any,
        loss_sums: Any,
        hit_counts: Any,
        weights: RowWeights | None = None,
    ) -> None:
        exact_loss, exact_hits, number = self._float64(row_loss), self._host(hits), self._host(epoch)
        expected_sums, expected_counts = self._float64(loss_sums), self._host(hit_counts)
        exact_weights = weights and self._weights_of(weights)
        magnitude = np.zeros_like(expected_sums)
        arguments = exact_hits, batch_size, number
        self._exact.batch_sums(np.abs(exact_loss), *arguments, magnitude, self._host(hit_counts), exact_weights)
        self.ops.batch_sums(row_loss, hits, batch_size, epoch, loss_sums, hit_counts, weights)
        self._exact.batch_sums(exact_loss, *arguments, expected_sums, expected_counts, exact_weights)
        errors = {
            "loss_sums": in_units(self._host(loss_sums), expected_sums, _sums_bound(batch_size, magnitude)),
            "hit_counts": exactly(self._host(hit_counts), expected_counts),
        }
        if weights is not None:
            expected = exact_weights.sums
            # This epoch's alone may be off.
            of_epoch = np.where(np.arange(len(expected))[:, None, None] == number, expected, 0)
            errors["weight_sums"] = in_units(self._host(weights.sums), expected, _sums_bound(batch_size, of_epoch))
        self.findings.add("batch_sums", "epoch", f"{_shapes(exact_loss)} by {batch_size}", errors)

    def advance(self, epoch: Any) -> None:
        expected = self._host(epoch) + 1
        self.ops.advance(epoch)
        self.findings.add("advance", "epoch", "1", {"epoch": exactly(self._host(epoch), expected)})

    # Inputs, as ops had them

    def _host(self, array: Any) -> np.ndarray:
        return self.ops.to_host(array)

    def _bytes(self, images: Any, pixels: int) -> np.ndarray:
        """A data set of bytes, uint8 ``[N, pixels]``, whether it lies in bytes or in words."""
        return self._host(images).view(np.uint8)[:, :pixels]

    def _float64(self, array: Any) -> np.ndarray:
        return self._host(array).astype(np.float64)

    def _rows_of(self, batch: Batch) -> np.ndarray:
        """The batch as it stands in the data set: float64 ``[P, B, I]``."""
        images = self._data_set(batch)
        return images[self._host(batch.rows)].astype(np.float64) * float(np.float32(batch.scale))

    def _data_set(self, batch: Batch) -> np.ndarray:
        """``[N, I]``, not what the backend has made of it."""
        return self._data_sets[id(batch.images)][1]

    def _labels_of(self, batch: Batch) -> np.ndarray:
        return self._host(batch.labels)[self._host(batch.rows)]

    def _input(self, x: Any, dropout: Dropout | None, step: Step | None) -> np.ndarray:
        """What a layer reads, after dropout."""
        if not isinstance(x, Batch):
            values = self._float64(x)
        else:
            values = self._rows_of(x) if x.x is None else self._float64(x.x)
        return values * self._dropout_factor(dropout, step, values.shape)

    def _dropout_factor(self, dropout: Dropout | None, step: Step | None, shape: tuple[int, ...]) -> np.ndarray | float:
        return 1.0 if dropout is None else dropout_factor(self._dropout(dropout), self._step(step), shape)

    def _dropout(self, dropout: Dropout | None) -> Dropout | None:
        if dropout is None:
            return None
        seeds, thresholds = self._host(dropout.seeds), self._host(dropout.thresholds)
        return Dropout(seeds, thresholds, self._float64(dropout.scales), dropout.layer)

    def _step(self, step: Step) -> Step:
        return replace(step, epoch=self._host(step.epoch))

    def _state(self, state: OptimizerState) -> OptimizerState:
        """The state in float64, its constants as float32 holds them, its gradient zero."""
        arrays = {
            name: None if (array := getattr(state, name)) is None else self._float64(array)
            for name in (*STATE, "step_table", "lr_scale", "l2")
        }
        names = ("beta1", "one_minus_beta1", "beta2", "one_minus_beta2", "eps", "momentum")
        constants = {name: float(np.float32(getattr(state, name))) for name in names}
        gradient = np.zeros_like(arrays["parameters"])
        return replace(state, gradient=gradient, gradient_views=(), **arrays, **constants)

    def _weights_of(self, weights: RowWeights) -> RowWeights:
        """On the host, in float64, its sums a copy."""
        return RowWeights(self._float64(weights.weights), self._host(weights.rows), self._float64(weights.sums))

    def _place(self, weight: Any) -> str:
        """The layer with this weight. A network's views of its parameters are made once."""
        for index, known in enumerate(self._weights, start=1):
            if weight is known:
                return f"layer {index}"
        self._weights.append(weight)
        return f"layer {len(self._weights)}"

    # Results, held against those of float64

    def _forward_error(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: Any, activation: str) -> float:
        actual = self._host(out)
        expected = np.empty(actual.shape)
        self._exact.dense_forward(x, weight, bias, expected, activation=activation)
        return in_units(actual, expected, dense_forward_bound(x, weight, bias, activation))

    def _backward_error(
        self, dz: np.ndarray, weight: np.ndarray, a: np.ndarray, out: Any, activation: str, factor: np.ndarray | float
    ) -> float:
        actual = self._host(out)
        expected = np.empty(actual.shape)
        self._exact.dense_backward(dz, weight, a, expected, activation=activation)
        derivative = activation_derivative(activation, a) * factor
        return in_units(actual, expected * factor, dense_backward_bound(dz, weight, derivative))

    def _loss(
        self, loss: str, logits: Any, labels: Any, row_loss: Any, hits: Any, dlogits: Any | None, shares: Any | None
    ) -> None:
        getattr(self.ops, loss)(logits, labels, row_loss, hits, dlogits, shares)
        errors = self._loss_errors(loss, logits, self._host(labels), row_loss, hits, dlogits, shares)
        self.findings.add(loss, f"layer {len(self._weights)}", _shapes(self._host(logits)), errors)

    def _loss_errors(
        self,
        loss: str,
        logits: Any,
        labels: np.ndarray,
        row_loss: Any,
        hits: Any,
        dlogits: Any | None,
        shares: Any | None,
    ) -> dict[str, float]:
        logits = self._float64(logits)
        expected_loss, expected_hits = np.empty(labels.shape), np.empty(labels.shape, np.uint8)
        expected_gradient = np.empty(logits.shape)
        shares = None if shares is None else self._float64(shares)
        getattr(self._exact, loss)(logits, labels, expected_loss, expected_hits, expected_gradient, shares)
        loss_bound, gradient_bound = loss_bounds(loss, logits, labels, expected_loss, expected_gradient)
        errors = {
            "row_loss": in_units(self._host(row_loss), expected_loss, loss_bound),
            "hits": exactly(self._host(hits), expected_hits),
        }
        if dlogits is not None:
            errors["dlogits"] = in_units(self._host(dlogits), expected_gradient, gradient_bound)
        return errors

    def _gradient_inputs(
        self, layers: Sequence[LayerGradient], step: Step | None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """What each layer read, after dropout, and its dz."""
        return [(self._input(x, dropout, step), self._float64(dz)) for x, dz, dropout in layers]

    def _gradient(
        self, inputs: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray, ParameterLayout]:
        """The gradient of all layers, its bound, both ``[P, length]``, and how they are laid out."""
        layout = ParameterLayout((inputs[0][0].shape[2], *(dz.shape[2] for _, dz in inputs)))
        gradient, bound = np.zeros((2, len(inputs[0][0]), layout.length))
        self._exact.dense_gradient([LayerGradient(x, dz, None) for x, dz in inputs], layout.views(gradient))
        for (x, dz), (weight_bound, bias_bound) in zip(inputs, layout.views(bound), strict=True):
            weight_bound[:], bias_bound[:] = dense_gradient_bounds(x, dz)
        return gradient, bound, layout

    def _update(self, method: str, state: OptimizerState, step: Step) -> None:
        before, gradient = self._state(state), self._float64(state.gradient)
        getattr(self.ops, method)(state, step)
        _, errors = self._update_errors(before, state, step, gradient, 0.0)
        self.findings.add(method, "all layers", _shapes(gradient), errors)

    def _update_errors(
        self,
        before: OptimizerState,
        state: OptimizerState,
        step: Step,
        gradient: np.ndarray,
        gradient_bound: np.ndarray | float,
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """What the update has written, and its errors. before is left as it is."""
        step = self._step(step)
        bounds = update_bounds(replace(before, gradient=gradient), step.number, gradient_bound)
        expected = updated(self._exact, before, gradient, step)
        after = {name: self._host(getattr(state, name)) for name in bounds}
        return after, {name: in_units(after[name], expected[name], bounds[name]) for name in bounds}


def updated(ops: NumpyOps, before: OptimizerState, gradient: np.ndarray, step: Step) -> dict[str, np.ndarray]:
    """What an optimizer's step on `ops` makes of a copy of a state."""
    copies = {name: array.copy() for name in STATE if (array := getattr(before, name)) is not None}
    getattr(ops, before.method)(replace(before, gradient=gradient.copy(), **copies), step)
    return copies


def dropout_factor(dropout: Dropout | None, step: Step, shape: tuple[int, ...]) -> np.ndarray | float:
    """What each element ``[P, B, I]`` of a layer's input is multiplied by. Arrays on the host."""
    if dropout is None:
        return 1.0
    hashes = counter_rng.dropout_hash(dropout.seeds, step.number, dropout.layer, *shape[1:])
    return (hashes >= dropout.thresholds[:, None, None]) * dropout.scales[:, None, None]


def activation_derivative(activation: str, a: np.ndarray) -> np.ndarray:
    """f' in terms of a = f(z), float64."""
    derivative = np.ones_like(a)
    ACTIVATIONS[activation][1](derivative, a, np.empty_like(a))
    return derivative


def _sums_bound(batch_size: int, magnitude: np.ndarray) -> np.ndarray:
    """Of sums over batches, of which those of other epochs, of no magnitude, must not change at all."""
    return np.where(magnitude > 0, sum_bound(FLOAT32, batch_size, magnitude), 0)


def _shapes(array: np.ndarray, weight: np.ndarray | None = None, direction: int = 1) -> str:
    """As in "128 x 784 -> 64"; a population of more than one network stands in front."""
    shape = array.shape if array.shape[0] > 1 else array.shape[1:]
    text = " x ".join(map(str, shape))
    return text if weight is None else f"{text} -> {weight.shape[2 if direction == 1 else 1]}"


def _network_text(layers: Sequence[tuple[Any, Any]]) -> str:
    networks, inputs, _ = layers[0][0].shape
    sizes = "-".join(map(str, (inputs, *(bias.shape[1] for _, bias in layers))))
    return f"{networks} x 1 x {sizes}" if networks > 1 else f"1 x {sizes}"


def _layer_shapes(layout: ParameterLayout, inputs: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    networks, rows, _ = inputs[0][0].shape
    sizes = "-".join(map(str, layout.sizes))
    return f"{networks} x {rows} x {sizes}" if networks > 1 else f"{rows} x {sizes}"
