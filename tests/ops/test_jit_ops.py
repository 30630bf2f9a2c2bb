"""The compiled loops beside NumPy's operations. What the fixture `ops` holds for every backend is not repeated here."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
from buffers import Guarded, step_at, unchanged
from tolerances import PARITY_FLOAT32, PARITY_FLOAT64, assert_same_bits, assert_within

from gpunet import counter_rng
from gpunet.network import MLP
from gpunet.ops import Batch, NumpyOps
from gpunet.ops.numpy_activations import ACTIVATIONS
from gpunet.optimizers import SGD, Adam, optimizer_state
from gpunet.parameters import ParameterLayout
from gpunet.reporting.environment import device
from gpunet.training import train

pytest.importorskip("numba")

from gpunet.ops import jit_layers, jit_losses, jit_ops, jit_optimizers  # noqa: E402  (where Numba is installed)
from gpunet.ops.jit_ops import JitOps  # noqa: E402

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
PARITY = {np.float32: PARITY_FLOAT32, np.float64: PARITY_FLOAT64}
LAYOUT = ParameterLayout((13, 5, 1))
NETWORKS, IMAGES, ROWS = 3, 23, 20
OPTIMIZERS = {
    "adam": Adam((0.01, 0.02, 0.03)),
    "adam, l2": Adam(0.01, weight_decay=(0.1, 0, 0.3)),
    "adam, decoupled": Adam((0.01, 0.02, 0.03), weight_decay=(0.1, 0, 0.3), decoupled=True),
    "sgd": SGD((0.1, 0.2, 0.3)),
    "sgd, l2": SGD(0.1, weight_decay=(0.1, 0, 0.3)),
    "momentum": SGD((0.1, 0.2, 0.3), momentum=0.9),
    "momentum, decoupled": SGD(0.1, momentum=0.9, weight_decay=0.1, decoupled=True),
}


def operations(backend):
    methods = inspect.getmembers(backend, inspect.isfunction)
    return {name: inspect.signature(method) for name, method in methods if not name.startswith("_")}


def test_jit_ops_have_the_parameters_and_defaults_of_numpy_ops():
    ours, reference = operations(JitOps), operations(NumpyOps)
    assert ours.keys() == reference.keys()
    for name, signature in reference.items():
        expected = [(p.name, p.kind, p.default) for p in signature.parameters.values()]
        assert [(p.name, p.kind, p.default) for p in ours[name].parameters.values()] == expected, name


# Optimizers


def state_of(ops, optimizer, networks=NETWORKS, steps=4):
    rng = np.random.default_rng(5)
    parameters, gradient = (ops.asarray(rng.standard_normal((networks, LAYOUT.length))) for _ in range(2))
    return optimizer_state(ops, optimizer, LAYOUT, parameters, gradient, steps)


@DTYPES
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_update_has_numpys_bits(optimizer, dtype):
    states = []
    for ops in (NumpyOps(dtype), JitOps(dtype)):
        state = state_of(ops, optimizer)
        state.lr_scale[:] = 1, 0, 0.5
        gradients = np.random.default_rng(6).standard_normal((4, *state.gradient.shape))
        for index, gradient in enumerate(gradients):
            state.gradient[:] = gradient
            getattr(ops, optimizer.method)(state, step_at(ops, 0, index, len(gradients)))
        states.append(state)
    for buffer in ("parameters", "m", "v"):
        expected, actual = (getattr(state, buffer) for state in states)
        if expected is not None:
            assert_same_bits(actual, expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_update_of_a_frozen_network_moves_nothing(optimizer):
    ops = JitOps()
    state = state_of(ops, optimizer)
    state.lr_scale[1] = 0
    before = state.parameters.copy()
    getattr(ops, optimizer.method)(state, step_at(ops))
    assert_same_bits(state.parameters[1], before[1])
    assert not np.any(state.parameters[[0, 2]] == before[[0, 2]])


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_update_with_a_nan_leaves_nan_there_and_nowhere_else(optimizer):
    ops = JitOps()
    state = state_of(ops, optimizer)
    state.gradient[2, 7] = np.nan
    getattr(ops, optimizer.method)(state, step_at(ops))
    assert np.argwhere(np.isnan(state.parameters)).tolist() == [[2, 7]]


# Layers and losses


@DTYPES
def test_layers_have_numpys_bits(dtype):
    rng = np.random.default_rng(7)
    z, bias = rng.standard_normal((2, 5, 37)).astype(dtype), rng.standard_normal((2, 37)).astype(dtype)
    a, gradient = np.maximum(z[::-1], 0), rng.standard_normal(z.shape).astype(dtype)
    results = []
    for ops in (NumpyOps(dtype), JitOps(dtype)):
        outs = [z.copy(), z.copy(), gradient.copy(), np.empty_like(bias)]
        ops._activate(outs[0], bias, "identity")
        ops._activate(outs[1], bias, "relu")
        ops._times_derivative(outs[2], a, "relu")
        ops._sum_over_rows(z, outs[3])
        results.append(outs)
    for expected, actual in zip(*results, strict=True):
        assert_same_bits(actual, expected)


def test_layers_let_nan_through():
    ops, nan = JitOps(), np.float32(np.nan)
    z = np.array([[[nan, 1, -1]]], np.float32)
    ops._activate(z, np.array([[0, nan, 0]], np.float32), "relu")
    np.testing.assert_array_equal(z, [[[nan, nan, 0]]])
    gradient = np.array([[[nan, 1, nan, 2]]], np.float32)
    ops._times_derivative(gradient, np.array([[[0, nan, 1, 1]]], np.float32), "relu")
    np.testing.assert_array_equal(gradient, [[[nan, nan, nan, 2]]])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_losses_let_nan_through(place):
    ops, logits = JitOps(), np.array([[[3, 1, 2], [3, 1, 2]]], np.float32)
    logits[0, 1, place] = np.nan
    row_loss, hits, dlogits = np.zeros((1, 2), np.float32), np.ones((1, 2), np.uint8), np.zeros_like(logits)
    for label in range(3):
        ops.softmax_cross_entropy(logits, np.array([[0, label]], np.int32), row_loss, hits, dlogits)
        assert np.isnan(row_loss).tolist() == [[False, True]] and hits.tolist() == [[1, 0]]
        assert np.isnan(dlogits).all(axis=2).tolist() == [[False, True]] and not np.isnan(dlogits[0, 0]).any()
    ops.binary_cross_entropy(logits[..., place : place + 1].copy(), np.array([[1, 0]], np.int32), row_loss, hits)
    assert np.isnan(row_loss).tolist() == [[False, True]] and hits.tolist() == [[1, 0]]


@pytest.mark.parametrize("n", [1, 2, 3, 64, 65, 200])
def test_shuffle_is_the_counter_based_permutation(n):
    seeds, split = np.array([0, 2**32 - 1], np.uint32), np.arange(2 * n, dtype=np.int32).reshape(2, n) * 3
    for epoch in (0, 5):
        out = Guarded(JitOps(), (2, n), np.int32)
        JitOps().shuffle(split, seeds, np.array([epoch], np.int32), out.array)
        order = counter_rng.permutation(seeds, epoch, n)
        np.testing.assert_array_equal(out.result(), np.take_along_axis(split, order, axis=1))


# Per-sample SGD


class Run:
    """Some rows of per-sample SGD by networks 13-5-1 with rates of their own. members: which of the networks."""

    def __init__(self, ops, members=range(NETWORKS), activation="sigmoid", floats=False, spoil=None):
        rng, members = np.random.default_rng(8), list(members)
        images = rng.integers(0, 256, (IMAGES, 13), dtype=np.uint8)
        self.data, scale = ops.images(images / 255 if floats else images)
        labels = ops.asarray(rng.integers(0, 2, IMAGES), np.int32)
        rows = ops.asarray(rng.integers(0, IMAGES, (NETWORKS, ROWS))[members], np.int32)
        first = np.zeros((NETWORKS, LAYOUT.length))
        for layer in LAYOUT.views(first):
            for array in layer:
                array[:] = rng.standard_normal(array.shape)
        self.parameters = ops.asarray(first[members])
        if spoil is not None:
            spoil(self.parameters)
        self.first, gradient = self.parameters.copy(), ops.zeros(self.parameters.shape)
        rates = np.array([0.1, 0.2, 0.3])[members]
        self.state = optimizer_state(ops, SGD(rates), LAYOUT, self.parameters, gradient, 2 * ROWS)
        self.state.step_table[:, ROWS:, 0] *= np.linspace(1, 0.5, ROWS)
        self.state.lr_scale[:] = np.array([1, 0.5, 0])[members]
        row_loss, hits = Guarded(ops, rows.shape), Guarded(ops, rows.shape, np.uint8)
        batch, step = Batch(self.data, labels, rows, scale, None, None), step_at(ops, 1, 0, ROWS)
        with unchanged(ops, self.data, labels, rows, self.state.step_table, self.state.lr_scale):
            written = {"row_loss": row_loss.array, "hits": hits.array}
            ops.per_sample_sgd(batch, LAYOUT.views(self.parameters), self.state, step, **written, activation=activation)
        self.row_loss, self.hits = row_loss.result(), hits.result()

    def assert_same_bits(self, other):
        for name in ("parameters", "row_loss", "hits"):
            assert_same_bits(getattr(self, name), getattr(other, name))


@DTYPES
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_per_sample_sgd_computes_what_numpy_computes(activation, dtype):
    for floats in (False, True):
        expected, actual = (Run(ops(dtype), activation=activation, floats=floats) for ops in (NumpyOps, JitOps))
        assert (actual.parameters[:2] != actual.first[:2]).any(axis=1).all()
        for name in ("parameters", "row_loss"):
            theirs, ours = getattr(expected, name), getattr(actual, name)
            assert_within(ours, theirs, PARITY[dtype] * np.abs(theirs).max())
        assert_same_bits(actual.hits, expected.hits)


def test_per_sample_sgd_has_the_same_bits_twice():
    Run(JitOps()).assert_same_bits(Run(JitOps()))


def test_per_sample_sgd_gives_each_network_what_it_gets_alone():
    together = Run(JitOps())
    for network in range(NETWORKS):
        alone = Run(JitOps(), members=[network])
        for name in ("parameters", "row_loss", "hits"):
            assert_same_bits(getattr(alone, name)[0], getattr(together, name)[network])


def test_per_sample_sgd_does_not_depend_on_how_many_rows_it_takes_at_a_time(monkeypatch):
    whole = Run(JitOps())
    monkeypatch.setattr(jit_ops, "ROWS_AT_A_TIME", 7)
    Run(JitOps()).assert_same_bits(whole)


def test_per_sample_sgd_leaves_a_frozen_network_and_lets_nan_through():
    def spoil(parameters):
        LAYOUT.views(parameters)[0][0][1, 3, 2] = np.nan

    run = Run(JitOps(), spoil=spoil)
    assert_same_bits(run.parameters[2], run.first[2])  # its lr_scale is zero
    assert np.isfinite(run.row_loss[[0, 2]]).all() and np.isfinite(run.parameters[[0, 2]]).all()
    assert np.isnan(run.row_loss[1]).all() and not run.hits[1].any()


# Whole runs


@pytest.mark.parametrize(("sizes", "optimizer"), [((13, 7, 3), Adam(0.01)), ((13, 5, 1), SGD(0.1))])
def test_training_gives_each_network_of_a_population_what_it_gets_alone(sizes, optimizer):
    rng = np.random.default_rng(9)
    images, labels = rng.integers(0, 256, (30, 13), dtype=np.uint8), rng.integers(0, 2, 30)
    batch_size = 8 if sizes[-1] > 1 else 1

    def trained(seed, ops):
        network = MLP(sizes, "relu", seed, ops=ops)
        history = train(network, images, labels, optimizer=optimizer, epochs=2, batch_size=batch_size)
        return network.parameters, history.step_loss

    together, losses = trained((4, 5, 6), JitOps())
    for network, seed in enumerate((4, 5, 6)):
        alone, own_losses = trained(seed, JitOps())
        assert_same_bits(alone[0], together[network])
        assert_same_bits(own_losses[0], losses[network])
        expected, _ = trained(seed, NumpyOps())
        assert_within(alone, expected, PARITY_FLOAT32 * np.abs(expected).max())


# What is compiled


def test_loops_in_float32_have_no_float64_in_them():
    z, bias, labels, hits = np.ones((4, 5), np.float32), np.ones(5, np.float32), np.zeros(4, np.int32), np.ones(4, "u1")
    row, factors, one = np.ones(4, np.float32), np.ones(3, np.float32), np.float32(1)
    calls = [
        (jit_layers.gather, (hits.repeat(5).reshape(4, 5), labels, labels, 0.5, z, labels.copy())),
        (jit_layers.add_bias_relu, (z, bias)),
        (jit_losses.below_maximum, (z, labels, row, hits, z.copy())),
        (jit_losses.softmax_cross_entropy, (labels, row, z, True)),
        (jit_optimizers.adam, (row, row.copy(), row.copy(), row.copy(), factors, one, one, 0.9, 0.1, 0.9, 0.1, 1e-8)),
    ]
    for loop, arguments in calls:
        fresh = compiled_anew(loop)
        fresh(*arguments)
        (code,) = fresh.inspect_llvm().values()
        assert re.search(r"= f(add|sub|mul|div) .*float ", code), loop
        assert not re.search(r"= f(add|sub|mul|div) .*double ", code), loop


def compiled_anew(loop):
    """What has been loaded from disk has no code to look at."""
    from numba import njit

    return njit(error_model="numpy")(loop.py_func)


LOAD_AND_ADD = """
import numpy as np
from gpunet.kernels import kernel_cache
from gpunet.ops import jit_layers
z = np.zeros((2, 3), np.float32)
jit_layers.add_bias(z, np.arange(3, dtype=np.float32))
print(z.tolist(), kernel_cache.counts.compiled, kernel_cache.counts.loaded)
"""


def test_loop_of_one_process_is_loaded_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path))
    for counts in ("1 0", "0 1"):
        done = subprocess.run([sys.executable, "-c", LOAD_AND_ADD], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"[[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]] {counts}"


def test_device_of_a_run_names_numba():
    recorded = device(JitOps())
    assert recorded["backend"] == "jit" and recorded["numba"] == version("numba") and recorded["blas_threads"] >= 1
