"""What holds for every shape, type and hyper-parameter: operations, passes, populations, parameters, optimizers."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tolerances import ELEMENTARY, FINITE_DIFFERENCES, UPDATE, assert_same_bits, assert_within, eps, sum_bound

from gpunet import MLP, SGD, Adam, train
from gpunet.counter_rng import dropout_hash, dropout_threshold, permutation
from gpunet.ops import NumpyOps
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.optimizers import step_table
from gpunet.parameters import ALIGNMENT, INITIALIZERS, ParameterLayout

seeds = st.integers(0, 2**32 - 1)
small = st.integers(1, 9)
dtypes = st.sampled_from((np.float32, np.float64))
activations = st.sampled_from(tuple(ACTIVATIONS))
layer_sizes = st.lists(st.integers(1, 40), min_size=2, max_size=5).map(tuple)

PLAIN = {  # and their derivatives, by z
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
}


def normal(seed: int, *shape: int, dtype=np.float64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# Operations


@given(small, small, st.integers(1, 70), small, dtypes, activations, seeds)
def test_dense_forward_is_the_formula(networks, rows, inputs, outputs, dtype, activation, seed):
    x = normal(seed, networks, rows, inputs, dtype=dtype)
    weight, bias = (
        normal(seed + 1, networks, inputs, outputs, dtype=dtype),
        normal(seed + 2, networks, outputs, dtype=dtype),
    )
    out = np.full((networks, rows, outputs), np.nan, dtype)
    NumpyOps(dtype).dense_forward(x, weight, bias, out, activation=activation)
    exact = [each.astype(np.longdouble) for each in (x, weight, bias)]
    z = np.einsum("pbi,pio->pbo", *exact[:2]) + exact[2][:, None]
    magnitude = np.einsum("pbi,pio->pbo", *map(np.abs, exact[:2])) + np.abs(exact[2])[:, None]
    bound = sum_bound(dtype, inputs + 1, magnitude) + (activation in ("sigmoid", "tanh")) * ELEMENTARY * eps(dtype)
    assert_within(out, PLAIN[activation][0](z), bound)


@given(small, small, st.integers(1, 70), small, dtypes, activations, seeds)
def test_dense_backward_is_the_formula(networks, rows, inputs, outputs, dtype, activation, seed):
    dz = normal(seed, networks, rows, outputs, dtype=dtype)
    weight = normal(seed + 1, networks, inputs, outputs, dtype=dtype)
    z = normal(seed + 2, networks, rows, inputs)
    a, out = PLAIN[activation][0](z).astype(dtype), np.full((networks, rows, inputs), np.nan, dtype)
    NumpyOps(dtype).dense_backward(dz, weight, a, out, activation=activation)
    exact = [each.astype(np.longdouble) for each in (dz, weight, a)]
    of_a = {"identity": np.ones_like(exact[2]), "relu": (exact[2] > 0), "sigmoid": exact[2] * (1 - exact[2])}
    slope = of_a.get(activation, 1 - exact[2] ** 2)
    expected = np.einsum("pbo,pio->pbi", *exact[:2])
    magnitude = np.einsum("pbo,pio->pbi", *map(np.abs, exact[:2]))
    # 1 - a and 1 - a^2 are rounded at 1, however small they come out.
    bound = sum_bound(dtype, outputs, magnitude) + ELEMENTARY * eps(dtype) * np.abs(expected)
    assert_within(out, expected * slope, bound)


# Passes


@given(layer_sizes, st.sampled_from(("sigmoid", "tanh", "identity")), st.integers(1, 8), st.booleans(), seeds)
def test_gradient_is_the_slope_in_any_direction(sizes, activation, rows, squared, seed):
    loss = "squared_error" if squared else None
    network = MLP(sizes, activation, seed, loss=loss, ops=NumpyOps(np.float64))
    images, labels = normal(seed, rows, sizes[0]), np.arange(rows) % max(2, sizes[-1])
    network.forward(images)
    network.backward(labels)
    gradient, begin = network.gradient.copy(), network.parameters.copy()
    direction = normal(seed + 1, *begin.shape) * (begin != 0)
    direction /= np.linalg.norm(direction)
    losses = []
    for distance in (1e-5, -1e-5):
        network.parameters[:] = begin + distance * direction
        network.forward(images)
        losses.append(network.backward(labels))
    slope = (losses[0] - losses[1]) / 2e-5
    assert_within(slope, (gradient * direction).sum(), FINITE_DIFFERENCES * max(1e-3, np.linalg.norm(gradient)))


@given(layer_sizes, activations, st.sampled_from(tuple(INITIALIZERS)), st.integers(1, 30), seeds)
def test_float32_follows_float64(sizes, activation, init, rows, seed):
    """The same parameters and bytes: logits as far apart as that many sums, one after another, may be."""
    images = np.random.default_rng(seed).integers(0, 256, (rows, sizes[0]), dtype=np.uint8)
    narrow, wide = (MLP(sizes, activation, seed, init=init, ops=NumpyOps(each)) for each in (np.float32, np.float64))
    wide.parameters[:] = narrow.parameters
    difference, a = np.abs(narrow.logits(images) - wide.logits(images)), images / 255
    unit, error = eps(np.float32), np.full_like(a, eps(np.float32))
    for index, (weight, bias) in enumerate(wide.layers):
        magnitude = np.abs(a) @ np.abs(weight[0]) + np.abs(bias[0])
        error = error @ np.abs(weight[0]) + sum_bound(np.float32, a.shape[1] + 1, magnitude) + ELEMENTARY * unit
        a = a @ weight[0] + bias[0]
        if index + 1 < len(wide.layers):
            a = PLAIN[activation][0](a)
    assert_within(difference, np.zeros_like(difference), error)


@given(
    st.lists(seeds, min_size=2, max_size=4),
    st.lists(st.integers(1, 12), min_size=2, max_size=4).map(tuple),
    st.integers(1, 9),
    st.sampled_from((0.0, 0.3)),
    st.booleans(),
    dtypes,
    st.data(),
)
def test_member_of_a_population_ends_as_it_would_alone(members, sizes, batch_size, dropout, is_adam, dtype, data):
    rates = data.draw(st.lists(st.floats(1e-4, 0.1), min_size=len(members), max_size=len(members)))
    rng = np.random.default_rng(members[0])
    images, labels = rng.integers(0, 256, (11, sizes[0]), dtype=np.uint8), rng.integers(0, max(2, sizes[-1]), 11)

    def trained(seed, rate):
        network = MLP(sizes, "tanh", seed, dropout=dropout, ops=NumpyOps(dtype))
        optimizer = Adam(rate) if is_adam else SGD(rate, momentum=0.5)
        history = train(network, images, labels, optimizer=optimizer, epochs=2, batch_size=batch_size)
        return network.parameters, history.train.loss

    together, losses = trained(members, rates)
    for place, (seed, rate) in enumerate(zip(members, rates, strict=True)):
        alone, loss = trained(seed, rate)
        assert_same_bits(together[place], alone[0])
        assert_same_bits(np.atleast_2d(losses)[place], np.atleast_2d(loss)[0])


# Parameters


@given(layer_sizes, st.integers(1, 3))
def test_layout_gives_every_parameter_a_place_of_its_own(sizes, networks):
    layout = ParameterLayout(sizes)
    flat = np.zeros((networks, layout.length))
    views, count = layout.views(flat), 0
    for view in (view for pair in views for view in pair):
        view[:] = np.arange(count, count + view[0].size).reshape(view[0].shape) + 1
        count += view[0].size
    assert count == layout.count
    for row in flat:
        assert sorted(row[row != 0]) == list(range(1, count + 1))
    assert all(slot % ALIGNMENT == 0 for layer in layout.layers for slot in (layer.weight, layer.bias, layout.length))
    assert [weight.shape[1:] for weight, _ in views] == list(zip(sizes, sizes[1:], strict=False))


@given(layer_sizes, st.sampled_from(tuple(INITIALIZERS)), seeds)
def test_initial_parameters_are_finite_and_their_padding_zero(sizes, init, seed):
    network = MLP(sizes, seed=seed, init=init)
    mask = np.zeros_like(network.parameters)
    for weight, bias in network.layout.views(mask):
        weight[:], bias[:] = 1, 1
    assert np.isfinite(network.parameters).all() and not network.parameters[mask == 0].any()


# Random numbers


@given(st.lists(seeds, min_size=1, max_size=3), st.integers(0, 2**20), st.integers(1, 300))
def test_shuffle_is_a_permutation(members, epoch, count):
    order = permutation(np.array(members, np.uint32), epoch, count)
    assert order.dtype == np.int32 and order.shape == (len(members), count)
    assert (np.sort(order, axis=1) == np.arange(count)).all()


@given(seeds, st.integers(0, 2**20), st.integers(0, 4), st.floats(0, 0.999))
def test_dropout_drops_its_share(seed, step, layer, rate):
    rows, columns = 64, 128
    dropped = (dropout_hash(np.array([seed], np.uint32), step, layer, rows, columns) < dropout_threshold(rate)).mean()
    assert abs(dropped - rate) <= 6 * math.sqrt(rate * (1 - rate) / (rows * columns)) + 2**-32


# Optimizers


@given(st.floats(1e-6, 1), st.floats(0, 0.999), st.floats(0, 0.9999), st.integers(1, 50), st.integers(0, 10**6))
def test_adam_table_holds_the_bias_corrections(rate, beta1, beta2, steps, before):
    table = step_table(Adam(rate, beta1=beta1, beta2=beta2), 2, steps, before)
    for t in (1, steps):
        left1, left2 = 1 - beta1 ** (before + t), 1 - beta2 ** (before + t)
        expected = np.array([rate / left1, 1 / math.sqrt(left2), 0])
        # What is left of 1 has the powers' rounding, at 1.
        bound = 8 * eps(np.float64) * expected / np.array([left1, left2, 1])
        assert_within(table[:, t - 1], np.array([expected] * 2), np.array([bound] * 2))


@given(
    st.sampled_from(("adam", "sgd")), st.booleans(), st.floats(1e-5, 0.5), st.floats(0, 0.3), st.floats(0, 0.95), seeds
)
def test_steps_of_an_optimizer_are_pytorchs_formulas(method, decoupled, rate, decay, momentum, seed):
    """Three steps on a layer without hidden ones, beside the formulas in Python's floats."""
    images, labels = normal(seed, 6, 3), np.arange(6) % 2
    options = {"learning_rate": rate, "weight_decay": decay, "decoupled": decoupled}
    optimizer = Adam(**options) if method == "adam" else SGD(**options, momentum=momentum)
    network = MLP((3, 2), seed=seed, ops=NumpyOps(np.float64))
    w, m, v = network.parameters.copy(), 0.0, 0.0
    train(network, images, labels, optimizer=optimizer, epochs=3, batch_size=6, shuffle="never")
    follower = MLP((3, 2), seed=seed, ops=NumpyOps(np.float64))
    for t in (1, 2, 3):
        follower.parameters[:] = w
        follower.forward(images)
        follower.backward(labels)
        g = follower.gradient + (0 if decoupled else decay * w)
        w = w * (1 - rate * decay if decoupled else 1)
        if method == "adam":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        else:
            m = momentum * m + g
            w = w - rate * m
    # An update by Adam is about `rate`, however small the gradient, whose own rounding it then magnifies.
    assert_within(network.parameters, w, 1e5 * UPDATE * eps(np.float64) * (1 + np.abs(w)))
