"""The optimizers' updates: by hand, and in their last bits."""

from __future__ import annotations

import numpy as np
import pytest
from buffers import Guarded, exact, normal, step_at, unchanged
from tolerances import UPDATE, assert_same_bits, assert_within, eps

from gpunet.ops import LayerGradient
from gpunet.optimizers import SGD, Adam, optimizer_state
from gpunet.parameters import ParameterLayout

LAYOUT = ParameterLayout((3, 2))
OPTIMIZERS = [
    Adam(learning_rate=0.5),
    Adam(learning_rate=0.5, weight_decay=0.25),
    Adam(learning_rate=0.5, weight_decay=0.25, decoupled=True),
    SGD(learning_rate=0.5),
    SGD(learning_rate=0.5, momentum=0.5),
    SGD(learning_rate=0.5, momentum=0.5, weight_decay=0.25),
    SGD(learning_rate=0.5, weight_decay=0.25, decoupled=True),
]


def make_state(ops, optimizer, weights=0.0, steps=4, networks=1):
    parameters, gradient = ops.zeros((networks, LAYOUT.length)), ops.zeros((networks, LAYOUT.length))
    parameters[:] = ops.asarray(weights)
    return optimizer_state(ops, optimizer, LAYOUT, parameters, gradient, steps)


def update(ops, state, gradient, index):
    """One update with this gradient at every parameter; returns the parameters."""
    state.gradient[:] = ops.asarray(gradient)
    getattr(ops, state.method)(state, step_at(ops, 0, index))
    return ops.to_host(state.parameters)


def trajectory(ops, optimizer, start, gradients):
    """What one parameter becomes, update by update; all parameters take the same way."""
    state = make_state(ops, optimizer, start)
    ways = [update(ops, state, gradient, index) for index, gradient in enumerate(gradients)]
    assert all((way == way[0, 0]).all() for way in ways)
    return np.array([way[0, 0] for way in ways])


def test_adam_by_hand(ops):
    # beta1 = 1/2, beta2 = 3/4, eps = 1, lr = 1, gradients 1/2 and 1, w = 1:
    # m = 1/4, of which 1/2 corrected; v = 1/16, corrected 1/4, root 1/2; w = 1 - 0.5 / (0.5 + 1) = 2/3
    # m = 5/8, corrected 5/6; v = 3/64 + 16/64 = 19/64, corrected 19/28; w = 2/3 - (5/6) / (sqrt(19/28) + 1)
    adam = Adam(learning_rate=1, beta1=0.5, beta2=0.75, eps=1)
    second = 2 / 3 - (5 / 6) / (np.sqrt(19 / 28) + 1)
    assert_within(trajectory(ops, adam, 1, [0.5, 1]), np.array([2 / 3, second]), UPDATE * eps(ops.dtype))


def test_adam_takes_the_learning_rate_as_its_first_step(ops):
    # m corrected is g, v corrected is g^2: w moves by lr * g / (|g| + eps), whatever g's size.
    for gradient in (1e-3, -5.0, 1e3):
        moved = trajectory(ops, Adam(learning_rate=0.003), 0, [gradient])
        assert_within(moved, -0.003 * np.array([gradient]) / (abs(gradient) + 1e-8), UPDATE * eps(ops.dtype) * 0.003)


def test_adam_puts_eps_outside_of_the_bias_correction(ops):
    # g = 1e-8 = eps: w moves by lr / 2. With eps inside it would be lr / (1 + sqrt(1000)).
    moved = trajectory(ops, Adam(learning_rate=1), 0, [1e-8])
    assert_within(moved, np.array([-0.5]), UPDATE * eps(ops.dtype))


def test_adam_without_gradient_stays(ops):
    assert trajectory(ops, Adam(learning_rate=1), 0.75, [0, 0]).tolist() == [0.75, 0.75]


def test_adam_moments_lose_no_bits_to_one_minus_beta(ops):
    # float32(1) - float32(0.999) would put v off by 1.3e-5 of it, float32(1) - float32(0.9) m by 2 eps. The factor and
    # the product are rounded: half an eps each.
    state = make_state(ops, Adam())
    update(ops, state, 3, 0)
    for moment, value in ((state.m, 3 * (1 - 0.9)), (state.v, 9 * (1 - 0.999))):
        assert_within(ops.to_host(moment), np.full(state.m.shape, value), eps(ops.dtype) * value)


