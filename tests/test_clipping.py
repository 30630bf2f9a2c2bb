"""Clipping by the global norm on every backend, beside PyTorch, and what training makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import images_and_labels
from sentences import refused
from tolerances import PARITY_FLOAT64, assert_same_bits, assert_within, eps

from gpunet import MLP, SGD, Adam, NumpyOps, train

IMAGES, LABELS = images_and_labels(10, 3, 6)


def test_clip_gradient_by_hand(ops):
    gradient = ops.asarray([[3, 0, -4, 0], [0.3, 0, 0.4, 0], [0, 0, 0, 0]])
    norms = ops.zeros(3)
    ops.clip_gradient(gradient, 2.0, norms)
    assert_within(ops.to_host(norms), np.array([5, 0.5, 0]), 4 * eps(ops.dtype))
    factor = 2 / (5 + 1e-6)
    expected = np.array([[3 * factor, 0, -4 * factor, 0], [0.3, 0, 0.4, 0], [0, 0, 0, 0]], ops.dtype)
    assert_within(ops.to_host(gradient), expected, 8 * eps(ops.dtype))
    assert_same_bits(ops.to_host(gradient)[1:], expected[1:])  # short enough: not touched


@pytest.mark.parametrize("max_norm", [0.3, 1.0, 100.0])
def test_clip_gradient_is_pytorchs(max_norm):
    torch = pytest.importorskip("torch")
    network = MLP((6, 5, 3), seed=(1, 2), ops=NumpyOps(np.float64))
    network.gradient[:] = np.random.default_rng(0).standard_normal(network.gradient.shape) * (network.parameters != 0)
    views = network.layout.views(network.gradient)
    tensors = [[torch.zeros(part[0].shape, dtype=torch.float64) for layer in views for part in layer] for _ in (0, 1)]
    for network_index, of_network in enumerate(tensors):
        for tensor, part in zip(of_network, (part for layer in views for part in layer), strict=True):
            tensor.grad = torch.from_numpy(part[network_index].copy())
    theirs = [float(torch.nn.utils.clip_grad_norm_(of_network, max_norm)) for of_network in tensors]
    norms = np.zeros(2)
    network.ops.clip_gradient(network.gradient, max_norm, norms)
    np.testing.assert_allclose(norms, theirs, rtol=PARITY_FLOAT64)
    for network_index, of_network in enumerate(tensors):
        for tensor, part in zip(of_network, (part for layer in views for part in layer), strict=True):
            np.testing.assert_allclose(part[network_index], tensor.grad.numpy(), rtol=PARITY_FLOAT64)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clip_gradient_hides_nothing(ops, bad):
    """A gradient that is no number makes none of which is one, and not only its own element: somebody will see it."""
    gradient, norms = ops.asarray([[1, bad, 2], [1, 2, 3]]), ops.zeros(2)
    with np.errstate(invalid="ignore"):
        ops.clip_gradient(gradient, 1.0, norms)
    gradient = ops.to_host(gradient)
    assert not np.isfinite(gradient[0]).all() and np.isfinite(gradient[1]).all()
    assert not np.isfinite(ops.to_host(norms)[0])


def test_training_clips_and_then_decays():
    """Three steps of AdamW's and SGD's with L2, beside PyTorch's clip_grad_norm_ and its optimizers, in float64."""
    torch = pytest.importorskip("torch")
    for ours, theirs in (
        (SGD(0.5, weight_decay=0.1, momentum=0.9), lambda p: torch.optim.SGD(p, 0.5, momentum=0.9, weight_decay=0.1)),
        (
            Adam(0.05, weight_decay=0.1, decoupled=True),
            lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1),
        ),
    ):
        network = MLP((6, 3), seed=4, ops=NumpyOps(np.float64))
        layer = torch.nn.Linear(6, 3).double()
        with torch.no_grad():
            layer.weight[:] = torch.from_numpy(network.layers[0][0][0].T.copy())
            layer.bias[:] = torch.from_numpy(network.layers[0][1][0].copy())
        optimizer = theirs(layer.parameters())
        for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
            optimizer.zero_grad()
            x = torch.from_numpy(IMAGES[rows] / 255)
            torch.nn.functional.cross_entropy(layer(x), torch.from_numpy(LABELS[rows])).backward()
            assert torch.nn.utils.clip_grad_norm_(layer.parameters(), 0.1) > 0.1
            optimizer.step()
        train(network, IMAGES, LABELS, optimizer=ours, epochs=1, batch_size=4, shuffle="never", clip_norm=0.1)
        weight = layer.weight.detach().numpy().T
        assert_within(network.layers[0][0][0], weight, PARITY_FLOAT64 * abs(weight).max())


def test_training_below_the_norm_is_training_without(ops):
    """Through the gradient in memory, with the bits of the update that is fused."""
    networks = [MLP((6, 4, 3), seed=(1, 2), ops=ops) for _ in range(2)]
    for network, clip_norm in zip(networks, (None, 1e6), strict=True):
        train(network, IMAGES, LABELS, optimizer=Adam(0.01), epochs=2, batch_size=4, clip_norm=clip_norm)
    assert_same_bits(*(ops.to_host(network.parameters) for network in networks))


def test_networks_side_by_side_are_clipped_as_alone(ops):
    options = {"optimizer": SGD(0.5), "epochs": 2, "batch_size": 4, "clip_norm": 0.2}
    together = MLP((6, 40, 3), seed=(1, 2, 3), ops=ops)
    train(together, IMAGES, LABELS, **options)
    for place, seed in enumerate((1, 2, 3)):
        alone = MLP((6, 40, 3), seed=seed, ops=ops)
        train(alone, IMAGES, LABELS, **options)
        assert_same_bits(ops.to_host(together.parameters)[place], ops.to_host(alone.parameters)[0])


def test_training_row_by_row_is_clipped():
    networks = [MLP((6, 4, 1), "sigmoid", seed=1, ops=NumpyOps(np.float64)) for _ in range(2)]
    for network, clip_norm in zip(networks, (None, 1e-3), strict=True):
        start = network.parameters.copy()
        options = {"optimizer": SGD(1.0), "epochs": 1, "batch_size": 1, "clip_norm": clip_norm}
        train(network, IMAGES, LABELS % 2, **options)
        network.moved = np.linalg.norm(network.parameters - start)
    assert networks[1].moved <= 10 * 1e-3 < networks[0].moved


def test_training_on_the_kernels_is_numpys():
    cuda_ops = pytest.importorskip("gpunet.ops.cuda_ops")
    networks = []
    for ops in (cuda_ops.CudaOps(), NumpyOps(np.float64)):
        network = MLP((6, 2, 3), seed=(3, 4), ops=ops)
        options = {"optimizer": SGD(0.5), "epochs": 1, "batch_size": 2, "clip_norm": 0.1, "shuffle": "never"}
        train(network, IMAGES, LABELS, np.arange(3), **options)
        networks.append(ops.to_host(network.parameters))
    actual, expected = networks
    assert_within(actual, expected, 1e-6 * abs(expected).max())


@pytest.mark.parametrize("clip_norm", [0.0, -1.0, np.nan, np.inf])
def test_clip_norm_that_is_none_is_refused(clip_norm):
    with refused("clip_norm", clip_norm):
        train(MLP((6, 3)), IMAGES, LABELS, clip_norm=clip_norm)
