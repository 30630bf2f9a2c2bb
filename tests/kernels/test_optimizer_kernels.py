"""adam and sgd over the flat buffer, against float64 NumpyOps. That `dense_update` has their bits is tested with it."""

from __future__ import annotations

import inspect
import types

import numpy as np
import pytest
from tolerances import UPDATE, assert_same_bits, assert_within, eps
from update_cases import EPOCHS, PER_EPOCH, KernelState, UpdateCase

from gpunet.kernels import optimizers
from gpunet.ops import NumpyOps, Step
from gpunet.parameters import ParameterLayout

OPTIMIZERS = {
    "adam": {"method": "adam"},
    "adam, l2": {"method": "adam", "l2": True},
    "adamw": {"method": "adam", "decoupled": True},
    "adamw and l2": {"method": "adam", "decoupled": True, "l2": True},
    "sgd": {"method": "sgd"},
    "sgd, l2": {"method": "sgd", "l2": True},
    "sgd, decoupled": {"method": "sgd", "decoupled": True},
    "momentum": {"method": "sgd", "momentum": 0.9},
    "momentum, l2, decoupled": {"method": "sgd", "momentum": 0.9, "l2": True, "decoupled": True},
}


def state_and_gradient(optimizer="adam", sizes=(7, 3), networks=1, seed=0):
    """With elements whose moments and gradients are zero, as a pixel's that is always dark."""
    case = UpdateCase((1, 1))
    state = KernelState(ParameterLayout(sizes), networks, **OPTIMIZERS[optimizer])
    gradient = np.random.default_rng(seed).standard_normal(state.parameters.shape).astype(np.float32) * state.used
    for array in (state.m, state.v, gradient):
        array[:, 1::4] = 0
    if "eps" in state.constants:
        state.constants["eps"] = 1e-3  # large enough to show
    return case, state, gradient


def oracle(case, state, gradient):
    """NumpyOps' state, float64, and for each buffer the sum of its terms' sizes."""
    expected = state.contract(gradient)
    step = Step(case.epoch, case.step.index, case.step.per_epoch)
    getattr(NumpyOps(np.float64), state.method)(expected, step)
    decay = 0 if state.l2 is None else expected.l2[:, None]
    w, g = np.abs(state.parameters.astype(np.float64)), np.abs(gradient.astype(np.float64))
    g = g + decay * w
    before, root_factor, _ = (case_factors[:, None] for case_factors in expected.step_table[:, step.number].T)
    before = before * expected.lr_scale[:, None]
    if state.method == "adam":
        m = expected.beta1 * np.abs(state.m.astype(np.float64)) + expected.one_minus_beta1 * g
        v = expected.beta2 * state.v.astype(np.float64) + expected.one_minus_beta2 * g * g
        direction = m / (np.sqrt(expected.v) * root_factor + expected.eps)
        direction *= np.divide(v, expected.v, out=np.ones_like(v), where=expected.v > 0)
    else:
        direction = m = expected.momentum * np.abs(state.m.astype(np.float64)) + g
        v = np.abs(expected.v)
    return expected, {"parameters": w + before * direction, "m": m, "v": v}


def assert_step(case, state, gradient):
    expected, magnitudes = oracle(case, state, gradient)
    actual = state.copy()
    actual.step(case, gradient.copy())
    for name, magnitude in magnitudes.items():
        if state.keeps(name):
            bound = UPDATE * eps(np.float32) * magnitude
            assert_within(getattr(actual, name), getattr(expected, name), bound)
        else:
            assert_same_bits(getattr(actual, name), getattr(state, name))
        assert not getattr(actual, name)[~state.used].any(), "padding is no longer zero"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_step_equals_the_oracle(optimizer):
    assert_step(*state_and_gradient(optimizer, networks=3))


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "momentum"])
def test_step_of_more_elements_than_a_block_has_threads(optimizer):
    assert ParameterLayout((31, 9)).length > optimizers.THREADS
    assert_step(*state_and_gradient(optimizer, sizes=(31, 9)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_network_at_lr_scale_zero_keeps_its_weights(optimizer):
    case, state, gradient = state_and_gradient(optimizer, networks=2)
    state.lr_scale[1] = 0
    before = state.copy()
    state.step(case, gradient)
    assert_same_bits(state.parameters[1], before.parameters[1])
    assert (state.parameters[0] != before.parameters[0]).any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_nan_reaches_the_weight_and_no_other(optimizer):
    buffers = ["gradient"] + [name for name in ("m", "v") if state_and_gradient(optimizer)[1].keeps(name)]
    for place, buffer in enumerate(buffers):
        case, state, gradient = state_and_gradient(optimizer)
        (gradient if buffer == "gradient" else getattr(state, buffer))[0, place] = np.nan
        state.step(case, gradient)
        assert np.flatnonzero(np.isnan(state.parameters)).tolist() == [place], buffer


def test_every_step_of_the_run_reads_its_own_row_of_the_table():
    case, state, gradient = state_and_gradient("sgd")
    state.step_table[:] = 0
    state.step_table[0, :, 0] = np.arange(1, EPOCHS * PER_EPOCH + 1)
    state.lr_scale[:] = 1
    for epoch in range(EPOCHS):
        for index in range(PER_EPOCH):
            now = state.copy()
            case.epoch[0] = epoch
            case.step = case.step._replace(index=index)
            now.parameters[:] = 0
            now.step(case, gradient)
            assert_same_bits(now.parameters, 0 - gradient * np.float32(epoch * PER_EPOCH + index + 1))


FAULTS = {
    "eps left out": ("cuda.fma(root(v), root_factor, eps)", "root(v) * root_factor"),
    "eps under the root": ("cuda.fma(root(v), root_factor, eps)", "root(v + eps) * root_factor"),
    "the root's factor left out": ("cuda.fma(root(v), root_factor, eps)", "root(v) + eps"),
    "a moment of the undecayed gradient": ("gradient = cuda.fma(decay, w, gradient)", "pass"),
    "the decay not scaled": ("step_table[entry + uint32(2)] * scale", "step_table[entry + uint32(2)]"),
    "the rate not scaled": ("step_table[entry] * scale", "step_table[entry]"),
    "another step": ("* per_epoch + index)", "* per_epoch)"),
    "another network's table": ("(network * steps + step)", "step"),
    "the old moment": ("direction = quotient(m,", "direction = quotient(one_minus_beta1 * gradient,"),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # a fault may divide 0 by 0
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault, monkeypatch):
    right, wrong = FAULTS[fault]
    source = inspect.getsource(optimizers)
    assert right in source, "the fault no longer fits the kernel"
    faulty = types.ModuleType("faulty_optimizers")
    exec(compile(source.replace(right, wrong), "faulty_optimizers", "exec"), faulty.__dict__)
    monkeypatch.setattr("update_cases.optimizers", faulty)
    with pytest.raises(AssertionError):
        assert_step(*state_and_gradient("adamw and l2", networks=3))
