"""Networks in the middle of a training step, as the update's kernels are handed them, and what NumpyOps makes of them.

The oracle takes the kernels' own float32 inputs and computes in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import counter_rng
from gpunet.kernels import dense_update, optimizers
from gpunet.kernels.launch import DropoutArrays, Gathered, StepCounter
from gpunet.ops import Dropout, LayerGradient, NumpyOps, OptimizerState, Step
from gpunet.parameters import ParameterLayout

SCALE = np.float32(1 / 255)
EPOCH, INDEX, PER_EPOCH, EPOCHS = 2, 1, 3, 4  # so the step's number is 7, of 12

ADAM = {"beta1": 0.9, "one_minus_beta1": 0.1, "beta2": 0.999, "one_minus_beta2": 0.001, "eps": 1e-8}


class UpdateCase:
    """P networks of layer `sizes` after the backward pass over a batch.

    data: "bytes" or "floats". Rows are drawn with repetitions from a data set of `images` rows. dropout: the rate at
    the inputs of all layers but the first, None for no dropout.
    """

    def __init__(
        self, sizes, networks=1, rows=5, *, data="bytes", dropout=None, images=9, seed=0, spare_words=0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.sizes, self.networks, self.rows, self.data = tuple(sizes), networks, rows, data
        self.layout = ParameterLayout(self.sizes)
        inputs = sizes[0]
        self.image_rows = rng.integers(0, images, (networks, rows + 2)).astype(np.int32)  # a pitch beyond the rows
        if data == "bytes":
            words = -(-inputs // 4) + spare_words
            pixels = np.zeros((images, words * 4), np.uint8)
            pixels[:, :inputs] = rng.integers(0, 256, (images, inputs))
            values = pixels[:, :inputs] * np.float64(SCALE)
            self.x = Gathered(pixels.reshape(-1).view(np.uint32), words, self.image_rows.reshape(-1), rows + 2, SCALE)
        else:
            values = rng.standard_normal((images, inputs)).astype(np.float32)
            self.x = Gathered(values.reshape(-1).copy(), inputs, self.image_rows.reshape(-1), rows + 2, 1.0)
        first = values[self.image_rows[:, :rows]].astype(np.float64)
        hidden = [rng.standard_normal((networks, rows, size)).astype(np.float32) for size in sizes[1:-1]]
        self.layer_dz = [rng.standard_normal((networks, rows, size)).astype(np.float32) for size in sizes[1:]]
        self.inputs = [first, *(a.astype(np.float64) for a in hidden)]
        # Each buffer begins with a few elements that belong to nobody.
        self.activations, self.x_offsets = _flat([np.full(3, np.nan, np.float32), *hidden])
        self.dz, self.dz_offsets = _flat([np.full(5, np.nan, np.float32), *self.layer_dz])
        self.dz_offsets = self.dz_offsets[1:]
        self.epoch = np.array([EPOCH], np.int32)
        self.step = StepCounter(self.epoch, INDEX, PER_EPOCH)
        self.dropped = tuple(range(1, len(sizes) - 1)) if dropout is not None else ()
        self.dropout = None
        if dropout is not None:
            rates = np.clip(dropout + 0.1 * np.arange(networks), 0, 0.95)
            self.dropout = DropoutArrays(
                rng.integers(0, 2**32, networks, dtype=np.uint32),
                np.array([counter_rng.dropout_threshold(rate) for rate in rates], np.uint32),
                (1 / (1 - rates)).astype(np.float32),
                1,
            )

    def alone(self, network: int) -> UpdateCase:
        """One network of this case."""
        other = object.__new__(UpdateCase)
        other.__dict__.update(self.__dict__, networks=1)
        rows = self.image_rows[network]
        other.x = self.x._replace(rows=rows)
        hidden = [self._layer(self.activations, self.x_offsets[k], network, k) for k in range(1, len(self.sizes) - 1)]
        other.activations, other.x_offsets = _flat([np.zeros(1, np.float32), *hidden])
        dz = [self._layer(self.dz, self.dz_offsets[k], network, k + 1) for k in range(len(self.sizes) - 1)]
        other.dz, other.dz_offsets = _flat(dz)
        return other

    def _layer(self, flat: np.ndarray, offset: int, network: int, size: int) -> np.ndarray:
        each = self.rows * self.sizes[size]
        return flat[offset + network * each : offset + (network + 1) * each]

    def tables(self, variant: str | None = None) -> dict[str, Any]:
        """The keyword arguments `table` and `tiles`."""
        table = dense_update.tile_table(
            self.layout.layers, self.x_offsets, self.dz_offsets, self.dropped, rows=self.rows, variant=variant
        )
        return {"table": np.array(table, np.int32), "tiles": len(table) // dense_update.COLUMNS}

    def gradient(self, variant: str | None = None) -> np.ndarray:
        """`dense_gradient`'s, float32 ``[P, length]``. It begins as NaN, so that a place left out shows."""
        out = np.full((self.networks, self.layout.length), np.nan, np.float32)
        dense_update.dense_gradient(
            self.x,
            self.activations,
            self.dz,
            gradient=out.reshape(-1),
            networks=self.networks,
            rows=self.rows,
            length=self.layout.length,
            step=self.step,
            dropout=self.dropout,
            words=self.data == "bytes",
            variant=variant,
            **self.tables(variant),
        )
        return out

    def update(self, state: KernelState, variant: str | None = None) -> None:
        """`dense_update` on a state."""
        dense_update.dense_update(
            self.x,
            self.activations,
            self.dz,
            parameters=state.parameters.reshape(-1),
            m=state.m.reshape(-1),
            v=state.v.reshape(-1),
            step_table=state.step_table.reshape(-1),
            lr_scale=state.lr_scale,
            l2=state.l2,
            networks=self.networks,
            rows=self.rows,
            length=self.layout.length,
            steps=EPOCHS * PER_EPOCH,
            step=self.step,
            method=state.method,
            dropout=self.dropout,
            words=self.data == "bytes",
            variant=variant,
            decoupled=state.decoupled,
            **state.constants,
            **self.tables(variant),
        )

    def expected_gradient(self) -> tuple[np.ndarray, np.ndarray]:
        """NumpyOps' gradient and the sums of |terms|, float64 ``[P, length]``; NaN in the padding, as in `gradient`."""
        results = []
        for absolute in (False, True):
            out = np.full((self.networks, self.layout.length), np.nan)
            change = np.abs if absolute else np.asarray
            layers = [
                LayerGradient(change(x), change(dz.astype(np.float64)), self._dropout(layer))
                for layer, (x, dz) in enumerate(zip(self.inputs, self.layer_dz, strict=True))
            ]
            NumpyOps(np.float64).dense_gradient(layers, self.layout.views(out), Step(self.epoch, INDEX, PER_EPOCH))
            results.append(out)
        return results[0], results[1]

    def _dropout(self, layer: int) -> Dropout | None:
        if layer not in self.dropped:
            return None
        return Dropout(self.dropout.seeds, self.dropout.thresholds, self.dropout.scales.astype(np.float64), layer)


