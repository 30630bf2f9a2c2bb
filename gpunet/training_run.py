"""A training run laid out: its arrays where the backend computes, and the fixed list of calls that is an epoch, which
`gpunet.training.train` replays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpunet.augmentation import Augmentation, image_keys, square_side, warp_table
from gpunet.clipping import check_clip_norm
from gpunet.errors import InputError
from gpunet.history import Curve, EpochReport, History, epoch_report, held
from gpunet.network import MLP, PREDICTION_BATCH, Launch, Workspace, label_type
from gpunet.ops import Batch, RowWeights, Step, Warp
from gpunet.optimizers import Optimizer, OptimizerMemory, learning_rates, optimizer_state
from gpunet.pacing import Pace, keep_best
from gpunet.resume import Snapshot
from gpunet.sample_weights import checked_weights, weighty_rows
from gpunet.schedules import Schedule, schedule_factors
from gpunet.weight_penalty import check_penalty

DIVERGED_ADVICE = "use a smaller learning rate, and check that the inputs are scaled to about 0..1"
SHUFFLES = ("each epoch", "once", "never")


class TrainingDiverged(InputError):
    """The loss became NaN or infinite."""


@dataclass
class Measured:
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


class TrainingRun:
    """Everything a run needs, laid where the backend computes. For the arguments see `gpunet.training.train`."""

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
        self.pace: Pace | None = None
        self.best: Any = None  # [P, length], the weights of each network's best epoch
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
            if not isinstance(images, np.ndarray):
                raise InputError("augmentation changes images in memory, these are in a file: np.asarray reads them")
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
        self,
        optimizer: Optimizer,
        weight_penalty: float = 0.0,
        memory: OptimizerMemory | None = None,
        schedule: Sequence[Schedule] = (),
        clip_norm: float | None = None,
    ) -> list[Launch]:
        """The calls of one epoch."""
        check_penalty(weight_penalty)
        check_clip_norm(clip_norm)
        ops, network = self.ops, self.network
        steps = len(self.training.slices)
        factors = schedule_factors(schedule, self.epochs, steps)
        arrays = network.parameters, network.gradient
        state = self.state = optimizer_state(
            ops, optimizer, network.layout, *arrays, self.epochs * steps, memory, factors
        )
        self.learning_rates = learning_rates(optimizer, network.networks)[:, None] * factors[steps - 1 :: steps]
        launches = list(self.first_launches)
        if self.shares is not None:
            launches.append(partial(ops.row_shares, self.weights, self.training.rows, self.batch_size, self.shares))
        works: dict[tuple[int, bool], Workspace] = {}
        if not weight_penalty and clip_norm is None and network.learns_by_row(self.batch_size, state):
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
                    clip_norm,
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

    def follow(self, pace: Pace, *, restores: bool) -> None:
        """Let the networks go at this pace. restores: whether they are given their best weights in the end."""
        self.pace = pace
        if restores:
            self.best = self.ops.zeros(self.network.parameters.shape)

    @property
    def has_stopped(self) -> bool:
        """Whether none of the networks learns any more."""
        return self.pace is not None and bool(self.pace.stopped.all())

    def keep_pace(self, epochs: int, *, again: bool = False) -> None:
        """Slow down or stop networks by what they have reached at the end of so many epochs. Waits for the device.

        again: these epochs have all been seen before, and their best weights are known.
        """
        pace = self.pace
        if pace is None or pace.epochs == epochs:
            return
        for epoch in range(pace.epochs, epochs):
            loss, _, weights = self._sums(self.validation, slice(epoch, epoch + 1))
            improved = pace.epoch_ended(loss[:, 0].sum(axis=1) / weights[:, 0].sum(axis=1))
            if self.best is not None and not again:
                keep_best(improved, self.network.parameters, self.best)
        self.state.lr_scale[...] = self.ops.asarray(pace.lr_scale)

    def restore_best(self) -> None:
        """Give each network the weights of its best epoch, where there is one."""
        if self.best is not None:
            keep_best(self.pace.best_epoch > 0, self.best, self.network.parameters)

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

    def identity(self, memory: OptimizerMemory | None) -> dict[str, Any]:
        """What decides the outcome besides the arguments of `train`."""
        names = ("sizes", "activation", "loss", "dropout", "seeds")
        steps_before = 0 if memory is None else memory.steps
        own = {"type of numbers": np.dtype(self.ops.dtype).str, "optimizer's memory": steps_before}
        return own | {name: getattr(self.network, name) for name in names}

    def snapshot(self, epochs: int, seconds: float) -> Snapshot:
        """The run as it is now that so many epochs have ended. Waits for the device."""
        return Snapshot(epochs, seconds, {name: self.ops.to_host(array) for name, array in self._kept(epochs).items()})

    def go_on_from(self, snapshot: Snapshot) -> None:
        """Set everything to what it was at the end of an epoch. Raises `InputError` if it does not fit."""
        kept = self._kept(snapshot.epoch)
        if {name: array.shape for name, array in snapshot.arrays.items()} != {n: a.shape for n, a in kept.items()}:
            raise InputError(f"the checkpoint of epoch {snapshot.epoch} holds other arrays than this run: begin anew")
        for name, array in kept.items():
            array[...] = self.ops.asarray(snapshot.arrays[name], array.dtype)
        self.keep_pace(snapshot.epoch, again=True)
        self.epoch[...] = self.ops.asarray([snapshot.epoch], np.int32)

    def _kept(self, epochs: int) -> dict[str, Any]:
        """The arrays on which epochs to come depend, and those of which the history is made, as far as it goes."""
        state = self.state
        kept = {"parameters": state.parameters, "m": state.m, "v": state.v, "lr_scale": state.lr_scale}
        kept["best"] = self.best  # the rest of its pace follows from the validation losses
        for name, measured in (("training", self.training), ("after", self.after), ("validation", self.validation)):
            if measured is not None:
                kept |= {f"{name}.loss": measured.loss_sums[:epochs], f"{name}.hits": measured.hit_counts[:epochs]}
                kept[f"{name}.weights"] = measured.weights and measured.weights.sums[:epochs]
        return {name: array for name, array in kept.items() if array is not None}

    def report(self, epoch: int) -> EpochReport:
        """The figures of the epoch that has just ended, counted from 0."""
        # Where a network has stopped, figures of its last epoch are among those to be shown.
        first = 0 if self.pace is not None and self.pace.stopped.any() else epoch
        seen = slice(first, epoch + 1)
        rates = self._learning_rates(epoch + 1)[:, seen]
        report = epoch_report(epoch, self.epochs, self._curves(seen), column=epoch - first, learning_rate=rates)
        return report._replace(has_stopped=self.has_stopped)

    def history(self, epochs: int, seconds: float, interrupted: bool) -> History:
        """The course of the first epochs."""
        finished = slice(epochs)
        train, train_after, validation = self._curves(finished)
        loss, hits, weights = self._sums(self.training, finished)
        counts = self.training.counts
        steps = [self._held(figures) for figures in (loss / weights, hits / counts)]
        return History(
            train,
            train_after,
            validation,
            *steps,
            epochs,
            seconds,
            interrupted,
            self._learning_rates(epochs),
            *self._endings(epochs),
        )

    def _endings(self, epochs: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """stopped_after and weights_of of a `History`; a plateau alone ends nothing."""
        pace = self.pace
        if pace is None or not pace.stops:
            return None, None
        last = np.where(pace.stopped, pace.stopped_after, epochs)
        restored = self.best is not None and pace.best_epoch > 0
        return pace.stopped_after.copy(), np.where(restored, pace.best_epoch, last)

    def _learning_rates(self, epochs: int) -> np.ndarray:
        """Of the last steps of the first epochs: float64 ``[P, epochs]``."""
        rates = self.learning_rates[:, :epochs]
        return rates if self.pace is None else rates * np.reshape(self.pace.scales, rates.T.shape).T

    def _held(self, figures: np.ndarray) -> np.ndarray:
        """Figures ``[P, epochs, ...]`` from the first epoch on, without what was measured of networks at a halt."""
        return figures if self.pace is None else held(figures, self.pace.stopped_after)

    def _curves(self, epochs: slice) -> tuple[Curve, Curve | None, Curve | None]:
        curves = []
        for measured in (self.training, self.after, self.validation):
            curve = None if measured is None else _curve(*self._sums(measured, epochs), measured.counts)
            if curve is not None and not epochs.start:
                curve = Curve(self._held(curve.loss), self._held(curve.accuracy))
            curves.append(curve)
        return tuple(curves)

    def _sums(self, measured: Measured, epochs: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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

    def _measured(self, rows: np.ndarray, batch_size: int) -> Measured:
        ops, (networks, n) = self.ops, rows.shape
        sums = (self.epochs, networks, -(-n // batch_size))
        rows = ops.asarray(rows, np.int32)
        return Measured(
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
        self, measured: Measured, part: slice, works: dict[tuple[int, bool], Workspace], *, gradients: bool
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
