"""Many networks of the same sizes, trained by one call: as many side by side as memory and caches hold well, one such
chunk after another. How they are cut into chunks decides how long it takes, and not one bit of what comes out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpunet.augmentation import Augmentation
from gpunet.errors import InputError
from gpunet.evaluation import PopulationEvaluation, evaluate_networks
from gpunet.footprint import Footprint, shared_bytes, training_footprint
from gpunet.history import EpochReport, History, missing_history, side_by_side
from gpunet.network import MLP, check_dropout, check_seeds
from gpunet.ops import NumpyOps
from gpunet.ops.host_memory import available_bytes
from gpunet.optimizers import Adam, Optimizer, step_table
from gpunet.pacing import EarlyStopping
from gpunet.resume import Checkpoints
from gpunet.sample_weights import checked_weights, weighty_rows
from gpunet.schedules import Schedule
from gpunet.training import TrainingDiverged, train
from gpunet.training_run import DIVERGED_ADVICE, check_counts, checked_rows

MEMORY_SHARE = 0.5  # of what is free: the rest is for other programs, and for what an estimate does not know

logger = logging.getLogger(__name__)


class Population:
    """P networks of the same sizes whose seeds differ, and whatever else is given one a network.

    sizes, activation, loss, init, ops: as for `MLP`.
    seeds: one a network.
    dropout: one number or one a network.
    at_a_time: the most networks to train side by side; by default as many as memory and caches suggest.

    What `train` leaves: parameters ``[P, n_params]`` on the host; trained and diverged, bool ``[P]``; chunks, the
    ranges of networks that were trained side by side; note, that memory allowed no more of them, or None.

    Example:

    >>> images, labels = np.eye(4, dtype=np.float32), np.arange(4)
    >>> population = Population((4, 8, 4), seeds=range(3))
    >>> history = population.train(images, labels, optimizer=Adam(0.05), epochs=60)
    >>> history.train.loss.shape  # networks, epochs
    (3, 60)
    >>> best = population.member(history.train.loss[:, -1].argmin())
    >>> best.predict(images).tolist()
    [0, 1, 2, 3]

    Raises `InputError` for arguments out of range, and for more networks than memory holds.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        seeds: Sequence[int] = (0,),
        *,
        loss: str | None = None,
        dropout: float | Sequence[float] = 0.0,
        init: str = "pytorch",
        ops: Any = None,
        at_a_time: int | None = None,
    ) -> None:
        if at_a_time is not None and at_a_time < 1:
            raise InputError(f"at_a_time must be a positive whole number, not {at_a_time}")
        self.ops = ops or NumpyOps()
        self._options = {"sizes": sizes, "activation": activation, "loss": loss, "init": init, "ops": self.ops}
        self._at_a_time = at_a_time
        self.layout = MLP(**self._options).layout
        _check_memory(len(seeds), self.layout.length * self.ops.dtype.itemsize)
        self.seeds, self.dropout = tuple(seeds), dropout
        check_seeds(self.seeds)
        check_dropout(dropout, len(self))
        self.parameters = np.zeros((len(self), self.layout.length), self.ops.dtype)
        self.trained, self.diverged = np.zeros((2, len(self)), bool)
        self.chunks: tuple[range, ...] = (range(len(self)),)
        self.note: str | None = None

    def __len__(self) -> int:
        """P, the number of networks."""
        return len(self.seeds)

    @property
    def sound(self) -> np.ndarray:
        """Which networks are trained and have not diverged: bool ``[P]``."""
        return self.trained & ~self.diverged

    def train(
        self,
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
        clip_norm: float | None = None,
        schedule: Schedule | Sequence[Schedule] | None = None,
        early_stopping: EarlyStopping | None = None,
        evaluate_training: bool = False,
        on_epoch: Callable[[EpochReport, range], None] | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> History:
        """Train all networks; each ends bit for bit as it would alone.

        As `gpunet.train`, whose arguments it takes: rows ``[n]`` or ``[P, n]``; learning rate and weight decay are one
        number or one a network. on_epoch: called after each epoch of each chunk with the means over its networks, and
        their range. checkpoints: each chunk has its own; the same call made again skips those that are done and goes
        on in the next (cut otherwise, for want of memory, chunks begin anew).

        A network that diverges ends none of the others. Ctrl-C keeps the networks that are done, and if there are none
        yet, what those at hand have learnt. The figures of networks that are not reached are NaN (see `sound`).
        Raises `InputError` as `gpunet.train` does, and `TrainingDiverged` if no network is sound in the end.
        """
        optimizer = optimizer or Adam()
        step_table(optimizer, len(self), steps=0)  # refuses rates that are not one a network
        check_counts(epochs=epochs, batch_size=batch_size)
        train_rows = np.arange(len(images)) if train_rows is None else train_rows
        for name, rows in (("train_rows", train_rows), ("validation_rows", validation_rows)):
            self._check_rows(name, rows)
        if sample_weight is not None:
            weights = checked_weights(sample_weight, len(images), self.ops.dtype)
            train_rows = weighty_rows(checked_rows(train_rows, "train_rows", len(self), len(images)), weights)
        if np.ndim(shuffle) == 3 and np.shape(shuffle)[1] != len(self):
            raise InputError(
                f"an explicit order of rows must have the shape [{epochs}, n] or [{epochs}, {len(self)}, n], "
                f"not {list(np.shape(shuffle))}"
            )
        footprint = training_footprint(
            self.ops,
            self.layout,
            train_rows=_last_axis(train_rows),
            validation_rows=_last_axis(validation_rows),
            epochs=epochs,
            batch_size=batch_size,
            evaluate_training=evaluate_training,
            weighted=sample_weight is not None,
            keeps_best=early_stopping is not None and early_stopping.restore_best,
        )
        self.chunks, self.note = self._cut(footprint, shared_bytes(images, augmentation))
        if self.note is not None:
            logger.warning(self.note)

        def train_chunk(chunk: range, network: MLP) -> History:
            return train(
                network,
                images,
                labels,
                _part(train_rows, chunk, ndim=2),
                _part(validation_rows, chunk, ndim=2),
                optimizer=_optimizer_of(optimizer, chunk),
                epochs=epochs,
                batch_size=batch_size,
                shuffle=_order_of(shuffle, chunk),
                sample_weight=sample_weight,
                augmentation=augmentation,
                clip_norm=clip_norm,
                schedule=schedule,
                early_stopping=early_stopping,
                evaluate_training=evaluate_training,
                stop_if_one_diverges=False,
                on_epoch=on_epoch and (lambda report: on_epoch(report, chunk) and None),  # ends no chunk
                checkpoints=checkpoints and _part_of(checkpoints, chunk, len(self)),
            )

        return self._put_together(*self._train_chunks(train_chunk))

    def member(self, index: int) -> MLP:
        """One of the networks by itself, to predict with or to save. Raises `InputError` if it has diverged."""
        index = range(len(self))[index]
        if self.diverged[index]:
            raise InputError(f"network {index} (seed {self.seeds[index]}) has diverged: pick another")
        dropout = self.dropout if np.ndim(self.dropout) == 0 else self.dropout[index]
        network = MLP(seed=self.seeds[index], dropout=dropout, **self._options)
        if self.trained[index]:
            network.parameters[:] = self.ops.asarray(self.parameters[index : index + 1])
        return network

    def evaluate(
        self, images: np.ndarray, labels: np.ndarray, rows: np.ndarray, class_names: Sequence[str]
    ) -> PopulationEvaluation:
        """Evaluate every network that is `sound`, on the same rows ``[m]`` or each on its own of ``[P, m]``."""
        self._check_rows("rows", rows)
        rows = np.broadcast_to(rows, (len(self), _last_axis(rows)))
        parts = []
        for chunk in self.chunks:
            own, sound = _part(rows, chunk, ndim=2), _part(self.sound, chunk, ndim=1)
            if sound.any():
                part = evaluate_networks(self._network(chunk), images, labels, own, len(class_names), sound)
            else:
                part = PopulationEvaluation.missing(*own.shape, len(class_names))
            parts.append(part)
        return PopulationEvaluation.side_by_side(parts)

    def _network(self, chunk: range) -> MLP:
        """The networks of a chunk side by side, with what they have learnt so far."""
        seeds, dropout = _part(self.seeds, chunk, ndim=1), _part(self.dropout, chunk, ndim=1)
        network = MLP(seed=seeds, dropout=dropout, **self._options)
        sound = _part(self.sound, chunk, ndim=1)
        if sound.any():
            initial = self.ops.to_host(network.parameters)
            values = np.where(sound[:, None], _part(self.parameters, chunk, ndim=2), initial)
            network.parameters[:] = self.ops.asarray(values)
        return network

    def _cut(self, footprint: Footprint, shared: int) -> tuple[tuple[range, ...], str | None]:
        """Chunks as equal as can be, none larger than memory holds and caches suggest; a note if memory decided."""
        networks, free = len(self), self.ops.available_bytes()
        wanted = networks
        if self._at_a_time is not None:
            wanted = min(networks, self._at_a_time)
        elif self.ops.cache_bytes is not None:
            wanted = min(networks, max(1, self.ops.cache_bytes // footprint.step))
        possible = max(1, int(MEMORY_SHARE * free - shared) // footprint.run)
        note = None
        if possible < wanted:
            note = (
                f"the networks are trained {possible} at a time: {wanted} would take "
                f"{_size(wanted * footprint.run)} of memory, and {_size(free)} is free"
            )
        chunks = -(-networks // min(wanted, possible))
        bounds = [networks * index // chunks for index in range(chunks + 1)]
        return tuple(map(range, bounds, bounds[1:])), note

    def _train_chunks(self, train_chunk: Callable[[range, MLP], History]) -> tuple[list[History | None], bool]:
        """The histories of the chunks that are kept (None: all of its networks have diverged), and whether Ctrl-C
        ended it all."""
        histories: list[History | None] = []
        try:
            for chunk in self.chunks:
                network = self._network(chunk)
                try:
                    history = train_chunk(chunk, network)
                except TrainingDiverged:
                    histories.append(None)
                    continue
                if history.interrupted and any(histories):
                    return histories, True  # these are not done, and others are
                self.parameters[chunk.start : chunk.stop] = self.ops.to_host(network.parameters)
                histories.append(history)
                if history.interrupted:
                    return histories, True
        except KeyboardInterrupt:
            if not any(histories):
                raise
            return histories, True
        return histories, False

    def _put_together(self, histories: list[History | None], interrupted: bool) -> History:
        """The history of all networks, having noted what became of each."""
        known = next(filter(None, histories), None)
        reached = self.chunks[len(histories) - 1].stop
        if known is None:
            raise TrainingDiverged(
                f"the losses of all {reached} networks ceased to be finite numbers: {DIVERGED_ADVICE}"
            )
        histories = histories + [None] * (len(self.chunks) - len(histories))
        whole = side_by_side(
            [each or missing_history(known, len(chunk)) for chunk, each in zip(self.chunks, histories, strict=True)]
        )
        survived = np.repeat([each is not None for each in histories], [len(chunk) for chunk in self.chunks])
        finite = np.isfinite(whole.step_loss).all(axis=(1, 2)) & np.isfinite(self.parameters).all(axis=1)
        self.trained = np.arange(len(self)) < reached
        self.diverged = self.trained & ~(survived & finite)
        return replace(whole, interrupted=interrupted)

    def _check_rows(self, name: str, rows: Any) -> None:
        if np.ndim(rows) == 2 and len(rows) != len(self):
            raise InputError(f"{name} must have the shape [n] or [{len(self)}, n], not {list(np.shape(rows))}")


def _check_memory(networks: int, bytes_a_network: int) -> None:
    free, needed = available_bytes(), networks * bytes_a_network
    if networks == 0:
        raise InputError("a population needs a seed for each of its networks, such as seeds=range(100)")
    if needed > MEMORY_SHARE * free:
        raise InputError(
            f"the weights of {networks:,} networks take {_size(needed)} of memory, and {_size(free)} is free: "
            f"train fewer, at most {int(MEMORY_SHARE * free) // bytes_a_network:,}"
        )


def _part(values: Any, chunk: range, *, ndim: int) -> Any:
    """Of values that are given one a network, and then have so many dimensions, those of the chunk; else all."""
    return values[chunk.start : chunk.stop] if np.ndim(values) == ndim else values


def _part_of(checkpoints: Checkpoints, chunk: range, networks: int) -> Checkpoints:
    """A chunk's own; its last one stays, unless it is also that of the whole run."""
    return checkpoints.part(f"networks-{chunk[0]:06}-{chunk[-1]:06}", keep_last=chunk.stop < networks)


def _order_of(shuffle: str | np.ndarray, chunk: range) -> str | np.ndarray:
    """An explicit order ``[epochs, P, n]`` is each network's own."""
    return shuffle[:, chunk.start : chunk.stop] if np.ndim(shuffle) == 3 else shuffle


def _optimizer_of(optimizer: Optimizer, chunk: range) -> Optimizer:
    return replace(
        optimizer,
        learning_rate=_part(optimizer.learning_rate, chunk, ndim=1),
        weight_decay=_part(optimizer.weight_decay, chunk, ndim=1),
    )


def _last_axis(rows: Any) -> int:
    return np.shape(rows)[-1] if np.ndim(rows) else 0


def _size(count: float) -> str:
    """Bytes as a person says them."""
    return f"{count / 1e9:.3g} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"
