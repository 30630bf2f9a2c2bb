"""Training: a run is laid out up front (training_run.py), then replayed once an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from gpunet.augmentation import Augmentation
from gpunet.history import EpochReport, History
from gpunet.network import MLP
from gpunet.optimizers import Adam, Optimizer, OptimizerMemory
from gpunet.pacing import EarlyStopping, make_pace
from gpunet.resume import Checkpoints
from gpunet.schedules import Schedule, plateau_of, schedule_parts
from gpunet.training_run import TrainingDiverged, TrainingRun

__all__ = ["TrainingDiverged", "train"]

BESIDE_THE_RUN = ("network", "memory", "on_epoch", "checkpoints")  # arguments of `train` that are not what it learns
SECONDS_UNSEEN = 0.5  # how long a device may train before somebody looks whether the losses are still numbers


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
    clip_norm: float | None = None,
    schedule: Schedule | Sequence[Schedule] | None = None,
    early_stopping: EarlyStopping | None = None,
    memory: OptimizerMemory | None = None,
    evaluate_training: bool = False,
    stop_if_one_diverges: bool = True,
    on_epoch: Callable[[EpochReport], bool | None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> History:
    """Train a network (all P of a population, side by side) by minibatch gradient descent; it changes in place.

    images: uint8 ``[N, I]``, of which 255 counts as 1, or float, taken as they are; on the CPU also
    `gpunet.data.StreamedImages`, which stay in their file, with the same result.
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
    clip_norm: the length beyond which a batch's gradient, of all of a network's weights and biases, is cut back to it.
    schedule: how learning rates change, such as (Warmup(epochs=2), Cosine()), over the epochs of this run; see
    `gpunet.schedules`.
    early_stopping: ends each network by its own validation loss, and the run with the last; see `EarlyStopping`.
    memory: the optimizer's, which goes on from there and leaves in it what it remembers in the end: handed from run to
    run, it makes them one. Orders of rows and dropout begin anew, from the networks' seeds.
    evaluate_training: take the loss of the training rows after each epoch as well.
    stop_if_one_diverges: False lets the others of a population go on, as long as there is one.
    on_epoch: called after each epoch; True ends the run. Only this, a plateau and early stopping make the host wait for
    a device in each epoch. For more than one see `gpunet.logs.in_turn`.
    checkpoints: where the run is kept as it goes (see `gpunet.resume.Checkpoints`). The same call made again goes on
    from the newest and ends with the same bits; `on_epoch` is not called for epochs that had ended before.

    Ctrl-C ends the run cleanly after the operation at hand: what was learnt so far stays.
    Raises `InputError` for unusable arguments and `TrainingDiverged` when a loss is no longer finite.

    >>> images, labels = np.eye(4, dtype=np.float32), np.arange(4)
    >>> network = MLP((4, 8, 4), seed=1)
    >>> history = train(network, images, labels, optimizer=Adam(0.05), epochs=60)
    >>> history.train.loss.shape  # networks, epochs
    (1, 60)
    >>> network.predict(images).tolist()
    [0, 1, 2, 3]
    """
    arguments = {name: value for name, value in locals().items() if name not in BESIDE_THE_RUN}
    parts = schedule_parts(schedule)
    pace = make_pace(network.networks, plateau_of(parts), early_stopping, validation_rows is not None)
    rows = train_rows, validation_rows
    run = TrainingRun(
        network, images, labels, *rows, epochs, batch_size, shuffle, sample_weight, augmentation, evaluate_training
    )
    run.must_be_finite = np.all if stop_if_one_diverges else np.any
    largest_product = network.largest_product(max(run.batch_size, run.largest_evaluation))
    launches = run.launches(optimizer or Adam(), weight_penalty, memory, parts, clip_norm)
    if pace is not None:
        run.follow(pace, restores=early_stopping is not None and early_stopping.restore_best)
    replay = network.ops.capture(launches, largest_product, calls=epochs)
    watched = on_epoch is not None or pace is not None
    finished, seconds_before, interrupted = 0, 0.0, False
    if checkpoints is not None:
        reached = checkpoints.begin(network.ops, arguments | run.identity(memory))
        if reached is not None:
            run.go_on_from(reached)
            finished, seconds_before = reached.epoch, reached.seconds
    checked, began = finished, time.perf_counter() - seconds_before
    next_look = time.perf_counter() + SECONDS_UNSEEN
    try:
        for epoch in range(finished, epochs):
            if run.has_stopped:
                break
            replay()
            finished = epoch + 1
            run.keep_pace(finished)
            keeping = checkpoints is not None and checkpoints.due(finished, finished if run.has_stopped else epochs)
            if watched or keeping or finished == epochs or time.perf_counter() > next_look:
                run.check_finite(checked, finished)
                checked, next_look = finished, time.perf_counter() + SECONDS_UNSEEN
            if on_epoch is not None and on_epoch(run.report(epoch)):
                break
            if keeping:
                checkpoints.save(run.snapshot(finished, time.perf_counter() - began))
    except KeyboardInterrupt:
        interrupted = True
    run.check_finite(checked, finished)
    run.keep_pace(finished)
    run.check_parameters()
    run.restore_best()
    if memory is not None:
        memory.go_on(run.ops, run.state, finished * len(run.training.slices))
    return run.history(finished, time.perf_counter() - began, interrupted)
