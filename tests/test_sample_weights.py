"""What images count in the loss: what is refused, and training by the weighted mean of each batch."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused
from tolerances import assert_same_bits, assert_within, eps

from gpunet import MLP, SGD, Adam, Population, train
from gpunet.ops import NumpyOps
from gpunet.sample_weights import checked_weights, weighty_rows

CLASSES, INPUTS, N = 3, 12, 40
IMAGES, LABELS = images_and_labels(N, CLASSES, INPUTS)
WEIGHTS = np.random.default_rng(3).uniform(0.1, 5, N)
ROUNDINGS = 64  # of a few steps in float64


def network_of(ops=None, seed=1, sizes=(INPUTS, 5, CLASSES), activation="tanh", **options):
    return MLP(sizes, activation, seed, ops=ops or NumpyOps(np.float64), **options)


def trained(ops=None, seed=1, train_rows=None, validation_rows=None, *, sizes=(INPUTS, 5, CLASSES), **options):
    network = network_of(ops, seed, sizes)
    arguments = {"optimizer": SGD(0.5), "epochs": 2, "batch_size": 7, **options}
    history = train(network, IMAGES, LABELS % max(2, sizes[-1]), train_rows, validation_rows, **arguments)
    return network, history


def row_losses(network, rows):
    """Of a single network, by log-sum-exp of its logits."""
    z = network.logits(IMAGES[rows]).astype(np.float64)
    return np.logaddexp.reduce(z, axis=1) - z[np.arange(len(z)), LABELS[rows]]


# What is refused


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(N - 1), (f"{N} numbers", f"[{N - 1}]")),
        (np.ones((N, 1)), (f"{N} numbers", f"[{N}, 1]")),
        (1.0, (f"{N} numbers", "[]")),
        (["heavy"] * N, ("numbers",)),
        (np.where(np.arange(N) == 4, -1, 1), ("at least 0", "image 4", "-1")),
        (np.where(np.arange(N) == 5, np.nan, 1), ("finite", "image 5", "nan")),
        (np.where(np.arange(N) == 6, np.inf, 1), ("finite", "image 6", "inf")),
        (np.zeros(N), ("zero for every image",)),
        (np.arange(N) < 10, ("zero for every training row",)),
    ],
)
def test_train_refuses_weights(weights, words):
    with refused("sample_weight", *words):
        trained(train_rows=np.arange(10, 30), sample_weight=weights)


def test_train_refuses_validation_rows_without_any_weight():
    with refused("sample_weight", "every validation row"):
        trained(train_rows=np.arange(30), validation_rows=np.arange(30, N), sample_weight=np.arange(N) < 30)


def test_train_refuses_an_order_with_rows_of_weight_zero():
    order = np.tile(np.arange(20), (2, 1))
    trained(train_rows=np.arange(20), shuffle=order, sample_weight=np.arange(N) < 20)
    with refused("order of rows", "zero"):
        trained(train_rows=np.arange(20), shuffle=order + 1, sample_weight=np.arange(N) < 20)


def test_train_refuses_networks_with_unequal_numbers_of_weighty_rows():
    splits = np.stack([np.arange(0, 20), np.arange(20, 40)])
    weights = np.arange(N) >= 3
    with refused("from 17 to 20 training rows"):
        trained(seed=(1, 2), train_rows=splits, sample_weight=weights)
    population = Population((INPUTS, 3), seeds=(1, 2), at_a_time=1)
    with refused("from 17 to 20 training rows"):
        population.train(IMAGES, LABELS, splits, sample_weight=weights)


def test_checked_weights_are_scaled_by_the_largest():
    huge = checked_weights([1e300, 0, 5e299], 3, np.float32)
    assert huge.dtype == np.float32 and huge.tolist() == [1, 0, 0.5]
    assert checked_weights([True, False], 2, np.float64).tolist() == [1, 0]


def test_weighty_rows_keep_their_order():
    rows = np.array([[3, 0, 2, 3], [1, 0, 3, 0]])
    assert weighty_rows(rows, np.array([0, 0.5, 0, 1])).tolist() == [[3, 3], [1, 3]]


# What a step does, and what is reported of it


@pytest.mark.parametrize("batch_size", [7, 64, 1])
def test_weighted_training_is_a_loop_of_weighted_gradients(batch_size):
    network, history = trained(train_rows=np.arange(30), sample_weight=WEIGHTS, batch_size=batch_size, shuffle="never")
    looped, losses, sums = network_of(), [], []
    for _ in range(2):
        for start in range(0, 30, batch_size):
            part = np.arange(start, min(start + batch_size, 30))
            looped.forward(IMAGES[part])
            losses.append(looped.backward(LABELS[part], WEIGHTS[part]))
            assert_within(losses[-1], np.average(row_losses(looped, part), weights=WEIGHTS[part]), 1e-13)
            sums.append(WEIGHTS[part].sum())
            for name, gradient in looped.gradients.items():
                looped.named_parameters[name][:] -= 0.5 * gradient
    losses, sums = np.reshape(losses, (1, 2, -1)), np.reshape(sums, (1, 2, -1))
    bound = ROUNDINGS * eps(np.float64)
    assert_within(network.parameters, looped.parameters, bound)
    assert_within(history.step_loss, losses, bound)
    assert_within(history.train.loss, np.average(losses, axis=2, weights=sums), bound)


def test_weighted_curves_are_weighted_means_and_accuracies_count_rows(ops):
    training, validation = np.arange(30), np.arange(30, N)
    weights = np.where(np.arange(N) == 33, 0, WEIGHTS)  # a validation row, which counts in the accuracy alone
    options = {"epochs": 1, "evaluate_training": True, "sample_weight": weights}
    network, history = trained(ops, 1, training, validation, **options)
    for curve, rows in ((history.train_after, training), (history.validation, validation)):
        expected = np.average(row_losses(network, rows), weights=weights[rows])
        np.testing.assert_allclose(curve.loss, [[expected]], rtol=ROUNDINGS * eps(ops.dtype))
        np.testing.assert_allclose(curve.accuracy, [[(network.predict(IMAGES[rows]) == LABELS[rows]).mean()]])


@pytest.mark.parametrize("sizes", [(INPUTS, 5, 3), (INPUTS, 5, 1)])
def test_weights_that_are_all_alike_change_only_roundings(ops, sizes):
    options = {"train_rows": np.arange(30), "validation_rows": np.arange(30, N), "sizes": sizes}
    (plain, expected), (weighted, history) = (trained(ops, sample_weight=w, **options) for w in (None, np.full(N, 0.3)))
    bound = ROUNDINGS * eps(ops.dtype)
    assert_within(weighted.parameters, plain.parameters, bound)
    np.testing.assert_allclose(history.step_loss, expected.step_loss, rtol=bound)
    np.testing.assert_allclose(history.validation.loss, expected.validation.loss, rtol=bound)
    np.testing.assert_array_equal(history.step_accuracy, expected.step_accuracy)


def test_a_weight_of_two_is_the_same_row_twice():
    rows = np.arange(12)
    weights = np.where(np.arange(N) < 6, 2, 1)
    once, history = trained(train_rows=rows, sample_weight=weights, batch_size=12, shuffle="never")
    twice, expected = trained(train_rows=np.repeat(rows, weights[rows]), batch_size=18, shuffle="never")
    assert_within(once.parameters, twice.parameters, ROUNDINGS * eps(np.float64))
    assert_within(history.train.loss, expected.train.loss, ROUNDINGS * eps(np.float64))


def test_rows_of_weight_zero_are_left_out_before_there_are_batches(ops):
    weights = np.where(np.arange(N) % 3 == 0, 0, WEIGHTS)
    rows = np.arange(30)
    options = {"sample_weight": weights, "evaluate_training": True}
    (one, history), (other, expected) = (trained(ops, 1, kept, **options) for kept in (rows, rows[rows % 3 > 0]))
    assert_same_bits(one.parameters, other.parameters)
    assert_same_bits(history.step_loss, expected.step_loss)
    assert_same_bits(history.train_after.accuracy, expected.train_after.accuracy)


@pytest.mark.parametrize("optimizer", [SGD(0.2), Adam(0.01)], ids=["one operation", "step by step"])
def test_weights_leave_steps_of_single_rows_as_they_are(ops, optimizer):
    options = {"sizes": (INPUTS, 5, 1), "batch_size": 1, "optimizer": optimizer, "train_rows": np.arange(20)}
    (plain, expected), (weighted, history) = (trained(ops, sample_weight=w, **options) for w in (None, WEIGHTS))
    assert_same_bits(weighted.parameters, plain.parameters)
    np.testing.assert_allclose(history.step_loss, expected.step_loss, rtol=4 * eps(ops.dtype))
    assert abs(history.train.loss / expected.train.loss - 1).min() > 1e-3  # the epoch's mean is weighted


@pytest.mark.parametrize("at_a_time", [1, 3])
def test_a_weighted_population_ends_as_its_networks_do_alone(ops, at_a_time):
    rng = np.random.default_rng(0)
    splits = np.stack([rng.permutation(N) for _ in range(3)])
    weights = np.where(np.arange(N) % 5 == 0, 0, WEIGHTS)
    options = {"epochs": 2, "batch_size": 7, "sample_weight": weights, "evaluate_training": True}
    population = Population((INPUTS, 5, CLASSES), seeds=(4, 5, 6), ops=ops, at_a_time=at_a_time)
    together = population.train(IMAGES, LABELS, splits, np.arange(9), optimizer=Adam(0.01), **options)
    for index, seed in enumerate(population.seeds):
        alone = MLP((INPUTS, 5, CLASSES), seed=seed, ops=ops)
        history = train(alone, IMAGES, LABELS, splits[index], np.arange(9), optimizer=Adam(0.01), **options)
        assert_same_bits(population.parameters[index], ops.to_host(alone.parameters)[0])
        for mine, theirs in (
            (together.step_loss, history.step_loss),
            (together.train.loss, history.train.loss),
            (together.train_after.loss, history.train_after.loss),
            (together.validation.loss, history.validation.loss),
        ):
            assert_same_bits(mine[index], theirs[0])