def test_adam_adds_l2_decay_to_the_gradient(ops):
    adam = {"learning_rate": 0.5, "beta1": 0.5, "beta2": 0.75, "eps": 1}
    # w = 2, g = 0.5, decay 0.25: as a gradient of 1 would have it.
    decayed = trajectory(ops, Adam(weight_decay=0.25, **adam), 2, [0.5])
    assert_same_bits(decayed, trajectory(ops, Adam(**adam), 2, [1]))


def test_adam_decouples_decay_from_the_moments(ops):
    # w = 2 * (1 - 0.5 * 0.25) = 1.75, then Adam's step of 0.5 * 0.5 / (0.5 + 1)
    adam = Adam(learning_rate=0.5, beta1=0.5, beta2=0.75, eps=1, weight_decay=0.25, decoupled=True)
    assert_within(trajectory(ops, adam, 2, [0.5]), np.array([1.75 - 1 / 6]), UPDATE * eps(ops.dtype))


# These are exact: every number has few bits.
@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        # w = 2, gradients 1, -0.5, 0.25
        (SGD(learning_rate=0.5), [1.5, 1.75, 1.625]),
        # velocity 1, then 0.5 - 0.5 = 0, then 0 + 0.25
        (SGD(learning_rate=0.5, momentum=0.5), [1.5, 1.5, 1.375]),
        # gradients 1 + 0.5, -0.5 + 0.3125, 0.25 + 0.3359375 with decay 0.25: w = 1.25, 1.34375, 1.05078125
        (SGD(learning_rate=0.5, weight_decay=0.25), [1.25, 1.34375, 1.05078125]),
        # w = 2 * 0.875 - 0.5, then 1.25 * 0.875 + 0.25, then 1.34375 * 0.875 - 0.125
        (SGD(learning_rate=0.5, weight_decay=0.25, decoupled=True), [1.25, 1.34375, 1.05078125]),
        # velocity 1 + 0.5 = 1.5, w = 1.25; velocity 0.75 - 0.5 + 0.3125 = 0.5625, w = 0.96875;
        # velocity 0.28125 + 0.25 + 0.2421875 = 0.7734375, w = 0.58203125
        (SGD(learning_rate=0.5, weight_decay=0.25, momentum=0.5), [1.25, 0.96875, 0.58203125]),
        # Decoupled, the velocity knows nothing of the decay: 1.75 - 0.5, then velocity 0, then 0.25:
        # w = 1.25, 1.09375, 0.83203125
        (
            SGD(learning_rate=0.5, weight_decay=0.25, momentum=0.5, decoupled=True),
            [1.25, 1.09375, 0.83203125],
        ),
    ],
    ids=str,
)
def test_sgd_by_hand(ops, optimizer, expected):
    assert trajectory(ops, optimizer, 2, [1, -0.5, 0.25]).tolist() == expected


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_update_with_lr_scale_zero_freezes_a_network(ops, optimizer):
    state = make_state(ops, optimizer, 1.7, networks=3)
    state.lr_scale[1] = 0
    before = ops.to_host(state.parameters)
    for index in range(3):
        after = update(ops, state, 0.3, index)
    assert_same_bits(after[1], before[1])
    assert (after[[0, 2]] != before[[0, 2]]).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_update_is_scaled_by_lr_scale(ops, optimizer):
    state = make_state(ops, optimizer, 0, networks=2)  # at zero, where decay does nothing
    state.lr_scale[1] = 0.5
    after = update(ops, state, 0.3, 0)
    assert after.any()
    assert_within(after[1], after[0] / 2, eps(ops.dtype) * abs(after[0]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_update_of_zeros_keeps_them_zero(ops, optimizer):
    """What padding relies on: no gradient and no weight give none."""
    state = make_state(ops, optimizer)
    for index in range(3):
        assert not update(ops, state, 0, index).any()


def test_update_reads_its_own_step_of_the_table(ops):
    """Steps count through the epochs: step 1 of epoch 2, of 3 an epoch, is the seventh."""
    state = make_state(ops, SGD(learning_rate=1), steps=9)
    state.step_table[:] = ops.asarray([[[step, 1, 0] for step in range(9)]])
    state.gradient[:] = 1
    ops.sgd(state, step_at(ops, 2, 1, per_epoch=3))
    assert (ops.to_host(state.parameters) == -7).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_update_leaves_its_tables_alone(ops, optimizer):
    state = make_state(ops, optimizer, 1.5)
    with unchanged(ops, state.step_table, state.lr_scale, *([] if state.l2 is None else [state.l2])):
        update(ops, state, 0.3, 0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_update_is_the_rounded_formula(ops, optimizer):
    """Three updates with gradients of all sizes, each held against the formula in longer numbers."""
    state = make_state(ops, optimizer, steps=9)
    state.parameters[:] = normal(ops, state.parameters.shape, 1)
    for index in range(3):
        sizes = 10.0 ** np.random.default_rng(index).uniform(-9, 3, state.parameters.shape)
        gradient = normal(ops, state.parameters.shape, 10 + index) * ops.asarray(sizes)
        w, g = exact(ops, state.parameters), exact(ops, gradient)
        m, v = (None if each is None else exact(ops, each) for each in (state.m, state.v))
        after = update(ops, state, gradient, index)
        expected, step = longer_update(optimizer, w, g, m, v, *exact(ops, state.step_table)[0, index])
        assert_within(after, expected, UPDATE * eps(ops.dtype) * (abs(w) + step))


def longer_update(optimizer, w, g, m, v, rate, root_factor, decoupled_decay):
    """(the parameters after an update, the size of what was subtracted from them), by a row of the step table."""
    size = abs(g)
    if not optimizer.decoupled:
        g, size = g + optimizer.weight_decay * w, size + abs(optimizer.weight_decay * w)
    w = w * (1 - decoupled_decay)
    if optimizer.method == "adam":
        b1, b2 = np.longdouble(optimizer.beta1), np.longdouble(optimizer.beta2)
        factor = rate / (np.sqrt(b2 * v + (1 - b2) * g * g) * root_factor + optimizer.eps)
        return w - factor * (b1 * m + (1 - b1) * g), factor * (b1 * abs(m) + (1 - b1) * size)
    velocity = 0 if m is None else optimizer.momentum * m
    return w - rate * (velocity + g), rate * (abs(velocity) + size)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_dense_update_is_the_gradient_and_the_update(ops, optimizer):
    x, dz = normal(ops, (2, 7, 3), 1), normal(ops, (2, 7, 2), 2)
    layers = [LayerGradient(x, dz, None)]
    states = []
    for _ in range(2):
        states.append(make_state(ops, optimizer, networks=2))
        for view, seed in zip(LAYOUT.views(states[-1].parameters)[0], (3, 4), strict=True):
            view[:] = normal(ops, view.shape, seed)
    together, apart = states
    with unchanged(ops, x, dz):
        ops.dense_update(layers, together, step_at(ops))
    ops.dense_gradient(layers, apart.gradient_views)
    getattr(ops, apart.method)(apart, step_at(ops))
    assert_same_bits(ops.to_host(together.parameters), ops.to_host(apart.parameters))


def test_dense_update_by_hand(ops):
    # x = (1, 2), dz = 3: dweight = (3, 6), dbias = 3; SGD with rate 1/2 from zero.
    layout = ParameterLayout((2, 1))
    parameters, gradient = Guarded(ops, (1, 64)), ops.zeros((1, 64))
    parameters.array[:] = 0
    state = optimizer_state(ops, SGD(learning_rate=0.5), layout, parameters.array, gradient, 1)
    ops.dense_update([LayerGradient(ops.asarray([[[1, 2]]]), ops.asarray([[[3]]]), None)], state, step_at(ops))
    expected = np.zeros((1, 64))
    expected[0, [0, 1, 32]] = -1.5, -3, -1.5
    np.testing.assert_array_equal(parameters.result(), expected)
