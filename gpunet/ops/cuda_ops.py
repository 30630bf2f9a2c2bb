"""The operations on a GPU: the contract of `NumpyOps`, carried out by the kernels of `gpunet.kernels`.

Only `to_host` waits for the device. In Numba's simulator the same kernels run on NumPy arrays, one thread after
another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gpunet.errors import InputError
from gpunet.kernels import augment as augmentation
from gpunet.kernels import clip, optimizers
from gpunet.kernels import dense_head as head
from gpunet.kernels import epoch as epoch_kernels
from gpunet.kernels.binary_cross_entropy import binary_cross_entropy
from gpunet.kernels.dense_backward import dense_backward
from gpunet.kernels.dense_forward import dense_forward
from gpunet.kernels.dense_update import COLUMNS, dense_gradient, dense_update, tile_table, variant_for
from gpunet.kernels.launch import (
    SIMULATOR,
    DropoutArrays,
    Gathered,
    GatheredLabels,
    Launch,
    Recording,
    StepCounter,
)
from gpunet.kernels.per_sample_sgd import per_sample_sgd
from gpunet.kernels.softmax_cross_entropy import softmax_cross_entropy
from gpunet.kernels.squared_error import squared_error
from gpunet.ops.contract import Batch, Dropout, LayerGradient, OptimizerState, RowWeights, Step, Warp
from gpunet.ops.device_memory import DeviceMemory, SimulatorMemory
from gpunet.ops.replay import Replay

BYTES_PER_WORD = 4
LOSSES = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "squared_error": squared_error,
}


class CudaOps:
    """Operations on CuPy arrays of float32 on one device, or on NumPy arrays in the simulator."""

    cache_bytes = None  # the more networks side by side, the better a device is used
    takes_targets = False  # the loss kernels read class indices
    takes_streams = False  # the kernels gather from the device's memory

    def __init__(self, device: int = 0, *, graphs: bool = True) -> None:
        """graphs: replay captured lists of launches as CUDA graphs; where not, they are launched one by one."""
        self.name = "sim" if SIMULATOR else "cuda"
        self.dtype = np.dtype(np.float32)
        self._memory = SimulatorMemory() if SIMULATOR else DeviceMemory(device)
        self._graphs = graphs
        self._stream: Any = self._memory.stream  # where launches go
        self._tables: dict[tuple, Any] = {}  # of rows and tiles, and work memory, by what they are made from
        self._no_step = Step(self.zeros(1, np.int32), 0, 1)  # for operations without dropout

    @property
    def device_name(self) -> str:
        return self._memory.device_name

    @property
    def cupy_stream(self) -> Any:
        """The CuPy stream on which everything on the device is done, for those who measure it. Not in the simulator."""
        return self._memory.cupy_stream

    # Memory

    def zeros(self, shape: Sequence[int] | int, dtype: Any = None) -> Any:
        """A new array of zeros on the device, float32 unless told otherwise."""
        return self._memory.zeros(shape, self.dtype if dtype is None else dtype)

    def asarray(self, values: Any, dtype: Any = None) -> Any:
        """A copy of host values on the device."""
        return self._memory.asarray(np.asarray(values), self.dtype if dtype is None else dtype)

    def to_host(self, array: Any) -> np.ndarray:
        """A copy of an array for the host, of the same type. Waits for the device."""
        return self._memory.to_host(array)

    def available_bytes(self) -> int:
        """Memory that new arrays can take."""
        return self._memory.available_bytes()

    def images(self, images: np.ndarray) -> tuple[Any, float]:
        """Lay a data set where the kernels read it: bytes as uint32 words of four, each row padded with zeros to a
        whole word.

        images: uint8 (0..255) or float ``[N, I]``. Returns uint32 ``[N, words]`` or float32 ``[N, I]``, and the scale.
        """
        if not isinstance(images, np.ndarray):
            raise InputError(f"backend {self.name} reads no images from a file: use backend numpy or jit")
        if images.dtype != np.uint8:
            return self.asarray(images), 1.0
        words = -(-images.shape[1] // BYTES_PER_WORD)
        padded = np.zeros((len(images), words * BYTES_PER_WORD), np.uint8)
        padded[:, : images.shape[1]] = images
        return self.asarray(padded.view("<u4"), np.uint32), 1 / 255

    def gather_buffers(self, networks: int, rows: int, inputs: int) -> tuple[None, None]:
        """None: the kernels gather as they read."""
        return None, None

    def capture(
        self, launches: Sequence[Callable[[], None]], largest_product: int = 0, calls: int = 1
    ) -> Callable[[], None]:
        """One call that makes all these calls, in order: a `Replay`, which a device makes a CUDA graph of.

        Arguments are looked at now, and never again. calls: how often it is going to be called. largest_product: see
        `NumpyOps.capture`; not needed here.
        """
        return Replay(self._record(launches), self._memory, graphs=self._graphs, calls=calls)

    # Operations of a step

    def gather(self, batch: Batch) -> None:
        """Nothing: the kernels gather as they read."""

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
        """See `NumpyOps.dense_forward`, as for all operations."""
        networks, rows, outputs = out.shape
        dense_forward(
            self._input(x),
            self._flat(weight),
            self._flat(bias),
            self._flat(out),
            networks=networks,
            rows=rows,
            inputs=weight.shape[1],
            outputs=outputs,
            parameter_pitch=_pitch(weight),
            activation=activation,
            dropout=self._dropout(dropout),
            step=self._step(step),
            stream=self._stream,
        )

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
        networks, rows, inputs = out.shape
        dense_backward(
            self._flat(dz),
            self._flat(weight),
            self._flat(a),
            self._flat(out),
            networks=networks,
            rows=rows,
            inputs=inputs,
            outputs=weight.shape[2],
            parameter_pitch=_pitch(weight),
            activation=activation,
            dropout=self._dropout(dropout),
            step=self._step(step),
            stream=self._stream,
        )

    def softmax_cross_entropy(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        self._loss("softmax_cross_entropy", logits, self._flat(labels), row_loss, hits, dlogits, shares)

    def binary_cross_entropy(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        self._loss("binary_cross_entropy", logits, self._flat(labels), row_loss, hits, dlogits, shares)

    def squared_error(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        self._loss("squared_error", logits, self._flat(labels), row_loss, hits, dlogits, shares)

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
        """One kernel where the last layer is narrow and reads hidden activations, else the three of which it
        consists."""
        networks, rows, outputs = logits.shape
        labels = GatheredLabels(self._flat(batch.labels), self._flat(batch.rows), _pitch(batch.rows))
        if isinstance(x, Batch) or not head.fits(outputs):
            self.dense_forward(x, weight, bias, logits, dropout=dropout, step=step)
            self._loss(loss, logits, labels, row_loss, hits, dlogits, batch.shares)
            if dx is not None:
                self.dense_backward(dlogits, weight, x, dx, activation=activation, dropout=dropout, step=step)
            return
        head.dense_head(
            self._flat(x),
            self._flat(weight),
            self._flat(bias),
            labels,
            loss=loss,
            logits=self._flat(logits),
            row_loss=self._flat(row_loss),
            hits=self._flat(hits),
            dlogits=None if dlogits is None else self._flat(dlogits),
            dx=None if dx is None else self._flat(dx),
            networks=networks,
            rows=rows,
            inputs=weight.shape[1],
            outputs=outputs,
            parameter_pitch=_pitch(weight),
            loss_pitch=_pitch(row_loss),
            shares=self._shares(batch.shares, row_loss),
            activation=activation,
            dropout=self._dropout(dropout),
            step=self._step(step),
            stream=self._stream,
        )

    def dense_gradient(
        self,
        layers: Sequence[LayerGradient],
        gradient_views: Sequence[tuple[Any, Any]],
        step: Step | None = None,
    ) -> None:
        networks, rows, _ = layers[0].dz.shape
        flat, length = self._flat_parameters(gradient_views)
        for activations, dz, table, tiles, variant in self._tables_of(layers, gradient_views):
            dense_gradient(
                self._first_input(layers),
                activations,
                dz,
                table,
                flat,
                networks=networks,
                rows=rows,
                tiles=tiles,
                length=length,
                step=self._step(step),
                dropout=self._dropout_of_any(layers),
                words=self._reads_words(layers),
                variant=variant,
                stream=self._stream,
            )

    def dense_update(self, layers: Sequence[LayerGradient], state: OptimizerState, step: Step) -> None:
        """The gradients and the update in one kernel: `state.gradient` is not written."""
        networks, rows, _ = layers[0].dz.shape
        for activations, dz, table, tiles, variant in self._tables_of(layers, state.gradient_views):
            dense_update(
                self._first_input(layers),
                activations,
                dz,
                table,
                *self._state_arrays(state),
                networks=networks,
                rows=rows,
                tiles=tiles,
                method=state.method,
                dropout=self._dropout_of_any(layers),
                words=self._reads_words(layers),
                variant=variant,
                momentum=state.momentum,
                **self._update_options(state, step),
                **_adam_constants(state),
            )

    def clip_gradient(self, gradient: Any, max_norm: float, norms: Any) -> None:
        networks, length = gradient.shape
        shape = (networks, clip.stretches_of(length))
        sums = self._cached(("sums of squares", *shape), lambda: self.zeros(shape))
        arrays = self._flat(gradient), max_norm, self._flat(norms), self._flat(sums)
        clip.clip_gradient(*arrays, networks=networks, length=length, stream=self._stream)

    def adam(self, state: OptimizerState, step: Step) -> None:
        parameters, *others = self._state_arrays(state)
        options = self._update_options(state, step)
        gradient = self._flat(state.gradient)
        optimizers.adam(
            parameters, gradient, *others, networks=len(state.gradient), **options, **_adam_constants(state)
        )

    def sgd(self, state: OptimizerState, step: Step) -> None:
        parameters, velocity, _, *others = self._state_arrays(state)
        optimizers.sgd(
            parameters,
            self._flat(state.gradient),
            velocity,
            *others,
            networks=len(state.gradient),
            momentum=state.momentum,
            **self._update_options(state, step),
        )

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
        """All steps in one kernel: `state.gradient` is not written."""
        (weight1, bias1), (weight2, bias2) = layers
        networks, rows = row_loss.shape
        arrays = map(self._flat, (batch.labels, weight1, bias1, weight2, bias2, row_loss, hits))
        per_sample_sgd(
            self._input(batch),
            *arrays,
            step_table=self._flat(state.step_table),
            lr_scale=self._flat(state.lr_scale),
            networks=networks,
            rows=rows,
            inputs=weight1.shape[1],
            hidden=weight1.shape[2],
            parameter_pitch=_pitch(weight1),
            loss_pitch=_pitch(row_loss),
            steps=state.step_table.shape[1],
            step=self._step(step),
            activation=activation,
            stream=self._stream,
        )

    def shuffle(self, split_rows: Any, seeds: Any, epoch: Any, out: Any) -> None:
        networks, length = out.shape
        arrays = map(self._flat, (split_rows, seeds, epoch, out))
        epoch_kernels.shuffle(*arrays, networks=networks, length=length, stream=self._stream)

    def augment(self, images: Any, warp: Warp, epoch: Any, out: Any) -> None:
        """images and out: uint32 words."""
        arrays = map(self._flat, (images.view(np.uint8), warp.table, warp.keys, warp.rows, epoch, out))
        augmentation.augment(*arrays, seed=warp.seed, count=len(warp.rows), side=warp.side, stream=self._stream)

    def follow_order(self, row_order: Any, epoch: Any, out: Any) -> None:
        networks, length = out.shape
        arrays = map(self._flat, (row_order, epoch, out))
        epoch_kernels.follow_order(*arrays, networks=networks, length=length, stream=self._stream)

    def row_shares(self, weights: Any, rows: Any, batch_size: int, out: Any) -> None:
        networks, length = out.shape
        weights, rows, out = map(self._flat, (weights, rows, out))
        epoch_kernels.row_shares(weights, rows, batch_size, out, networks=networks, length=length, stream=self._stream)

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
        networks, length = row_loss.shape
        epoch_kernels.batch_sums(
            self._flat(row_loss),
            self._flat(hits),
            batch_size,
            self._flat(epoch),
            self._flat(loss_sums),
            self._flat(hit_counts),
            weights and tuple(map(self._flat, (weights.weights, weights.rows, weights.sums))),
            networks=networks,
            length=length,
            stream=self._stream,
        )

    def advance(self, epoch: Any) -> None:
        epoch_kernels.advance(self._flat(epoch), stream=self._stream)

    # From the contract's arguments to the kernels'

    def _record(self, launches: Iterable[Callable[[], None]]) -> list[Launch]:
        """The kernel launches of which these calls consist, none of them made."""
        recording = Recording()
        self._stream = recording
        try:
            for launch in launches:
                launch()
        finally:
            self._stream = self._memory.stream
            self._memory.forget_wrappers()  # what the recording needs it holds itself
        return recording

    def _flat(self, array: Any) -> Any:
        return self._memory.flat(array)

    def _input(self, x: Any) -> Any:
        if not isinstance(x, Batch):
            return self._flat(x)
        return Gathered(self._flat(x.images), x.images.shape[1], self._flat(x.rows), _pitch(x.rows), x.scale)

    def _dropout(self, dropout: Dropout | None) -> DropoutArrays | None:
        if dropout is None:
            return None
        arrays = map(self._flat, (dropout.seeds, dropout.thresholds, dropout.scales))
        return DropoutArrays(*arrays, dropout.layer)

    def _step(self, step: Step | None) -> StepCounter:
        step = step or self._no_step
        return StepCounter(self._flat(step.epoch), step.index, step.per_epoch)

    def _shares(self, shares: Any | None, row_loss: Any) -> Any:
        """Shares as kernels read them, in the places of row_loss."""
        if shares is None:
            return None
        if shares.strides != row_loss.strides:
            raise ValueError(f"shares must lie in memory as row_loss does, not with strides of {shares.strides} bytes")
        return self._flat(shares)

    def _loss(
        self, loss: str, logits: Any, labels: Any, row_loss: Any, hits: Any, dlogits: Any | None, shares: Any | None
    ) -> None:
        networks, rows, classes = logits.shape
        LOSSES[loss](
            self._flat(logits),
            labels,
            self._flat(row_loss),
            self._flat(hits),
            None if dlogits is None else self._flat(dlogits),
            networks=networks,
            rows=rows,
            classes=classes,
            loss_pitch=_pitch(row_loss),
            shares=self._shares(shares, row_loss),
            stream=self._stream,
        )

    # Of updates

    def _state_arrays(self, state: OptimizerState) -> tuple[Any, ...]:
        """parameters, m, v, step_table, lr_scale and l2."""
        arrays = (state.parameters, state.m, state.v, state.step_table, state.lr_scale, state.l2)
        return tuple(None if array is None else self._flat(array) for array in arrays)

    def _update_options(self, state: OptimizerState, step: Step) -> dict[str, Any]:
        return {
            "length": state.parameters.shape[1],
            "steps": state.step_table.shape[1],
            "step": self._step(step),
            "decoupled": state.decoupled,
            "stream": self._stream,
        }

    def _first_input(self, layers: Sequence[LayerGradient]) -> Gathered:
        """What the first layer read. A plain array is a data set of which every network has rows of its own."""
        x = layers[0].x
        if isinstance(x, Batch):
            return self._input(x)
        networks, rows, inputs = x.shape
        own = self._cached(("rows", networks, rows), lambda: self.asarray(np.arange(networks * rows), np.int32))
        return Gathered(self._flat(x), inputs, self._flat(own), rows, 1.0)

    def _reads_words(self, layers: Sequence[LayerGradient]) -> bool:
        x = layers[0].x
        return isinstance(x, Batch) and x.images.dtype == np.uint32

    def _dropout_of_any(self, layers: Sequence[LayerGradient]) -> DropoutArrays | None:
        """The layers of a network differ in the index alone, which the table of tiles holds."""
        return next((self._dropout(layer.dropout) for layer in layers if layer.dropout is not None), None)

    def _flat_parameters(self, views: Sequence[tuple[Any, Any]]) -> tuple[Any, int]:
        """The flat buffer ``[P, length]`` that these are the views of, without the padding behind the last one."""
        first, last = views[0][0], views[-1][1]
        networks, length = len(first), _pitch(first)
        of_one = (self._memory.address(last) - self._memory.address(first)) // first.itemsize + last.shape[1]
        return self._memory.flat(first, (networks - 1) * length + of_one), length

    def _tables_of(
        self, layers: Sequence[LayerGradient], views: Sequence[tuple[Any, Any]]
    ) -> list[tuple[Any, Any, Any, int, str]]:
        """The launches that serve all layers, one where their arrays lie in common buffers: activations, dz, table,
        tiles, and for which variant the table is."""
        hidden, dz = [layer.x for layer in layers[1:]], [layer.dz for layer in layers]
        if _share_a_buffer(hidden) and _share_a_buffer(dz):
            return [self._table(layers, views, range(len(layers)))]
        return [self._table(layers, views, [index]) for index in range(len(layers))]

    def _table(
        self, layers: Sequence[LayerGradient], views: Sequence[tuple[Any, Any]], which: Sequence[int]
    ) -> tuple[Any, Any, Any, int, str]:
        address = self._memory.address
        hidden = [layers[index].x for index in which if index > 0]
        dz = [layers[index].dz for index in which]
        x_base, x_flat = self._common(hidden or dz)
        dz_base, dz_flat = self._common(dz)
        networks, rows, _ = dz[0].shape
        x_offsets = [(address(layer.x) - x_base) // 4 if i in which and i > 0 else 0 for i, layer in enumerate(layers)]
        dz_offsets = [(address(layer.dz) - dz_base) // 4 if i in which else 0 for i, layer in enumerate(layers)]
        begin = address(views[0][0])
        slots = tuple(
            ((address(weight) - begin) // 4, (address(bias) - begin) // 4, *weight.shape[1:]) for weight, bias in views
        )
        dropped = tuple(index for index, layer in enumerate(layers) if layer.dropout is not None)

        variant = variant_for(rows, [slots[index] for index in which], networks)

        def make() -> Any:
            entries = tile_table(slots, x_offsets, dz_offsets, dropped, rows=rows, variant=variant)
            table = np.array(entries, np.int32).reshape(-1, COLUMNS)
            return self.asarray(table[np.isin(table[:, 0], which)], np.int32)

        table = self._cached((slots, tuple(x_offsets), tuple(dz_offsets), dropped, rows, tuple(which), variant), make)
        return x_flat, dz_flat, self._flat(table), len(table), variant

    def _common(self, arrays: Sequence[Any]) -> tuple[int, Any]:
        """The lowest address of these arrays, which share a buffer, and the memory from there to the highest."""
        address = self._memory.address
        first, last = min(arrays, key=address), max(arrays, key=address)
        return address(first), self._memory.flat(first, (address(last) - address(first)) // 4 + last.size)

    def _cached(self, key: tuple, make: Callable[[], Any]) -> Any:
        if key not in self._tables:
            self._tables[key] = make()
        return self._tables[key]


def _pitch(array: Any) -> int:
    """Elements from one network to the next."""
    return array.strides[0] // array.itemsize


def _share_a_buffer(arrays: Sequence[Any]) -> bool:
    return len(arrays) < 2 or all(array.base is not None and array.base is arrays[0].base for array in arrays)


def _adam_constants(state: OptimizerState) -> dict[str, float]:
    names = ("beta1", "one_minus_beta1", "beta2", "one_minus_beta2", "eps")
    return {name: getattr(state, name) for name in names}
