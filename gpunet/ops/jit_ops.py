"""NumPy's operations with the loops around their matrix products compiled by Numba: the gathering of a batch, a loss,
an optimizer's update, each in one pass over memory; and per-sample SGD as a single loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import counter_rng
from gpunet.ops import (
    jit_augment,
    jit_layers,
    jit_losses,
    jit_optimizers,
    jit_per_sample_sgd,
    jit_shuffle,
    numpy_augment,
)
from gpunet.ops.contract import Batch, OptimizerState, Step, Warp
from gpunet.ops.numpy_ops import NumpyOps

# Rows between which Ctrl-C is heeded in per-sample SGD: a few hundredths of a second at most.
ROWS_AT_A_TIME = 4096


class JitOps(NumpyOps):
    """Operations on NumPy arrays of one floating type. Products are BLAS's, as in `NumpyOps`.

    A loop is one network's, so that the networks of a population end as they would alone. It is compiled when it is
    first needed, for this floating type (see `gpunet.ops.jit_compile`).
    """

    name = "jit"

    def gather(self, batch: Batch) -> None:
        if batch.labels.ndim == 2 or not isinstance(batch.images, np.ndarray):  # targets; images in a file
            super().gather(batch)
            return
        for p in range(len(batch.x)):
            jit_layers.gather(batch.images, batch.labels, batch.rows[p], batch.scale, batch.x[p], batch.y[p])

    def softmax_cross_entropy(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        """As the other losses: compiled where all rows count alike, NumPy's where they do not."""
        if shares is not None:
            super().softmax_cross_entropy(logits, labels, row_loss, hits, dlogits, shares)
            return
        e = self._scratch("e", logits.shape, logits.dtype) if dlogits is None else dlogits
        for p in range(len(e)):
            jit_losses.below_maximum(logits[p], labels[p], row_loss[p], hits[p], e[p])
        np.exp(e, out=e)
        for p in range(len(e)):
            jit_losses.softmax_cross_entropy(labels[p], row_loss[p], e[p], dlogits is not None)

    def binary_cross_entropy(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        if shares is not None:
            super().binary_cross_entropy(logits, labels, row_loss, hits, dlogits, shares)
            return
        written = self._scratch("e", logits.shape, logits.dtype) if dlogits is None else dlogits
        for p in range(len(written)):
            jit_losses.binary_cross_entropy(logits[p], labels[p], row_loss[p], hits[p], written[p])

    def adam(self, state: OptimizerState, step: Step) -> None:
        factors, l2 = state.step_table[:, step.number], self._l2(state)
        constants = state.beta1, state.one_minus_beta1, state.beta2, state.one_minus_beta2, state.eps
        for p in range(len(state.parameters)):
            own = state.parameters[p], state.gradient[p], state.m[p], state.v[p]
            jit_optimizers.adam(*own, factors[p], state.lr_scale[p], l2[p], *constants)

    def sgd(self, state: OptimizerState, step: Step) -> None:
        factors, l2 = state.step_table[:, step.number], self._l2(state)
        for p in range(len(state.parameters)):
            own, rates = (state.parameters[p], state.gradient[p]), (factors[p], state.lr_scale[p], l2[p])
            if state.momentum:
                jit_optimizers.sgd_momentum(*own, state.m[p], *rates, state.momentum)
            else:
                jit_optimizers.sgd(*own, *rates)

    def per_sample_sgd(
        self,
        batch: Batch,
        layers: Sequence[tuple[np.ndarray, np.ndarray]],
        state: OptimizerState,
        step: Step,
        *,
        row_loss: np.ndarray,
        hits: np.ndarray,
        activation: str,
    ) -> None:
        """As `NumpyOps.per_sample_sgd`; the state's gradient stays as it is."""
        networks, rows = batch.rows.shape
        rates = state.step_table[:, step.number : step.number + rows, 0] * state.lr_scale[:, None]
        (weight1, bias1), (weight2, bias2) = layers
        for begin in range(0, rows, ROWS_AT_A_TIME):
            part = slice(begin, begin + ROWS_AT_A_TIME)
            for p in range(networks):
                data = *_read(batch.images, batch.labels, batch.rows[p, part]), batch.scale
                weights = weight1[p], bias1[p], weight2[p], bias2[p]
                jit_per_sample_sgd.per_sample_sgd(
                    *data,
                    *weights,
                    rates[p, part],
                    row_loss[p, part],
                    hits[p, part],
                    jit_per_sample_sgd.ACTIVATIONS[activation],
                )

    def shuffle(self, split_rows: np.ndarray, seeds: np.ndarray, epoch: np.ndarray, out: np.ndarray) -> None:
        keys = counter_rng.stream_key(seeds, counter_rng.SHUFFLE_STREAM, int(epoch[0]))
        table = self._scratch("places", (1 << (out.shape[1] - 1).bit_length(),), np.dtype(np.uint32))
        for p in range(len(out)):
            jit_shuffle.shuffle(split_rows[p], keys[p], table, out[p])

    def augment(self, images: np.ndarray, warp: Warp, epoch: np.ndarray, out: np.ndarray) -> None:
        placed = numpy_augment.coefficients(warp, int(epoch[0]))
        jit_augment.augment(images, warp.rows, placed, warp.side, out)

    # Parts of the layers' operations

    def _activate(self, z: np.ndarray, bias: np.ndarray, activation: str) -> None:
        add_bias = jit_layers.ADD_BIAS.get(activation)
        if add_bias is None:
            super()._activate(z, bias, activation)
            return
        for p in range(len(z)):
            add_bias(z[p], bias[p])

    def _times_derivative(self, gradient: np.ndarray, a: np.ndarray, activation: str) -> None:
        if activation != "relu":
            super()._times_derivative(gradient, a, activation)
            return
        for p in range(len(a)):
            jit_layers.times_relu_derivative(gradient[p], a[p])

    def _sum_over_rows(self, dz: np.ndarray, dbias: np.ndarray) -> None:
        for p in range(len(dz)):
            jit_layers.sum_over_rows(dz[p], dbias[p])

    def _l2(self, state: OptimizerState) -> np.ndarray:
        return self.zeros(len(state.parameters)) if state.l2 is None else state.l2


def _read(images: Any, labels: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels and rows as a compiled loop reads them: of images in a file, these rows and no others."""
    if isinstance(images, np.ndarray):
        return images, labels, rows
    return images.take(rows), labels[rows], np.arange(len(rows), dtype=rows.dtype)
