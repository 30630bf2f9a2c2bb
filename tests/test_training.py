"""A whole run: which rows it reads, what it reports, how it ends, and that networks side by side end as alone."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import shapes
from made_up import images_and_labels
from sentences import refused
from tolerances import assert_same_bits, assert_within, eps

from gpunet import MLP, SGD, Adam, TrainingDiverged, train
from gpunet.counter_rng import permutation
from gpunet.network import PREDICTION_BATCH
from gpunet.ops import NumpyOps
from gpunet.optimizers import OptimizerMemory

CLASSES, INPUTS = 3, 12
IMAGES, LABELS = images_and_labels(40, CLASSES, INPUTS)
OPTIMIZERS = [
    Adam(learning_rate=0.01),
    Adam(learning_rate=0.01, weight_decay=0.1),
    Adam(learning_rate=0.01, weight_decay=0.1, decoupled=True),
    SGD(learning_rate=0.1),
    SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.01),
    SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.1, decoupled=True),
]


class RecordingOps(NumpyOps):
    """NumpyOps that writes down the rows of each batch that it gathers for a training step."""

    def __init__(self):
        super().__init__(np.float64)
        self.batches = []

    def dense_update(self, layers, state, step):
        self.batches.append(layers[0].x.rows.copy())
        super().dense_update(layers, state, step)


def network_of(ops=None, seed=1, sizes=(INPUTS, 5, CLASSES), activation="tanh", **options):
    return MLP(sizes, activation, seed, ops=ops or NumpyOps(np.float64), **options)


def orders(*, epochs=3, batch_size=7, train_rows=None, seed=1, **options):
    """The rows that training read: [epochs, P, n]."""
    ops = RecordingOps()
    train(network_of(ops, seed), IMAGES, LABELS, train_rows, epochs=epochs, batch_size=batch_size, **options)
    steps = len(ops.batches) // epochs
    return np.stack([np.concatenate(ops.batches[at : at + steps], axis=1) for at in range(0, len(ops.batches), steps)])


def direct_loss_and_accuracy(network, images, labels):
    """Of a single network, by another road: log-sum-exp of its logits."""
    z = network.logits(images).astype(np.float64)
    losses = np.logaddexp.reduce(z, axis=1) - z[np.arange(len(z)), labels]
    return losses.mean(), (z.argmax(axis=1) == labels).mean()


# The order of rows


def test_shuffle_each_epoch_draws_the_permutations_of_the_seeds():
    read = orders(seed=(4, 5), train_rows=np.arange(30, 10, -1))
    for epoch in range(3):
        places = permutation(np.array([4, 5], np.uint32), epoch, 20)
        np.testing.assert_array_equal(read[epoch], np.arange(30, 10, -1)[places])


def test_shuffle_once_keeps_the_first_order():
    read = orders(shuffle="once", seed=(4, 5))
    np.testing.assert_array_equal(read[0], permutation(np.array([4, 5], np.uint32), 0, 40))
    np.testing.assert_array_equal(read[1], read[0])
    np.testing.assert_array_equal(read[2], read[0])


def test_shuffle_never_reads_the_rows_as_they_stand():
    splits = np.array([[3, 1, 2, 20], [39, 0, 5, 5]])
    read = orders(shuffle="never", seed=(4, 5), train_rows=splits, batch_size=3)
    np.testing.assert_array_equal(read, np.broadcast_to(splits, (3, 2, 4)))


def test_shuffle_follows_an_explicit_order():
    rng = np.random.default_rng(0)
    for_all = np.stack([rng.permutation(40) for _ in range(3)])
    read = orders(shuffle=for_all, seed=(4, 5))
    np.testing.assert_array_equal(read, np.repeat(for_all[:, None], 2, axis=1))
    for_each = rng.integers(0, 40, (3, 2, 40))
    np.testing.assert_array_equal(orders(shuffle=for_each, seed=(4, 5)), for_each)


def test_shuffle_gives_each_split_its_own_rows():
    splits = np.stack([np.arange(0, 20), np.arange(20, 40)])
    read = orders(seed=(7, 7), train_rows=splits)
    np.testing.assert_array_equal(np.sort(read, axis=2), np.broadcast_to(splits, (3, 2, 20)))
    np.testing.assert_array_equal(read[:, 1], read[:, 0] + 20)


@pytest.mark.parametrize(("n", "batch_size"), shapes.BATCHES)
def test_batches_cover_an_epoch_in_order(n, batch_size):
    ops = RecordingOps()
    network = network_of(ops)
    history = train(network, IMAGES, LABELS, np.arange(n), epochs=1, batch_size=batch_size, shuffle="never")
    np.testing.assert_array_equal(np.concatenate(ops.batches, axis=1)[0], np.arange(n))
    sizes = [batch.shape[1] for batch in ops.batches]
    assert all(size == min(batch_size, n) for size in sizes[:-1])
    assert sizes[-1] == (n % batch_size or min(n, batch_size))
    assert history.step_loss.shape == (1, 1, len(sizes))


# What a step does, and what is reported of it


@pytest.mark.parametrize(("n", "batch_size"), shapes.BATCHES)
def test_training_is_a_loop_of_forward_backward_and_update(n, batch_size):
    """Each batch's gradient is the mean over its own rows, a short one's too; its loss is taken before the update."""
    trained, looped = network_of(), network_of()
    history = train(
        trained,
        IMAGES,
        LABELS,
        np.arange(n),
        optimizer=SGD(learning_rate=0.5),
        epochs=2,
        batch_size=batch_size,
        shuffle="never",
    )
    losses, accuracies = [], []
    for _ in range(2):
        for start in range(0, n, batch_size):
            part = slice(start, min(start + batch_size, n))
            accuracies.append((looped.predict(IMAGES[part]) == LABELS[part]).mean())
            looped.forward(IMAGES[part])
            losses.append(looped.backward(LABELS[part]))
            for name, gradient in looped.gradients.items():
                looped.named_parameters[name][:] -= 0.5 * gradient
    bound = 64 * eps(np.float64)
    assert_within(trained.parameters, looped.parameters, bound)
    assert_within(history.step_loss.reshape(-1), np.array(losses), bound)
    np.testing.assert_allclose(history.step_accuracy.reshape(-1), accuracies, rtol=1e-15)


def test_history_of_an_epoch_is_the_mean_over_its_rows(ops):
    history = train(network_of(ops, seed=(1, 2)), IMAGES, LABELS, epochs=3, batch_size=7)
    rows = np.array([7, 7, 7, 7, 7, 5])
    assert history.step_loss.shape == history.step_accuracy.shape == (2, 3, 6)
    assert history.train.loss.shape == history.train.accuracy.shape == (2, 3)
    assert_within(history.train.loss, (history.step_loss * rows).sum(axis=2) / 40, 8 * eps(ops.dtype))
    assert_within(history.train.accuracy, (history.step_accuracy * rows).sum(axis=2) / 40, 8 * eps(np.float64))
    assert (history.epochs, history.interrupted) == (3, False)
    assert history.train_after is None and history.validation is None
    assert history.seconds > 0


def test_history_curves_equal_a_direct_evaluation(ops):
    images, labels = images_and_labels(PREDICTION_BATCH + 40, CLASSES, INPUTS)  # more than one batch of an evaluation
    training, validation = np.arange(PREDICTION_BATCH + 7), np.arange(PREDICTION_BATCH + 7, PREDICTION_BATCH + 40)
    network, direct = network_of(ops, dropout=0.3), []

    def on_epoch(report):
        on_both = [direct_loss_and_accuracy(network, images[rows], labels[rows]) for rows in (training, validation)]
        direct.append([figure for pair in on_both for figure in pair])
        np.testing.assert_allclose(report[4:8], direct[-1], rtol=64 * eps(ops.dtype))
        assert (report.epoch, report.epochs) == (len(direct), 2)

    history = train(
        network,
        images,
        labels,
        training,
        validation,
        epochs=2,
        batch_size=128,
        evaluate_training=True,
        on_epoch=on_epoch,
    )
    curves = [history.train_after.loss, history.train_after.accuracy, history.validation.loss]
    curves.append(history.validation.accuracy)
    assert [curve.shape for curve in curves] == [(1, 2)] * 4
    np.testing.assert_allclose(np.concatenate(curves).T, direct, rtol=64 * eps(ops.dtype))
    assert history.train.loss[0, 1] != history.train_after.loss[0, 1]


def test_history_splits_a_populations_evaluation(ops):
    splits = np.stack([np.arange(0, 20), np.arange(20, 40)])
    network = network_of(ops, seed=(1, 2))
    history = train(network, IMAGES, LABELS, splits, splits[::-1], epochs=1, batch_size=8, evaluate_training=True)
    for index in range(2):
        alone = network_of(ops, seed=network.seeds[index])
        alone.parameters[:] = network.parameters[index]
        for curve, rows in ((history.train_after, splits[index]), (history.validation, splits[1 - index])):
            loss, accuracy = direct_loss_and_accuracy(alone, IMAGES[rows], LABELS[rows])
            np.testing.assert_allclose([curve.loss[index, 0], curve.accuracy[index, 0]], [loss, accuracy], rtol=1e-5)


def test_evaluation_changes_nothing_of_the_training(ops):
    plain, watched = network_of(ops, dropout=0.3), network_of(ops, dropout=0.3)
    train(plain, IMAGES, LABELS, np.arange(30), epochs=3, batch_size=7)
    train(
        watched,
        IMAGES,
        LABELS,
        np.arange(30),
        np.arange(30, 40),
        epochs=3,
        batch_size=7,
        evaluate_training=True,
        on_epoch=lambda report: None,
    )
    assert_same_bits(plain.parameters, watched.parameters)


def test_training_learns(ops):
    network = network_of(ops, sizes=(INPUTS, 16, CLASSES), activation="relu")
    history = train(network, IMAGES, LABELS, optimizer=Adam(learning_rate=0.01), epochs=60, batch_size=8)
    assert history.train.loss[0, 0] > 0.9 and history.train.loss[0, -1] < 0.1
    assert (network.predict(IMAGES) == LABELS).all()


class CountingOps(NumpyOps):
    """Counts the operations that make all steps of an epoch."""

    def __init__(self):
        super().__init__()
        self.runs = 0

    def per_sample_sgd(self, *arguments, **options):
        self.runs += 1
        super().per_sample_sgd(*arguments, **options)


def trained_by_row(ops, *, sizes=(INPUTS, 5, 1), optimizer=None, batch_size=1, **options):
    network = network_of(ops, sizes=sizes, activation="sigmoid", **options)
    labels = LABELS % max(2, sizes[-1])
    arguments = {"optimizer": optimizer or SGD(0.2), "epochs": 2, "batch_size": batch_size, "evaluate_training": True}
    history = train(network, IMAGES, labels, np.arange(30), np.arange(30, 40), **arguments)
    return network, history


@pytest.mark.parametrize("seed", [1, (1, 2, 3)])
def test_training_by_single_rows_is_one_operation_with_the_bits_of_its_steps(seed, monkeypatch):
    ops = CountingOps()
    network, history = trained_by_row(ops, seed=seed)
    assert ops.runs == 2
    monkeypatch.setattr(MLP, "learns_by_row", lambda self, batch_size, state: False)
    by_steps, its_history = trained_by_row(CountingOps(), seed=seed)
    assert by_steps.ops.runs == 0
    assert_same_bits(network.parameters, by_steps.parameters)
    assert_same_bits(history.step_loss, its_history.step_loss)
    assert_same_bits(history.step_accuracy, its_history.step_accuracy)
    assert_same_bits(history.validation.loss, its_history.validation.loss)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": SGD(0.2, momentum=0.5)},
        {"optimizer": SGD(0.2, weight_decay=0.1)},
        {"optimizer": SGD(0.2, weight_decay=0.1, decoupled=True)},
        {"optimizer": Adam()},
        {"batch_size": 2},
        {"dropout": 0.5},
        {"loss": "squared_error"},
        {"sizes": (INPUTS, 5, CLASSES)},
        {"sizes": (INPUTS, 5, 4, 1)},
        {"sizes": (INPUTS, 1)},
        {"sizes": (INPUTS, 257, 1)},
    ],
    ids=str,
)
def test_training_of_any_other_kind_goes_step_by_step(options):
    ops = CountingOps()
    trained_by_row(ops, **options)
    assert ops.runs == 0


def test_training_again_goes_on_from_the_weights_with_fresh_moments():
    network = network_of()
    train(network, IMAGES, LABELS, epochs=1)
    before = network.parameters.copy()
    twin = network_of()
    twin.parameters[:] = before
    for each in (network, twin):
        train(each, IMAGES, LABELS, epochs=2)
    assert_same_bits(network.parameters, twin.parameters)
    assert not np.array_equal(network.parameters, before)


# Exactness


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_training_gives_the_same_bits_twice(ops, optimizer):
    bits = []
    for _ in range(2):
        network = network_of(ops, dropout=0.3)
        history = train(network, IMAGES, LABELS, optimizer=optimizer, epochs=3, batch_size=7)
        bits.append((network.parameters.tobytes(), history.step_loss.tobytes()))
    assert bits[0] == bits[1]


POPULATION = {
    "loss": {"softmax_cross_entropy": 3, "binary_cross_entropy": 1, "squared_error": 2},
    "seed": (3, 2**32 - 1, 0),
    "dropout": (0.3, 0.0, 0.6),
    "learning_rate": (0.02, 0.005, 0.1),
    "weight_decay": (0.0, 0.01, 0.1),
}


@pytest.mark.parametrize("batch_size", [1, 7, 20])
@pytest.mark.parametrize("loss", POPULATION["loss"])
@pytest.mark.parametrize(
    "make_optimizer",
    [
        Adam,
        lambda **rates: Adam(decoupled=True, **rates),
        SGD,
        lambda **rates: SGD(momentum=0.9, **rates),
    ],
    ids=["adam", "adamw", "sgd", "momentum"],
)
def test_population_gives_each_network_what_it_gets_alone(ops, make_optimizer, loss, batch_size):
    """Seed, rate, decay, dropout and split are each network's own; not one bit differs."""
    outputs = POPULATION["loss"][loss]
    splits = np.stack([np.random.default_rng(each).permutation(40)[:20] for each in range(3)])
    labels = LABELS % max(2, outputs)

    def trained(pick):
        """pick: what of each network's own to take."""
        network = network_of(
            ops,
            pick(POPULATION["seed"]),
            sizes=(INPUTS, 9, 6, outputs),
            activation="sigmoid",
            loss=loss,
            dropout=pick(POPULATION["dropout"]),
        )
        rates = {name: pick(POPULATION[name]) for name in ("learning_rate", "weight_decay")}
        history = train(
            network,
            IMAGES,
            labels,
            pick(splits),
            pick(splits)[..., ::-1],
            optimizer=make_optimizer(**rates),
            epochs=2,
            batch_size=batch_size,
        )
        return network.parameters, history

    together, history = trained(lambda values: values)
    for index in range(3):
        alone, own = trained(lambda values, index=index: values[index])
        assert_same_bits(together[index], alone[0])
        assert_same_bits(history.step_loss[index], own.step_loss[0])
        assert_same_bits(history.step_accuracy[index], own.step_accuracy[0])
        assert_same_bits(history.validation.loss[index], own.validation.loss[0])


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("sizes", [(INPUTS, CLASSES), (INPUTS, 33, 5, CLASSES)], ids=str)
def test_padding_stays_exactly_zero(ops, optimizer, sizes):
    network = network_of(ops, seed=(1, 2), sizes=sizes, dropout=0.2)
    train(network, IMAGES, LABELS, optimizer=optimizer, epochs=3, batch_size=7)
    assert all(view.all() for view in network.named_parameters.values())  # everything else was trained
    for view in network.named_parameters.values():
        view[:] = 0
    assert not network.parameters.any()


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_epochs_do_not_depend_on_how_many_follow(epochs):
    """The step table is made for the whole run, but says the same of each step."""
    network, kept = network_of(), []
    train(network, IMAGES, LABELS, epochs=epochs)
    other = network_of()
    train(other, IMAGES, LABELS, epochs=4, on_epoch=lambda report: kept.append(other.parameters.copy()))
    assert_same_bits(network.parameters, kept[epochs - 1])