class KernelState:
    """An optimizer's buffers in the middle of a run, float32, padding zero."""

    def __init__(self, layout, networks, method, *, l2=False, decoupled=False, momentum=0.0, seed=1) -> None:
        rng = np.random.default_rng(seed)
        self.method, self.decoupled = method, decoupled
        self.constants = dict(ADAM) if method == "adam" else {"momentum": momentum}
        shape = (networks, layout.length)
        used = np.zeros(shape, np.float32)
        for weight, bias in layout.views(used):
            weight[:] = bias[:] = 1
        self.used = used == 1
        self.parameters = np.where(self.used, rng.standard_normal(shape), 0).astype(np.float32)
        self.m = np.where(self.used, rng.standard_normal(shape), 0).astype(np.float32)
        self.v = (rng.standard_normal(shape) ** 2 * used).astype(np.float32)
        steps = EPOCHS * PER_EPOCH
        self.step_table = rng.uniform(0.01, 0.5, (networks, steps, 3)).astype(np.float32)
        self.lr_scale = rng.uniform(0.1, 1, networks).astype(np.float32)
        self.l2 = rng.uniform(0.01, 0.1, networks).astype(np.float32) if l2 else None

    def copy(self) -> KernelState:
        other = object.__new__(KernelState)
        other.__dict__.update({k: v.copy() if isinstance(v, np.ndarray) else v for k, v in self.__dict__.items()})
        return other

    def keeps(self, name: str) -> bool:
        """Whether the method reads and writes a buffer."""
        return name == "parameters" or self.method == "adam" or (name == "m" and self.constants["momentum"] != 0)

    def step(self, case: UpdateCase, gradient: np.ndarray) -> None:
        """One step by the optimizer's own kernel, at the case's place in the run."""
        buffers = [self.parameters.reshape(-1), gradient.reshape(-1), self.m.reshape(-1)]
        if self.method == "adam":
            buffers.append(self.v.reshape(-1))
        getattr(optimizers, self.method)(
            *buffers,
            self.step_table.reshape(-1),
            self.lr_scale,
            self.l2,
            networks=len(self.parameters),
            length=self.parameters.shape[1],
            steps=EPOCHS * PER_EPOCH,
            step=case.step,
            decoupled=self.decoupled,
            **self.constants,
        )

    def contract(self, gradient: np.ndarray, dtype=np.float64) -> OptimizerState:
        """The same numbers for NumpyOps. Constants as the kernels hold them, rounded to float32."""

        def wide(array):
            return None if array is None else array.astype(dtype)

        return OptimizerState(
            self.method,
            wide(self.parameters),
            wide(gradient),
            (),
            wide(self.m),
            wide(self.v),
            wide(self.step_table),
            wide(self.lr_scale),
            wide(self.l2),
            self.decoupled,
            **{name: float(np.float32(value)) for name, value in self.constants.items()},
        )


def _flat(parts: list[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    sizes = [part.size for part in parts]
    return np.concatenate([part.reshape(-1) for part in parts]), [0, *np.cumsum(sizes)[:-1].tolist()]
