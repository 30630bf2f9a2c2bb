"""CudaOps against NumpyOps: the same contract and the same training, the kernels in the simulator or on a device."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

pytest.importorskip("numba.cuda")

from gpunet import MLP, SGD, Adam, train
from gpunet.kernels import dense_backward, dense_forward, dense_head, dense_update, tiles
from gpunet.kernels.launch import SIMULATOR
from gpunet.ops.cuda_ops import CudaOps
from gpunet.ops.numpy_ops import NumpyOps

RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (26, 13), dtype=np.uint8)  # 13 inputs: a row is no whole number of words
LABELS = RNG.integers(0, 3, 26)
WEIGHTS = RNG.uniform(0.1, 5, 26) * (np.arange(26) != 4)  # one row is left out, and counts nothing in the validation
BATCH = 6  # four full batches and one of two rows
EPS = float(np.finfo(np.float32).eps)

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered")  # uint32 arithmetic, in the simulator


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Blocks of few threads, for each of which the simulator makes one of Python's; the bits do not depend on it."""
    if not SIMULATOR:
        return
    product = tiles.Tile(rows=4, columns=4, thread_rows=2, thread_columns=2, slices=2, depth=8)
    head = dense_head.Tile(rows=4, slab=32, whole=False, outputs=8, threads=32)
    update = dense_update.Tile(2, 2, down=2, across=2, chunks=2)
    for module, tile in (
        (dense_forward, product),
        (dense_backward, product),
        (dense_head, head),
        (dense_update, update),
    ):
        monkeypatch.setattr(module, "VARIANTS", dict.fromkeys(module.VARIANTS, tile))


def operations(ops: type) -> dict[str, inspect.Signature]:
    methods = inspect.getmembers(ops, inspect.isfunction)
    return {name: inspect.signature(method) for name, method in methods if not name.startswith("_")}


def test_cuda_ops_have_the_parameters_and_defaults_of_numpy_ops():
    ours, reference = operations(CudaOps), operations(NumpyOps)
    assert ours.keys() == reference.keys()
    for name, signature in reference.items():
        expected = [(p.name, p.kind, p.default) for p in signature.parameters.values()]
        assert [(p.name, p.kind, p.default) for p in ours[name].parameters.values()] == expected, name


# Two and three layers, each loss, both optimizers with and without their extras, dropout, uint8 and float images.
CASES = {
    "adam": dict(sizes=(13, 7, 3), optimizer=Adam(0.01), dropout=0.4),
    "momentum": dict(sizes=(13, 7, 5, 1), optimizer=SGD(0.1, momentum=0.8, weight_decay=0.01), activation="tanh"),
    "squared": dict(
        sizes=(13, 6, 5, 3),
        loss="squared_error",
        optimizer=Adam(0.01, weight_decay=0.1, decoupled=True),
        activation="sigmoid",
        dropout=0.25,
        floats=True,
    ),
    "one layer": dict(sizes=(13, 3), optimizer=SGD(0.5)),
    "weights": dict(sizes=(13, 7, 3), optimizer=SGD(0.5), weights=WEIGHTS),
}


def trained(
    ops, *, sizes, optimizer, seed=3, activation="relu", loss=None, dropout=0.0, floats=False, rows=26, weights=None
):
    network = MLP(sizes, activation, seed, loss=loss, dropout=dropout, ops=ops)
    images = IMAGES / np.float32(255) if floats else IMAGES
    labels = LABELS % max(2, sizes[-1])
    options = {"optimizer": optimizer, "epochs": 1, "batch_size": BATCH, "sample_weight": weights}
    history = train(network, images, labels, np.arange(rows), np.arange(9), **options)
    return network, history


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_cuda_ops_train_as_numpy_in_float64_does(case):
    ours, history = trained(CudaOps(), **case)
    reference, expected = trained(NumpyOps(np.float64), **case)
    np.testing.assert_allclose(history.step_loss, expected.step_loss, rtol=100 * EPS)
    np.testing.assert_array_equal(history.step_accuracy, expected.step_accuracy)
    np.testing.assert_allclose(history.validation.loss, expected.validation.loss, rtol=100 * EPS)
    for name, array in ours.named_parameters.items():
        array, reference_array = ours.ops.to_host(array), reference.named_parameters[name]
        # Adam divides by sqrt(v): where a gradient is nearly zero its rounding is a large part of a step of the rate.
        distance = np.abs(array - reference_array).max() / np.abs(reference_array).max()
        assert distance < 200 * EPS, name