# Memory


class PeakOps(NumpyOps):
    """Notes the peak of traced memory at the end of an epoch's steps."""

    def __init__(self):
        super().__init__()
        self.peaks = []

    def batch_sums(self, *arguments):
        self.peaks.append(tracemalloc.get_traced_memory()[1])
        super().batch_sums(*arguments)


# NumPy works through some arrays in blocks of 8,192 numbers (to convert them, to repeat a bias), whatever their size.
TWO_BLOCKS = 2 * 8192 * 4


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy", "squared_error"])
@pytest.mark.parametrize("optimizer", [Adam(weight_decay=0.01), SGD(momentum=0.9)], ids=["adam", "sgd"])
def test_training_allocates_nothing_in_a_step(optimizer, loss):
    """At their peak the steps of the second epoch hold less than half of any array of a step."""
    batch_size, inputs, hidden, outputs = 1024, 256, 144, 64
    assert 2 * TWO_BLOCKS <= min(batch_size * outputs * 4, inputs * hidden * 4, batch_size * inputs)
    outputs = 1 if loss == "binary_cross_entropy" else outputs
    images, labels = images_and_labels(1500, max(2, outputs), inputs)
    ops = PeakOps()

    def on_epoch(report):
        if report.epoch == 1:
            ops.peaks.clear()
            tracemalloc.start()

    try:
        train(
            MLP((inputs, hidden, outputs), loss=loss, ops=ops),
            images,
            labels,
            optimizer=optimizer,
            epochs=2,
            batch_size=batch_size,
            shuffle="never",
            on_epoch=on_epoch,
        )
    finally:
        tracemalloc.stop()
    assert len(ops.peaks) == 1 and ops.peaks[0] < TWO_BLOCKS


