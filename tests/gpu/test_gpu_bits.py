"""On a device: the same seed gives the same bits, alone or among others, launched one by one or as a CUDA graph."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from device_runs import make_ops, same_bits, trained

from gpunet import MLP, SGD, Adam, Augmentation, NumpyOps

pytestmark = pytest.mark.gpu

EXP2 = dict(sizes=(784, 64, 10), rows=640, batch_size=128)
RUNS = {
    "exp2": EXP2,
    "three layers, dropout": dict(sizes=(300, 150, 70, 40), rows=400, batch_size=96, dropout=0.3, activation="tanh"),
    "binary": dict(sizes=(784, 64, 1), rows=300, batch_size=64, optimizer=SGD(0.1, momentum=0.9)),
    "augmented": EXP2 | dict(augmentation=Augmentation(10, 2, 0.1)),
    "row by row": dict(sizes=(784, 10, 1), rows=200, batch_size=1, optimizer=SGD(0.1), activation="sigmoid"),
}


@pytest.mark.parametrize("run", RUNS)
def test_gpu_two_runs_end_with_the_same_bits(run):
    assert same_bits(trained(make_ops(), **RUNS[run]), trained(make_ops(), **RUNS[run])) == []


@pytest.mark.parametrize("run", RUNS)
def test_gpu_graph_ends_with_the_bits_of_direct_launches(run):
    direct = trained(make_ops(graphs=False), **RUNS[run])
    with warnings.catch_warnings():  # a graph that cannot be captured is launched directly, with a warning
        warnings.filterwarnings("error", message=".*launched one by one")
        replayed = trained(make_ops(graphs=True), **RUNS[run])
    assert same_bits(direct, replayed) == []
    assert np.isfinite(direct.step_loss).all() and direct.step_loss[0, -1].mean() < direct.step_loss[0, 0, 0]


def test_gpu_population_of_64_ends_with_the_bits_of_64_networks(networks=64):
    rng = np.random.default_rng(0)
    seeds = rng.integers(0, 2**32, networks).tolist()
    rates, drops = rng.uniform(0.0005, 0.01, networks), rng.uniform(0, 0.6, networks)
    drops[::3] = 0
    shared = dict(sizes=(784, 64, 10), rows=300, batch_size=128, epochs=2)
    ops = make_ops()
    together = trained(ops, seed=seeds, optimizer=Adam(rates), dropout=drops.tolist(), **shared)
    different = {}
    for network, (seed, rate, drop) in enumerate(zip(seeds, rates, drops, strict=True)):
        alone = trained(ops, seed=seed, optimizer=Adam(rate), dropout=drop, **shared)
        if names := same_bits(alone, together.only(network)):
            different[network] = names
    assert different == {}
    assert len({parameters.tobytes() for parameters in together.parameters}) == networks


LOSSES = {"softmax_cross_entropy": (200, 64, 10), "binary_cross_entropy": (200, 64, 1), "squared_error": (200, 64, 40)}


@pytest.mark.parametrize("loss", LOSSES)
def test_gpu_sample_weights_do_what_they_do_in_numpy(loss):
    run = dict(sizes=LOSSES[loss], loss=loss, rows=300, batch_size=128, epochs=2)
    weights = np.random.default_rng(0).uniform(0.2, 3, 350)
    ours, numpy = (trained(ops, sample_weight=weights, **run) for ops in (make_ops(), NumpyOps()))
    np.testing.assert_allclose(ours.step_loss, numpy.step_loss, rtol=1e-4)
    np.testing.assert_allclose(ours.validation_loss, numpy.validation_loss, rtol=1e-4)
    unweighted, equal = trained(make_ops(), **run), trained(make_ops(), sample_weight=np.full(350, 0.7), **run)
    np.testing.assert_allclose(equal.step_loss, unweighted.step_loss, rtol=1e-5)
    assert abs(ours.validation_loss / unweighted.validation_loss - 1).max() > 1e-3


def test_gpu_weights_that_cupy_has_written_are_those_that_kernels_read():
    """CuPy works on its own stream; were the two not ordered, some of many rounds would read old weights."""
    network = MLP((784, 512, 10), seed=1, init="he", ops=make_ops())
    images = np.random.default_rng(0).random((64, 784), dtype=np.float32)
    expected = network.forward(images)
    weight = network.named_parameters["weight2"]
    for factor in [2.0, 0.5] * 50:
        weight *= factor
        expected = expected * np.float32(factor)  # its biases are zero, and doubling is exact
        np.testing.assert_array_equal(network.forward(images), expected)
