"""The multilayer perceptron: its gradients against finite differences, its predictions, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import shapes
from made_up import images_and_labels
from sentences import refused
from tolerances import FINITE_DIFFERENCES, assert_same_bits, assert_within, eps

from gpunet import MLP, SGD
from gpunet.network import PREDICTION_BATCH, Workspace, probabilities
from gpunet.ops import Batch, NumpyOps, Step
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.ops.numpy_losses import LOSSES
from gpunet.optimizers import optimizer_state

INPUTS, ROWS = 6, 5
DIFFERENCE = 1e-5
OUTPUTS = {"softmax_cross_entropy": 3, "binary_cross_entropy": 1, "squared_error": 2}


def float64_network(sizes, activation="relu", seed=0, **options):
    return MLP(sizes, activation, seed, ops=NumpyOps(np.float64), **options)


def images_of(inputs=INPUTS, rows=ROWS):
    return np.random.default_rng(5).standard_normal((rows, inputs))


def labels_of(loss, rows=ROWS):
    return np.arange(rows) % max(2, OUTPUTS[loss])


def training_step(network, images, labels, *, epoch=2):
    """One step of SGD with rate 1 as training makes it; returns each network's loss before it.

    It is step 1 of 3 in its epoch, so that a dropout mask that counts steps otherwise shows.
    """
    ops, networks, rows = network.ops, network.networks, len(images)
    step = Step(ops.asarray([epoch], np.int32), 1, 3)
    values, scale = ops.images(images)
    work = Workspace(network, rows)
    order = ops.asarray(np.tile(np.arange(rows), (networks, 1)), np.int32)
    batch = Batch(values, ops.asarray(labels, np.int32), order, scale, work.x, work.y)
    row_loss, hits = ops.zeros((networks, rows)), ops.zeros((networks, rows), np.uint8)
    sgd = SGD(learning_rate=1)
    state = optimizer_state(ops, sgd, network.layout, network.parameters, network.gradient, 3 * (epoch + 1))
    ops.capture(network.training_launches(batch, work, row_loss, hits, state, step))()
    return ops.to_host(row_loss).mean(axis=1)


def numerical_gradient(network, losses_of):
    """Central differences of every parameter of every network, padding included: float64 [P, length].

    The networks stand side by side with two copies of theirs for each parameter, one with a little more of it and one
    with a little less: a population of P * 2 * length of the same sizes, and all losses come from one pass.
    """
    networks, length = network.parameters.shape
    copies = 2 * length
    rates = np.repeat(np.broadcast_to(network.dropout, networks), copies)
    seeds = np.repeat(network.seeds, copies)
    crowd = float64_network(network.sizes, network.activation, seeds, loss=network.loss, dropout=rates)
    nudges = np.concatenate([np.eye(length), -np.eye(length)]) * DIFFERENCE
    crowd.parameters[:] = (network.parameters[:, None] + nudges).reshape(-1, length)
    losses = losses_of(crowd).reshape(networks, 2, length)
    return (losses[:, 0] - losses[:, 1]) / (2 * DIFFERENCE)


def assert_gradients_agree(network, actual, expected):
    """Tensor by tensor, relative to its largest gradient; and nothing at all in the padding."""
    covered = np.zeros(network.parameters.shape, bool)
    for one, other, place in zip(*map(network.layout.views, (actual, expected, covered)), strict=True):
        for tensor, reference, part in zip(one, other, place, strict=True):
            part[:] = True
            for mine, theirs in zip(tensor, reference, strict=True):  # network by network
                assert abs(theirs).max() > 1e-4, "a gradient that vanishes proves nothing"
                assert_within(mine, theirs, FINITE_DIFFERENCES * abs(theirs).max())
    assert not actual[~covered].any() and not expected[~covered].any()


CASES = pytest.mark.parametrize(
    ("activation", "loss", "depth", "seed"),
    [
        (activation, loss, depth, seed)
        for activation in ACTIVATIONS
        for loss in LOSSES
        for depth in shapes.HIDDEN_BY_DEPTH
        for seed in (1, (1, 2, 3))
    ],
)


def network_of(activation, loss, depth, seed, **options):
    """Weights large enough that no layer is nearly linear or dead, and biases that are not zero."""
    sizes = (INPUTS, *shapes.HIDDEN_BY_DEPTH[depth], OUTPUTS[loss])
    network = float64_network(sizes, activation, seed, loss=loss, **options)
    for at, seed in enumerate(network.seeds):
        rng = np.random.default_rng(100 + seed)
        for weight, bias in network.layout.views(network.parameters[at : at + 1]):
            weight[:] = rng.normal(0, 1.2 / np.sqrt(weight.shape[1]), weight.shape)
            bias[:] = rng.uniform(0.1, 0.5, bias.shape)  # so that of a relu layer something lives
    return network


@CASES
def test_backward_gives_the_gradient_of_the_loss(activation, loss, depth, seed):
    network, images, labels = network_of(activation, loss, depth, seed), images_of(), labels_of(loss)
    network.forward(images)
    network.backward(labels)

    def losses_of(crowd):
        crowd.forward(images)
        return crowd.backward(labels)

    assert_gradients_agree(network, network.gradient, numerical_gradient(network, losses_of))


@pytest.mark.parametrize("seed", [1, (1, 2, 3)])
@pytest.mark.parametrize("loss", LOSSES)
def test_backward_gives_the_gradient_of_the_weighted_loss(loss, seed):
    network, images, labels = network_of("tanh", loss, 3, seed), images_of(), labels_of(loss)
    weights = np.array([0.5, 3.0, 0.0, 1.0, 7.0])

    def losses_of(crowd):
        """By another road: a pass for each row, whose losses are averaged here."""
        rows = []
        for row in range(ROWS):
            crowd.forward(images[row : row + 1])
            rows.append(crowd.backward(labels[row : row + 1]))
        return np.average(rows, axis=0, weights=weights)

    expected = numerical_gradient(network, losses_of)
    network.forward(images)
    mean = network.backward(labels, weights)
    assert_gradients_agree(network, network.gradient, expected)
    assert_within(mean, losses_of(network), 16 * eps(np.float64) * np.maximum(1, mean))


@pytest.mark.parametrize("seed", [1, (1, 2, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_backward_gives_the_gradient_of_the_squared_error_of_targets(seed, weighted):
    network, images = network_of("tanh", "squared_error", 2, seed), images_of()
    targets = np.random.default_rng(6).standard_normal((ROWS, OUTPUTS["squared_error"]))
    weights = np.linspace(0.5, 2, ROWS) if weighted else None

    def losses_of(crowd):
        crowd.forward(images)
        return crowd.backward(targets, weights)

    losses = losses_of(network)
    assert_gradients_agree(network, network.gradient, numerical_gradient(network, losses_of))
    errors = np.square(network.logits(images) - targets).mean(axis=-1)
    np.testing.assert_allclose(losses, np.average(errors, axis=-1, weights=weights), rtol=1e-12)


@pytest.mark.parametrize("targets", [np.zeros((4, 1)), np.zeros(4), np.full((4, 2), np.nan)])
def test_backward_refuses_targets_that_are_none(targets):
    network = MLP((4, 2), loss="squared_error")
    network.forward(np.zeros((4, 4)))
    with refused("targets", "[4, 2]", list(targets.shape)):
        network.backward(targets)


def test_backward_refuses_weights_that_are_none():
    network = float64_network((INPUTS, 3))
    network.forward(images_of())
    with refused("sample_weight", "5 numbers", "[4]"):
        network.backward(np.zeros(ROWS, int), np.ones(4))


@CASES
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_training_step_follows_the_gradient_of_the_loss(activation, loss, depth, seed, dropout):
    if isinstance(seed, tuple) and dropout:
        dropout = (0.4, 0.0, 0.25)
    network, images, labels = network_of(activation, loss, depth, seed, dropout=dropout), images_of(), labels_of(loss)
    before = network.parameters.copy()
    expected = numerical_gradient(network, lambda crowd: training_step(crowd, images, labels))
    training_step(network, images, labels)
    assert_gradients_agree(network, before - network.parameters, expected)


def test_training_step_with_dropout_differs_from_one_without():
    images, labels = images_of(), labels_of("softmax_cross_entropy")
    steps = []
    for dropout, epoch in ((0.0, 2), (0.4, 2), (0.4, 2), (0.4, 3)):
        network = network_of("tanh", "softmax_cross_entropy", 3, 1, dropout=dropout)
        training_step(network, images, labels, epoch=epoch)
        steps.append(network.parameters)
    assert_same_bits(steps[1], steps[2])
    assert not np.array_equal(steps[0], steps[1]) and not np.array_equal(steps[1], steps[3])


# Passes for a person


def test_forward_of_a_hand_worked_network(ops):
    network = MLP((2, 2, 2), "relu", ops=ops)
    for name, values in {
        "weight1": [[[1, -1], [2, 0.5]]],
        "bias1": [[0.5, -1]],
        "weight2": [[[2, 1], [1, -1]]],
        "bias2": [[0, 0.25]],
    }.items():
        network.named_parameters[name][:] = ops.asarray(values)
    # x = (1, 1): hidden (3.5, -1.5 -> 0), logits (7, 3.75); x = (-1, 2): hidden (3.5, 1), logits (8, 2.75)
    logits = network.forward(np.array([[1.0, 1], [-1, 2]]))
    np.testing.assert_array_equal(logits, [[7, 3.75], [8, 2.75]])
    loss = network.backward(np.array([0, 1]))
    expected = (np.log1p(np.exp(3.75 - 7)) + np.log1p(np.exp(8 - 2.75))) / 2
    assert_within(np.array(loss), np.array(expected), 8 * eps(ops.dtype) * expected)


def test_forward_counts_bytes_as_their_share_of_255(ops):
    images, _ = images_and_labels(9, 3, 20)
    network = MLP((20, 5, 3), ops=ops)
    from_bytes, from_floats = network.forward(images), network.forward(images / 255)
    assert from_bytes.dtype == ops.dtype
    assert_within(from_bytes, from_floats, 20 * eps(ops.dtype) * np.abs(from_floats).max())


def test_forward_never_drops(ops):
    images, _ = images_and_labels(9, 3, 20)
    with_dropout, without = (MLP((20, 5, 3), dropout=rate, ops=ops) for rate in (0.5, 0.0))
    assert_same_bits(with_dropout.forward(images), without.forward(images))


def test_forward_of_a_population_is_that_of_each_network(ops):
    images, labels = images_and_labels(11, 3, 20)
    together = MLP((20, 5, 3), seed=(4, 5, 6), ops=ops)
    logits, losses = together.forward(images), together.backward(labels)
    assert logits.shape == (3, 11, 3) and losses.shape == (3,)
    for network, seed in enumerate(together.seeds):
        alone = MLP((20, 5, 3), seed=seed, ops=ops)
        assert_same_bits(logits[network], alone.forward(images))
        assert losses[network] == alone.backward(labels)
        for name, gradient in alone.gradients.items():
            assert_same_bits(together.gradients[name][network], gradient[0])


def test_population_of_one_keeps_its_axis(ops):
    images, labels = images_and_labels(4, 3, 20)
    network = MLP((20, 3), seed=[4], ops=ops)
    assert network.forward(images).shape == (1, 4, 3)
    assert network.backward(labels).shape == (1,)
    assert network.predict(images).shape == (1, 4)
    assert network.predict_proba(images).shape == (1, 4, 3)


def test_backward_needs_a_forward_pass():
    network = MLP((20, 3))
    with pytest.raises(RuntimeError, match="forward"):
        network.backward(np.zeros(4, int))
    network.predict(np.zeros((4, 20)))  # leaves no trace
    with pytest.raises(RuntimeError, match="forward"):
        network.backward(np.zeros(4, int))


def test_logits_of_many_images_are_those_of_forward(ops):
    images, _ = images_and_labels(2 * PREDICTION_BATCH + 3, 3, 7)
    for seed in (1, (1, 2)):
        network = MLP((7, 4, 3), seed=seed, ops=ops)
        forward = network.forward(images)
        logits = network.logits(images)
        assert logits.shape == forward.shape
        assert_within(logits, forward, 8 * eps(ops.dtype) * np.abs(forward).max())


def test_named_parameters_are_views_of_one_buffer(ops):
    network = MLP((7, 4, 3), seed=(1, 2), ops=ops)
    assert {name: view.shape for name, view in network.named_parameters.items()} == {
        "weight1": (2, 7, 4),
        "bias1": (2, 4),
        "weight2": (2, 4, 3),
        "bias2": (2, 3),
    }
    for view in network.named_parameters.values():
        view[:] = 0
    assert not ops.to_host(network.parameters).any()
    assert not network.forward(np.ones((2, 7))).any()


def test_seed_decides_the_first_weights(ops):
    bits = [ops.to_host(MLP((7, 4, 3), seed=seed, ops=ops).parameters).tobytes() for seed in (1, 1, 2)]
    assert bits[0] == bits[1] != bits[2]


def test_sizes_may_be_numpy_integers(ops):
    network = MLP(np.array([7, 4, 3]), seed=np.int64(3), ops=ops)
    assert network.sizes == (7, 4, 3) and all(type(size) is int for size in network.sizes)
    assert network.single


# Predictions


@pytest.mark.parametrize(
    ("loss", "logits", "classes"),
    [
        ("softmax_cross_entropy", [[1, 3, 2], [5, 5, 0], [-1, -2, -3]], [1, 0, 0]),
        ("binary_cross_entropy", [[0.0], [0.1], [-3]], [0, 1, 0]),  # above a probability of one half
        ("squared_error", [[0.5], [0.6], [-3]], [0, 1, 0]),
        ("squared_error", [[0.5, 0.4], [0.1, 0.2], [0, 0]], [0, 1, 0]),
    ],
)
def test_predict_from_logits(loss, logits, classes):
    network = MLP((4, len(logits[0])), loss=loss)
    predicted = network.predict_from(np.array(logits))
    assert predicted.dtype == np.int64
    assert predicted.tolist() == classes


def test_predict_agrees_with_the_hits_of_the_loss(ops):
    """Both decide ties alike, so that an accuracy is the same whoever counts it."""
    logits = np.array([[0.0, 0, 0], [1, 1, 0], [0, 1, 1], [-1, -1, -1]])
    for loss in LOSSES:
        outputs = 1 if loss == "binary_cross_entropy" else 3
        z, labels = ops.asarray(logits[None, :, :outputs]), ops.asarray([[0, 0, 1, 0]], np.int32)
        hits = ops.zeros((1, 4), np.uint8)
        getattr(ops, loss)(z, labels, ops.zeros((1, 4)), hits)
        predicted = MLP((4, outputs), loss=loss).predict_from(ops.to_host(z))
        np.testing.assert_array_equal(ops.to_host(hits), predicted == ops.to_host(labels))


def test_probabilities_by_hand():
    softmax = probabilities(np.log([[1, 2, 5], [1, 1, 2]]).astype(np.float32))
    assert softmax.dtype == np.float64
    assert_within(softmax, np.array([[1 / 8, 1 / 4, 5 / 8], [1 / 4, 1 / 4, 1 / 2]]), 4 * eps(np.float32))
    sigmoid = probabilities(np.array([[0.0], [np.log(3)]]))
    assert_within(sigmoid, np.array([[0.5, 0.5], [0.25, 0.75]]), 4 * eps(np.float64))


@pytest.mark.parametrize("outputs", [1, 3])
def test_probabilities_of_extreme_logits_are_finite_and_sum_to_one(outputs):
    logits = np.array([-1e4, 1e4, 0, -1e30, 1e30])[:, None] * np.array([1, -1, 0.5])[:outputs]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        shares = probabilities(logits.astype(np.float32))
    assert_within(shares.sum(axis=-1), np.ones(5), 4 * eps(np.float64))
    if outputs == 1:
        np.testing.assert_array_equal(shares[:, 1], [0, 1, 0.5, 0, 1])


def test_predict_proba_is_the_softmax_of_the_logits(ops):
    images, _ = images_and_labels(6, 3, 7)
    network = MLP((7, 3), seed=(1, 2), ops=ops)
    np.testing.assert_array_equal(network.predict_proba(images), probabilities(network.logits(images)))
    np.testing.assert_array_equal(network.predict(images), network.predict_proba(images).argmax(axis=-1))


def test_predict_proba_refuses_networks_that_know_none():
    with refused("squared error"):
        MLP((4, 2), loss="squared_error").predict_proba(np.zeros((2, 4)))


def test_default_loss_follows_the_outputs():
    assert MLP((4, 1)).loss == "binary_cross_entropy"
    assert MLP((4, 2)).loss == "softmax_cross_entropy"


# What it refuses


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sizes": (784,)}, ["sizes", "784"]),
        ({"sizes": ()}, ["sizes"]),
        ({"sizes": (784, 0, 10)}, ["sizes", "0"]),
        ({"sizes": (784, -5, 10)}, ["sizes", "-5"]),
        ({"sizes": (784, 6.4, 10)}, ["sizes", "6.4"]),
        ({"sizes": (784, "64", 10)}, ["sizes", "64"]),
        ({"activation": "gelu"}, ["activation", "gelu", "relu"]),
        ({"loss": "hinge"}, ["loss", "hinge", "softmax_cross_entropy"]),
        ({"init": "zeros"}, ["init", "zeros", "pytorch"]),
        ({"loss": "binary_cross_entropy"}, ["binary_cross_entropy", "one output", "3"]),
        ({"sizes": (4, 1), "loss": "softmax_cross_entropy"}, ["softmax_cross_entropy", "two outputs", "1"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"seed": 2**32}, ["seed", "4294967296"]),
        ({"seed": ()}, ["seed"]),
        ({"seed": 1.5}, ["seed", "1.5"]),
        ({"seed": "12"}, ["seed", "12"]),
        ({"seed": (1, 2.5)}, ["seed", "2.5"]),
        ({"seed": (1, -2)}, ["seed", "-2"]),
        ({"dropout": 1}, ["dropout", "1"]),
        ({"dropout": -0.1}, ["dropout", "-0.1"]),
        ({"dropout": float("nan")}, ["dropout", "nan"]),
        ({"dropout": (0.1, 0.2)}, ["dropout"]),
        ({"dropout": (0.1, 0.2), "seed": (1, 2, 3)}, ["dropout"]),
    ],
    ids=str,
)
def test_network_refuses(arguments, words):
    with refused(*words):
        MLP(**{"sizes": (4, 3), **arguments})


@pytest.mark.parametrize("shape", [(3, 5), (4,), (0, 4), (2, 3, 4)])
@pytest.mark.parametrize("method", ["forward", "logits", "predict", "predict_proba"])
def test_network_refuses_images_of_another_shape(method, shape):
    with refused("images", "4", list(shape)):
        getattr(MLP((4, 3)), method)(np.zeros(shape))


def test_network_refuses_integers_whose_scale_is_unknown():
    with refused("uint8", "int64"):
        MLP((4, 3)).forward(np.full((2, 4), 255))


@pytest.mark.parametrize(
    "labels", [np.zeros(3, int), np.zeros((4, 1), int), np.zeros(4), np.array([0, 1, 2, 3]), np.array([0, 1, 2, -1])]
)
def test_backward_refuses_labels_that_are_none(labels):
    network = MLP((4, 3))
    network.forward(np.zeros((4, 4)))
    with refused("labels", "4", "0 to 2"):
        network.backward(labels)