# How a run ends


def test_on_epoch_ends_the_run(ops):
    ended, shorter = network_of(ops), network_of(ops)
    history = train(ended, IMAGES, LABELS, epochs=5, on_epoch=lambda report: report.epoch == 2)
    expected = train(shorter, IMAGES, LABELS, epochs=2)
    assert history.epochs == 2 and not history.interrupted
    assert_same_bits(ended.parameters, shorter.parameters)
    assert_same_bits(history.step_loss, expected.step_loss)


def test_training_on_targets_has_their_loss(ops):
    """Members of a population as alone, and the losses those of the outputs, epoch by epoch."""
    targets = np.random.default_rng(4).standard_normal((40, 2))
    options = {"sizes": (INPUTS, 5, 2), "loss": "squared_error"}
    crowd, alone = network_of(ops, seed=(2, 1), **options), network_of(ops, seed=1, **options)
    common = {"epochs": 3, "batch_size": 15, "evaluate_training": True}
    histories = [train(network, IMAGES, targets, np.arange(30), **common) for network in (crowd, alone)]
    assert_same_bits(crowd.parameters[1:], alone.parameters)
    errors = np.square(alone.logits(IMAGES[:30]).astype(np.float64) - targets[:30]).mean()
    for history in histories:
        np.testing.assert_allclose(history.train_after.loss[-1, -1], errors, rtol=64 * eps(ops.dtype))
    assert histories[1].train.loss[0, -1] < histories[1].train.loss[0, 0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_memory_makes_one_run_of_two(ops, optimizer):
    order = np.random.default_rng(0).permuted(np.tile(np.arange(40), (5, 1)), axis=1)
    whole, parts, forgetful = (network_of(ops, seed=(1, 2)) for _ in range(3))
    train(whole, IMAGES, LABELS, optimizer=optimizer, epochs=5, batch_size=15, shuffle=order)
    memory = OptimizerMemory()
    for begin, end in ((0, 2), (2, 5)):
        common = {"optimizer": optimizer, "epochs": end - begin, "batch_size": 15, "shuffle": order[begin:end]}
        train(parts, IMAGES, LABELS, memory=memory, **common)
        train(forgetful, IMAGES, LABELS, **common)
    assert_same_bits(parts.parameters, whole.parameters)
    assert memory.steps == 15
    assert np.array_equal(forgetful.parameters, whole.parameters) == (memory.m is None)  # SGD without momentum


def test_memory_of_another_optimizer_or_network_is_refused():
    memory = OptimizerMemory()
    train(network_of(), IMAGES, LABELS, optimizer=SGD(0.1), epochs=1, memory=memory)
    with refused("memory", "another optimizer"):
        train(network_of(), IMAGES, LABELS, optimizer=Adam(), epochs=1, memory=memory)
    memory = OptimizerMemory()
    train(network_of(), IMAGES, LABELS, epochs=1, memory=memory)
    with refused("memory", "other networks"):
        train(network_of(seed=(1, 2)), IMAGES, LABELS, epochs=1, memory=memory)


def test_interrupt_between_epochs_keeps_what_was_learnt(ops):
    def stop(report):
        if report.epoch == 2:
            raise KeyboardInterrupt

    interrupted, shorter = network_of(ops), network_of(ops)
    history = train(interrupted, IMAGES, LABELS, np.arange(30), np.arange(30, 40), epochs=5, on_epoch=stop)
    expected = train(shorter, IMAGES, LABELS, np.arange(30), np.arange(30, 40), epochs=2)
    assert history.interrupted and history.epochs == 2
    assert_same_bits(interrupted.parameters, shorter.parameters)
    assert_same_bits(history.train.loss, expected.train.loss)
    assert_same_bits(history.validation.loss, expected.validation.loss)
    assert_same_bits(history.step_loss, expected.step_loss)


class InterruptedOps(RecordingOps):
    """Ctrl-C in front of an update."""

    def __init__(self, updates):
        super().__init__()
        self.updates = updates

    def dense_update(self, layers, state, step):
        if len(self.batches) == self.updates:
            raise KeyboardInterrupt
        super().dense_update(layers, state, step)


@pytest.mark.parametrize(("updates", "epochs"), [(0, 0), (3, 0), (4, 1), (6, 1)])
def test_interrupt_within_an_epoch_keeps_what_was_learnt(updates, epochs):
    order = np.arange(40)
    network, same = network_of(InterruptedOps(updates)), network_of()
    before = network.parameters.copy()
    arguments = {"optimizer": SGD(), "batch_size": 10, "evaluate_training": True}
    state = np.geterr()
    history = train(network, IMAGES, LABELS, order, order[:5], epochs=3, shuffle="never", **arguments)
    assert np.geterr() == state
    assert history.interrupted and history.epochs == epochs
    assert history.step_loss.shape == (1, epochs, 4)
    for curve in (history.train, history.train_after, history.validation):
        assert curve.loss.shape == curve.accuracy.shape == (1, epochs)
        assert np.isfinite(curve.loss).all()
    # The same updates as one epoch over so many batches
    if updates:
        rows = np.tile(order, 2)[: 10 * updates]
        train(same, IMAGES, LABELS, rows, epochs=1, shuffle="never", **arguments)
        assert not np.array_equal(network.parameters, before)
    assert_same_bits(network.parameters, same.parameters)


def test_diverged_names_the_epoch_and_the_step():
    # The first step's loss is taken before any update; the second meets logits of infinity minus infinity.
    network = network_of(NumpyOps(), activation="relu")
    with refused("epoch 1", "step 2", "learning rate") as caught:
        train(network, IMAGES, LABELS, optimizer=SGD(learning_rate=1e38), batch_size=10)
    assert isinstance(caught.value, TrainingDiverged)
    assert "network" not in str(caught.value)


def test_diverged_names_the_network_of_a_population():
    network = network_of(NumpyOps(), seed=(1, 2, 3), activation="relu")
    rates = [0.1, 0.1, 1e38]
    with pytest.raises(TrainingDiverged, match="network 2 .* epoch 1, step 2"):
        train(network, IMAGES, LABELS, optimizer=SGD(learning_rate=rates), batch_size=10)


def test_diverged_in_a_later_epoch_says_so():
    images = np.repeat(IMAGES[:10] / 255, 4, axis=0)
    images[35] = np.nan  # read in the fourth step, but not before the second epoch
    order = np.stack([np.tile(np.arange(35), 2)[:40], np.arange(40), np.arange(40)])
    with pytest.raises(TrainingDiverged, match="epoch 2, step 4"):
        train(network_of(), images, LABELS, epochs=3, batch_size=10, shuffle=order)


def test_diverged_in_the_very_last_update_is_noticed():
    network, optimizer = network_of(NumpyOps(), activation="relu"), SGD(learning_rate=3e38)
    with refused("the last step", "learning rate") as caught:
        train(network, IMAGES * 1e4, LABELS, optimizer=optimizer, epochs=1, batch_size=40)
    assert isinstance(caught.value, TrainingDiverged)


def test_diverging_raises_no_warnings_on_the_way(recwarn):
    with pytest.raises(TrainingDiverged):
        train(network_of(NumpyOps()), IMAGES, LABELS, optimizer=SGD(learning_rate=1e38))
    assert not list(recwarn)


# What it refuses


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"images": IMAGES[:, :5]}, ["images", "12", "5"]),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, ["images"]),
        ({"images": IMAGES.ravel()}, ["images"]),
        ({"labels": LABELS[:-1]}, ["labels", "40"]),
        ({"labels": LABELS.astype(float)}, ["labels", "whole numbers"]),
        ({"labels": LABELS + 1}, ["labels", "0 to 2"]),
        ({"labels": LABELS - 1}, ["labels", "0 to 2"]),
        ({"labels": LABELS.astype(str)}, ["labels"]),
        ({"epochs": 0}, ["epochs", "0"]),
        ({"epochs": -3}, ["epochs", "-3"]),
        ({"epochs": 2.5}, ["epochs", "2.5"]),
        ({"epochs": float("nan")}, ["epochs", "nan"]),
        ({"batch_size": 0}, ["batch_size", "0"]),
        ({"batch_size": "64"}, ["batch_size", "64"]),
        ({"train_rows": np.array([], int)}, ["train_rows"]),
        ({"train_rows": np.array([0, 40])}, ["train_rows", "39"]),
        ({"train_rows": np.array([-1, 4])}, ["train_rows"]),
        ({"train_rows": np.array([0.0, 1.0])}, ["train_rows", "whole numbers"]),
        ({"train_rows": np.ones(40, bool)}, ["train_rows", "whole numbers"]),
        ({"train_rows": np.zeros((2, 5), int)}, ["train_rows", "[1, n]"]),
        ({"train_rows": np.array(5)}, ["train_rows"]),
        ({"validation_rows": np.array([], int)}, ["validation_rows"]),
        ({"validation_rows": np.array([40])}, ["validation_rows", "39"]),
        ({"shuffle": "sometimes"}, ["shuffle", "sometimes", "each epoch"]),
        ({"shuffle": np.zeros((2, 40), int)}, ["order", "[3, 40]", "[2, 40]"]),
        ({"shuffle": np.zeros((3, 2, 40), int)}, ["order", "[3, 1, 40]"]),
        ({"shuffle": np.zeros((3, 39), int)}, ["order", "[3, 39]"]),
        ({"shuffle": np.full((3, 40), 40)}, ["order", "39"]),
        ({"shuffle": np.zeros((3, 40))}, ["order", "whole numbers"]),
        ({"optimizer": Adam(learning_rate=-1)}, ["learning_rate", "-1"]),
        ({"optimizer": SGD(learning_rate=[0.1, 0.2])}, ["learning_rate", "[0.1, 0.2]"]),
        ({"optimizer": SGD(weight_decay=float("nan"))}, ["weight_decay", "nan"]),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_training_refuses(arguments, words):
    network = network_of()
    before = network.parameters.copy()
    with refused(*words):
        train(network, **{"images": IMAGES, "labels": LABELS, "epochs": 3, **arguments})
    assert_same_bits(network.parameters, before)
