"""Training: a run is laid out as tables and a fixed list of calls up front, then replayed once an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpunet.augmentation import Augmentation, image_keys, square_side, warp_table
from gpunet.errors import InputError
from gpunet.history import Curve, EpochReport, History, epoch_report
from gpunet.network import MLP, PREDICTION_BATCH, Launch, Workspace, label_type
from gpunet.ops import Batch, RowWeights, Step, Warp
from gpunet.optimizers import Adam, Optimizer, OptimizerMemory, optimizer_state
from gpunet.sample_weights import checked_weights, weighty_rows
from gpunet.weight_penalty import check_penalty

DIVERGED_ADVICE = "use a smaller learning rate, and check that the inputs are scaled to about 0..1"
SHUFFLES = ("each epoch", "once", "never")
SECONDS_UNSEEN = 0.5  # how long a device may train before somebody looks whether the losses are still numbers


class TrainingDiverged(InputError):
    """The loss became NaN or infinite."""


def train(
    network: MLP,
    images: np.ndarray,
    labels: np.ndarray,
    train_rows: np.ndarray | None = None,
    validation_rows: np.ndarray | None = None,
    *,
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 64,
    shuffle: str | np.ndarray = "each epoch",
    sample_weight: np.ndarray | None = None,
    augmentation: Augmentation | None = None,
    weight_penalty: float = 0.0,
    memory: OptimizerMemory | None = None,
    evaluate_training: bool = False,
    stop_if_one_diverges: bool = True,
    on_epoch: Callable[[EpochReport], bool | None] | None = None,
) -> History:
    """Train a network (all P of a population, side by side) by minibatch gradient descent; it changes in place.

    images: uint8 ``[N, I]``, of which 255 counts as 1, or float, taken as they are.
    labels: integers ``[N]``, class indices; for the squared error also targets, float ``[N, O]``, where the backend
    `takes_targets`: accuracies are then 0.
    train_rows: rows to train on, ``[n]`` or ``[P, n]`` (default: all).
    validation_rows: rows, ``[m]`` or ``[P, m]``, whose loss is taken after each epoch.
    optimizer: `Adam(...)` (the default) or `SGD(...)`.
    batch_size: one that exceeds n means one batch; the last batch may be short, its gradient is the mean over its rows.
    shuffle: "each epoch", "once" (one random order for all epochs), "never", or an explicit order of rows, integers
    ``[epochs, n]`` or ``[epochs, P, n]``. Random orders follow from the networks' seeds.
    sample_weight: what each image counts in the loss, numbers ``[N]``, none negative: a batch's loss is sum_b w_b l_b /
    sum_b w_b, and so are its gradient and all losses of the history; accuracies count every row once. Training rows of
    weight zero are left out before there are batches; an explicit order must leave them out too. A batch of one row has
    the same gradient whatever its weight.
    augmentation: train on images that are changed anew in each epoch (uint8 and square ones); losses after an epoch
    are those of the images as they are.
    weight_penalty: scikit-learn's alpha: weight_penalty / 2 * (sum of squared weights, biases excluded) / (the batch's
    rows) joins the loss of a batch whose gradient is taken; the history's losses are without it.
    memory: the optimizer's, which goes on from there and leaves in it what it remembers in the end: handed from run to
    run, it makes them one. Orders of rows and dropout begin anew, from the networks' seeds.
    evaluate_training: take the loss of the training rows after each epoch as well.
    stop_if_one_diverges: False lets the others of a population go on, as long as there is one.
    on_epoch: called after each epoch; only this makes the host wait for a device in each. True ends the run.

    Ctrl-C ends the run cleanly after the operation at hand: what was learnt so far stays.
    Raises `InputError` for unusable arguments and `TrainingDiverged` when a loss is no longer finite.
    """
    rows = train_rows, validation_rows
    run = _Run(
        network, images, labels, *rows, epochs, batch_size, shuffle, sample_weight, augmentation, evaluate_training
    )
    run.must_be_finite = np.all if stop_if_one_diverges else np.any
    largest_product = network.largest_product(max(run.batch_size, run.largest_evaluation))
    launches = run.launches(optimizer or Adam(), weight_penalty, memory)
    replay = network.ops.capture(launches, largest_product, calls=epochs)
    finished, checked, interrupted = 0, 0, False
    began = time.perf_counter()
    next_look = began + SECONDS_UNSEEN
    try:
        for epoch in range(epochs):
            replay()
            finished = epoch + 1
            if on_epoch is not None or finished == epochs or time.perf_counter() > next_look:
                run.check_finite(checked, finished)
                checked, next_look = finished, time.perf_counter() + SECONDS_UNSEEN
            if on_epoch is not None and on_epoch(run.report(epoch)):
                break
    except KeyboardInterrupt:
        interrupted = True
    run.check_finite(checked, finished)
    run.check_parameters()
    if memory is not None:
        memory.go_on(run.ops, run.state, finished * len(run.training.slices))
    return run.history(finished, time.perf_counter() - began, interrupted)


@dataclass
class _Measured:
    """Rows whose losses are taken once an epoch, and where their sums go."""

    rows: Any  # int32 [P, n]
    batch_size: int
    row_loss: Any  # [P, n]
    hits: Any  # uint8 [P, n]
    loss_sums: Any  # [epochs, P, S]
    hit_counts: Any  # int32 [epochs, P, S]
    weights: RowWeights | None  # by which the losses are multiplied before they are summed

    @property
    def slices(self) -> list[slice]:
        n = self.rows.shape[1]
        return [slice(start, min(start + self.batch_size, n)) for start in range(0, n, self.batch_size)]

    @property
    def counts(self) -> np.ndarray:
        """Rows in each batch, int64 ``[S]``."""
        return np.array([part.stop - part.start for part in self.slices])


class _Run:
    """Everything a run needs, laid where the backend computes."""

    def __init__(
        self,
        network: MLP,
        images: np.ndarray,
        labels: np.ndarray,
        train_rows: np.ndarray | None,
        validation_rows: np.ndarray | None,
        epochs: int,
        batch_size: int,
        shuffle: str | np.ndarray,
        sample_weight: np.ndarray | None,
        augmentation: Augmentation | None,
        evaluate_training: bool,
    ) -> None:
        _check_data(network, images, labels)
        check_counts(epochs=epochs, batch_size=batch_size)
        self.network, self.ops, self.epochs = network, network.ops, epochs
        self.must_be_finite: Callable[[np.ndarray], Any] = np.all  # of the networks: all, or any
        self.images, self.scale = self.ops.images(images)
        labels = np.asarray(labels)
        self.labels = self.ops.asarray(labels, label_type(labels))
        self.epoch = self.ops.zeros(1, np.int32)
        split = self._rows(np.arange(len(images)) if train_rows is None else train_rows, "train_rows")
        self.weights, self.host_weights = None, None  # [N], or None where every row counts alike
        if sample_weight is not None:
            self.host_weights = checked_weights(sample_weight, len(images), self.ops.dtype)
            self.weights = self.ops.asarray(self.host_weights)
            split = weighty_rows(split, self.host_weights)
        self.split = self.ops.asarray(split, np.int32)
        self.batch_size = min(batch_size, split.shape[1])
        # A row alone counts all of its batch, whatever its weight.
        self.shares = None if sample_weight is None or self.batch_size == 1 else self.ops.zeros(split.shape)
        self.training = self._measured(split, self.batch_size)
        self.first_launches = self._row_launches(shuffle)
        self.shown = self.images  # in training
        if augmentation is not None:
            self.shown = self.ops.zeros(self.images.shape, self.images.dtype)
            # An explicit order may name rows beyond those to train on.
            warp = self._warp(augmentation, images, np.unique(split if isinstance(shuffle, str) else shuffle))
            self.first_launches.append(partial(self.ops.augment, self.images, warp, self.epoch, self.shown))
        self.after = self._measured(split, PREDICTION_BATCH) if evaluate_training else None
        self.validation = None
        if validation_rows is not None:
            rows = self._rows(validation_rows, "validation_rows")
            if self.host_weights is not None and not self.host_weights[rows].any(axis=1).all():
                raise InputError("sample_weight is zero for every validation row: give some a positive weight")
            self.validation = self._measured(rows, PREDICTION_BATCH)
        self.largest_evaluation = max(
            (min(m.batch_size, m.rows.shape[1]) for m in (self.after, self.validation) if m), default=0
        )

    def launches(
        self, optimizer: Optimizer, weight_penalty: float = 0.0, memory: OptimizerMemory | None = None
    ) -> list[Launch]:
        """The calls of one epoch."""
        check_penalty(weight_penalty)
        ops, network = self.ops, self.network
        steps = len(self.training.slices)
        state = self.state = optimizer_state(
            ops, optimizer, network.layout, network.parameters, network.gradient, self.epochs * steps, memory
        )
        launches = list(self.first_launches)
        if self.shares is not None:
            launches.append(partial(ops.row_shares, self.weights, self.training.rows, self.batch_size, self.shares))
        works: dict[tuple[int, bool], Workspace] = {}
        if not weight_penalty and network.learns_by_row(self.batch_size, state):
            m = self.training
            batch = Batch(self.shown, self.labels, m.rows, self.scale, None, None)
            launches.append(network.row_by_row_launch(batch, m.row_loss, m.hits, state, Step(self.epoch, 0, steps)))
        else:
            for index, part in enumerate(self.training.slices):
                launches += network.training_launches(
                    *self._batch(self.training, part, works, gradients=True),
                    state,
                    Step(self.epoch, index, steps),
                    weight_penalty / (part.stop - part.start),
                )
        for measured in (self.after, self.validation):
            for part in measured.slices if measured else ():
                launches += network.evaluation_launches(*self._batch(measured, part, works, gradients=False))
        for m in (self.training, self.after, self.validation):
            if m:
                sums = m.loss_sums, m.hit_counts, m.weights
                launches.append(partial(ops.batch_sums, m.row_loss, m.hits, m.batch_size, self.epoch, *sums))
        launches.append(partial(ops.advance, self.epoch))
        return launches

    def check_finite(self, first: int, end: int) -> None:
        """Raise `TrainingDiverged` unless the losses of these epochs are numbers. Waits for the device."""
        losses = self.ops.to_host(self.training.loss_sums[first:end])
        if not self.must_be_finite(np.isfinite(losses).all(axis=(0, 2))):
            step_of_run = np.argwhere(~np.isfinite(losses))[:, [0, 2, 1]]  # epoch, step, network
            epoch, step, network = min(map(tuple, step_of_run))
            which = "" if self.network.single else f" of network {network}"
            raise TrainingDiverged(
                f"the loss{which} was no finite number any more in epoch {first + epoch + 1}, step {step + 1}: "
                + DIVERGED_ADVICE
            )

    def check_parameters(self) -> None:
        """The last update of all is seen by no loss."""
        if not self.must_be_finite(np.isfinite(self.ops.to_host(self.network.parameters)).all(axis=1)):
            raise TrainingDiverged(f"the last step left weights that are no finite numbers: {DIVERGED_ADVICE}")

    def report(self, epoch: int) -> EpochReport:
        """The figures of the epoch that has just ended, counted from 0."""
        return epoch_report(epoch, self.epochs, self._curves(slice(epoch, epoch + 1)), column=0)

    def history(self, epochs: int, seconds: float, interrupted: bool) -> History:
        """The course of the first epochs."""
        finished = slice(epochs)
        train, train_after, validation = self._curves(finished)
        loss, hits, weights = self._sums(self.training, finished)
        counts = self.training.counts
        return History(train, train_after, validation, loss / weights, hits / counts, epochs, seconds, interrupted)

    def _curves(self, epochs: slice) -> tuple[Curve, Curve | None, Curve | None]:
        train, after, validation = (
            None if measured is None else _curve(*self._sums(measured, epochs), measured.counts)
            for measured in (self.training, self.after, self.validation)
        )
        return train, after, validation

    def _sums(self, measured: _Measured, epochs: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sums of losses, hits and weights (1 of each row where there are none) of these epochs: float64 ``[P, epochs,
        S]``."""

        def on_host(sums: Any) -> np.ndarray:
            return self.ops.to_host(sums[epochs]).astype(np.float64).swapaxes(0, 1)

        loss, hits = on_host(measured.loss_sums), on_host(measured.hit_counts)
        if measured.weights is None:
            return loss, hits, np.broadcast_to(measured.counts.astype(np.float64), loss.shape)
        return loss, hits, on_host(measured.weights.sums)

    def _rows(self, rows: np.ndarray, name: str) -> np.ndarray:
        return checked_rows(rows, name, self.network.networks, len(self.images))

    def _measured(self, rows: np.ndarray, batch_size: int) -> _Measured:
        ops, (networks, n) = self.ops, rows.shape
        sums = (self.epochs, networks, -(-n // batch_size))
        rows = ops.asarray(rows, np.int32)
        return _Measured(
            rows,
            batch_size,
            ops.zeros((networks, n)),
            ops.zeros((networks, n), np.uint8),
            ops.zeros(sums),
            ops.zeros(sums, np.int32),
            None if self.weights is None else RowWeights(self.weights, rows, ops.zeros(sums)),
        )

    def _row_launches(self, shuffle: str | np.ndarray) -> list[Launch]:
        """What fills the order of rows at the beginning of an epoch. A fixed order is filled in here."""
        ops, rows = self.ops, self.training.rows
        if not isinstance(shuffle, str):
            order = np.asarray(shuffle)
            networks, n = rows.shape
            if order.shape not in ((self.epochs, n), (self.epochs, networks, n)):
                raise InputError(
                    f"an explicit order of rows must have the shape [{self.epochs}, {n}] or "
                    f"[{self.epochs}, {networks}, {n}], not {list(order.shape)}"
                )
            order = np.stack([self._rows(each, "the order of rows") for each in order])
            if self.host_weights is not None and not self.host_weights[order].all():
                raise InputError("the order of rows has some whose sample_weight is zero: leave them out")
            return [partial(ops.follow_order, ops.asarray(order, np.int32), self.epoch, rows)]
        if shuffle not in SHUFFLES:
            raise InputError(f"shuffle {shuffle!r} is not known: use one of {', '.join(SHUFFLES)}, or an array of rows")
        permute = partial(ops.shuffle, self.split, ops.asarray(self.network.seeds, np.uint32), self.epoch, rows)
        if shuffle == "each epoch":
            return [permute]
        if shuffle == "once":
            permute()
        return []

    def _warp(self, augmentation: Augmentation, images: np.ndarray, rows: np.ndarray) -> Warp:
        """How these images, all that any of the networks trains on, are changed."""
        ops, side = self.ops, square_side(images)
        table, keys = warp_table(augmentation), image_keys(images[rows])
        return Warp(
            ops.asarray(table, np.int32),
            ops.asarray(keys, np.uint32),
            ops.asarray(rows, np.int32),
            side,
            augmentation.seed,
        )

    def _batch(
        self, measured: _Measured, part: slice, works: dict[tuple[int, bool], Workspace], *, gradients: bool
    ) -> tuple[Batch, Workspace, Any, Any]:
        """The batch, and where its pass writes; passes of the same size share their work arrays."""
        key = (part.stop - part.start, gradients)
        if key not in works:
            works[key] = Workspace(self.network, key[0], gradients=gradients, targets=self.labels.ndim == 2)
        work = works[key]
        images = self.shown if measured is self.training else self.images
        shares = self.shares[:, part] if gradients and self.shares is not None else None
        batch = Batch(images, self.labels, measured.rows[:, part], self.scale, work.x, work.y, shares)
        return batch, work, measured.row_loss[:, part], measured.hits[:, part]


def _curve(loss: np.ndarray, hits: np.ndarray, weights: np.ndarray, counts: np.ndarray) -> Curve:
    return Curve(loss.sum(axis=-1) / weights.sum(axis=-1), hits.sum(axis=-1) / counts.sum())


def _check_data(network: MLP, images: np.ndarray, labels: np.ndarray) -> None:
    network.check_images(images)
    network.check_labels(labels, len(images))


def checked_rows(rows: np.ndarray, name: str, networks: int, images: int) -> np.ndarray:
    """Rows ``[n]`` or ``[P, n]`` of so many images as int32 ``[P, n]``, still on the host.

    Raises `InputError`, with their name, unless they are.
    """
    rows = np.asarray(rows)
    if rows.dtype.kind not in "iu" or rows.size == 0 or rows.ndim == 0 or rows.shape[:-1] not in ((), (networks,)):
        raise InputError(f"{name} must be whole numbers of the shape [n] or [{networks}, n] with n > 0")
    if rows.min() < 0 or rows.max() >= images:
        raise InputError(f"{name} must lie within the {images} images, from 0 to {images - 1}")
    return np.broadcast_to(rows, (networks, rows.shape[-1])).astype(np.int32)


def check_counts(**counts: int) -> None:
    """Raise `InputError`, by the name of the one at fault, unless these are positive whole numbers."""
    for name, count in counts.items():
        if not isinstance(count, (int, np.integer)) or count <= 0:
            raise InputError(f"{name} must be a positive whole number, not {count}")
