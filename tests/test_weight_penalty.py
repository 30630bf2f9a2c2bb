"""The L2 penalty on weights: what it adds to the gradient, on every backend, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused
from tolerances import assert_within

from gpunet import MLP, SGD, Adam, NumpyOps, train
from gpunet.weight_penalty import penalty_launches

IMAGES, LABELS = images_and_labels(10, 3, 6)


def test_penalty_joins_the_gradient_of_weights_and_of_nothing_else(ops):
    network = MLP((6, 5, 3), seed=(1, 2), ops=ops)
    values = np.random.default_rng(0).integers(-8, 8, (2, *network.parameters.shape)).astype(ops.dtype)
    network.parameters[:], network.gradient[:] = ops.asarray(values[0]), ops.asarray(values[1])
    for launch in penalty_launches(ops, network.layers, network.layout.views(network.gradient), 0.25):
        launch()
    expected = values[1].copy()
    for (weight, _), (dweight, _) in zip(*map(network.layout.views, (values[0], expected)), strict=True):
        dweight += weight / 4  # exact in any floating type
    np.testing.assert_array_equal(ops.to_host(network.gradient), expected)
    np.testing.assert_array_equal(ops.to_host(network.parameters), values[0])


def test_penalty_of_a_batch_is_divided_by_its_rows():
    """One step of SGD for each batch, of seven rows and of three, beside one without the penalty."""
    order = np.arange(10)[None]
    for first, last in ((0, 7), (7, 10)):
        rows = np.arange(first, last)
        plain, penalized = (MLP((6, 4, 3), seed=3, ops=NumpyOps(np.float64)) for _ in range(2))
        before = [weight[0].copy() for weight, _ in plain.layers]
        for network, penalty in ((plain, 0.0), (penalized, 0.9)):
            options = {"optimizer": SGD(0.5), "epochs": 1, "batch_size": 7, "weight_penalty": penalty}
            train(network, IMAGES, LABELS, rows, shuffle=order[:, first:last], **options)
        for w, (weight, bias), (expected, expected_bias) in zip(before, penalized.layers, plain.layers, strict=True):
            np.testing.assert_allclose(weight[0], expected[0] - 0.5 * 0.9 / len(rows) * w, rtol=1e-12, atol=1e-15)
            np.testing.assert_array_equal(bias, expected_bias)


def test_penalty_on_the_kernels_is_numpys():
    cuda_ops = pytest.importorskip("gpunet.ops.cuda_ops")
    networks = []
    for ops in (cuda_ops.CudaOps(), NumpyOps(np.float64)):
        network = MLP((6, 2, 3), seed=(3, 4), ops=ops)
        options = {"optimizer": Adam(0.01), "epochs": 1, "batch_size": 2, "weight_penalty": 2.0, "shuffle": "never"}
        train(network, IMAGES, LABELS, np.arange(3), **options)
        networks.append(ops.to_host(network.parameters))
    actual, expected = networks
    assert_within(actual, expected, 1e-5 * abs(expected).max())


@pytest.mark.parametrize("penalty", [-1.0, np.nan, np.inf])
def test_penalty_that_is_none_is_refused(penalty):
    with refused("weight_penalty", penalty):
        train(MLP((6, 3)), IMAGES, LABELS, weight_penalty=penalty)
