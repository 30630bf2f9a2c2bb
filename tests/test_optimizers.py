"""The table of factors that a run's updates read, and what an optimizer keeps."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from sentences import refused

from gpunet.ops import NumpyOps
from gpunet.optimizers import SGD, Adam, optimizer_state, step_table
from gpunet.parameters import ParameterLayout

LAYOUT = ParameterLayout((3, 2))


def state_of(optimizer, networks=2, steps=4, ops=None):
    ops = ops or NumpyOps()
    flat = (networks, LAYOUT.length)
    return optimizer_state(ops, optimizer, LAYOUT, ops.zeros(flat), ops.zeros(flat), steps)


def test_step_table_of_adam_holds_the_bias_corrections():
    table = step_table(Adam(learning_rate=0.003), 1, 2000)
    assert table.dtype == np.float64 and table.shape == (1, 2000, 3)
    for t in (1, 2, 10, 1999):
        # In exact arithmetic with the double nearest to 0.999: its power keeps t roundings, 1 - power loses digits.
        first = 0.003 / float(1 - Fraction(0.9) ** t)
        second = float(1 - Fraction(0.999) ** t) ** -0.5
        np.testing.assert_allclose(table[0, t - 1], [first, second, 0], rtol=1e-12, atol=0)


def test_step_table_of_sgd_is_the_learning_rate():
    np.testing.assert_array_equal(step_table(SGD(learning_rate=0.25), 2, 3), np.tile([0.25, 1, 0], (2, 3, 1)))


def test_step_table_holds_decay_only_where_it_is_decoupled():
    l2, decoupled = (
        step_table(SGD(learning_rate=[0.5, 0.25], weight_decay=[0.125, 0.5], decoupled=flag), 2, 1)[:, 0, 2]
        for flag in (False, True)
    )
    assert l2.tolist() == [0, 0]
    assert decoupled.tolist() == [0.0625, 0.125]


def test_step_table_gives_each_network_its_own_rate():
    rates = [0.1, 0.2, 0.3]
    table = step_table(Adam(learning_rate=rates), 3, 5)
    for network, rate in enumerate(rates):
        np.testing.assert_array_equal(table[network], step_table(Adam(learning_rate=rate), 1, 5)[0])


def test_adam_constants_are_rounded_from_float64():
    # float32(1) - float32(0.999) is 0.00099998712, float32(1 - 0.999) is 0.001.
    constants = Adam().constants()
    assert np.float32(constants["one_minus_beta2"]) == np.float32(1 - 0.999) != np.float32(1) - np.float32(0.999)
    assert constants == {
        "beta1": 0.9,
        "one_minus_beta1": 1 - 0.9,
        "beta2": 0.999,
        "one_minus_beta2": 1 - 0.999,
        "eps": 1e-8,
    }


def test_optimizer_defaults_are_pytorchs():
    assert vars(Adam()) == {
        "learning_rate": 0.001,
        "weight_decay": 0.0,
        "decoupled": False,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
    }
    assert SGD().momentum == 0


def test_optimizer_state_keeps_only_what_it_uses():
    adam, plain, momentum = state_of(Adam()), state_of(SGD()), state_of(SGD(momentum=0.9))
    assert (adam.method, plain.method) == ("adam", "sgd")
    assert adam.m.shape == adam.v.shape == adam.parameters.shape
    assert plain.m is None and plain.v is None
    assert momentum.m is not None and momentum.v is None
    assert adam.l2 is None and not adam.decoupled
    assert state_of(Adam(decoupled=True)).decoupled is False  # a decay of zero is none


def test_optimizer_state_places_weight_decay_by_its_kind():
    l2 = state_of(Adam(weight_decay=[0.0, 0.25]))
    assert l2.l2.tolist() == [0, 0.25] and not l2.decoupled
    decoupled = state_of(Adam(learning_rate=0.5, weight_decay=[0.0, 0.25], decoupled=True))
    assert decoupled.l2 is None and decoupled.decoupled
    assert decoupled.step_table[:, 0, 2].tolist() == [0, 0.125]


def test_optimizer_state_begins_at_rest(ops):
    state = state_of(Adam(), ops=ops)
    assert not ops.to_host(state.m).any() and not ops.to_host(state.v).any()
    assert ops.to_host(state.lr_scale).tolist() == [1, 1]
    assert state.step_table.dtype == state.m.dtype == ops.dtype
    state.gradient_views[0][1][:] = 5  # views of the gradient buffer
    assert ops.to_host(state.gradient).sum() == 2 * 2 * 5


@pytest.mark.parametrize("optimizer", [Adam, SGD])
@pytest.mark.parametrize("name", ["learning_rate", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), [0.1, 0.2, 0.3], [[0.1, 0.1]], "fast"])
def test_optimizer_state_refuses_rates_that_are_none(optimizer, name, value):
    with refused(name):
        state_of(optimizer(**{name: value}))


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (Adam(beta1=1.0), "beta1"),
        (Adam(beta2=-0.1), "beta2"),
        (Adam(eps=float("nan")), "eps"),
        (Adam(eps=-1e-8), "eps"),
        (SGD(momentum=-0.5), "momentum"),
        (SGD(momentum=float("inf")), "momentum"),
    ],
    ids=str,
)
def test_optimizer_state_refuses_constants_out_of_range(optimizer, name):
    with refused(name):
        state_of(optimizer)
