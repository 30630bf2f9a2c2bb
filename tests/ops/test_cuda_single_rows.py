"""Training by batches of one row through CudaOps, step by step: it ends with NumPy's weights."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba.cuda")

from gpunet import MLP, SGD, Adam, train
from gpunet.kernels import dense_backward, dense_forward, dense_head, dense_update, tiles
from gpunet.kernels.launch import SIMULATOR
from gpunet.ops.cuda_ops import CudaOps
from gpunet.ops.numpy_ops import NumpyOps

RNG = np.random.default_rng(11)
IMAGES = RNG.integers(0, 256, (9, 13), dtype=np.uint8)
LABELS = RNG.integers(0, 2, 9)
EPS = float(np.finfo(np.float32).eps)

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered")  # uint32 arithmetic, in the simulator


@pytest.fixture(autouse=True)
def few_threads(monkeypatch):
    """Smaller blocks for the simulator where threads meet at barriers; that of the update stays as it is."""
    if not SIMULATOR:
        return
    product = tiles.Tile(rows=1, columns=4, thread_rows=1, thread_columns=2, slices=2, depth=8)
    head = dense_head.Tile(rows=4, slab=32, whole=True, outputs=8, threads=32)
    for module, tile in ((dense_forward, product), (dense_backward, product), (dense_head, head)):
        monkeypatch.setattr(module, "VARIANTS", dict.fromkeys(module.VARIANTS, tile))


CASES = {
    # the NumPy report's network and optimizer, a population of two with rates of their own
    "sgd": dict(sizes=(13, 3, 1), activation="sigmoid", seed=(3, 4), init="normal", optimizer=SGD((0.1, 0.5))),
    "momentum": dict(sizes=(13, 5, 1), activation="tanh", optimizer=SGD(0.1, momentum=0.8), floats=True),
    "adam": dict(sizes=(13, 7, 4, 2), activation="relu", optimizer=Adam(0.01, weight_decay=0.1), dropout=0.3),
}


def trained(ops, *, sizes, activation, optimizer, seed=5, init="pytorch", dropout=0.0, floats=False):
    network = MLP(sizes, activation, seed, init=init, dropout=dropout, ops=ops)
    images = IMAGES / np.float32(255) if floats else IMAGES
    history = train(network, images, LABELS, np.arange(7), optimizer=optimizer, epochs=2, batch_size=1, shuffle="once")
    return network, history


@pytest.mark.parametrize("case", CASES)
def test_cuda_ops_train_step_by_step_on_single_rows_as_numpy_in_float64_does(case, monkeypatch):
    monkeypatch.setattr(MLP, "learns_by_row", lambda *_: False)  # else one operation makes all steps of "sgd"
    variants = []
    monkeypatch.setattr(
        dense_update,
        "make_single_row_kernel",
        lambda *key, make=dense_update.make_single_row_kernel: variants.append(key) or make(*key),
    )
    ours, history = trained(CudaOps(), **CASES[case])
    reference, expected = trained(NumpyOps(np.float64), **CASES[case])
    assert variants, "another variant made the updates"
    np.testing.assert_allclose(history.step_loss, expected.step_loss, rtol=100 * EPS)
    np.testing.assert_array_equal(history.step_accuracy, expected.step_accuracy)
    for name, array in ours.named_parameters.items():
        reference_array = reference.named_parameters[name]
        distance = np.abs(ours.ops.to_host(array) - reference_array).max()
        # Adam divides by sqrt(v): where a gradient is nearly zero its rounding is a large part of a step of the rate.
        assert distance < 200 * EPS * np.abs(reference_array).max(), name
