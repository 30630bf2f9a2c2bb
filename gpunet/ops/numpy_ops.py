"""The operations in NumPy: the reference that every kernel is held against, and the training path of machines without
a GPU.

In float64 this is the oracle; in float32 it is fast as well. B rows, I inputs, O outputs, P networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from gpunet import counter_rng
from gpunet.ops import host_memory, numpy_augment, numpy_losses, numpy_per_sample_sgd
from gpunet.ops.contract import Batch, Dropout, LayerGradient, OptimizerState, RowWeights, Step, Warp
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.ops.scratch import Scratch

# A BLAS thread pays for its hand-over once it has about this many multiply-adds to do (measured on 2 cores of an AMD
# EPYC: at 64 x 784 x 10 a second thread gains nothing, at 64 x 784 x 64 a quarter, at 128 x 784 x 64 it halves the
# time).
MULTIPLY_ADDS_PER_THREAD = 1_500_000

# What a step of networks side by side may touch: beyond, weights and moments come from a slower cache (measured on the
# same machine, 1 MB of L2 and 16 MB of L3 a core: 784-64-10 in batches of 128 takes least by twos and threes, a tenth
# less than alone, and by twenties a third more; 784-10-1 row by row less than half as long by tens).
CACHE_BYTES = 6 << 20

CLIP_EPS = 1e-6  # PyTorch's: the factor of a gradient that is zero is a number


class NumpyOps:
    """Operations on NumPy arrays of one floating type, float32 or float64."""

    name = "numpy"
    cache_bytes = CACHE_BYTES
    takes_targets = True  # labels may be float [N, O], for the squared error
    takes_streams = True  # images may stay in a file, read batch by batch

    def __init__(self, dtype: Any = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"NumpyOps works in float32 or float64, not {self.dtype}")
        self._scratch = Scratch()

    # Memory

    def zeros(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        """A new array of zeros, of the backend's floating type unless told otherwise."""
        return np.zeros(shape, self.dtype if dtype is None else dtype)

    def asarray(self, values: Any, dtype: Any = None) -> np.ndarray:
        """A copy of host values where the backend computes."""
        return np.array(values, dtype=self.dtype if dtype is None else dtype, order="C")

    def to_host(self, array: np.ndarray) -> np.ndarray:
        """A copy of an array for the host, of the same type."""
        return np.array(array)

    def available_bytes(self) -> int:
        """Memory that new arrays can take."""
        return host_memory.available_bytes()

    def images(self, images: np.ndarray) -> tuple[np.ndarray, float]:
        """Lay a data set where `gather` reads it.

        images: uint8 (0..255) or float ``[N, I]``. Returns the array and the scale by which its values are multiplied
        as they are read. Bytes stay bytes: a batch of them is four times as quick to fetch, which pays for its
        conversion. What is no NumPy array but has its dtype, shape and `take`, such as `gpunet.data.StreamedImages`,
        stays where it is.
        """
        if not isinstance(images, np.ndarray):
            return images, 1 / 255 if images.dtype == np.uint8 else 1.0
        if images.dtype == np.uint8:
            return np.array(images, order="C"), 1 / 255
        return self.asarray(images), 1.0

    def gather_buffers(self, networks: int, rows: int, inputs: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The work arrays of a `Batch`, x ``[P, B, I]`` and y int32 ``[P, B]``, where this backend gathers into
        memory."""
        return self.zeros((networks, rows, inputs)), self.zeros((networks, rows), np.int32)

    def capture(
        self, launches: Sequence[Callable[[], None]], largest_product: int = 0, calls: int = 1
    ) -> Callable[[], None]:
        """One call that makes all these calls, in order.

        largest_product: multiply-adds of their largest matrix product, from which follows how many threads BLAS is
        given. calls: how often it is going to be called; of no account here. Overflow and NaN are left to whoever looks
        at the losses; NumPy does not warn of them one by one.
        """
        launches = tuple(launches)
        threads = max(1, largest_product // MULTIPLY_ADDS_PER_THREAD)

        def run() -> None:
            with np.errstate(all="ignore"), _blas_threads_at_most(threads):
                for launch in launches:
                    launch()

        return run

    # Operations of a step

    def gather(self, batch: Batch) -> None:
        """x = images[rows] * scale and y = labels[rows], where kernels do not gather as they read."""
        if batch.images.dtype == batch.x.dtype:
            batch.images.take(batch.rows, axis=0, out=batch.x, mode="clip")
            if batch.scale != 1:
                np.multiply(batch.x, batch.scale, out=batch.x)
        else:
            pixels = self._scratch("pixels", batch.x.shape, batch.images.dtype)
            batch.images.take(batch.rows, axis=0, out=pixels, mode="clip")
            np.copyto(batch.x, pixels)
            np.multiply(batch.x, batch.scale, out=batch.x)
        batch.labels.take(batch.rows, axis=0, out=batch.y, mode="clip")

    def dense_forward(
        self,
        x: np.ndarray | Batch,
        weight: np.ndarray,
        bias: np.ndarray,
        out: np.ndarray,
        *,
        activation: str = "identity",
        dropout: Dropout | None = None,
        step: Step | None = None,
    ) -> None:
        """out = activation(x @ weight + bias).

        x: ``[P, B, I]`` or a gathered batch, of which `dropout` drops elements as they are read. weight: ``[P, I, O]``.
        bias: ``[P, O]``. out: ``[P, B, O]``.
        """
        np.matmul(self._input(x, dropout, step), weight, out=out)
        self._activate(out, bias, activation)

    def dense_backward(
        self,
        dz: np.ndarray,
        weight: np.ndarray,
        a: np.ndarray,
        out: np.ndarray,
        *,
        activation: str,
        dropout: Dropout | None = None,
        step: Step | None = None,
    ) -> None:
        """out = (dz @ weight^T) * activation'(a): the gradient in front of the activation one layer below.

        dz: ``[P, B, O]``. weight: ``[P, I, O]``. a and out: ``[P, B, I]``; a is the activation before `dropout`
        dropped of it.
        """
        np.matmul(dz, weight.swapaxes(1, 2), out=out)
        if dropout is not None:
            np.multiply(out, self._dropout_factor(dropout, step, out.shape), out=out)
        self._times_derivative(out, a, activation)

    def softmax_cross_entropy(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        """See `gpunet.ops.numpy_losses`, as for the other two losses. shares lies in memory as row_loss does."""
        numpy_losses.softmax_cross_entropy(logits, labels, row_loss, hits, dlogits, self._scratch, shares)

    def binary_cross_entropy(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        numpy_losses.binary_cross_entropy(logits, labels, row_loss, hits, dlogits, self._scratch, shares)

    def squared_error(self, logits, labels, row_loss, hits, dlogits=None, shares=None) -> None:
        numpy_losses.squared_error(logits, labels, row_loss, hits, dlogits, self._scratch, shares)

    def dense_head(
        self,
        x: np.ndarray | Batch,
        weight: np.ndarray,
        bias: np.ndarray,
        batch: Batch,
        *,
        loss: str,
        logits: np.ndarray,
        row_loss: np.ndarray,
        hits: np.ndarray,
        dlogits: np.ndarray | None = None,
        dx: np.ndarray | None = None,
        activation: str = "identity",
        dropout: Dropout | None = None,
        step: Step | None = None,
    ) -> None:
        """The last dense layer and the loss, and, where dlogits and dx are given, the gradients of both.

        x: the last hidden activations ``[P, B, I]``, or the batch itself in a network without hidden layers. loss:
        the name of the operation that computes it. logits and dlogits: ``[P, B, O]``. row_loss: ``[P, B]``. hits:
        uint8 ``[P, B]``. dx: ``[P, B, I]``, the gradient in front of the hidden layer's `activation`.
        """
        self.dense_forward(x, weight, bias, logits, dropout=dropout, step=step)
        getattr(self, loss)(logits, batch.y, row_loss, hits, dlogits, batch.shares)
        if dx is not None:
            self.dense_backward(dlogits, weight, x, dx, activation=activation, dropout=dropout, step=step)

    def dense_gradient(
        self,
        layers: Sequence[LayerGradient],
        gradient_views: Sequence[tuple[np.ndarray, np.ndarray]],
        step: Step | None = None,
    ) -> None:
        """dweight = x^T @ dz and dbias = sum of dz over rows, for all layers."""
        for (x, dz, dropout), (dweight, dbias) in zip(layers, gradient_views, strict=True):
            x = self._input(x, dropout, step)
            if x.shape[1] == 1:  # one row: an outer product, for which np.dot is four times as fast as np.matmul
                for network in range(len(x)):
                    np.dot(x[network].T, dz[network], out=dweight[network])
                np.copyto(dbias, dz[:, 0])
            else:
                np.matmul(x.swapaxes(1, 2), dz, out=dweight)
                self._sum_over_rows(dz, dbias)

    def dense_update(self, layers: Sequence[LayerGradient], state: OptimizerState, step: Step) -> None:
        """The gradients of all layers and the optimizer's update with them, in one operation."""
        self.dense_gradient(layers, state.gradient_views, step)
        getattr(self, state.method)(state, step)

    def clip_gradient(self, gradient: np.ndarray, max_norm: float, norms: np.ndarray) -> None:
        """gradient *= min(1, max_norm / (norm + 1e-6)), where norm = sqrt(sum of gradient^2) is a network's own.

        gradient: ``[P, length]``, its padding zero. norms: ``[P]``, where the norms before the clipping go. A norm that
        is no number makes a gradient that is none.
        """
        t = self._scratch("update", gradient.shape, gradient.dtype)
        np.multiply(gradient, gradient, out=t)
        np.add.reduce(t, axis=1, out=norms)
        np.sqrt(norms, out=norms)
        factor = np.minimum(max_norm / (norms + CLIP_EPS), 1)
        if not (factor == 1).all():
            np.multiply(gradient, factor[:, None], out=gradient)

    def adam(self, state: OptimizerState, step: Step) -> None:
        """Adam (Kingma & Ba 2015) as PyTorch computes it, eps outside of the bias correction; AdamW with decoupled
        decay.

        w -= a * m / (sqrt(v) * b + eps), where a = lr / (1 - beta1^t) and b = 1 / sqrt(1 - beta2^t) come from the
        step table.
        """
        gradient, m, v = self._decayed_gradient(state), state.m, state.v
        before, root_factor = self._factors(state, step)
        t = self._scratch("update", m.shape, m.dtype)
        np.multiply(m, state.beta1, out=m)
        np.multiply(gradient, state.one_minus_beta1, out=t)
        np.add(m, t, out=m)
        np.multiply(v, state.beta2, out=v)
        np.multiply(gradient, gradient, out=t)
        np.multiply(t, state.one_minus_beta2, out=t)
        np.add(v, t, out=v)
        np.sqrt(v, out=t)
        np.multiply(t, root_factor, out=t)
        np.add(t, state.eps, out=t)
        np.divide(m, t, out=t)
        self._apply(state, step, t, before)

    def sgd(self, state: OptimizerState, step: Step) -> None:
        """Stochastic gradient descent as PyTorch computes it: velocity = momentum * velocity + gradient, w -= lr *
        velocity."""
        direction = self._decayed_gradient(state)
        before, _ = self._factors(state, step)
        if state.momentum:
            np.multiply(state.m, state.momentum, out=state.m)
            direction = np.add(state.m, direction, out=state.m)
        self._apply(state, step, direction, before)

    # Operations of an epoch

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
        """A step of plain SGD for each row of a batch, one after another, `step` being that of the first.

        For networks with one hidden layer and one logit, trained on the binary cross-entropy. batch: its x and y are
        not needed. layers: (weight ``[P, I, O]``, bias ``[P, O]``) of the two, views of the state's parameters.
        row_loss and hits (uint8): ``[P, B]``, of each row before its update. See `contract.serves_per_sample_sgd`.
        """
        numpy_per_sample_sgd.per_sample_sgd(
            batch, layers, state, step, row_loss, hits, activation, self.gather, self._scratch
        )

    def shuffle(self, split_rows: np.ndarray, seeds: np.ndarray, epoch: np.ndarray, out: np.ndarray) -> None:
        """out[p, i] = split_rows[p, permutation of network p and this epoch (i)].

        split_rows and out: int32 ``[P, n]``. seeds: uint32 ``[P]``. epoch: int32 ``[1]``. See
        `counter_rng.permutation`.
        """
        order = counter_rng.permutation(seeds, int(epoch[0]), split_rows.shape[1])
        for network, places in enumerate(order):
            np.take(split_rows[network], places, out=out[network], mode="clip")

    def augment(self, images: np.ndarray, warp: Warp, epoch: np.ndarray, out: np.ndarray) -> None:
        """Rows of out = the same rows of images, changed as the warp has it in this epoch; its other rows stay.

        images and out: uint8 images as `Ops.images` lays them. epoch: int32 ``[1]``. See `gpunet.ops.numpy_augment`.
        """
        numpy_augment.augment(images, warp, int(epoch[0]), out, self._scratch)

    def follow_order(self, row_order: np.ndarray, epoch: np.ndarray, out: np.ndarray) -> None:
        """out = row_order[epoch]: the rows of an order that was laid down beforehand, int32 ``[epochs, P, n]``."""
        np.copyto(out, row_order[int(epoch[0])])

    def row_shares(self, weights: np.ndarray, rows: np.ndarray, batch_size: int, out: np.ndarray) -> None:
        """out[p, i] = weights[rows[p, i]] / the sum of them over the row's batch; 0 where that sum is 0.

        weights: ``[N]``, none negative. rows: int32 ``[P, n]``, of which each batch takes the next batch_size. out:
        ``[P, n]``.
        """
        for start in range(0, rows.shape[1], batch_size):
            own = weights[rows[:, start : start + batch_size]]
            total = own.sum(axis=1, keepdims=True)
            np.divide(own, np.where(total > 0, total, 1), out=out[:, start : start + batch_size])

    def batch_sums(
        self,
        row_loss: np.ndarray,
        hits: np.ndarray,
        batch_size: int,
        epoch: np.ndarray,
        loss_sums: np.ndarray,
        hit_counts: np.ndarray,
        weights: RowWeights | None = None,
    ) -> None:
        """Sums of row losses and hits, batch by batch, into this epoch's place in the history.

        row_loss: ``[P, n]``. hits: uint8 ``[P, n]``. loss_sums: ``[epochs, P, S]`` and hit_counts: int32 ``[epochs,
        P, S]``, where S = ceil(n / batch_size). weights: by which each loss (not hit) is multiplied, and whose own sums
        are taken as well; None for none.
        """
        starts = np.arange(0, row_loss.shape[1], batch_size)
        if weights is not None:
            own = weights.weights[weights.rows]
            np.add.reduceat(own, starts, axis=1, out=weights.sums[int(epoch[0])])
            row_loss = row_loss * own
        np.add.reduceat(row_loss, starts, axis=1, out=loss_sums[int(epoch[0])])
        np.add.reduceat(hits, starts, axis=1, dtype=np.int32, out=hit_counts[int(epoch[0])])

    def advance(self, epoch: np.ndarray) -> None:
        """The next epoch begins."""
        epoch += 1

    # What the operations share

    def _activate(self, z: np.ndarray, bias: np.ndarray, activation: str) -> None:
        """z = activation(z + bias)."""
        np.add(z, bias[:, None, :], out=z)
        ACTIVATIONS[activation][0](z)

    def _times_derivative(self, gradient: np.ndarray, a: np.ndarray, activation: str) -> None:
        """gradient *= activation'(a)."""
        ACTIVATIONS[activation][1](gradient, a, self._scratch("derivative", a.shape, a.dtype))

    def _sum_over_rows(self, dz: np.ndarray, dbias: np.ndarray) -> None:
        np.add.reduce(dz, axis=1, out=dbias)

    def _input(self, x: np.ndarray | Batch, dropout: Dropout | None, step: Step | None) -> np.ndarray:
        if isinstance(x, Batch):
            x = x.x
        if dropout is None:
            return x
        return np.multiply(
            x, self._dropout_factor(dropout, step, x.shape), out=self._scratch("dropped", x.shape, x.dtype)
        )

    def _dropout_factor(self, dropout: Dropout, step: Step, shape: tuple[int, ...]) -> np.ndarray:
        """0 where an element is dropped, 1 / (1 - rate) where it stays."""
        hashes = counter_rng.dropout_hash(dropout.seeds, step.number, dropout.layer, *shape[1:])
        factor = self._scratch("factor", shape, self.dtype)
        np.greater_equal(hashes, dropout.thresholds[:, None, None], out=factor, casting="unsafe")
        return np.multiply(factor, dropout.scales[:, None, None], out=factor)

    def _decayed_gradient(self, state: OptimizerState) -> np.ndarray:
        """The gradient, with l2 * w added where there is L2 weight decay."""
        if state.l2 is not None:
            t = self._scratch("update", state.gradient.shape, state.gradient.dtype)
            np.multiply(state.parameters, state.l2[:, None], out=t)
            np.add(state.gradient, t, out=state.gradient)
        return state.gradient

    def _factors(self, state: OptimizerState, step: Step) -> tuple[Any, Any]:
        """This step's factors before the direction and of sqrt(v), each ``[P, 1]``.

        For one network they are numbers: NumPy multiplies by a number faster than by a column of one.
        """
        table = state.step_table[:, step.number]
        if len(table) == 1:
            before, root_factor, _ = table[0]
            return before * state.lr_scale[0], root_factor
        return table[:, 0:1] * state.lr_scale[:, None], table[:, 1:2]

    def _apply(self, state: OptimizerState, step: Step, direction: np.ndarray, before: Any) -> None:
        """w = (1 - decay) w - before * direction."""
        if state.decoupled:
            decay = state.step_table[:, step.number, 2:3] * state.lr_scale[:, None]
            np.multiply(state.parameters, 1 - decay, out=state.parameters)
        t = self._scratch("update", direction.shape, direction.dtype)
        np.multiply(direction, before, out=t)
        np.subtract(state.parameters, t, out=state.parameters)


def _blas_threads_at_most(threads: int) -> Any:
    controller = _threadpools()
    if all(pool["num_threads"] <= threads for pool in controller.info()):
        return nullcontext()
    return controller.limit(limits=threads, user_api="blas")


@cache
def _threadpools() -> ThreadpoolController:
    """BLAS's thread pools. Found once: the search reads the process's list of libraries."""
    return ThreadpoolController().select(user_api="blas")
