"""The cases of single layers: forward, backward, the losses, and the head that joins them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpunet.equivalence.tolerances import dense_backward_bound, dense_forward_bound
from operations.bounds import Expected, loss_expected, slope
from operations.case import (
    FLOAT,
    Case,
    Inputs,
    Prepared,
    batch_on,
    by,
    drawn_data_set,
    drawn_weight,
    exactly,
    first_input_in_cupy,
    gathered_bytes,
    gathered_input,
    normal,
)
from operations.in_cupy import backward_in_cupy, forward_in_cupy, loss_in_cupy

LOSS_FLOPS = 4  # of one logit: a difference, an exponential, a sum and a product, or as many
SHORT_NAMES = {"softmax_cross_entropy": "softmax", "binary_cross_entropy": "binary", "squared_error": "squared"}


@dataclass(frozen=True)
class DenseForward(Case):
    rows: int
    inputs: int
    outputs: int
    activation: str = "relu"
    gathered: bool = False
    kernel = "dense_forward"

    @property
    def shape(self) -> str:
        return by(self.rows, self.inputs, self.outputs)

    @property
    def detail(self) -> str:
        return self.activation + (", gathered" if self.gathered else "")

    @property
    def flops(self) -> int:
        return 2 * self.largest_product

    @property
    def bytes(self) -> int:
        x = gathered_bytes(self.rows, self.inputs) if self.gathered else FLOAT * self.rows * self.inputs
        return x + FLOAT * ((self.inputs + 1) * self.outputs + self.rows * self.outputs)

    @property
    def largest_product(self) -> int:
        return self.rows * self.inputs * self.outputs

    def draw(self) -> Inputs:
        rng = np.random.default_rng(0)
        layer = {"weight": drawn_weight(rng, self.inputs, self.outputs), "bias": normal(rng, self.outputs)}
        if self.gathered:
            return layer | drawn_data_set(rng, self.rows, self.inputs, self.outputs)
        return layer | {"x": normal(rng, self.rows, self.inputs)}

    def on(self, ops: Any, inputs: Inputs) -> Prepared:
        x = batch_on(ops, inputs) if self.gathered else ops.asarray(inputs["x"])
        weight, bias = ops.asarray(inputs["weight"]), ops.asarray(inputs["bias"])
        out = ops.zeros((1, self.rows, self.outputs))
        forward = partial(ops.dense_forward, x, weight, bias, out, activation=self.activation)
        return Prepared((partial(ops.gather, x), forward) if self.gathered else (forward,), {"out": out})

    def expected(self, inputs: Inputs) -> dict[str, Expected]:
        x = gathered_input(inputs) if self.gathered else inputs["x"]
        bound = dense_forward_bound(x, inputs["weight"], inputs["bias"], self.activation)
        return {"out": Expected(exactly(self, inputs)["out"], bound)}

    def in_cupy(self, xp: Any, inputs: Inputs) -> Prepared:
        weight, bias = xp.asarray(inputs["weight"][0]), xp.asarray(inputs["bias"][0])
        x, gather = first_input_in_cupy(xp, inputs) if self.gathered else (xp.asarray(inputs["x"][0]), ())
        out = xp.zeros((self.rows, self.outputs), "float32")
        forward = partial(forward_in_cupy, xp, x, weight, bias, out, self.activation)
        return Prepared((*gather, forward), {"out": out}, partial(xp.dot, x, weight, out=out))


@dataclass(frozen=True)
class DenseBackward(Case):
    rows: int
    inputs: int
    outputs: int
    activation: str = "relu"
    kernel = "dense_backward"

    @property
    def shape(self) -> str:
        return by(self.rows, self.inputs, self.outputs)

    @property
    def detail(self) -> str:
        return self.activation

    @property
    def flops(self) -> int:
        return 2 * self.largest_product

    @property
    def bytes(self) -> int:
        rows, inputs, outputs = self.rows, self.inputs, self.outputs
        return FLOAT * (rows * outputs + inputs * outputs + 2 * rows * inputs)

    @property
    def largest_product(self) -> int:
        return self.rows * self.inputs * self.outputs

    def draw(self) -> Inputs:
        rng = np.random.default_rng(0)
        return {
            "dz": normal(rng, self.rows, self.outputs),
            "weight": drawn_weight(rng, self.inputs, self.outputs),
            "a": np.maximum(normal(rng, self.rows, self.inputs), 0),
        }

    def on(self, ops: Any, inputs: Inputs) -> Prepared:
        dz, weight, a = (ops.asarray(inputs[name]) for name in ("dz", "weight", "a"))
        out = ops.zeros(a.shape)
        return Prepared((partial(ops.dense_backward, dz, weight, a, out, activation=self.activation),), {"out": out})

    def expected(self, inputs: Inputs) -> dict[str, Expected]:
        bound = dense_backward_bound(inputs["dz"], inputs["weight"], slope(self.activation, inputs["a"]))
        return {"out": Expected(exactly(self, inputs)["out"], bound)}

    def in_cupy(self, xp: Any, inputs: Inputs) -> Prepared:
        dz, weight, a = (xp.asarray(inputs[name][0]) for name in ("dz", "weight", "a"))
        out = xp.zeros(a.shape, "float32")
        backward = partial(backward_in_cupy, xp, dz, weight, a, out, self.activation)
        return Prepared((backward,), {"out": out}, partial(xp.dot, dz, weight.T, out=out))


@dataclass(frozen=True)
class Loss(Case):
    kernel: str
    rows: int
    classes: int

    @property
    def shape(self) -> str:
        return by(self.rows, self.classes)

    @property
    def flops(self) -> int:
        return LOSS_FLOPS * self.rows * self.classes

    @property
    def bytes(self) -> int:
        return FLOAT * (2 * self.rows * self.classes + 2 * self.rows) + self.rows  # hits are bytes

    def draw(self) -> Inputs:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, max(2, self.classes), (1, self.rows)).astype(np.int32)
        return {"logits": 3 * normal(rng, self.rows, self.classes), "labels": labels}

    def on(self, ops: Any, inputs: Inputs) -> Prepared:
        logits, labels = ops.asarray(inputs["logits"]), ops.asarray(inputs["labels"], np.int32)
        results = _loss_buffers(ops, logits.shape)
        return Prepared((partial(getattr(ops, self.kernel), logits, labels, *results.values()),), results)

    def expected(self, inputs: Inputs) -> dict[str, Expected]:
        return loss_expected(self.kernel, inputs["logits"], exactly(self, inputs))

    def in_cupy(self, xp: Any, inputs: Inputs) -> Prepared:
        logits, labels = xp.asarray(inputs["logits"][0]), xp.asarray(inputs["labels"][0])
        results = _loss_buffers_in_cupy(xp, logits.shape)
        return Prepared((partial(loss_in_cupy, self.kernel, xp, logits, labels, **results),), results)


def _loss_buffers(ops: Any, logits: tuple[int, ...]) -> dict[str, Any]:
    row_loss, hits = ops.zeros(logits[:2]), ops.zeros(logits[:2], np.uint8)
    return {"row_loss": row_loss, "hits": hits, "dlogits": ops.zeros(logits)}


def _loss_buffers_in_cupy(xp: Any, logits: tuple[int, ...]) -> dict[str, Any]:
    row_loss, hits = xp.zeros(logits[0], "float32"), xp.zeros(logits[0], "uint8")
    return {"row_loss": row_loss, "hits": hits, "dlogits": xp.zeros(logits, "float32")}


@dataclass(frozen=True)
class DenseHead(Case):
    """Of a network without hidden layers where it is gathered; then there is no gradient to hand down."""

    rows: int
    inputs: int
    outputs: int
    loss: str = "softmax_cross_entropy"
    activation: str = "relu"
    gathered: bool = False
    kernel = "dense_head"

    @property
    def shape(self) -> str:
        return by(self.rows, self.inputs, self.outputs)

    @property
    def detail(self) -> str:
        return SHORT_NAMES[self.loss] + (", gathered" if self.gathered else f", {self.activation} below")

    @property
    def flops(self) -> int:
        products = 1 if self.gathered else 2
        return 2 * products * self.largest_product + LOSS_FLOPS * self.rows * self.outputs

    @property
    def bytes(self) -> int:
        rows, inputs, outputs = self.rows, self.inputs, self.outputs
        x = gathered_bytes(rows, inputs) if self.gathered else FLOAT * (2 * rows * inputs + rows)  # x, dx, row numbers
        return x + FLOAT * ((inputs + 1) * outputs + 2 * rows * outputs + 2 * rows) + rows

    @property
    def largest_product(self) -> int:
        return self.rows * self.inputs * self.outputs

    def draw(self) -> Inputs:
        rng = np.random.default_rng(0)
        drawn = {"weight": drawn_weight(rng, self.inputs, self.outputs), "bias": normal(rng, self.outputs)}
        drawn |= drawn_data_set(rng, self.rows, self.inputs if self.gathered else 1, self.outputs)
        if not self.gathered:
            drawn["x"] = np.maximum(normal(rng, self.rows, self.inputs), 0)
        return drawn

    def on(self, ops: Any, inputs: Inputs) -> Prepared:
        batch = batch_on(ops, inputs)
        weight, bias = ops.asarray(inputs["weight"]), ops.asarray(inputs["bias"])
        logits = ops.zeros((1, self.rows, self.outputs))
        results = {"logits": logits, **_loss_buffers(ops, logits.shape)}
        if self.gathered:
            head = partial(ops.dense_head, batch, weight, bias, batch, loss=self.loss, **results)
            return Prepared((partial(ops.gather, batch), head), results)
        x = ops.asarray(inputs["x"])
        results["dx"] = ops.zeros(x.shape)
        head = partial(ops.dense_head, x, weight, bias, batch, loss=self.loss, activation=self.activation, **results)
        return Prepared((head,), results)

    def expected(self, inputs: Inputs) -> dict[str, Expected]:
        values, weight = exactly(self, inputs), inputs["weight"]
        x = gathered_input(inputs) if self.gathered else inputs["x"]
        logits_error = dense_forward_bound(x, weight, inputs["bias"], "identity")
        expected = {"logits": Expected(values["logits"], logits_error)}
        expected |= loss_expected(self.loss, values["logits"], values, logits_error)
        if not self.gathered:
            dlogits = expected["dlogits"]
            bound = dense_backward_bound(dlogits.value, weight, slope(self.activation, x), dlogits.bound)
            expected["dx"] = Expected(values["dx"], bound)
        return expected

    def in_cupy(self, xp: Any, inputs: Inputs) -> Prepared:
        weight, bias = xp.asarray(inputs["weight"][0]), xp.asarray(inputs["bias"][0])
        x, gather = first_input_in_cupy(xp, inputs) if self.gathered else (xp.asarray(inputs["x"][0]), ())
        labels = xp.asarray(inputs["labels"])[xp.asarray(inputs["rows"][0])]
        logits = xp.zeros((self.rows, self.outputs), "float32")
        buffers = _loss_buffers_in_cupy(xp, logits.shape)
        results = {"logits": logits, **buffers}
        launches = [
            *gather,
            partial(forward_in_cupy, xp, x, weight, bias, logits, "identity"),
            partial(loss_in_cupy, self.loss, xp, logits, labels, **buffers),
        ]
        if not self.gathered:
            results["dx"] = dx = xp.zeros(x.shape, "float32")
            launches.append(partial(backward_in_cupy, xp, buffers["dlogits"], weight, x, dx, self.activation))
        return Prepared(tuple(launches), results)