def test_cuda_ops_train_by_single_rows_as_numpy_in_float64_does(monkeypatch):
    """All steps of an epoch in one kernel, those of two networks with rates of their own side by side."""
    runs = []
    for ops in (CudaOps(), NumpyOps(np.float64)):
        calls = []

        def per_sample_sgd(*arguments, original=ops.per_sample_sgd, calls=calls, **options):
            calls.append(1)
            original(*arguments, **options)

        monkeypatch.setattr(ops, "per_sample_sgd", per_sample_sgd)
        network = MLP((13, 3, 1), "sigmoid", (3, 4), init="normal", ops=ops)
        options = {"optimizer": SGD((0.1, 0.5)), "epochs": 2, "batch_size": 1}
        history = train(network, IMAGES, LABELS % 2, np.arange(7), np.arange(5), **options)
        runs.append((network, history))
        assert calls
    (ours, history), (reference, expected) = runs
    np.testing.assert_allclose(history.step_loss, expected.step_loss, rtol=100 * EPS)
    np.testing.assert_array_equal(history.step_accuracy, expected.step_accuracy)
    np.testing.assert_allclose(history.validation.loss, expected.validation.loss, rtol=100 * EPS)
    for name, array in ours.named_parameters.items():
        reference_array = reference.named_parameters[name]
        assert np.abs(ours.ops.to_host(array) - reference_array).max() < 50 * EPS * np.abs(reference_array).max(), name


def test_cuda_ops_train_a_population_bit_for_bit_as_its_members():
    rates, drops, seeds = (0.01, 0.02), (0.4, 0.0), (1, 2)
    shared = dict(sizes=(13, 7, 3), rows=10)
    together, history = trained(CudaOps(), seed=seeds, optimizer=Adam(rates), dropout=drops, **shared)
    parameters = together.ops.to_host(together.parameters)
    for index, (seed, rate, dropout) in enumerate(zip(seeds, rates, drops, strict=True)):
        alone, its_history = trained(CudaOps(), seed=seed, optimizer=Adam(rate), dropout=dropout, **shared)
        np.testing.assert_array_equal(parameters[index], alone.ops.to_host(alone.parameters)[0])
        np.testing.assert_array_equal(history.step_loss[index], its_history.step_loss[0])


@pytest.mark.parametrize("sizes", [(13, 7, 3), (13, 3)])  # a fused head, and a loss by itself
def test_cuda_ops_train_with_equal_weights_to_the_bits_of_none(sizes):
    trainings = [trained(CudaOps(), sizes=sizes, optimizer=SGD(0.5), rows=8, weights=w) for w in (None, np.full(26, 3))]
    (plain, expected), (weighted, history) = trainings
    parameters = (network.ops.to_host(network.parameters) for network in (plain, weighted))
    np.testing.assert_array_equal(*parameters)
    np.testing.assert_array_equal(history.step_loss, expected.step_loss)
    np.testing.assert_array_equal(history.validation.loss, expected.validation.loss)


def test_cuda_ops_refuse_shares_that_lie_elsewhere():
    ops = CudaOps()
    logits, labels = ops.zeros((2, 3, 2)), ops.zeros((2, 3), np.int32)
    arrays = logits, labels, ops.zeros((2, 3)), ops.zeros((2, 3), np.uint8), ops.zeros((2, 3, 2))
    with pytest.raises(ValueError, match="as row_loss does"):
        ops.softmax_cross_entropy(*arrays, ops.zeros((2, 5))[:, :3])


def test_cuda_ops_write_the_gradients_that_backward_shows():
    ours, reference = (MLP((13, 7, 3), "tanh", 5, ops=ops) for ops in (CudaOps(), NumpyOps(np.float64)))
    for network in (ours, reference):
        network.forward(IMAGES)
    assert ours.backward(LABELS) == pytest.approx(reference.backward(LABELS), rel=20 * EPS)
    for name, gradient in ours.gradients.items():
        expected = reference.gradients[name]
        np.testing.assert_allclose(ours.ops.to_host(gradient), expected, rtol=0, atol=50 * EPS * np.abs(expected).max())


def test_cuda_ops_serve_layers_whose_arrays_share_no_buffer():
    """What a network lays out in one buffer may also be given piece by piece; then there is a launch for each layer."""
    from gpunet.ops import LayerGradient

    ops, rng = CudaOps(), np.random.default_rng(0)
    x, hidden, dz, dlogits = (rng.standard_normal((2, 4, width)).astype(np.float32) for width in (5, 3, 3, 2))
    flat = ops.zeros((2, 256))
    views = ((flat[:, :15].reshape(2, 5, 3), flat[:, 32:35]), (flat[:, 64:70].reshape(2, 3, 2), flat[:, 96:98]))
    layers = tuple(LayerGradient(ops.asarray(a), ops.asarray(b), None) for a, b in ((x, dz), (hidden, dlogits)))
    ops.dense_gradient(layers, views)
    for (dweight, dbias), (a, b) in zip(views, ((x, dz), (hidden, dlogits)), strict=True):
        np.testing.assert_allclose(ops.to_host(dweight), a.swapaxes(1, 2) @ b, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ops.to_host(dbias), b.sum(axis=1), rtol=1e-5, atol=1e-6)
